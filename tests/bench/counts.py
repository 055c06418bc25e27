"""What an item costs in transactions and rows, counted by the agents themselves while nothing else is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from statistics import median

from bench.load import Load

LOOK_S = 0.02
STILL = 3
"""How many looks in a row must see nothing new."""

Counts = tuple[int, int]
"""Transactions and rows."""


async def counted(
    load: Load, what: str, items: int, item: Callable[[int], Awaitable[None]]
) -> dict[str, float]:
    """Run items one at a time, and return the medians over both agents, by their keys.

    The marks of what was delivered ride with the next item; the first item only makes ready for the others.
    """
    found: list[Counts] = []
    before = await _still(load)
    for number in range(items + 1):
        await load.run_one(number, item)
        after = await _still(load)
        found.append((after[0] - before[0], after[1] - before[1]))
        before = after
    transactions, rows = zip(*found[1:], strict=True)
    return {
        f"transactions_per_{what}": median(transactions),
        f"rows_per_{what}": median(rows),
    }


async def _still(load: Load) -> Counts:
    """Wait until both agents have nothing to send and write nothing, and return what they wrote so far."""
    seen, times = (-1, -1), 0
    while times < STILL:
        await asyncio.sleep(LOOK_S)
        told = [await each.client.status() for each in load.parties]
        written = [each["written"] for each in told]
        now = sum(w["transactions"] for w in written), sum(w["rows"] for w in written)
        waiting = sum(each["outbox"] for each in told)
        times = times + 1 if now == seen and not waiting else 0
        seen = now
    return seen
