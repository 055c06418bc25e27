"""NODE transactions of a genesis, merged by node as nodes and indy-vdr do it, and checked."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from typing import Any

from keep_network.json_shape import Json, object_of
from keep_network.web.errors import UnavailableError
from keep_network.web.keys import VERKEY_BYTES, decode

_PORTS = 1 << 16
_BLS_BYTES = 128
_TEXTS = ("alias", "client_ip", "node_ip", "blskey", "blskey_pop")
_NUMBERS = ("client_port", "node_port")
_WRONG = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(slots=True)
class _Node:
    """What its transactions amount to.

    Attributes:
        line: of the last one, from 1.
    """

    line: int = 0
    members: Json = field(default_factory=dict[str, Any])

    @property
    def validates(self) -> bool:
        return "VALIDATOR" in self.members.get("services", ())


def check_genesis(text: str) -> None:
    """Refuse what is not a genesis before it is used, with a reason that names the line.

    It may be a whole pool ledger: later transactions of a node change what they name. Keys and addresses of
    the validators that result are such that a pool can be opened; indy-vdr waits for ever on others.

    Raises:
        UnavailableError: it says which line is wrong, and why.
    """
    nodes: dict[str, _Node] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                _take(nodes, number, line)
            except _WRONG as error:
                raise _refusal(number, error) from error
    if not nodes:
        raise UnavailableError("this is not a genesis: it is empty")
    validators = [node for node in nodes.values() if node.validates]
    if not validators:
        raise UnavailableError("this is not a genesis: it has no validators")
    names: set[str] = set()
    for node in validators:
        try:
            _check(node.members, names)
        except _WRONG as error:
            raise _refusal(node.line, error) from error


def _take(nodes: dict[str, _Node], number: int, line: str) -> None:
    told = object_of(json.loads(line))
    txn, dest = told["txn"], told["txn"]["data"]["dest"]
    if (told["ver"], txn["type"]) != ("1", "0"):
        raise ValueError("its ver is not 1, or its type not 0")
    if not isinstance(txn["metadata"]["from"], str) or len(decode(dest)) != VERKEY_BYTES:
        raise ValueError("metadata.from or dest")
    object_of(told["reqSignature"])
    object_of(told["txnMetadata"])
    named = {k: v for k, v in object_of(txn["data"]["data"]).items() if v is not None}
    for name in _NUMBERS:
        if name in named:
            named[name] = _port(name, named[name])
    if not all(isinstance(named.get(name, ""), str) for name in _TEXTS):
        raise TypeError("a member is not text")
    if not isinstance(named.get("services", []), list):
        raise TypeError("services is not a list")
    node = nodes.setdefault(dest, _Node())
    if node.members.setdefault("alias", named["alias"]) != named["alias"]:
        raise ValueError(f"this node was called {node.members['alias']} before")
    node.line, node.members = number, node.members | named


def _port(name: str, given: object) -> int:
    """Read a port, a number or its digits: most real networks write text."""
    number = (
        int(given) if isinstance(given, str) and given.isascii() and given.isdigit() else given
    )
    if type(number) is not int or not 0 <= number < _PORTS:
        raise ValueError(name)
    return number


def _check(node: Json, names: set[str]) -> None:
    for side in ("client", "node"):
        ipaddress.ip_address(node[f"{side}_ip"])
        if not node[f"{side}_port"]:
            raise ValueError(f"{side}_port")
    if "blskey" in node and len(decode(node["blskey"])) != _BLS_BYTES:
        raise ValueError("blskey")
    if node["alias"] in names:
        raise ValueError("another node has the same alias")
    names.add(node["alias"])


def _refusal(number: int, error: Exception) -> UnavailableError:
    why = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
    if isinstance(error, json.JSONDecodeError):
        why = "it is not JSON"
    return UnavailableError(
        f"this is not a genesis: line {number} is not a NODE transaction: {why}"
    )
