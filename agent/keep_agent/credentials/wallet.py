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
from keep_agent.credentials.formats import Family, Filter, Ids
from keep_agent.credentials.ledger_objects import LedgerObjects
from keep_agent.credentials.spelling import (
    form,
    network_of,
    on_the_wire,
    qualified,
    spelled,
    unqualified,
)
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
CHECKED_KEY = "checked_key"
"""Issuers' keys with a proof that the library has found right: one row each, it says nothing but its name."""
LINK_SECRET = "link_secret"  # noqa: S105 - the name of a category
ONLY = "default"
PROOF_OF_KEY = "key_correctness_proof"
MOST_TAGGED = 100
"""How many definitions of ours are compared with a filter."""


def new_cred_def(
    cred_def_id: str, network: str, keys: CredDefKeys, predicates: Sequence[str] = ()
) -> tuple[Put, ...]:
    """Return the writes that store a new credential definition of ours.

    The records are named by the id with its network, and hold it as it was written. Both must be
    new: a second definition with the same id, in either form, is a conflict.

    Args:
        cred_def_id: in either form, as all ids in `keys.public`.
        network: where it is.
        predicates: attributes of which every value must be a 32-bit integer (SEC-I09).
    """
    name, schema_id = qualified(cred_def_id, network), str(keys.public["schemaId"])
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
        Put(CRED_DEF, name, {**record, "key_proof": keys.key_proof}, tags, new=True),
        Put(CRED_DEF_KEY, name, {"private": keys.private}, new=True),
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

    # -- issuer ----------------------------------------------------------------------------------

    async def offer(
        self, wanted: Filter, values: Values, family: Family, ids: Ids | None
    ) -> OfferOrRequest:
        """See `Credentials`."""
        name, record = await self._own(wanted)
        chosen = await on_the_wire(self._profile, family, ids) or form(record["id"])
        with errors_as(BadCommandError, "the credential definition is damaged"):
            check_values(record["public"], values, record.get("predicates", ()))
            offer = await create_offer(
                self._scope,
                schema_id=spelled(record["schema_id"], chosen, network_of(name)),
                cred_def_id=spelled(record["id"], chosen, network_of(name)),
                key_proof=record["key_proof"],
            )
        kept = {key: value for key, value in offer.items() if key != PROOF_OF_KEY}
        return OfferOrRequest(offer, {"cred_def": name, "offer": kept})

    async def issue(self, kept: Json, request: Json, values: Values) -> Json:
        """See `Credentials`."""
        name: str = kept["cred_def"]
        record = await self._profile.get(CRED_DEF, name)
        key = await self._profile.get(CRED_DEF_KEY, name)
        offer = {**kept["offer"], PROOF_OF_KEY: record["key_proof"]}
        network, ids = network_of(name), form(offer["cred_def_id"])
        public: Json = record["public"]
        own = {each: spelled(public[each], ids, network) for each in ("issuerId", "schemaId")}
        with errors_as(RefusedError, "the request does not answer our offer"):
            return await create_credential(
                self._scope,
                cred_def={**public, **own},
                private=key["private"],
                offer=offer,
                request=_respelled(request, offer, network),
                values=values,
                predicates=record.get("predicates", ()),
            )

    async def _own(self, wanted: Filter) -> tuple[str, Json]:
        """Find the credential definition of ours that fits; return its record with its name."""
        if wanted.keys() == {"cred_def_id"}:  # a read by name is ten times cheaper than by tag
            asked = wanted["cred_def_id"]
            names = self._objects.names(asked) or [asked]
            rows = [(name, await self._profile.fetch(CRED_DEF, name)) for name in names]
            found = [(name, row) for name, row in rows if row is not None]
        else:
            tags: dict[str, str] = {key: unqualified(value) for key, value in wanted.items()}
            tagged = await self._profile.find(CRED_DEF, tags, MOST_TAGGED)
            found = [each for each in tagged if _fits(wanted, *each)]
        if len(found) != 1:
            fit = "several credential definitions of ours fit"
            words = fit if found else "no credential definition of ours fits"
            raise BadCommandError(f"{words}: {', '.join(wanted.values())}")
        return found[0]

    # -- holder ----------------------------------------------------------------------------------

    async def request(self, offer: Json, values: Values) -> OfferOrRequest:
        """See `Credentials`."""
        cred_def_id = str(offer["cred_def_id"])
        cred_def = await self._offered(offer)
        public = self._objects.cred_def_json(cred_def, form(cred_def_id))
        network = network_of(cred_def.id)

        async def is_checked(pair: str) -> bool:
            return await self._profile.fetch(CHECKED_KEY, f"{network}:{pair}") is not None

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
                is_checked=is_checked,
            )
        ids = {key: offer[key] for key in ("cred_def_id", "schema_id")}
        kept = {"metadata": requested.metadata, "offer": ids}
        pair = requested.checked
        writes = () if pair is None else (Put(CHECKED_KEY, f"{network}:{pair}", {}),)
        return OfferOrRequest(requested.request, kept, writes)

    async def check(self, name: str, credential: Json, kept: Json, values: Values) -> Put:
        """See `Credentials`."""
        if await self._profile.fetch(CREDENTIAL, name) is not None:
            raise BadCommandError(f"a credential {name!r} is held already: choose another id")
        offer = kept["offer"]
        cred_def = await self._offered(offer)
        with errors_as(RefusedError, "SEC-I05: the credential is not signed by the issuer"):
            processed = await process_credential(
                self._scope,
                credential=_respelled(credential, offer, network_of(cred_def.id)),
                metadata=kept["metadata"],
                offer=offer,
                cred_def=self._objects.cred_def_json(cred_def, form(offer["cred_def_id"])),
                link_secret=await link_secret(self._profile),
                accepted=values,
            )
        return held(name, processed, cred_def)

    async def _offered(self, offer: Json) -> CredDef:
        """Read the definition of an offer from the ledger, never from the message."""
        found = await self._objects.cred_def(str(offer["cred_def_id"]))
        if found is None:
            raise RefusedError("no configured ledger has the offered credential definition")
        if qualified(str(offer["schema_id"]), network_of(found.id)) != found.schema_id:
            raise RefusedError(
                "SEC-I04: the offered schema is not the schema of the definition"
            )
        return found


def held(name: str, credential: Json, cred_def: CredDef) -> Put:
    """Return the write that keeps a processed credential.

    Its ids are those with network; the credential itself has them as they came. Its tags are the
    ids without network and the attributes, so that a request makes us read only the credentials
    that could fit it.
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


def _fits(wanted: Filter, name: str, record: Json) -> bool:
    """Tell whether a definition of ours is what is wanted: tags alone do not tell networks apart."""
    schema_id: str = record["schema_id"]
    own = {
        "cred_def_id": name,
        "schema_id": schema_id,
        "issuer_id": record["public"]["issuerId"],
    }
    there = {**own, **schema_parts(schema_id)}
    network = network_of(name)
    return all(
        qualified(value, network) == qualified(there[key], network)
        for key, value in wanted.items()
    )


def _respelled(answer: Json, offer: Json, network: str) -> Json:
    """Return an answer with its ids as in the offer, if they name the same objects.

    Args:
        network: where they are.
    """
    ids = {
        key: offer[key]
        for key in ("cred_def_id", "schema_id")
        if isinstance(answer.get(key), str)
        and qualified(answer[key], network) == qualified(str(offer[key]), network)
    }
    return {**answer, **ids}
