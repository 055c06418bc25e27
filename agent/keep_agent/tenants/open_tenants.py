"""Opens tenants when they are needed and closes idle ones, so that only a limited number is open.

An idle tenant, which has no work to do, is closed and opened again for its next deadline. If too many are open, one
that still has messages for a peer that does not answer may be closed as well. It is opened again soon, and finds its
work in the store.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakValueDictionary

from keep_agent.errors import KeepError, NotFoundError, UnavailableError
from keep_agent.store.cache import Row
from keep_agent.store.deadlines import next_due
from keep_agent.store.profile import Profile
from keep_agent.store.rows import HOUR_S
from keep_agent.store.store import Store
from keep_agent.store.sweep import sweep
from keep_agent.store.takeover import shut_out, take_over
from keep_agent.store.uncancelled import uncancelled
from keep_agent.tenants.records import TENANT, Record, Records, State
from keep_agent.tenants.tenant import MAIN, Surroundings, Tenant

log = logging.getLogger(__name__)

MOST_OPEN = 256
IDLE_S = 300.0
REST_S = 60.0
"""A tenant that has work to do may be closed to make room if it was not used for so long."""
AGAIN_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0
TICK_S = 1.0
SWEEP_EVERY_S = 6 * 3600.0
SWEEP_PAGE, SWEEP_PAUSE_S = 100, 0.1
SETTLE_S = 5.0
WAKE_AT_ONCE = 4


@dataclass(slots=True, eq=False)
class _Open:
    """An open tenant.

    Attributes:
        task: its `run`.
        users: how many blocks of `use` are running.
        since: when it was opened; `used`: when the last block of `use` ended; `worked`: when it last had work to do
            (all on the monotonic clock).
    """

    record: Record
    tenant: Tenant
    task: asyncio.Task[None] | None = None
    users: int = 0
    since: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)
    worked: float = field(default_factory=time.monotonic)


class OpenTenants:
    """Opens, runs and closes tenants; the failure of one does not affect the others.

    Attributes:
        tenants: the open ones, by id.
        ready: set while tenants can be opened.
    """

    def __init__(self, store: Store, records: Records) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.ready = asyncio.Event()
        self._store = store
        self._records = records
        self._around: Surroundings | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._open: dict[str, _Open] = {}
        self._opening = 0
        self._at_work: set[str] = set()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._wake_times: list[tuple[float, str]] = []
        self._ahead_until = 0.0
        self._waking = asyncio.Semaphore(WAKE_AT_ONCE)
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        store.take_over = self.take_over
        store.on_start_over = self._start_over
        records.system.on_others_commit = self._others_committed

    async def run(self, around: Surroundings) -> None:
        """Run the tenants until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._around, self._tasks = around, tasks
                self.ready.set()
                tasks.create_task(self._log_failure(self._sweep()), name="sweep of the tenants")
                try:
                    for name in await self._records.left_open(self._store.process):
                        self.wake(name)
                    while True:
                        await self._tick()
                        await asyncio.sleep(TICK_S)
                finally:
                    self._tasks = None
                    self._at_work = {n for n, x in self._open.items() if x.tenant.busy}
        finally:
            self.ready.clear()

    @asynccontextmanager
    async def use(self, name: str) -> AsyncGenerator[Tenant, None]:
        """Open a tenant if it is closed, and keep it open within this block.

        Raises:
            NotFoundError: there is no active tenant of this id.
            UnavailableError: it cannot be opened now.
        """
        found = self._open.get(name)
        if found is None:
            async with self.lock(name):
                found = self._open.get(name) or await self._start(await self._active(name))
                found.users += 1
        else:
            found.users += 1
        try:
            yield found.tenant
        finally:
            found.users -= 1
            found.used = time.monotonic()

    def lock(self, name: str) -> asyncio.Lock:
        """Return the lock of a tenant, held while it is opened, closed, made or deleted."""
        return self._locks.setdefault(name, asyncio.Lock())

    def wake(self, name: str, after_s: float = 0.0) -> None:
        """Open a tenant after some seconds, so that it does its work."""
        heapq.heappush(self._wake_times, (time.time() + after_s, name))

    async def take_over(self, gone: Sequence[str]) -> None:
        """Take over the work of processes that are gone, in all tenants, open or closed.

        Raises:
            UnavailableError: this failed for one of the tenants.
        """
        await self.ready.wait()
        await shut_out(self._records.system, gone)  # so that they open no other tenant
        left = {MAIN: None} | dict.fromkeys(self._open)
        for process in gone:
            left |= dict.fromkeys(await self._records.left_open(process))
        failed = ""
        for name in left:
            try:
                async with self.lock(name):
                    await self._take_over(name, gone)
            except KeepError as error:  # go on with the others
                log.warning("work not taken over", extra={"tenant": name, "reason": str(error)})
                failed = name
        if failed:
            raise UnavailableError(f"the work of tenant {failed} is not taken over")

    async def stop(self, name: str) -> None:
        """Close a tenant if it is open, even if it is in use; the caller holds its lock."""
        found = self._open.get(name)
        if found is not None:
            await uncancelled(self._close(found))

    async def close(self) -> None:
        """Close all tenants after `run`, within a few seconds; those with work to do go on at the next start."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                for found in list(self._open.values()):
                    await self._close(found, in_order=found.record.id not in self._at_work)

    # -- other processes -------------------------------------------------------------------------

    async def _take_over(self, name: str, gone: Sequence[str]) -> None:
        found = self._open.get(name)
        if found is not None:
            await take_over(found.tenant.profile, gone)
        else:
            record = await self._find(name)
            if record is None or record.state not in {State.ACTIVE, State.SUSPENDED}:
                return
            async with self._profile(record) as profile:
                await take_over(profile, gone)
        if name != MAIN:
            await self._records.take_over(name, gone, self._store.process)
            self.wake(name)

    def _start_over(self) -> None:
        for name in self._open.keys() - {MAIN}:
            self._spawn(self._records.mark_open(name, self._store.process))

    def _others_committed(self, rows: Sequence[Row]) -> None:
        """Follow what another process has committed about tenants."""
        for category, name in rows:
            if category == TENANT:
                self._spawn(self._follow_others(name))

    async def _follow_others(self, name: str) -> None:
        async with self.lock(name):
            record = await self._find(name)
            if record is not None and record.state == State.ACTIVE:
                if self._store.process in await self._records.opened_by(name):
                    self.wake(name)  # it was suspended while it had work to do
            else:
                await self.stop(name)

    # -- opening ---------------------------------------------------------------------------------

    async def _find(self, name: str) -> Record | None:
        if name == MAIN:
            return Record(MAIN, State.ACTIVE, profile=MAIN)
        return await self._records.find(name)

    @asynccontextmanager
    async def _profile(self, record: Record) -> AsyncGenerator[Profile, None]:
        """Open only the profile of a closed tenant; the caller holds the lock of the tenant."""
        opening = self._store.profile if record.id == MAIN else self._store.open_profile
        try:
            yield await opening(record.profile)
        finally:
            await uncancelled(self._store.release(record.profile))

    async def _active(self, name: str) -> Record:
        record = await self._find(name)
        if record is not None and record.state != State.ACTIVE and self._store.shared:
            await self._records.refresh()  # a peer that gets "not found" does not try again
            record = await self._find(name)
        if record is None or record.state != State.ACTIVE:
            raise NotFoundError("no such tenant")
        return record

    async def _start(self, record: Record) -> _Open:
        if self._tasks is None or self._around is None:
            raise UnavailableError("the agent is still starting")
        if self._not_before.get(record.id, 0.0) > time.monotonic():
            raise UnavailableError("this tenant failed; it is opened again soon")
        self._opening += 1
        try:
            await self._make_room()
            self._not_before.pop(record.id, None)
            found = await self._opened(record, self._around)
        finally:
            self._opening -= 1
        self._open[record.id] = found
        self.tenants[record.id] = found.tenant
        found.task = self._tasks.create_task(self._work(found), name=f"tenant {record.id}")
        return found

    async def _opened(self, record: Record, around: Surroundings) -> _Open:
        try:
            if record.id == MAIN:
                profile = await self._store.profile(MAIN)
            else:
                await self._records.mark_open(record.id, self._store.process)
                profile = await self._store.open_profile(record.profile)
                around = replace(around, label=record.label)
            return _Open(record, await Tenant.open(profile, around, record.id))
        except BaseException:
            await uncancelled(self._store.release(record.profile))
            raise

    async def _make_room(self) -> None:
        """Close a tenant that is not in use, if the limit is reached.

        Raises:
            UnavailableError: all of them are in use or busy.
        """
        while len(self._open) + self._opening > MOST_OPEN:
            now = time.monotonic()
            found = [
                (x.tenant.busy, x.used, name)
                for name, x in self._open.items()
                if name != MAIN and not x.users and (not x.tenant.busy or now - x.used > REST_S)
            ]
            if not found:
                raise UnavailableError("too many tenants are at work; try again")
            _, _, name = min(found)
            async with self.lock(name):
                await self.stop(name)

    # -- working and closing ---------------------------------------------------------------------

    async def _work(self, found: _Open) -> None:
        try:
            await found.tenant.run()
        except Exception:  # it must not end the other tenants
            log.exception("tenant failed", extra={"tenant": found.record.id})
            self._spawn(self._after_failure(found))

    async def _after_failure(self, found: _Open) -> None:
        """Close a tenant that failed, without noting that, and open it again after a pause."""
        name = found.record.id
        async with self.lock(name):
            if self._open.get(name) is not found:
                return
            await uncancelled(self._close(found, in_order=False))
        lasted = time.monotonic() - found.since > LONGEST_PAUSE_S
        failures = self._failures[name] = 1 if lasted else self._failures.get(name, 0) + 1
        pause = min(FIRST_PAUSE_S * 2 ** min(failures - 1, 16), LONGEST_PAUSE_S)
        self._not_before[name] = time.monotonic() + pause
        self.wake(name, pause)

    async def _close(self, found: _Open, *, in_order: bool = True) -> None:
        """Stop a tenant, write what it has decided, and close its profile.

        Args:
            in_order: note that it is closed, and when it is due; if not, the next start opens it.
        """
        name, tenant = found.record.id, found.tenant
        busy = tenant.busy
        del self._open[name], self.tenants[name]
        if found.task is not None:
            found.task.cancel()
            await asyncio.wait([found.task])
        tenant.scope.clear()
        try:
            try:
                await tenant.profile.write_delivered()
                due = await next_due(tenant.profile)
            finally:  # when it is opened again, it must read what is left to do
                await self._store.release(found.record.profile)
            if busy:  # not noted as closed: no other process would do its work
                self.wake(name, AGAIN_S)
            elif in_order and name != MAIN:
                await self._note_closed(name, due)
        except UnavailableError as error:  # not noted as closed: it is opened again
            log.warning(
                "tenant not closed in order", extra={"tenant": name, "reason": str(error)}
            )
            self.wake(name, AGAIN_S)

    async def _note_closed(self, name: str, due: float | None) -> None:
        if due is not None:
            due = max(due, time.time() + AGAIN_S)
            if due < self._ahead_until:
                heapq.heappush(self._wake_times, (due, name))
        await self._records.mark_closed(name, self._store.process, due)

    # -- time ------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        """Open the tenants that are due, and close those that are idle."""
        now = time.time()
        if now > self._ahead_until:
            await self._look_ahead(now + HOUR_S)
        while self._wake_times and self._wake_times[0][0] <= now:
            _, name = heapq.heappop(self._wake_times)
            self._spawn(self._wake(name))
        for name, found in list(self._open.items()):
            if found.users or found.tenant.busy:
                found.worked = time.monotonic()
            elif name != MAIN and self._idle(found):
                self._spawn(self._close_idle(name, found))

    async def _look_ahead(self, until: float) -> None:
        with suppress(UnavailableError):  # tried again in a second
            for at, name in await self._records.due(until):
                heapq.heappush(self._wake_times, (at, name))
            self._ahead_until = until

    async def _wake(self, name: str) -> None:
        try:
            async with self._waking, self.use(name):
                pass
        except NotFoundError:
            pass  # it was suspended or deleted meanwhile
        except UnavailableError as error:
            log.warning("tenant not opened", extra={"tenant": name, "reason": str(error)})
            self.wake(name, AGAIN_S)

    def _idle(self, found: _Open) -> bool:
        quiet = not found.users and not found.tenant.busy
        return quiet and time.monotonic() - max(found.used, found.worked) > IDLE_S

    async def _close_idle(self, name: str, found: _Open) -> None:
        async with self.lock(name):
            if self._open.get(name) is found and self._idle(found):
                await uncancelled(self._close(found))

    async def _sweep(self) -> None:
        """Remove old rows of all tenants, open or closed, one after the other, every few hours."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            await self._log_failure(self._sweep_all())

    async def _sweep_all(self) -> None:
        assert self._around is not None
        await self._sweep_one(MAIN)
        await sweep(self._records.system, self._around.seen_days)
        after = ""
        while page := await self._records.page(after, SWEEP_PAGE):
            for record in page:
                await self._sweep_one(record.id)
                await asyncio.sleep(SWEEP_PAUSE_S)
            after = page[-1].place

    async def _sweep_one(self, name: str) -> None:
        """Remove old rows of one tenant; a closed one stays closed."""
        assert self._around is not None
        try:
            async with self.lock(name):
                record, found = await self._active(name), self._open.get(name)
                if found is not None:
                    swept = await sweep(found.tenant.profile, self._around.seen_days)
                else:
                    async with self._profile(record) as profile:
                        swept = await sweep(profile, self._around.seen_days)
            log.info("swept", extra={"rows": swept, "tenant": name})
        except NotFoundError:
            pass  # it is not active
        except KeepError as error:
            log.warning("not swept", extra={"tenant": name, "reason": str(error)})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._tasks is None:
            work.close()
        else:
            self._tasks.create_task(self._log_failure(work))

    async def _log_failure(self, work: Coroutine[Any, Any, None]) -> None:
        """Log an error of one task, so that it does not end the tenants and the agent."""
        try:
            await work
        except Exception:  # the top of this task
            log.exception("work on tenants failed")
