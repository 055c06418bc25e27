"""The state of the nodes in words, for the home page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keep_network.json_shape import array_of, is_array
from keep_network.web.health import Pulse
from keep_network.web.transactions import mapping, text

_DAY_S, _HOUR_S, _MINUTE_S = 86400, 3600, 60
_LEDGERS = {"ledger": "domain", "pool": "pool", "config": "config", "audit": "audit"}


@dataclass(frozen=True, slots=True)
class NodeCard:
    """One node for people.

    Attributes:
        state: up, behind, down; the picture.
        words: the same in words.
        missing: the names of nodes that it cannot reach.
        counts: transactions by ledger, when the node told us.
    """

    name: str
    state: str
    words: str
    primary: bool
    latency_ms: int | None
    uptime: str
    version: str
    address: str
    view: str
    missing: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """The network at a glance.

    Attributes:
        mood: good, warning, bad; the colour.
        headline: a sentence.
        more: what it means for a user.
    """

    mood: str
    headline: str
    more: str
    nodes: tuple[NodeCard, ...]


def overview(pulses: Sequence[Pulse], info: Mapping[str, Any]) -> Overview:
    """Describe the network from what we last saw of it."""
    longest = max((pulse.size or 0 for pulse in pulses), default=0)
    primary = _primary(info)
    cards = tuple(
        _card(pulse, mapping(info.get(pulse.name)), longest, primary) for pulse in pulses
    )
    total, live = len(cards), sum(pulse.reachable for pulse in pulses)
    needed = total - (total - 1) // 3
    if not total:
        return Overview("warning", "Looking at the nodes", "Waiting for the first answers.", ())
    if live == total:
        leads = next((f" {c.name} leads, view {c.view}." for c in cards if c.primary), "")
        more = f"Reads and writes work.{leads}"
        return Overview("good", f"All {total} nodes answer", more, cards)
    headline = f"{live} of {total} nodes answer"
    if live >= needed:
        more = f"Reads and writes go on: {needed} nodes are enough to write."
        return Overview("warning", headline, more, cards)
    back = needed - live
    nodes = "one more node is" if back == 1 else f"{back} more nodes are"
    reads = "Reads work" if live else "Nothing can be read"
    more = f"{reads}; writes wait until {nodes} back: {needed} are needed to agree."
    return Overview("bad", headline, more, cards)


def _card(pulse: Pulse, told: Mapping[str, Any], longest: int, primary: str) -> NodeCard:
    node = mapping(told.get("Node_info")) if pulse.reachable else {}
    metrics = mapping(node.get("Metrics"))
    lag = longest - (pulse.size or 0) if pulse.reachable else 0
    state = "down" if not pulse.reachable else "behind" if lag else "up"
    counts = mapping(metrics.get("transaction-count"))
    ip, port = text(node.get("Client_ip")), text(node.get("Client_port"))
    unreachable = mapping(told.get("Pool_info")).get("Unreachable_nodes")
    return NodeCard(
        name=pulse.name,
        state=state,
        words=_words(state, lag, text(node.get("Mode"))),
        primary=pulse.reachable and pulse.name == primary,
        latency_ms=None if pulse.latency_ms is None else max(1, round(pulse.latency_ms)),
        uptime=_duration(metrics.get("uptime")),
        version=text(mapping(told.get("Software")).get("indy-node")) if node else "",
        address=f"{ip}:{port}" if ip and port else "",
        view=text(mapping(node.get("View_change_status")).get("View_No")),
        missing=tuple(_names(unreachable)) if node else (),
        counts=tuple(
            (label, counts[key])
            for key, label in _LEDGERS.items()
            if isinstance(counts.get(key), int)
        ),
    )


def _words(state: str, lag: int, mode: str) -> str:
    if state == "down":
        return "does not answer"
    if lag:
        return f"{lag} transaction{'s' if lag > 1 else ''} behind"
    return "up to date" if mode in {"participating", ""} else mode


def _primary(info: Mapping[str, Any]) -> str:
    """Return the name of the master primary of the highest view that a node names."""
    best, found = -1, ""
    for name, told in info.items():
        node = mapping(mapping(told).get("Node_info"))
        view = mapping(node.get("View_change_status")).get("View_No")
        master = mapping(mapping(node.get("Replicas_status")).get(f"{name}:0"))
        if isinstance(view, int) and view > best and text(master.get("Primary")):
            best, found = view, text(master.get("Primary")).partition(":")[0]
    return found


def _names(value: Any) -> list[str]:
    """Read `Unreachable_nodes`: names, or pairs of a name and a primary's number."""
    return [text(one[0] if is_array(one) and one else one) for one in array_of(value)]


def _duration(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return ""
    for unit, length in (("d", _DAY_S), ("h", _HOUR_S), ("min", _MINUTE_S)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"
