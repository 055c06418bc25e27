"""The event log, as a long poll and as a stream of server-sent events."""

from __future__ import annotations

import asyncio
import json
from functools import partial

from aiohttp import web

from keep_agent.api.auth import TENANT, answer
from keep_agent.api.requests import Query, Waits
from keep_agent.errors import BadCommandError, UnavailableError
from keep_agent.tenants.tenant import Tenant

PAGE = 500
MOST = 1000
MOST_READERS = 32
KEEP_ALIVE_S = 15.0
SLOW_S = 30.0
LATEST = "latest"


class Events:
    """The events of a tenant, in the order of their commits; numbers grow, with gaps."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._readers = 0

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/v1/events", self.get, allow_head=False)]

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Return events after a number; `next` is the number to ask with next."""
        tenant = request[TENANT]
        query = Query(request, "after", "limit", "wait")
        if "text/event-stream" in request.headers.get("Accept", ""):
            last = request.headers.get("Last-Event-ID") or query.text("after")
            return await self._stream(request, tenant, _number(tenant, last or LATEST))
        after = _number(tenant, query.text("after") or "0")
        limit, wait_s = query.count("limit", PAGE, MOST), query.seconds("wait", 0)
        newest = tenant.profile.last_event  # after a restart more than the number of an event
        found = await tenant.profile.events(after, limit)
        if not found and await self._next(tenant, max(after, newest), wait_s):
            found = await tenant.profile.events(after, limit)
        return answer({"results": found, "next": found[-1]["n"] if found else after})

    async def _stream(
        self, request: web.Request, tenant: Tenant, after: int
    ) -> web.StreamResponse:
        if self._readers >= MOST_READERS:
            raise UnavailableError("too many readers of events; close one, or use ?wait=")
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        response = web.StreamResponse(headers=headers)
        self._readers += 1
        try:
            await response.prepare(request)
            await self._send_all(response, tenant, after)
        except (ConnectionError, TimeoutError):
            pass  # the reader is gone or too slow; it can come back with Last-Event-ID
        finally:
            self._readers -= 1
        return response

    async def _next(self, tenant: Tenant, after: int, wait_s: float) -> bool:
        """Wait for an event with a number above `after`; False: none came in time."""
        return await self._waits.until(partial(tenant.profile.wait_event, after), wait_s)

    async def _send_all(self, response: web.StreamResponse, tenant: Tenant, after: int) -> None:
        await _write(response, ": here come events\n\n")
        while not self._waits.ended:
            newest = tenant.profile.last_event
            found = await tenant.profile.events(after, PAGE)
            if found:
                after = found[-1]["n"]
                await _write(response, "".join(map(_line, found)))
            elif not await self._next(tenant, max(after, newest), KEEP_ALIVE_S):
                await _write(response, ": still here\n\n")


async def _write(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(SLOW_S):
        await response.write(text.encode())


def _line(event: dict[str, object]) -> str:
    return f"id: {event['n']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"


def _number(tenant: Tenant, text: str) -> int:
    if text == LATEST:
        return tenant.profile.last_event
    if not (text.isascii() and text.isdigit() and len(text) < 16):  # noqa: PLR2004 - fits any log
        raise BadCommandError("after must be the number of an event, or: latest")
    return int(text)
