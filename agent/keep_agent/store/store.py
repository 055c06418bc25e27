"""What is remembered, in Askar: one writer, one transaction for a group of decisions, nothing half done.

Durable means: SQLite in WAL mode with `synchronous=FULL`. A commit that returned survives a
SIGKILL of this process and, as far as the disk keeps its word on fsync, a power cut.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aries_askar import AskarError, AskarErrorCode
from aries_askar import Store as Askar

from keep_agent.core.machine import Exchange
from keep_agent.core.message import write_json
from keep_agent.errors import ConflictError, UnavailableError
from keep_agent.store.cache import Row
from keep_agent.store.lock import lock_file, open_askar
from keep_agent.store.profile import DISCARD_AGAIN_S, Counts, Group, Profile
from keep_agent.store.rows import Commit, Models, day, operations, read_exchange, remove
from keep_agent.store.uncancelled import whole

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


class Store:
    """One Askar store, opened by one process, with one writer that commits decisions in groups."""

    def __init__(self, askar: Askar, lock: int, uri: str, key: str, models: Models) -> None:
        self.askar = askar
        self.reading = asyncio.Semaphore(12)
        self._lock = lock
        self._uri = uri
        self._key = key
        self._models = models
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._profiles: dict[str, Profile] = {}
        self.process = ""
        self.counts = Counts()

    @classmethod
    async def open(cls, path: Path, key: str, models: Models) -> Self:
        """Open the SQLite store at `path` with a raw key, making it if there is none.

        Raises:
            UnavailableError: another process has it, the key is wrong, or it cannot be written.
        """
        lock = lock_file(path.with_suffix(path.suffix + ".lock"))
        uri = f"sqlite://{path}?max_connections=20&synchronous=FULL"
        try:
            askar = await open_askar(path, uri, key)
        except UnavailableError:
            os.close(lock)
            raise
        return cls(askar, lock, uri, key, models)

    async def profile(self, name: str) -> Profile:
        """Return the profile of a tenant, making it if there is none."""
        if name not in self._profiles:
            if name not in await self.askar.list_profiles():
                await self.askar.create_profile(name)
            profile = Profile(self, name)
            await profile.open()
            self._profiles[name] = profile
        return self._profiles[name]

    async def close(self) -> None:
        """Close the store and let others open it."""
        await self.askar.close()
        os.close(self._lock)

    def read_exchange(self, value: bytes) -> Exchange[Any]:
        """Read a stored exchange."""
        return read_exchange(value, self._models)

    async def write(self, profile: Profile, commit: Commit) -> Commit:
        """Hand a decision to the writer and wait until it is durable."""
        done: asyncio.Future[Commit] = asyncio.get_running_loop().create_future()
        self._jobs.put_nowait(_Job(profile, commit, done))
        return await done

    def nudge(self, profile: Profile) -> None:
        """Let the writer forget what `profile.discard` was given."""
        self._jobs.put_nowait(_Job(profile, Commit()))

    async def run(self) -> None:
        """Write, for ever: the only task that changes the store."""
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
                await whole(
                    self._write_group(profile, [job for job in jobs if job.profile is profile])
                )
                jobs = [job for job in jobs if job.profile is not profile]
                written = time.monotonic()
        finally:
            while not self._jobs.empty():
                jobs.append(self._jobs.get_nowait())
            for job in jobs:
                job.settle(UnavailableError("the store is closing"))

    async def _write_group(self, profile: Profile, jobs: list[_Job]) -> None:
        ready: list[tuple[_Job, Commit]] = []
        late: list[tuple[_Job, Exception]] = []
        taken: set[Row] = set()
        for job in jobs:
            try:
                ready.append((job, await profile.check(job.commit, taken)))
            except ConflictError as error:
                late.append((job, error))  # told when what it lost against is written
            except Exception as error:  # noqa: BLE001 - whoever decided it learns of it
                job.settle(error)
        discards = profile.take_discards()
        group = profile.group([commit for _, commit in ready])
        try:
            await self._transact(profile, group, discards)
        except Exception as error:  # noqa: BLE001 - found out and told one by one
            profile.discard(discards, DISCARD_AGAIN_S)
            if not await self._written_after_all(profile, group, error):
                await self._write_apart(profile, ready)
                ready = []
        for (job, _), commit in zip(ready, group.commits, strict=False):
            job.settle(commit)
        for job, lost in late:
            job.settle(lost)

    async def _write_apart(self, profile: Profile, ready: list[tuple[_Job, Commit]]) -> None:
        """Find out which decision of a group cannot be written; the others do not suffer."""
        for job, commit in ready:
            group = profile.group([commit])
            try:
                await self._transact(profile, group, [])
            except Exception as error:  # noqa: BLE001 - the writer goes on, its caller knows
                if not await self._written_after_all(profile, group, error):
                    job.settle(_why_not_written(error))
                    continue
            job.settle(group.commits[0])

    async def _written_after_all(
        self, profile: Profile, group: Group, error: Exception
    ) -> bool:
        """Take in a group that the store has, though it did not say so; False: it has not."""
        if not isinstance(_why_not_written(error), UnavailableError):
            return False
        profile.forget_all()
        await self._reopen(profile)
        with suppress(UnavailableError):
            if await profile.has(group):
                profile.written(group)
                return True
        return False

    async def _transact(self, profile: Profile, group: Group, discards: Sequence[str]) -> None:
        async with self.askar.transaction(profile.name) as tx:
            work = [
                op for commit in group.commits for op in operations(tx, commit, group.sizes)
            ]
            work += [remove(tx, "outbox", name) for name in discards]
            if group.log is not None:
                tags = {"~day": day(group.log["at"])}
                work.append(tx.insert("log", str(group.number), write_json(group.log), tags))
            # at once: measured 20 % less CPU than one after the other
            for result in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
            await tx.commit()
        self.counts.transactions += bool(work)
        self.counts.rows += len(work)
        profile.written(group)

    async def _reopen(self, profile: Profile) -> None:
        """Give up poisoned connections ("database is locked" leaves one for the store's life)."""
        with suppress(AskarError):
            await self.askar.close()
        with suppress(AskarError, UnavailableError):
            self.askar = await Askar.open(self._uri, "raw", self._key)
            await profile.reopen()  # what failed may have been written all the same


def _why_not_written(error: Exception) -> Exception:
    if not isinstance(error, AskarError):
        return error
    if error.code == AskarErrorCode.DUPLICATE:
        return ConflictError("somebody else made this record first")
    return UnavailableError(f"the store cannot write: {error}")
