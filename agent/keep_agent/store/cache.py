"""A cache of the rows that were read or committed last, bounded in number and in bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

Row = tuple[str, str]
"""Category and name."""

MOST_ROWS, MOST_BYTES = 8192, 16 << 20


class Rows:
    """The cached rows of a store; those used last stay longest.

    Args:
        most: how many are kept.
        most_bytes: how many bytes they have together as they are stored (peers decide how long a row is).
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._rows: OrderedDict[tuple[str, ...], tuple[Any, int]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, row: tuple[str, ...]) -> Any | None:
        """Return what a row holds; None: it is not cached, but may be in the store."""
        found = self._rows.get(row)
        if found is None:
            return None
        self._rows.move_to_end(row)
        return found[0]

    def put(self, row: tuple[str, ...], value: Any, size: int) -> None:
        """Cache what a row holds, unless it fills over a quarter of the cache; `size`: its bytes in the store."""
        self.drop(row)
        if size > self._most_bytes // 4:
            return
        self._rows[row] = value, size
        self.bytes += size
        while len(self._rows) > self._most or self.bytes > self._most_bytes:
            self.drop(next(iter(self._rows)))

    def drop(self, row: tuple[str, ...]) -> None:
        """Remove a row from the cache, if it is there."""
        found = self._rows.pop(row, None)
        if found is not None:
            self.bytes -= found[1]

    def drop_all(self, profile: str) -> None:
        """Remove the rows of a profile from the cache."""
        for row in [row for row in self._rows if row[0] == profile]:
            self.drop(row)


class OwnRows:
    """The cached rows of one profile; no other profile sees them, but all share the limits."""

    def __init__(self, rows: Rows, profile: str) -> None:
        self._rows = rows
        self._profile = profile

    def get(self, row: Row) -> Any | None:
        """Return what a row holds; None: it is not cached, but may be in the store."""
        return self._rows.get((self._profile, *row))

    def put(self, row: Row, value: Any, size: int) -> None:
        """Cache what a row holds; see `Rows.put`."""
        self._rows.put((self._profile, *row), value, size)

    def drop(self, row: Row) -> None:
        """Remove a row from the cache, if it is there."""
        self._rows.drop((self._profile, *row))

    def clear(self) -> None:
        """Remove all rows of this profile from the cache."""
        self._rows.drop_all(self._profile)
