"""Small text files of a cache. Blocking: call it in a thread."""

from __future__ import annotations

from pathlib import Path

from keep_ledger.private_files import write_private


def read_text(path: Path) -> str | None:
    """The text, or None if there is no such readable file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def write_text(path: Path, text: str) -> None:
    """Replace the file in one step; makes its folder.

    Raises:
        OSError: disk full or not allowed; the old file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, text)
