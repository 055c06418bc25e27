"""How many deliveries a process makes at once, for all endpoints together (SEC-R 03).

Each endpoint has one slot of its own, so that an endpoint that hangs does not hold up others. More
slots for endpoints that answer come from a common pool, and slots for repeated attempts from another.
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
        more: how many slots of the kind `MORE` are left; whoever starts an attempt takes one.
    """

    def __init__(self) -> None:
        self.more = MORE
        self._waited = {
            Slot.FIRST: asyncio.Semaphore(ENDPOINTS),
            Slot.PROBE: asyncio.Semaphore(PROBES),
        }

    @asynccontextmanager
    async def held(self, slot: Slot) -> AsyncGenerator[None]:
        """Wait for a slot and hold it; one of the kind `MORE` is taken before, without waiting."""
        waited = self._waited.get(slot)
        if waited is None:
            yield
            return
        async with waited:
            yield
