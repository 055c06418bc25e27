"""Removes old rows: finished exchanges, message ids, dead letters, the log."""

from __future__ import annotations

import time

from keep_agent.core.machine import Delete
from keep_agent.store.deadlines import past
from keep_agent.store.profile import Profile
from keep_agent.store.rows import DAY_S, DEAD, SEEN, Commit, day

AT_ONCE = 50


async def sweep(profile: Profile, seen_days: int) -> int:
    """Remove the rows that need not be kept any longer; return how many.

    Args:
        seen_days: how long message ids without an exchange, dead letters and the log are kept.
            A finished exchange is kept as long as its protocol says.
    """
    now = time.time()
    oldest = day(now - (seen_days + 1) * DAY_S)
    swept = await _sweep(profile, "exchange", "~until", day(now - DAY_S))
    for category in (SEEN, DEAD, "log"):
        swept += await _sweep(profile, category, "~day", oldest)
    return swept


async def _sweep(profile: Profile, category: str, tag: str, before: str) -> int:
    swept = 0
    newest = str(
        profile.number
    )  # row of the log: it is kept, as the next number follows from it
    while names := [
        n for n in await past(profile, category, tag, before, AT_ONCE) if n != newest
    ]:
        await profile.commit(Commit(writes=tuple(Delete(category, name) for name in names)))
        swept += len(names)
    return swept
