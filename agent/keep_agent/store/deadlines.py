"""Exchanges and rows whose time has come."""

from __future__ import annotations

import time
from typing import Any

from keep_agent.core.machine import Exchange
from keep_agent.store.profile import Profile
from keep_agent.store.rows import HOUR_S, hour

FAR_H = 1 << 17
"""Hours after which no deadline is looked for; 15 years."""


async def due(profile: Profile, before: float) -> list[Exchange[Any]]:
    """Return the exchanges that will have waited too long by the hour of a POSIX time."""
    return await profile.reader.exchanges({"~due": {"$lte": hour(before)}})


async def next_due(profile: Profile) -> float | None:
    """Return when the first exchange will have waited too long; None: none waits.

    Of a deadline that is more than an hour off, a time at least halfway to it: look again then.
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
    """Return the names of some rows with a plain tag up to a value: see `day`."""
    return [n for n, _ in await profile.reader.entries(category, {tag: {"$lte": before}}, most)]
