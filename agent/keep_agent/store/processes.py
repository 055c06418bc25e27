"""Which processes work on a store, whose work belongs to whom, and what becomes of it when one dies.

What is left to do (messages to send, pending commands, jobs) carries the name of the process that
committed it. Each start has a new name and a record in the system profile, in which it counts up every
few seconds: a beat. One whose count stands still is silent, by the clock of whoever looks, so clocks
need not agree. A silent one's work is adopted by one write into its record, inside a transaction,
so one process gets it. Rows keep their tag: what an adopted process had adopted goes along with it.

A process that was only slow learns at its next beat that it was adopted, or from the log of the profile
that it wants to write to: whoever takes over says so there first (`Profile.take_over`). So clocks decide
when work is taken over, and never whether two processes write as the owner of one piece of work.
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
from keep_agent.store.uncancelled import whole

log = logging.getLogger(__name__)

SYSTEM = "indykeep:system"
"""The Askar profile of what no tenant owns."""
PROCESS = "process"

BEAT_S = 3.0
SILENT_S = 15.0
SURE = 0.6
"""Part of `SILENT_S` after a beat in which a process may write; a transaction may last `location.IDLE_MS` more."""


class HasAskar(Protocol):
    """Whoever opened the store, and may open it again."""

    askar: Askar


@dataclass(frozen=True, slots=True)
class Record:
    """What a process says of itself.

    Attributes:
        beat: counts up while it lives.
        at: time of the beat by its own clock; like `host` and `pid` for people alone.
        ended: it has ended in order, so nobody need wait for its silence.
        adopted_by: the process that its work belongs to.
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
        folder: of this host alone; in it, a locked file says that a process lives. A new process there
            adopts one that is gone without waiting for its silence.
        beat_s, silent_s: `BEAT_S` and `SILENT_S`, but for tests.
        shared: whether other processes can have the store open; if not, all that came before are gone,
            and nobody needs beats.
        on_adoption: told the names whose work is ours from now on; not by `start`: see `names` then.
        on_adopted: told that what we had is no longer ours: drop it; `name` is a new one.
        check_version: raises NewerStoreError if a newer program has the store: then we beat no more.
    """

    def __init__(
        self,
        store: HasAskar,
        folder: Path,
        *,
        shared: bool,
        on_adoption: Callable[[Sequence[str]], None],
        on_adopted: Callable[[], None],
        check_version: Callable[[], Awaitable[None]],
        beat_s: float,
        silent_s: float,
    ) -> None:
        self.name = ""
        self._adopted: frozenset[str] = frozenset()
        self._store = store
        self._folder = folder
        self._shared = shared
        self._on_adoption = on_adoption
        self._on_adopted = on_adopted
        self._check_version = check_version
        self._beat_s = beat_s
        self._silent_s = silent_s
        self._lock: int | None = None
        self._given_up = False
        self._hurry = asyncio.Event()
        self._beaten = 0.0
        self._looked = 0.0
        self._seen: dict[str, tuple[int, float]] = {}

    @property
    def names(self) -> frozenset[str]:
        """All names whose work is ours: our own, and those that were adopted."""
        return self._adopted | {self.name}

    @property
    def sure(self) -> bool:
        """Whether nobody can have adopted us yet: we beat a short time ago."""
        return not self._shared or time.monotonic() - self._beaten < self._silent_s * SURE

    def give_up(self) -> None:
        """Take a new name soon and adopt the old one, as if we had died and started again."""
        self._given_up = True
        self._hurry.set()

    async def start(self) -> str:
        """Take a name and adopt what is gone for certain; returns the name.

        Raises:
            UnavailableError: the store does not answer, or the folder cannot be written.
        """
        gone = await asyncio.to_thread(self._gone_here)
        try:
            await self._make_profile()
            await self._take_name()
            await whole(self._round(gone))
        except AskarError as error:
            raise UnavailableError(f"the store does not answer: {error}") from error
        await asyncio.to_thread(self._unmark, gone)
        return self.name

    async def run(self) -> None:
        """Beat, and adopt who falls silent, until cancelled; returns at once where nobody shares.

        Raises:
            NewerStoreError: see `check_version`.
        """
        while self._shared:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._beat_s):
                    await self._hurry.wait()
            self._hurry.clear()
            try:
                if new := await self._round_at_last():
                    log.warning("adopted work", extra={"us": self.name, "of": sorted(new)})
                    self._on_adoption(sorted(new))
            except NewerStoreError:
                raise
            except (AskarError, UnavailableError) as error:
                log.warning("no beat", extra={"us": self.name, "why": str(error)})

    async def settle(self, names: Sequence[str]) -> None:
        """Forget adopted processes under whose names nothing is left to do.

        Raises:
            UnavailableError: the store does not answer; nothing is forgotten then, or all.
        """
        try:
            await whole(self._settle(frozenset(names) & self._adopted))
        except AskarError as error:
            raise UnavailableError(f"the store does not answer: {error}") from error

    async def end(self) -> None:
        """Say that this process ends: others adopt what is left of its work as soon as they look.

        A store that does not answer is no reason to stay: they adopt it when it has been silent.
        """
        try:
            await whole(self._change_own(ended=True))
        except AskarError as error:
            log.warning("cannot say that we end", extra={"why": str(error)})
        self._unmark([self.name])
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
        self._lock = self._mark_living(name)
        if old is not None:
            self._unmark([self.name])
            os.close(old)
        record = Record(socket.gethostname(), os.getpid(), at=time.time())
        await whole(self._insert(name, record))
        self.name, self._adopted = name, frozenset()

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

    async def _settle(self, names: frozenset[str]) -> None:
        async with self._store.askar.transaction(SYSTEM) as tx:
            records = await _records(tx)
            for name in names:
                if name in records and records[name].adopted_by == self.name:
                    await tx.remove(PROCESS, name)
            await tx.commit()
        self._adopted -= names

    # -- the beat --------------------------------------------------------------------------------

    async def _round_at_last(self) -> frozenset[str]:
        """Beat; each connection that died in the pool costs one try (see `provision`)."""
        end = time.monotonic() + self._beat_s
        for _ in range(SESSIONS):
            try:
                return await whole(self._round(()))
            except AskarError:
                if time.monotonic() > end:
                    raise
        return await whole(self._round(()))

    async def _round(self, gone: Sequence[str]) -> frozenset[str]:
        """Look at all, beat, and adopt who is silent, ended, or `gone`; return who is newly ours."""
        began = time.monotonic()
        await (
            self._check_version()
        )  # after `began`: whoever changes it waits as long as we are `sure`
        async with self._store.askar.transaction(SYSTEM) as tx:
            records = await _records(tx)
            own = records.get(self.name)
            if own is not None and own.adopted_by is None and not self._given_up:
                await _write(tx, self.name, replace(own, beat=own.beat + 1, at=time.time()))
                mine = await self._adopt(tx, records, gone)
                await tx.commit()
                self._beaten = began
                new, self._adopted = mine - self._adopted, mine
                return new
        old = self.name
        await self._take_name()
        self._given_up = False
        log.warning("we go on under a new name", extra={"us": old, "new": self.name})
        self._on_adopted()
        return await self._round([*gone, old])

    async def _adopt(
        self, tx: Session, records: dict[str, Record], gone: Sequence[str]
    ) -> frozenset[str]:
        """Write our name into all records that are to be ours; return the names of all that are."""
        silent = {*self._silent(records), *gone} & records.keys()
        ours = {name for name, record in records.items() if record.adopted_by == self.name}
        for name, record in records.items():
            free = name in silent and record.adopted_by is None
            if name != self.name and (free or record.adopted_by in silent):
                await _write(tx, name, replace(record, adopted_by=self.name))
                ours.add(name)
        return frozenset(ours)

    def _silent(self, records: dict[str, Record]) -> set[str]:
        """Return who ended, or has not beaten for so long as we saw it."""
        now = time.monotonic()
        if now - self._looked > self._silent_s / 2:
            self._seen.clear()  # we were away, or the store was: nobody could be seen to beat
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

    # -- marks of this host ----------------------------------------------------------------------

    def _mark(self, name: str) -> Path:
        return self._folder / f"{name}.process"

    def _mark_living(self, name: str) -> int:
        """Make a locked file; it has its name only when it is locked, so nobody finds it without."""
        draft = self._mark(name).with_suffix(".new")
        lock = lock_file(draft)
        draft.rename(self._mark(name))
        return lock

    def _gone_here(self) -> list[str]:
        """Return the names of processes that lived in this folder and are gone."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        gone: list[str] = []
        for path in self._folder.glob("*.process"):
            try:
                os.close(lock_file(path))
            except UnavailableError:
                continue  # it lives
            gone.append(path.stem)
        return gone

    def _unmark(self, names: Sequence[str]) -> None:
        for name in names:
            self._mark(name).unlink(missing_ok=True)


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
