"""Ledgers on paper, written as Indy's nodes write them: what several people signed, at any time."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field
from typing import Any, Self

import base58
from nacl.signing import SigningKey

from keep_ledger.json_object import Json
from keep_ledger.multisig.proposal.signing_input import digest, signing_input

START = 1_795_000_000
_LEDGERS = {"0": 0, "4": 2, "5": 2, "8": 2, "120": 2, "122": 2}
_numbers = itertools.count(1)


@dataclass(slots=True)
class Signer:
    """A DID and the key that it signs with now."""

    did: str
    key: SigningKey

    @classmethod
    def new(cls) -> Self:
        """Somebody whose DID is made of a fresh key."""
        key = SigningKey.generate()
        return cls(base58.b58encode(bytes(key.verify_key)[:16]).decode(), key)

    @property
    def verkey(self) -> str:
        return base58.b58encode(bytes(self.key.verify_key)).decode()

    def sign(self, request: Json) -> bytes:
        return self.key.sign(signing_input(request)).signature


def request(operation: Json, author: Signer, **around: Any) -> Json:
    """A request without signatures."""
    head = {"identifier": author.did, "reqId": next(_numbers), "protocolVersion": 2}
    return head | around | {"operation": operation}


def signed(body: Json, *people: Signer) -> dict[str, bytes]:
    return {one.did: one.sign(body) for one in people}


def nym(who: Signer, **members: Any) -> Json:
    return {"type": "1", "dest": who.did, **members}


@dataclass
class LedgerWriter:
    """Writes what it is given, as the nodes do, without looking at any rule."""

    ledgers: dict[int, list[Json]] = field(default_factory=lambda: {0: [], 1: [], 2: []})
    time: int = START

    def genesis(self, who: Signer, role: str) -> None:
        """A DID that everybody starts with; its key is abbreviated, as there."""
        short = base58.b58encode(bytes(who.key.verify_key)[16:]).decode()
        payload: Json = {
            "type": "1",
            "data": nym(who, verkey=f"~{short}", role=role) | {"type": "1"},
            "metadata": {},
        }
        del payload["data"]["type"]
        self._append(1, {"reqSignature": {}, "txn": payload, "txnMetadata": {}})

    def write(self, body: Json, *people: Signer, after_s: int = 10) -> int:
        """Write a request that these people sign; its number."""
        return self.put(body, signed(body, *people), after_s)

    def put(self, body: Json, signatures: dict[str, bytes], after_s: int = 10) -> int:
        """Write a request with these signatures; its number."""
        self.time += after_s
        operation = copy.deepcopy(body["operation"])
        kind: str = operation.pop("type")
        payload: Json = {
            "type": kind,
            "data": operation,
            "protocolVersion": 2,
            "metadata": {
                "from": body["identifier"],
                "reqId": body["reqId"],
                "payloadDigest": digest(body).hex(),
            }
            | {name: body[name] for name in ("endorser", "taaAcceptance") if name in body},
        }
        if "ver" in operation:
            payload["ver"] = operation.pop("ver")
        values = [
            {"from": did, "value": base58.b58encode(value).decode()}
            for did, value in sorted(signatures.items())
        ]
        sealed: Json = {"type": "ED25519", "values": values}
        return self._append(
            _LEDGERS.get(kind, 1),
            {"reqSignature": sealed, "txn": payload, "txnMetadata": {"txnTime": self.time}},
        )

    def _append(self, ledger: int, transaction: Json) -> int:
        known = self.ledgers[ledger]
        transaction["txnMetadata"]["seqNo"] = len(known) + 1
        known.append(transaction)
        return len(known)
