"""The HTTP application: routes, and what is true of every answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from keep_network.web import origins
from keep_network.web.api import Api, answer
from keep_network.web.errors import UnavailableError, WebError
from keep_network.web.pages import Pages
from keep_network.web.server import Server
from keep_network.web.tails import Tails

log = logging.getLogger(__name__)

BODY_BYTES = 1 << 20
_STATIC = Path(__file__).parent / "static"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# What the operator puts into the pages may be inline, load from anywhere and report anywhere.
_OPEN_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' https: http:; style-src 'self'; "
    "img-src 'self' https: http:; connect-src 'self' https: http:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

_OURS = 500
_AGAIN_S = 2

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(server: Server, tails: Path) -> web.Application:
    """Return the application; it follows the network while it runs."""
    pages, api = Pages(server), Api(server)
    app = web.Application(
        middlewares=[_headers(server), _errors(pages), _ours_alone(server)],
        client_max_size=BODY_BYTES,
    )
    app.cleanup_ctx.append(lambda _app: _following(server))
    app.add_routes(
        [
            web.get("/status", api.status),
            web.get("/status/text", api.status_text),
            web.get("/genesis", api.genesis),
            web.post("/register", _by_sender(pages, api)),
            web.get("/ledger/{name}", api.ledger),
            web.get("/ledger/{name}/text", api.ledger_text),
            web.get("/ledger/{name}/{ident}", api.transaction),
        ]
    )
    app.add_routes([*pages.routes(), web.static("/static", _STATIC)])
    files = Tails(tails, server.connection)
    app.add_routes(
        [
            web.put("/hash/{name}", files.put_hash),
            web.get("/hash/{name}", files.get_hash),
            web.put("/{name:.+}", files.put_registry),
            web.get("/{name:.+}", files.get_registry),
        ]
    )
    return app


def _by_sender(pages: Pages, api: Api) -> Handler:
    """Tell a browser's form from a script: `curl -d` calls its JSON a form, too."""

    async def handle(request: web.Request) -> web.StreamResponse:
        form = request.content_type == "application/x-www-form-urlencoded"
        return await (pages.registered if form and pages.wanted(request) else api.register)(
            request
        )

    return handle


async def _following(server: Server) -> AsyncIterator[None]:
    task = asyncio.create_task(_follow_for_ever(server), name="follower")
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _follow_for_ever(server: Server) -> None:
    """Begin anew when something unforeseen ends it: a full disk, for one."""
    while True:
        try:
            await server.follower.run()
        except Exception:
            log.exception("following the network stopped; starting again")
        finally:
            server.connection.close()
        await asyncio.sleep(_AGAIN_S)


def _headers(server: Server) -> Any:
    """Set the headers of every answer."""
    analytics = bool(server.settings.analytics)
    headers = _HEADERS | ({"Content-Security-Policy": _OPEN_POLICY} if analytics else {})

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if not response.prepared:
            response.headers.update(headers)
        return response

    return middleware


def _ours_alone(server: Server) -> Any:
    """Take changes from our own pages and from programs, not from another site's page."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        origins.check(request, server.settings.names)
        return await handler(request)

    return middleware


def _errors(pages: Pages) -> Any:
    """Turn what handlers raise into answers: a page for people, text or JSON for programs."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPRedirection:
            raise
        except Exception as error:
            status, why = _blame(error)
            if status == _OURS:
                log.exception("%s %s failed", request.method, request.path)
        if pages.wanted(request):
            return pages.sorry(status, why)
        if status == UnavailableError.status:
            return answer({"detail": why}, status)
        return web.Response(text=why, status=status)

    return middleware


def _blame(error: Exception) -> tuple[int, str]:
    match error:
        case WebError():
            return error.status, str(error)
        case web.HTTPRequestEntityTooLarge():
            return error.status, f"The body is larger than {BODY_BYTES >> 20} MB."
        case web.HTTPException():
            return error.status, error.reason
        case _:
            return _OURS, "An error happened on this server; see its log."
