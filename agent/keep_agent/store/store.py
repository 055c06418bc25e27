"""The Askar store of an agent: one profile for each tenant, and the system profile.

Durable means: SQLite in WAL mode with `synchronous=FULL`, PostgreSQL with `synchronous_commit=on`. A commit that
returned survives a SIGKILL of this process and, if the disk really writes on fsync, a power cut.

A file is opened by one process, which needs no name. The processes that share a database each have a name; the work
that a process still has to do carries its name, and another process takes it over when that one is gone
(`processes`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

from aries_askar import AskarError, AskarErrorCode
from aries_askar import Store as Askar

from keep_agent.core.machine import Exchange
from keep_agent.errors import UnavailableError
from keep_agent.store import erase, processes
from keep_agent.store.cache import MOST_BYTES, MOST_ROWS, Rows
from keep_agent.store.location import Location, Sqlite
from keep_agent.store.lock import lock_file
from keep_agent.store.migrations import check_version, open_newest
from keep_agent.store.processes import SYSTEM, Processes
from keep_agent.store.profile import Counts, Profile
from keep_agent.store.provision import exclusively, open_or_provision
from keep_agent.store.rows import Commit, Models, read_exchange
from keep_agent.store.takeover import open_profile, take_over
from keep_agent.store.uncancelled import uncancelled
from keep_agent.store.wakeups import Wakeups
from keep_agent.store.writer import Writer

log = logging.getLogger(__name__)

READERS, WRITERS = 12, 6
"""How many sessions are open at once. A writer also reads: if writers took all sessions, they would wait for ever."""
AGAIN_S = 2.0


class Store:
    """One Askar store.

    Attributes:
        process: name of this process among those that share the store; empty: it is the only one.
        shared: whether other processes may write to the store.
        take_over: takes over the work of the processes of these names, which are gone.
        on_start_over: called after another process has taken over the work of this one, which has a new name.
    """

    def __init__(self, location: Location, askar: Askar, key: str, models: Models) -> None:
        self.askar = askar
        self.reading = asyncio.Semaphore(READERS)
        self.writing = asyncio.Semaphore(WRITERS)
        self.rows = Rows(MOST_ROWS, MOST_BYTES)
        self.process = ""
        self.shared = location.shared
        self.counts = Counts()
        self.take_over: Callable[[Sequence[str]], Awaitable[None]] = self._take_over_all
        self.on_start_over: Callable[[], None] = lambda: None
        self._location = location
        self._key = key
        self._models = models
        self._lock: int | None = None
        self._processes: Processes | None = None
        self._named = True
        self._wakeups = Wakeups(location, self._wake)
        self._opening = asyncio.Lock()
        self._reopening = asyncio.Lock()
        self._profiles: dict[str, Profile] = {}
        self._writers: dict[str, Writer] = {}
        self._writing = asyncio.Lock()
        self._tasks: asyncio.TaskGroup | None = None

    @classmethod
    async def open(
        cls, location: Location, key: str, models: Models, folder: Path | None = None
    ) -> Self:
        """Open a store with a raw key; it is made if there is none, and migrated if it is of an old version.

        Args:
            models: the `Data` model of each protocol.
            folder: holds the lock files of this host's processes (see `Processes`); for a database only.

        Raises:
            UnavailableError: another process has opened the file, the key is wrong, a newer version wrote it,
                or it cannot be written.
        """
        lock = None
        if isinstance(location, Sqlite):
            lock = lock_file(location.path.with_suffix(location.path.suffix + ".lock"))
        try:
            async with exclusively(location):
                file = location.path if isinstance(location, Sqlite) else None
                opening = partial(open_or_provision, location, key)
                askar = await open_newest(opening, file, processes.others_stop)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        store = cls(location, askar, key, models)
        store._lock = lock
        if location.shared:
            assert folder is not None
            await store._join(folder)
        return store

    async def _join(self, folder: Path) -> None:
        self._processes = Processes(
            self,
            folder,
            shared=True,
            on_taken_over=self._take_over_soon,
            on_lost=self._start_over,
            check_version=lambda: check_version(self.askar),
            beat_s=processes.BEAT_S,
            silent_s=processes.SILENT_S,
        )
        self.process = await self._processes.start()

    # -- profiles --------------------------------------------------------------------------------

    async def profile(self, name: str) -> Profile:
        """Return a profile; it is made if there is none."""
        if name not in self._profiles:
            await self.make_profile(name)
        return await self.open_profile(name)

    async def open_profile(self, name: str) -> Profile:
        """Return a profile that was made before.

        Raises:
            UnavailableError: the store does not answer, or there is none of that name.
        """
        async with self._opening:
            if name not in self._profiles:
                profile = Profile(self, name)
                await open_profile(profile)
                self._profiles[name] = profile
                if self.shared:  # wake-ups from before it was open are lost
                    self._wake(name, profile.number + 1)
        return self._profiles[name]

    async def make_profile(self, name: str) -> None:
        """Make a profile, if there is none of that name.

        Raises:
            UnavailableError: the store does not answer.
        """
        if name not in await self._profile_names():
            await self._exclusively(self._make(name))

    async def remove_profile(self, name: str) -> None:
        """Remove a profile with all its rows and keys, if it is there; SQLite: see `erase`.

        Raises:
            UnavailableError: the store does not answer.
        """
        await self.release(name)
        await self._exclusively(self._remove(name))

    async def release(self, name: str) -> None:
        """Close a profile after all that it gave to the writer is written.

        Raises:
            UnavailableError: the writer has ended.
        """
        profile = self._profiles.pop(name, None)
        if profile is None:
            return
        profile.close()
        try:
            await self.write(profile, Commit())
        finally:
            if self.shared:
                self._writers.pop(name).end()

    async def _profile_names(self) -> Sequence[str]:
        try:
            return await self.askar.list_profiles()
        except AskarError as error:
            raise UnavailableError(f"the store does not answer: {error}") from error

    async def _make(self, name: str) -> None:
        try:
            await self.askar.create_profile(name)
        except AskarError as error:
            if error.code != AskarErrorCode.DUPLICATE:  # another process was first
                raise

    async def _remove(self, name: str) -> None:
        if isinstance(self._location, Sqlite):
            program = (sys.executable, "-I", erase.__file__, str(self._location.path), name)
            process = await asyncio.create_subprocess_exec(*program, stderr=PIPE)
            _, error = await process.communicate()
            if process.returncode:
                last = error.decode(errors="replace").strip().rpartition("\n")[2]
                raise UnavailableError(f"cannot remove a profile: {last}")
        await self.askar.remove_profile(name)

    async def _exclusively(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work that is not a transaction of a profile, while nothing else is written to a file."""
        try:
            async with self._writing:
                await uncancelled(work)
        except AskarError as error:
            raise UnavailableError(f"the store does not answer: {error}") from error
        finally:
            work.close()

    async def close(self) -> None:
        """Close the store; another process can open it then."""
        if self._processes is not None:
            await self._processes.end()
        await self.askar.close()
        if self._lock is not None:
            os.close(self._lock)

    def read_exchange(self, value: bytes) -> Exchange[Any]:
        """Read a stored exchange."""
        return read_exchange(value, self._models)

    # -- writing ---------------------------------------------------------------------------------

    async def write(self, profile: Profile, commit: Commit) -> Commit:
        """Give a commit to the writer and wait until it is durable."""
        return await self._writer(profile).write(profile, commit)

    def remove_discarded(self, profile: Profile) -> None:
        """Let the writer remove the rows that `Profile.discard` was given."""
        if self._profiles.get(profile.name) is profile:
            self._writer(profile).remove_discarded(profile)

    def _writer(self, profile: Profile) -> Writer:
        """Return the writer of a profile: a file has one for all profiles, as SQLite has one writer at a time."""
        name = profile.name if self.shared else ""
        writer = self._writers.get(name)
        if writer is None:
            lock = asyncio.Lock() if self.shared else self._writing
            writer = self._writers[name] = Writer(self, lock)
            if self._tasks is not None:
                self._tasks.create_task(writer.run(), name=f"store writer {name}")
        return writer

    async def run(self) -> None:
        """Write, send heartbeats and listen for wake-ups, until cancelled.

        Raises:
            NewerStoreError: in a group; a newer program took the store over.
        """
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                for name, writer in self._writers.items():
                    tasks.create_task(writer.run(), name=f"store writer {name}")
                if self._processes is not None:
                    tasks.create_task(self._processes.run(), name="store heartbeat")
                    tasks.create_task(self._wakeups.run(), name="store wake-ups")
                    self._take_over_soon(sorted(self._processes.names - {self.process}))
                await asyncio.Event().wait()
            finally:
                self._tasks = None

    def check_alive(self) -> None:
        """Check that no other process can have taken over the work of this one.

        Raises:
            UnavailableError: its last heartbeat is too long ago, or its name is given up.
        """
        if self._processes is not None and not (self._processes.may_write and self._named):
            raise UnavailableError(
                "this process sent no heartbeat for too long; another one may have taken over its work"
            )

    def give_up_name(self) -> None:
        """Write nothing more under this name: another process has taken over, or it is not known what was written."""
        if self._processes is not None:
            self._named = False
            self._processes.give_up_name()

    def written(self, profile: Profile, number: int) -> None:
        """Tell the other processes the number of the newest row of a profile's log."""
        self._wakeups.notify(profile.name, number)

    async def reopen(self, old: Askar) -> None:
        """Close and open Askar's store: after "database is locked", a connection stays unusable.

        Args:
            old: the store that failed; it is reopened once, although several writers may ask for it.
        """
        async with self._reopening:
            if old is self.askar:
                with suppress(AskarError):
                    await self.askar.close()
                with suppress(AskarError):
                    self.askar = await Askar.open(self._location.uri, "raw", self._key)

    # -- the other processes ---------------------------------------------------------------------

    def _wake(self, name: str | None, number: int) -> None:
        for profile in self._profiles.values():
            behind = name is None or (name == profile.name and number > profile.number)
            if behind and self._tasks is not None:
                work = _refreshed(profile, number)
                self._tasks.create_task(work, name=f"catch up {profile.name}")

    def _take_over_soon(self, names: Sequence[str]) -> None:
        """Start a task that takes over the work of processes that are gone, and then forgets these."""
        if self._tasks is not None and names:
            self._tasks.create_task(self._take_over(names), name="take over")

    async def _take_over(self, names: Sequence[str]) -> None:
        assert self._processes is not None
        while self._processes.names.issuperset(names):  # else they were lost with our own name
            try:
                await self.take_over(names)
                await self._processes.forget(names)
            except (AskarError, UnavailableError) as error:
                log.warning("work not taken over", extra={"of": names, "reason": str(error)})
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def _take_over_all(self, names: Sequence[str]) -> None:
        for name in await self._profile_names():
            if name != SYSTEM:
                await take_over(await self.profile(name), names)

    def _start_over(self) -> None:
        """Drop the work that another process has taken over, and go on under a new name."""
        assert self._processes is not None
        self.process, self._named = self._processes.name, True
        for profile in self._profiles.values():
            profile.start_over()
        self.on_start_over()


async def _refreshed(profile: Profile, number: int) -> None:
    try:
        await profile.refresh(number)
    except UnavailableError as error:  # the next wake-up or poll tries again
        log.warning("cannot catch up", extra={"reason": str(error)})
