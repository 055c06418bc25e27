"""Replies of nodes: checked against our question, then read.

indy-vdr 0.4 verifies that the *value* in a reply lies under the *key* of our request in a state whose
root at least n - f validators signed with BLS. It does not compare the rest of the reply
with the question: some parts of `data` are not in the proof (the name and version of a schema), the
transaction type that decides how the value is built is taken from the reply, and the root may be that of
another ledger, where every key of ours is provably absent. So one dishonest node could answer "not
found", or with an old state. Everything that is used of a reply is therefore checked here.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from keep_ledger.codes import GET_NYM, SCHEMA, Role
from keep_ledger.errors import BadIdError, LedgerUnavailableError
from keep_ledger.identifiers import (
    CredDefId,
    Did,
    SchemaId,
    check_new_part,
    check_part,
    full_verkey,
)
from keep_ledger.interface import CredDef, Nym, Schema
from keep_ledger.json_object import Json

FRESH_S = 300
"""The greatest age of a proof: validators sign their state at least this often."""

_AHEAD_S = 300
_ECHOED = ("dest", "raw", "enc", "hash", "origin", "ref", "signature_type", "tag", "digest")


class UntrustedReplyError(LedgerUnavailableError):
    """A node's reply does not fit the question, or contradicts itself."""


class _Value(BaseModel):
    model_config = ConfigDict(strict=True)
    ledger_id: int
    timestamp: int


class _MultiSignature(BaseModel):
    model_config = ConfigDict(strict=True)
    value: _Value


class _Proof(BaseModel):
    model_config = ConfigDict(strict=True)
    multi_signature: _MultiSignature


class _Nym(BaseModel):
    model_config = ConfigDict(strict=True)
    dest: str
    verkey: str | None
    role: str | None
    content: Any = Field(default=None, alias="diddocContent")


class _SchemaData(BaseModel):
    model_config = ConfigDict(strict=True)
    name: str
    version: str
    attr_names: list[str] = Field(min_length=1, max_length=1000)


class _Taa(BaseModel):
    model_config = ConfigDict(strict=True)
    text: str
    version: str
    digest: str


class _Aml(BaseModel):
    model_config = ConfigDict(strict=True)
    aml: dict[str, Any]


_SEQ_NO = TypeAdapter[int](int, config=ConfigDict(strict=True))


def check_answers(question: Json, reply: Json) -> None:
    """Check that a reply answers this request.

    Raises:
        UntrustedReplyError: it has another type, number or subject.
    """
    operation: Json = question["operation"]
    if reply.get("type") != operation["type"] or reply.get("reqId") != question["reqId"]:
        raise UntrustedReplyError("a node answered another question")
    for name in _ECHOED:
        if name in operation and reply.get(name) != operation[name]:
            raise UntrustedReplyError(f"a node answered for another {name}")


def proved(reply: Json, ledger_id: int, now: float) -> bool:
    """Whether its state proof, which indy-vdr has verified, is for this ledger and fresh.

    If not, several nodes must agree instead: there is no proof of an empty state.
    """
    try:
        value = _Proof.model_validate(reply.get("state_proof")).multi_signature.value
    except ValidationError:
        return False
    age = now - value.timestamp
    return value.ledger_id == ledger_id and -_AHEAD_S <= age <= FRESH_S


def covered(reply: Json) -> bool:
    """Whether indy-vdr compares all that we use of a reply with its proof.

    Of a NYM it does not compare `diddocContent`: one node could add an endpoint of its own.
    """
    if reply.get("type") != GET_NYM:
        return True
    try:
        data: Any = json.loads(reply["data"])
    except (ValueError, TypeError, RecursionError):
        return True
    return not isinstance(data, dict) or "diddocContent" not in data


def faulty(nodes: int) -> int:
    """f: how many faulty nodes a network of n nodes can bear."""
    return (nodes - 1) // 3


def enough_sign(nodes: int, signers: int) -> bool:
    """Whether proofs of a network can be believed, of whose n validators so many have a BLS key.

    indy-vdr wants the signatures of all but f of these, where it should be of all but f of n: with
    many keys missing, a single node could sign a state of its own. More than f must be needed.
    """
    return signers - faulty(nodes) > faulty(nodes)


def agreed(question: Json, replies: Iterable[str], nodes: int) -> Json:
    """The answer that more than f of n nodes give; see `faulty`.

    Args:
        question: the request, sent to every node.
        replies: the text of each node; what is not a reply does not count.
        nodes: n.

    Raises:
        UntrustedReplyError: no such answer.
    """
    counted = Counter(text for reply in replies if (text := _comparable(question, reply)))
    for text, count in counted.most_common(1):
        if count > faulty(nodes):
            return cast("Json", json.loads(text))
    raise UntrustedReplyError("the nodes do not agree on an answer")


def _comparable(question: Json, reply: str) -> str | None:
    """The result without its proof in canonical JSON; None if it is not an answer."""
    try:
        result: Any = json.loads(reply)["result"]
        check_answers(question, result)
    except (ValueError, KeyError, TypeError, AttributeError, UntrustedReplyError):
        return None
    return json.dumps({k: v for k, v in result.items() if k != "state_proof"}, sort_keys=True)


def _seq_no(reply: Json) -> int:
    return _SEQ_NO.validate_python(reply.get("seqNo"))


class _Written(BaseModel):
    model_config = ConfigDict(strict=True)
    seq_no: int = Field(alias="seqNo")


def written_at(reply: Json) -> int | None:
    """The sequence number in the reply to a write; None if there is none."""
    try:
        return _Written.model_validate(reply.get("txnMetadata")).seq_no
    except ValidationError:
        return None


def nym(did: Did, asked: str, reply: Json) -> Nym | None:
    """Read the answer to GET_NYM.

    Args:
        did: the DID asked for.
        asked: how the caller wrote it.
        reply: a trusted reply.

    Raises:
        UntrustedReplyError: it cannot be read, or is about another DID.
    """
    if reply.get("data") is None:
        return None
    try:
        data = _Nym.model_validate_json(reply["data"])
        if data.dest != did.id:
            raise UntrustedReplyError("a node answered for another DID")
        key = None if data.verkey is None else full_verkey(data.verkey, did.id)
        role = None if data.role is None else Role(data.role)
        return Nym(asked, key, role, _seq_no(reply), _content(data.content))
    except (ValidationError, BadIdError, ValueError) as error:
        raise UntrustedReplyError(f"not a NYM: {error}") from error


def _content(given: Any) -> Json | None:
    """What `diddocContent` says, JSON in a text; the ledger does not check that it is an object."""
    try:
        found: Any = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        return None
    return cast("Json", found) if isinstance(found, dict) else None


def attrib(name: str, reply: Json) -> Json | None:
    """Read the answer to GET_ATTR.

    Raises:
        UntrustedReplyError: it is not an object with the one member asked for.
    """
    if reply.get("data") is None:
        return None
    try:
        data: Any = json.loads(reply["data"])
    except (ValueError, TypeError) as error:
        raise UntrustedReplyError("an attribute that is not JSON") from error
    if not isinstance(data, dict) or list(cast("Json", data)) != [name]:
        raise UntrustedReplyError("a node answered for another attribute")
    return cast("Json", data)


def schema(asked: SchemaId, reply: Json) -> Schema | None:
    """Read the answer to GET_SCHEMA; `asked` names its network.

    Raises:
        UntrustedReplyError: it cannot be read, or has another name or version.
    """
    data: Any = reply.get("data")
    if not isinstance(data, dict) or "attr_names" not in data:
        return None
    try:
        found = _SchemaData.model_validate(data)
        seq_no = _seq_no(reply)
    except ValidationError as error:
        raise UntrustedReplyError("not a schema") from error
    if (found.name, found.version) != (asked.name, asked.version):
        raise UntrustedReplyError("a node answered for another schema")
    names = tuple(found.attr_names)
    return Schema(str(asked), str(asked.did), found.name, found.version, names, seq_no)


def cred_def(asked: CredDefId, schema_id: SchemaId, reply: Json) -> CredDef | None:
    """Read the answer to GET_CRED_DEF; the ids name their network.

    Raises:
        UntrustedReplyError: it holds no keys.
    """
    data: Any = reply.get("data")
    if data is None:
        return None
    if not isinstance(data, dict) or "primary" not in data:
        raise UntrustedReplyError("a credential definition without keys")
    try:
        seq_no = _seq_no(reply)
    except ValidationError as error:
        raise UntrustedReplyError("not a credential definition") from error
    value = json.dumps(data)
    schema_text = str(schema_id)
    return CredDef(str(asked), str(asked.did), schema_text, asked.tag, value, seq_no)


def schema_hint(namespace: str, reply: Json) -> SchemaId | None:
    """The schema in a reply to GET_TXN; a hint that a read with proof must confirm."""
    try:
        txn = reply["data"]["txn"]
        if txn["type"] != SCHEMA:
            return None
        did = Did.parse(txn["metadata"]["from"]).at(namespace)
        data = txn["data"]["data"]
        name = check_part(data["name"], "name")
        version = check_new_part(data["version"], "version")
        return SchemaId(did, name, version)
    except (KeyError, TypeError, BadIdError, AttributeError):
        return None


def taa(reply: Json) -> tuple[str, str, str] | None:
    """Text, version and digest in the answer to GET_TXN_AUTHR_AGRMT.

    Raises:
        UntrustedReplyError: it cannot be read, or the digest is not that of version and text.
    """
    if reply.get("data") is None:
        return None
    try:
        data = _Taa.model_validate(reply["data"])
    except ValidationError as error:
        raise UntrustedReplyError("not an author agreement") from error
    if hashlib.sha256((data.version + data.text).encode()).hexdigest() != data.digest:
        raise UntrustedReplyError("an author agreement with a wrong digest")
    return data.text, data.version, data.digest


def aml(reply: Json) -> dict[str, str]:
    """Ways to accept an agreement, label to explanation.

    Raises:
        UntrustedReplyError: it cannot be read.
    """
    try:
        data = _Aml.model_validate(reply.get("data"))
    except ValidationError as error:
        raise UntrustedReplyError("not a list of acceptance mechanisms") from error
    return {label: str(text) for label, text in data.aml.items()}
