"""Agents that live many lives on one store: start, die at a drawn point, start again."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import wallets
from balancer import balancer
from campaigns.mortal import Fuse, Life

from keep_agent.client import Client
from keep_agent.errors import UnavailableError
from keep_agent.store.location import Location, Sqlite, parse

ADMIN_KEY = "campaign-admin-key"
READY_S = 60.0
TESTS = Path(__file__).parents[1]

Settings = Mapping[str, str]
"""Settings of an agent by the name of their variable."""


class DiedOddlyError(Exception):
    """A life ended by something else than SIGKILL: its log says why."""


class Mortal:
    """One process of an agent through all its lives; `client` speaks to it alone.

    Attributes:
        genesis: of a real network; None: a ledger in memory that has the published test keys. What
            was read of a real one is forgotten between two lives, so that each has to ask it.
    """

    def __init__(
        self, title: str, folder: Path, ports: Sequence[int], client: Client, settings: Settings
    ) -> None:
        self.title = title
        self.folder = folder
        self.client = client
        self.log = folder.with_suffix(".log")
        self.genesis: Path | None = None
        self._ports = ports
        self._settings = settings
        self._pid = 0
        self._process: asyncio.subprocess.Process | None = None

    async def begin(self, fuse: Fuse | None) -> None:
        """Begin a life."""
        shutil.rmtree(self.folder / "ledgers", ignore_errors=True)
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(Life(self._env(), fuse).line().encode())
        self._pid = int((await self._told())["pid"])

    async def answers(self) -> None:
        """Return when this life answers."""
        async with asyncio.timeout(READY_S):
            while True:
                with suppress(UnavailableError):
                    await self.client.call("GET", "/ready")
                    return
                await asyncio.sleep(0.02)

    async def end(self, within_s: float) -> bool:
        """Wait for the end of this life, then bring it about; return whether it came by itself.

        Raises:
            DiedOddlyError: it was not SIGKILL that ended it.
        """
        told = asyncio.ensure_future(self._told())
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(told), within_s)
        by_itself = told.done()
        if not by_itself:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        status = int((await told)["ended"])
        if status != -signal.SIGKILL:
            raise DiedOddlyError(f"{self.title} ended with {status}, see {self.log}")
        return by_itself

    async def _told(self) -> dict[str, int]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise DiedOddlyError(f"{self.title} gave up, see {self.log}")
        return dict(json.loads(line))

    def _env(self) -> dict[str, str]:
        ledger = {"plugin": "memory", "namespace": wallets.NAMESPACE}
        if self.genesis is not None:
            ledger |= {"plugin": "indy", "genesis": str(self.genesis)}
        return {
            "INDYKEEP_DATA_DIR": str(self.folder),
            "INDYKEEP_LABEL": self.title,
            "INDYKEEP_PORT": str(self._ports[0]),
            "INDYKEEP_ADMIN_PORT": str(self._ports[1]),
            "INDYKEEP_ADMIN_KEY": ADMIN_KEY,
            "INDYKEEP_STORE_KEY": wallets.STORE_KEY,
            "INDYKEEP_ALLOW_PRIVATE_EGRESS": "true",
            "INDYKEEP_DIE_WITH": str(os.getpid()),
            "INDYKEEP_LEDGERS": json.dumps([ledger]),
            **self._settings,
        }

    @asynccontextmanager
    async def forked(self) -> AsyncGenerator[None]:
        """Run the process that its lives are forked from."""
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(TESTS / "campaigns" / "mortal.py"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                env={**os.environ, "PYTHONPATH": str(TESTS)},
            )
        try:
            yield
        finally:
            if self._pid:
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)
            self._process.kill()
            await self._process.wait()


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent, of one process or of several that share a store; `client` speaks to whichever lives."""

    title: str
    store: Location
    client: Client
    processes: tuple[Mortal, ...]


@asynccontextmanager
async def agent(title: str, folder: Path, ports: Sequence[int]) -> AsyncGenerator[Agent]:
    """Prepare an agent of one process on SQLite, whose lives can begin."""
    async with _mortal(title, folder / title, ports, {}) as one:
        yield Agent(title, Sqlite(one.folder / "agent.db"), one.client, (one,))


@asynccontextmanager
async def shared_agent(
    title: str, folder: Path, ports: Sequence[int], url: str
) -> AsyncGenerator[Agent]:
    """Prepare an agent of two processes on PostgreSQL, behind one address.

    Args:
        ports: six: of the address for peers and for callers, and two of each process.
        url: of an empty database.
    """
    settings = {
        "INDYKEEP_STORE_URI": url,
        "INDYKEEP_ENDPOINT": f"http://127.0.0.1:{ports[0]}",
    }
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(balancer(ports[0], (ports[2], ports[4])))
        await stack.enter_async_context(balancer(ports[1], (ports[3], ports[5])))
        url_of_both = f"http://127.0.0.1:{ports[1]}"
        client = await stack.enter_async_context(Client(url_of_both, ADMIN_KEY))
        processes = [
            await stack.enter_async_context(
                _mortal(
                    f"{title} {n}", folder / f"{title}-{n}", ports[2 * n : 2 * n + 2], settings
                )
            )
            for n in (1, 2)
        ]
        yield Agent(title, parse(url), client, tuple(processes))


@asynccontextmanager
async def _mortal(
    title: str, folder: Path, ports: Sequence[int], settings: Settings
) -> AsyncGenerator[Mortal]:
    folder.mkdir()  # noqa: ASYNC240 - once, before anything runs
    async with Client(f"http://127.0.0.1:{ports[1]}", ADMIN_KEY) as client:
        one = Mortal(title, folder, ports, client, settings)
        async with one.forked():
            yield one
