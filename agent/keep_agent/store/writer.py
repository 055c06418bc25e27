"""The writer: commits that wait are written together, in one transaction.

Where several processes share a store, a transaction first reads what the others have committed, so that each commit
is checked against the newest rows. Askar runs the transactions of one profile one after the other, in whichever
process they begin.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aries_askar import AskarError, AskarErrorCode
from aries_askar import Store as Askar

from keep_agent.core.message import write_json
from keep_agent.errors import ConflictError, UnavailableError
from keep_agent.store.cache import Row
from keep_agent.store.checking import check
from keep_agent.store.grouping import group
from keep_agent.store.profile import DISCARD_AGAIN_S, Profile
from keep_agent.store.rows import Commit, Group, day, operations, remove
from keep_agent.store.uncancelled import uncancelled

if TYPE_CHECKING:
    from keep_agent.store.store import Store

MOST_IN_GROUP = 64
BUSY_S, GATHER_S = 0.01, 0.003
"""Within `BUSY_S` after a transaction of several commits, the writer waits `GATHER_S` for more commits to join."""


@dataclass(slots=True)
class _Job:
    profile: Profile
    commit: Commit
    done: asyncio.Future[Commit] | None = None

    def settle(self, result: Commit | Exception) -> None:
        if self.done is None or self.done.done():
            return
        if isinstance(result, Exception):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)


@dataclass(slots=True)
class _Attempt:
    """Jobs that are to be one transaction.

    Attributes:
        late: jobs in conflict with another commit, and the error; told only after this transaction, because its
            caller decides again at once and must then see what was written.
        unclear: the store was asked to commit; without its answer nobody knows whether it did.
    """

    jobs: list[_Job]
    askar: Askar
    unclear: bool = False
    late: list[tuple[_Job, Exception]] = field(default_factory=list[tuple[_Job, Exception]])
    group: Group | None = None

    async def check(self, profile: Profile) -> Group:
        """Check each job against the store; those that fail are left out."""
        taken: set[Row] = set()
        commits: list[Commit] = []
        ready: list[_Job] = []
        for job in self.jobs:
            try:
                commits.append(await check(profile, job.commit, taken))
            except ConflictError as error:
                self.late.append((job, error))
            except Exception as error:  # noqa: BLE001 - its caller gets it
                job.settle(error)
            else:
                ready.append(job)
        self.jobs = ready
        self.group = group(profile, commits)
        return self.group

    def settle(self) -> None:
        """Tell the callers of all jobs that they are written."""
        assert self.group is not None
        for job, commit in zip(self.jobs, self.group.commits, strict=True):
            job.settle(commit)


class Writer:
    """One queue of commits, and the only task that writes them.

    Args:
        lock: held while it writes; the writers of one file share it.
    """

    def __init__(self, store: Store, lock: asyncio.Lock) -> None:
        self._store = store
        self._lock = lock
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._ended = False

    async def write(self, profile: Profile, commit: Commit) -> Commit:
        """Hand a commit over and wait until it is durable."""
        if self._ended:
            raise UnavailableError("the store is closing")
        done: asyncio.Future[Commit] = asyncio.get_running_loop().create_future()
        self._jobs.put_nowait(_Job(profile, commit, done))
        return await done

    def remove_discarded(self, profile: Profile) -> None:
        """Remove the rows soon that `Profile.discard` was given."""
        self._jobs.put_nowait(_Job(profile, Commit()))

    def end(self) -> None:
        """Stop writing; commits that wait fail."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Write until cancelled."""
        self._task = asyncio.current_task()
        jobs: list[_Job] = []
        written, crowded = 0.0, False
        try:
            while True:
                jobs = jobs or [await self._jobs.get()]
                if crowded and time.monotonic() - written < BUSY_S:
                    await asyncio.sleep(GATHER_S)
                while not self._jobs.empty() and len(jobs) < MOST_IN_GROUP:
                    jobs.append(self._jobs.get_nowait())
                profile, crowded = jobs[0].profile, len(jobs) > 1
                mine = [job for job in jobs if job.profile is profile]
                async with self._lock:
                    await uncancelled(self._write_group(profile, mine))
                jobs = [job for job in jobs if job.profile is not profile]
                written = time.monotonic()
        finally:
            self._ended = True
            while not self._jobs.empty():
                jobs.append(self._jobs.get_nowait())
            for job in jobs:
                job.settle(UnavailableError("the store is closing"))

    async def _write_group(self, profile: Profile, jobs: list[_Job]) -> None:
        async with self._store.writing, profile.lock:
            await self._write_together(profile, jobs)

    async def _write_together(self, profile: Profile, jobs: list[_Job]) -> None:
        discards = profile.take_discards()
        attempt = _Attempt(jobs, self._store.askar)
        try:
            await self._transact(profile, attempt, discards)
        except Exception as error:  # noqa: BLE001 - each job is tried alone, and gets its own error
            profile.discard(discards, DISCARD_AGAIN_S)
            if await self._written_after_all(profile, attempt, error):
                attempt.settle()
            else:
                await self._write_apart(profile, attempt.jobs)
        else:
            attempt.settle()
        for job, lost in attempt.late:
            job.settle(lost)

    async def _write_apart(self, profile: Profile, jobs: Sequence[_Job]) -> None:
        """Write each commit in a transaction of its own, so that one that fails does not stop the others."""
        for job in jobs:
            single = _Attempt([job], self._store.askar)
            try:
                await self._transact(profile, single, [])
            except Exception as error:  # noqa: BLE001 - its caller gets it, the writer goes on
                if not await self._written_after_all(profile, single, error):
                    job.settle(_why_not_written(error))
                    continue
            single.settle()
            for _, lost in single.late:
                job.settle(lost)

    async def _written_after_all(
        self, profile: Profile, attempt: _Attempt, error: Exception
    ) -> bool:
        """Tell whether a group is in the store although its transaction raised an error; if so, apply it.

        When this cannot be read either, the process gives up its name, and takes its own work over under a new one.
        """
        if not _of_the_store(error):
            return False
        profile.forget_all()
        await self._store.reopen(attempt.askar)
        if not self._store.shared:
            with suppress(UnavailableError):
                await profile.log.find_end()
        if not attempt.unclear or attempt.group is None:
            return False
        try:
            written = await profile.has(attempt.group)
        except UnavailableError:
            self._store.give_up_name()
            return False
        if written:
            profile.written(attempt.group)
        return written

    async def _transact(
        self, profile: Profile, attempt: _Attempt, discards: Sequence[str]
    ) -> None:
        store = self._store
        # checked before the transaction: SQLite may not open another connection for reading during one
        group = None if store.shared else await attempt.check(profile)
        async with attempt.askar.transaction(profile.name) as tx:
            if group is None:
                await profile.catch_up(tx)
                store.check_alive()
                group = await attempt.check(profile)
            work = [
                op for commit in group.commits for op in operations(tx, commit, group.sizes)
            ]
            work += [remove(tx, "outbox", name) for name in discards]
            if group.log is not None:
                tags = {"~day": day(group.log["at"]), "by": store.process}
                work.append(tx.insert("log", str(group.number), write_json(group.log), tags))
            # all at once: measured 20 % less CPU than one after the other
            for result in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
            if work:
                attempt.unclear = True
                await tx.commit()
        store.counts.transactions += bool(work)
        store.counts.rows += len(work)
        profile.written(group)
        if store.shared and group.log is not None:
            store.written(profile, group.number)


def _why_not_written(error: Exception) -> Exception:
    if _of_the_store(error):
        return UnavailableError(f"the store cannot write: {error}")
    if isinstance(error, AskarError):
        return ConflictError("a record of this name was made meanwhile")
    return error


def _of_the_store(error: Exception) -> bool:
    return isinstance(error, AskarError) and error.code != AskarErrorCode.DUPLICATE
