"""The tenants of an agent: how they are made, listed, suspended and deleted.

A transaction cannot change two profiles. So the tenant's new state is committed first, in the system profile; then
its own profile is made or removed; then the final state is committed. What a crash interrupts is
finished at the next start, and what fails is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from keep_agent.errors import (
    BadCommandError,
    KeepError,
    NotFoundError,
    NotNowError,
)
from keep_agent.store.processes import SYSTEM
from keep_agent.store.store import Store
from keep_agent.store.uncancelled import uncancelled
from keep_agent.tenants.open_tenants import OpenTenants
from keep_agent.tenants.records import Record, Records, State
from keep_agent.tenants.tenant import MAIN, Surroundings, Tenant

log = logging.getLogger(__name__)

FINISH_EVERY_S = 60.0
OTHERS_S, LOOK_S = 5.0, 0.1
LABEL_MOST = 100


class Tenants:
    """All tenants of an agent: `main`, which always exists, and those that are made."""

    def __init__(self, store: Store, records: Records) -> None:
        self._store = store
        self._records = records
        self._open = OpenTenants(store, records)
        self._making = asyncio.Lock()

    @classmethod
    async def of(cls, store: Store) -> Tenants:
        """Return the tenants of a store; `run` makes them work."""
        return cls(store, Records(await store.profile(SYSTEM)))

    async def run(self, around: Surroundings) -> None:
        """Run the tenants until cancelled; call `close` after it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._open.run(around), name="open tenants")
            tasks.create_task(self._finish_left(), name="unfinished tenants")

    async def close(self) -> None:
        """Close all tenants after `run`, so that what they have decided is written."""
        await self._open.close()

    async def ready(self) -> None:
        """Wait until tenants can be used."""
        await self._open.ready.wait()

    @property
    def open(self) -> Mapping[str, Tenant]:
        """The tenants that are open now, by id."""
        return self._open.tenants

    @asynccontextmanager
    async def use(self, name: str) -> AsyncGenerator[Tenant, None]:
        """Open a tenant if it is closed, and keep it open within this block.

        Raises:
            NotFoundError: there is no active tenant of this id.
            UnavailableError: it cannot be opened now.
        """
        async with self._open.use(name) as tenant:
            yield tenant

    async def receive(self, name: str, packed: bytes) -> None:
        """Give an encrypted message to a tenant; raises as `use` and `Tenant.receive` do."""
        async with self.use(name) as tenant:
            await tenant.receive(packed)

    async def list(self, after: str, limit: int) -> list[Record]:
        """Return a page of the tenants without `main`, oldest first; none is opened.

        Args:
            after: `place` of the last tenant of the page before; empty: from the beginning.
        """
        return await self._records.page(after, limit)

    # -- jobs ------------------------------------------------------------------------------------

    async def make(self, label: str) -> Record:
        """Make a tenant.

        Raises:
            BadCommandError: the label is empty or too long.
            UnavailableError: the store cannot write now; if the tenant is recorded already, it is made later.
        """
        if not 1 <= len(label) <= LABEL_MOST:
            raise BadCommandError(f"a label has 1 to {LABEL_MOST} characters")
        return await uncancelled(self._make(label))

    async def suspend(self, name: str) -> Record:
        """Stop a tenant until `resume`: its peers get "not found", and all its data is kept.

        Raises:
            NotFoundError: there is no tenant of this id.
            NotNowError: it is being made or deleted.
            BadCommandError: it is `main`.
            UnavailableError: the store cannot write now.
        """
        return await uncancelled(self._suspend(name))

    async def resume(self, name: str) -> Record:
        """Let a suspended tenant go on with its work; raises as `suspend` does."""
        return await uncancelled(self._resume(name))

    async def delete(self, name: str) -> Record:
        """Delete a tenant with all its rows and keys, for ever.

        Raises:
            NotFoundError: there is no tenant of this id.
            BadCommandError: it is `main`.
            UnavailableError: the store cannot write now; if the deletion is recorded already, it is finished later.
        """
        return await uncancelled(self._delete(name))

    async def _make(self, label: str) -> Record:
        async with self._making:  # one at a time: rows in the order of their times
            record = await self._records.save(Record.new(label))
        async with self._open.lock(record.id):
            return await self._finish(record)

    async def _suspend(self, name: str) -> Record:
        async with self._open.lock(name):
            record = await self._get(name)
            if record.state != State.SUSPENDED:
                self._must_be(record, State.ACTIVE)
                record = await self._records.save(replace(record, state=State.SUSPENDED))
            await self._open.stop(name)
            return record

    async def _resume(self, name: str) -> Record:
        async with self._open.lock(name):
            record = await self._get(name)
            if record.state != State.ACTIVE:
                self._must_be(record, State.SUSPENDED)
                record = await self._records.save(replace(record, state=State.ACTIVE))
            self._open.wake(name)
            return record

    async def _delete(self, name: str) -> Record:
        async with self._open.lock(name):
            record = await self._get(name)
            if record.state != State.DELETING:
                record = await self._records.save(replace(record, state=State.DELETING))
            return await self._finish(record)

    async def _finish(self, record: Record) -> Record:
        """Take the remaining steps of making or deleting a tenant; the caller holds its lock."""
        match record.state:
            case State.MAKING:
                await self._store.make_profile(record.profile)
                return await self._records.save(replace(record, state=State.ACTIVE))
            case State.DELETING:
                await self._open.stop(record.id)
                await self._closed_elsewhere(record.id)
                await self._store.remove_profile(record.profile)
                return await self._records.save(Record(record.id, State.DELETED))
            case _:
                return record

    async def _closed_elsewhere(self, name: str) -> None:
        """Wait until other processes have closed a tenant, but not for ever: one of them may hang."""
        us = self._store.process
        with suppress(TimeoutError):
            async with asyncio.timeout(OTHERS_S):
                while await self._records.opened_by(name) - {us}:  # noqa: ASYNC110 - in other processes
                    await asyncio.sleep(LOOK_S)

    async def _finish_left(self) -> None:
        while True:
            try:
                for left in await self._records.unfinished():
                    async with self._open.lock(left.id):
                        await self._finish(await self._records.find(left.id) or left)
            except KeepError as error:
                log.warning("tenant not finished", extra={"reason": str(error)})
            await asyncio.sleep(FINISH_EVERY_S)

    async def _get(self, name: str) -> Record:
        if name == MAIN:
            raise BadCommandError("the tenant main is always there")
        await self._records.refresh()
        record = await self._records.find(name)
        if record is None or record.state == State.DELETED:
            raise NotFoundError("no such tenant")
        return record

    def _must_be(self, record: Record, state: State) -> None:
        if record.state != state:
            raise NotNowError(f"this tenant is {record.state}; it must be {state}")
