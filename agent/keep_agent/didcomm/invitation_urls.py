"""Links, times and versions in invitations, read within limits (Aries RFC 0434)."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import cast
from urllib.parse import parse_qs, urlsplit

from keep_agent.core.message import Json, TypeUri, read_base64, read_json
from keep_agent.errors import BadCommandError, BadMessageError

MAX_INVITATION = 128 * 2**10
OTHERS = {"c_i": "connections/1.0", "d_m": "DIDComm messages in links"}


def read_link(url: str) -> Json:
    """Return the JSON object in the parameter `oob` of a link; nothing is fetched.

    Raises:
        BadCommandError: there is none, or it is malformed or too large.
    """
    try:
        query = parse_qs(urlsplit(url.strip()).query)
    except ValueError as error:
        raise BadCommandError("this is not a link") from error
    if "oob" not in query:
        for name, what in OTHERS.items():
            if name in query:
                raise BadCommandError(f"invitations of {what} are not supported")
        raise BadCommandError(
            "this link contains no invitation; open a short link first, in a browser"
        )
    try:
        return _object(read_base64(query["oob"][0].replace(" ", "+")))
    except BadMessageError as error:
        raise BadCommandError(f"the invitation in this link is malformed: {error}") from error


def read_object(value: Json) -> Json:
    """Return a parsed JSON object, checked by the same rules.

    Raises:
        BadCommandError: it breaks them.
    """
    try:
        return _object(json.dumps(value).encode())
    except (BadMessageError, ValueError) as error:
        raise BadCommandError(f"this invitation is malformed: {error}") from error


def link(endpoint: str, message: Json) -> str:
    """Return the link that holds a message in its parameter `oob`."""
    raw = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()
    return f"{endpoint}?oob={base64.urlsafe_b64encode(raw).decode().rstrip('=')}"


def write_time(at: float) -> str:
    """Return a POSIX time as ISO 8601 in UTC (RFC 0032)."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def read_time(text: str | None) -> float | None:
    """Return the POSIX time of an ISO 8601 text; without a zone it is UTC.

    Raises:
        BadMessageError: it is not such a text.
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise BadMessageError("a time is not written as ISO 8601") from error


def minors_of(protocols: Sequence[str]) -> tuple[int, ...]:
    """Return the minor versions of DID exchange 1 among protocol URIs, in the given order."""
    found: list[int] = []
    for protocol in protocols:
        with suppress(BadMessageError):
            uri = TypeUri.parse(f"{protocol}/request")
            if uri.protocol == "didexchange/1":
                found.append(uri.minor)
    return tuple(found)


def _object(raw: bytes) -> Json:
    if len(raw) > MAX_INVITATION:
        raise BadCommandError("this invitation is too large")
    value = read_json(raw)
    if not isinstance(value, dict):
        raise BadMessageError("not a JSON object")
    return cast("Json", value)
