"""The scene of the bench: an office that issues and verifies, and a holder, both real processes.

Where credentials are measured, they read the objects of the ledger from a real Indy network and keep them on
disk. Then the network is stopped: its nodes would take a few percent of a core, and nothing that is measured
asks them.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bench.load import Party, party
from bench.raw import VALUES, question
from two_agents import automate, connect

from keep_agent.client import Client
from network_and_agents import NETWORK, Agent, Network, agent, network
from processes import free_ports

SETTINGS: Mapping[str, str] = {"watch_loop": "true", "log_level": "WARNING"}
SAMPLED = "sampled"
"""The mode of verification in which credentials and presentations are measured, unless another one is asked for."""
LONGEST_S = 180.0
"""Seconds for the keys of a credential definition: two random primes of 1024 bits."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Office and holder, connected, automatic.

    Attributes:
        folder: of everything.
        genesis: of the network, which is gone by now; None: there was none.
        cred_def_id: of what the office issues; empty where there was no network.
        idle_rss_mb: memory of an agent that has just started.
    """

    office: Party
    holder: Party
    folder: Path
    genesis: Path | None
    cred_def_id: str
    idle_rss_mb: float


@asynccontextmanager
async def scene(
    folder: Path, running: Network | None, verify: str = SAMPLED
) -> AsyncGenerator[Scene]:
    """Set the scene, with what both need from a ledger.

    Args:
        running: a network to use; None: one of our own.
        verify: who has to accept a proof, as the agents' setting has it.
    """
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as pool:
            net = running
            if net is None:
                net = await pool.enter_async_context(network(folder / "network"))
            on = await stack.enter_async_context(pair(folder, net.genesis, verify=verify))
            cred_def_id = await publish(net, on.office.client)
            await _warm_up(on.office, on.holder, cred_def_id)
        yield replace(on, cred_def_id=cred_def_id)


@asynccontextmanager
async def pair(
    folder: Path,
    genesis: Path | None,
    python: str = sys.executable,
    verify: str | None = None,
) -> AsyncGenerator[Scene]:
    """Start office and holder, and connect them.

    Args:
        python: of the environment whose agents they are.
        verify: who has to accept a proof; None: what is the default there, or nothing in an older one.
    """
    async with AsyncExitStack() as stack:
        ports = stack.enter_context(free_ports(4))
        one = await stack.enter_async_context(
            start("office", folder, genesis, ports[:2], python, verify)
        )
        two = await stack.enter_async_context(
            start("holder", folder, genesis, ports[2:], python, verify)
        )
        office = await stack.enter_async_context(follow(one))
        holder = await stack.enter_async_context(follow(two))
        idle = max(office.rss_mb(), holder.rss_mb())
        await automate(one.client)
        await automate(two.client)
        office.peer, holder.peer = await connect(one.client, two.client)
        yield Scene(office, holder, folder, genesis, "", idle)


@asynccontextmanager
async def start(
    title: str,
    folder: Path,
    genesis: Path | None,
    ports: Sequence[int],
    python: str = sys.executable,
    verify: str | None = None,
) -> AsyncGenerator[Agent]:
    """Start an agent, new or on what it left; see `pair`."""
    async with agent(
        title,
        folder / title,
        genesis=genesis,
        ports=ports,
        settings=SETTINGS if verify is None else {**SETTINGS, "verify": verify},
        python=python,
    ) as started:
        yield started


@asynccontextmanager
async def follow(one: Agent) -> AsyncGenerator[Party]:
    """See an agent as a party of the bench."""
    key = one.admin_key.read_text().strip()
    async with party(one.title, one.admin, key, one.client, one.child.pid) as seen:
        yield seen


class Registers(Protocol):
    """A network where a DID can be registered."""

    async def register(self, did: str, verkey: str, role: str) -> None:
        """Write a DID as trustee."""
        ...


async def publish(net: Registers, office: Client) -> str:
    """Let an office write what it needs to issue; return the id of its credential definition."""
    did = await office.create_did(namespace=NETWORK)
    await net.register(did["did"].rpartition(":")[2], did["verkey"], "ENDORSER")
    job = await office.write("schemas", name="licence", version="1.0", attributes=list(VALUES))
    schema = await office.job_done(job["id"])
    job = await office.write("cred-defs", schema_id=schema["result"])
    return str((await office.job_done(job["id"], LONGEST_S))["result"])


async def _warm_up(office: Party, holder: Party, cred_def_id: str) -> None:
    """Let both read from the ledger what the bench needs of it."""
    x = await office.client.start(
        "issue-credential", "send-offer", office.peer, cred_def_id=cred_def_id, values=VALUES
    )
    await holder.ends.at(x["thid"], "done")
    x = await office.client.start(
        "present-proof", "send-request", office.peer, request=question(cred_def_id)
    )
    await office.ends.at(x["thid"], "done")
