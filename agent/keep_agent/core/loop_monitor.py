"""How long the event loop stalled: measured if the setting `watch_loop` is on."""

from __future__ import annotations

import asyncio

STEP_S = 0.02


class LoopMonitor:
    """The longest stall of this process's event loop since `watch` began."""

    def __init__(self) -> None:
        self.worst_ms = 0.0

    async def watch(self) -> None:
        """Wake up every 20 ms and note how late; a stall of less than 20 ms may not be seen."""
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time() + STEP_S
            await asyncio.sleep(STEP_S)
            self.worst_ms = max(self.worst_ms, 1000 * (loop.time() - asked))
