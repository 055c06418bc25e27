"""Small files from others: text, and values in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar, cast

from keep_agent.errors import BadCommandError
from keep_ledger.multisig.threshold.shares import Wire

Value = TypeVar("Value", bound=Wire)
_MOST_BYTES = 1_000_000


def read_value(path: Path, kind: type[Value]) -> Value:
    """Read a value from a file.

    Raises:
        BadCommandError: the file cannot be read or is too large.
        RefusedError: it is not such a value.
    """
    return kind.from_text(read_text(path))


def kind_of(path: Path) -> str:
    """Return the kind of value in a file; empty if it names none."""
    try:
        body = json.loads(read_text(path))
    except (ValueError, RecursionError):
        return ""
    return (
        str(cast("dict[str, object]", body).get("kind", "")) if isinstance(body, dict) else ""
    )


def read_text(path: Path) -> str:
    """Read a small file.

    Raises:
        BadCommandError: it cannot be read, is not text, or is too large.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise BadCommandError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadCommandError(f"{path} is not a text file") from error
    if len(raw) > _MOST_BYTES:
        raise BadCommandError(f"{path} is larger than {_MOST_BYTES} bytes")
    return text
