"""Files that are whole or not there, also after a power cut, and only their owner's to read."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(place: Path, text: str) -> None:
    """Replace a file durably in one step: written aside, synced, renamed, the folder synced.

    For everything that must survive a kill between two rounds: a share, a `Dealing`, what was
    received. Keep first, send afterwards.

    Raises:
        OSError: disk full or not allowed; the old file is as it was.
    """
    aside = place.with_name(f"{place.name}.new")
    aside.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(aside, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(place)
    sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Make what was renamed or removed in a folder stay so."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
