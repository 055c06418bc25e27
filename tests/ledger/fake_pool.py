"""Four validators on paper: each has ledgers of its own, and answers out of them as they are."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import base58
from fake_network import GENESIS, RECORDED, path, tree
from indy_vdr import Request, VdrError, VdrErrorCode

from keep_ledger.indy import merkle
from keep_ledger.indy.network_client import NetworkClient
from keep_ledger.json_object import Json

NODES = ("Node1", "Node2", "Node3", "Node4")
LEDGERS = {0: "pool", 1: "domain", 2: "config"}


def recorded() -> dict[int, list[Json]]:
    """The ledgers of a real pool, without what surrounds a transaction in an answer."""
    return {
        number: [merkle.stored(txn) for txn in copy.deepcopy(RECORDED["ledgers"][name])]
        for number, name in LEDGERS.items()
    }


class Node:
    """One validator.

    Attributes:
        ledgers: what it has; its tree is right for that.
        lies: changes an answer on its way out.
        asked: the numbers of the transactions that it was asked for alone.
        down: it says nothing.
    """

    def __init__(self) -> None:
        self.ledgers = recorded()
        self.lies: Callable[[Json], None] = lambda _reply: None
        self.asked: list[int] = []
        self.down = False

    def answer(self, question: Json) -> str:
        """The text of its answer."""
        if self.down:
            return "timeout"
        operation = question["operation"]
        reply: Json = {
            "type": operation["type"],
            "reqId": question["reqId"],
            "identifier": question["identifier"],
            "data": None,
        }
        if operation["type"] == "3":
            reply["data"] = self._transaction(operation["ledgerId"], operation["data"])
        if operation["type"] == "105":
            reply |= {"dest": operation["dest"]} | self._nym(operation["dest"])
        self.lies(reply)
        return json.dumps({"op": "REPLY", "result": reply})

    def _transaction(self, ledger: int, number: int) -> Json | None:
        known = self.ledgers[ledger]
        if not 0 < number <= len(known):
            return None
        hashes = _hashes(tuple(json.dumps(txn) for txn in known))
        return copy.deepcopy(known[number - 1]) | {
            "rootHash": base58.b58encode(tree(hashes)).decode(),
            "auditPath": [base58.b58encode(h).decode() for h in path(number - 1, hashes)],
            "ledgerSize": len(known),
        }

    def _nym(self, did: str) -> Json:
        found: Json = {}
        for number, txn in enumerate(self.ledgers[1], 1):
            data = txn["txn"]["data"]
            if txn["txn"]["type"] == "1" and data["dest"] == did:
                found |= {"dest": did, "verkey": None, "role": None, "seqNo": number} | {
                    name: data[name] for name in ("verkey", "role") if name in data
                }
        return {"data": json.dumps(found) if found else None, "seqNo": found.get("seqNo")}


_MEMORY: dict[tuple[str, ...], list[bytes]] = {}


def _hashes(texts: tuple[str, ...]) -> list[bytes]:
    if texts not in _MEMORY:
        _MEMORY[texts] = [merkle.leaf(json.loads(text)) for text in texts]
    return _MEMORY[texts]


class PaperPool:
    """Stands where indy-vdr's pool does.

    Attributes:
        lands: of the next writes, whether they come into the ledgers though no answer comes.
        sent: requests that were written.
        read_from: the node that answers reads.
    """

    def __init__(self) -> None:
        self.nodes = {name: Node() for name in NODES}
        self.lands: list[bool] = []
        self.sent: list[Json] = []
        self.read_from = "Node1"

    async def submit_action(
        self,
        request: Request,
        node_aliases: Sequence[str] | None = None,
        timeout: int | None = None,  # noqa: ASYNC109 - as the library has it
    ) -> dict[str, str]:
        """Ask nodes, and have every one's answer."""
        await asyncio.sleep(0)
        question: Json = json.loads(request.body)
        if node_aliases:
            self.nodes[node_aliases[0]].asked.append(question["operation"]["data"])
        return {name: self.nodes[name].answer(question) for name in node_aliases or NODES}

    async def submit_request(self, request: Request) -> Json:
        """Read from one node, or write and have no answer."""
        await asyncio.sleep(0)
        question: Json = json.loads(request.body)
        if "signature" not in question and "signatures" not in question:
            found: Json = json.loads(self.nodes[self.read_from].answer(question))["result"]
            return found
        self.sent.append(question)
        if self.lands.pop(0):
            for node in self.nodes.values():
                write(node, question, request.signature_input)
        raise VdrError(VdrErrorCode.POOL_TIMEOUT, "no answer")

    async def refresh(self) -> Json:
        """All are validators."""
        await asyncio.sleep(0)
        return {"nodes": list(NODES), "signers": len(NODES)}

    async def get_transactions(self) -> str:
        """What the genesis says."""
        await asyncio.sleep(0)
        return GENESIS

    def close(self) -> Thread:
        """Nothing is open."""
        return Thread()


def write(node: Node, request: Json, said: bytes) -> None:
    """Let a NYM land on one node."""
    operation = dict(request["operation"])
    known = node.ledgers[1]
    payload: Json = {
        "type": operation.pop("type"),
        "data": operation,
        "metadata": {
            "from": request["identifier"],
            "reqId": request["reqId"],
            "payloadDigest": hashlib.sha256(said).hexdigest(),
        },
        "protocolVersion": 2,
    }
    signatures = request.get("signatures") or {request["identifier"]: request["signature"]}
    values = [{"from": did, "value": value} for did, value in sorted(signatures.items())]
    known.append(
        {
            "reqSignature": {"type": "ED25519", "values": values},
            "txn": payload,
            "txnMetadata": {"seqNo": len(known) + 1, "txnTime": 1795360000 + len(known)},
            "ver": "1",
        }
    )


@asynccontextmanager
async def opened(
    folder: Path, paper: PaperPool, cache: Path | None = None
) -> AsyncGenerator[NetworkClient]:
    """A client that asks validators on paper."""
    genesis = folder / "genesis.txn"
    genesis.write_text(GENESIS)

    async def nothing(url: str) -> bytes:
        raise OSError(url)

    async with NetworkClient(str(genesis), nothing, cache) as client:
        place: Any = client.pool
        place._pool, place._refreshed, place._asks = paper, True, 3
        place._names, place._health.nodes = NODES, len(NODES)
        yield client
