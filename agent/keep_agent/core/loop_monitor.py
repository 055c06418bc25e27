"""How long the event loop kept others waiting: measured where the settings ask for it."""

from __future__ import annotations

import asyncio

STEP_S = 0.02


class LoopMonitor:
    """The worst stall of this process's event loop since `watch` began."""

    def __init__(self) -> None:
        self.worst_ms = 0.0

    async def watch(self) -> None:
        """Wake up every 20 ms for ever, and note how late that was; up to that much is not seen."""
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time() + STEP_S
            await asyncio.sleep(STEP_S)
            self.worst_ms = max(self.worst_ms, 1000 * (loop.time() - asked))
