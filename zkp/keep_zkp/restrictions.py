"""Which credentials may answer: the restriction language of a presentation request, closed.

Known tags and operators only: `{...}` (all of), `[{...}, ...]` (any of), `$and`, `$or`, `$not`,
`$in`, `$neq`. A misspelt tag would be ignored by one party and never match at another, so it is
refused, at any depth (SEC-P08); so is a restriction whose value is null, empty or of another type,
which would be gone if it were dropped (SEC-P32). Evaluation is three-valued: about a value that was not
shown nothing is known, and neither a claim nor its negation holds (SEC-P04). Values are compared as
they are signed: `007` and `7` are one value (SEC-P03).

Source: AnonCreds specification 1.0 (presentation request); WQL, Indy HIPE 0036.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, cast

from pydantic import PlainSerializer, PlainValidator

from keep_zkp.encode import canonical, common_name

ISSUER_TAGS = frozenset({"cred_def_id", "issuer_id", "issuer_did"})
"""Tags that say whose signature counts (SEC-P10)."""
ID_TAGS = ISSUER_TAGS | {"schema_id", "schema_issuer_id", "schema_issuer_did"}
TAGS = ID_TAGS | {"schema_name", "schema_version"}
_OLD_TAGS = {"issuer_id": "issuer_did", "schema_issuer_id": "schema_issuer_did"}
_MODERN_TAGS = {old: modern for modern, old in _OLD_TAGS.items()}
MAX_PARTS = 200
MAX_NESTING = 8
MAX_VALUE = 4096
_ATTRIBUTE_TAG = re.compile(r"attr::([^:\x00]{1,256})::(value|marker)")


@dataclass(frozen=True, slots=True)
class Is:
    """The tag has one of these values."""

    tag: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds."""

    parts: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold, and enough is known to say so."""

    part: Query


Query: TypeAlias = Is | AllOf | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about the credential of an answer; None or absent: not known.

    Attributes:
        attributes: common names of every attribute that the credential has.
        values: raw values by common name: those shown (verifier) or all (holder).
    """

    cred_def_id: str
    issuer_id: str
    schema_id: str
    attributes: frozenset[str]
    values: Mapping[str, str]
    schema_issuer_id: str | None = None
    schema_name: str | None = None
    schema_version: str | None = None


def read(value: object) -> Query | None:
    """Read restrictions from JSON; None, `[]`, `{}` and `[{}]` restrict nothing.

    The last two are kept: `AllOf(())`, which every credential satisfies.

    Raises:
        ValueError: an unknown tag or operator, a restriction that is null, empty or of another
            type, or too many.
    """
    if isinstance(value, Is | AllOf | AnyOf | Not) or value is None or value == []:
        return cast("Query | None", value or None)
    if value in ({}, [{}]):
        return AllOf(())
    parts = cast("list[object]", value) if isinstance(value, list) else [value]
    room = iter(range(MAX_PARTS))
    return _joined(AnyOf, [_read_object(part, 0, room) for part in parts])


def written(query: Query | None) -> Any:
    """Return restrictions as JSON: a list of plain objects where possible, which all peers read."""
    match query:
        case None:
            return None
        case AnyOf(parts) if (flat := [_flat(part) for part in parts]) and None not in flat:
            return flat
        case _:
            plain = _flat(query)
            return _object(query) if plain is None else [plain]


def leaves(query: Query) -> Iterator[Is]:
    """Yield every comparison in the query, negated ones too."""
    match query:
        case Is():
            yield query
        case Not(part):
            yield from leaves(part)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves(part)


def value_name(tag: str) -> str | None:
    """Return the attribute whose value the tag is about; None for every other tag."""
    match = _ATTRIBUTE_TAG.fullmatch(tag)
    return match[1] if match and match[2] == "value" else None


def is_marker(tag: str) -> bool:
    """Return whether the tag asks for a credential that has an attribute, whatever its value."""
    match = _ATTRIBUTE_TAG.fullmatch(tag)
    return match is not None and match[2] == "marker"


def binds_issuer(query: Query | None) -> bool:
    """Return whether nothing can satisfy the query without an issuer that it names (SEC-P10)."""
    match query:
        case Is(tag, _):
            return tag in ISSUER_TAGS
        case AllOf(parts):
            return any(binds_issuer(part) for part in parts)
        case AnyOf(parts):
            return bool(parts) and all(binds_issuer(part) for part in parts)
        case _:
            return False


def holds(query: Query | None, facts: Facts) -> bool | None:
    """Evaluate; None when a value that it needs was not shown (never to be taken as yes).

    Identifiers are compared as texts: query and facts have them in one form, which names the network.
    """
    match query:
        case None:
            return True
        case Is(tag, values):
            return _is(tag, values, facts)
        case Not(part):
            inner = holds(part, facts)
            return None if inner is None else not inner
        case AllOf(parts):
            return _all(holds(part, facts) for part in parts)
        case AnyOf(parts):
            none = _all(_negated(holds(part, facts)) for part in parts)
            return _negated(none)


def without_markers(query: Query | None) -> Query | None:
    """Return what is left to compare once markers are: a query that holds whenever this one does.

    The library takes a marker for a condition on the value, wherever that attribute is shown.
    """
    left = _weaker(query, holding=True) if query is not None else None
    return left if not isinstance(left, bool) else None


def _weaker(query: Query, *, holding: bool) -> Query | bool:
    """Give markers the answer `holding`, and leave out what then is decided."""
    match query:
        case Is(tag, _):
            return holding if is_marker(tag) else query
        case Not(part):
            inner = _weaker(part, holding=not holding)
            return not inner if isinstance(inner, bool) else Not(inner)
        case AllOf(parts) | AnyOf(parts):
            deciding = isinstance(query, AnyOf)
            left = [_weaker(part, holding=holding) for part in parts]
            if deciding in left:
                return deciding
            undecided = [part for part in left if not isinstance(part, bool)]
            return _joined(type(query), undecided) if undecided else not deciding


def respell(
    query: Query | None, spelling: Callable[[str], str], *, old_tags: bool = False
) -> Query | None:
    """Write every identifier as `spelling` does.

    `issuer_did` becomes `issuer_id`, its modern name, or the other way round with `old_tags`. The library
    compares both as texts.
    """
    names = _OLD_TAGS if old_tags else _MODERN_TAGS

    def anew(leaf: Is) -> Is:
        if leaf.tag not in ID_TAGS:
            return leaf
        return Is(names.get(leaf.tag, leaf.tag), tuple(map(spelling, leaf.values)))

    return None if query is None else _each_leaf(query, anew)


def as_signed(query: Query | None) -> Query | None:
    """Write every value of an attribute as it is signed (SEC-P03)."""

    def anew(leaf: Is) -> Is:
        return (
            leaf
            if value_name(leaf.tag) is None
            else Is(leaf.tag, tuple(map(canonical, leaf.values)))
        )

    return None if query is None else _each_leaf(query, anew)


def spelt_both_ways(query: Query | None) -> Query | None:
    """Add to each alternative the same with its values as they are signed, where those are other texts.

    Nothing else is asked thereby. Holders look their credentials up by the text of a value: some keep
    it as it was issued, some (Credo) as the number that is signed.
    """
    if query is None:
        return None
    parts = query.parts if isinstance(query, AnyOf) else (query,)
    both = dict.fromkeys(each for part in parts for each in (part, as_signed(part)))
    return (
        query if len(both) == len(set(parts)) else AnyOf(tuple(cast("Iterable[Query]", both)))
    )


def _each_leaf(query: Query, change: Callable[[Is], Is]) -> Query:
    match query:
        case Is():
            return change(query)
        case Not(part):
            return Not(_each_leaf(part, change))
        case AllOf(parts) | AnyOf(parts):
            return type(query)(tuple(_each_leaf(part, change) for part in parts))


def _is(tag: str, values: tuple[str, ...], facts: Facts) -> bool | None:
    if match := _ATTRIBUTE_TAG.fullmatch(tag):
        name = common_name(match[1])
        if match[2] == "marker":
            return name in facts.attributes
        shown = facts.values.get(name)
        return None if shown is None else canonical(shown) in map(canonical, values)
    known = cast("str | None", getattr(facts, _MODERN_TAGS.get(tag, tag)))
    if known is None:
        return None
    return known in values


def _all(results: Iterable[bool | None]) -> bool | None:
    found = list(results)
    if False in found:
        return False
    return None if None in found else True


def _negated(result: bool | None) -> bool | None:  # noqa: FBT001 - the third value is the point
    return None if result is None else not result


def _read_object(value: object, depth: int, room: Iterator[int]) -> Query:
    """Read one restriction; each of its parts takes a place in `room`, before it is read."""
    if not isinstance(value, dict) or depth > MAX_NESTING:
        raise ValueError("a restriction is not an object, or nests too deep")
    if not value:
        raise ValueError("a restriction is empty")
    items = cast("dict[str, object]", value).items()
    return _joined(AllOf, [_read_item(key, inner, depth, room) for key, inner in items])


def _read_item(key: str, value: object, depth: int, room: Iterator[int]) -> Query:
    if next(room, None) is None:
        raise ValueError("too many restrictions")
    if key in {"$and", "$or"}:
        return _read_operands(AllOf if key == "$and" else AnyOf, value, depth, room)
    if key == "$not":
        return Not(_read_object(value, depth + 1, room))
    if key in TAGS or value_name(key) is not None:
        return _read_comparison(key, value)
    if is_marker(key) and value == "1":
        return Is(key, ("1",))
    raise ValueError(f"unknown restriction {key[:64]!r}")


def _read_operands(
    kind: type[AllOf | AnyOf], value: object, depth: int, room: Iterator[int]
) -> Query:
    if not isinstance(value, list) or not value:
        raise ValueError("$and and $or take a list that is not empty")
    parts = cast("list[object]", value)
    return kind(tuple(_read_object(part, depth + 1, room) for part in parts))


def _read_comparison(tag: str, value: object) -> Query:
    if isinstance(value, str):
        return Is(tag, (_text(value),))
    operators = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    other, several = operators.get("$neq"), operators.get("$in")
    if len(operators) == 1 and isinstance(other, str):
        return Not(Is(tag, (_text(other),)))
    if len(operators) == 1 and isinstance(several, list) and several:
        return Is(tag, tuple(map(_text, cast("list[object]", several))))
    raise ValueError(f"{tag!r} takes a text, $in or $neq")


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("the value of a restriction must be a text that is not empty")
    if len(value) > MAX_VALUE:
        words = (
            f"the value of a restriction has {len(value)} characters; {MAX_VALUE} is the most"
        )
        raise ValueError(words)
    if "\x00" in value:
        raise ValueError("the value of a restriction has a NUL")
    return value


def _joined(kind: type[AllOf | AnyOf], parts: list[Query]) -> Query:
    return parts[0] if len(parts) == 1 else kind(tuple(parts))


def _flat(query: Query) -> dict[str, str] | None:
    parts = query.parts if isinstance(query, AllOf) else (query,)
    pairs = {
        part.tag: part.values[0]
        for part in parts
        if isinstance(part, Is) and len(part.values) == 1
    }
    return pairs if len(pairs) == len(parts) else None


def _object(query: Query) -> dict[str, Any]:
    match query:
        case Is(tag, (value,)):
            return {tag: value}
        case Is(tag, values):
            return {tag: {"$in": list(values)}}
        case Not(part):
            return {"$not": _object(part)}
        case AllOf(parts):
            return {"$and": [_object(part) for part in parts]}
        case AnyOf(parts):
            return {"$or": [_object(part) for part in parts]}


Restrictions = Annotated[Query | None, PlainValidator(read), PlainSerializer(written)]
"""Restrictions as a field of a pydantic model."""
