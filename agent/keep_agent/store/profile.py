"""The rows of one tenant, or of the system: an Askar profile with its log."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aries_askar import Key, Session

from keep_agent.core.machine import STATELESS, Consume, Delete, Exchange, Put, PutKey, Write
from keep_agent.core.message import Json
from keep_agent.errors import NotFoundError, UnavailableError
from keep_agent.store.cache import Row
from keep_agent.store.deliveries import Deliveries
from keep_agent.store.log import Log
from keep_agent.store.reading import Reader
from keep_agent.store.rows import (
    KEPT_WITHIN,
    Commit,
    Group,
    Outgoing,
    TakenOver,
    Waiting,
    read_outgoing,
)

if TYPE_CHECKING:
    from keep_agent.store.store import Store

DISCARD_AFTER_S, DISCARD_AGAIN_S = 0.05, 1.0
PARK_AFTER_S, PARK_MOST = 5.0, 512
IDLE_S = 2.0
RECORD_BYTES = 1500
"""For the cache: about how long a record is that an exchange keeps."""

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True)
class Counts:
    """What was written to a store since it was opened.

    Attributes:
        rows: how many were inserted, replaced or removed.
    """

    transactions: int = 0
    rows: int = 0


class Profile:
    """All access to the rows of one tenant.

    Attributes:
        left_to_send: messages that an earlier process committed and did not deliver, in the order of their commits.
        deliveries: the messages of this process that are not delivered yet.
        on_commit: called with each commit of this process after it is written.
        on_others_commit: called with the rows that another process has changed.
        on_taken_over: called with work that is taken over from another process; None: the tenant does not run,
            and finds it when it starts.
        on_start_over: called when another process has taken over the work of this one.
        lock: held while the profile is written or reads what others wrote, so that each row of the log is applied
            once.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self.reader = Reader(store, name)
        self.log = Log(self.reader)
        self.left_to_send: list[Outgoing] = []
        self.deliveries = Deliveries()
        self.on_commit: Callable[[Commit], None] = lambda _commit: None
        self.on_others_commit: Callable[[Sequence[Row]], None] = lambda _rows: None
        self.on_taken_over: Callable[[TakenOver], None] | None = None
        self.on_start_over: Callable[[], None] = lambda: None
        self.lock = asyncio.Lock()
        self._store = store
        self._discards: list[str] = []
        self._written = time.monotonic()
        self._closed = False

    @property
    def number(self) -> int:
        """Number of the newest row of the log that this process has written or read."""
        return self.log.number

    @property
    def process(self) -> str:
        """Name of this process: work that is committed belongs to it; empty: it is the only one."""
        return self._store.process

    @property
    def shared(self) -> bool:
        """Whether other processes may write to this profile."""
        return self._store.shared

    @property
    def counts(self) -> Counts:
        """What was written to the store since it was opened, by all its tenants."""
        return self._store.counts

    # -- reading ---------------------------------------------------------------------------------

    async def fetch(self, category: str, name: str) -> Json | None:
        """Return a record, or None. The cache holds the same object: do not change it."""
        if category in KEPT_WITHIN and not self.reader.is_cached((category, name)):
            x = await self.keeper(category, name)
            if x is not None:
                value: Json = x.records[category]["value"]
                self.reader.rows.put((category, name), value, RECORD_BYTES)
                return value
        return await self.reader.fetch(category, name, json.loads)

    async def get(self, category: str, name: str) -> Json:
        """Return a record.

        Raises:
            NotFoundError: there is none of this name.
        """
        found = await self.fetch(category, name)
        if found is None:
            raise NotFoundError(f"no {category} {name!r}")
        return found

    async def find(
        self, category: str, tags: dict[str, Any] | None = None, limit: int | None = None
    ) -> list[tuple[str, Json]]:
        """Return (name, record) of the records that carry these tags, oldest first."""
        entries = await self.reader.entries(category, tags, limit)
        found = [(name, json.loads(value)) for name, value in entries]
        if category in KEPT_WITHIN:
            rows = await self.reader.entries("exchange", _kept_tags(category, tags), limit)
            found += [self._record(category, row) for _, row in rows]
        return found[:limit]

    async def records(
        self, category: str, tags: dict[str, str] | None, offset: int, limit: int
    ) -> list[tuple[str, Json]]:
        """Return a page of the records that carry these tags: those that exchanges keep come first, then the others."""
        found: list[tuple[str, Json]] = []
        if category in KEPT_WITHIN:
            query = _kept_tags(category, tags)
            rows = await self.reader.page("exchange", query, offset, limit)
            found = [self._record(category, row) for _, row in rows]
            passed = offset + len(found)
            if not found and offset:
                passed = await self.reader.read(lambda s: s.count("exchange", query))
            offset, limit = max(offset - passed, 0), limit - len(found)
        if limit > 0:
            own = await self.reader.page(category, tags, offset, limit)
            found += [(name, json.loads(value)) for name, value in own]
        return found

    def _record(self, category: str, row: bytes) -> tuple[str, Json]:
        record = json.loads(row)["records"][category]
        return record["name"], record["value"]

    async def key(self, verkey: str) -> tuple[Key, Json] | None:
        """Return a private key with its metadata, or None; `Keys` reads keys with this."""
        entry = await self.reader.read(lambda session: session.fetch_key(verkey))
        return (entry.key, json.loads(entry.metadata or "{}")) if entry else None

    async def inbox(self) -> list[Waiting]:
        """Return the messages that wait to be handled by this process."""
        rows = await self.find("inbox", {"by": self._store.process})
        return [Waiting(name=name, **value) for name, value in rows]

    # -- exchanges -------------------------------------------------------------------------------

    async def exchange(self, name: str) -> Exchange[Any] | None:
        """Return the exchange of this id, as last committed, or None."""
        return await self.reader.fetch("exchange", name, self._store.read_exchange)

    def cached_exchange(self, name: str) -> Exchange[Any] | None:
        """Return the exchange of this id if it is cached; None: it may be in the store."""
        return self.reader.rows.get(("exchange", name))

    def cached(self, category: str, name: str) -> Json | None:
        """Return a record if it is cached; None: it may be in the store."""
        return self.reader.rows.get((category, name))

    async def exchanges(
        self, tag: str, value: str, limit: int | None = None
    ) -> list[Exchange[Any]]:
        """Return the exchanges with this tag, oldest first; see `rows` for the tags."""
        return await self.reader.exchanges({tag: value}, limit)

    async def pending(self) -> list[Exchange[Any]]:
        """Return the exchanges with commands that this process has to run."""
        return await self.exchanges("then", self._store.process)

    # -- the log ---------------------------------------------------------------------------------

    @property
    def last_event(self) -> int:
        """Number of the newest event; numbers grow in the order of commits, with gaps."""
        return self.log.last_event

    async def events(self, after: int, limit: int = 500) -> list[Json]:
        """Return committed events with a number above `after`, oldest first."""
        return await self.log.events(after, limit)

    async def wait_event(self, after: int) -> None:
        """Return when an event with a number above `after` is committed; raises as `Log` does."""
        await self.log.wait_event(after)

    # -- writing ---------------------------------------------------------------------------------

    async def commit(self, commit: Commit) -> Commit:
        """Write a commit, together with others that wait, and return it as it was written.

        Raises:
            ConflictError: an exchange has changed meanwhile, or a first message came twice.
            RefusedError: a record that can be used once is used up.
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
        return read_outgoing({"name": name, **value}) if value is not None else None

    def delivered(self, names: Sequence[str]) -> None:
        """Note that messages need not be sent any more; after a crash right now they are sent once more."""
        rows = [name for name in names if self.deliveries.remove(name)]
        self.discard(rows)

    def discard(self, rows: Sequence[str], after_s: float = DISCARD_AFTER_S) -> None:
        """Remove rows of the outbox soon, together with the next commit or after `after_s`."""
        if rows and not self._discards:
            asyncio.get_running_loop().call_later(after_s, self._store.remove_discarded, self)
        self._discards += rows

    async def run(self) -> None:
        """Park messages that are not delivered soon; when nothing is committed, write down what is delivered."""
        while True:
            await asyncio.sleep(IDLE_S / 2)
            slow = self.deliveries.slow(PARK_AFTER_S, PARK_MOST)
            if slow or time.monotonic() - self._written > IDLE_S:
                with suppress(UnavailableError):  # tried again in a second
                    await self.write_delivered(slow)

    async def write_delivered(self, parked: tuple[Outgoing, ...] = ()) -> None:
        """Commit which messages are delivered by now, so that the next process does not send them again."""
        if parked or self.deliveries.has_unlogged(self.log.done):
            await self.commit(Commit(parked=parked, mark=True))

    def close(self) -> None:
        """Take no more commits, and forget what was read."""
        self._closed = True
        self.forget_all()
        self.log.close()

    # -- used by the writer ----------------------------------------------------------------------

    async def catch_up(self, session: Session) -> None:
        """Read what other processes committed: each row of the log names the rows that it changed."""
        number = self.log.number + 1
        while row := await session.fetch("log", str(number)):
            if number == self.log.number + 1:  # otherwise it was applied while this read
                self._learn(number, json.loads(row.value))
            number = self.log.number + 1

    def _learn(self, number: int, log: Json) -> None:
        self.reader.changed()
        self.log.number = number
        for category, name in log["rows"]:
            self.reader.rows.drop((category, name))
        us = self._store.process
        if us in log["over"] or us == log["by"]:  # ours, but taken for not written
            self._store.give_up_name()
        self.log.done_by[log["by"]] = log["done"]
        self.log.tell(log["events"])
        self.on_others_commit([(category, name) for category, name in log["rows"]])

    async def refresh(self, number: int = 0) -> None:
        """Read what other processes committed, without writing.

        Args:
            number: of the row of the log up to which this is needed; 0: up to the newest.
        """
        async with self.lock:
            if not number or number > self.log.number:
                await self.reader.read(self.catch_up)

    async def others_committed(self) -> bool:
        """Read what other processes committed, and tell whether there was anything."""
        before = self.log.number
        if self._store.shared:
            await self.refresh()
        return self.log.number > before

    def start_over(self) -> None:
        """Drop the work that another process has taken over; nothing is lost, as it is in the store."""
        self.deliveries = Deliveries()
        self.left_to_send = []
        self.on_start_over()

    async def keeper(self, category: str, name: str) -> Exchange[Any] | None:
        """Return the exchange whose row keeps a record, or None."""
        x = await self.exchange(name) if _ID.fullmatch(name) else None
        if x is not None and x.records.get(category, {}).get("name") == name:
            return x
        for found in await self.exchanges(category, name, 1):
            return await self.exchange(found.id)
        return None

    async def has(self, group: Group) -> bool:
        """Tell whether a group is in the store, whatever its transaction returned."""
        row = await self.log.row(group.number)
        return row is not None and group.log is not None and row["id"] == group.log["id"]

    def written(self, group: Group) -> None:
        """Apply what a transaction wrote to the cache and the deliveries, and tell those who wait."""
        self.reader.changed()
        self._written = time.monotonic()
        log = group.log
        if log is not None:
            self.log.number = group.number
            self.log.done = log["done"]
        for commit in group.commits:
            self._apply(commit, group.sizes)
        for commit in group.commits:
            self.on_commit(commit)
        self.log.tell(log["events"] if log else [])

    def _apply(self, commit: Commit, sizes: Mapping[Row, int]) -> None:
        for x in commit.exchanges:
            if x.state != STATELESS:
                row = ("exchange", x.id)
                self.reader.rows.put(row, x, sizes[row])
                for category, record in x.records.items():
                    self.reader.rows.put(
                        (category, record["name"]), record["value"], RECORD_BYTES
                    )
        for write in commit.writes:
            self._apply_write(write, sizes)
        self.deliveries.add(row for row in commit.outbox if not row.held)
        gone = [row.name for row in commit.parked if not self.deliveries.is_fresh(row.name)]
        self.deliveries.add_parked(commit.parked)
        self.delivered(gone)  # delivered while this was written
        for name in commit.delivered:
            self.deliveries.remove(name)

    def _apply_write(self, write: Write, sizes: Mapping[Row, int]) -> None:
        match write:
            case Put(category=category, name=name, value=value):
                self.reader.rows.put((category, name), value, sizes[category, name])
            case Delete(category=category, name=name) | Consume(category=category, name=name):
                self.reader.rows.drop((category, name))
            case PutKey():
                pass

    def take_discards(self) -> list[str]:
        """Return the names of rows of the outbox to remove; the next call returns only new ones."""
        taken, self._discards = self._discards, []
        return taken

    def forget_all(self) -> None:
        """Empty the cache: it may differ from the store."""
        self.reader.forget_all()


def _kept_tags(category: str, tags: Mapping[str, str] | None) -> dict[str, str]:
    """Return the tags of the exchanges that keep records with these tags."""
    return {f"{category}.{name}": v for name, v in (tags or {}).items()} or {"keeps": category}
