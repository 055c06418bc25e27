"""Reads and changes rows for a migration, as they are stored, whichever version wrote them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Any

from aries_askar import Entry
from aries_askar import Store as Askar

from keep_agent.core.message import Json

WINDOW = 10_000
"""How many rows are read by one query."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row."""

    category: str
    name: str
    value: bytes
    tags: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of an old row; all of it is written in one transaction.

    Attributes:
        gone: category and name of rows to remove.
        changed: rows to replace; they keep their place in the order in which rows were made.
        new: rows to add, after all others in that order.
    """

    gone: tuple[tuple[str, str], ...] = ()
    changed: tuple[Row, ...] = ()
    new: tuple[Row, ...] = ()

    @property
    def size(self) -> int:
        """How many bytes it writes."""
        return sum(len(row.value) for row in (*self.changed, *self.new))


class OldRows:
    """The rows of one profile."""

    def __init__(self, askar: Askar, profile: str) -> None:
        self._askar = askar
        self._profile = profile

    async def all(self, category: str) -> AsyncGenerator[Entry, None]:
        """Yield all rows of a category in the order in which they were made; none may be removed meanwhile.

        They are read by several queries, because SQLite's write-ahead log grows during each query.
        """
        offset = read = 0
        while offset == read:
            scan = self._askar.scan(
                category, None, offset, WINDOW, self._profile, order_by="id"
            )
            async for entry in scan:
                read += 1
                yield entry
            offset += WINDOW

    async def newest(self, category: str) -> Entry | None:
        """Return the row that was made last."""
        scan = self._askar.scan(
            category, limit=1, profile=self._profile, order_by="id", descending=True
        )
        return next(iter(await scan.fetch_all()), None)

    async def get(self, category: str, name: str) -> Entry:
        """Return a row, which must exist."""
        async with self._askar.session(self._profile) as session:
            entry = await session.fetch(category, name)
        assert entry is not None
        return entry

    async def find(self, category: str, name: str) -> Json | None:
        """Return what a row holds, or None."""
        async with self._askar.session(self._profile) as session:
            entry = await session.fetch(category, name)
        return json.loads(entry.value) if entry else None

    async def count(self, category: str) -> int:
        """Return how many rows there are."""
        async with self._askar.session(self._profile) as session:
            return await session.count(category)

    async def write(self, changes: Iterable[Change]) -> None:
        """Write changes in one transaction."""
        some = list(changes)
        async with self._askar.transaction(self._profile) as tx:
            replaced = (row for change in some for row in change.changed)
            work = [tx.remove(*row) for change in some for row in change.gone]
            work += [tx.replace(r.category, r.name, r.value, r.tags) for r in replaced]
            for result in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
            for row in (r for c in some for r in c.new):
                await tx.insert(row.category, row.name, row.value, row.tags)
            await tx.commit()
