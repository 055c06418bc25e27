"""What an issuer does: keys, offers, credentials (AnonCreds specification 1.0).

All JSON objects are those of the specification; ids are used exactly as they are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import anoncreds

from keep_zkp.encode import canonical, check_names, common_name, for_predicates, signed_number
from keep_zkp.errors import InvalidError, RefusedError
from keep_zkp.json_object import Json
from keep_zkp.native import Scope, fresh, text

MAX_ATTRIBUTES = 125
"""The ledger's bound on the attributes of a schema."""
MOST_SAID = 3


@dataclass(frozen=True, slots=True)
class CredDefKeys:
    """A new credential definition.

    Attributes:
        public: the object to publish.
        private: never leaves the store (SEC-I07).
        key_proof: goes into every offer.
    """

    public: Json
    private: Json
    key_proof: Json

    def __repr__(self) -> str:
        """Hide the private half."""
        return "CredDefKeys(...)"


def make_schema(name: str, version: str, issuer_id: str, attributes: Iterable[str]) -> Json:
    """Return a schema object.

    Raises:
        InvalidError: no or too many attributes, or two with one canonical name (SEC-P18).
    """
    names = [text(each, "attribute name") for each in attributes]
    if not 1 <= len(names) <= MAX_ATTRIBUTES:
        raise InvalidError(f"a schema has 1 to {MAX_ATTRIBUTES} attributes")
    check_names(names)
    return {
        "issuerId": text(issuer_id, "issuer id"),
        "attrNames": names,
        "name": text(name, "schema name"),
        "version": text(version, "schema version"),
    }


async def create_cred_def(
    scope: Scope, *, schema_id: str, schema: Json, issuer_id: str, tag: str, revocable: bool
) -> CredDefKeys:
    """Make the keys of a credential definition: 3 to 30 seconds of CPU, one at a time.

    Raises:
        InvalidError: an argument of the wrong type, or a schema with colliding names (SEC-P18).
        BusyError: too many are being made.
        LibraryError: the library refused.
    """
    for value, what in ((schema_id, "schema id"), (issuer_id, "issuer id"), (tag, "tag")):
        text(value, what)
    check_names(schema_names(schema))

    def create() -> CredDefKeys:
        parts = anoncreds.CredentialDefinition.create(
            schema_id,
            scope.load(anoncreds.Schema, schema),
            issuer_id,
            tag,
            "CL",
            support_revocation=revocable is True,
        )
        return CredDefKeys(*(part.to_dict() for part in parts))

    return await scope.native.run_long(create)


async def create_offer(
    scope: Scope, *, schema_id: str, cred_def_id: str, key_proof: Json
) -> Json:
    """Make an offer with a fresh nonce; raises as `create_cred_def` does."""
    text(schema_id, "schema id")
    text(cred_def_id, "cred def id")

    def create() -> Json:
        proof = scope.load(anoncreds.KeyCorrectnessProof, key_proof)
        return anoncreds.CredentialOffer.create(schema_id, cred_def_id, proof).to_dict()

    return await scope.native.run(create)


async def create_credential(
    scope: Scope,
    *,
    cred_def: Json,
    private: Json,
    offer: Json,
    request: Json,
    values: Mapping[str, str],
    predicates: Iterable[str] = (),
) -> Json:
    """Sign a credential over `values`.

    Args:
        scope: of the tenant that owns the keys.
        cred_def: the published object.
        private: its private half.
        offer: ours, as it was sent.
        request: the holder's, to be for that offer: same credential definition, its nonce (SEC-I01).
        values: raw value of every attribute of the schema.
        predicates: attributes meant for predicates besides the `*_dateint` ones (SEC-P20).

    Raises:
        RefusedError: the request is for another credential definition, or the library found
            that it does not answer this offer.
        InvalidError: `values` do not fit (see `check_values`).
        BusyError: try again.
        LibraryError: the library refused.
    """
    check_values(cred_def, values, predicates)
    if request.get("cred_def_id") != offer.get("cred_def_id"):
        raise RefusedError("SEC-I01", "the request is for another credential definition")

    def create() -> Json:
        return anoncreds.Credential.create(
            scope.load(anoncreds.CredentialDefinition, cred_def),
            scope.load(anoncreds.CredentialDefinitionPrivate, private),
            fresh(anoncreds.CredentialOffer, offer),
            fresh(anoncreds.CredentialRequest, request),
            dict(values),
        ).to_dict()

    return await scope.native.run(create)


def check_values(
    cred_def: Json, values: Mapping[str, str], predicates: Iterable[str] = ()
) -> None:
    """Refuse values that cannot be issued; to be called before they are offered.

    Raises:
        InvalidError: not exactly the attributes of the schema, no text that can be signed, or no
            32-bit integer in its canonical spelling in an attribute that is meant for predicates
            (SEC-P20).
    """
    names = {common_name(text(name, "attribute name")): name for name in values}
    if len(names) != len(values):
        raise InvalidError(
            "the values are not exactly the attributes of the schema: one has two values; "
            "spaces and case do not count in names"
        )
    _check_names(names, signed_names(cred_def))
    compared = for_predicates(values, predicates)
    if not compared <= names.keys():
        raise InvalidError("SEC-P20: an attribute meant for predicates is not in the schema")
    for name, raw in values.items():
        text(raw, f"value of {name!r}")
        if common_name(name) in compared and not _comparable(raw):
            raise InvalidError(
                f"SEC-P20: the value of {name!r} is not a 32-bit integer, written without leading "
                "zeros and plus sign: it is meant for predicates"
            )


def _check_names(given: Mapping[str, str], wanted: frozenset[str]) -> None:
    """Refuse values that are not exactly those of the schema; names are common names."""
    missing = sorted(wanted - given.keys())[:MOST_SAID]
    unknown = sorted(given[each] for each in given.keys() - wanted)[:MOST_SAID]
    said = [f"{each[:64]!r} is missing" for each in missing]
    said += [f"{each[:64]!r} is none of them" for each in unknown]
    if said:
        raise InvalidError(
            f"the values are not exactly the attributes of the schema: {', '.join(said)}"
        )


def _comparable(raw: str) -> bool:
    """Whether predicates are proved over what people read: a 32-bit integer in its one spelling."""
    return signed_number(raw) is not None and canonical(raw) == raw


def schema_names(schema: Json) -> list[str]:
    """Return the attribute names of a schema object.

    Raises:
        InvalidError: it has none.
    """
    names = schema.get("attrNames")
    if not isinstance(names, list) or not names:
        raise InvalidError("not a schema: it has no attrNames")
    return [text(name, "attribute name") for name in cast("list[object]", names)]


def signed_names(cred_def: Json) -> frozenset[str]:
    """Return the common names of the attributes that a credential definition signs.

    Raises:
        InvalidError: it is not a credential definition.
    """
    try:
        found = frozenset(cast("dict[str, object]", cred_def["value"]["primary"]["r"]))
    except (KeyError, TypeError) as error:
        raise InvalidError("not a credential definition") from error
    return found - {"master_secret", "link_secret"}
