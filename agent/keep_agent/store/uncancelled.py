"""Work that must run to its end even if the task that waits for it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def uncancelled(work: Coroutine[Any, Any, T]) -> T:
    """Run work to its end even if this is cancelled meanwhile; the cancellation is raised after it.

    Askar needs it: a session cannot be closed during a call that was cancelled ("Resource handle
    in use"), and that error would take the place of the cancellation.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):  # cancelled again: raised below all the same
                await asyncio.wait([task])
        raise
