"""An Indy network and agents for demos, tests and benchmarks, each a process of its own.

Everything ends with the block that started it, and with this process in any case; nothing outside the
given folders is changed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keep_agent.client import Client
from keep_agent.settings import ADMIN_KEY_FILE
from processes import Child, StartError, ready, running, tail

ROOT = Path(__file__).resolve().parent.parent
NETWORK = "local"
"""Namespace of the network's DIDs: `did:indy:local:...`."""

LOOK_S = 0.5
_OWN_PLACE = ("--port-base", "auto", "--host", "127.0.0.1")
READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Network:
    """A running network.

    Attributes:
        folder: where its data is.
        genesis: the pool's transactions, for clients.
        ports: of its nodes for clients, by node.
    """

    folder: Path
    genesis: Path
    ports: Mapping[str, int]

    async def register(self, did: str, verkey: str, role: str) -> None:
        """Write a DID as trustee; every node has it when this returns.

        Args:
            did: without prefix.
        """
        words = ("--did", did, "--verkey", verkey, "--role", role)
        await _manage("register", self.folder, *words)


@dataclass(frozen=True, slots=True)
class Agent:
    """A running agent.

    Attributes:
        title: what to call it before people.
        data: its folder: store, key files, caches.
        client: its admin API.
        endpoint: where other agents reach it.
        admin: URL of its admin API.
        admin_key: file with the key that opens it.
    """

    title: str
    data: Path
    child: Child
    client: Client
    endpoint: str
    admin: str
    admin_key: Path


async def genesis_of(folder: Path) -> Path:
    """Wait for the genesis file of the network that starts in this folder, and return it.

    It is there some seconds before the network takes a write.
    """
    record = folder / "network.json"
    while not (record.exists() and json.loads(record.read_text())["made"]):  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(LOOK_S / 10)
    return folder / "genesis" / "sandbox" / "pool_transactions_genesis"


@asynccontextmanager
async def network(folder: Path) -> AsyncGenerator[Network]:
    """Start four validator nodes; they have taken a write when the block begins.

    Args:
        folder: of its data, new or of an earlier network; its parent gets the logs.

    Raises:
        StartError: it did not start; why is in the message.
    """
    told: dict[str, Any] = {}
    fresh = not (folder / "network.json").exists()
    words = ["--json", "--die-with", str(os.getpid()), *(_OWN_PLACE if fresh else ())]
    try:
        told = json.loads(await _manage("start", folder, *words))
        ports = {name: client for name, (_, client) in told["ports"].items()}
        yield Network(folder, await genesis_of(folder), ports)
    finally:
        if told:
            await _manage("stop", folder)


@asynccontextmanager
async def agent(
    title: str,
    data: Path,
    *,
    genesis: Path | None,
    ports: Sequence[int],
    settings: Mapping[str, str],
    python: str = sys.executable,
) -> AsyncGenerator[Agent]:
    """Start an agent; it answers when the block begins.

    Args:
        title: what it calls itself in invitations.
        data: its folder, new or of an agent that ended; the log is beside it, `{data}.log`.
        genesis: of its network, which need not run yet; None: it has none.
        ports: one for other agents, one for the admin API.
        settings: more settings, by name in small letters; they win.
        python: of the environment that the agent is installed in.

    Raises:
        StartError: it did not start; the message ends with its log.
    """
    wanted = {
        "label": title,
        "data_dir": str(data),
        "port": str(ports[0]),
        "admin_port": str(ports[1]),
        "allow_private_egress": "true",
        "die_with": str(os.getpid()),
        **settings,
    }
    if genesis is not None:
        ledger = {"plugin": "indy", "namespace": NETWORK, "genesis": str(genesis)}
        wanted = {"ledgers": json.dumps([ledger]), **wanted}
    ours = {f"INDYKEEP_{name.upper()}": value for name, value in wanted.items()}
    users = dict.fromkeys(name for name in os.environ if name.startswith("INDYKEEP_"))
    admin = f"http://127.0.0.1:{ports[1]}"
    log = data.with_name(f"{data.name}.log")
    command = (python, "-m", "keep_agent", "run")
    async with running(title, command, log=log, env={**users, **ours}) as child:
        await ready(child, f"{admin}/ready", within_s=READY_S)
        key = data / ADMIN_KEY_FILE
        async with Client(admin, key.read_text().strip()) as client:
            endpoint = (await client.status())["endpoint"]
            yield Agent(title, data, child, client, endpoint, admin, key)


async def watch_running(net: Network, agents: Sequence[Agent]) -> None:
    """Check again and again that all processes run; raises as `check_running`."""
    while True:
        await check_running(net, agents)
        await asyncio.sleep(LOOK_S)


async def check_running(net: Network, agents: Sequence[Agent]) -> None:
    """Check that all processes run.

    Raises:
        StartError: one has ended; the message ends with its log.
    """
    for one in agents:
        if not one.child.alive:
            code = one.child.process.returncode
            raise StartError(f"{one.title} ended with {code}: {tail(one.child.log)}")
    for name, port in net.ports.items():
        if not await _listens(port):
            log = net.folder / "log" / "nodes-1-2-3-4.out"
            raise StartError(f"{name} of the network ended: {tail(log)}")


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _manage(verb: str, folder: Path, *words: str) -> str:
    """Run a verb of von-network/manage to its end; return the last line that it printed."""
    log = folder.with_name(f"{folder.name}-{verb}.log")
    command = (str(ROOT / "von-network" / "manage"), verb, "--dir", str(folder), *words)
    async with running(f"von-network/manage {verb}", command, log=log) as child:
        code = await child.process.wait()
    if code:
        raise StartError(f"{child.title} ended with {code}: {tail(log)}")
    return log.read_text(encoding="utf-8").splitlines()[-1]
