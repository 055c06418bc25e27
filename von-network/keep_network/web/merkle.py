"""Merkle paths of a ledger (RFC 6962): does a transaction lie under a root?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import base58
import msgpack

from keep_network.json_shape import is_array, is_object

ATTRIB = "100"
MERKLE_FIELDS = ("rootHash", "auditPath", "ledgerSize")
"""What GET_TXN adds to a transaction; it is not part of the leaf."""

_HASH = re.compile(r"[0-9a-f]{64}")


def leaf(transaction: Mapping[str, Any]) -> bytes:
    """Return the hash of a transaction as it stands in the ledger: msgpack, keys sorted."""
    stored = {k: v for k, v in transaction.items() if k not in MERKLE_FIELDS}
    stored["txn"] = without_values(stored["txn"])
    packed = msgpack.packb(_sorted(stored), use_bin_type=True)
    return hashlib.sha256(b"\0" + packed).digest()


def without_values(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a transaction's part `txn` with hashes for the values of an attribute.

    A ledger has only hashes of them (a signature, too, is over those); nodes that know the
    values put them back into their answers.

    Source: indy-node, `AttributeHandler.transform_txn_for_ledger`.
    """
    data = payload.get("data")
    if payload.get("type") != ATTRIB or not is_object(data):
        return dict(payload)
    hashed = {
        name: hashlib.sha256(data[name].encode()).hexdigest()
        for name in ("raw", "enc")
        if isinstance(data.get(name), str) and not _HASH.fullmatch(data[name])
    }
    return {**payload, "data": {**data, **hashed}}


def root(start: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """Climb from a leaf to the root of a tree with `size` leaves; None if the path is wrong.

    Args:
        start: the leaf's hash.
        index: its place, from 0.
        path: the hashes beside the way, lowest first.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        return None
    node, last, found = index, size - 1, start
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


def fits(transaction: Mapping[str, Any]) -> bool:
    """Say whether a GET_TXN answer's path leads from its transaction to its root."""
    try:
        path = [base58.b58decode(text) for text in transaction["auditPath"]]
        index = int(transaction["txnMetadata"]["seqNo"]) - 1
        found = root(leaf(transaction), index, int(transaction["ledgerSize"]), path)
        return found == base58.b58decode(transaction["rootHash"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return False


def _pair(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _sorted(value: Any) -> Any:
    if is_object(value):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if is_array(value):  # a list in a list stays as it is: so do the nodes
        return [_sorted(one) if is_object(one) else one for one in value]
    return value
