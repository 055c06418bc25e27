"""Whose page a change comes from: the Host and Origin headers of a request (SEC-H03).

A page of somebody else's site can make its visitor's browser send a request here, and may give
its own name the address of this machine. It cannot choose the Host and Origin that the browser
sends with it: they name that site.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

from aiohttp import web

from keep_network.web.errors import ForeignError

_HOST = re.compile(
    r"(?:\[(?P<ip6>[0-9a-f:.]{2,45})\]|(?P<name>[a-z0-9._-]{1,253}))(?::\d{1,5})?"
)
_READS = frozenset({"GET", "HEAD"})


def check(request: web.Request, names: Collection[str]) -> None:
    """Refuse a change that another site's page may have sent in a visitor's name.

    Args:
        names: what this server is called, beside addresses and `localhost`; lower case.

    Raises:
        ForeignError: the Host is a name that is not ours, or the Origin is not this server.
    """
    if request.method in _READS:
        return
    hosts, origins = (request.headers.getall(name, []) for name in ("Host", "Origin"))
    host = hosts[0].lower() if len(hosts) == 1 else ""
    if not _is_ours(host, names):
        raise ForeignError(
            "Refused (SEC-H03): a change is taken where the Host is an IP address, localhost or a "
            "name of this server, which WEB_SERVER_NAMES lists."
        )
    ours = {f"http://{host}", f"https://{host}"}
    if any(one.lower() not in ours for one in origins) or _crosses(request):
        raise ForeignError("Refused (SEC-H03): this comes from another site's page.")


def _is_ours(host: str, names: Collection[str]) -> bool:
    told = _HOST.fullmatch(host)
    if told is None:
        return False
    name = told["ip6"] or told["name"]
    return name == "localhost" or name in names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _crosses(request: web.Request) -> bool:
    return request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}
