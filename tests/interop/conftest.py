"""One ACA-Py, one agent of ours and one network, for all tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import pytest
from interop.acapy import Acapy, Wallet, acapy
from interop.scene import (
    AUTOMATIC,
    Definition,
    Friend,
    Held,
    connect,
    define_ours,
    define_theirs,
)
from pool import Network

import peers
from network_and_agents import Agent, agent
from processes import free_ports


@pytest.fixture(scope="session")
def acapy_there() -> None:
    """Skip the test where ACA-Py is not set up."""
    if why := peers.why_not_ready():
        pytest.skip(why)


@pytest.fixture(scope="session")
async def started(
    acapy_there: None, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[dict[Wallet, Acapy]]:
    """An ACA-Py with each kind of wallet; each has an endorser's public DID."""
    folder = tmp_path_factory.mktemp("peers")
    async with AsyncExitStack() as stack:
        ports = stack.enter_context(free_ports(4))
        new = acapy("askar-anoncreds", folder / "new", network, ports[:2])
        old = acapy("askar", folder / "old", network, ports[2:])
        yield {
            "askar-anoncreds": await stack.enter_async_context(new),
            "askar": await stack.enter_async_context(old),
        }


@pytest.fixture(scope="session")
def peer(started: dict[Wallet, Acapy]) -> Acapy:
    """An ACA-Py, where it does not matter which."""
    return started["askar-anoncreds"]


@pytest.fixture(scope="session")
async def keep(
    acapy_there: None, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Agent]:
    """An agent of ours with an endorser's DID, which does all of its steps by itself."""
    data = tmp_path_factory.mktemp("ours") / "keep"
    with free_ports(2) as ports:
        async with agent(
            "Keep", data, genesis=network.genesis, ports=ports, settings={}
        ) as ours:
            for protocol, steps in AUTOMATIC.items():
                auto = {state: {"command": command} for state, command in steps.items()}
                await ours.client.set_policy(protocol, auto)
            yield ours


@pytest.fixture(scope="session")
async def ours(keep: Agent, network: Network) -> Definition:
    """A credential definition of our side, with ids that name no network."""
    return await define_ours(keep, network)


@pytest.fixture(scope="session")
async def friends(keep: Agent, started: dict[Wallet, Acapy]) -> dict[Wallet, Friend]:
    """Both are connected with us, and can issue."""
    return {
        wallet: Friend(peer, await connect(keep, peer), await define_theirs(peer))
        for wallet, peer in started.items()
    }


@pytest.fixture(scope="session")
def held(keep: Agent, friends: dict[Wallet, Friend], ours: Definition) -> Held:
    """Issues what is not held yet."""
    return Held(keep, friends, ours, set())
