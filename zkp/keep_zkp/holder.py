"""What a holder does: requests, credentials, presentations (AnonCreds specification 1.0).

All JSON objects are those of the specification; ids are used exactly as they are given.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import anoncreds
import base58

from keep_zkp import blinding
from keep_zkp.encode import common_name, encode
from keep_zkp.errors import RefusedError
from keep_zkp.issuer import signed_names
from keep_zkp.json_object import Json
from keep_zkp.native import Scope, fresh, text
from keep_zkp.requests import PresentationRequest

LINK_SECRET_NAME = "default"  # noqa: S105 - a name


@dataclass(frozen=True, slots=True)
class Requested:
    """A credential request, and what the holder keeps to process the answer.

    Attributes:
        request: to send.
        metadata: secret; blinds the link secret. One for each request.
        checked: names the issuer's key and its proof, if the library has just found the proof right: to
            remember for `create_request`.
    """

    request: Json
    metadata: Json
    checked: str | None

    def __repr__(self) -> str:
        """Hide the blinding factors."""
        return "Requested(...)"


@dataclass(frozen=True, slots=True)
class Chosen:
    """One held credential and the referents of a request that it is to answer.

    Attributes:
        attributes: referents to reveal.
        predicates: referents to prove.
        hidden: referents of attributes that are proven to be signed without showing their values.
    """

    credential: Json
    attributes: tuple[str, ...]
    predicates: tuple[str, ...]
    hidden: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Hide the values."""
        return f"Chosen(attributes={self.attributes}, predicates={self.predicates})"


async def create_link_secret(scope: Scope) -> str:
    """Make the secret that binds a holder's credentials to each other: a decimal number.

    One per wallet, never per connection, never logged (SEC-I08).
    """
    return await scope.native.run(anoncreds.create_link_secret)


async def create_request(
    scope: Scope,
    *,
    offer: Json,
    cred_def_id: str,
    cred_def: Json,
    link_secret: str,
    is_checked: Callable[[str], Awaitable[bool]],
) -> Requested:
    """Answer an offer.

    Args:
        scope: of the tenant that holds the link secret.
        offer: as it came; its proof of the issuer's key is checked here (SEC-I05), unless it was before.
        cred_def_id: the id under which the ledger gave `cred_def`.
        cred_def: from the ledger, never from the message.
        link_secret: from `create_link_secret`.
        is_checked: tells whether an earlier request had this as `Requested.checked`.

    Raises:
        RefusedError: the offer is for another credential definition or schema (SEC-I04).
        BusyError: try again.
        LibraryError: the key correctness proof is wrong, or an object is malformed.
    """
    text(link_secret, "link secret")
    _check_offer(offer, text(cred_def_id, "cred def id"), cred_def)
    terms = blinding.read_terms(offer, cred_def, link_secret)
    if terms is not None and await is_checked(terms.pair):
        return await scope.native.run(_blinded, terms, offer, cred_def_id)

    def create() -> Requested:
        author = _author(cred_def_id)
        request, metadata = anoncreds.CredentialRequest.create(
            author.get("entropy"),
            author.get("prover_did"),
            scope.load(anoncreds.CredentialDefinition, cred_def),
            link_secret,
            LINK_SECRET_NAME,
            fresh(anoncreds.CredentialOffer, offer),
        )
        pair = None if terms is None else terms.pair
        return Requested(request.to_dict(), metadata.to_dict(), checked=pair)

    return await scope.native.run(create)


def _author(cred_def_id: str) -> dict[str, str]:
    """Return what says who asks: peers of unqualified ids expect a DID. A fresh one says nothing about the holder."""
    if cred_def_id.startswith("did:"):
        return {"entropy": secrets.token_hex(16)}
    return {"prover_did": base58.b58encode(secrets.token_bytes(16)).decode()}


def _blinded(terms: blinding.Terms, offer: Json, cred_def_id: str) -> Requested:
    fresh(anoncreds.CredentialOffer, offer)  # the library refuses what it always refuses
    made, nonce = blinding.blind(terms), blinding.new_nonce()
    return Requested(
        blinding.write_request(made, cred_def_id, _author(cred_def_id), nonce),
        blinding.write_metadata(made, nonce, LINK_SECRET_NAME),
        checked=None,
    )


async def process_credential(
    scope: Scope,
    *,
    credential: Json,
    metadata: Json,
    offer: Json,
    cred_def: Json,
    link_secret: str,
    accepted: Mapping[str, str],
) -> Json:
    """Check a credential that came and return it as it is to be stored.

    Args:
        scope: of the tenant that holds the link secret.
        credential: as it came.
        metadata: of the request that it answers.
        offer: the one that the request answered.
        cred_def: from the ledger.
        link_secret: the one of the request.
        accepted: the values of the preview that the holder agreed to, by attribute name.

    Raises:
        RefusedError: it is not what was accepted (SEC-I04); nothing may be stored.
        BusyError: try again.
        LibraryError: the issuer's signature is wrong (SEC-I05), or an object is malformed.
    """
    text(link_secret, "link secret")
    check_credential(credential, offer=offer, cred_def=cred_def, accepted=accepted)

    def process() -> Json:
        parsed = fresh(anoncreds.Credential, credential)
        return parsed.process(
            fresh(anoncreds.CredentialRequestMetadata, metadata),
            link_secret,
            scope.load(anoncreds.CredentialDefinition, cred_def),
        ).to_dict()

    return await scope.native.run(process)


def check_credential(
    credential: Json, *, offer: Json, cred_def: Json, accepted: Mapping[str, str]
) -> None:
    """Refuse a credential that is not the one accepted (SEC-I04).

    Raises:
        RefusedError: another schema or credential definition than offered, other values than
            accepted, or a value that is not the one signed.
    """
    for key in ("schema_id", "cred_def_id"):
        if not isinstance(credential.get(key), str) or credential[key] != offer.get(key):
            raise RefusedError("SEC-I04", f"{key} is not the one offered")
    shown = _raw_values(credential)
    agreed = {common_name(name): value for name, value in accepted.items()}
    if shown != agreed or shown.keys() != signed_names(cred_def):
        raise RefusedError("SEC-I04", "the values are not those accepted")


async def create_presentation(
    scope: Scope,
    *,
    request: PresentationRequest,
    chosen: Iterable[Chosen],
    self_attested: Mapping[str, str],
    link_secret: str,
    schemas: Mapping[str, Json],
    cred_defs: Mapping[str, Json],
) -> Json:
    """Answer a presentation request.

    Args:
        scope: of the tenant that holds the link secret.
        request: read by `read_request`.
        chosen: which credential answers which referents; each referent once.
        self_attested: values of our own, without a credential, for referents without restrictions.
        link_secret: the wallet's.
        schemas: from the ledger, by the ids in the credentials.
        cred_defs: likewise.

    Raises:
        RefusedError: a referent is answered twice, not at all, or was not asked.
        BusyError: try again.
        LibraryError: a predicate does not hold, or an object is malformed.
    """
    used = tuple(chosen)
    _check_answers(request, used, self_attested)
    text(link_secret, "link secret")
    attested = {
        text(key, "referent"): text(said, "value") for key, said in self_attested.items()
    }

    def create() -> Json:
        credentials = anoncreds.PresentCredentials()
        for each in used:
            native = scope.load(anoncreds.Credential, each.credential)
            credentials.add_attributes(native, *each.attributes)
            credentials.add_attributes(native, *each.hidden, reveal=False)
            credentials.add_predicates(native, *each.predicates)
        return anoncreds.Presentation.create(
            fresh(anoncreds.PresentationRequest, request.wire()),
            credentials,
            attested,
            link_secret,
            {
                text(key, "schema id"): scope.load(anoncreds.Schema, schemas[key])
                for key in schemas
            },
            {
                text(key, "cred def id"): scope.load(
                    anoncreds.CredentialDefinition, cred_defs[key]
                )
                for key in cred_defs
            },
        ).to_dict()

    return await scope.native.run(create)


def _check_offer(offer: Json, cred_def_id: str, cred_def: Json) -> None:
    if offer.get("cred_def_id") != cred_def_id:
        raise RefusedError("SEC-I04", "the offer is for another credential definition")
    if not isinstance(offer.get("schema_id"), str):
        raise RefusedError("SEC-I04", "the offer does not name a schema")
    signed_names(cred_def)


def _raw_values(credential: Json) -> dict[str, str]:
    values = credential.get("values")
    if not isinstance(values, dict):
        raise RefusedError("SEC-I04", "the credential has no values")
    pairs = cast("dict[str, object]", values).items()
    found = {common_name(name): _raw_value(value) for name, value in pairs}
    if len(found) != len(pairs):
        raise RefusedError("SEC-I04", "there are two values for one attribute")
    return found


def _raw_value(value: object) -> str:
    match value:
        case {"raw": str(raw), "encoded": str(encoded)} if encode(raw) == encoded:
            return raw
        case _:
            raise RefusedError("SEC-I04", "a value is not the one that was signed")


def _check_answers(
    request: PresentationRequest, chosen: tuple[Chosen, ...], self_attested: Mapping[str, str]
) -> None:
    attributes = [key for each in chosen for key in (*each.attributes, *each.hidden)]
    attributes += self_attested
    predicates = [key for each in chosen for key in each.predicates]
    if sorted(attributes) != sorted(request.requested_attributes):
        raise RefusedError("SEC-P07", "not every attribute is answered exactly once")
    if sorted(predicates) != sorted(request.requested_predicates):
        raise RefusedError("SEC-P07", "not every predicate is answered exactly once")
    for key in self_attested:
        if request.requested_attributes[key].restrictions is not None:
            raise RefusedError(
                "SEC-P09", f"{key!r} has restrictions: it cannot be self-attested"
            )
