"""An event loop that opens no socket.

Ordinary event loops wake themselves through a pair of sockets. A command that signs on a machine without
network opens not even these, so that the absence of sockets can be checked from outside.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits only for native threads, such as those of Askar."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)


class _Loop(asyncio.BaseEventLoop):
    """A loop that is its own selector: it sleeps until another thread wakes it."""

    def __init__(self) -> None:
        super().__init__()
        self._woken = threading.Event()
        self._selector = self

    def select(self, timeout: float | None) -> Sequence[tuple[object, int]]:
        self._woken.wait(timeout)
        self._woken.clear()  # whoever sets it has queued its call before
        return ()

    def _process_events(self, _events: Sequence[tuple[object, int]]) -> None:
        pass

    def _write_to_self(self) -> None:
        self._woken.set()
