"""An Indy network on paper, for tests of the web server: ledgers with real Merkle paths, no nodes."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import base58

from keep_ledger.json_object import Json
from keep_network.web import keys, merkle, signatures
from keep_network.web.errors import RefusedError, UnavailableError
from keep_network.web.keys import Key

RECORDED: Json = json.loads(
    (Path(__file__).parent / "von_network" / "web" / "recorded.json").read_text()
)
"""Ledgers of a real pool, as GET_TXN gave them, and its answer to GET_AUTH_RULE."""

TRUSTEE_SEED = "000000000000000000000000Trustee1"
NAMES = ("Node1", "Node2", "Node3", "Node4")
GENESIS = "\n".join(
    json.dumps({k: v for k, v in txn.items() if k not in merkle.MERKLE_FIELDS})
    for txn in RECORDED["ledgers"]["pool"]
)
_NUMBERS = {"pool": 0, "domain": 1, "config": 2}


def stored(transaction: Json) -> Json:
    """Return a transaction without what GET_TXN adds to it."""
    return {k: v for k, v in transaction.items() if k not in merkle.MERKLE_FIELDS}


def recorded(ledger: str, number: int) -> Json:
    """Return one recorded transaction, to change it at will."""
    found: Json = copy.deepcopy(RECORDED["ledgers"][ledger][number - 1])
    return found


def tree(leaves: Sequence[bytes]) -> bytes:
    """Return the root of a tree, straight from the definition in RFC 6962."""
    if len(leaves) == 1:
        return leaves[0]
    cut = _cut(len(leaves))
    return hashlib.sha256(b"\1" + tree(leaves[:cut]) + tree(leaves[cut:])).digest()


def path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the path of a leaf, straight from the definition in RFC 6962."""
    if len(leaves) == 1:
        return []
    cut = _cut(len(leaves))
    if index < cut:
        return [*path(index, leaves[:cut]), tree(leaves[cut:])]
    return [*path(index - cut, leaves[cut:]), tree(leaves[:cut])]


def _cut(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


class PaperNodes:
    """What `keep_network.web.nodes.Nodes` wants, with an Indy ledger's rules as far as tests go.

    Attributes:
        dead: names of nodes that do not answer; with more than one, nothing is agreed on.
        late: how many more times a node is asked before it has the last transaction.
        asked: what single nodes were asked, in order.
        agreement: the text of the author agreement, if there is one.
    """

    def __init__(self) -> None:
        self.ledgers: dict[int, list[Json]] = {
            number: [stored(txn) for txn in copy.deepcopy(RECORDED["ledgers"][name])]
            for name, number in _NUMBERS.items()
        }
        del self.ledgers[1][5:]  # the genesis: a trustee and four stewards
        self.ledgers[2].clear()
        self.dead: set[str] = set()
        self.late: dict[str, int] = {}
        self.asked: list[tuple[str, Json]] = []
        self.written: list[Json] = []
        self.agreement = ""
        self.refusal: str | None = None
        self.open = True

    @property
    def names(self) -> Sequence[str]:
        return NAMES

    @property
    def bls_keys(self) -> Mapping[str, str]:
        return dict.fromkeys(NAMES, "")

    async def read(self, operation: Json) -> Json:
        await asyncio.sleep(0)
        self._agree()
        match operation["type"]:
            case "3":
                return {"data": self._transaction(operation["ledgerId"], operation["data"])}
            case "105":
                return self._nym(operation["dest"])
            case "121":
                return {"data": RECORDED["rules"]}
            case "6" if self.agreement:
                return {"data": {"text": self.agreement, "version": "1.0"}}
            case "7" if self.agreement:
                return {"data": {"aml": {"at_submission": "when it was sent"}, "version": "1"}}
            case "115":
                return {"data": self._registry(operation["id"])}
            case _:
                return {"data": None}

    async def write(self, operation: Json, key: Key, extra: Json) -> int:
        await asyncio.sleep(0)
        self._agree()
        if self.refusal:
            raise RefusedError(self.refusal)
        if self.agreement and "taaAcceptance" not in extra:
            raise RefusedError("the agreement was not accepted")
        self.written.append(operation)
        return self.append(operation, key, extra)

    async def ask(
        self, operation: Json, names: Sequence[str], timeout_s: int, key: Key | None = None
    ) -> dict[str, Json | None]:
        await asyncio.sleep(0)
        return {name: self._one(name, operation) for name in names}

    async def refresh(self) -> bool:
        return True

    def close(self) -> None:
        self.open = False

    def append(self, operation: Json, key: Key, extra: Json | None = None) -> int:
        """Write a transaction as the nodes do, signed; return its number."""
        number = len(self.ledgers[1]) + 1
        metadata = {"from": key.did, "reqId": number, **(extra or {})}
        data = {name: value for name, value in operation.items() if name != "type"}
        payload: Json = {
            "data": data,
            "metadata": metadata,
            "protocolVersion": 2,
            "type": operation["type"],
        }
        text = signatures.signing_text(signatures.request(payload))
        metadata["payloadDigest"] = hashlib.sha256(text).hexdigest()
        signature = base58.b58encode(key.sign(text)).decode()
        values = [{"from": key.did, "value": signature}]
        self.ledgers[1].append(
            {
                "reqSignature": {"type": "ED25519", "values": values},
                "txn": payload,
                "txnMetadata": {
                    "seqNo": number,
                    "txnId": hashlib.sha256(text).hexdigest(),
                    "txnTime": 1795350000 + number,
                },
                "ver": "1",
            }
        )
        self.late = {name: self.late.get(name, 0) for name in NAMES}
        return number

    @contextmanager
    def down(self) -> Generator[None]:
        """Let no node answer meanwhile."""
        self.dead = set(NAMES)
        yield
        self.dead = set()

    def _agree(self) -> None:
        if len(self.dead) > 1:
            raise UnavailableError("the nodes do not answer")

    def _one(self, name: str, operation: Json) -> Json | None:
        self.asked.append((name, operation))
        if name in self.dead:
            return None
        if operation["type"] == "119":
            return {"data": {"Node_info": {"Name": name, "Mode": "participating"}}}
        number = operation["data"]
        if self.late.get(name) and number == len(self.ledgers[1]):
            self.late[name] -= 1
            return {"data": None}
        return {"data": self._transaction(operation["ledgerId"], number)}

    def _transaction(self, ledger: int, number: int) -> Json | None:
        all_of_it = self.ledgers[ledger]
        if not 0 < number <= len(all_of_it):
            return None
        leaves = [merkle.leaf(txn) for txn in all_of_it]
        return {
            **copy.deepcopy(all_of_it[number - 1]),
            "rootHash": base58.b58encode(tree(leaves)).decode(),
            "auditPath": [base58.b58encode(h).decode() for h in path(number - 1, leaves)],
            "ledgerSize": len(all_of_it),
        }

    def _nym(self, did: str) -> Json:
        there: Json = {}
        seq = 0
        for number, txn in enumerate(self.ledgers[1], 1):
            data = txn["txn"]["data"]
            if txn["txn"]["type"] == "1" and data["dest"] == did:
                there |= {"role": None} | {k: data[k] for k in ("verkey", "role") if k in data}
                seq = number
        return {"data": json.dumps(there) if there else None, "seqNo": seq}

    def _registry(self, name: str) -> Json | None:
        for txn in self.ledgers[1]:
            if txn["txn"]["type"] == "113" and txn["txn"]["data"]["id"] == name:
                return dict(txn["txn"]["data"])
        return None


def key(seed: str) -> Key:
    """Return the key that a registration with this seed gets."""
    return Key.derive(seed.ljust(keys.SEED_BYTES, "0").encode())
