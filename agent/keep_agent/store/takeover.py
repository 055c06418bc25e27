"""Taking over what a process that is gone left to be done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from keep_agent.core.machine import Exchange, Put, Write
from keep_agent.errors import ConflictError
from keep_agent.store.profile import Profile
from keep_agent.store.rows import BUCKET, Commit, Outgoing, TakenOver, Waiting, item, read_item


async def open_profile(profile: Profile) -> None:
    """Find out where the log stands, and what an earlier process left to be sent."""
    await profile.log.find_end()
    newest = profile.number
    if (
        profile.shared
    ):  # the newest row of all is another process's, and tells of what that has delivered
        profile.log.done, newest = await _stood(profile, profile.process)
    left = await _left(profile, profile.process, profile.log.done, newest)
    profile.deliveries.add(row for row in left if row.number)
    profile.deliveries.add_parked(row for row in left if not row.number)
    profile.left = left


async def take_over(profile: Profile, gone: Sequence[str]) -> None:
    """Make ours what processes that are gone left to be done in this profile."""
    await shut_out(profile, gone)
    for name in gone:
        left = await _left(profile, name, *await _stood(profile, name))
        known = (
            profile.deliveries.parked
        )  # one that is gone may have taken it over from another one
        mine = [
            replace(row, by=profile.process, number=0) for row in left if row.name not in known
        ]
        await profile.commit(Commit(writes=tuple(map(_parked, mine)), mark=True))
        waiting = [Waiting(name=n, **v) for n, v in await profile.find("inbox", {"by": name})]
        await profile.commit(Commit(writes=await _owned(profile, "inbox", name)))
        pending = [
            x
            for each in await profile.exchanges("then", name)
            if (x := await _ours(profile, each))
        ]
        await profile.commit(Commit(writes=await _owned(profile, "job", name)))
        profile.deliveries.add_parked(mine)
        if profile.on_taken_over is None:
            profile.left += mine
        else:
            profile.on_taken_over(TakenOver(mine, waiting, pending))


async def shut_out(profile: Profile, gone: Sequence[str]) -> None:
    """Keep processes out that may not be gone, only slow.

    Whatever they committed before is found; when they want to commit after this, they learn that their
    work is ours.
    """
    for name in gone:
        await profile.commit(Commit(mark=True, over=name))


async def _stood(profile: Profile, by: str) -> tuple[int, int]:
    """Return up to where a process had delivered, and the number of its newest row of the log."""
    rows = await profile.reader.page("log", {"by": by}, 0, 1)
    return (json.loads(rows[0][1])["done"], int(rows[0][0])) if rows else (0, 0)


async def _ours(profile: Profile, x: Exchange[Any]) -> Exchange[Any] | None:
    """Make an exchange ours; None: another process has changed it, and has its commands."""
    with suppress(ConflictError):
        return (await profile.commit(Commit(exchanges=(x,)))).exchange(x.id)
    return None


async def _owned(profile: Profile, category: str, by: str) -> tuple[Write, ...]:
    """Return the writes that make rows of a process ours."""
    return tuple(
        Put(category, name, value, {"by": profile.process})
        for name, value in await profile.find(category, {"by": by})
    )


async def _left(profile: Profile, by: str, done: int, newest: int) -> list[Outgoing]:
    """Return what a process left to be sent, in the order of its commits."""
    parked = [
        replace(read_item({"name": name, **value}), number=0)
        for name, value in await profile.find("outbox", {"by": by})
    ]
    found: list[Outgoing] = []
    buckets = range((done + 1) // BUCKET, newest // BUCKET + 1)
    query = {"~out": {"$in": [f"{by}.{number}" for number in buckets]}}
    for x in await profile.reader.exchanges(query):
        found += [read_item(out) for out in x.out]
    for number in range(done + 1, newest + 1):
        row = await profile.log.row(number)
        found += [read_item(out) for out in (row or {}).get("out", ())]
    known = {row.name for row in parked}
    fresh = [
        row
        for row in found
        if row.number > done and row.by == by and not row.held and row.name not in known
    ]
    return parked + sorted(fresh, key=lambda row: row.number)


def _parked(row: Outgoing) -> Put:
    value = item(row)
    del value["name"]
    return Put("outbox", row.name, value, {"by": row.by})
