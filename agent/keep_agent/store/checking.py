"""Checks a commit before it is written: are the exchanges and records that it was decided on unchanged?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from keep_agent.core.machine import STATELESS, Consume, Exchange, Put, Write
from keep_agent.errors import ConflictError, RefusedError
from keep_agent.store.cache import Row
from keep_agent.store.profile import Profile
from keep_agent.store.rows import KEPT_WITHIN, Commit


async def check(profile: Profile, commit: Commit, taken: set[Row]) -> Commit:
    """Check a commit against the store; return it as it is to be written.

    Args:
        taken: the rows that earlier commits of its group change; the rows of this one are added.

    Raises:
        ConflictError: an exchange has changed since, a record exists already, or another commit of the group
            changes the same row.
        RefusedError: a record that can be used once is used up.
        NotFoundError: a record to be used is not there.
        UnavailableError: the store does not answer.
    """
    commit = await _gathered(profile, commit)
    mine = _exclusive_rows(commit)
    exchanges = tuple([await _checked(profile, x) for x in commit.exchanges])
    for write in commit.writes:
        if isinstance(write, Consume):
            row = (write.category, write.name)
            record = await profile.get(*row)
            if record.get("used") or row in taken:
                raise RefusedError(f"this {write.category} is used up", "e.p.req.used")
            mine.add(row)
    if not taken.isdisjoint(mine):
        raise ConflictError("another commit of the same group changes the same row")
    taken |= mine
    return replace(commit, exchanges=exchanges)


async def _gathered(profile: Profile, commit: Commit) -> Commit:
    """Move records that an exchange keeps into that exchange, which is added to the commit if need be."""
    keepers = {x.id: x for x in commit.exchanges}
    apart: list[Write] = []
    for write in commit.writes:
        x = await _keeper_of(profile, write, keepers)
        if x is None:
            apart.append(write)
        else:
            keepers[x.id] = x
    return replace(commit, exchanges=tuple(keepers.values()), writes=tuple(apart))


async def _keeper_of(
    profile: Profile, write: Write, keepers: Mapping[str, Exchange[Any]]
) -> Exchange[Any] | None:
    """Return the exchange that keeps the record written, with that record; None: it has a row of its own."""
    match write:
        case Put(category=category, name=name, within=str() as within):
            x = keepers.get(within) or await profile.exchange(within)
            if x is None or x.state == STATELESS:
                return None
            if write.new and name != within and await _is_there(profile, category, name):
                raise ConflictError(f"{category} {name!r} exists already")
            record = {"name": name, "value": write.value, "tags": write.tags}
            return replace(x, records={**x.records, category: record})
        case Consume(category=category, name=name) if category in KEPT_WITHIN:
            x = await profile.keeper(category, name)
            return _used(keepers.get(x.id, x), category) if x is not None else None
        case _:
            return None


async def _is_there(profile: Profile, category: str, name: str) -> bool:
    if await profile.keeper(category, name) is not None:
        return True
    return await profile.reader.read(lambda session: session.fetch(category, name)) is not None


async def _checked(profile: Profile, after: Exchange[Any]) -> Exchange[Any]:
    if after.state == STATELESS:
        return after
    if after.revision:  # of a new one, the insert fails if there is one already
        current = await profile.exchange(after.id)
        if current is None or current.revision != after.revision:
            raise ConflictError(f"exchange {after.id} has changed meanwhile")
    by = profile.process if after.then else ""
    return replace(after, revision=after.revision + 1, updated=time.time(), by=by)


def _used(x: Exchange[Any], category: str) -> Exchange[Any]:
    """Use up a record that an exchange keeps.

    Raises:
        RefusedError: it is used up already.
    """
    record = x.records[category]
    if record["value"].get("used"):
        raise RefusedError(f"this {category} is used up", "e.p.req.used")
    record = {**record, "value": {**record["value"], "used": True}}
    return replace(x, records={**x.records, category: record})


def _exclusive_rows(commit: Commit) -> set[Row]:
    """Return the rows that no other commit of the group may change."""
    found = {(w.category, w.name) for w in commit.writes if isinstance(w, Put) and w.new}
    found |= {("exchange", x.id) for x in commit.exchanges if x.state != STATELESS}
    return found
