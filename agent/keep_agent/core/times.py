"""Times in messages: ISO 8601 as RFC 0032 has it, or a number as some peers write it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator, Field

from keep_agent.errors import BadMessageError

_SECONDS = re.compile("[0-9]{9,13}")
MOST_SECONDS = 100_000_000_000
"""A number beyond it counts milliseconds: as seconds it would be in the year 5138."""


def write_time(at: float) -> str:
    """Return a POSIX time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def read_time(text: str | None) -> float | None:
    """Return the POSIX time of an ISO 8601 text; without a zone it is UTC.

    None: there is no text, or it names the year 1, as agents in Go write a time that is not set.

    Raises:
        BadMessageError: it is not such a text.
    """
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.year == 1:
            return None
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise BadMessageError(
            "a time is not written as ISO 8601, as in 2030-01-31T12:00:00Z"
        ) from error


def _as_text(value: object) -> object:
    if isinstance(value, str) and _SECONDS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        return write_time(value / 1000 if abs(value) > MOST_SECONDS else value)
    except (ValueError, OverflowError, OSError):
        return str(value)


TimeText = Annotated[str, BeforeValidator(_as_text), Field(max_length=100)]
"""A time as its sender wrote it; a number, seconds or milliseconds since 1970, as ISO 8601."""
