"""Pool transactions in the shapes of real networks' files, with keys and addresses of our own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import base58
from nacl.signing import SigningKey

from keep_ledger.json_object import Json

AUTHOR = "Th7MpTaRZVRYnPiabds81Y"
VALIDATOR = ["VALIDATOR"]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def dest(name: str) -> str:
    """The key of a node: a real one, since indy-vdr leaves others out."""
    return base58.b58encode(bytes(SigningKey(_hash(name)).verify_key)).decode()


def bls(name: str) -> str:
    """A BLS key as far as its length goes, 128 bytes."""
    return base58.b58encode(b"".join(_hash(f"{name}{n}") for n in range(4))).decode()


def address(place: int, *, text: bool) -> Json:
    """Addresses and ports of a node; most real files have the ports as text."""
    ip, ports = f"192.0.2.{place}", (9702, 9701)
    client, node = map(str, ports) if text else ports
    return {"client_ip": ip, "client_port": client, "node_ip": ip, "node_port": node}


def genesis(number: int, name: str, *, text: bool = False, key: bool = True) -> Json:
    """A transaction as it stands in the first lines of a file, made by no request."""
    data: Json = {"alias": name} | address(number, text=text) | {"services": VALIDATOR}
    if key:
        data |= {"blskey": bls(name), "blskey_pop": bls(f"pop of {name}")}
    return {
        "reqSignature": {},
        "txn": {
            "data": {"data": data, "dest": dest(name)},
            "metadata": {"from": AUTHOR},
            "type": "0",
        },
        "txnMetadata": {"seqNo": number, "txnId": _hash(name).hex()},
        "ver": "1",
    }


def update(number: int, name: str, *, signers: int = 1, **members: Any) -> Json:
    """A later transaction of a pool ledger, as nodes export it: it names only what it changes."""
    values = [{"from": AUTHOR, "value": bls(f"{number} {n}")[:88]} for n in range(signers)]
    metadata: Json = {"digest": _hash(f"{number}").hex(), "from": AUTHOR}
    metadata |= {
        "payloadDigest": _hash(f"p{number}").hex(),
        "reqId": 1757965190326432796 + number,
    }
    return {
        "reqSignature": {"type": "ED25519", "values": values},
        "txn": {
            "data": {"data": {"alias": name} | members, "dest": dest(name)},
            "metadata": metadata,
            "protocolVersion": 2,
            "type": "0",
        },
        "txnMetadata": {"seqNo": number, "txnTime": 1757965188 + number},
        "ver": "1",
    }


def compact(*transactions: Json) -> str:
    """One transaction in a line, as nodes write them."""
    return "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in transactions)


def changed(transactions: list[Json], **members: Any) -> list[Json]:
    """The transactions with other members."""
    return [one | members for one in transactions]


def four(*, text: bool = False, key: bool = True) -> list[Json]:
    """Four first lines."""
    return [genesis(n, f"Node{n}", text=text, key=key) for n in range(1, 5)]


@dataclass(frozen=True)
class RealShape:
    """A file in the shape of a real one, and which nodes are validators in the end."""

    text: str
    validators: tuple[str, ...]


FOUR = ("Node1", "Node2", "Node3", "Node4")


def _old_first_lines() -> list[Json]:
    """The oldest: no BLS key, and the transaction's id inside `data`."""
    found = four(text=True, key=False)
    for one in found:
        one["txn"]["data"]["txnId"] = one["txnMetadata"].pop("txnId")
    return found


def _new(number: int, name: str) -> Json:
    keys: Json = {"blskey": bls(name), "blskey_pop": bls(f"pop of {name}")}
    return update(number, name, **address(number, text=False), services=VALIDATOR, **keys)


SHAPES = {
    "ports as text (IDunion, CANdy, Findy, Indicio, Sovrin)": RealShape(
        compact(*four(text=True)), FOUR
    ),
    "no BLS keys at all (Sovrin MainNet's first ten lines)": RealShape(
        compact(*_old_first_lines()), FOUR
    ),
    "the keys come later, one twice; private address first (Sovrin StagingNet)": RealShape(
        compact(
            *_old_first_lines(),
            update(5, "Node1", blskey=bls("first try")),
            update(6, "Node1", blskey=bls("Node1")),
            update(7, "Node2", blskey=bls("Node2")),
            _new(8, "Steward"),
            update(9, "Steward", blskey=bls("Steward"), **address(77, text=False)),
            update(10, "Node3", services=[]),
            update(11, "Node3", services=VALIDATOR),
            update(12, "Node3", services=[]),
        ),
        ("Node1", "Node2", "Node4", "Steward"),
    ),
    "all first nodes demoted, others instead (BCovrin Test)": RealShape(
        compact(
            *four(),
            _new(5, "B01"),
            update(6, "B01", services=[]),
            update(7, "B01", services=VALIDATOR),
            *(_new(6 + n, f"B0{n}") for n in (2, 3, 4)),
            *(update(10 + n, f"Node{n}", signers=2, services=[]) for n in (1, 2, 3, 4)),
        ),
        ("B01", "B02", "B03", "B04"),
    ),
    "moved, demoted twice, replaced under another name (Indicio MainNet)": RealShape(
        compact(
            *four(text=True),
            _new(5, "synergy"),
            update(6, "synergy", services=[]),
            _new(7, "synergy_main"),
            update(8, "Node2", services=VALIDATOR, **address(88, text=False)),
            update(9, "Node4", signers=5, services=[]),
            update(10, "Node4", services=[]),
        ),
        ("Node1", "Node2", "Node3", "synergy_main"),
    ),
    "CRLF (Indicio TestNet)": RealShape(compact(*four()).replace("\n", "\r\n"), FOUR),
    "blank lines at the end": RealShape(compact(*four()) + "\n  \r\n\n", FOUR),
    "no end of the last line (Danube)": RealShape(compact(*four()).rstrip(), FOUR),
    "a byte order mark": RealShape("\ufeff" + compact(*four()), FOUR),
    "spaces and another order of members": RealShape(
        "\n".join(
            json.dumps(dict(reversed(one.items())), separators=(" , ", " : ")) for one in four()
        ),
        FOUR,
    ),
    "one transaction over several lines": RealShape(
        "\n".join(json.dumps(one, indent=2) for one in four()), FOUR
    ),
    "members that a web page adds (rootHash, auditPath)": RealShape(
        compact(*changed(four(), rootHash="x", auditPath=["y"])), FOUR
    ),
    "no sequence numbers": RealShape(compact(*changed(four(), txnMetadata={})), FOUR),
    "null for what does not change": RealShape(
        compact(*four(), update(5, "Node4", client_ip=None, blskey=None, services=None)), FOUR
    ),
    "a host name of a node that was demoted": RealShape(
        compact(*four(), update(5, "Node4", client_ip="node.example", services=[])), FOUR[:3]
    ),
    "a single node": RealShape(compact(*four()[:1]), FOUR[:1]),
}
