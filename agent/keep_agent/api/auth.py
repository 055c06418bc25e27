"""Authentication of callers, and answers to errors (problem details, RFC 9457)."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import web
from pydantic import SecretStr

from keep_agent.errors import (
    ConflictError,
    LocalError,
    PeerError,
    SeveralError,
    UnavailableError,
)
from keep_agent.tenants.tenant import Tenant
from keep_ledger.errors import LedgerError, LedgerUnavailableError

log = logging.getLogger(__name__)

OPEN = frozenset({"/health", "/ready"})
"""The only paths that need no key."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TENANT = web.RequestKey("tenant", Tenant)
_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


class ApiKeys:
    """The API keys, each for one tenant; only their digests are kept.

    Args:
        keys: by name of the tenant.
    """

    def __init__(self, keys: Mapping[str, SecretStr]) -> None:
        self._digests = [
            (_digest(key.get_secret_value()), tenant) for tenant, key in keys.items()
        ]

    def tenant(self, headers: Mapping[str, str]) -> str | None:
        """Return the tenant whose key the caller sends, or None; compared in constant time (SEC-E16)."""
        shown = headers.get("X-API-Key")
        if shown is None:
            scheme, _, shown = headers.get("Authorization", "").partition(" ")
            shown = shown if scheme.lower() == "bearer" else ""
        digest, found = _digest(shown), None
        for known, tenant in self._digests:
            if hmac.compare_digest(digest, known):
                found = tenant
        return found


class Authentication:
    """The middleware: it checks every request, and turns every error into an answer.

    Args:
        hosts: what the `Host` header may name, without port; None: any host.
    """

    def __init__(
        self, api_keys: ApiKeys, tenants: Mapping[str, Tenant], hosts: frozenset[str] | None
    ) -> None:
        self._api_keys = api_keys
        self._tenants = tenants
        self._hosts = hosts

    @web.middleware
    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request, or answer what is wrong with it."""
        try:
            self._admit(request)
            return await handler(request)
        except web.HTTPException as error:
            return _of_server(error)
        except (LocalError, PeerError, UnavailableError, ConflictError, LedgerError) as error:
            several = {"exchanges": error.ids} if isinstance(error, SeveralError) else {}
            return problem(_status(error), str(error), **several)
        except Exception:  # an error of our own: the log has its traceback
            route = request.match_info.route.resource
            log.exception("request failed", extra={"path": route and route.canonical})
            return problem(500, "our side failed; the agent's log says why")

    def _admit(self, request: web.Request) -> None:
        if self._hosts is not None and _host(request) not in self._hosts:
            raise _refusal(421, "the Host header must name this machine, as 127.0.0.1 does")
        if request.path in OPEN:
            return
        name = self._api_keys.tenant(request.headers)
        if name is None:
            raise _refusal(
                401, "the admin key is missing or wrong: send it in the header X-API-Key"
            )
        if name not in self._tenants:
            raise UnavailableError("the agent is still starting")
        request[TENANT] = self._tenants[name]


def hosts_of(admin_host: str) -> frozenset[str] | None:
    """Return the hosts that a request may name on this address, against DNS rebinding on loopback."""
    name = f"[{admin_host}]" if ":" in admin_host else admin_host
    loopback = name in _LOOPBACK or name.startswith("127.")
    return _LOOPBACK | {name} if loopback else None


def answer(body: object, status: int = 200) -> web.Response:
    """Answer with JSON in ASCII, so that a peer's text cannot control a terminal."""
    return web.Response(body=json.dumps(body).encode(), status=status, headers=_HEADERS)


def problem(status: int, detail: str, **more: object) -> web.Response:
    """Answer with problem details; `detail` says what to do, `more` are members of their own."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    headers = {**_HEADERS, "Content-Type": "application/problem+json"}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(body=json.dumps(body).encode(), status=status, headers=headers)


def _status(error: Exception) -> int:
    match error:
        case LocalError():
            return error.status
        case PeerError():
            return HTTPStatus.UNPROCESSABLE_ENTITY
        case UnavailableError() | ConflictError() | LedgerUnavailableError():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            return HTTPStatus.BAD_REQUEST


def _of_server(error: web.HTTPException) -> web.Response:
    """Answer an error of the router or the server in our own form."""
    said: Mapping[int, str] = {
        404: "no such path; GET /v1 lists all, GET /v1/protocols lists the commands of protocols",
        413: "the body is too long",
    }
    detail = said.get(error.status) or error.text or error.reason
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        response = problem(error.status, f"this path allows only {allowed}")
        response.headers["Allow"] = allowed
        return response
    return problem(error.status, detail)


def _refusal(status: int, detail: str) -> LocalError:
    error = LocalError(detail)
    error.status = status
    return error


def _host(request: web.Request) -> str:
    host = request.headers.get("Host", "").lower()
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
