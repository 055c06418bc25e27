"""Work that must not be cut in two, whatever happens to whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Run something to its end even when cancelled meanwhile; the cancellation then goes on.

    Askar needs it: the session of a call that was left half-way cannot be closed ("Resource handle
    in use"), and that error would take the place of the cancellation.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):  # told again: it still goes on afterwards
                await asyncio.wait([task])
        raise
