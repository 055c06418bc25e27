"""The Merkle tree of an Indy ledger (RFC 6962): the leaf of a transaction, roots of whole ledgers.

A leaf is the hash of a transaction in MessagePack. A ledger uses only the types of JSON, which are encoded
in half a page below instead of by a dependency; the tests compare it with the library byte for byte.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import base58

from keep_ledger.codes import ATTRIB
from keep_ledger.json_object import Json

BESIDE = ("rootHash", "auditPath", "ledgerSize")
"""What GET_TXN adds to a transaction; it is not part of the leaf."""

EMPTY = hashlib.sha256().digest()
"""Root of a ledger without transactions."""

_HASH = re.compile(r"[0-9a-f]{64}")
_UINTS = ((0x80, "B"), (0x100, "BB"), (0x10000, ">BH"), (0x100000000, ">BI"), (1 << 64, ">BQ"))
_INTS = ((0x20, ">b"), (0x80, ">Bb"), (0x8000, ">Bh"), (0x80000000, ">Bi"), (1 << 63, ">Bq"))
_UINT, _INT = 0xCB, 0xCF  # the format byte of n bytes' length is this plus its place above


def pack(value: Any) -> bytes:
    """Encode a JSON value in MessagePack; members stay in their order.

    Raises:
        ValueError: an integer of more than 64 bits, or not JSON.
    """
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return _int(value)
        case float():
            return struct.pack(">Bd", 0xCB, value)
        case str():
            raw = value.encode()
            return _head(len(raw), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + raw
        case dict():
            members = cast("Json", value)
            pairs = (pack(key) + pack(one) for key, one in members.items())
            return _head(len(members), 0x80, 16, (None, 0xDE, 0xDF)) + b"".join(pairs)
        case list():
            items = cast("Sequence[Any]", value)
            return _head(len(items), 0x90, 16, (None, 0xDC, 0xDD)) + b"".join(map(pack, items))
        case _:
            raise ValueError(f"{type(value).__name__} is not JSON")


def _int(value: int) -> bytes:
    sizes, first, size = (_UINTS, _UINT, value) if value >= 0 else (_INTS, _INT, -value - 1)
    for place, (limit, form) in enumerate(sizes):
        if size < limit:
            return struct.pack(form, *((first + place, value) if place else (value,)))
    raise ValueError("an integer of more than 64 bits")


def _head(size: int, short: int, below: int, formats: tuple[int | None, int, int]) -> bytes:
    if size < below:
        return bytes([short | size])
    one, two, four = formats
    if one is not None and size < 0x100:  # noqa: PLR2004  a byte
        return bytes([one, size])
    return struct.pack(">BH", two, size) if size < 0x10000 else struct.pack(">BI", four, size)  # noqa: PLR2004


def stored(transaction: Json) -> Json:
    """A transaction without what GET_TXN adds."""
    return {key: value for key, value in transaction.items() if key not in BESIDE}


def leaves(transaction: Json) -> Iterator[bytes]:
    """The leaf hashes that a transaction may have, the most likely first; mostly only one.

    A ledger stores hashes in place of an attribute's `raw` and `enc`; nodes that have the values insert
    them again. A value that looks like a hash may be either.

    Raises:
        ValueError: it is not a transaction.
    """
    body = stored(transaction)
    payload: Any = body.get("txn")
    data: Any = cast("Json", payload).get("data") if isinstance(payload, dict) else None
    if not isinstance(data, dict):
        raise ValueError("not a transaction")  # noqa: TRY004  the value comes from outside
    members = cast("Json", data)
    names = [n for n in ("raw", "enc") if isinstance(members.get(n), str)]
    if payload["type"] != ATTRIB or not names:
        yield _leaf(body)
        return
    hashed = {n: hashlib.sha256(members[n].encode()).hexdigest() for n in names}
    values: tuple[Json, ...] = (members | hashed,)
    if all(_HASH.fullmatch(members[name]) for name in names):
        values = (members, *values)
    for one in values:
        yield _leaf(body | {"txn": payload | {"data": one}})


def _leaf(body: Json) -> bytes:
    return hashlib.sha256(b"\0" + pack(_sorted(body))).digest()


def _sorted(value: Any) -> Any:
    """Sort keys as the nodes do: a list inside a list is left as it is."""
    if isinstance(value, dict):
        members = cast("Json", value)
        return {key: _sorted(members[key]) for key in sorted(members)}
    if isinstance(value, list):
        return [
            _sorted(one) if isinstance(one, dict) else one
            for one in cast("Sequence[Any]", value)
        ]
    return value


def leaf(transaction: Json) -> bytes:
    """The leaf hash of a transaction; of two possible ones, that which its audit path fits.

    Args:
        transaction: as GET_TXN gives it.

    Raises:
        ValueError: it is not a transaction.
    """
    found = list(leaves(transaction))
    if len(found) == 1:
        return found[0]
    return next((one for one in found if fits(one, transaction)), found[0])


def fits(start: bytes, transaction: Json) -> bool:
    """Whether the audit path of a transaction leads from this leaf to its root."""
    try:
        path = [base58.b58decode(text) for text in transaction["auditPath"]]
        place, size = transaction["txnMetadata"]["seqNo"] - 1, transaction["ledgerSize"]
        return climb(start, place, size, path) == base58.b58decode(transaction["rootHash"])
    except (KeyError, TypeError, ValueError):
        return False


def climb(start: bytes, place: int, size: int, path: Iterable[bytes]) -> bytes | None:
    """Compute the root from a leaf and its audit path; None if the path has a wrong length.

    Source: RFC 9162, section 2.1.3.2.

    Args:
        start: the leaf.
        place: of the leaf, from 0.
        size: of the tree, in leaves.
        path: the sibling hashes, lowest first.
    """
    if not 0 <= place < size:
        return None
    node, last, found = place, size - 1, start
    for sibling in path:
        if last == 0:
            return None
        if node % 2 or node == last:
            found = _pair(sibling, found)
            while node and not node % 2:
                node, last = node // 2, last // 2
        else:
            found = _pair(found, sibling)
        node, last = node // 2, last // 2
    return found if last == 0 else None


def _pair(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def root(hashes: Iterable[bytes]) -> bytes:
    """The root of leaves as in RFC 6962: full subtrees first, then from the right."""
    peaks: list[tuple[int, bytes]] = []  # of full subtrees: their size, falling, and their root
    for one in hashes:
        peaks.append((1, one))
        while len(peaks) > 1 and peaks[-1][0] == peaks[-2][0]:
            (size, left), (_, right) = peaks[-2:]
            peaks[-2:] = [(2 * size, _pair(left, right))]
    if not peaks:
        return EMPTY
    found = peaks[-1][1]
    for _, left in reversed(peaks[:-1]):
        found = _pair(left, found)
    return found


def number_of(transaction: Any) -> int | None:
    """The sequence number, None if there is none."""
    try:
        number = transaction["txnMetadata"]["seqNo"]
    except (KeyError, TypeError):
        return None
    return number if type(number) is int else None
