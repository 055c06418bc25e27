"""Liveness and status of the agent, and descriptions of its protocols."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from inspect import getdoc
from typing import Any

from aiohttp import web

from keep_agent.api.auth import TENANT, answer, problem
from keep_agent.api.ledgers import status_json
from keep_agent.api.requests import read_nothing
from keep_agent.core.catalog import find_protocol
from keep_agent.core.machine import NOT_FOR_CALLERS, START, Command, Protocol
from keep_agent.core.message import Json
from keep_agent.errors import NotFoundError
from keep_agent.tenants.tenant import Tenant

PACKAGES = ("indykeep", "aiohttp", "aries-askar", "anoncreds", "indy-vdr")


class About:
    """The routes about the agent itself.

    Args:
        routes: protocols by their name in paths.
    """

    def __init__(
        self, routes: Mapping[str, Protocol[Any]], tenants: Mapping[str, Tenant]
    ) -> None:
        self._routes = routes
        self._tenants = tenants

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/health", self.health, allow_head=False),
            web.get("/ready", self.ready, allow_head=False),
            web.get("/v1", self.index, allow_head=False),
            web.get("/v1/status", self.status, allow_head=False),
            web.get("/v1/verification", self.verification, allow_head=False),
            web.post("/v1/verification/trust", self.trust),
            web.get("/v1/protocols", self.protocols, allow_head=False),
            web.get("/v1/protocols/{family:.+}", self.protocol, allow_head=False),
        ]

    async def health(self, _request: web.Request) -> web.Response:
        """Tell that the process answers."""
        return answer({"alive": True})

    async def ready(self, _request: web.Request) -> web.Response:
        """Tell whether commands are accepted."""
        if not self._tenants:
            return problem(503, "the agent is still starting")
        return answer({"ready": True})

    async def index(self, request: web.Request) -> web.Response:
        """List every path and what it does; protocols have the same paths, which are listed once."""
        found: dict[str, str] = {}
        for route in request.app.router.routes():
            path = route.resource.canonical if route.resource else ""
            if any(path.startswith(f"/v1/{p.name}") for p in self._routes.values()):
                continue  # the same path, by the name in events
            head, at, rest = path.partition("/v1/")
            family, slash, rest = rest.partition("/")
            shown_as = "{protocol}" if family in self._routes else family
            about = (getdoc(route.handler) or "").partition("\n")[0]
            found[f"{route.method} {head}{at}{shown_as}{slash}{rest}"] = about
        return answer(found)

    async def status(self, request: web.Request) -> web.Response:
        """Return the status of the agent."""
        tenant = request[TENANT]
        monitor = tenant.around.loop_monitor
        return answer(
            {
                "tenant": tenant.name,
                "label": tenant.around.label,
                "endpoint": tenant.endpoint,
                "protocols": {name: p.uri for name, p in self._routes.items()},
                "ledgers": [status_json(each) for each in tenant.around.ledgers.status()],
                "outbox": tenant.outbox.waiting,
                "verification": tenant.verification.status(),
                "dropped": tenant.dropped,
                "written": asdict(tenant.profile.counts),
                "event": tenant.profile.last_event,
                "loop_stall_ms": monitor.worst_ms if monitor else None,
                "versions": _versions(),
            }
        )

    async def verification(self, request: web.Request) -> web.Response:
        """Tell who has to accept a proof, and whether our equations and the library ever differed."""
        return answer(request[TENANT].verification.status())

    async def trust(self, request: web.Request) -> web.Response:
        """Return to the configured way to verify, after it was found out why the two differed."""
        await read_nothing(request)
        return answer(await request[TENANT].verification.trust())

    async def protocols(self, _request: web.Request) -> web.Response:
        """Describe every protocol: commands, messages, tables, pictures."""
        return answer({name: described(name, p) for name, p in self._routes.items()})

    async def protocol(self, request: web.Request) -> web.Response:
        """Describe one protocol."""
        family = request.match_info["family"]
        protocol = find_protocol(self._routes.values(), family)
        if protocol is None:
            raise NotFoundError(f"no protocol {family!r}; there are: {', '.join(self._routes)}")
        route = next(name for name, p in self._routes.items() if p is protocol)
        return answer(described(route, protocol))


def described(family: str, protocol: Protocol[Any]) -> Json:
    """Describe a protocol to callers, from its table alone."""
    commands = {
        name: {
            "about": getdoc(command),
            "starts": protocol.starts(command),
            "path": f"/v1/{family}" + ("" if protocol.starts(command) else f"/{{id}}/{name}"),
            "arguments": command.model_json_schema(),
        }
        for name, command in protocol.commands.items()
        if command not in NOT_FOR_CALLERS
    }
    return {
        "name": protocol.name,
        "uri": protocol.uri,
        "roles": protocol.roles,
        "start": START,
        "commands": commands,
        "messages": sorted(protocol.messages),
        "table": [
            {"role": r.role, "at": r.at, "on": _event(r.on), "to": sorted(r.to)}
            for r in protocol.rules
        ],
        "mermaid": {role: protocol.mermaid(role) for role in protocol.roles},
    }


def _event(on: type[Any]) -> str:
    return on.title() if issubclass(on, Command) else on.TYPE.rpartition("/")[2]


@cache
def _versions() -> Mapping[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
