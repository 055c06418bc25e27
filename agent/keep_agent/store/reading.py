"""Reads the rows of one profile, from the cache or from Askar."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from aries_askar import AskarError, Session

from keep_agent.core.machine import Exchange, Put
from keep_agent.core.message import LARGE
from keep_agent.errors import UnavailableError
from keep_agent.store.cache import OwnRows, Row
from keep_agent.store.location import SESSIONS
from keep_agent.store.rows import Commit
from keep_agent.store.uncancelled import uncancelled

if TYPE_CHECKING:
    from keep_agent.store.store import Store

T = TypeVar("T")

_drafts: ContextVar[Mapping[Row, Any] | None] = ContextVar("drafts", default=None)


@contextmanager
def drafted(commit: Commit) -> Generator[None]:
    """Within this block, reads return what this commit will write, although it is not written yet."""
    drafts: dict[Row, Any] = {("exchange", x.id): x for x in commit.exchanges}
    for write in commit.writes:
        if isinstance(write, Put):
            drafts[write.category, write.name] = write.value
    before = _drafts.set(drafts)
    try:
        yield
    finally:
        _drafts.reset(before)


class Reader:
    """Reads the rows of one profile.

    Attributes:
        rows: the cache.
    """

    def __init__(self, store: Store, profile: str) -> None:
        self.rows = OwnRows(store.rows, profile)
        self._store = store
        self._profile = profile
        self._generation = 0

    def changed(self) -> None:
        """Note that something was committed: a read that is under way may be outdated, and is not cached."""
        self._generation += 1

    def forget_all(self) -> None:
        """Empty the cache: it may differ from the store."""
        self._generation += 1
        self.rows.clear()

    def is_cached(self, row: Row) -> bool:
        """Tell whether a row is in the cache (or in `drafted`)."""
        return row in (_drafts.get() or ()) or self.rows.get(row) is not None

    async def fetch(self, category: str, name: str, read: Callable[[bytes], T]) -> T | None:
        """Return what a row holds, parsed by `read`, or None; from the cache if it is there."""
        row = (category, name)
        drafts = _drafts.get()
        if drafts is not None and row in drafts:
            drafted: T = drafts[row]
            return drafted
        known: T | None = self.rows.get(row)
        if known is not None:
            return known
        generation = self._generation
        entry = await self.read(lambda session: session.fetch(category, name))
        if entry is None:
            return None
        value = await _parsed(read, entry.value)
        if generation == self._generation:  # nothing was committed meanwhile
            self.rows.put(row, value, len(entry.value))
        return value

    async def entries(
        self, category: str, tags: dict[str, Any] | None, limit: int | None = None
    ) -> list[tuple[str, bytes]]:
        """Return (name, value) of the rows that carry these tags, oldest first."""
        rows = await self.read(lambda s: s.fetch_all(category, tags, limit, order_by="id"))
        return [(row.name, row.value) for row in rows]

    async def exchanges(
        self, tags: dict[str, Any], limit: int | None = None
    ) -> list[Exchange[Any]]:
        """Return the exchanges that carry these tags, oldest first."""
        rows = await self.entries("exchange", tags, limit)
        return [await _parsed(self._store.read_exchange, value) for _, value in rows]

    async def page(
        self,
        category: str,
        tags: dict[str, str] | None,
        offset: int,
        limit: int,
        *,
        oldest_first: bool = False,
    ) -> list[tuple[str, bytes]]:
        """Return (name, value) of some rows, in the order in which they were made, the newest first.

        Args:
            tags: that they must carry; None: all.
            offset: how many to skip.
            oldest_first: turn the order round.

        Raises:
            UnavailableError: the store does not answer.
        """
        scan = self._store.askar.scan(
            category,
            tags,
            offset,
            limit,
            self._profile,
            order_by="id",
            descending=not oldest_first,
        )
        async with self._store.reading:
            return [(row.name, row.value) for row in await _reading(scan.fetch_all())]

    async def read(self, fetch: Callable[[Session], Awaitable[T]]) -> T:
        """Read with a function that is given a session; on a shared store again if a connection has died.

        Raises:
            UnavailableError: the store does not answer.
        """

        async def read() -> T:
            async with self._store.askar.session(self._profile) as session:
                return await fetch(session)

        async with self._store.reading:
            for _ in range(SESSIONS if self._store.shared else 0):
                with suppress(UnavailableError):  # the pool may hold dead connections
                    return await _reading(read())
            return await _reading(read())


async def _parsed(read: Callable[[bytes], T], value: bytes) -> T:
    """Parse a row; a long one outside the event loop (SEC-R01)."""
    return await asyncio.to_thread(read, value) if len(value) > LARGE else read(value)


async def _reading(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await uncancelled(work)
    except AskarError as error:
        raise UnavailableError(f"the store does not answer: {error}") from error
