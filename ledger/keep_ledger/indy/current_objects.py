"""The object that a request would change, as the ledger has it now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from keep_ledger import codes
from keep_ledger.codes import (
    ATTRIB,
    CRED_DEF,
    NODE,
    NYM,
    REVOC_REG_DEF,
    SCHEMA,
    TAA,
    TAA_AML,
    TAA_DISABLE,
)
from keep_ledger.errors import BadWriteError
from keep_ledger.identifiers import CredDefId, Did, SchemaId, full_verkey
from keep_ledger.indy import replies, requests
from keep_ledger.indy.pool import Pool
from keep_ledger.indy.replies import UntrustedReplyError
from keep_ledger.json_object import Json


@dataclass(frozen=True, slots=True)
class Found:
    """An object on the ledger.

    Attributes:
        what: its name for people: `DID X`, `schema a 1.0 of X`.
        seq_no: of its last transaction; None where the ledger does not say.
        value: its content as the ledger gives it.
    """

    what: str
    seq_no: int | None
    value: Json


def ledger_of(request: Json) -> int:
    """The ledger that a request is for.

    Raises:
        BadWriteError: clients do not write this type.
    """
    kind = request["operation"].get("type")
    if kind == NODE:
        return codes.POOL
    if kind in codes.DOMAIN_TYPES:
        return codes.DOMAIN
    if kind in codes.CONFIG_TYPES:
        return codes.CONFIG
    raise BadWriteError(f"requests of type {kind!r} are not supported here")


def digest_of(transaction: Json) -> str | None:
    """The `payloadDigest` of a transaction; None in the genesis."""
    metadata: Any = transaction["txn"].get("metadata")
    if not isinstance(metadata, dict):
        return None
    digest: Any = cast("Json", metadata).get("payloadDigest")
    return digest if isinstance(digest, str) else None


async def find(pool: Pool, request: Json) -> Found | None:
    """Read from the domain or config ledger the object that a request would change.

    Raises:
        BadWriteError: the request does not name its object, or nothing is read for its type.
        LedgerUnavailableError: there is no answer that can be trusted.
    """
    operation: Json = request["operation"]
    kind = operation.get("type")
    if kind not in _QUESTIONS:
        raise BadWriteError(f"the objects of requests of type {kind!r} are not read here")
    try:
        question, what = _QUESTIONS[kind](request["identifier"], operation)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadWriteError(
            f"the request does not name the object that it is about: {error}"
        ) from error
    reply = await pool.ask(
        question, codes.CONFIG if kind in codes.CONFIG_TYPES else codes.DOMAIN
    )
    value = _value(kind, operation, reply)
    seq_no: Any = reply.get("seqNo")
    number = seq_no if type(seq_no) is int else None
    return None if value is None else Found(what, number, value)


def _value(kind: str, operation: Json, reply: Json) -> Json | None:
    """The object in a reply, checked against the question where `check_answers` does not."""
    data: Any = reply.get("data")
    if data is None:
        return None
    if kind in _VALUES:
        data = _VALUES[kind](operation, reply)
    if data is None:
        return None
    return cast("Json", data) if isinstance(data, dict) else {"value": data}


def _nym_value(operation: Json, reply: Json) -> Json:
    try:
        found: Json = json.loads(reply["data"])
        if found["dest"] != operation["dest"]:
            raise UntrustedReplyError("a node answered for another DID")
    except (ValueError, TypeError, KeyError) as error:
        raise UntrustedReplyError("an answer that is not a NYM") from error
    return found


def _attrib_value(operation: Json, reply: Json) -> Any:
    if "raw" not in operation:
        return reply["data"]
    return replies.attrib(next(iter(json.loads(operation["raw"]))), reply)


def _schema_value(operation: Json, reply: Json) -> Json | None:
    data: Json = reply["data"]
    if "attr_names" not in data:
        return None
    if any(data.get(name) != operation["data"][name] for name in ("name", "version")):
        raise UntrustedReplyError("a node answered for another schema")
    return data


def _taa_value(_operation: Json, reply: Json) -> Any:
    replies.taa(reply)
    return reply["data"]


_VALUES: dict[str, Callable[[Json, Json], Any]] = {
    NYM: _nym_value,
    ATTRIB: _attrib_value,
    SCHEMA: _schema_value,
    TAA: _taa_value,
    TAA_DISABLE: _taa_value,
}


def _ask_nym(_author: str, operation: Json) -> tuple[Json, str]:
    did = Did.parse(operation["dest"])
    return requests.get_nym(did), f"DID {did}"


def _ask_attrib(_author: str, operation: Json) -> tuple[Json, str]:
    did = Did.parse(operation["dest"])
    if "raw" in operation:
        (name,) = json.loads(operation["raw"])
        return requests.get_attrib(did, name), f"attribute {name} of {did}"
    (field,) = operation.keys() & {"enc", "hash"}
    question = {"type": "104", "dest": did.id, field: operation[field]}
    return question, f"attribute with that {field} of {did}"


def _ask_schema(author: str, operation: Json) -> tuple[Json, str]:
    name, version = operation["data"]["name"], operation["data"]["version"]
    asked = requests.get_schema(SchemaId(Did.parse(author), name, version))
    return asked, f"schema {name} {version} of {author}"


def _ask_cred_def(author: str, operation: Json) -> tuple[Json, str]:
    number, tag = operation["ref"], operation.get("tag", "tag")
    asked = requests.get_cred_def(CredDefId(Did.parse(author), number, tag))
    return asked, f"credential definition {tag} for schema {number} of {author}"


def _ask_reg_def(_author: str, operation: Json) -> tuple[Json, str]:
    return {"type": "115", "id": operation["id"]}, f"revocation registry {operation['id']}"


_QUESTIONS: dict[str, Callable[[str, Json], tuple[Json, str]]] = {
    NYM: _ask_nym,
    ATTRIB: _ask_attrib,
    SCHEMA: _ask_schema,
    CRED_DEF: _ask_cred_def,
    REVOC_REG_DEF: _ask_reg_def,
    TAA: lambda _author, _operation: (requests.get_taa(), "author agreement in force"),
    TAA_DISABLE: lambda _author, _operation: (requests.get_taa(), "author agreement in force"),
    TAA_AML: lambda _author, _operation: (requests.get_aml(), "ways to accept the agreement"),
}

READ = frozenset(_QUESTIONS)
"""Types of requests whose object `find` reads."""


def node(operation: Json, pool: Sequence[Json]) -> Found | None:
    """A node in the pool ledger: the members of its transactions, later ones over earlier ones."""
    value: Json = {}
    number = None
    for place, transaction in enumerate(pool, 1):
        data = transaction["txn"]["data"]
        if data.get("dest") == operation.get("dest"):
            value |= data["data"]
            number = place
    return Found(f"node {value.get('alias')}", number, value) if number else None


def nym(did: str, domain: Iterable[Json]) -> tuple[str | None, str | None, int] | None:
    """Full verkey, role and last transaction of a DID after these transactions."""
    verkey: str | None = None
    role: str | None = None
    last = 0
    for number, transaction in enumerate(domain, 1):
        data = transaction["txn"]["data"]
        if transaction["txn"]["type"] == NYM and data["dest"] == did:
            verkey, role, last = (
                data.get("verkey", verkey),
                data.get("role", role) or None,
                number,
            )
    key = full_verkey(verkey, did) if verkey else None
    return (key, role, last) if last else None


def role_holders(domain: Iterable[Json]) -> dict[str, list[str]]:
    """The DIDs that have a role at the end of the domain ledger, by the code of the role."""
    roles: dict[str, str | None] = {}
    for transaction in domain:
        data = transaction["txn"]["data"]
        if transaction["txn"]["type"] == NYM and "role" in data:
            roles[data["dest"]] = data["role"] or None
    found: dict[str, list[str]] = {}
    for did, role in roles.items():
        if role is not None:
            found.setdefault(role, []).append(did)
    return found
