"""The log of one profile: its newest row, its events, and who waits for the next event."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from itertools import takewhile

from keep_agent.core.message import Json
from keep_agent.errors import UnavailableError
from keep_agent.store.reading import Reader

RECENT_EVENTS = 512
EVENTS_A_ROW = 1000
"""How many event numbers each row of the log has: the first event of row n has the number n * 1000 + 1."""


class Log:
    """The log of one profile, up to the newest row that this process has written or read.

    Attributes:
        number: of that row.
        done: the newest `done` of this process in the log: up to this row, its messages are delivered or parked.
        done_by: the same of other processes, by name.
    """

    def __init__(self, reader: Reader) -> None:
        self.number = 0
        self.done = 0
        self.done_by: dict[str, int] = {}
        self._reader = reader
        self._recent: deque[Json] = deque(maxlen=RECENT_EVENTS)
        self._changed = asyncio.Event()
        self._closed = False

    async def find_end(self) -> None:
        """Read the number of the newest row, and its `done`."""
        rows = await self._reader.page("log", None, 0, 1)
        self.number = int(rows[0][0]) if rows else 0
        self.done = json.loads(rows[0][1]).get("done", 0) if rows else 0

    async def row(self, number: int) -> Json | None:
        """Return the row of this number, or None."""
        entry = await self._reader.read(lambda session: session.fetch("log", str(number)))
        return json.loads(entry.value) if entry else None

    @property
    def last_event(self) -> int:
        """Number of the newest event; numbers grow in the order of commits, with gaps."""
        return self._recent[-1]["n"] if self._recent else (self.number + 1) * EVENTS_A_ROW

    async def events(self, after: int, limit: int) -> list[Json]:
        """Return committed events with a number above `after`, oldest first."""
        if self._recent and after >= self._recent[0]["n"]:
            newer = takewhile(lambda e: e["n"] > after, reversed(self._recent))
            return list(newer)[::-1][:limit]
        found: list[Json] = []
        number = max(after // EVENTS_A_ROW, 1)
        if number < self.number and await self.row(number) is None:  # it is swept
            number = max(number, await self._oldest())
        while number <= self.number and len(found) < limit:
            row = await self.row(number)
            found += [e for e in (row or {"events": []})["events"] if e["n"] > after]
            number += 1
        return found[:limit]

    async def _oldest(self) -> int:
        [(name, _)] = await self._reader.page("log", None, 0, 1, oldest_first=True)
        return int(name)

    async def wait_event(self, after: int) -> None:
        """Return when an event with a number above `after` is committed.

        Raises:
            UnavailableError: the profile is closed.
        """
        while self.last_event <= after and not self._closed:
            await self._changed.wait()
        if self._closed:
            raise UnavailableError("this tenant is closed")

    def tell(self, events: Sequence[Json]) -> None:
        """Add new events, and wake those who wait for one."""
        if events:
            self._recent += events
            self._changed.set()
            self._changed = asyncio.Event()

    def close(self) -> None:
        """End all waiting for events."""
        self._closed = True
        self._changed.set()
