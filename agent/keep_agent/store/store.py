"""What is remembered, in Askar: one writer, one transaction for a decision, nothing half done.

Durable means: SQLite in WAL mode with `synchronous=FULL`. A commit that returned survives a
SIGKILL of this process and, as far as the disk keeps its word on fsync, a power cut.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Self, TypeVar

from aries_askar import AskarError, AskarErrorCode, Key, Session
from aries_askar import Store as Askar

from keep_agent.core.machine import STATELESS, Consume, Delete, Exchange, Put, PutKey, Write
from keep_agent.core.message import Json, write_json
from keep_agent.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from keep_agent.store.cache import Row, Rows
from keep_agent.store.lock import lock_file, open_askar
from keep_agent.store.rows import (
    Commit,
    Models,
    Outgoing,
    Waiting,
    operations,
    read_exchange,
    read_outgoing,
    remove,
)
from keep_agent.store.uncancelled import whole

MOST_IN_GROUP = 64
CACHED_ROWS, CACHED_BYTES = 4096, 16 << 20
RECENT_EVENTS = 4096
DISCARD_AFTER_S, DISCARD_AGAIN_S = 0.05, 1.0
BUSY_S, GATHER_S = 0.01, 0.003
"""Right after a commit of several decisions, the next one waits a little for others to join."""

T = TypeVar("T")


class Profile:
    """What one tenant may see: an Askar profile. Every access to the store goes through one."""

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self._store = store
        self._rows = Rows(CACHED_ROWS, CACHED_BYTES)
        self._generation = 0
        self._discards: list[str] = []
        self._order = 0
        self._page = 0
        self._recent: deque[Json] = deque(maxlen=RECENT_EVENTS)
        self._changed = asyncio.Event()
        self.on_commit: Callable[[Commit], None] = lambda _commit: None

    # -- reading ---------------------------------------------------------------------------------

    async def fetch(self, category: str, name: str) -> Json | None:
        """Return a record, or None. It is shared with a cache: do not change it."""
        return await self._cached(category, name, json.loads)

    async def get(self, category: str, name: str) -> Json:
        """Return a record.

        Raises:
            NotFoundError: there is none of that name.
        """
        found = await self.fetch(category, name)
        if found is None:
            raise NotFoundError(f"no {category} {name!r}")
        return found

    async def find(
        self, category: str, tags: dict[str, str] | None = None, limit: int | None = None
    ) -> list[tuple[str, Json]]:
        """Return (name, record) of all that carry these tags, oldest first."""
        entries = await self._entries(category, tags, limit)
        return [(name, json.loads(value)) for name, value in entries]

    async def page(
        self,
        category: str,
        tags: dict[str, str] | None,
        offset: int,
        limit: int,
        *,
        oldest_first: bool = False,
    ) -> list[tuple[str, bytes]]:
        """Return some rows in the order in which they were made."""
        scan = self._store.askar.scan(
            category, tags, offset, limit, self.name, order_by="id", descending=not oldest_first
        )
        async with self._store.reading:
            return [(row.name, row.value) for row in await _reading(scan.fetch_all())]

    async def exchange(self, name: str) -> Exchange[Any] | None:
        """Return the exchange of this id, as last committed, or None."""
        return await self._cached("exchange", name, self._store.read_exchange)

    def read_exchange(self, value: bytes) -> Exchange[Any]:
        """Read a row of the exchanges as `page` returns it."""
        return self._store.read_exchange(value)

    def cached_exchange(self, name: str) -> Exchange[Any] | None:
        """Return the exchange of this id if it is at hand; None says nothing about the store."""
        return self._rows.get(("exchange", name))

    def cached(self, category: str, name: str) -> Json | None:
        """Return a record if it is at hand; None says nothing about the store."""
        return self._rows.get((category, name))

    async def exchanges(
        self, tags: dict[str, str], *, offset: int = 0, limit: int = 1000
    ) -> list[Exchange[Any]]:
        """Return exchanges by tags (`protocol`, `peer`, `then`, `sent`), newest first."""
        rows = await self.page("exchange", tags, offset, limit)
        return [self._store.read_exchange(value) for _, value in rows]

    async def outbox(self) -> list[Outgoing]:
        """Return every message that is not delivered, in the order of its commit."""
        rows = [read_outgoing(name, value) for name, value in await self.find("outbox")]
        return sorted(rows, key=lambda row: row.order)

    async def inbox(self) -> list[Waiting]:
        """Return every message that still waits to be handled."""
        return [Waiting(name=name, **value) for name, value in await self.find("inbox")]

    async def key(self, verkey: str) -> tuple[Key, Json] | None:
        """Return a key of ours with its metadata, or None; this is what `Keys` fetches through."""
        entry = await self._read(lambda session: session.fetch_key(verkey))
        return (entry.key, json.loads(entry.metadata or "{}")) if entry else None

    async def _cached(self, category: str, name: str, read: Callable[[bytes], T]) -> T | None:
        row = (category, name)
        known: T | None = self._rows.get(row)
        if known is not None:
            return known
        generation = self._generation
        entry = await self._read(lambda session: session.fetch(category, name))
        if entry is None:
            return None
        value = read(entry.value)
        if generation == self._generation:  # nothing was committed meanwhile
            self._rows.put(row, value, len(entry.value))
        return value

    async def _entries(
        self, category: str, tags: dict[str, str] | None, limit: int | None
    ) -> list[tuple[str, bytes]]:
        rows = await self._read(lambda s: s.fetch_all(category, tags, limit, order_by="id"))
        return [(row.name, row.value) for row in rows]

    async def _read(self, fetch: Callable[[Session], Awaitable[T]]) -> T:
        async def read() -> T:
            async with self._store.askar.session(self.name) as session:
                return await fetch(session)

        async with self._store.reading:
            return await _reading(read())

    # -- writing ---------------------------------------------------------------------------------

    async def commit(self, commit: Commit) -> Commit:
        """Write one decision, together with others that wait; return it as it was written.

        Raises:
            ConflictError: the exchange moved on meanwhile, or a first message came twice.
            RefusedError: the invitation is used up.
            UnavailableError: the store cannot write now; nothing was written.
        """
        return await self._store.write(self, commit)

    def discard(self, names: Sequence[str], after_s: float = DISCARD_AFTER_S) -> None:
        """Forget delivered messages soon: a crash before sends them again, and peers drop them."""
        if names and not self._discards:
            asyncio.get_running_loop().call_later(after_s, self._store.nudge, self)
        self._discards += names

    # -- the log ---------------------------------------------------------------------------------

    @property
    def last_event(self) -> int:
        """Number of the newest event; numbers grow in the order of commits, with gaps."""
        return self._recent[-1]["n"] if self._recent else self._page * 1000

    async def events(self, after: int, limit: int = 500) -> list[Json]:
        """Return committed events with a number above `after`, oldest first."""
        if self._recent and after >= self._recent[0]["n"]:
            newer = takewhile(lambda e: e["n"] > after, reversed(self._recent))
            return list(newer)[::-1][:limit]
        found: list[Json] = []
        page = after // 1000
        while page <= self._page and len(found) < limit:
            row = await self.fetch("log", str(page))
            found += [e for e in (row or {"events": []})["events"] if e["n"] > after]
            page += 1
        return found[:limit]

    async def wait_event(self, after: int) -> None:
        """Return when an event with a number above `after` is committed."""
        while self.last_event <= after:
            await self._changed.wait()

    async def _open(self) -> None:
        rows = await self.page("log", None, 0, 1)
        self._page = int(rows[0][0]) + 1 if rows else 1
        self._order = max((row.order for row in await self.outbox()), default=0)

    # -- used by the writer ----------------------------------------------------------------------

    async def _check(self, commit: Commit, taken: set[tuple[str, str]]) -> Commit:
        """Compare what a decision was made on with what is; return it with its row order.

        Args:
            taken: what the others of its group change, by category and name; grows by its own.
        """
        after, mine = commit.after, _alone(commit)
        if after is not None and after.state != STATELESS:
            if after.revision:  # the insert of a new one finds out by itself
                current = await self.exchange(after.id)
                if current is None or current.revision != after.revision:
                    raise ConflictError(f"exchange {after.id} moved on")
            after = replace(after, revision=after.revision + 1, updated=time.time())
        for write in commit.writes:
            if isinstance(write, Consume):
                record = await self.get("invitation", write.invitation)
                if record.get("used") or ("invitation", write.invitation) in taken:
                    raise RefusedError("this invitation is used up", "e.p.req.used")
                mine.add(("invitation", write.invitation))
        if not taken.isdisjoint(mine):
            raise ConflictError("another decision of this moment changes the same")
        taken |= mine
        outbox = tuple(replace(row, order=self._next_order()) for row in commit.outbox)
        return replace(commit, after=after, outbox=outbox)

    def _next_order(self) -> int:
        self._order += 1
        return self._order

    def _committed(
        self, commits: Sequence[Commit], events: Sequence[Json], sizes: Mapping[Row, int]
    ) -> None:
        self._generation += 1
        for commit in commits:
            after = commit.after
            if after is not None and after.state != STATELESS:
                row = ("exchange", after.id)
                self._rows.put(row, after, sizes[row])
            for write in commit.writes:
                self._settle(write, sizes)
        self._page += bool(events)
        self._recent += events
        for commit in commits:
            self.on_commit(commit)
        if events:
            self._changed.set()
            self._changed = asyncio.Event()

    def _settle(self, write: Write, sizes: Mapping[Row, int]) -> None:
        match write:
            case Put(category=category, name=name, value=value):
                self._rows.put((category, name), value, sizes[category, name])
            case Delete(category=category, name=name):
                self._rows.drop((category, name))
            case Consume(invitation=name):
                self._rows.drop(("invitation", name))
            case PutKey():
                pass

    def _take_discards(self) -> list[str]:
        taken, self._discards = self._discards, []
        return taken

    def _forget_all(self) -> None:
        self._generation += 1
        self._rows.clear()


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
            await profile._open()
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
        taken: set[tuple[str, str]] = set()
        for job in jobs:
            try:
                ready.append((job, await profile._check(job.commit, taken)))
            except ConflictError as error:
                late.append((job, error))  # told when what it lost against is written
            except Exception as error:  # noqa: BLE001 - whoever decided it learns of it
                job.settle(error)
        discards = profile._take_discards()
        try:
            await self._transact(profile, [commit for _, commit in ready], discards)
        except Exception as error:  # noqa: BLE001 - found out and told one by one
            profile.discard(discards, DISCARD_AGAIN_S)
            await self._write_apart(profile, ready, error)
        else:
            for job, commit in ready:
                job.settle(commit)
        for job, lost in late:
            job.settle(lost)

    async def _write_apart(
        self, profile: Profile, ready: list[tuple[_Job, Commit]], error: Exception
    ) -> None:
        """Find out which decision of a group cannot be written; the others do not suffer."""
        if isinstance(_why_not_written(error), UnavailableError):
            profile._forget_all()
            await self._reopen(profile)
        for job, commit in ready:
            try:
                await self._transact(profile, [commit], [])
            except Exception as alone:  # noqa: BLE001 - the writer goes on, its caller knows
                why = _why_not_written(alone)
                if isinstance(why, UnavailableError):
                    profile._forget_all()
                job.settle(why)
            else:
                job.settle(commit)

    async def _transact(
        self, profile: Profile, commits: Sequence[Commit], discards: Sequence[str]
    ) -> None:
        now = time.time()
        events = [event for commit in commits for event in commit.events]
        page = profile._page
        events = [
            {"n": page * 1000 + i, "at": now, **event} for i, event in enumerate(events, 1)
        ]
        sizes: dict[Row, int] = {}
        async with self.askar.transaction(profile.name) as tx:
            work = [op for commit in commits for op in operations(tx, commit, sizes)]
            work += [remove(tx, "outbox", name) for name in discards]
            if events:
                work.append(tx.insert("log", str(page), write_json({"events": events})))
            # at once: measured 20 % less CPU than one after the other
            for result in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
            await tx.commit()
        profile._committed(commits, events, sizes)

    async def _reopen(self, profile: Profile) -> None:
        """Give up poisoned connections ("database is locked" leaves one for the store's life)."""
        with suppress(AskarError):
            await self.askar.close()
        with suppress(AskarError, UnavailableError):
            self.askar = await Askar.open(self._uri, "raw", self._key)
            await profile._open()  # what failed may have been written all the same


def _alone(commit: Commit) -> set[tuple[str, str]]:
    """Name what no two decisions of one group may change, by category and name."""
    found = {(w.category, w.name) for w in commit.writes if isinstance(w, Put) and w.new}
    if commit.after is not None and commit.after.state != STATELESS:
        found.add(("exchange", commit.after.id))
    return found


async def _reading(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await whole(work)
    except AskarError as error:
        raise UnavailableError(f"the store does not answer: {error}") from error


def _why_not_written(error: Exception) -> Exception:
    if not isinstance(error, AskarError):
        return error
    if error.code == AskarErrorCode.DUPLICATE:
        return ConflictError("somebody else made this record first")
    return UnavailableError(f"the store cannot write: {error}")
