"""What is old enough is forgotten: finished exchanges, message ids, dead letters, the log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from keep_agent.core.commit import SEEN
from keep_agent.core.machine import Delete, Exchange, Protocol
from keep_agent.core.message import Json
from keep_agent.didcomm.outbox import DEAD
from keep_agent.store.rows import Commit
from keep_agent.store.store import Profile

DAY_S = 24 * 3600.0
PAGE = 200
AT_ONCE = 50


async def sweep(
    profile: Profile, protocols: Mapping[str, Protocol[Any]], seen_days: int
) -> int:
    """Forget what is past its time and return how many rows that was.

    Args:
        seen_days: how long message ids without an exchange, dead letters and the log are kept.
            Exchanges are kept as long as their protocol says, once they can go no further.
    """
    oldest = time.time() - seen_days * DAY_S

    def finished(x: Exchange[Any]) -> bool:
        protocol = protocols[x.protocol]
        kept = x.updated + protocol.keep_days * DAY_S
        return kept < time.time() and not x.then and protocol.final(x.role, x.state)

    def old_log(row: Json) -> bool:
        return bool(row["events"]) and row["events"][-1]["at"] < oldest

    swept = 0
    swept += await _sweep(profile, "exchange", lambda v: finished(profile.read_exchange(v)))
    for category in (SEEN, DEAD):
        swept += await _sweep(profile, category, lambda v: json.loads(v)["at"] < oldest)
    swept += await _sweep(profile, "log", lambda v: old_log(json.loads(v)))
    return swept


async def _sweep(profile: Profile, category: str, old: Callable[[bytes], bool]) -> int:
    names: list[str] = []
    offset = 0
    while page := await profile.page(category, None, offset, PAGE, oldest_first=True):
        names += [name for name, value in page if old(value)]
        offset += PAGE
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        await profile.commit(Commit(writes=tuple(Delete(category, name) for name in some)))
    return len(names)
