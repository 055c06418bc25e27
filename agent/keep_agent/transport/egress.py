"""The HTTP client for all outbound requests, deliveries and fetches, with a guard (SEC-S).

Each connection goes to an address that `Guard` has checked: aiohttp connects to what the resolver
below returns and does not resolve again, so a name that changes its address changes nothing. Cookies,
proxies of the environment, compression and silent redirects are off.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, AbstractStreamWriter, ResolveResult
from aiohttp.payload import Payload
from yarl import URL

from keep_agent.errors import RefusedError, UnavailableError
from keep_agent.transport.guard import Guard
from keep_agent.transport.name_threads import NameThreads

log = logging.getLogger(__name__)

MAX_REPLY = 5 << 20
MAX_RETRY_AFTER = 3600.0
"""Seconds; a peer that asks for a longer pause is tried again after this."""

_CONNECT_S = 10.0
_HURRY_S, _HURRY_CONNECT_S = 10.0, 5.0
_RETRIED = frozenset({408, 425, 429, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Delivered:
    """The peer accepted it; `reply` is a packed message in the answer (return-route)."""

    reply: bytes | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The peer refused it (3xx, 4xx): sending it again does not help."""

    status: int


@dataclass(frozen=True, slots=True)
class Retry:
    """It was not handled: send it again, not before `after` seconds if the peer said so."""

    reason: str
    after: float | None


@dataclass(frozen=True, slots=True)
class Unclear:
    """The whole body was sent and no clear answer came: it may have been handled."""

    reason: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """Our own guard refused the URL or the address behind it; nothing was sent."""

    reason: str


Delivery = Delivered | Refused | Retry | Unclear | Blocked


@dataclass(frozen=True, slots=True)
class Redirect:
    """The answer to a fetch is elsewhere; `url` is absolute and not yet checked."""

    url: str


class Egress:
    """One shared client with keep-alive; make it inside the running loop, use `async with`."""

    def __init__(
        self, guard: Guard, *, timeout_s: float, resolver: AbstractResolver | None = None
    ) -> None:
        """Prepare the client.

        Args:
            guard: the rules that each URL and address must pass.
            timeout_s: the limit for one delivery or fetch, from name look-up to last byte; above
                10 s for deliveries, as many agents answer only when they have handled a message.
            resolver: resolves names; None: the operating system does.
        """
        self._guard = guard
        self._timeout_s = timeout_s
        self._patience = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_S)
        self._hurry = aiohttp.ClientTimeout(
            total=min(timeout_s, _HURRY_S), sock_connect=_HURRY_CONNECT_S
        )
        if guard.allow_private:
            log.warning("egress to private networks is allowed")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_GuardedResolver(guard, resolver or NameThreads()),
                limit=0,  # callers limit deliveries; a slow peer must not take the place of another
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._patience,
            auto_decompress=False,
            trust_env=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "indykeep"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; what is under way fails."""
        await self._session.close()

    async def post(self, url: str, body: bytes, content_type: str, *, hurry: bool) -> Delivery:
        """Deliver one packed message; every outcome is a value.

        Args:
            url: the peer's endpoint, unchecked.
            body: the packed message.
            content_type: of an envelope (RFC 0025).
            hurry: wait for 10 s at most, for a peer that has not answered before.
        """
        outgoing = _Outgoing(body, content_type)
        try:
            async with self._session.post(
                self._guard.url(url),
                data=outgoing,
                allow_redirects=False,
                timeout=self._hurry if hurry else self._patience,
            ) as response:
                return await _outcome(response)
        except RefusedError as error:
            return Blocked(str(error))
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            reason = type(error).__name__
            return Unclear(reason) if outgoing.sent else Retry(reason, None)

    async def fetch(
        self, url: str, *, max_bytes: int, content_types: Collection[str], https_only: bool
    ) -> bytes | Redirect:
        """Fetch one URL without following redirects: its content, or a redirect.

        Args:
            url: what to fetch, unchecked.
            max_bytes: the longest accepted body.
            content_types: the accepted media types, without parameters.
            https_only: refuse plain http.

        Raises:
            RefusedError: the URL is refused, or its content is not as asked for.
            UnavailableError: not reached, too slow, or the server failed (429, 5xx).
        """
        target = self._guard.url(url, https_only=https_only)
        try:
            async with self._session.get(
                target,
                allow_redirects=False,
                headers={"Accept": ", ".join(content_types)},
            ) as response:
                if response.status in _REDIRECTS:
                    return _redirect(target, response)
                _expect(response, content_types)
                return await _read(response, max_bytes)
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(f"fetch failed: {type(error).__name__}") from error

    async def get(
        self,
        url: str,
        *,
        max_bytes: int,
        content_types: Collection[str],
        redirects: int,
        https_only: bool,
    ) -> bytes:
        """Fetch a URL through at most `redirects` redirects, each checked like the first.

        The time limit is for all hops together. A redirect never leads from https to http.

        Raises:
            RefusedError: as `fetch`; also one redirect too many.
            UnavailableError: as `fetch`.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in range(redirects + 1):
                    found = await self.fetch(
                        url,
                        max_bytes=max_bytes,
                        content_types=content_types,
                        https_only=https_only,
                    )
                    if isinstance(found, bytes):
                        return found
                    https_only = https_only or url.lower().startswith("https:")
                    url = found.url
        except TimeoutError as error:
            raise UnavailableError("fetch failed: TimeoutError") from error
        raise RefusedError("URL redirects too often")


class _GuardedResolver(AbstractResolver):
    """Resolve names, and refuse the whole answer if one of its addresses is refused."""

    def __init__(self, guard: Guard, inner: AbstractResolver) -> None:
        self._guard = guard
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for entry in found:
            self._guard.address(entry["host"], port)
        return found

    async def close(self) -> None:
        await self._inner.close()


class _Outgoing(Payload):
    """A body that knows whether all of it was handed to the connection."""

    sent = False

    def __init__(self, body: bytes, content_type: str) -> None:
        super().__init__(body, content_type=content_type)
        self._body = body
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        await writer.write(self._body)
        self.sent = True


async def _outcome(response: aiohttp.ClientResponse) -> Delivery:
    status = response.status
    if status < 300:  # noqa: PLR2004 - 1xx never gets here
        return Delivered(await _reply(response))
    if status in _RETRIED:
        return Retry(f"HTTP {status}", _retry_after(response.headers.get("Retry-After")))
    return Unclear(f"HTTP {status}") if status >= 500 else Refused(status)  # noqa: PLR2004


async def _reply(response: aiohttp.ClientResponse) -> bytes | None:
    """Return the envelope in a 2xx answer, whatever its content type, or None.

    The message is delivered, even if this fails.
    """
    try:
        raw = await _read(response, MAX_REPLY)
    except (RefusedError, aiohttp.ClientError, OSError) as error:
        log.warning("reply dropped", extra={"reason": type(error).__name__})
        return None
    return raw if raw.lstrip().startswith(b"{") else None


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RefusedError("content is compressed")
    if (response.content_length or 0) > max_bytes:
        raise RefusedError("content is too long")
    whole = bytearray()
    async for part in response.content.iter_any():
        whole += part
        if len(whole) > max_bytes:
            raise RefusedError("content is too long")
    return bytes(whole)


def _expect(response: aiohttp.ClientResponse, content_types: Collection[str]) -> None:
    if response.status in _RETRIED or response.status >= 500:  # noqa: PLR2004
        raise UnavailableError(f"fetch failed: HTTP {response.status}")
    if response.status != 200:  # noqa: PLR2004
        raise RefusedError(f"nothing to fetch there: HTTP {response.status}")
    if response.content_type not in content_types:
        raise RefusedError("content is of another type")


def _redirect(target: URL, response: aiohttp.ClientResponse) -> Redirect:
    try:
        return Redirect(str(target.join(URL(response.headers["Location"]))))
    except (KeyError, ValueError) as error:
        raise RefusedError("redirect has no usable Location") from error


def _retry_after(text: str | None) -> float | None:
    """Read Retry-After, seconds or a date (RFC 9110), bounded."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_until(text)
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _seconds_until(date: str) -> float:
    try:
        when = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return math.nan
    return (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
