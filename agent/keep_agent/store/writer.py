"""The writer: commits that wait become one transaction, all of it or nothing.

Where several processes share a store, a transaction first reads what others committed since, so that every decision
is compared with what is. Askar lets one transaction of a profile in at a time, whoever begins it.
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
from keep_agent.store.uncancelled import whole

if TYPE_CHECKING:
    from keep_agent.store.store import Store

MOST_IN_GROUP = 64
BUSY_S, GATHER_S = 0.01, 0.003
"""Right after a commit of several decisions, the next one waits a little for others to join."""


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
        late: those that lost against another one; told when that one is written.
        unclear: the store was asked to commit and has not answered.
    """

    jobs: list[_Job]
    askar: Askar
    unclear: bool = False
    late: list[tuple[_Job, Exception]] = field(default_factory=list[tuple[_Job, Exception]])
    group: Group | None = None

    async def check(self, profile: Profile) -> Group:
        """Compare each job with what is; those that fail are left out."""
        taken: set[Row] = set()
        commits: list[Commit] = []
        ready: list[_Job] = []
        for job in self.jobs:
            try:
                commits.append(await check(profile, job.commit, taken))
            except ConflictError as error:
                self.late.append((job, error))
            except Exception as error:  # noqa: BLE001 - whoever decided it learns of it
                job.settle(error)
            else:
                ready.append(job)
        self.jobs = ready
        self.group = group(profile, commits)
        return self.group

    def settle(self) -> None:
        """Tell everybody that it is written."""
        assert self.group is not None
        for job, commit in zip(self.jobs, self.group.commits, strict=True):
            job.settle(commit)


class Writer:
    """One queue of commits, and the only task that writes them.

    Args:
        turns: held while it writes.
    """

    def __init__(self, store: Store, turns: asyncio.Lock) -> None:
        self._store = store
        self._turns = turns
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

    def nudge(self, profile: Profile) -> None:
        """Remove soon what `Profile.discard` was given."""
        self._jobs.put_nowait(_Job(profile, Commit()))

    def end(self) -> None:
        """Write nothing any more."""
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
                async with self._turns:
                    await whole(self._write_group(profile, mine))
                jobs = [job for job in jobs if job.profile is not profile]
                written = time.monotonic()
        finally:
            self._ended = True
            while not self._jobs.empty():
                jobs.append(self._jobs.get_nowait())
            for job in jobs:
                job.settle(UnavailableError("the store is closing"))

    async def _write_group(self, profile: Profile, jobs: list[_Job]) -> None:
        async with self._store.writing, profile.turn:
            await self._write_together(profile, jobs)

    async def _write_together(self, profile: Profile, jobs: list[_Job]) -> None:
        discards = profile.take_discards()
        attempt = _Attempt(jobs, self._store.askar)
        try:
            await self._transact(profile, attempt, discards)
        except Exception as error:  # noqa: BLE001 - found out and told one by one
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
        """Find out which commit of a group cannot be written; the others do not suffer."""
        for job in jobs:
            alone = _Attempt([job], self._store.askar)
            try:
                await self._transact(profile, alone, [])
            except Exception as error:  # noqa: BLE001 - the writer goes on, its caller knows
                if not await self._written_after_all(profile, alone, error):
                    job.settle(_why_not_written(error))
                    continue
            alone.settle()
            for _, lost in alone.late:
                job.settle(lost)

    async def _written_after_all(
        self, profile: Profile, attempt: _Attempt, error: Exception
    ) -> bool:
        """Take in a group that the store has, though it did not say so; False: it has not.

        Where it cannot be asked either, this process gives up its name and takes over what it left.
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
            self._store.give_up()
            return False
        if written:
            profile.written(attempt.group)
        return written

    async def _transact(
        self, profile: Profile, attempt: _Attempt, discards: Sequence[str]
    ) -> None:
        store = self._store
        # SQLite may refuse to open one more connection for reading while somebody writes
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
            # at once: measured 20 % less CPU than one after the other
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
        return ConflictError("somebody else made this record first")
    return error


def _of_the_store(error: Exception) -> bool:
    return isinstance(error, AskarError) and error.code != AskarErrorCode.DUPLICATE
