"""What is remembered of tenants, in the system profile, beside the processes (`store.processes`).

| category | a row is |
|---|---|
| `tenant` | one tenant: what it is, and where its making or removal stands |
| `tenant-open` | a tenant that a process has opened and not closed: something may be left to do |
| `tenant-due` | when a closed tenant has to be opened again |

So a start knows which tenants have something left to do without opening one: those that an earlier process did
not close, and those whose time has come. A closed tenant without a row has nothing to do until a message comes.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

from keep_agent.core.machine import Delete, Put, Write
from keep_agent.core.message import Json
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit, hour

TENANT = "tenant"
OPEN = "tenant-open"
DUE = "tenant-due"
MOST_DUE = 100_000


class State(StrEnum):
    """Where a tenant stands."""

    MAKING = "making"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Record:
    """A tenant. Of a deleted one only the id is left, so that it is not given again.

    Attributes:
        id: random; stands in the path of its endpoint.
        profile: random, and never used again: other processes cannot use one that was made anew.
        label: what it calls itself.
        created: POSIX time.
    """

    id: str
    state: State
    profile: str = ""
    label: str = ""
    created: float = 0.0

    @classmethod
    def new(cls, label: str) -> Self:
        """Return a tenant that is still to be made."""
        return cls(
            id=secrets.token_urlsafe(16),
            state=State.MAKING,
            profile=secrets.token_urlsafe(16),
            label=label,
            created=time.time(),
        )

    @property
    def place(self) -> str:
        """Its place in lists, as a text that sorts."""
        return f"{int(self.created * 1e6):018} {self.id}"

    def put(self) -> Put:
        """Return the write that stores it."""
        if self.state == State.DELETED:
            return Put(TENANT, self.id, {"id": self.id, "state": self.state})
        tags = {"state": str(self.state), "~place": self.place}
        return Put(TENANT, self.id, asdict(self), tags, new=self.state == State.MAKING)

    @property
    def event(self) -> Json:
        """The event of the system profile's log that says where it stands."""
        return {"type": TENANT, "id": self.id, "state": self.state}


class Records:
    """Reads and writes them."""

    def __init__(self, system: Profile) -> None:
        self.system = system

    async def refresh(self) -> None:
        """Take in what other processes have committed."""
        await self.system.refresh()

    async def find(self, name: str) -> Record | None:
        """Return a tenant, whatever its state, or None."""
        found = await self.system.fetch(TENANT, name)
        return _read(found) if found else None

    async def page(self, after: str, limit: int) -> list[Record]:
        """Return tenants that are not deleted, in the order in which they were made.

        Args:
            after: `place` of the last one of the page before; empty: from the beginning.
        """
        rows = await self.system.find(TENANT, {"~place": {"$gt": after}}, limit)
        return [_read(value) for _, value in rows]

    async def unfinished(self) -> list[Record]:
        """Return those whose making or removal is not finished."""
        return [
            _read(value)
            for state in (State.MAKING, State.DELETING)
            for _, value in await self.system.find(TENANT, {"state": str(state)})
        ]

    async def save(self, record: Record) -> Record:
        """Commit where a tenant stands now; a deleted one has nothing left to do."""
        writes: tuple[Write, ...] = (record.put(),)
        if record.state == State.DELETED:
            for name, _ in await self.system.find(OPEN, {"tenant": record.id}):
                writes += (Delete(OPEN, name),)
            writes += (Delete(DUE, record.id),)
        await self.system.commit(Commit(writes=writes, events=(record.event,)))
        return record

    async def mark_open(self, name: str, by: str) -> None:
        """Note that a process has opened a tenant."""
        await self.system.commit(Commit(writes=(_mark(name, by),)))

    async def mark_closed(self, name: str, by: str, due: float | None) -> None:
        """Note that a process has closed a tenant, and when it must be opened again, if at all."""
        writes: list[Write] = [Delete(OPEN, f"{name} {by}")]
        if due is None:
            writes.append(Delete(DUE, name))
        else:
            writes.append(Put(DUE, name, {"at": due}, {"~due": hour(due)}))
        await self.system.commit(Commit(writes=tuple(writes)))

    async def left_open(self, by: str) -> list[str]:
        """Return the tenants that a process has opened and not closed."""
        return [value["tenant"] for _, value in await self.system.find(OPEN, {"by": by})]

    async def take_over(self, name: str, gone: Sequence[str], by: str) -> None:
        """Count a tenant that processes which are gone left open as opened by another one."""
        removed = [Delete(OPEN, f"{name} {process}") for process in gone]
        await self.system.commit(Commit(writes=(_mark(name, by), *removed)))

    async def opened_by(self, name: str) -> set[str]:
        """Return the processes that have a tenant open."""
        return {value["by"] for _, value in await self.system.find(OPEN, {"tenant": name})}

    async def due(self, before: float) -> list[tuple[float, str]]:
        """Return the closed tenants that must be opened until the hour of a POSIX time, and when."""
        rows = await self.system.find(DUE, {"~due": {"$lte": hour(before)}}, MOST_DUE)
        return [(value["at"], name) for name, value in rows]


def _mark(name: str, by: str) -> Put:
    value = {"tenant": name, "by": by}
    return Put(OPEN, f"{name} {by}", value, value)


def _read(value: Json) -> Record:
    told: Json = {**value, "state": State(value["state"])}
    return Record(**told)
