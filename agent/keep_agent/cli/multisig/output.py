"""What the commands print, in one place."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)  # noqa: T201 - what a command says


def note(text: str) -> None:
    """Print progress, warnings and next steps to standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def printable(text: str) -> str:
    """The text without what could move a terminal's cursor: it may quote a file or a ledger."""
    return "".join(c if c.isprintable() else "?" for c in text)
