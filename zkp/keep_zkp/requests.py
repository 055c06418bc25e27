"""Presentation requests (AnonCreds specification 1.0): a closed model, and how we ask.

Two ways in. `read_request` takes what a peer asks of us: generous in shape. `our_request`,
`make_request` and `over_age` make what we ask: strict, because a request that binds nobody lets
anybody answer (SEC-P08 to P11).
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from keep_zkp.encode import INT32_MAX, INT32_MIN, common_name
from keep_zkp.errors import InvalidError, RefusedError
from keep_zkp.json_object import Json
from keep_zkp.model_errors import first_wrong
from keep_zkp.restrictions import (
    ISSUER_TAGS,
    AllOf,
    Is,
    Query,
    Restrictions,
    as_signed,
    binds_issuer,
    leaves,
    respell,
    spelt_both_ways,
    value_name,
    without_markers,
)

Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
Referent = Name
Int32 = Annotated[int, Field(strict=True, ge=INT32_MIN, le=INT32_MAX)]
Seconds = Annotated[int, Field(strict=True, ge=0, le=2**53)]
MAX_REFERENTS = 125
"""As many as a schema has attributes at most, in the limit of Indy's ledgers."""
NONCE_BITS = 80


def _wire_name(name: str) -> str:
    return name.rstrip("_")  # `from` is a word of the language


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, alias_generator=_wire_name
    )


class Interval(_Frozen):
    """When a credential must not have been revoked, in seconds of Unix time (RFC 0441).

    Its place in the model; until revocation is built, `verdict` calls it not proven.
    """

    from_: Seconds | None = None
    to: Seconds | None = None


class Asked(_Frozen):
    """What an attribute and a predicate have in common."""

    restrictions: Restrictions = None
    non_revoked: Interval | None = None


class Attribute(Asked):
    """Attributes to reveal: one `name`, or `names` that must come from one credential."""

    name: Name | None = None
    names: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_REFERENTS)] | None = (
        None
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Attribute:
        if (self.name is None) == (self.names is None):
            raise ValueError("it needs exactly one of name and names")
        common = [common_name(name) for name in self.all_names]
        if len(set(common)) != len(common) or "" in common:
            raise ValueError("a name occurs twice or is empty")
        return self

    @property
    def all_names(self) -> tuple[str, ...]:
        """The names asked for, in either form."""
        return self.names if self.names is not None else (cast("str", self.name),)


class Predicate(Asked):
    """A comparison to prove without showing the number."""

    name: Name
    p_type: Literal[">=", ">", "<=", "<"]
    p_value: Int32

    @model_validator(mode="after")
    def _some_number_satisfies_it(self) -> Predicate:
        if (self.p_type, self.p_value) in {(">", INT32_MAX), ("<", INT32_MIN)}:
            raise ValueError("no 32-bit number satisfies it")
        return self

    def __str__(self) -> str:
        return f"{self.name} {self.p_type} {self.p_value}"

    def holds(self, value: int) -> bool:
        """Return whether `value` satisfies it."""
        match self.p_type:
            case ">=":
                return value >= self.p_value
            case ">":
                return value > self.p_value
            case "<=":
                return value <= self.p_value
            case "<":
                return value < self.p_value


class PresentationRequest(_Frozen):
    """What a verifier asks, by referent. See `our_request` and `read_request`."""

    name: Annotated[str, StringConstraints(max_length=1024, pattern=r"^[^\x00]*$")]
    version: Annotated[str, StringConstraints(max_length=64, pattern=r"^[^\x00]*$")]
    nonce: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,64}$")]
    ver: Literal["1.0", "2.0"] | None = None
    requested_attributes: Mapping[Referent, Attribute] = {}
    requested_predicates: Mapping[Referent, Predicate] = {}
    non_revoked: Interval | None = None

    @model_validator(mode="after")
    def _bounded(self) -> PresentationRequest:
        items = len(self.requested_attributes) + len(self.requested_predicates)
        if not 1 <= items <= MAX_REFERENTS:
            raise ValueError(f"it asks for {items} items; 1 to {MAX_REFERENTS} are allowed")
        if self.requested_attributes.keys() & self.requested_predicates.keys():
            raise ValueError("a referent names both an attribute and a predicate")
        return self

    @property
    def asked(self) -> dict[str, Attribute | Predicate]:
        """Every referent with what it asks for."""
        return {**self.requested_attributes, **self.requested_predicates}

    def interval(self, referent: str) -> Interval | None:
        """Return the non-revocation interval that counts for `referent`: its own, else the request's."""
        return self.asked[referent].non_revoked or self.non_revoked

    def wire(self) -> Json:
        """Return the JSON object to send and to keep."""
        body = self.model_dump(by_alias=True, exclude_none=True, mode="json")
        return {"requested_attributes": {}, "requested_predicates": {}, **body}

    def respelled(
        self, spelling: Callable[[str], str], *, old_tags: bool = False
    ) -> PresentationRequest:
        """Return the same question with every identifier in its restrictions written anew.

        Args:
            spelling: of an identifier.
            old_tags: name issuers by `issuer_did`, as peers do that know ids without network only.
        """
        made = self._restricted(lambda each: respell(each, spelling, old_tags=old_tags))
        # version 1 refuses qualified ids in restrictions
        return made if old_tags else made.model_copy(update={"ver": "2.0"})

    def for_library(self) -> PresentationRequest:
        """Return the request as the library compares it: values as they are signed (SEC-P03), no markers."""
        return self._restricted(lambda query: as_signed(without_markers(query))).respelled(str)

    def spelt_both_ways(self) -> PresentationRequest:
        """Return the same request for holders who look for a number as it was issued, or as signed."""
        return self._restricted(spelt_both_ways)

    def _restricted(
        self, change: Callable[[Query | None], Query | None]
    ) -> PresentationRequest:
        def changed(asked: Mapping[str, Any]) -> dict[str, Any]:
            return {
                key: each.model_copy(update={"restrictions": change(each.restrictions)})
                for key, each in asked.items()
            }

        sections = ("requested_attributes", "requested_predicates")
        return self.model_copy(update={each: changed(getattr(self, each)) for each in sections})


def read_request(body: Json) -> PresentationRequest:
    """Read a request of a peer.

    Taken: unknown members outside restrictions, null for absent, a number as nonce, one restriction
    object instead of a list, restrictions that are null or `[{}]` for none, no name or version. Not
    taken: unknown restrictions (SEC-P08), null or empty values in them (SEC-P32), a threshold outside 32 bits or that no such number passes (SEC-P21), over
    MAX_REFERENTS items.

    Raises:
        RefusedError: it is not a presentation request.
    """
    try:
        return PresentationRequest.model_validate(_tolerated(body))
    except ValidationError as error:
        raise RefusedError(
            "SEC-P08", f"not a presentation request: {first_wrong(error)}"
        ) from None


def our_request(body: Json, *, accept_any_issuer: bool) -> PresentationRequest:
    """Make a request of ours from its JSON form; whatever nonce it has is replaced (SEC-P14).

    Raises:
        InvalidError: an unknown member or restriction, a null or empty one, or it binds no issuer.
    """
    nulls = _null_restrictions(body)
    if nulls:
        raise InvalidError(f"SEC-P32: the restrictions of {nulls[0]!r} are null")
    try:
        request = PresentationRequest.model_validate({**body, "nonce": new_nonce()})
    except ValidationError as error:
        words = f"SEC-P08: not a presentation request: {first_wrong(error)}"
        raise InvalidError(words) from None
    for referent, asked in request.asked.items():
        if asked.restrictions == AllOf(()):
            raise InvalidError(f"SEC-P32: the restrictions of {referent!r} are empty")
    check_binding(request, accept_any_issuer=accept_any_issuer)
    return request


def check_binding(request: PresentationRequest, *, accept_any_issuer: bool) -> None:
    """Refuse a request that anybody could answer with a credential that they issued themselves.

    Args:
        request: one that may be sent.
        accept_any_issuer: ask so nevertheless; the verdict then says "issuer not pinned".

    Raises:
        InvalidError: a referent names no issuer (SEC-P09, SEC-P10), has a condition on a value
            that it does not ask to show (SEC-P04), two ways to name issuers are mixed (one
            request has one form of ids), or one attribute of one kind of credential is asked as
            a value and as a predicate, which nobody can answer (SEC-P22).
    """
    tags = {leaf.tag for asked in request.asked.values() for leaf in _leaves(asked)}
    for old, new in (("issuer_did", "issuer_id"), ("schema_issuer_did", "schema_issuer_id")):
        if {old, new} <= tags:
            raise InvalidError(f"{old} and {new} cannot be mixed in one request")
    _check_overlap(request)
    _check_conditions(request)
    open_ones = unbound(request)
    if open_ones and not accept_any_issuer:
        raise InvalidError(
            f"SEC-P10: {open_ones[0]!r} names no issuer; restrict it by "
            f"{', '.join(sorted(ISSUER_TAGS))}, or accept any issuer explicitly"
        )


def unbound(request: PresentationRequest) -> list[str]:
    """Return the referents that a credential of any issuer could answer."""
    return [key for key, asked in request.asked.items() if not binds_issuer(asked.restrictions)]


def new_nonce() -> str:
    """Return 80 random bits in decimal (SEC-P14)."""
    return str(secrets.randbits(NONCE_BITS))


def from_cred_def(cred_def_id: str) -> Query:
    """Restrict to credentials of this credential definition."""
    return Is("cred_def_id", (cred_def_id,))


def from_issuer(issuer_id: str) -> Query:
    """Restrict to credentials of this issuer, with the tag that fits the form of its id."""
    return Is("issuer_id" if issuer_id.startswith("did:") else "issuer_did", (issuer_id,))


def reveal(*names: str, source: Query | None) -> Attribute:
    """Ask to see attributes; several come from one credential (SEC-P11)."""
    if len(names) == 1:
        return Attribute(name=names[0], restrictions=source)
    return Attribute(names=names, restrictions=source)


def born_on_or_before(day: date, *, source: Query | None) -> Predicate:
    """Ask to prove a birthday without showing it (RFC 0441: a date as the number YYYYMMDD)."""
    value = day.year * 10_000 + day.month * 100 + day.day
    return Predicate(name="birthdate_dateint", p_type="<=", p_value=value, restrictions=source)


def years_before(day: date, years: int) -> date:
    """Return the latest birthday of a person who is `years` old on `day`.

    Born on 29 February counts from 1 March in a common year, and the day before 1 March of a
    common year is the 28th: asked on 29 February, nobody born in March passes.
    """
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28)


def over_age(
    years: int, *, today: date, source: Query, show: tuple[str, ...] = ()
) -> PresentationRequest:
    """Ask "at least `years` old today" as a predicate, and to see the attributes `show`.

    `today` is the date where the question is asked, at the moment of asking; `source` says whose
    credentials count (`from_cred_def`, `from_issuer`).
    """
    predicate = born_on_or_before(years_before(today, years), source=source)
    return make_request(
        f"over {years}",
        attributes={"shown": reveal(*show, source=source)} if show else {},
        predicates={f"over_{years}": predicate},
        accept_any_issuer=False,
    )


def make_request(
    name: str,
    *,
    attributes: Mapping[str, Attribute],
    predicates: Mapping[str, Predicate],
    accept_any_issuer: bool,
) -> PresentationRequest:
    """Make a request of ours with a fresh nonce; the rest as `our_request`."""
    body: Json = {
        "name": name,
        "version": "1.0",
        "requested_attributes": attributes,
        "requested_predicates": predicates,
    }
    every = [
        leaf
        for asked in (*attributes.values(), *predicates.values())
        for leaf in _leaves(asked)
    ]
    qualified = any(value.startswith("did:") for leaf in every for value in leaf.values)
    return our_request(
        {**body, "ver": "2.0"} if qualified else body, accept_any_issuer=accept_any_issuer
    )


def _check_overlap(request: PresentationRequest) -> None:
    shown = [
        (common_name(name), asked.restrictions)
        for asked in request.requested_attributes.values()
        for name in asked.all_names
    ]
    for asked in request.requested_predicates.values():
        if (common_name(asked.name), asked.restrictions) in shown:
            raise InvalidError(
                f"SEC-P22: {asked.name!r} is requested as a value and as a predicate"
            )


def _check_conditions(request: PresentationRequest) -> None:
    """An attribute's condition is on what it shows; a predicate's on what any attribute shows, with one spelling.

    The library compares the spellings: with two, it may miss the one that the same credential shows.
    """
    every = {
        name for asked in request.requested_attributes.values() for name in asked.all_names
    }
    spellings = Counter(map(common_name, every))
    twice = {name for name in every if spellings[common_name(name)] > 1}
    for referent, asked in request.asked.items():
        shown = set(asked.all_names) if isinstance(asked, Attribute) else every - twice
        for leaf in _leaves(asked):
            if (name := value_name(leaf.tag)) is not None and name not in shown:
                raise InvalidError(
                    f"SEC-P04: {referent!r} has a condition on {name!r} but does not request "
                    "it with this spelling alone"
                )


def _leaves(asked: Asked) -> list[Is]:
    return [] if asked.restrictions is None else list(leaves(asked.restrictions))


def _null_restrictions(body: Json) -> list[str]:
    """Return the referents whose restrictions are null: somebody meant to restrict them."""
    sections = (body.get("requested_attributes"), body.get("requested_predicates"))
    return [
        referent
        for section in sections
        if isinstance(section, dict)
        for referent, asked in cast("Json", section).items()
        if isinstance(asked, dict) and cast("Json", asked).get("restrictions", asked) is None
    ]


def _tolerated(body: object) -> Json:
    if not isinstance(body, dict):
        raise RefusedError("SEC-P08", "not a presentation request: it must be an object")
    kept: Json = {
        "name": "",
        "version": "1.0",
        **_known(PresentationRequest, cast("Json", body)),
    }
    if type(kept.get("nonce")) is int:
        kept["nonce"] = str(kept["nonce"])
    for section, model in (
        ("requested_attributes", Attribute),
        ("requested_predicates", Predicate),
    ):
        given: object = kept.get(section, {})
        if not isinstance(given, dict):
            raise RefusedError(
                "SEC-P08", f"not a presentation request: {section} must be an object"
            )
        asked = cast("dict[str, object]", given)
        if len(asked) > MAX_REFERENTS:
            raise RefusedError(
                "SEC-P30", f"{section} has {len(asked)} items; {MAX_REFERENTS} is the most"
            )
        kept[section] = {
            key: _known(model, cast("Json", value)) if isinstance(value, dict) else value
            for key, value in asked.items()
        }
    return kept


def _known(model: type[BaseModel], value: Json) -> Json:
    return {
        key: inner
        for key, inner in value.items()
        if inner is not None and key in model.model_fields
    }
