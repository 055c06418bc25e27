"""The tenants of an agent: made, listed, suspended, deleted.

Nothing is atomic across two profiles. So what somebody asks for is committed first, as the tenant's state in the
system profile; then its own profile is made or removed; then the state that this leads to is committed. What
is left half-way by a crash is finished at the next start, and what fails is tried again.
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
from keep_agent.store.uncancelled import whole
from keep_agent.tenants.open_tenants import OpenTenants
from keep_agent.tenants.records import Record, Records, State
from keep_agent.tenants.tenant import MAIN, Surroundings, Tenant

log = logging.getLogger(__name__)

FINISH_EVERY_S = 60.0
OTHERS_S, LOOK_S = 5.0, 0.1
LABEL_MOST = 100


class Tenants:
    """Every tenant of an agent: `main`, which is always there, and those that are made."""

    def __init__(self, store: Store, records: Records) -> None:
        self._store = store
        self._records = records
        self._open = OpenTenants(store, records)
        self._making = asyncio.Lock()

    @classmethod
    async def of(cls, store: Store) -> Tenants:
        """Read the tenants of a store; `run` makes them work."""
        return cls(store, Records(await store.profile(SYSTEM)))

    async def run(self, around: Surroundings) -> None:
        """Own all that tenants do, until cancelled; `close` comes after it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._open.run(around), name="open tenants")
            tasks.create_task(self._finish_left(), name="unfinished tenants")

    async def close(self) -> None:
        """Let everything be written that tenants have decided; to be called after `run`."""
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
        """Keep a tenant open while the block runs; it is opened for it, if it is not.

        Raises:
            NotFoundError: there is no active tenant of this id.
            UnavailableError: it cannot be opened now.
        """
        async with self._open.use(name) as tenant:
            yield tenant

    async def receive(self, name: str, packed: bytes) -> None:
        """Give a tenant a packed message; raises as `use` and `Tenant.receive` do."""
        async with self.use(name) as tenant:
            await tenant.receive(packed)

    async def list(self, after: str, limit: int) -> list[Record]:
        """Return a page of the tenants that were made, oldest first, without opening one.

        Args:
            after: `place` of the last one of the page before; empty: from the beginning.
        """
        return await self._records.page(after, limit)

    # -- jobs ------------------------------------------------------------------------------------

    async def make(self, label: str) -> Record:
        """Make a tenant.

        Raises:
            BadCommandError: the label is empty or too long.
            UnavailableError: the store cannot write now; a tenant that is begun is made later.
        """
        if not 1 <= len(label) <= LABEL_MOST:
            raise BadCommandError(f"a label has 1 to {LABEL_MOST} characters")
        return await whole(self._make(label))

    async def suspend(self, name: str) -> Record:
        """Stop a tenant: to its peers it is not there, and nothing of it is lost.

        Raises:
            NotFoundError, NotNowError, UnavailableError: there is none, its state does not allow it,
                the store cannot write now.
        """
        return await whole(self._suspend(name))

    async def resume(self, name: str) -> Record:
        """Let a suspended tenant go on with what it was doing; raises as `suspend` does."""
        return await whole(self._resume(name))

    async def delete(self, name: str) -> Record:
        """Remove a tenant with all that it has, for good.

        Raises:
            NotFoundError, BadCommandError: there is none; it is `main`.
            UnavailableError: the store cannot write now; a removal that is begun is finished later.
        """
        return await whole(self._delete(name))

    async def _make(self, label: str) -> Record:
        async with self._making:  # the order of their rows is that of their times
            record = await self._records.save(Record.new(label))
        async with self._open.turn(record.id):
            return await self._finish(record)

    async def _suspend(self, name: str) -> Record:
        async with self._open.turn(name):
            record = await self._get(name)
            if record.state != State.SUSPENDED:
                self._must_be(record, State.ACTIVE)
                record = await self._records.save(replace(record, state=State.SUSPENDED))
            await self._open.stop(name)
            return record

    async def _resume(self, name: str) -> Record:
        async with self._open.turn(name):
            record = await self._get(name)
            if record.state != State.ACTIVE:
                self._must_be(record, State.SUSPENDED)
                record = await self._records.save(replace(record, state=State.ACTIVE))
            self._open.wake(name)
            return record

    async def _delete(self, name: str) -> Record:
        async with self._open.turn(name):
            record = await self._get(name)
            if record.state != State.DELETING:
                record = await self._records.save(replace(record, state=State.DELETING))
            return await self._finish(record)

    async def _finish(self, record: Record) -> Record:
        """Take the steps that are left of making or removing a tenant; its turn must be held."""
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
        """Give other processes a moment to close a tenant: one that hangs must not keep it."""
        us = self._store.process
        with suppress(TimeoutError):
            async with asyncio.timeout(OTHERS_S):
                while await self._records.opened_by(name) - {us}:  # noqa: ASYNC110 - elsewhere
                    await asyncio.sleep(LOOK_S)

    async def _finish_left(self) -> None:
        while True:
            try:
                for left in await self._records.unfinished():
                    async with self._open.turn(left.id):
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
