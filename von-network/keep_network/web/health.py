"""Which nodes answer, how fast, how far they are, and what they say about themselves."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keep_network.json_shape import Json
from keep_network.web.events import Events
from keep_network.web.keys import Key
from keep_network.web.nodes import DOMAIN, Nodes, get_transaction
from keep_network.web.transactions import mapping

_WATCHED_S, _ALONE_S = 3, 30
_ASK_S, _INFO_S = 2, 4
_INFO_AGE_S = 10
_JUST_NOW_S = 1


@dataclass(frozen=True, slots=True)
class Pulse:
    """What we saw when we last asked a node.

    Attributes:
        reachable: it answered.
        latency_ms: how long it took; None if it did not.
        size: transactions in its domain ledger; None if it did not say.
        since: when it began to be so, seconds since the epoch.
    """

    name: str
    reachable: bool
    latency_ms: float | None
    size: int | None
    since: float


class Health:
    """The nodes' state, looked at again and again.

    Args:
        key: of a DID that may ask nodes about themselves; None: nobody tells us.
        events: hears of changes.
    """

    def __init__(self, key: Key | None, events: Events) -> None:
        self._key = key
        self._events = events
        self._pulses: dict[str, Pulse] = {}
        self._info: dict[str, Json | None] = {}
        self._informed = 0.0
        self._asking = asyncio.Lock()

    @property
    def pulses(self) -> list[Pulse]:
        """All nodes, by name."""
        return sorted(self._pulses.values(), key=lambda pulse: pulse.name)

    @property
    def info(self) -> Mapping[str, Json | None]:
        """What each node last said about itself (GET_VALIDATOR_INFO), None if nothing."""
        return self._info

    async def run(self, nodes: Nodes) -> None:
        """Look at the nodes until cancelled."""
        while True:
            await self.look(nodes)
            if self._events.watched:
                await self.learn(nodes, _INFO_AGE_S)
                self._events.tell("nodes", {})
            quiet = all(p.reachable for p in self._pulses.values())
            pause = _WATCHED_S if self._events.watched or not quiet else _ALONE_S
            await self._events.wait_for_watcher(pause)

    async def look(self, nodes: Nodes) -> None:
        """Ask every node one small thing."""
        one = asyncio.Lock()  # together they would wait for each other, and seem slow
        found = await asyncio.gather(*(self._feel(nodes, name, one) for name in nodes.names))
        changed = [p for p in found if not self._is_as_before(p)]
        self._pulses = {pulse.name: pulse for pulse in found}
        if changed:
            self._informed = 0

    async def learn(self, nodes: Nodes, age_s: float = _JUST_NOW_S) -> None:
        """Let the nodes tell about themselves, unless they did so within the last seconds."""
        if self._key is None:
            return
        async with self._asking:
            if time.monotonic() - self._informed > age_s:
                told = await nodes.ask({"type": "119"}, nodes.names, _INFO_S, self._key)
                self._info = {
                    name: answer and mapping(answer.get("data"))
                    for name, answer in told.items()
                }
                self._informed = time.monotonic()

    def pick(self, nodes: Nodes, turn: int) -> str:
        """Return a node that answers, another one each turn."""
        live = self.live(nodes)
        return live[turn % len(live)]

    def live(self, nodes: Nodes) -> list[str]:
        """Return the nodes that answered when last asked; all if none did."""
        return [pulse.name for pulse in self.pulses if pulse.reachable] or list(nodes.names)

    def validators(self) -> list[dict[str, Any]]:
        """Return what the nodes said in the form of the classic `/status?validators=1`."""
        silent = {"error": "timeout"}
        return [
            told or {"Node_info": {"Name": name}, **silent}
            for name, told in sorted(self._info.items())
        ]

    async def _feel(self, nodes: Nodes, name: str, one: asyncio.Lock) -> Pulse:
        before = self._pulses.get(name)
        lately = before is not None and before.reachable
        async with one if lately else contextlib.nullcontext():
            begun = time.monotonic()
            told = (await nodes.ask(get_transaction(DOMAIN, 1), [name], _ASK_S))[name]
            spent = 1000 * (time.monotonic() - begun)
        size = mapping(mapping(told).get("data")).get("ledgerSize")
        now = Pulse(name, told is not None, spent if told else None, size, time.time())
        if before and before.reachable == now.reachable:
            now = Pulse(name, now.reachable, now.latency_ms, size, before.since)
        return now

    def _is_as_before(self, pulse: Pulse) -> bool:
        before = self._pulses.get(pulse.name)
        return before is not None and before.since == pulse.since
