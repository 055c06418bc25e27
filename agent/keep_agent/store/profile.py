"""What one tenant may see of the store: an Askar profile, its log, and what it left to do."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any, TypeVar

from aries_askar import AskarError, Key, Session

from keep_agent.core.machine import (
    STATELESS,
    Consume,
    Delete,
    Exchange,
    Put,
    PutKey,
    Write,
)
from keep_agent.core.message import Json, new_id
from keep_agent.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from keep_agent.store.cache import OwnRows, Row
from keep_agent.store.deliveries import Deliveries
from keep_agent.store.location import SESSIONS
from keep_agent.store.rows import (
    BUCKET,
    HOUR_S,
    KEPT_WITHIN,
    Commit,
    Outgoing,
    Waiting,
    hour,
    item,
    read_item,
)
from keep_agent.store.uncancelled import whole

if TYPE_CHECKING:
    from keep_agent.store.store import Store

RECENT_EVENTS = 512
EVENTS_A_ROW = 1000
DISCARD_AFTER_S, DISCARD_AGAIN_S = 0.05, 1.0
PARK_AFTER_S, PARK_MOST = 5.0, 512
IDLE_S = 2.0
RECORD_BYTES = 1500
"""About how long a record is that an exchange keeps, for the cache."""
FAR_H = 1 << 17
"""Hours after which no deadline is looked for; 15 years."""
WIDEST = 64
"""How many buckets of a list are read at once, at the most."""

T = TypeVar("T")

_ID = re.compile(r"[0-9a-f]{32}")

_drafts: ContextVar[Mapping[Row, Any] | None] = ContextVar("drafts", default=None)


@contextmanager
def drafted(commit: Commit) -> Generator[None]:
    """Let reads in this block see what a commit that is not written yet will write."""
    drafts: dict[Row, Any] = {("exchange", x.id): x for x in commit.exchanges}
    for write in commit.writes:
        if isinstance(write, Put):
            drafts[write.category, write.name] = write.value
    before = _drafts.set(drafts)
    try:
        yield
    finally:
        _drafts.reset(before)


@dataclass(slots=True)
class Counts:
    """What was written since the start, for the bench.

    Attributes:
        rows: inserted, replaced or removed.
    """

    transactions: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Commits that are written as one transaction.

    Attributes:
        number: of the log row.
        sizes: how long the written rows are, by category and name; filled while they are written.
    """

    number: int
    commits: Sequence[Commit]
    log: Json | None
    sizes: dict[Row, int] = field(default_factory=dict[Row, int])


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What a process that is gone left to be done, and that is ours now.

    Attributes:
        outgoing: messages to send, in the order of their commits.
        waiting: messages to handle.
        pending: exchanges with commands to run.
    """

    outgoing: Sequence[Outgoing]
    waiting: Sequence[Waiting]
    pending: Sequence[Exchange[Any]]


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """Where a page of exchanges ended.

    Attributes:
        number, id: of its last exchange.
    """

    number: int
    id: str


class Profile:
    """What one tenant may see. Every access to its rows goes through here."""

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self.left: list[Outgoing] = []
        """What an earlier process left to be sent; read when the tenant begins to work."""
        self.deliveries = Deliveries()
        self.on_commit: Callable[[Commit], None] = lambda _commit: None
        self.on_others: Callable[[Sequence[Row]], None] = lambda _rows: None
        self.on_taken_over: Callable[[TakenOver], None] | None = None
        self.on_start_over: Callable[[], None] = lambda: None
        self.turn = asyncio.Lock()
        """Held by whoever writes or catches up, so that no row of the log is taken in twice."""
        self._store = store
        self._rows = OwnRows(store.rows, name)
        self._generation = 0
        self._discards: list[str] = []
        self._done_by: dict[str, int] = {}
        self._number = 0
        self._done = 0
        self._written = time.monotonic()
        self._recent: deque[Json] = deque(maxlen=RECENT_EVENTS)
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def number(self) -> int:
        """Number of the newest row of the log that was taken in."""
        return self._number

    @property
    def process(self) -> str:
        """The process that work which is committed now belongs to."""
        return self._store.process

    @property
    def shared(self) -> bool:
        """Whether other processes may write to it."""
        return self._store.shared

    @property
    def counts(self) -> Counts:
        """What was written to the store since it was opened, for all its tenants."""
        return self._store.counts

    # -- reading ---------------------------------------------------------------------------------

    async def fetch(self, category: str, name: str) -> Json | None:
        """Return a record, or None. It is shared with a cache: do not change it."""
        if category in KEPT_WITHIN and not self._at_hand((category, name)):
            x = await self._keeper(category, name)
            if x is not None:
                value: Json = x.records[category]["value"]
                self._rows.put((category, name), value, RECORD_BYTES)
                return value
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
        self, category: str, tags: dict[str, Any] | None = None, limit: int | None = None
    ) -> list[tuple[str, Json]]:
        """Return (name, record) of all that carry these tags, oldest first."""
        entries = await self._entries(category, tags, limit)
        found = [(name, json.loads(value)) for name, value in entries]
        if category in KEPT_WITHIN:
            rows = await self._entries("exchange", _kept_tags(category, tags), limit)
            found += [self._record(category, row) for _, row in rows]
        return found[:limit]

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

    async def records(
        self, category: str, tags: dict[str, str] | None, offset: int, limit: int
    ) -> list[tuple[str, Json]]:
        """Return some records that carry these tags, newest first, wherever they are kept."""
        found: list[tuple[str, Json]] = []
        if category in KEPT_WITHIN:
            query = _kept_tags(category, tags)
            rows = await self.page("exchange", query, offset, limit)
            found = [self._record(category, row) for _, row in rows]
            passed = offset + len(found)
            if not found and offset:
                passed = await self._read(lambda s: s.count("exchange", query))
            offset, limit = max(offset - passed, 0), limit - len(found)
        if limit > 0:
            own = await self.page(category, tags, offset, limit)
            found += [(name, json.loads(value)) for name, value in own]
        return found

    def _record(self, category: str, row: bytes) -> tuple[str, Json]:
        record = json.loads(row)["records"][category]
        return record["name"], record["value"]

    async def key(self, verkey: str) -> tuple[Key, Json] | None:
        """Return a key of ours with its metadata, or None; this is what `Keys` fetches through."""
        entry = await self._read(lambda session: session.fetch_key(verkey))
        return (entry.key, json.loads(entry.metadata or "{}")) if entry else None

    async def inbox(self) -> list[Waiting]:
        """Return every message that still waits to be handled by this process."""
        rows = await self.find("inbox", {"by": self._store.process})
        return [Waiting(name=name, **value) for name, value in rows]

    # -- exchanges -------------------------------------------------------------------------------

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
        self, tag: str, value: str, limit: int | None = None
    ) -> list[Exchange[Any]]:
        """Return exchanges by a tag: `thid`, `sent` (the @id of a message of ours), ...; oldest first."""
        return [
            self._store.read_exchange(row)
            for _, row in await self._entries("exchange", {tag: value}, limit)
        ]

    async def pending(self) -> list[Exchange[Any]]:
        """Return the exchanges with commands that this process has to run."""
        return await self.exchanges("then", self._store.process)

    async def due(self, before: float) -> list[Exchange[Any]]:
        """Return the exchanges that will have waited too long by the hour of a POSIX time."""
        query = {"~due": {"$lte": hour(before)}}
        return [
            self._store.read_exchange(value)
            for _, value in await self._entries("exchange", query, None)
        ]

    async def next_due(self) -> float | None:
        """Return when the first exchange will have waited too long; None: none waits.

        Of a deadline that is more than an hour off, a time at least halfway to it: look again then.
        """
        now = time.time()
        if not await self._due_within(FAR_H, now):
            return None
        ahead = 1
        while not await self._due_within(ahead, now):
            ahead *= 2
        if ahead > 1:
            return now + ahead // 2 * HOUR_S
        return min(x.due for x in await self.due(now + HOUR_S) if x.due is not None)

    async def _due_within(self, hours: int, now: float) -> bool:
        return bool(await self.past("exchange", "~due", hour(now + hours * HOUR_S), 1))

    async def past(self, category: str, tag: str, before: str, most: int) -> list[str]:
        """Return the names of some rows with a plain tag up to a value: see `day`."""
        return [n for n, _ in await self._entries(category, {tag: {"$lte": before}}, most)]

    async def listed(
        self,
        tag: str,
        values: str | Collection[str],
        limit: int,
        *,
        after: Cursor | None = None,
        keep: Callable[[Exchange[Any]], bool] = lambda _: True,
    ) -> list[Exchange[Any]]:
        """Return a page of exchanges, newest first.

        Args:
            tag: one of `~protocol`, `~state` (`"<protocol> <role> <state>"`), `~peer`.
            values: one of which it has.
            after: the last one of the page before.
            keep: what else must hold.
        """
        found: list[Exchange[Any]] = []
        wanted = [values] if isinstance(values, str) else list(values)
        newest = min(after.number if after else self._number + 1, self._number + 1) // BUCKET
        wide = 1
        while wanted and newest >= 0 and len(found) < limit:
            oldest = max(newest - wide + 1, 0)
            names = [f"{value}.{n}" for value in wanted for n in range(oldest, newest + 1)]
            rows = await self._entries("exchange", {tag: {"$in": names}}, None)
            some = [self._store.read_exchange(row) for _, row in rows]
            some.sort(key=_position, reverse=True)
            found += [x for x in some if (after is None or _position(x) < after) and keep(x)]
            newest = oldest - 1
            wide = min(2 * wide, WIDEST) if len(some) < limit else wide
        return found[:limit]

    async def of_thread(
        self,
        thid: str,
        connection: str | None,
        limit: int,
        *,
        after: Cursor | None = None,
        keep: Callable[[Exchange[Any]], bool] = lambda _: True,
    ) -> list[Exchange[Any]]:
        """Return a page of the exchanges of a thread, like `listed`: there are few."""
        found = [
            x
            for x in await self.exchanges("thid", thid)
            if (connection is None or (x.connection or x.peer) == connection)
            and (after is None or _position(x) < after)
            and keep(x)
        ]
        return sorted(found, key=_position, reverse=True)[:limit]

    # -- the log ---------------------------------------------------------------------------------

    @property
    def last_event(self) -> int:
        """Number of the newest event; numbers grow in the order of commits, with gaps."""
        return self._recent[-1]["n"] if self._recent else (self._number + 1) * EVENTS_A_ROW

    async def events(self, after: int, limit: int = 500) -> list[Json]:
        """Return committed events with a number above `after`, oldest first."""
        if self._recent and after >= self._recent[0]["n"]:
            newer = takewhile(lambda e: e["n"] > after, reversed(self._recent))
            return list(newer)[::-1][:limit]
        found: list[Json] = []
        number = max(after // EVENTS_A_ROW, 1)
        if number < self._number and await self._log_row(number) is None:  # it is swept
            number = max(number, await self._oldest_row())
        while number <= self._number and len(found) < limit:
            row = await self._log_row(number)
            found += [e for e in (row or {"events": []})["events"] if e["n"] > after]
            number += 1
        return found[:limit]

    async def _oldest_row(self) -> int:
        [(name, _)] = await self.page("log", None, 0, 1, oldest_first=True)
        return int(name)

    async def wait_event(self, after: int) -> None:
        """Return when an event with a number above `after` is committed.

        Raises:
            UnavailableError: the profile is closed.
        """
        while self.last_event <= after and not self._closed:
            await self._changed.wait()
        if self._closed:
            raise UnavailableError("this tenant is closed")

    # -- writing ---------------------------------------------------------------------------------

    async def commit(self, commit: Commit) -> Commit:
        """Write a commit, together with others that wait; return it as it was written.

        Raises:
            ConflictError: an exchange moved on meanwhile, or a first message came twice.
            RefusedError: what serves once is used up.
            UnavailableError: the store cannot write now, or the profile is closed; nothing was written.
        """
        if self._closed:
            raise UnavailableError("this tenant is closed")
        return await self._store.write(self, commit)

    async def undelivered(self, name: str) -> Outgoing | None:
        """Return a message that is still to be sent, or None."""
        row = self.deliveries.get(name)
        if row is not None:
            return row
        value = await self.fetch("outbox", name)
        return read_item({"name": name, **value}) if value is not None else None

    def delivered(self, names: Sequence[str]) -> None:
        """Note that messages need no sending any more; a crash just now sends them once more."""
        rows = [name for name in names if self.deliveries.settle(name)]
        self.discard(rows)

    def discard(self, rows: Sequence[str], after_s: float = DISCARD_AFTER_S) -> None:
        """Remove rows of the outbox soon, together."""
        if rows and not self._discards:
            asyncio.get_running_loop().call_later(after_s, self._store.nudge, self)
        self._discards += rows

    async def run(self) -> None:
        """Park what is not delivered soon, and note what was when nothing else is committed."""
        while True:
            await asyncio.sleep(IDLE_S / 2)
            slow = self.deliveries.slow(PARK_AFTER_S, PARK_MOST)
            if slow or time.monotonic() - self._written > IDLE_S:
                with suppress(UnavailableError):  # the next second comes
                    await self.settle(slow)

    async def settle(self, parked: tuple[Outgoing, ...] = ()) -> None:
        """Write down what is delivered by now, so that the next process does not send it again."""
        if parked or self.deliveries.untold(self._done):
            await self.commit(Commit(parked=parked, mark=True))

    def close(self) -> None:
        """Write nothing any more, and forget what was read."""
        self._closed = True
        self.forget_all()
        self._changed.set()

    # -- used by the writer ----------------------------------------------------------------------

    async def open(self) -> None:
        """Find out where the log stands, and what an earlier process left to be sent."""
        await self.reopen()
        newest = self._number
        if (
            self.shared
        ):  # the newest row of all is another process's, and tells of what that has delivered
            self._done, newest = await self._stood(self.process)
        self.left, parked = await self._left(self.process, self._done, newest)
        self.deliveries.add(row for row in self.left if row.name not in parked)
        self.deliveries.add_parked(row for row in self.left if row.name in parked)

    async def reopen(self) -> None:
        """Find out where the log stands."""
        rows = await self.page("log", None, 0, 1)
        self._number = int(rows[0][0]) if rows else 0
        self._done = json.loads(rows[0][1]).get("done", 0) if rows else 0

    async def catch_up(self, session: Session) -> None:
        """Take in what other processes committed: each row of the log names what it changed."""
        number = self._number + 1
        while row := await session.fetch("log", str(number)):
            if number == self._number + 1:  # else it was taken in while we read
                self._learn(number, json.loads(row.value))
            number = self._number + 1

    def _learn(self, number: int, log: Json) -> None:
        self._generation += 1
        self._number = number
        for category, name in log["rows"]:
            self._rows.drop((category, name))
        us = self._store.process
        if (
            us in log["over"] or us == log["by"]
        ):  # ours, but taken for not written: it is taken over
            self._store.give_up()
        self._done_by[log["by"]] = log["done"]
        self._tell(log["events"])
        self.on_others([(category, name) for category, name in log["rows"]])

    async def refresh(self, number: int = 0) -> None:
        """Take in what other processes committed, without writing.

        Args:
            number: of a row of the log up to which this is needed; 0: to the newest.
        """
        async with self.turn:
            if not number or number > self._number:
                await self._read(self.catch_up)

    async def moved_on(self) -> bool:
        """Take in what other processes committed; tell whether that is anything."""
        before = self._number
        if self._store.shared:
            await self.refresh()
        return self._number > before

    async def take_over(self, gone: Sequence[str]) -> None:
        """Make ours what processes that are gone left to be done in this profile."""
        await self.shut_out(gone)
        for name in gone:
            left, _ = await self._left(name, *await self._stood(name))
            known = (
                self.deliveries.parked
            )  # one that is gone may have taken it over from another one
            mine = [replace(row, by=self.process) for row in left if row.name not in known]
            await self.commit(Commit(writes=tuple(map(_parked, mine)), mark=True))
            waiting = [Waiting(name=n, **v) for n, v in await self.find("inbox", {"by": name})]
            await self.commit(Commit(writes=await self._owned("inbox", name)))
            pending = [
                x
                for each in await self.exchanges("then", name)
                if (x := await self._ours(each))
            ]
            await self.commit(Commit(writes=await self._owned("job", name)))
            self.deliveries.add_parked(mine)
            if self.on_taken_over is None:
                self.left += mine
            else:
                self.on_taken_over(TakenOver(mine, waiting, pending))

    async def shut_out(self, gone: Sequence[str]) -> None:
        """Keep processes out that may not be gone, only slow.

        Whatever they committed before is found; when they want to commit after this, they learn that their
        work is ours.
        """
        for name in gone:
            await self.commit(Commit(mark=True, over=name))

    async def _stood(self, by: str) -> tuple[int, int]:
        """Return up to where a process had delivered, and the number of its newest row of the log."""
        rows = await self.page("log", {"by": by}, 0, 1)
        return (json.loads(rows[0][1])["done"], int(rows[0][0])) if rows else (0, 0)

    async def _ours(self, x: Exchange[Any]) -> Exchange[Any] | None:
        """Make an exchange ours; None: another process has changed it, and has its commands."""
        with suppress(ConflictError):
            return (await self.commit(Commit(exchanges=(x,)))).exchange(x.id)
        return None

    async def _owned(self, category: str, by: str) -> tuple[Write, ...]:
        """Return the writes that make rows of a process ours."""
        return tuple(
            Put(category, name, value, {"by": self.process})
            for name, value in await self.find(category, {"by": by})
        )

    def start_over(self) -> None:
        """Drop what another process has taken over: it was written down, and is not ours any more."""
        self.deliveries = Deliveries()
        self.left = []
        self.on_start_over()

    async def check(self, commit: Commit, taken: set[Row]) -> Commit:
        """Compare what a commit was decided on with what is; return it as it is to be written.

        Args:
            taken: what the others of its group change, by category and name; grows by its own.
        """
        commit = await self._gathered(commit)
        mine = _alone(commit)
        exchanges = tuple([await self._checked(x) for x in commit.exchanges])
        for write in commit.writes:
            if isinstance(write, Consume):
                row = (write.category, write.name)
                record = await self.get(*row)
                if record.get("used") or row in taken:
                    raise RefusedError(f"this {write.category} is used up", "e.p.req.used")
                mine.add(row)
        if not taken.isdisjoint(mine):
            raise ConflictError("another decision of this moment changes the same")
        taken |= mine
        return replace(commit, exchanges=exchanges)

    async def _gathered(self, commit: Commit) -> Commit:
        """Move the records that exchanges keep into them; a keeper that is not there yet joins."""
        keepers = {x.id: x for x in commit.exchanges}
        apart: list[Write] = []
        for write in commit.writes:
            x = await self._keeper_of(write, keepers)
            if x is None:
                apart.append(write)
            else:
                keepers[x.id] = x
        return replace(commit, exchanges=tuple(keepers.values()), writes=tuple(apart))

    async def _keeper_of(
        self, write: Write, keepers: Mapping[str, Exchange[Any]]
    ) -> Exchange[Any] | None:
        """Return the exchange that keeps what is written, with it; None: it has a row of its own."""
        match write:
            case Put(category=category, name=name, within=str() as within):
                x = keepers.get(within) or await self.exchange(within)
                if x is None or x.state == STATELESS:
                    return None
                if write.new and name != within and await self._is_there(category, name):
                    raise ConflictError(f"there is a {category} {name} already")
                record = {"name": name, "value": write.value, "tags": write.tags}
                return replace(x, records={**x.records, category: record})
            case Consume(category=category, name=name) if category in KEPT_WITHIN:
                x = await self._keeper(category, name)
                return _used(keepers.get(x.id, x), category) if x is not None else None
            case _:
                return None

    async def _is_there(self, category: str, name: str) -> bool:
        if await self._keeper(category, name) is not None:
            return True
        return await self._read(lambda session: session.fetch(category, name)) is not None

    async def _keeper(self, category: str, name: str) -> Exchange[Any] | None:
        """Return the exchange whose row keeps a record, or None."""
        x = await self.exchange(name) if _ID.fullmatch(name) else None
        if x is not None and x.records.get(category, {}).get("name") == name:
            return x
        for found in await self.exchanges(category, name, 1):
            return await self.exchange(found.id)
        return None

    async def _checked(self, after: Exchange[Any]) -> Exchange[Any]:
        if after.state == STATELESS:
            return after
        if after.revision:  # the insert of a new one finds out by itself
            current = await self.exchange(after.id)
            if current is None or current.revision != after.revision:
                raise ConflictError(f"exchange {after.id} moved on")
        by = self._store.process if after.then else ""
        return replace(after, revision=after.revision + 1, updated=time.time(), by=by)

    def group(self, commits: Sequence[Commit]) -> Group:
        """Put commits together to be written as one, under the next number of the log."""
        number, turns = self._number + 1, count()
        numbered = [self._numbered(commit, number, turns) for commit in commits]
        return Group(number, numbered, self._log(numbered, number))

    def _numbered(self, commit: Commit, number: int, turns: Iterator[int]) -> Commit:
        by = self._store.process
        outbox = tuple(
            replace(row, number=number, turn=next(turns), by=by) for row in commit.outbox
        )
        kept: dict[str, list[Json]] = {}
        for row in outbox:
            if row.exchange is not None:
                kept.setdefault(row.exchange, []).append(item(row))
        exchanges = tuple(
            replace(
                x,
                number=x.number or number,
                out=(*(o for o in x.out if self._keeps(x, o)), *kept.get(x.id, ())),
            )
            for x in commit.exchanges
        )
        waiting = tuple(replace(row, by=by) for row in commit.waiting)
        return replace(commit, exchanges=exchanges, outbox=outbox, waiting=waiting)

    def _keeps(self, x: Exchange[Any], out: Json) -> bool:
        """Tell whether a message that an exchange kept so far is still needed there."""
        if out["connection"] is None and out["target"] is None:
            return x.connection is None  # held for an invitation
        if out["by"] == self._store.process:
            return self.deliveries.is_fresh(out["name"])
        done: int = self._done_by.get(out["by"], 0)
        return bool(out["number"] > done)

    def _log(self, commits: Sequence[Commit], number: int) -> Json | None:
        """Return the log row of a group; None: there is nothing to tell."""
        changed = _changed(commits) if self._store.shared else []
        if not (changed or any(c.events or c.outbox or c.waiting or c.mark for c in commits)):
            return None
        now = time.time()
        events = [event for commit in commits for event in commit.events]
        kept = {x.id for c in commits for x in c.exchanges if x.state != STATELESS}
        loose = [item(row) for c in commits for row in c.outbox if row.exchange not in kept]
        first = number * EVENTS_A_ROW + 1
        return {
            "id": new_id(),
            "at": now,
            "by": self._store.process,
            "done": self.deliveries.done(number - 1),
            "events": [{"n": n, "at": now, **e} for n, e in enumerate(events, first)],
            "out": loose,
            "rows": changed,
            "over": [commit.over for commit in commits if commit.over],
        }

    async def has(self, group: Group) -> bool:
        """Tell whether the store has a group, whatever the transaction said."""
        row = await self._log_row(group.number)
        return row is not None and group.log is not None and row["id"] == group.log["id"]

    def written(self, group: Group) -> None:
        """Take in what a transaction wrote."""
        self._generation += 1
        self._written = time.monotonic()
        log = group.log
        if log is not None:
            self._number = group.number
            self._done = log["done"]
        for commit in group.commits:
            self._settle(commit, group.sizes)
        for commit in group.commits:
            self.on_commit(commit)
        self._tell(log["events"] if log else [])

    def _tell(self, events: Sequence[Json]) -> None:
        if events:
            self._recent += events
            self._changed.set()
            self._changed = asyncio.Event()

    def _settle(self, commit: Commit, sizes: Mapping[Row, int]) -> None:
        for x in commit.exchanges:
            if x.state != STATELESS:
                row = ("exchange", x.id)
                self._rows.put(row, x, sizes[row])
                for category, record in x.records.items():
                    self._rows.put((category, record["name"]), record["value"], RECORD_BYTES)
        for write in commit.writes:
            self._settle_write(write, sizes)
        self.deliveries.add(row for row in commit.outbox if not row.held)
        gone = [row.name for row in commit.parked if not self.deliveries.is_fresh(row.name)]
        self.deliveries.add_parked(commit.parked)
        self.delivered(gone)  # delivered while they were parked
        for name in commit.delivered:
            self.deliveries.settle(name)

    def _settle_write(self, write: Write, sizes: Mapping[Row, int]) -> None:
        match write:
            case Put(category=category, name=name, value=value):
                self._rows.put((category, name), value, sizes[category, name])
            case Delete(category=category, name=name) | Consume(category=category, name=name):
                self._rows.drop((category, name))
            case PutKey():
                pass

    def take_discards(self) -> list[str]:
        """Return the rows of the outbox that can go, once."""
        taken, self._discards = self._discards, []
        return taken

    def forget_all(self) -> None:
        """Trust nothing that is cached any more."""
        self._generation += 1
        self._rows.clear()

    # -- reading, underneath ---------------------------------------------------------------------

    async def _left(
        self, by: str, done: int, newest: int
    ) -> tuple[list[Outgoing], frozenset[str]]:
        """Return what a process left to be sent, in the order of its commits, and the names of the parked."""
        parked = [
            read_item({"name": name, **value})
            for name, value in await self.find("outbox", {"by": by})
        ]
        found: list[Outgoing] = []
        buckets = range((done + 1) // BUCKET, newest // BUCKET + 1)
        query = {"~out": {"$in": [f"{by}.{number}" for number in buckets]}}
        for _, value in await self._entries("exchange", query, None):
            x = self._store.read_exchange(value)
            found += [read_item(out) for out in x.out]
        for number in range(done + 1, newest + 1):
            row = await self._log_row(number)
            found += [read_item(out) for out in (row or {}).get("out", ())]
        known = frozenset(row.name for row in parked)
        fresh = [
            row
            for row in found
            if row.number > done and row.by == by and not row.held and row.name not in known
        ]
        return sorted(parked + fresh, key=lambda row: (row.number, row.turn)), known

    async def _log_row(self, number: int) -> Json | None:
        entry = await self._read(lambda session: session.fetch("log", str(number)))
        return json.loads(entry.value) if entry else None

    async def _cached(self, category: str, name: str, read: Callable[[bytes], T]) -> T | None:
        row = (category, name)
        drafts = _drafts.get()
        if drafts is not None and row in drafts:
            drafted: T = drafts[row]
            return drafted
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

    def _at_hand(self, row: Row) -> bool:
        return row in (_drafts.get() or ()) or self._rows.get(row) is not None

    async def _entries(
        self, category: str, tags: dict[str, Any] | None, limit: int | None
    ) -> list[tuple[str, bytes]]:
        rows = await self._read(lambda s: s.fetch_all(category, tags, limit, order_by="id"))
        return [(row.name, row.value) for row in rows]

    async def _read(self, fetch: Callable[[Session], Awaitable[T]]) -> T:
        async def read() -> T:
            async with self._store.askar.session(self.name) as session:
                return await fetch(session)

        async with self._store.reading:
            for _ in range(SESSIONS if self._store.shared else 0):
                with suppress(UnavailableError):  # a connection of the pool that has died
                    return await _reading(read())
            return await _reading(read())


def _used(x: Exchange[Any], category: str) -> Exchange[Any]:
    """Use up a record that an exchange keeps.

    Raises:
        RefusedError: it is used up.
    """
    record = x.records[category]
    if record["value"].get("used"):
        raise RefusedError(f"this {category} is used up", "e.p.req.used")
    record = {**record, "value": {**record["value"], "used": True}}
    return replace(x, records={**x.records, category: record})


def _kept_tags(category: str, tags: Mapping[str, str] | None) -> dict[str, str]:
    """Return the tags of the exchanges that keep records with these tags."""
    return {f"{category}.{name}": v for name, v in (tags or {}).items()} or {"keeps": category}


def _position(x: Exchange[Any]) -> Cursor:
    return Cursor(x.number, x.id)


def _parked(row: Outgoing) -> Put:
    value = item(row)
    del value["name"]
    return Put("outbox", row.name, value, {"by": row.by})


def _changed(commits: Sequence[Commit]) -> list[Row]:
    """Name what others may have at hand and must read again."""
    found: dict[Row, None] = {}
    for commit in commits:
        kept = [x for x in commit.exchanges if x.state != STATELESS]
        found |= {("exchange", x.id): None for x in kept}
        found |= {(c, record["name"]): None for x in kept for c, record in x.records.items()}
        found |= {
            (w.category, w.name): None for w in commit.writes if not isinstance(w, PutKey)
        }
    return list(found)


def _alone(commit: Commit) -> set[Row]:
    """Name what no two decisions of one group may change, by category and name."""
    found = {(w.category, w.name) for w in commit.writes if isinstance(w, Put) and w.new}
    found |= {("exchange", x.id) for x in commit.exchanges if x.state != STATELESS}
    return found


async def _reading(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await whole(work)
    except AskarError as error:
        raise UnavailableError(f"the store does not answer: {error}") from error
