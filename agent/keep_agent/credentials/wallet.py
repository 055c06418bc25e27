"""The wallet of a tenant: link secret, held credentials, issuer keys; for issue-credential.

Everything here reads and computes. What is to be stored is returned as writes, which a protocol's
step or a job commits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from keep_agent.core.machine import Put
from keep_agent.core.message import Json
from keep_agent.credentials.formats import LEGACY, Family, Filter
from keep_agent.credentials.ledger_objects import LedgerObjects, may_be_same, unqualified
from keep_agent.errors import (
    BadCommandError,
    ConflictError,
    KeepError,
    RefusedError,
    UnavailableError,
)
from keep_agent.protocols.issue_credential_2 import OfferOrRequest, Values
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit
from keep_ledger.errors import BadIdError
from keep_ledger.identifiers import SchemaId
from keep_ledger.interface import CredDef
from keep_zkp import errors as zkp
from keep_zkp.encode import common_name
from keep_zkp.holder import create_link_secret, create_request, process_credential
from keep_zkp.issuer import (
    CredDefKeys,
    check_values,
    create_credential,
    create_offer,
    signed_names,
)
from keep_zkp.native import Scope

CREDENTIAL = "credential"
CRED_DEF = "cred_def"
CRED_DEF_KEY = "cred_def_key"
"""Private keys, in a category of their own: a list of `cred_def` never reads one."""
LINK_SECRET = "link_secret"  # noqa: S105 - the name of a category
ONLY = "default"
PROOF_OF_KEY = "key_correctness_proof"


def new_cred_def(
    cred_def_id: str, schema_id: str, keys: CredDefKeys, predicates: Sequence[str] = ()
) -> tuple[Put, ...]:
    """Return the writes that store a new credential definition of ours.

    Both records must be new: a second definition with the same id is a conflict.

    Args:
        cred_def_id: in the form that names its network.
        schema_id: in the same form.
        predicates: attributes of which every value must be a 32-bit integer (SEC-I09).
    """
    record = {
        "id": cred_def_id,
        "schema_id": schema_id,
        "public": keys.public,
        "predicates": list(predicates),
    }
    tags = {
        "cred_def_id": unqualified(cred_def_id),
        "schema_id": unqualified(schema_id),
        "issuer_id": unqualified(keys.public["issuerId"]),
        **schema_parts(schema_id),
    }
    return (
        Put(CRED_DEF, cred_def_id, {**record, "key_proof": keys.key_proof}, tags, new=True),
        Put(CRED_DEF_KEY, cred_def_id, {"private": keys.private}, new=True),
    )


async def make_link_secret(profile: Profile, scope: Scope) -> None:
    """Give a tenant its one link secret, if it has none (SEC-I08).

    It is called when the tenant is opened, before any of its exchanges runs, so that two first requests
    do not make two. If another process was faster, its link secret stays.
    """
    if await profile.fetch(LINK_SECRET, ONLY) is not None:
        return
    secret = await create_link_secret(scope)
    try:
        await profile.commit(
            Commit(writes=(Put(LINK_SECRET, ONLY, {"secret": secret}, new=True),))
        )
    except ConflictError:
        return


async def link_secret(profile: Profile) -> str:
    """Return the tenant's link secret.

    Raises:
        UnavailableError: the tenant is not opened yet.
    """
    record = await profile.fetch(LINK_SECRET, ONLY)
    if record is None:
        raise UnavailableError("the wallet has no link secret yet")
    return str(record["secret"])


@contextmanager
def errors_as(kind: type[BadCommandError | RefusedError], words: str) -> Generator[None]:
    """Turn errors of `keep_zkp` into ours.

    Args:
        kind: the error for a broken rule or a refusal of the library.
        words: the text for a refusal of the library.
    """
    error_: KeepError
    try:
        yield
    except zkp.BusyError as error:
        raise UnavailableError(str(error)) from error
    except zkp.InvalidError as error:
        raise BadCommandError(str(error)) from error
    except zkp.RefusedError as error:
        error_ = kind(str(error))
        raise error_ from error
    except zkp.LibraryError as error:
        error_ = kind(words)
        raise error_ from error


class Wallet:
    """One tenant's credentials, as issuer and as holder (`issue_credential.Credentials`)."""

    def __init__(self, profile: Profile, scope: Scope, objects: LedgerObjects) -> None:
        self._profile = profile
        self._scope = scope
        self._objects = objects
        self._own_names: dict[str, str] = {}

    # -- issuer ----------------------------------------------------------------------------------

    async def offer(self, wanted: Filter, values: Values, family: Family) -> OfferOrRequest:
        """See `Credentials`."""
        record = await self._own(wanted)
        spell = unqualified if family == LEGACY else str
        with errors_as(BadCommandError, "the credential definition is damaged"):
            check_values(record["public"], values, record.get("predicates", ()))
            offer = await create_offer(
                self._scope,
                schema_id=spell(record["schema_id"]),
                cred_def_id=spell(record["id"]),
                key_proof=record["key_proof"],
            )
        kept = {key: value for key, value in offer.items() if key != PROOF_OF_KEY}
        return OfferOrRequest(offer, {"cred_def": record["id"], "offer": kept})

    async def issue(self, kept: Json, request: Json, values: Values) -> Json:
        """See `Credentials`."""
        record = await self._profile.get(CRED_DEF, kept["cred_def"])
        key = await self._profile.get(CRED_DEF_KEY, kept["cred_def"])
        offer = {**kept["offer"], PROOF_OF_KEY: record["key_proof"]}
        with errors_as(RefusedError, "the request does not answer our offer"):
            return await create_credential(
                self._scope,
                cred_def=record["public"],
                private=key["private"],
                offer=offer,
                request=_respelled(request, offer),
                values=values,
                predicates=record.get("predicates", ()),
            )

    async def _own(self, wanted: Filter) -> Json:
        """Find the credential definition of ours that fits."""
        asked = wanted.get("cred_def_id", "")
        if len(wanted) == 1 and asked:
            name = self._own_names.get(
                asked, asked
            )  # a read by name is ten times cheaper than one by tag
            record = await self._profile.fetch(CRED_DEF, name)
            if record is not None:
                return record
        tags: dict[str, str] = {key: unqualified(value) for key, value in wanted.items()}
        found = await self._profile.find(CRED_DEF, tags, limit=3)
        fitting = [each for _, each in found if not asked or may_be_same(each["id"], asked)]
        if len(fitting) != 1:
            words = "several credential definitions" if fitting else "no credential definition"
            raise BadCommandError(f"{words} of ours fit: {', '.join(wanted.values())}")
        self._own_names[unqualified(fitting[0]["id"])] = fitting[0]["id"]
        return fitting[0]

    # -- holder ----------------------------------------------------------------------------------

    async def request(self, offer: Json, values: Values) -> OfferOrRequest:
        """See `Credentials`."""
        cred_def_id = str(offer["cred_def_id"])
        cred_def = await self._offered(offer)
        public = self._objects.cred_def_json(cred_def, legacy=_is_legacy(cred_def_id))
        with errors_as(RefusedError, "SEC-I05: the offer does not prove the issuer's key"):
            if frozenset(map(common_name, values)) != signed_names(public):
                raise RefusedError(
                    "SEC-I04: the preview does not have the attributes of the schema"
                )
            requested = await create_request(
                self._scope,
                offer=offer,
                cred_def_id=cred_def_id,
                cred_def=public,
                link_secret=await link_secret(self._profile),
            )
        ids = {key: offer[key] for key in ("cred_def_id", "schema_id")}
        return OfferOrRequest(requested.request, {"metadata": requested.metadata, "offer": ids})

    async def check(self, name: str, credential: Json, kept: Json, values: Values) -> Put:
        """See `Credentials`."""
        if await self._profile.fetch(CREDENTIAL, name) is not None:
            raise BadCommandError(f"a credential {name!r} is held already: choose another id")
        offer = kept["offer"]
        cred_def = await self._offered(offer)
        legacy = _is_legacy(offer["cred_def_id"])
        with errors_as(RefusedError, "SEC-I05: the credential is not signed by the issuer"):
            processed = await process_credential(
                self._scope,
                credential=_respelled(credential, offer),
                metadata=kept["metadata"],
                offer=offer,
                cred_def=self._objects.cred_def_json(cred_def, legacy=legacy),
                link_secret=await link_secret(self._profile),
                accepted=values,
            )
        return held(name, processed, cred_def)

    async def _offered(self, offer: Json) -> CredDef:
        """Read the definition of an offer from the ledger, never from the message."""
        found = await self._objects.cred_def(str(offer["cred_def_id"]))
        if found is None:
            raise RefusedError("no configured ledger has the offered credential definition")
        if not may_be_same(found.schema_id, str(offer["schema_id"])):
            raise RefusedError(
                "SEC-I04: the offered schema is not the schema of the definition"
            )
        return found


def held(name: str, credential: Json, cred_def: CredDef) -> Put:
    """Return the write that keeps a processed credential.

    Its tags are the ids without network and the attributes, so that a request makes us read only
    the credentials that could fit it.
    """
    record = {
        "credential": credential,
        "cred_def_id": cred_def.id,
        "schema_id": cred_def.schema_id,
        "issuer_id": cred_def.issuer_id,
    }
    names: Mapping[str, Any] = credential["values"]
    tags = {
        "cred_def_id": unqualified(cred_def.id),
        "schema_id": unqualified(cred_def.schema_id),
        "issuer_id": unqualified(cred_def.issuer_id),
        **{attribute_tag(each): "1" for each in names},
    }
    return Put(CREDENTIAL, name, record, tags, new=True)


def attribute_tag(name: str) -> str:
    """Return the tag that a held credential has for one of its attributes.

    A tag's name takes neither quotes nor every script, and no peer may choose one: it has a digest.
    """
    digest = hashlib.sha256(common_name(name).encode()).hexdigest()
    return f"attribute:{digest[:32]}"


def schema_parts(schema_id: str) -> dict[str, str]:
    """Return the parts of a schema id; empty if it is not an Indy id."""
    try:
        schema = SchemaId.parse(schema_id)
    except BadIdError:
        return {}
    return {
        "schema_issuer_id": schema.did.id,
        "schema_name": schema.name,
        "schema_version": schema.version,
    }


def _is_legacy(text: str) -> bool:
    return not text.startswith("did:")


def _respelled(answer: Json, offer: Json) -> Json:
    """Return an answer with its ids as in the offer, if they name the same objects."""
    ids = {
        key: offer[key]
        for key in ("cred_def_id", "schema_id")
        if isinstance(answer.get(key), str) and may_be_same(answer[key], str(offer[key]))
    }
    return {**answer, **ids}
