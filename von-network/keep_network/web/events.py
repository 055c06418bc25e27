"""Tells open pages what happened (server-sent events), and the server whether anybody watches."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from keep_network.web.errors import UnavailableError

_MOST_WATCHERS = 200
_BACKLOG = 32

Listener = asyncio.Queue[bytes]


class Events:
    """What happened, for whoever listens; a slow listener loses the oldest."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._called, self._came = asyncio.Event(), asyncio.Event()

    @property
    def watched(self) -> bool:
        """True while somebody has a page open."""
        return bool(self._listeners)

    def tell(self, name: str, data: Mapping[str, object]) -> None:
        """Send an event to all listeners."""
        frame = f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
        for listener in self._listeners:
            if listener.full():
                listener.get_nowait()
            listener.put_nowait(frame)

    @contextmanager
    def listening(self) -> Generator[Listener]:
        """Listen until the block ends.

        Raises:
            UnavailableError: too many listen already.
        """
        if len(self._listeners) >= _MOST_WATCHERS:
            raise UnavailableError("too many pages are open")
        listener: Listener = asyncio.Queue(_BACKLOG)
        self._listeners.add(listener)
        self._came.set()
        self.call()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def call(self) -> None:
        """Wake up whoever waits between two looks at the network."""
        self._called.set()

    async def wait(self, longest_s: float) -> None:
        """Wait until called, or for a time."""
        await _wait(self._called, longest_s)

    async def wait_for_watcher(self, longest_s: float) -> None:
        """Wait until somebody opens a page, or for a time."""
        await _wait(self._came, longest_s)


async def _wait(event: asyncio.Event, longest_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(longest_s):
            await event.wait()
    event.clear()
