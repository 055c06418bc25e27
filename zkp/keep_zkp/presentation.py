"""The structure of a presentation: a closed model of its JSON, with all sizes bounded.

Nothing in it is trusted; `verdict` compares it with the request. A member that is not in the
model, a number in another spelling, or one list more than was asked for is refused before any
cryptography runs (SEC-P30).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from keep_zkp.encode import canonical
from keep_zkp.errors import InvalidError, RefusedError
from keep_zkp.json_object import Json
from keep_zkp.model_errors import first_wrong
from keep_zkp.native import MAX_TEXT, json_text
from keep_zkp.requests import Int32, Name, PresentationRequest, Referent

Number = Annotated[str, StringConstraints(pattern=r"^(0|-?[1-9][0-9]{0,1299})$")]
"""A big integer in canonical decimal form; an honest one has up to 940 digits."""
Natural = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,1299})$")]
"""One that is an element of a group, or a hash."""
Value = Annotated[str, StringConstraints(max_length=MAX_TEXT, pattern=r"^[^\x00]*$")]
LedgerId = Annotated[
    str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00]*$")
]
Index = Annotated[int, Field(ge=0, lt=100)]
Byte = Annotated[int, Field(ge=0, le=255)]
Square = Literal["0", "1", "2", "3"]
Delta = Literal["DELTA"]
MAX_NAMES = 130
MAX_MEMBERS = 300
"""Members of any one object: no honest one has so many, and each that is wrong costs a message."""


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Compared(_Closed):
    """A predicate as the proof states it."""

    attr_name: Name
    p_type: Literal["GE", "LE", "GT", "LT"]
    value: Int32


class PredicateProof(_Closed):
    """The proof that one hidden attribute satisfies one predicate; numbers are named as in the CL paper."""

    u: dict[Square, Number]
    r: dict[Square | Delta, Number]
    mj: Number
    alpha: Number
    t: dict[Square | Delta, Natural]
    predicate: Compared


class EqualityProof(_Closed):
    """The proof that the issuer signed the revealed and the hidden attributes."""

    revealed_attrs: Annotated[dict[Name, Number], Field(max_length=MAX_NAMES)]
    a_prime: Natural
    e: Number
    v: Number
    m: Annotated[dict[Name, Number], Field(max_length=MAX_NAMES)]
    m2: Number


class PrimaryProof(_Closed):
    """The proof about one credential."""

    eq_proof: EqualityProof
    ge_proofs: Annotated[tuple[PredicateProof, ...], Field(max_length=100, fail_fast=True)]


class SubProof(_Closed):
    """The proofs of one credential; no proof of non-revocation is accepted until we can verify it."""

    primary_proof: PrimaryProof
    non_revoc_proof: None


class Challenge(_Closed):
    """The joint proof of all credentials: the hash and the commitments that it was made over."""

    c_hash: Natural
    c_list: Annotated[
        tuple[Annotated[tuple[Byte, ...], Field(max_length=600, fail_fast=True)], ...],
        Field(max_length=1000, fail_fast=True),
    ]


class Proof(_Closed):
    """The cryptographic part."""

    proofs: Annotated[tuple[SubProof, ...], Field(max_length=100, fail_fast=True)]
    aggregated_proof: Challenge


class RawEncoded(_Closed):
    """A value for people, and the number that was signed."""

    raw: Value
    encoded: Number


class Reference(_Closed):
    """The sub-proof that answers, as the holder claims."""

    sub_proof_index: Index


class Revealed(Reference, RawEncoded):
    """A revealed attribute."""


class RevealedGroup(Reference):
    """Attributes revealed together."""

    values: Annotated[dict[Name, RawEncoded], Field(max_length=MAX_NAMES)]


class RequestedProof(_Closed):
    """Which sub-proof answers which referent, as the holder claims."""

    revealed_attrs: dict[Referent, Revealed]
    revealed_attr_groups: dict[Referent, RevealedGroup] = {}
    self_attested_attrs: dict[Referent, Value] = {}
    unrevealed_attrs: dict[Referent, Reference] = {}
    predicates: dict[Referent, Reference] = {}

    @property
    def sections(self) -> tuple[frozenset[str], ...]:
        """The referents of each of the five sections, in the order of the fields."""
        return (
            frozenset(self.revealed_attrs),
            frozenset(self.revealed_attr_groups),
            frozenset(self.self_attested_attrs),
            frozenset(self.unrevealed_attrs),
            frozenset(self.predicates),
        )

    def references(self) -> Iterator[tuple[str, int]]:
        """Yield every referent that a credential answers, as the holder claims, and the index of its sub-proof."""
        for section in (
            self.revealed_attrs,
            self.revealed_attr_groups,
            self.unrevealed_attrs,
            self.predicates,
        ):
            for referent, answer in section.items():
                yield referent, answer.sub_proof_index


class Identifier(_Closed):
    """The ledger objects of a sub-proof, as the holder claims."""

    schema_id: LedgerId
    cred_def_id: LedgerId
    rev_reg_id: LedgerId | None = None
    timestamp: Annotated[int, Field(ge=0, le=2**53)] | None = None


class Presentation(_Closed):
    """A presentation with a correct structure; its content is not checked."""

    proof: Proof
    requested_proof: RequestedProof
    identifiers: Annotated[tuple[Identifier, ...], Field(max_length=100, fail_fast=True)]


def read_presentation(body: Json, request: PresentationRequest) -> Presentation:
    """Check size and shape.

    Raises:
        RefusedError: too large, more parts than `request` has referents, or another shape.
    """
    found = body.get("identifiers") if isinstance(body, dict) else None  # pyright: ignore[reportUnnecessaryIsInstance] - it comes from outside
    if not isinstance(found, list) or len(found) > len(request.asked):  # pyright: ignore[reportUnknownArgumentType]
        words = "the presentation names no credentials, or more than could be asked for"
        raise RefusedError("SEC-P30", words)
    if _most_members(body) > MAX_MEMBERS:
        raise RefusedError("SEC-P30", "an object in the presentation has too many members")
    try:
        return Presentation.model_validate_json(json_text(body))
    except InvalidError as error:
        raise RefusedError("SEC-P30", f"the presentation cannot be read: {error}") from None
    except ValidationError as error:
        words = f"the presentation is not formed as one: {first_wrong(error)}"
        raise RefusedError("SEC-P30", words) from None


def as_signed(body: Json) -> Json:
    """Return a presentation that `read_presentation` took, with each raw value as it is signed (SEC-P02)."""
    proof = body["requested_proof"]
    groups = proof.get("revealed_attr_groups", {})
    signed = {
        "revealed_attrs": {key: _signed(one) for key, one in proof["revealed_attrs"].items()},
        "revealed_attr_groups": {
            key: {
                **one,
                "values": {name: _signed(each) for name, each in one["values"].items()},
            }
            for key, one in groups.items()
        },
    }
    return {**body, "requested_proof": {**proof, **signed}}


def _signed(value: Json) -> Json:
    return {**value, "raw": canonical(value["raw"])}


def _most_members(body: Json) -> int:
    """Return how many members the largest object in a JSON value has."""
    most, found = 0, [cast("object", body)]
    while found:
        value = found.pop()
        if isinstance(value, dict):
            most = max(most, len(cast("Json", value)))
            found += [x for x in cast("Json", value).values() if isinstance(x, dict | list)]
        elif isinstance(value, list):
            found += [x for x in cast("list[object]", value) if isinstance(x, dict | list)]
    return most
