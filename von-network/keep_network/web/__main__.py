"""Run the web server: `python -m keep_network.web`; its settings are environment variables."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from keep_network import website
from keep_network.errors import NetworkError
from keep_network.processes import Identity
from keep_network.web.app import make_app
from keep_network.web.errors import BadRequestError
from keep_network.web.nodes import VdrNodes
from keep_network.web.server import Server
from keep_network.web.settings import LOOPBACK, Settings

_SLOW_CLIENT_S = 60
_LOOK_S = 0.5


def main() -> int:
    """Serve until SIGTERM or SIGINT, or until the process that we belong to is gone."""
    parser = argparse.ArgumentParser(prog="keep_network.web", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="of a local network")
    parser.add_argument("--die-with", type=Identity.parse, default=None, metavar="PID@CREATED")
    args = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # we may be started with signals held back
    try:
        env = website.environment(args.folder, os.environ) if args.folder else os.environ
        settings = replace(Settings.load(env), folder=args.folder)
        logging.basicConfig(
            level=settings.log_level, format="%(asctime)s %(levelname)s %(message)s"
        )
        server = Server.make(settings, VdrNodes.open)
    except (NetworkError, BadRequestError) as error:
        print(f"web: {error}", file=sys.stderr)
        return 2
    try:
        asyncio.run(_serve(server, args.die_with))
    except OSError as error:
        print(f"web: {settings.host}:{settings.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


async def _serve(server: Server, owner: Identity | None) -> None:
    settings = server.settings
    tails = settings.tails or Path("tails")
    runner = web.AppRunner(
        make_app(server, tails),
        access_log=None,
        keepalive_timeout=_SLOW_CLIENT_S,
        shutdown_timeout=1,
    )
    await runner.setup()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        for host in settings.host.split(","):
            await web.TCPSite(runner, host, settings.port).start()
            print(f"web: http://{host}:{settings.port}", file=sys.stderr, flush=True)
            if host not in LOOPBACK:
                _warn(settings, host)
        while owner is None or owner.alive():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S if owner else None):
                    await stop.wait()
            if stop.is_set():
                return
    finally:
        await runner.cleanup()


def _warn(settings: Settings, host: str) -> None:
    writes = " and register DIDs on the ledger" if settings.writes else ""
    print(
        f"web: everybody who reaches {host} can read the ledgers, store tails "
        f"files{writes}; nobody has to log in. The nodes are where the genesis says.",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    # Not SystemExit: a native thread of indy-vdr that calls back while the interpreter shuts
    # down aborts the process.
    os._exit(main())
