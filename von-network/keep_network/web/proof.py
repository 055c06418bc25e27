"""Why a transaction can be believed, step by step, checked anew each time somebody looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keep_network.json_shape import array_of
from keep_network.web import bls, merkle, signatures
from keep_network.web.errors import WebError
from keep_network.web.nodes import Nodes, get_transaction
from keep_network.web.rules import many
from keep_network.web.store import Row
from keep_network.web.transactions import mapping, text


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was checked.

    Attributes:
        good: True: it holds; False: it does not; None: nobody can tell.
        detail: for those who want to check it themselves.
    """

    good: bool | None
    title: str
    words: str
    detail: str = ""


async def prove(nodes: Nodes, row: Row) -> list[Step]:
    """Read a transaction again and check signatures, Merkle path and the nodes' signature."""
    steps = _signatures(row)
    try:
        answer = await nodes.read(get_transaction(row.ledger, row.seq))
    except WebError as error:
        words = f"Not now: {error}. When this copy was made, its path was checked."
        return [*steps, Step(None, "In the ledger", words)]
    data = mapping(answer.get("data"))
    same = data.get("txn") == row.transaction().get("txn")
    signed = mapping(mapping(answer.get("state_proof")).get("multi_signature"))
    return [*steps, _path(data, same=same), *_root(data, signed, nodes)]


def _signatures(row: Row) -> list[Step]:
    listed = [mapping(one) for one in array_of(mapping(row.checks).get("signed"))]
    if not listed:
        return [Step(None, "Not signed", _capital(signatures.GENESIS))]
    return [
        Step(
            one.get("good"),
            f"Signed by {text(one.get('by'))}",
            _capital(text(one.get("why"))),
        )
        for one in listed
    ]


def _path(data: Mapping[str, Any], *, same: bool) -> Step:
    if not data or not same:
        words = "The nodes have another transaction under this number."
        return Step(good=False, title="In the ledger", words=words)
    good = merkle.fits(data)
    hops, size = len(array_of(data.get("auditPath"))), data.get("ledgerSize")
    words = (
        f"The hash of this transaction and {many(hops, 'neighbour')} in the hash tree give "
        f"the root of the ledger with {many(int(size or 0), 'transaction')}."
        if good
        else "The Merkle path that the node sent does not lead to its root."
    )
    detail = (
        f"leaf {merkle.leaf(data).hex()}, root {text(data.get('rootHash'))}" if good else ""
    )
    return Step(good, "In the ledger", words, detail)


def _root(data: Mapping[str, Any], signed: Mapping[str, Any], nodes: Nodes) -> list[Step]:
    total = len(nodes.names)
    faulty = (total - 1) // 3
    if not signed:
        words = f"No joint signature came with it; at least {faulty + 1} nodes gave this same answer."
        return [Step(None, "Agreed by the nodes", words)]
    value = mapping(signed.get("value"))
    names = sorted(map(str, signed.get("participants") or []))
    if value.get("txn_root_hash") != data.get("rootHash"):
        words = (
            "The joint signature that came with it is for another root: that of a moment ago."
        )
        return [Step(None, "Agreed by the nodes", words)]
    fits = bls.verifies(signed, nodes.bls_keys)
    enough = len(set(names)) >= total - faulty
    good = fits and enough if fits is not None else None
    moment = datetime.fromtimestamp(int(value.get("timestamp") or 0), UTC)
    words = (
        f"{len(names)} of {total} nodes ({', '.join(names)}) signed this root together, "
        f"{total - faulty} are needed."
    )
    if good is None:
        words += " The signature was not checked here."
    else:
        words += (
            " The signature is valid for their keys."
            if fits
            else " The signature is not valid!"
        )
    return [
        Step(good, "Agreed by the nodes", words, f"signed at {moment:%Y-%m-%d %H:%M:%S} UTC")
    ]


def _capital(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
