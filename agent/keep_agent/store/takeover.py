"""Work that a process left unfinished: found when a profile is opened, taken over when its process is gone.

In a file the next process goes on with it at its start. In a database any other process takes it over; see
`processes` for how it is decided that one is gone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from keep_agent.core.machine import Exchange, Put, Write
from keep_agent.errors import ConflictError
from keep_agent.store.profile import Profile
from keep_agent.store.rows import (
    BUCKET,
    Commit,
    Outgoing,
    TakenOver,
    Waiting,
    outbox_value,
    read_outgoing,
)


async def open_profile(profile: Profile) -> None:
    """Read the end of the log, and the messages that an earlier process of this name left to be sent."""
    await profile.log.find_end()
    newest = profile.number
    if profile.shared:  # the newest row may be another process's, with another `done`
        profile.log.done, newest = await _position_of(profile, profile.process)
    left, parked = await _left(profile, profile.process, profile.log.done, newest)
    profile.deliveries.add(row for row in left if row.name not in parked)
    profile.deliveries.add_parked(row for row in left if row.name in parked)
    profile.left_to_send = left


async def take_over(profile: Profile, gone: Sequence[str]) -> None:
    """Take over what processes that are gone left to be done in this profile.

    Each step is a commit of its own; after a failure, all of it can be done again.
    """
    await shut_out(profile, gone)
    for name in gone:
        left, _ = await _left(profile, name, *await _position_of(profile, name))
        known = profile.deliveries.parked  # taken over already
        mine = [replace(row, by=profile.process) for row in left if row.name not in known]
        await profile.commit(Commit(writes=tuple(map(_parked, mine)), mark=True))
        waiting = [Waiting(name=n, **v) for n, v in await profile.find("inbox", {"by": name})]
        await profile.commit(Commit(writes=await _take_rows(profile, "inbox", name)))
        pending = [
            x
            for each in await profile.exchanges("then", name)
            if (x := await _take_commands(profile, each))
        ]
        await profile.commit(Commit(writes=await _take_rows(profile, "job", name)))
        profile.deliveries.add_parked(mine)
        if profile.on_taken_over is None:
            profile.left_to_send += mine
        else:
            profile.on_taken_over(TakenOver(mine, waiting, pending))


async def shut_out(profile: Profile, gone: Sequence[str]) -> None:
    """Stop processes from writing that may be slow instead of gone.

    What they committed before this is taken over. Before their next commit they read in the log that their work
    belongs to another process, and write nothing.
    """
    for name in gone:
        await profile.commit(Commit(mark=True, takes_over=name))


async def _position_of(profile: Profile, by: str) -> tuple[int, int]:
    """Return, of a process, `done` and the number of its newest row of the log."""
    rows = await profile.reader.page("log", {"by": by}, 0, 1)
    return (json.loads(rows[0][1])["done"], int(rows[0][0])) if rows else (0, 0)


async def _take_commands(profile: Profile, x: Exchange[Any]) -> Exchange[Any] | None:
    """Take over the commands of an exchange; None: another process has changed it, and runs them."""
    with suppress(ConflictError):
        return (await profile.commit(Commit(exchanges=(x,)))).exchange(x.id)
    return None


async def _take_rows(profile: Profile, category: str, by: str) -> tuple[Write, ...]:
    """Return the writes that take over the rows of a process."""
    return tuple(
        Put(category, name, value, {"by": profile.process})
        for name, value in await profile.find(category, {"by": by})
    )


async def _left(
    profile: Profile, by: str, done: int, newest: int
) -> tuple[list[Outgoing], frozenset[str]]:
    """Return the messages that a process left to be sent, in the order of its commits, and the names of the parked.

    Args:
        done: up to this row of the log its messages are delivered or parked.
        newest: the number of its newest row of the log.
    """
    parked = [
        read_outgoing({"name": name, **value})
        for name, value in await profile.find("outbox", {"by": by})
    ]
    found: list[Outgoing] = []
    buckets = range((done + 1) // BUCKET, newest // BUCKET + 1)
    query = {"~out": {"$in": [f"{by}.{number}" for number in buckets]}}
    for x in await profile.reader.exchanges(query):
        found += [read_outgoing(out) for out in x.out]
    for number in range(done + 1, newest + 1):
        row = await profile.log.row(number)
        found += [read_outgoing(out) for out in (row or {}).get("out", ())]
    known = frozenset(row.name for row in parked)
    fresh = [
        row
        for row in found
        if row.number > done and row.by == by and not row.held and row.name not in known
    ]
    return sorted(parked + fresh, key=lambda row: (row.number, row.turn)), known


def _parked(row: Outgoing) -> Put:
    return Put("outbox", row.name, outbox_value(row), {"by": row.by})
