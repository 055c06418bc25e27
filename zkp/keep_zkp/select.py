"""Which held credential answers which referent of a request, and why another does not.

Pure and cheap: restrictions and predicates are tried on the plain values. The caller narrows the
candidates by tag first (`narrow`), so that the cost does not grow with the wallet. Everything
returned here is for the holder's own eyes: reasons name values and must not be logged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keep_zkp.encode import common_name, signed_number
from keep_zkp.requests import Attribute, Predicate, PresentationRequest
from keep_zkp.restrictions import AllOf, AnyOf, Facts, Is, Query, holds


@dataclass(frozen=True, slots=True)
class Held:
    """A credential in the wallet.

    Attributes:
        credential_id: the wallet's name for it.
        values: raw values by attribute name.
        schema_issuer_id: None, like name and version of the schema, where the wallet does not know.
    """

    credential_id: str
    cred_def_id: str
    schema_id: str
    issuer_id: str
    values: Mapping[str, str] = field(repr=False)
    schema_issuer_id: str | None = None
    schema_name: str | None = None
    schema_version: str | None = None


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a credential cannot answer a referent; `why` is for the holder only."""

    credential_id: str
    referent: str
    why: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Selection:
    """How the wallet would answer.

    Attributes:
        chosen: credential id by referent; of the candidates, one that answers most referents.
        candidates: every credential that fits, by referent, in the order given.
        misfits: why the others do not.
        missing: referents that nothing held can answer.
        self_attestable: attributes without restrictions that nothing answers: the holder's own
            statement would be enough, if the holder wants to make it.
    """

    chosen: Mapping[str, str]
    candidates: Mapping[str, tuple[str, ...]]
    misfits: tuple[Misfit, ...]
    missing: tuple[str, ...]
    self_attestable: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Every referent can be answered by a credential."""
        return not self.missing and not self.self_attestable


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Tags that a credential must have to answer one referent; an empty set asks nothing.

    Attributes:
        cred_def_ids: its credential definition must be one of these; likewise the next two.
        names: common names of attributes; it must have all of them.
    """

    cred_def_ids: frozenset[str]
    schema_ids: frozenset[str]
    issuer_ids: frozenset[str]
    names: frozenset[str]


def narrow(request: PresentationRequest) -> dict[str, Narrowing]:
    """Return, by referent, what to look for in the wallet before `select`.

    Ids are as the peer wrote them: the caller adds their other forms.
    """
    return {
        referent: Narrowing(
            _needed(asked.restrictions, "cred_def_id"),
            _needed(asked.restrictions, "schema_id"),
            _needed(asked.restrictions, "issuer_id")
            | _needed(asked.restrictions, "issuer_did"),
            frozenset(map(common_name, _names(asked))),
        )
        for referent, asked in request.asked.items()
    }


def select(request: PresentationRequest, held: Sequence[Held]) -> Selection:
    """Choose a credential for each referent. Ids are compared as texts, as by `verify`.

    Args:
        request: what the peer asks.
        held: candidates, the preferred first (for instance the newest).
    """
    candidates: dict[str, tuple[str, ...]] = {}
    misfits: list[Misfit] = []
    for referent, asked in request.asked.items():
        tried = [(each.credential_id, _why_not(asked, each)) for each in held]
        candidates[referent] = tuple(name for name, why in tried if why is None)
        misfits += [Misfit(name, referent, why) for name, why in tried if why is not None]
    chosen = _choose(request, candidates)
    left = [referent for referent in request.asked if referent not in chosen]
    own_word = [referent for referent in left if _self_attestable(request, referent)]
    return Selection(
        chosen,
        candidates,
        tuple(misfits),
        tuple(referent for referent in left if referent not in own_word),
        tuple(own_word),
    )


def _why_not(asked: Attribute | Predicate, held: Held) -> str | None:
    values = {common_name(name): raw for name, raw in held.values.items()}
    for name in _names(asked):
        if common_name(name) not in values:
            return f"it has no {name!r}"
    if holds(asked.restrictions, _facts(held, values)) is not True:
        return "its credential definition, schema or issuer is not one of those requested"
    if isinstance(asked, Predicate):
        return _fails(asked, values[common_name(asked.name)])
    return None


def _fails(predicate: Predicate, raw: str) -> str | None:
    number = signed_number(raw)
    if number is None:
        return f"{predicate.name} is not a number that can be compared"
    if predicate.holds(number):
        return None
    return (
        f"{predicate.name} {number} is not {predicate.p_type} {predicate.p_value}: "
        "nobody else sees this, but it cannot be proved"
    )


def _facts(held: Held, values: Mapping[str, str]) -> Facts:
    return Facts(
        cred_def_id=held.cred_def_id,
        issuer_id=held.issuer_id,
        schema_id=held.schema_id,
        attributes=frozenset(values),
        values=values,
        schema_issuer_id=held.schema_issuer_id,
        schema_name=held.schema_name,
        schema_version=held.schema_version,
    )


def _choose(
    request: PresentationRequest, candidates: Mapping[str, tuple[str, ...]]
) -> dict[str, str]:
    """Prefer the credential that answers most: fewer credentials shown, fewer proofs to make.

    One credential cannot both show an attribute and prove a predicate about it (SEC-P22).
    """
    counts: dict[str, int] = {}
    for several in candidates.values():
        for name in several:
            counts[name] = counts.get(name, 0) + 1
    chosen: dict[str, str] = {}
    for referent, several in candidates.items():
        free = [name for name in several if not _clashes(request, referent, name, chosen)]
        if free:
            chosen[referent] = max(free, key=lambda name: counts[name])
    return chosen


def _clashes(
    request: PresentationRequest, referent: str, name: str, chosen: Mapping[str, str]
) -> bool:
    asked = request.asked[referent]
    if not isinstance(asked, Predicate):
        return False
    shown = {
        common_name(each)
        for key, attribute in request.requested_attributes.items()
        if chosen.get(key) == name
        for each in attribute.all_names
    }
    return common_name(asked.name) in shown


def _self_attestable(request: PresentationRequest, referent: str) -> bool:
    asked = request.asked[referent]
    return (
        isinstance(asked, Attribute) and asked.restrictions is None and asked.name is not None
    )


def _names(asked: Attribute | Predicate) -> tuple[str, ...]:
    return asked.all_names if isinstance(asked, Attribute) else (asked.name,)


def _needed(query: Query | None, tag: str) -> frozenset[str]:
    """Return the values of which the tag must have one; empty when it is free on some path."""
    match query:
        case Is(found, values) if found == tag:
            return frozenset(values)
        case AllOf(parts):
            needs = [need for part in parts if (need := _needed(part, tag))]
            return needs[0] if needs else frozenset()
        case AnyOf(parts):
            needs = [_needed(part, tag) for part in parts]
            return frozenset[str]().union(*needs) if all(needs) else frozenset()
        case _:
            return frozenset()
