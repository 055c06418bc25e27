"""Which messages are delivered. One number in the log says it: `done`, up to which row all are delivered or parked.

A message is *fresh* from its commit on: its exchange, or the log row of that commit, keeps it. A message that is not
delivered soon is *parked*: it gets a row of its own in the outbox, so that `done` can go on past it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable

from keep_agent.store.rows import Outgoing


class Deliveries:
    """The messages of one process that are not delivered yet, in the order of their commits."""

    def __init__(self) -> None:
        self._fresh: OrderedDict[str, tuple[Outgoing, float]] = OrderedDict()
        self._parked: set[str] = set()
        self._newest = 0

    def add(self, rows: Iterable[Outgoing]) -> None:
        """Add messages that were committed just now, or left by an earlier process."""
        now = time.monotonic()
        for row in rows:
            self._fresh[row.name] = row, now
            self._newest = max(self._newest, row.number)

    def add_parked(self, rows: Iterable[Outgoing]) -> None:
        """Note that these messages have rows of their own now."""
        for row in rows:
            self._fresh.pop(row.name, None)
            self._parked.add(row.name)

    def remove(self, name: str) -> bool:
        """Remove a message that need not be sent any more; True: it has a row of its own, to be removed."""
        self._fresh.pop(name, None)
        if name not in self._parked:
            return False
        self._parked.remove(name)
        return True

    @property
    def fresh(self) -> list[Outgoing]:
        """The fresh messages, in the order of their commits."""
        return [row for row, _ in self._fresh.values()]

    @property
    def parked(self) -> frozenset[str]:
        """The names of the parked messages."""
        return frozenset(self._parked)

    def get(self, name: str) -> Outgoing | None:
        """Return a fresh message, or None."""
        found = self._fresh.get(name)
        return found[0] if found else None

    def is_fresh(self, name: str) -> bool:
        """Tell whether a message is fresh, so that its exchange or the log must keep it."""
        return name in self._fresh

    def slow(self, after_s: float, most: int) -> tuple[Outgoing, ...]:
        """Return the fresh messages that have waited longer than `after_s`, the oldest first, at most `most`."""
        old = time.monotonic() - after_s
        found: list[Outgoing] = []
        for row, since in self._fresh.values():
            if since > old or len(found) == most:
                break
            found.append(row)
        return tuple(found)

    def has_unlogged(self, logged: int) -> bool:
        """Tell whether `done` is higher now than the log says; `logged`: what it says."""
        return self._newest > logged and self.done(self._newest) > logged

    def done(self, newest: int) -> int:
        """Return up to which log row all messages are delivered or parked; `newest`: the newest row."""
        for row, _ in self._fresh.values():
            return row.number - 1
        return newest
