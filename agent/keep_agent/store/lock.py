"""Lock files: a file that is locked by a process for as long as that process lives."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from keep_agent.errors import UnavailableError


def lock_file(path: Path) -> int:
    """Lock a file for this process and return its descriptor; closing that gives the lock up.

    Raises:
        UnavailableError: another process has locked it (the text says which), or it cannot be written.
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
