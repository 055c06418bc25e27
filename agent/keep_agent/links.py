"""Invitations as links and as JSON: read within limits, and written (Aries RFC 0434)."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import cast
from urllib.parse import parse_qs, urlsplit

from keep_agent.errors import BadCommandError, BadMessageError
from keep_agent.message import Json, read_base64, read_json

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
        raise BadCommandError("this is no link") from error
    if "oob" not in query:
        for name, what in OTHERS.items():
            if name in query:
                raise BadCommandError(f"invitations of {what} are not supported")
        raise BadCommandError(
            "this link holds no invitation; a short link is to be opened first"
        )
    try:
        return _object(read_base64(query["oob"][0].replace(" ", "+")))
    except BadMessageError as error:
        raise BadCommandError(f"the invitation in this link is malformed: {error}") from error


def read_object(value: Json) -> Json:
    """Return a JSON object that came parsed, held to the same rules.

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


def digest(message: Json) -> str:
    """Return what tells two invitations apart, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(message, sort_keys=True).encode()).hexdigest()


def _object(raw: bytes) -> Json:
    if len(raw) > MAX_INVITATION:
        raise BadCommandError("this invitation is too large")
    value = read_json(raw)
    if not isinstance(value, dict):
        raise BadMessageError("no JSON object")
    return cast("Json", value)
