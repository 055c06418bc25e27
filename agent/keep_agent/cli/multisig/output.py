"""What the commands of several people print, at one place."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)  # noqa: T201 - what a command says


def note(text: str) -> None:
    """Print what is said beside the result: progress, warnings, what to do next."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201
