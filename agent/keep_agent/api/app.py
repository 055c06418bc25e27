"""The admin API as one application; the routes of protocols come from their tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from keep_agent.api.about import About
from keep_agent.api.auth import ApiKeys, Authentication, hosts_of
from keep_agent.api.events import Events
from keep_agent.api.exchanges import Exchanges
from keep_agent.api.ledgers import LedgerReads
from keep_agent.api.public_dids import PublicDidRoutes
from keep_agent.api.requests import Waits
from keep_agent.api.resources import Resources
from keep_agent.core.machine import Protocol
from keep_agent.core.message import MAX_MESSAGE
from keep_agent.errors import BadCommandError
from keep_agent.settings import Keys, Settings
from keep_agent.tenants.tenant import MAIN, Tenant


def admin_app(
    settings: Settings,
    keys: Keys,
    routes: Mapping[str, Protocol[Any]],
    tenants: Mapping[str, Tenant],
) -> web.Application:
    """Build the admin API.

    Args:
        routes: protocols by their name in paths.
        tenants: by name; may be filled later: until then the API answers that the agent is starting.

    Raises:
        BadCommandError: a protocol has the name of another route.
    """
    waits = Waits()
    api_keys = ApiKeys({MAIN: keys.admin})
    app = web.Application(
        middlewares=[Authentication(api_keys, tenants, hosts_of(settings.admin_host)).handle],
        client_max_size=MAX_MESSAGE,
    )
    app.on_shutdown.append(waits.end)
    own = [
        *About(routes, tenants).routes(),
        *Events(waits).routes(),
        *Resources(waits).routes(),
        *LedgerReads().routes(),
        *PublicDidRoutes().routes(),
    ]
    taken = {route.path.split("/")[2] for route in own if route.path.startswith("/v1/")}
    names = {*routes, *(protocol.name.partition("/")[0] for protocol in routes.values())}
    if clash := taken & names:
        raise BadCommandError(
            f"a protocol cannot be called {min(clash)}: the API has that path"
        )
    app.add_routes(own)
    for family, protocol in routes.items():
        exchanges = Exchanges(family, protocol, settings.command_wait_s, waits)
        app.add_routes(exchanges.routes())
    return app
