"""Recursive length prefix coding (Ethereum yellow paper, appendix B) for the state trie.

rlp 0.6.0 exists only as source and is slow; this gives the same bytes and refuses the same
malformed input. The names are those that plenum's `state` package imports.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, cast

_LONG = 56  # bodies of this many bytes and more carry the length of their length
_STRING, _LIST = 128, 192


class EncodingError(Exception):
    """The value is no bytes, text, non-negative integer or sequence of them."""


class DecodingError(Exception):
    """The bytes are no canonical RLP of exactly one item."""


def encode(item: object) -> bytes:
    """Encode bytes, text (UTF-8), a non-negative integer or a nested sequence of them.

    Raises:
        EncodingError: anything else is in there.
    """
    if isinstance(item, str):
        item = item.encode()
    elif isinstance(item, int) and item >= 0:
        item = _big_endian(item)
    if isinstance(item, bytes | bytearray):
        if len(item) == 1 and item[0] < _STRING:
            return bytes(item)
        return _head(len(item), _STRING) + item
    if isinstance(item, Sequence):
        body = b"".join([encode(inner) for inner in cast("Sequence[object]", item)])
        return _head(len(body), _LIST) + body
    raise EncodingError(f"cannot encode {type(item).__name__}")


encode_raw = encode


def decode(data: bytes | str) -> Any:
    """Decode one item: bytes, or a nested list of bytes.

    Raises:
        DecodingError: it is cut short, has bytes left over, or is not the shortest form.
    """
    raw = data.encode() if isinstance(data, str) else bytes(data)
    try:
        item, end = _read(raw, 0)
    except IndexError:
        raise DecodingError("data is cut short") from None
    if end != len(raw):
        raise DecodingError(f"{len(raw) - end} superfluous bytes")
    return item


def _big_endian(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _head(length: int, offset: int) -> bytes:
    if length < _LONG:
        return bytes((offset + length,))
    size = _big_endian(length)
    return bytes((offset + _LONG - 1 + len(size),)) + size


def _read(data: bytes, at: int) -> tuple[Any, int]:
    """Return the item that starts at a place, and the place behind it."""
    first = data[at]
    if first < _STRING:
        return data[at : at + 1], at + 1
    kind = _LIST if first >= _LIST else _STRING
    at, length = _read_length(data, at + 1, first - kind)
    return (_read_list if kind == _LIST else _read_string)(data, at, at + length)


def _read_length(data: bytes, at: int, short: int) -> tuple[int, int]:
    if short < _LONG:
        return at, short
    size = short - _LONG + 1
    if data[at] == 0:
        raise DecodingError("length starts with zero bytes")
    length = int.from_bytes(data[at : at + size], "big")
    if length < _LONG:
        raise DecodingError("long form of a short length")
    return at + size, length


def _read_string(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    if end > len(data):
        raise DecodingError("item is cut short")
    if end - at == 1 and data[at] < _STRING:
        raise DecodingError("string form of a single byte")
    return data[at:end], end


def _read_list(data: bytes, at: int, end: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    while at < end:
        item, at = _read(data, at)
        items.append(item)
    if at > end:
        raise DecodingError("list is shorter than its items")
    return items, end


class BigEndianInt:
    """An integer as big-endian bytes, of fixed size or as short as possible."""

    def __init__(self, l: int | None = None) -> None:  # noqa: E741 - rlp's parameter name
        self.l = l

    def serialize(self, number: int) -> bytes:
        """Return the bytes, padded in front to the fixed size if there is one."""
        return _big_endian(number).rjust(self.l or 0, b"\0")

    def deserialize(self, data: bytes) -> int:
        """Return the number."""
        return int.from_bytes(data, "big")


class Binary:
    """The length limits of a byte string; the state package only names them."""

    def __init__(
        self, min_length: int = 0, max_length: int | None = None, *, allow_empty: bool = False
    ) -> None:
        self.limits = min_length, max_length, allow_empty

    @classmethod
    def fixed_length(cls, length: int, *, allow_empty: bool = False) -> Binary:
        """Bytes of exactly this length."""
        return cls(length, length, allow_empty=allow_empty)


big_endian_int = BigEndianInt()
codec = sedes = sys.modules[__name__]
