"""Which messages to send are delivered, told by one number: all up to that row of the log.

A message is *fresh* from its commit on, and kept by its exchange or by the log row of that commit. What is not
delivered soon is *parked*: it gets a row of its own, so that it holds up the number of nobody else.
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
        """Take what was committed just now, or was left by an earlier process."""
        now = time.monotonic()
        for row in rows:
            self._fresh[row.name] = row, now
            self._newest = max(self._newest, row.number)

    def add_parked(self, rows: Iterable[Outgoing]) -> None:
        """Note that these have rows of their own now."""
        for row in rows:
            self._fresh.pop(row.name, None)
            self._parked.add(row.name)

    def settle(self, name: str) -> bool:
        """Note that a message needs no sending any more; True: it has a row that can go."""
        self._fresh.pop(name, None)
        if name not in self._parked:
            return False
        self._parked.remove(name)
        return True

    @property
    def fresh(self) -> list[Outgoing]:
        """The messages that their exchange or the log still keeps, in the order of their commits."""
        return [row for row, _ in self._fresh.values()]

    @property
    def parked(self) -> frozenset[str]:
        """The names of the messages that have rows of their own."""
        return frozenset(self._parked)

    def get(self, name: str) -> Outgoing | None:
        """Return a message that its exchange or the log still keeps, or None."""
        found = self._fresh.get(name)
        return found[0] if found else None

    def is_fresh(self, name: str) -> bool:
        """Tell whether what keeps this message must go on keeping it."""
        return name in self._fresh

    def slow(self, after_s: float, most: int) -> tuple[Outgoing, ...]:
        """Return the oldest messages that have waited longer than that."""
        old = time.monotonic() - after_s
        found: list[Outgoing] = []
        for row, since in self._fresh.values():
            if since > old or len(found) == most:
                break
            found.append(row)
        return tuple(found)

    def untold(self, told: int) -> bool:
        """Tell whether messages were delivered of which the log, up to this row, does not tell."""
        return self._newest > told and self.done(self._newest) > told

    def done(self, newest: int) -> int:
        """Return up to which log row everything is delivered or parked, `newest` being the last."""
        for row, _ in self._fresh.values():
            return row.number - 1
        return newest
