"""Agents in this process that answer on real ports."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from keep_agent.api.app import admin_app
from keep_agent.app import Running, running
from keep_agent.client import Client
from keep_agent.settings import Settings

KEY = "an admin key for tests alone"


@dataclass(frozen=True, slots=True)
class Agent:
    """A running agent and a client of its admin API."""

    running: Running
    client: Client

    @property
    def url(self) -> str:
        return self.running.admin_url


def settings(folder: Path, label: str = "Alice", **more: str) -> Settings:
    given = {
        "data_dir": str(folder / label),
        "port": "0",
        "admin_port": "0",
        "admin_key": KEY,
        "allow_private_egress": "1",
        "label": label,
        "ledgers": '[{"plugin": "memory", "namespace": "local"}]',
        "native_threads": "1",
        **more,
    }
    env = {f"INDYKEEP_{name.upper()}": value for name, value in given.items()}
    return Settings.load(env, None)


@asynccontextmanager
async def agent(folder: Path, label: str = "Alice", **more: str) -> AsyncGenerator[Agent, None]:
    async with (
        running(settings(folder, label, **more), admin_app) as found,
        Client(found.admin_url, KEY) as client,
    ):
        yield Agent(found, client)


@pytest.fixture(scope="module")
async def alice(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Agent, None]:
    """One agent for the tests of a file; it knows nobody."""
    async with agent(tmp_path_factory.mktemp("alice")) as found:
        yield found


@dataclass(frozen=True, slots=True)
class Connected:
    """Two agents with a connection: each one's own id of it."""

    alice: Agent
    faber: Agent
    to_faber: str
    to_alice: str


@pytest.fixture(scope="module")
async def connected(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncGenerator[Connected, None]:
    """Alice and Faber, connected step by step over their admin APIs."""
    folder = tmp_path_factory.mktemp("two")
    async with agent(folder, "Alice") as alice, agent(folder, "Faber") as faber:
        invitation = await faber.client.start("out-of-band", "create-invitation")
        theirs = await alice.client.start(
            "out-of-band", "receive-invitation", url=invitation["data"]["url"]
        )
        await alice.client.command("out-of-band", theirs["id"], "accept")
        name = invitation["thid"]
        query = {"invitation": name, "state": "request-received", "wait": 10}
        found = await faber.client.call("GET", "/v1/connections", query=query)
        to_alice = found["results"][0]["id"]
        await faber.client.command("did-exchange", to_alice, "send-response")
        to_faber = await alice.client.connected(name, timeout=10)
        await faber.client.connected(name, timeout=10)
        yield Connected(alice, faber, to_faber["id"], to_alice)
