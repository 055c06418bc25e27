"""The container of a proposal: CBOR (RFC 8949), deterministically encoded."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any, cast

import cbor2

from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError

MAX_BYTES = 1 << 20
MAX_MARKS = 1000
_DEEPEST = 160
_WIDEST = 1 << 63


def packed(body: Json, marks: Sequence[Json]) -> bytes:
    """Write a container: equal values give equal bytes."""
    plain = [
        {k: v for k, v in mark.items() if v not in (None, "", 0) or k == "by"} for mark in marks
    ]
    return cbor2.dumps({"psit": _slim(body), "marks": plain}, canonical=True)


def unpacked(raw: bytes) -> tuple[Json, list[Json]]:
    """Read a container: the body and the marks.

    Raises:
        RefusedError: it is too large, not a container, or has something other than text, bytes, integers
            of 64 bits, booleans, lists and objects: a tag, a fraction, a cycle.
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
    """Remove members that are None, the default; what came from a ledger is left as it is."""
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
        raise RefusedError("this is not a proposal (.psit): its CBOR cannot be read") from error
    if stream.tell() != len(raw):
        raise RefusedError("there are more bytes after the proposal")
    _check_types(whole, len(raw))
    return whole


def _check_types(whole: object, size: int) -> None:
    """Refuse types that a proposal must not have.

    Args:
        size: bytes of the container; more values than bytes mean that a value is shared.
    """
    left: list[tuple[int, object]] = [(0, whole)]
    count = 0
    while left:
        depth, value = left.pop()
        count += 1
        if depth > _DEEPEST or count > size:
            raise RefusedError(f"the proposal is nested more than {_DEEPEST} deep")
        left += ((depth + 1, one) for one in _parts(value))


def _parts(value: object) -> Iterable[object]:
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
            raise RefusedError(f"a proposal must not contain a {type(value).__name__}")
