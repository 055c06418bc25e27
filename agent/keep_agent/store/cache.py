"""Rows at hand: those read or committed last, bounded in number and in size."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

Row = tuple[str, str]
"""Category and name."""


class Rows:
    """The rows of one profile that need not be read again; the ones used last stay longest.

    Args:
        most: how many are kept.
        most_bytes: how long all of them are together, as they are stored: peers decide how long one is.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._rows: OrderedDict[Row, tuple[Any, int]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, row: Row) -> Any | None:
        """Return what the row holds; None says nothing about the store."""
        found = self._rows.get(row)
        if found is None:
            return None
        self._rows.move_to_end(row)
        return found[0]

    def put(self, row: Row, value: Any, size: int) -> None:
        """Remember what a row holds, unless it is very long; `size` is its length as it is stored."""
        self.drop(row)
        if size > self._most_bytes // 4:
            return
        self._rows[row] = value, size
        self.bytes += size
        while len(self._rows) > self._most or self.bytes > self._most_bytes:
            self.drop(next(iter(self._rows)))

    def drop(self, row: Row) -> None:
        """Forget a row, if it is here."""
        found = self._rows.pop(row, None)
        if found is not None:
            self.bytes -= found[1]

    def clear(self) -> None:
        """Forget all."""
        self._rows.clear()
        self.bytes = 0
