"""The rows about tenants in the system profile, which also has the records of processes (`store.processes`).

| category | a row is |
|---|---|
| `tenant` | one tenant and its state |
| `tenant-open` | a process has opened this tenant and not closed it, so there may be work to do |
| `tenant-due` | when a closed tenant must be opened again, for a deadline |

So an agent that starts finds the tenants with work to do without opening all: those that an earlier process did not
close, and those that are due. Any other tenant has nothing to do until it receives a message or command.
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
"""How many due tenants are read at once."""


class State(StrEnum):
    """The state of a tenant."""

    MAKING = "making"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Record:
    """A tenant. Of a deleted one only the id is kept, so that it is not used again.

    Attributes:
        id: random; part of the path of its endpoint.
        profile: name of its Askar profile: random, never used again, as other processes may know a removed one.
        label: the name that its peers are told.
        created: POSIX time.
    """

    id: str
    state: State
    profile: str = ""
    label: str = ""
    created: float = 0.0

    @classmethod
    def new(cls, label: str) -> Self:
        """Return a new tenant, whose profile is still to be made."""
        return cls(
            id=secrets.token_urlsafe(16),
            state=State.MAKING,
            profile=secrets.token_urlsafe(16),
            label=label,
            created=time.time(),
        )

    @property
    def place(self) -> str:
        """Its position in lists: a text that sorts by the time of creation."""
        return f"{int(self.created * 1e6):018} {self.id}"

    def put(self) -> Put:
        """Return the write that stores this record."""
        if self.state == State.DELETED:
            return Put(TENANT, self.id, {"id": self.id, "state": self.state})
        tags = {"state": str(self.state), "~place": self.place}
        return Put(TENANT, self.id, asdict(self), tags, new=self.state == State.MAKING)

    @property
    def event(self) -> Json:
        """The event for the log of the system profile that tells its state."""
        return {"type": TENANT, "id": self.id, "state": self.state}


class Records:
    """Reads and writes the rows about tenants."""

    def __init__(self, system: Profile) -> None:
        self.system = system

    async def refresh(self) -> None:
        """Read what other processes have committed."""
        await self.system.refresh()

    async def find(self, name: str) -> Record | None:
        """Return a tenant, whatever its state, or None."""
        found = await self.system.fetch(TENANT, name)
        return _read(found) if found else None

    async def page(self, after: str, limit: int) -> list[Record]:
        """Return tenants that are not deleted, in the order of their creation.

        Args:
            after: `place` of the last tenant of the page before; empty: from the beginning.
        """
        rows = await self.system.find(TENANT, {"~place": {"$gt": after}}, limit)
        return [_read(value) for _, value in rows]

    async def unfinished(self) -> list[Record]:
        """Return the tenants that are not made or not removed completely."""
        return [
            _read(value)
            for state in (State.MAKING, State.DELETING)
            for _, value in await self.system.find(TENANT, {"state": str(state)})
        ]

    async def save(self, record: Record) -> Record:
        """Commit the state of a tenant; the other rows about a deleted one are removed."""
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
        """Note that a process has closed a tenant, and at what POSIX time it is due; None: it is not."""
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
        """Note that a tenant is opened by this process instead of processes that are gone."""
        removed = [Delete(OPEN, f"{name} {process}") for process in gone]
        await self.system.commit(Commit(writes=(_mark(name, by), *removed)))

    async def opened_by(self, name: str) -> set[str]:
        """Return the processes that have a tenant open."""
        return {value["by"] for _, value in await self.system.find(OPEN, {"tenant": name})}

    async def due(self, before: float) -> list[tuple[float, str]]:
        """Return when closed tenants must be opened, for those due in the hour of this POSIX time or earlier."""
        rows = await self.system.find(DUE, {"~due": {"$lte": hour(before)}}, MOST_DUE)
        return [(value["at"], name) for name, value in rows]


def _mark(name: str, by: str) -> Put:
    value = {"tenant": name, "by": by}
    return Put(OPEN, f"{name} {by}", value, value)


def _read(value: Json) -> Record:
    told: Json = {**value, "state": State(value["state"])}
    return Record(**told)
