"""DIDComm over HTTP, inbound: `POST /d/{tenant}` with one packed message (Aries RFC 0025).

What opens as an envelope is one, whatever its content type: peers send several, or none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from keep_agent.errors import ConflictError, NotFoundError, PeerError, UnavailableError

log = logging.getLogger(__name__)

Receive = Callable[[str, bytes], Awaitable[bytes | None]]
"""Takes (tenant, body) and returns when it is committed: a packed reply, or None."""

REPLY_TYPE = "application/ssi-agent-wire"

_RETRY_AFTER_S = "5"
_FRIENDLY = (
    "This is a DIDComm endpoint: agents POST messages here. There is no page for browsers."
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer, and all peers together, may use.

    Attributes:
        body_bytes: the longest body.
        held_bytes: of all bodies that are being read or handled; beyond it the answer is 503.
        body_s: seconds for a body to arrive.
        idle_s: seconds for the head of a request to arrive, the first or the next.
        linger_s: seconds that the rest of a refused body is read, so that the answer is seen.
        shutdown_s: seconds that requests under way get to finish at the end.
    """

    body_bytes: int = 5 << 20
    held_bytes: int = 64 << 20
    body_s: float = 10.0
    idle_s: float = 60.0
    linger_s: float = 1.0
    shutdown_s: float = 10.0


def inbound_app(receive: Receive, limits: Limits) -> web.Application:
    """Build the public application; a message of a peer never leads to a 500.

    `PeerError` is answered 400 in the same words for every reason, `NotFoundError` 404, all
    else 503: the message is not committed, and the sender may send it again.
    """
    app = web.Application()
    app.router.add_route("*", "/d/{tenant:[A-Za-z0-9_-]{1,64}}", _Inbox(receive, limits).post)
    return app


@asynccontextmanager
async def listening(
    app: web.Application, host: str, port: int, limits: Limits
) -> AsyncGenerator[int, None]:
    """Serve `app` until the block ends, then let requests under way finish; yields the port.

    Raises:
        OSError: the address is not ours or in use.
    """
    quiet = logging.getLogger(f"{__name__}.parser")
    quiet.addFilter(_not_garbage)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=quiet,
        keepalive_timeout=limits.idle_s,
        lingering_time=limits.linger_s,
        auto_decompress=False,
        shutdown_timeout=limits.shutdown_s,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@dataclass(slots=True)
class _Inbox:
    """The endpoint, and how many body bytes it holds at the moment."""

    receive: Receive
    limits: Limits
    held: int = 0

    async def post(self, request: web.Request) -> web.Response:
        body = bytearray()
        try:
            refusal = _refusal(request) or await self._read(request, body)
            return refusal or await self._take(request.match_info["tenant"], bytes(body))
        finally:
            self.held -= len(body)

    async def _read(self, request: web.Request, body: bytearray) -> web.Response | None:
        """Fill `body` as it arrives, never beyond the limits; return a refusal or None."""
        if (request.content_length or 0) > self.limits.body_bytes:
            return _answer(413, self._too_long)
        try:
            async with asyncio.timeout(self.limits.body_s):
                async for part in request.content.iter_any():
                    body += part
                    self.held += len(part)
                    if len(body) > self.limits.body_bytes:
                        return _answer(413, self._too_long)
                    if self.held > self.limits.held_bytes:
                        return _answer(503, "busy, try again")
        except TimeoutError:
            return _answer(408, "message came too slowly")
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
            return _answer(400, "message is incomplete")
        return None

    @property
    def _too_long(self) -> str:
        return f"message too long: at most {self.limits.body_bytes} bytes"

    async def _take(self, tenant: str, body: bytes) -> web.Response:
        try:
            reply = await self.receive(tenant, body)
        except PeerError:
            return _answer(400, "not a message for this agent")
        except NotFoundError:
            return _answer(404, "there is no such endpoint")
        except (UnavailableError, ConflictError):
            return _answer(503, "not now, try again")
        except Exception:  # the last handler: a peer never gets a 500 for what it sent
            log.exception("inbound message failed")
            return _answer(503, "not now, try again")
        if reply is None:
            return web.Response(status=202)
        return web.Response(body=reply, content_type=REPLY_TYPE)


def _refusal(request: web.Request) -> web.Response | None:
    if request.method != "POST":
        return _answer(405, _FRIENDLY, {"Allow": "POST"})
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        return _answer(415, "content must not be compressed")
    return None


def _answer(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    if status == 503:  # noqa: PLR2004
        headers = {"Retry-After": _RETRY_AFTER_S}
    return web.Response(status=status, text=text, headers=headers)


def _not_garbage(record: logging.LogRecord) -> bool:
    """Keep malformed HTTP out of the log: it is the sender's fault and holds the sender's bytes."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)
