"""Links and versions in invitations, read within limits (Aries RFC 0434)."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import cast
from urllib.parse import parse_qs, urlsplit

from keep_agent.core.message import (
    Json,
    TypeUri,
    read_base64,
    read_json,
    without_blanks,
)
from keep_agent.errors import BadCommandError, BadMessageError

MAX_INVITATION = 128 * 2**10
OTHERS = {"c_i": "invitations of connections/1.0", "d_m": "DIDComm messages in links"}
ASK = "ask the peer for an invitation of out-of-band/1"
MOST_SHOWN = 500
_AROUND = " \t\r\n<>\"'"
"""What stands around a link that was copied from a text."""


def read_link(url: str) -> Json:
    """Return the JSON object in the parameter `oob` of a link, or of an older name; nothing is fetched.

    Raises:
        BadCommandError: there is none, or it is malformed or too large.
    """
    try:
        query = parse_qs(urlsplit(url.strip(_AROUND)).query)
    except ValueError as error:
        raise BadCommandError("this is not a link") from error
    for name in ("oob", *OTHERS):
        if name not in query:
            continue
        try:
            found = _within(query[name][0])
        except BadMessageError as error:
            raise BadCommandError(
                f"the invitation in this link is malformed: {error}"
            ) from error
        if name == "oob" or "/out-of-band/" in str(found.get("@type")):
            return found
        raise BadCommandError(f"{OTHERS[name]} are not supported: {ASK}")
    if url.lstrip().startswith("{"):
        raise BadCommandError("this is no link but an object: give it as `invitation`")
    raise BadCommandError(_no_invitation(query))


def _no_invitation(query: dict[str, list[str]]) -> str:
    """Say what to do with a link that contains none; a deep link of vc-authn names another one."""
    shown = ""
    with suppress(BadMessageError, UnicodeDecodeError):
        shown = read_base64(query.get("_url", [""])[0]).decode()
    if urlsplit(shown).scheme not in {"http", "https"} or not shown.isprintable():
        return "this link contains no invitation; open a short link first, in a browser"
    return f"this link contains no invitation; open {shown[:MOST_SHOWN]!r} first, in a browser"


def _within(text: str) -> Json:
    """Return the object in base64 that may be broken into lines; a blank can also be a lost plus."""
    try:
        return _object(read_base64(without_blanks(text.replace(" ", "+"))))
    except BadMessageError:
        if " " not in text:
            raise
        return _object(read_base64(without_blanks(text)))


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
