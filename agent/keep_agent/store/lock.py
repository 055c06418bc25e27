"""Opening the store's file: one process at a time, and only with its key."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from aries_askar import AskarError, AskarErrorCode
from aries_askar import Store as Askar

from keep_agent.errors import UnavailableError


async def open_askar(path: Path, uri: str, key: str) -> Askar:
    """Open the store, or make it if there is no file.

    Raises:
        UnavailableError: the key is wrong, or the file cannot be read or made.
    """
    there = os.path.exists(path)  # noqa: ASYNC240, PTH110 - one look, at start
    try:
        return await (Askar.open if there else Askar.provision)(uri, "raw", key)
    except AskarError as error:
        raise UnavailableError(_why_not(path, error)) from error


def lock_file(path: Path) -> int:
    """Lock a file for this process; returns its descriptor, closing which gives the lock up.

    Raises:
        UnavailableError: another process has it (the text names it), or it cannot be written.
    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UnavailableError(f"cannot write in {path.parent}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise UnavailableError(f"{path} is held by process {holder}; stop it first") from error
    os.truncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def _why_not(path: Path, error: AskarError) -> str:
    if error.code == AskarErrorCode.ENCRYPTION:
        return f"the key does not open the store {path}; check the store key"
    return f"cannot open the store {path}: {error}"
