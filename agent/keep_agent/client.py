"""A client of the admin API: commands in, exchanges and events out."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, cast
from urllib.parse import quote

import aiohttp

from keep_agent.errors import (
    BadCommandError,
    KeepError,
    LocalError,
    NotFoundError,
    NotNowError,
    UnavailableError,
)

if TYPE_CHECKING:  # it would load pydantic, which a client does not need
    from keep_agent.core.message import Json

POLL_S = 60.0
SLACK_S = 30.0


class Exchange(TypedDict):
    """An exchange, as the API shows it.

    Attributes:
        allowed: commands that may be given now.
        awaits: messages that the peer may send now.
        created, updated: POSIX seconds.
    """

    id: str
    protocol: str
    role: str
    state: str
    connection: str | None
    thid: str
    pthid: str | None
    data: Json
    error: str | None
    created: float
    updated: float
    allowed: list[str]
    awaits: list[str]


Exchanges = list[Exchange]
Rows = list["Json"]


class ServerFailedError(KeepError):
    """The agent answered that it failed, or its answer cannot be read."""


class Client:
    """One agent's admin API; use it as an async context manager.

    Every method raises the error that the server's answer names, with its text:
    BadCommandError (400), NotFoundError (404), NotNowError (409), another LocalError (4xx),
    UnavailableError (503, or no answer), ServerFailedError.

    Args:
        url: as `http://127.0.0.1:8021`.
        key: the admin key.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"X-API-Key": key, "Accept": "application/json"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(headers=self._headers, connector=connector)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    # -- exchanges -------------------------------------------------------------------------------

    async def start(
        self,
        family: str,
        command: str,
        /,
        connection: str | None = None,
        *,
        thid: str | None = None,
        **args: Any,
    ) -> Exchange:
        """Start an exchange of a protocol with a command.

        Args:
            connection: id of the peer's; None where the command names its peer, or where the
                message is to be attached to an invitation.
            thid: names the thread; the same one again returns the exchange that is there.
        """
        named = {"command": command, "connection": connection, "thid": thid}
        body = {**args, **{name: value for name, value in named.items() if value is not None}}
        return cast("Exchange", await self.call("POST", f"/v1/{family}", body))

    async def command(
        self,
        family: str,
        name: str,
        command: str,
        /,
        *,
        wait: float | None = None,
        thid: str | None = None,
        connection: str | None = None,
        **args: Any,
    ) -> Exchange:
        """Run a command on an exchange.

        Args:
            name: id of the exchange; `-` where `thid` names it, and `connection` where there are several.
            wait: seconds to wait for the state that the command needs; None: the server's default.
        """
        query = {"wait": wait, "thid": thid, "connection": connection}
        path = f"/v1/{family}/{_part(name)}/{command}"
        return cast("Exchange", await self.call("POST", path, args, query=query, wait=wait))

    async def get(self, family: str, name: str) -> Exchange:
        """Return an exchange."""
        return cast("Exchange", await self.call("GET", f"/v1/{family}/{_part(name)}"))

    async def wait(
        self,
        family: str,
        name: str,
        *states: str,
        timeout: float,  # noqa: ASYNC109 - the server waits
        thid: str | None = None,
        connection: str | None = None,
    ) -> Exchange:
        """Return an exchange once it is in one of these states.

        Args:
            name: id of the exchange; `-` where `thid` names it, and `connection` where there are several.
            timeout: seconds.

        Raises:
            NotNowError: it can no longer reach any of them, for example because it was abandoned.
            TimeoutError: it has not reached one after `timeout` seconds.
        """
        until = time.monotonic() + timeout
        path = f"/v1/{family}/{_part(name)}"
        while True:
            wait = max(min(until - time.monotonic(), POLL_S), 0)
            query = {"state": ",".join(states), "wait": wait}
            query |= {"thid": thid, "connection": connection}
            began = time.monotonic()
            found = await self.call("GET", path, query=query, wait=wait)
            x = cast("Exchange", found)
            if x["state"] in states:
                return x
            if time.monotonic() >= until:
                raise TimeoutError(f"{name} is in {x['state']}, not in {', '.join(states)}")
            if (
                time.monotonic() - began < wait - SLACK_S / 100
            ):  # it answered early: no wanted state can be reached
                why = f": {x['error']}" if x["error"] else ""
                raise NotNowError(f"the exchange went to {x['state']}{why}")

    async def list(self, family: str, **query: str | float) -> Exchanges:
        """Return one page of exchanges, newest first.

        Args:
            query: `role`, `state`, `connection`, `thid`, `limit`; `wait`: seconds to wait for the first one.
        """
        wait = float(query.get("wait", 0))
        found = await self.call("GET", f"/v1/{family}", query=query, wait=wait)
        return cast("Exchanges", found["results"])

    async def every(self, family: str, **query: str | float) -> AsyncGenerator[Exchange, None]:
        """Yield all exchanges, newest first, page by page; by the same as `list`."""
        after: str | None = None
        while True:
            page = await self.call("GET", f"/v1/{family}", query={**query, "after": after})
            for exchange in page["results"]:
                yield exchange
            after = page["next"]
            if after is None:
                return

    async def events(self, after: int = 0) -> AsyncGenerator[Json, None]:
        """Yield every event after this number, without end: the existing ones, then new ones."""
        while True:
            query = {"after": after, "wait": POLL_S}
            page = await self.call("GET", "/v1/events", query=query, wait=POLL_S)
            for event in page["results"]:
                yield event
            after = page["next"]

    # -- everything else -------------------------------------------------------------------------

    async def status(self) -> Json:
        """Return the status of the agent."""
        return await self.call("GET", "/v1/status")

    async def connections(self, **query: str | float) -> Rows:
        """Return connections, newest first; by `state`, `invitation`, `limit`, `offset`."""
        return await self._results("/v1/connections", **query)

    async def connected(self, invitation: str, timeout: float) -> Json:  # noqa: ASYNC109
        """Return the newest completed connection that came from an invitation, once there is one.

        Raises:
            TimeoutError: there is none after `timeout` seconds.
        """
        until = time.monotonic() + timeout
        query = {"invitation": invitation, "state": "completed"}
        while True:
            wait = max(min(until - time.monotonic(), POLL_S), 0)
            found = await self.call(
                "GET", "/v1/connections", query={**query, "wait": wait}, wait=wait
            )
            if found["results"]:
                return cast("Json", found["results"][0])
            if time.monotonic() >= until:
                raise TimeoutError(f"no connection came from {invitation}")

    async def credentials(self, **query: str | float) -> Rows:
        """Return held credentials, newest first."""
        return await self._results("/v1/credentials", **query)

    async def set_policy(
        self, protocol: str, auto: Mapping[str, Json], connection: str | None = None
    ) -> Json:
        """Set which commands of a protocol run automatically: by state, a command with its arguments."""
        body = {"protocol": protocol, "auto": dict(auto), "connection": connection}
        return await self.call("PUT", "/v1/policies", body)

    async def create_did(self, seed: str | None = None, namespace: str | None = None) -> Json:
        """Create a DID."""
        return await self.call("POST", "/v1/dids", {"seed": seed, "namespace": namespace})

    async def make_public(
        self, did: str, namespace: str | None = None, *, implicit_requests: bool | None = None
    ) -> Json:
        """Make a DID of ours the public one of its ledger; return what the ledger says of it.

        Args:
            implicit_requests: take requests that answer no invitation; None: as it was, at first not.
        """
        body = {"did": did, "namespace": namespace, "implicit_requests": implicit_requests}
        return await self.call("POST", "/v1/public-dids", body)

    async def withdraw_public_did(self, namespace: str) -> None:
        """Withdraw the public DID of a ledger; its connections stay."""
        await self.call("DELETE", f"/v1/public-dids/{_part(namespace)}")

    async def public_dids(self) -> Rows:
        """Return the public DIDs, with the role and the endpoint that their ledgers show."""
        return await self._results("/v1/public-dids")

    async def write(self, what: str, **args: Any) -> Json:
        """Start a write to a ledger and return its job.

        Args:
            what: `nyms`, `endpoints`, `schemas` or `cred-defs`.
        """
        return await self.call("POST", f"/v1/{what}", args)

    async def job_done(self, name: str, timeout: float = 120.0) -> Json:  # noqa: ASYNC109
        """Return a job once it is done.

        Raises:
            NotNowError: it failed, or somebody has to act first; the text says why.
            TimeoutError: it is not done after `timeout` seconds.
        """
        until = time.monotonic() + timeout
        while True:
            wait = max(min(until - time.monotonic(), POLL_S), 0)
            query = {"wait": wait}
            job = await self.call("GET", f"/v1/jobs/{_part(name)}", query=query, wait=wait)
            if job["state"] == "done":
                return job
            if job["state"] not in {"started", "making-keys", "signed"}:
                raise NotNowError(f"{job['kind']} is {job['state']}: {job['error']}")
            if time.monotonic() >= until:
                raise TimeoutError(f"{job['kind']} is still {job['state']}")

    async def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        wait: float | None = None,
    ) -> Json:
        """Make any call of the API and return its JSON.

        Args:
            query: parameters; those that are None are left out.
            wait: how many seconds the server may wait before it answers.
        """
        if self._session is None:
            raise BadCommandError("use the client as an async context manager")
        params = {key: str(value) for key, value in (query or {}).items() if value is not None}
        limit = aiohttp.ClientTimeout(total=(wait or 0) + SLACK_S)
        try:
            async with self._session.request(
                method, self._url + path, params=params, json=body, timeout=limit
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            words = str(error) or type(error).__name__
            raise UnavailableError(
                f"the agent at {self._url} does not answer: {words}"
            ) from error
        if not response.ok:
            raise _error(response.status, raw)
        return _read(raw)

    async def _results(self, path: str, **query: str | float) -> Rows:
        found = await self.call("GET", path, query=query)
        return cast("Rows", found["results"])


def _part(name: str) -> str:
    return quote(name, safe="")


def _read(raw: bytes) -> Json:
    try:
        found = json.loads(raw)
    except ValueError as error:
        raise ServerFailedError("the answer is not JSON") from error
    if not isinstance(found, dict):
        raise ServerFailedError("the answer is not a JSON object")
    return cast("Json", found)


def _error(status: int, raw: bytes) -> KeepError:
    try:
        words = str(_read(raw)["detail"])
    except (ServerFailedError, KeyError):
        words = f"the answer was {status}"
    kinds: Mapping[int, type[KeepError]] = {
        400: BadCommandError,
        404: NotFoundError,
        409: NotNowError,
        503: UnavailableError,
    }
    if status in kinds:
        return kinds[status](words)
    if status >= 500:  # noqa: PLR2004
        return ServerFailedError(words)
    error = LocalError(words)
    error.status = status
    return error
