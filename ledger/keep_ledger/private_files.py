"""Files that are whole or not there, also after a power cut; secrets that only their owner can read."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

_PRIVATE, _SHARED = 0o600, 0o666
_ALL_BITS = 0o777


def write_private(place: Path, text: str) -> None:
    """Replace a file durably in one step; only its owner can read it.

    For everything that must survive a kill between two rounds: a share, a `Dealing`, what was
    received. Keep first, send afterwards.

    Raises:
        OSError: disk full or not allowed; the old file is as it was.
    """
    _replace(place, text.encode(), _PRIVATE)


def write_shared(place: Path, raw: bytes) -> None:
    """Replace a file durably in one step; the umask says who else can read it.

    Raises:
        OSError: disk full or not allowed; the old file is as it was.
    """
    _replace(place, raw, _SHARED)


def sync_folder(folder: Path) -> None:
    """Make what was renamed or removed in a folder stay so."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def burn(place: Path) -> None:
    """Overwrite a file and remove it. What a flash disk keeps of it cannot be reached."""
    with place.open("r+b") as file:
        file.write(bytes(place.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
    place.unlink(missing_ok=True)


def _replace(place: Path, raw: bytes, mode: int) -> None:
    """Write beside the file, sync, rename, and sync the folder."""
    draft = place.with_name(f"{place.name}.new")
    with os.fdopen(_locked(draft, mode), "wb") as file:
        file.truncate()
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
        draft.replace(place)
    sync_folder(place.parent)


def _locked(draft: Path, mode: int) -> int:
    """Open a draft that nobody else is writing; one that a killed writer left is used again.

    The lock ends with the descriptor, after the rename: who waited for it then finds that its
    descriptor is not the draft any more, and opens another one.
    """
    while True:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, mode)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        found = os.fstat(descriptor)
        if _is_at(draft, found):
            if found.st_uid == os.geteuid() and not found.st_mode & _ALL_BITS & ~mode:
                return descriptor
            draft.unlink()  # others could have it open
        os.close(descriptor)


def _is_at(path: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.lstat(), found)
    except FileNotFoundError:
        return False
