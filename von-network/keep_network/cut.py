"""Network partitions without root: nodes that may not hear each other, by a file.

Each node looks at the file whenever it sends or receives, so that what is written there holds
from the next message on.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

FILE = "cut.json"


def groups(folder: Path) -> list[list[str]]:
    """Return the sides of the partition by node names; none if the network is whole."""
    try:
        told: list[list[str]] = json.loads((folder / FILE).read_text())
    except FileNotFoundError:
        return []
    return told


def save(folder: Path, sides: Sequence[Collection[str]]) -> None:
    """Cut the network into these sides; nodes in none of them hear nobody. None: make it whole."""
    file = folder / FILE
    if not sides:
        file.unlink(missing_ok=True)
        return
    draft = folder / f"{FILE}.new"
    draft.write_text(json.dumps([sorted(side) for side in sides]))
    draft.replace(file)


class Cut:
    """What one node may hear now."""

    def __init__(self, folder: Path, node: str) -> None:
        self._folder = folder
        self._file = folder / FILE
        self._node = node
        self._seen: int | None = None
        self._side: set[str] | None = None

    def bars(self, peer: str) -> bool:
        """Say whether nothing may pass between our node and a peer."""
        self._look()
        return self._side is not None and peer not in self._side

    def _look(self) -> None:
        """Read the file if it is another than before."""
        try:
            stat = self._file.stat()
            now: int | None = stat.st_ino ^ stat.st_mtime_ns
        except FileNotFoundError:
            now = None
        if now != self._seen:
            self._seen = now
            self._side = self._read() if now is not None else None

    def _read(self) -> set[str] | None:
        sides = groups(self._folder)
        if not sides:  # made whole just now
            return None
        return next((set(side) for side in sides if self._node in side), {self._node})
