"""The container of a proposal: CBOR (RFC 8949) in its one deterministic encoding."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any, cast

import cbor2

from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError

MAX_BYTES = 1 << 20
MAX_MARKS = 1000
_DEEPEST = 40
_WIDEST = 1 << 63


def packed(body: Json, marks: Sequence[Json]) -> bytes:
    """Write a container: equal values give equal bytes."""
    told = [
        {k: v for k, v in mark.items() if v not in (None, "", 0) or k == "by"} for mark in marks
    ]
    return cbor2.dumps({"psit": _slim(body), "marks": told}, canonical=True)


def unpacked(raw: bytes) -> tuple[Json, list[Json]]:
    """Read a container: the body and the marks.

    Raises:
        RefusedError: too large, no container, or with something else than text, bytes, whole numbers
            of 64 bits, truth values, lists and objects: a tag, a fraction, a cycle.
    """
    if len(raw) > MAX_BYTES:
        raise RefusedError(f"a proposal has at most {MAX_BYTES} bytes")
    whole = _decoded(raw)
    members = cast("Json", whole) if isinstance(whole, dict) else {}
    body, marks = members.get("psit"), members.get("marks")
    if len(members) != 2 or not isinstance(body, dict) or not isinstance(marks, list):  # noqa: PLR2004
        raise RefusedError("this is not a proposal (.psit)")
    listed = cast("list[object]", marks)
    if len(listed) > MAX_MARKS or not all(isinstance(one, dict) for one in listed):
        raise RefusedError("the marks of this proposal cannot be read")
    return cast("Json", body), cast("list[Json]", listed)


def _slim(value: Any) -> Any:
    """Without members that are None, the default; what came from a ledger stays as it is."""
    if isinstance(value, dict):
        members = cast("Json", value)
        kept = {"request", "rules", "before"}
        return {k: v if k in kept else _slim(v) for k, v in members.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_slim(one) for one in cast("Sequence[Any]", value)]
    return value


def _decoded(raw: bytes) -> object:
    stream = io.BytesIO(raw)
    try:
        whole: object = cbor2.CBORDecoder(stream).decode()
    except (
        cbor2.CBORDecodeError,
        ArithmeticError,
        ValueError,
        RecursionError,
        TypeError,
    ) as error:
        raise RefusedError(
            "this is not a proposal (.psit): no CBOR that can be read"
        ) from error
    if stream.tell() != len(raw):
        raise RefusedError("something follows after the proposal")
    _only_plain(whole, len(raw))
    return whole


def _only_plain(whole: object, size: int) -> None:
    """Refuse what has no place in a proposal.

    Args:
        size: bytes of the container; more values than these are one value many times.
    """
    left: list[tuple[int, object]] = [(0, whole)]
    count = 0
    while left:
        depth, value = left.pop()
        count += 1
        if depth > _DEEPEST or count > size:
            raise RefusedError(f"the proposal is nested more than {_DEEPEST} deep")
        left += ((depth + 1, one) for one in _inside(value))


def _inside(value: object) -> Iterable[object]:
    match value:
        case dict():
            members = cast("dict[object, object]", value)
            return [*members, *members.values()]
        case list():
            return cast("list[object]", value)
        case int() if not -_WIDEST <= value < _WIDEST:
            raise RefusedError("the proposal has a number of more than 64 bits")
        case None | str() | bytes() | int():
            return ()
        case _:
            raise RefusedError(f"a proposal holds no {type(value).__name__}")
