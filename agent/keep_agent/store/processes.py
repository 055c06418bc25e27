"""The processes that share a store: who is alive, and who takes over the work of one that is gone.

Work to be done (messages to send, pending commands, jobs) carries the name of the process that committed it.
A process gets a new name at each start, and a record of that name in the system profile. Every few seconds it
increases a number in its record: a heartbeat. A process whose number does not change for a while is silent. Each
process measures this with its own clock, so clocks need not agree. To take over the work of a silent process,
another one writes its own name into the record, in a transaction, so that only one can succeed. The work itself
is then taken over profile by profile (`takeover`). Whoever takes over a process also gets what that one had taken over.

A process that was only slow finds this out at its next heartbeat, or from the log of a profile before it writes there,
as the other process writes it into the log first (`takeover.shut_out`). So clocks decide when work is taken over,
but two processes never write as the owner of the same work.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from aries_askar import AskarError, AskarErrorCode, Session
from aries_askar import Store as Askar

from keep_agent.errors import UnavailableError
from keep_agent.store.location import SESSIONS
from keep_agent.store.lock import lock_file
from keep_agent.store.migrations import NewerStoreError
from keep_agent.store.uncancelled import uncancelled

log = logging.getLogger(__name__)

SYSTEM = "indykeep:system"
"""The Askar profile of what no tenant owns."""
PROCESS = "process"

BEAT_S = 3.0
"""How often a process sends a heartbeat."""
SILENT_S = 15.0
"""A process without a heartbeat for so long is silent."""
SAFE_PART = 0.6
"""After a heartbeat a process may write for this part of `SILENT_S`; a transaction may last `IDLE_MS` more."""


class HasAskar(Protocol):
    """The owner of the open Askar store, which may be replaced when it is opened again."""

    askar: Askar


@dataclass(frozen=True, slots=True)
class Record:
    """The record of a process.

    Attributes:
        beat: number of heartbeats.
        at: POSIX time of the last heartbeat by its own clock; like `host` and `pid` only for people to read.
        ended: it has ended in order: its work can be taken over at once.
        adopted_by: name of the process that has taken over its work; None: it still belongs to this one.
    """

    host: str
    pid: int
    beat: int = 0
    at: float = 0.0
    ended: bool = False
    adopted_by: str | None = None


class Processes:
    """This process among those of one store.

    Args:
        folder: on this host, for lock files: a locked file shows that its process is alive. A new process on the
            same host takes over one that is gone without waiting until it is silent.
        beat_s, silent_s: `BEAT_S` and `SILENT_S`; tests use shorter ones.
        shared: whether other processes may open the store; if not, all earlier processes are gone, and
            heartbeats are not needed.
        on_taken_over: called with the names of processes whose work this one takes over; not during `start`, after
            which `names` has them.
        on_lost: called when another process has taken over the work of this one, which has a new `name`.
        check_version: raises NewerStoreError if a newer program has taken the store: this process stops then.
    """

    def __init__(
        self,
        store: HasAskar,
        folder: Path,
        *,
        shared: bool,
        on_taken_over: Callable[[Sequence[str]], None],
        on_lost: Callable[[], None],
        check_version: Callable[[], Awaitable[None]],
        beat_s: float,
        silent_s: float,
    ) -> None:
        self.name = ""
        self._taken_over: frozenset[str] = frozenset()
        self._store = store
        self._folder = folder
        self._shared = shared
        self._on_taken_over = on_taken_over
        self._on_lost = on_lost
        self._check_version = check_version
        self._beat_s = beat_s
        self._silent_s = silent_s
        self._lock: int | None = None
        self._name_given_up = False
        self._beat_now = asyncio.Event()
        self._last_beat = 0.0
        self._looked = 0.0
        self._seen: dict[str, tuple[int, float]] = {}

    @property
    def names(self) -> frozenset[str]:
        """The names whose work belongs to this process: its own, and those of processes that it has taken over."""
        return self._taken_over | {self.name}

    @property
    def may_write(self) -> bool:
        """Whether its last heartbeat is so recent that no other process can have taken over its work."""
        return (
            not self._shared or time.monotonic() - self._last_beat < self._silent_s * SAFE_PART
        )

    def give_up_name(self) -> None:
        """Take a new name soon, and take over the work of the old name, as after a restart."""
        self._name_given_up = True
        self._beat_now.set()

    async def start(self) -> str:
        """Take a name, take over the processes that are certainly gone, and return the name.

        Raises:
            UnavailableError: the store does not answer, or the folder cannot be written.
        """
        gone = await asyncio.to_thread(self._gone_here)
        try:
            await self._make_profile()
            await self._take_name()
            await uncancelled(self._beat(gone))
        except AskarError as error:
            raise UnavailableError(f"the store does not answer: {error}") from error
        await asyncio.to_thread(self._remove_lock_files, gone)
        return self.name

    async def run(self) -> None:
        """Send heartbeats and take over silent processes, until cancelled; does nothing if the store is not shared.

        Raises:
            NewerStoreError: see `check_version`.
        """
        while self._shared:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._beat_s):
                    await self._beat_now.wait()
            self._beat_now.clear()
            try:
                if new := await self._beat_with_retries():
                    log.warning("work taken over", extra={"us": self.name, "of": sorted(new)})
                    self._on_taken_over(sorted(new))
            except NewerStoreError:
                raise
            except (AskarError, UnavailableError) as error:
                log.warning("no heartbeat", extra={"us": self.name, "why": str(error)})

    async def forget(self, names: Sequence[str]) -> None:
        """Remove the records of processes whose work was taken over completely.

        Raises:
            UnavailableError: the store does not answer; no record is removed, or all.
        """
        try:
            await uncancelled(self._forget(frozenset(names) & self._taken_over))
        except AskarError as error:
            raise UnavailableError(f"the store does not answer: {error}") from error

    async def end(self) -> None:
        """Note that this process ends: another one takes over its work at its next heartbeat.

        Does not fail if the store does not answer: its work is taken over when it has been silent for a while.
        """
        try:
            await uncancelled(self._change_own(ended=True))
        except AskarError as error:
            log.warning("end of this process not noted", extra={"why": str(error)})
        self._remove_lock_files([self.name])
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- the record ------------------------------------------------------------------------------

    async def _make_profile(self) -> None:
        try:
            await self._store.askar.create_profile(SYSTEM)
        except AskarError as error:
            if error.code != AskarErrorCode.DUPLICATE:  # another process was first
                raise

    async def _take_name(self) -> None:
        name, old = secrets.token_hex(8), self._lock
        self._lock = self._make_lock_file(name)
        if old is not None:
            self._remove_lock_files([self.name])
            os.close(old)
        record = Record(socket.gethostname(), os.getpid(), at=time.time())
        await uncancelled(self._insert(name, record))
        self.name, self._taken_over = name, frozenset()

    async def _insert(self, name: str, record: Record) -> None:
        async with self._store.askar.transaction(SYSTEM) as tx:
            await tx.insert(PROCESS, name, _written(record))
            await tx.commit()

    async def _change_own(self, *, ended: bool) -> None:
        async with self._store.askar.transaction(SYSTEM) as tx:
            own = (await _records(tx)).get(self.name)
            if own is not None and own.adopted_by is None:
                await _write(tx, self.name, replace(own, ended=ended))
                await tx.commit()

    async def _forget(self, names: frozenset[str]) -> None:
        async with self._store.askar.transaction(SYSTEM) as tx:
            records = await _records(tx)
            for name in names:
                if name in records and records[name].adopted_by == self.name:
                    await tx.remove(PROCESS, name)
            await tx.commit()
        self._taken_over -= names

    # -- heartbeats ------------------------------------------------------------------------------

    async def _beat_with_retries(self) -> frozenset[str]:
        """Send a heartbeat; each dead connection in the pool costs one try (see `provision`)."""
        end = time.monotonic() + self._beat_s
        for _ in range(SESSIONS):
            try:
                return await uncancelled(self._beat(()))
            except AskarError:
                if time.monotonic() > end:
                    raise
        return await uncancelled(self._beat(()))

    async def _beat(self, gone: Sequence[str]) -> frozenset[str]:
        """Send a heartbeat, and take over processes that are silent, have ended or are `gone`.

        Returns:
            The names taken over now.
        """
        began = time.monotonic()
        # after `began`: who migrates the store waits as long as a process may write after its last heartbeat
        await self._check_version()
        async with self._store.askar.transaction(SYSTEM) as tx:
            records = await _records(tx)
            own = records.get(self.name)
            if own is not None and own.adopted_by is None and not self._name_given_up:
                await _write(tx, self.name, replace(own, beat=own.beat + 1, at=time.time()))
                mine = await self._claim(tx, records, gone)
                await tx.commit()
                self._last_beat = began
                new, self._taken_over = mine - self._taken_over, mine
                return new
        old = self.name
        await self._take_name()
        self._name_given_up = False
        log.warning("this process has a new name", extra={"us": old, "new": self.name})
        self._on_lost()
        return await self._beat([*gone, old])

    async def _claim(
        self, tx: Session, records: dict[str, Record], gone: Sequence[str]
    ) -> frozenset[str]:
        """Write our name into the records of processes to take over; return the names of all that have it."""
        silent = {*self._silent(records), *gone} & records.keys()
        ours = {name for name, record in records.items() if record.adopted_by == self.name}
        for name, record in records.items():
            free = name in silent and record.adopted_by is None
            if name != self.name and (free or record.adopted_by in silent):
                await _write(tx, name, replace(record, adopted_by=self.name))
                ours.add(name)
        return frozenset(ours)

    def _silent(self, records: dict[str, Record]) -> set[str]:
        """Return the processes that have ended, or whose heartbeats have stopped for `silent_s` as seen from here."""
        now = time.monotonic()
        if now - self._looked > self._silent_s / 2:
            self._seen.clear()  # we or the store stood still: heartbeats may have been missed
        self._looked = now
        living = {
            name: record
            for name, record in records.items()
            if record.adopted_by is None and name != self.name
        }
        self._seen = {
            name: seen
            if (seen := self._seen.get(name)) and seen[0] == record.beat
            else (record.beat, now)
            for name, record in living.items()
        }
        return {
            name
            for name, record in living.items()
            if record.ended or not self._shared or now - self._seen[name][1] > self._silent_s
        }

    # -- lock files of this host -----------------------------------------------------------------

    def _lock_path(self, name: str) -> Path:
        return self._folder / f"{name}.process"

    def _make_lock_file(self, name: str) -> int:
        """Make a locked file; it is renamed after it is locked, so that nobody finds it unlocked."""
        draft = self._lock_path(name).with_suffix(".new")
        lock = lock_file(draft)
        draft.rename(self._lock_path(name))
        return lock

    def _gone_here(self) -> list[str]:
        """Return the names of processes that lived in this folder and are gone."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        gone: list[str] = []
        for path in self._folder.glob("*.process"):
            try:
                os.close(lock_file(path))
            except UnavailableError:
                continue  # it is alive
            gone.append(path.stem)
        return gone

    def _remove_lock_files(self, names: Sequence[str]) -> None:
        for name in names:
            self._lock_path(name).unlink(missing_ok=True)


async def others_stop(askar: Askar) -> None:
    """Return when no process writes that had the store open before its version was raised."""
    if SYSTEM not in await askar.list_profiles():
        return
    async with askar.session(SYSTEM) as session:
        records = await _records(session)
    if any(not record.ended and record.adopted_by is None for record in records.values()):
        log.warning("waiting for other processes, which stop writing to this store")
        await asyncio.sleep(SILENT_S)


async def _records(tx: Session) -> dict[str, Record]:
    return {
        entry.name: Record(**json.loads(entry.value)) for entry in await tx.fetch_all(PROCESS)
    }


async def _write(tx: Session, name: str, record: Record) -> None:
    await tx.replace(PROCESS, name, _written(record))


def _written(record: Record) -> bytes:
    return json.dumps(asdict(record)).encode()
