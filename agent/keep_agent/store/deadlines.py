"""Finds exchanges by their deadline, and rows by the day until which they are kept.

The tags hold an hour or a day as text (`rows.hour`, `rows.day`), so that they are compared in the store.
"""

from __future__ import annotations

import time
from typing import Any

from keep_agent.core.machine import Exchange
from keep_agent.store.profile import Profile
from keep_agent.store.rows import HOUR_S, hour

FAR_H = 1 << 17
"""Hours from now, 15 years: a deadline after that is not looked for."""


async def due(profile: Profile, before: float) -> list[Exchange[Any]]:
    """Return the exchanges whose deadline is in the hour of this POSIX time or earlier."""
    return await profile.reader.exchanges({"~due": {"$lte": hour(before)}})


async def next_due(profile: Profile) -> float | None:
    """Return the time at which to look for deadlines again; None: no exchange has one.

    This is the earliest deadline if it is within an hour, otherwise a time between half of the way and all of it.
    """
    now = time.time()
    if not await _due_within(profile, FAR_H, now):
        return None
    ahead = 1
    while not await _due_within(profile, ahead, now):
        ahead *= 2
    if ahead > 1:
        return now + ahead // 2 * HOUR_S
    return min(x.due for x in await due(profile, now + HOUR_S) if x.due is not None)


async def _due_within(profile: Profile, hours: int, now: float) -> bool:
    return bool(await past(profile, "exchange", "~due", hour(now + hours * HOUR_S), 1))


async def past(profile: Profile, category: str, tag: str, before: str, most: int) -> list[str]:
    """Return the names of rows whose unencrypted tag is at most `before`; not more than `most`."""
    return [n for n, _ in await profile.reader.entries(category, {tag: {"$lte": before}}, most)]
