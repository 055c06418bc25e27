"""Composition root: builds everything, owns every task, shuts down in reverse."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web

from keep_agent.core.catalog import load_catalog
from keep_agent.core.loop_monitor import LoopMonitor
from keep_agent.core.machine import Protocol
from keep_agent.errors import BadCommandError, KeepError, UnavailableError
from keep_agent.settings import Keys, Settings, open_keys
from keep_agent.store.store import Store
from keep_agent.tenants.registry import Tenants
from keep_agent.tenants.tenant import MAIN, Surroundings, Tenant
from keep_agent.transport.egress import Egress
from keep_agent.transport.guard import Guard
from keep_agent.transport.http import Limits, inbound_app, listening
from keep_ledger.errors import LedgerError
from keep_ledger.plugins import LedgerConfig, Ledgers
from keep_zkp.native import Native
from keep_zkp.voices import Voices

log = logging.getLogger(__name__)

NATIVE_ROOM = 512
NATIVE_DEADLINE_S = 60.0
PROCESSES = "processes"
"""Folder in `data_dir` in which the processes of this host show that they are alive."""
GENESIS_MAX = 1 << 20
GENESIS_TYPES = ("text/plain", "application/json", "application/octet-stream")
PARENT_CHECK_S = 1.0
LIMITS = Limits()
ADMIN_LIMITS = Limits(shutdown_s=2.0)
"""A shutdown ends the waiting of callers, so their requests end quickly."""


@dataclass(frozen=True, slots=True)
class Running:
    """A running agent.

    Attributes:
        port, admin_port: as bound, also if the settings said 0.
        endpoint: where peers send messages to the tenant `main`.
    """

    tenants: Tenants
    port: int
    admin_port: int
    endpoint: str
    admin_url: str


@asynccontextmanager
async def running(settings: Settings, admin: AdminApp) -> AsyncGenerator[Running, None]:
    """Run an agent until the block ends; an error that cannot be handled ends the block.

    Args:
        admin: builds the admin API; passed in, so that this module does not import it.

    Raises:
        UnavailableError: the store is in use or does not open, or a port is in use.
        BadCommandError: the settings contradict what is on disk.
        LedgerError: a configured ledger has no plugin, or no genesis transactions.
    """
    try:
        async with _agent(settings, admin) as agent:
            yield agent
    except ExceptionGroup as group:  # of the task group; a single cause is raised as itself
        cause = _single_cause(group)
        if isinstance(cause, Expected):
            raise cause from group
        raise


Expected = (KeepError, LedgerError)


def _single_cause(group: ExceptionGroup[Exception]) -> Exception:
    """Return the only error in a group, or in a group of it; the group if there are several."""
    cause, *more = group.exceptions
    if more:
        return group
    if isinstance(cause, ExceptionGroup):
        return _single_cause(cast("ExceptionGroup[Exception]", cause))
    return cause


@asynccontextmanager
async def _agent(settings: Settings, admin: AdminApp) -> AsyncGenerator[Running, None]:
    voices = _voices(settings)
    keys = open_keys(settings)
    for path in keys.made:
        log.info("created a key file; keep a copy of it", extra={"path": str(path)})
    catalog = load_catalog()
    async with AsyncExitStack() as stack:
        store = await Store.open(
            settings.store,
            keys.store.get_secret_value(),
            catalog.models,
            settings.data_dir / PROCESSES,
        )
        stack.push_async_callback(store.close)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        tenants = await Tenants.of(store)
        writer = tasks.create_task(store.run(), name="store writer")
        stack.push_async_callback(_end, [writer])
        stack.push_async_callback(tenants.close)
        native = Native(
            threads=settings.native_threads, room=NATIVE_ROOM, deadline_s=NATIVE_DEADLINE_S
        )
        stack.callback(native.close)
        api = admin(settings, keys, catalog.routes, tenants.open)
        servers = await stack.enter_async_context(AsyncExitStack())
        admin_port = await servers.enter_async_context(
            _bound(api, settings.admin_host, settings.admin_port, ADMIN_LIMITS)
        )
        guard = Guard(
            allow_private=settings.allow_private_egress, own_ports=frozenset({admin_port})
        )
        egress = await stack.enter_async_context(
            Egress(guard, timeout_s=settings.send_timeout_s)
        )
        ledgers = Ledgers.open(_ledger_configs(settings), _genesis_fetch(egress))
        stack.push_async_callback(ledgers.close)
        work: list[asyncio.Task[None]] = []
        stack.push_async_callback(_end, work)
        stack.push_async_callback(
            servers.aclose
        )  # a shutdown begins here: no more requests are accepted
        port = await servers.enter_async_context(
            _bound(_inbound(tenants), settings.host, settings.port, LIMITS)
        )
        around = Surroundings(
            protocols=catalog.protocols,
            ports=catalog.ports,
            ledgers=ledgers,
            native=native,
            voices=voices,
            carrier=egress,
            endpoint=settings.public_endpoint(port),
            label=settings.label,
            seen_days=settings.seen_days,
            loop_monitor=LoopMonitor() if settings.watch_loop else None,
        )
        work.append(tasks.create_task(tenants.run(around), name="tenants"))
        await tenants.ready()
        async with tenants.use(MAIN) as main:
            endpoint = main.endpoint
        if around.loop_monitor is not None:
            work.append(tasks.create_task(around.loop_monitor.watch(), name="loop monitor"))
        if settings.die_with is not None:
            work.append(tasks.create_task(_die_with(settings.die_with), name="die with"))
        yield Running(
            tenants=tenants,
            port=port,
            admin_port=admin_port,
            endpoint=endpoint,
            admin_url=_url(settings.admin_host, admin_port),
        )


AdminApp = Callable[
    [Settings, Keys, Mapping[str, Protocol[Any]], Mapping[str, Tenant]], web.Application
]
"""Builds the admin API from settings, keys, protocols by route name, and tenants by name."""


_WHY_NOT = {
    errno.EADDRINUSE: "the port is in use; choose another one by the setting port or admin_port",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "ports below 1024 need special rights",
}


@asynccontextmanager
async def _bound(
    app: web.Application, host: str, port: int, limits: Limits
) -> AsyncGenerator[int, None]:
    try:
        async with listening(app, host, port, limits) as got:
            yield got
    except OSError as error:
        # Python 3.13 gives no errno if no address could be bound
        why = _WHY_NOT.get(error.errno or errno.EADDRNOTAVAIL)
        if why is None:
            raise
        raise UnavailableError(f"cannot listen on {host}:{port}: {why}") from error


def _inbound(tenants: Tenants) -> web.Application:
    async def receive(name: str, packed: bytes) -> bytes | None:
        await tenants.receive(name, packed)
        return None

    return inbound_app(receive, LIMITS)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _die_with(pid: int) -> None:
    """End this process when the other one has ended."""
    while _alive(pid):  # noqa: ASYNC110 - another process cannot set an event here
        await asyncio.sleep(PARENT_CHECK_S)
    log.warning("the process to end with has ended", extra={"pid": pid})
    os.kill(os.getpid(), signal.SIGTERM)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _voices(settings: Settings) -> Voices:
    """Return who has to accept a proof.

    Raises:
        BadCommandError: the mode needs gmpy2, which is not installed.
    """
    voices = Voices(settings.verify)
    if voices.mode != settings.verify:
        missing = "gmpy2 is not installed (pip install 'indykeep[fast]')"
        if settings.verify == "sampled":
            raise BadCommandError(f"verify is 'sampled', and {missing}")
        log.info("the AnonCreds library alone verifies: %s", missing)
    return voices


def _ledger_configs(settings: Settings) -> list[LedgerConfig]:
    return [
        LedgerConfig(
            plugin=ledger.plugin,
            namespace=ledger.namespace,
            genesis=ledger.genesis or None,
            cache=settings.data_dir / "ledgers" / ledger.namespace.replace(":", "_"),
        )
        for ledger in settings.ledgers
    ]


def _genesis_fetch(egress: Egress) -> Callable[[str], Awaitable[bytes]]:
    async def fetch(url: str) -> bytes:
        try:
            return await egress.get(
                url,
                max_bytes=GENESIS_MAX,
                content_types=GENESIS_TYPES,
                redirects=1,
                https_only=False,
            )
        except KeepError as error:
            raise OSError(str(error)) from error

    return fetch
