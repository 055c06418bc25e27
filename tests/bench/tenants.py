"""What open tenants cost: the memory of an agent whose tenants have each just answered a message.

The agent is a process of its own, as `running` starts it; the tenants' peers are here: they ping every tenant over
HTTP and take its answer. There is no API for tenants yet, so that process makes them when it is told to.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from agent.tenants.house import befriend
from aiohttp import web

from keep_agent.api.app import admin_app
from keep_agent.app import Running, running
from keep_agent.settings import Settings

WIRE = {"Content-Type": "application/ssi-agent-wire"}
AT_ONCE = 8
LONGEST_S = 120.0
SETTLE_S = 3.0
MIB = 1 << 20


async def cost_of_tenants(folder: Path, count: int) -> float:
    """Return by how much an agent grows, in MiB, from one open tenant to so many.

    Each has answered a trust ping: those measured last well within a minute.

    Args:
        folder: an empty one, for the store.
    """
    async with _peers() as peers, _agent(folder, peers.url) as process:
        async with asyncio.timeout(LONGEST_S):
            await peers.ping(await _more(process, 1))
            one = await _rss_mib(process)
            await peers.ping(await _more(process, count - 1))
            return await _rss_mib(process) - one


@dataclass(slots=True)
class _Peers:
    """Where the answers go.

    Attributes:
        asked, answered: how many pings went out, how many answers came.
    """

    url: str = ""
    asked: int = 0
    answered: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        await request.read()
        self.answered += 1
        self.came.set()
        return web.Response(status=202)

    async def ping(self, pings: list[dict[str, str]]) -> None:
        """Ping tenants and wait for all answers."""
        room = asyncio.Semaphore(AT_ONCE)
        async with aiohttp.ClientSession(headers=WIRE) as session:

            async def one(ping: dict[str, str]) -> None:
                body = base64.b64decode(ping["packed"])
                async with room, session.post(ping["url"], data=body) as reply:
                    reply.raise_for_status()

            self.asked += len(pings)
            await asyncio.gather(*map(one, pings))
        while self.answered < self.asked:
            self.came.clear()
            await self.came.wait()


@asynccontextmanager
async def _peers() -> AsyncGenerator[_Peers]:
    peers = _Peers()
    app = web.Application()
    app.router.add_post("/", peers.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        peers.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        yield peers
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _agent(folder: Path, peers: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    path = os.pathsep.join(path for path in sys.path if path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, str(folder), peers),
        stdin=PIPE,
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": path},
        limit=16 * MIB,
    )
    try:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(LONGEST_S):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _more(process: asyncio.subprocess.Process, count: int) -> list[dict[str, str]]:
    """Let the agent make so many tenants more; return a ping for each."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{count}\n".encode())
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("the agent with tenants has ended")
    return list(json.loads(line))


async def _rss_mib(process: asyncio.subprocess.Process) -> float:
    await asyncio.sleep(SETTLE_S)
    return float(psutil.Process(process.pid).memory_info().rss) / MIB


# -- the agent's process -----------------------------------------------------------------------


async def _serve(folder: Path, peers: str) -> None:
    given = {
        "data_dir": str(folder),
        "port": 0,
        "admin_port": 0,
        "allow_private_egress": True,
        "log_level": "WARNING",
    }
    async with running(Settings.model_validate(given), admin_app) as agent:
        while line := await asyncio.to_thread(sys.stdin.readline):
            made = [await _make(agent, peers) for _ in range(int(line))]
            print(json.dumps(made), flush=True)  # noqa: T201 - the answer


async def _make(agent: Running, peers: str) -> dict[str, Any]:
    record = await agent.tenants.make("tenant")
    async with agent.tenants.use(record.id) as tenant:
        friend = await befriend(tenant, peers)
        return {
            "url": tenant.endpoint,
            "packed": base64.b64encode(friend.ping()).decode(),
        }


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2]))
