"""How many deliveries a process makes at once, whoever they are for (SEC-R 03).

Each endpoint has one slot of its own, so somebody who hangs takes nothing from others. What an
endpoint that answers gets on top comes out of a common stock, and so does what is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from keep_agent.didcomm.lanes import Slot

ENDPOINTS, MORE, PROBES = 256, 128, 64


class Slots:
    """The slots of one process, shared by its tenants.

    Attributes:
        more: how many slots of the kind `MORE` are left; who starts an attempt with one takes it.
    """

    def __init__(self) -> None:
        self.more = MORE
        self._waited = {
            Slot.FIRST: asyncio.Semaphore(ENDPOINTS),
            Slot.PROBE: asyncio.Semaphore(PROBES),
        }

    @asynccontextmanager
    async def held(self, slot: Slot) -> AsyncGenerator[None]:
        """Wait for a slot and hold it; one of the kind `MORE` is held by whoever took it."""
        waited = self._waited.get(slot)
        if waited is None:
            yield
            return
        async with waited:
            yield
