"""The routes of a protocol, the same for each: start, command, get and wait, list."""

from __future__ import annotations

import re
import time
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from keep_agent.api.auth import TENANT, answer
from keep_agent.api.requests import Query, Waits, read_body
from keep_agent.core.machine import ABANDONED, Command, Exchange, Protocol
from keep_agent.core.message import Id, Json
from keep_agent.core.model_errors import explained
from keep_agent.core.policy import parse_command
from keep_agent.errors import BadCommandError, NotFoundError, SeveralError
from keep_agent.store.lists import Cursor, listed, of_thread
from keep_agent.tenants.tenant import Tenant

BY_THREAD = "-"
"""In place of an id, if the query names the thread; with several on it, also the connection."""

PAGE = 100
MOST = 1000
_NAMED = ("thid", "connection")
_AFTER = re.compile(r"[0-9]{1,18}\.[0-9a-f]{1,64}")
_THID: TypeAdapter[str] = TypeAdapter(Id)


class Exchanges:
    """The exchanges of one protocol.

    Args:
        family: its name in paths; the name in events (`trust_ping/1`) is accepted as well.
        wait_s: seconds that a command waits for the state it needs, if the caller does not say.
    """

    def __init__(
        self, family: str, protocol: Protocol[Any], wait_s: float, waits: Waits
    ) -> None:
        self._protocol = protocol
        self._paths = (f"/v1/{protocol.name}", f"/v1/{family}")
        self._wait_s = wait_s
        self._waits = waits
        self._next: dict[tuple[str, str], Json] = {}
        self._places = {(r.role, state) for r in protocol.rules for state in (r.at, *r.to)}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            route
            for path in self._paths
            for route in (
                web.post(path, self.start),
                web.get(path, self.find, allow_head=False),
                web.get(path + "/{id}", self.get, allow_head=False),
                web.post(path + "/{id}/{command}", self.command),
            )
        ]

    async def start(self, request: web.Request) -> web.Response:
        """Start an exchange: the body names the command, and the connection if there is one."""
        tenant = request[TENANT]
        Query(request)
        body = await read_body(request)
        name, connection = _word(body, "command"), _word(body, "connection")
        thid = _thread_id(body)
        if name is None:
            starting = [
                n for n, c in self._protocol.commands.items() if self._protocol.starts(c)
            ]
            raise BadCommandError(f"the body must name a command: {' or '.join(starting)}")
        command = self._command(name, body)
        thid = thid or await _thread_of_attached(tenant, body)
        x = await tenant.dispatcher.start(self._protocol.name, command, connection, thid)
        return answer(self._shown(x), 201)

    async def command(self, request: web.Request) -> web.Response:
        """Run a command on an exchange; it may wait for the state that it needs."""
        tenant = request[TENANT]
        query = Query(request, "wait", *_NAMED)
        wait_s = query.seconds("wait", self._wait_s)
        command = self._command(request.match_info["command"], await read_body(request))
        roles = self._protocol.receiving(type(command))
        until = time.monotonic() + wait_s
        name = await self._name(tenant, request, query, roles, wait_s)
        left = max(until - time.monotonic(), 0)
        return answer(self._shown(await tenant.dispatcher.command(name, command, left)))

    async def get(self, request: web.Request) -> web.Response:
        """Return an exchange; with `wait`, when it is in a state of `state` (without `state`: when it changes)."""
        tenant = request[TENANT]
        query = Query(request, "wait", "state", *_NAMED)
        wanted, wait_s = query.words("state"), query.seconds("wait", 0)
        self._check_states(wanted)
        until = time.monotonic() + wait_s
        name = await self._name(tenant, request, query, self._protocol.roles, wait_s)
        while True:
            changed = tenant.dispatcher.changed(name) if wait_s else None
            x = await tenant.profile.exchange(name)
            if x is None:
                raise NotFoundError(f"no exchange {name!r}")
            if changed is None or not self._may_reach(x, wanted):
                return answer(self._shown(x))
            left = until - time.monotonic()
            if not await self._waits.until(changed.wait, left):
                return answer(self._shown(x))
            if not wanted:
                wait_s = 0

    async def find(self, request: web.Request) -> web.Response:
        """Return a page of exchanges, newest first; `next` is the `after` of the page that follows.

        With `wait`, as soon as there is one.
        """
        tenant = request[TENANT]
        query = Query(request, "role", "state", "limit", "after", "wait", *_NAMED)
        roles, states = query.words("role"), query.words("state")
        self._check_roles(roles)
        self._check_states(states)
        limit, after = query.count("limit", PAGE, MOST), _cursor(query.text("after"))
        thid, connection = query.text("thid"), query.text("connection")
        tag, values = self._list(connection, roles, states)

        def fits(x: Exchange[Any]) -> bool:
            right = x.protocol == self._protocol.name and (not states or x.state in states)
            return right and (not roles or x.role in roles)

        async def look() -> list[Exchange[Any]] | None:
            profile = tenant.profile
            if thid:
                page = await of_thread(profile, thid, connection, limit, after=after, keep=fits)
            else:
                page = await listed(profile, tag, values, limit, after=after, keep=fits)
            return page or None

        found = await self._waits.found(tenant.profile, look, query.seconds("wait", 0)) or []
        more = f"{found[-1].number}.{found[-1].id}" if found and len(found) == limit else None
        return answer({"results": [self._shown(x) for x in found], "next": more})

    def _list(
        self, connection: str | None, roles: frozenset[str], states: frozenset[str]
    ) -> tuple[str, list[str]]:
        """Return the tag to page by, and its values: those that are likely to fit the fewest exchanges."""
        name = self._protocol.name
        if connection:
            return "~peer", [connection]
        if not roles and not states:
            return "~protocol", [name]
        wanted = sorted(
            (role, state)
            for role, state in self._places
            if (not roles or role in roles) and (not states or state in states)
        )
        return "~state", [f"{name} {role} {state}" for role, state in wanted]

    # -- which exchange --------------------------------------------------------------------------

    async def _name(
        self,
        tenant: Tenant,
        request: web.Request,
        query: Query,
        roles: tuple[str, ...],
        wait_s: float,
    ) -> str:
        """Return the id of the exchange that the path or the query names."""
        name = request.match_info["id"]
        if name == BY_THREAD:
            return await self._by_thread(tenant, query, roles, wait_s)
        x = await tenant.profile.exchange(name)
        if x is None or x.protocol != self._protocol.name:
            raise NotFoundError(f"no exchange {name!r} of {self._protocol.name}")
        return name

    async def _by_thread(
        self, tenant: Tenant, query: Query, roles: tuple[str, ...], wait_s: float
    ) -> str:
        """Return the id of the only exchange on a thread; peers choose thread ids, so there may be several.

        Args:
            roles: of ours that are meant.

        Raises:
            SeveralError: several exchanges are on it.
            NotFoundError: there is none, even after `wait_s` seconds.
        """
        thid, connection = query.text("thid"), query.text("connection")
        if not thid:
            raise BadCommandError("name the exchange with ?thid= (and &connection=)")

        async def look() -> list[str] | None:
            return [
                x.id
                for x in await tenant.profile.exchanges("thid", thid)
                if x.protocol == self._protocol.name
                and x.role in roles
                and connection in {None, x.connection, x.peer}
            ] or None

        found = await self._waits.found(tenant.profile, look, wait_s)
        if found is None:
            with_whom = f" with {connection!r}" if connection else ""
            raise NotFoundError(
                f"no exchange of {self._protocol.name} on this thread{with_whom} where we are "
                + " or ".join(roles)
            )
        if len(found) > 1:
            words = (
                "several exchanges are on this thread: name one by its id, or the connection"
            )
            raise SeveralError(words, found)
        return found[0]

    # -- commands and answers --------------------------------------------------------------------

    def _command(self, name: str, args: Json) -> Command:
        return parse_command(self._protocol, name, args)

    def _check_roles(self, wanted: frozenset[str]) -> None:
        if unknown := wanted.difference(self._protocol.roles):
            known = ", ".join(sorted(self._protocol.roles))
            raise BadCommandError(f"no role {min(unknown)!r}; there are: {known}")

    def _check_states(self, wanted: frozenset[str]) -> None:
        states = {state for _, state in self._places}
        if unknown := wanted - states:
            known = ", ".join(sorted(states))
            raise BadCommandError(f"no state {min(unknown)!r}; there are: {known}")

    def _may_reach(self, x: Exchange[Any], wanted: frozenset[str]) -> bool:
        """Tell whether there is anything to wait for; no state means: any change."""
        if x.state in wanted or x.state == ABANDONED:
            return False
        ahead = self._protocol.ahead(x.role, x.state)
        return any(not wanted or r.to & wanted for r in ahead)

    def _shown(self, x: Exchange[Any]) -> Json:
        following = self._next.get((x.role, x.state))
        if following is None:
            following = self._next[x.role, x.state] = {
                "allowed": self._protocol.allowed(x.role, x.state),
                "awaits": self._protocol.awaited(x.role, x.state),
            }
        return {
            "id": x.id,
            "protocol": x.protocol,
            "role": x.role,
            "state": x.state,
            "connection": x.connection,
            "thid": x.thid,
            "pthid": x.pthid,
            "data": x.data.shown(),
            "error": x.error,
            "created": x.created,
            "updated": x.updated,
            **following,
        }


def _word(body: Json, name: str) -> str | None:
    """Remove a text from a body; what remains are the arguments of the command."""
    value = body.pop(name, None)
    if value is not None and not isinstance(value, str):
        raise BadCommandError(f"{name} must be a text")
    return value


def _cursor(after: str | None) -> Cursor | None:
    """Return where the page before ended."""
    if after is None:
        return None
    if not _AFTER.fullmatch(after):
        raise BadCommandError("after must be the `next` of a page")
    number, _, name = after.partition(".")
    return Cursor(int(number), name)


def _thread_id(body: Json) -> str | None:
    thid = _word(body, "thid")
    try:
        return None if thid is None else _THID.validate_python(thid)
    except ValidationError as error:
        raise BadCommandError(f"thid {explained(error)}") from None


async def _thread_of_attached(tenant: Tenant, args: Json) -> str | None:
    """Return the thread of the invitation that the attached exchanges are named by."""
    attach = args.get("attach")
    if not isinstance(attach, list) or not attach or not isinstance(attach[0], str):
        return None
    x = await tenant.profile.exchange(attach[0])
    return x.peer if x else None
