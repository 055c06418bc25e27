"""A network that is down, or a genesis that is none: the server runs on and tries again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from fake_network import GENESIS, PaperNodes

from keep_network.web.app import make_app
from keep_network.web.connection import GENESIS_BYTES
from keep_network.web.errors import UnavailableError
from keep_network.web.nodes import VdrNodes
from keep_network.web.server import Server
from keep_network.web.settings import Settings

HTML = "<!doctype html><title>Sign in to the Wi-Fi</title>"


class Remote:
    """A site that serves a genesis, as good or bad as a test wants."""

    def __init__(self) -> None:
        self.body, self.status, self.asked = b"", 200, 0
        app = web.Application()
        app.router.add_get("/genesis", self.answer)
        self.site = TestServer(app)

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(body=self.body, status=self.status)


@pytest.fixture
async def remote() -> AsyncIterator[Remote]:
    found = Remote()
    async with found.site:
        yield found


@pytest.fixture
def opened() -> list[str]:
    """What nodes were opened with; the first time they do not answer."""
    return []


@pytest.fixture
async def client(
    remote: Remote, settings: Settings, opened: list[str]
) -> AsyncIterator[TestClient[Any, Any]]:
    async def opens(genesis: str) -> PaperNodes:
        opened.append(genesis)
        if len(opened) == 1:
            raise UnavailableError("the nodes do not answer")
        return PaperNodes()

    url = str(remote.site.make_url("/genesis"))
    made = Server.make(replace(settings, genesis_file=None, genesis_url=url), opens)
    async with TestClient(TestServer(make_app(made, Path("nowhere")))) as found:
        yield found


async def status(client: TestClient[Any, Any], until: str | None) -> dict[str, Any]:
    """Wait until the status says why there is no connection (None: there is one)."""
    told: dict[str, Any] = {"init_error": "", "ready": False}
    while told["init_error"] != until or (until is None and not told["ready"]):
        await asyncio.sleep(0.01)
        told = await (await client.get("/status")).json()
    return told


@pytest.mark.parametrize(
    ("body", "code", "why"),
    [
        (b"", 200, "this is not a genesis: it is empty"),
        (
            HTML.encode(),
            200,
            "this is not a genesis: line 1 is not a NODE transaction: it is not JSON",
        ),
        (
            GENESIS.encode() + b"\n{}",
            200,
            "this is not a genesis: line 5 is not a NODE transaction: txn is missing",
        ),
        (b"", 404, "GENESIS_URL answers 404"),
        (
            b"\n" * (GENESIS_BYTES + 1),
            200,
            "GENESIS_URL gives more than 1 MB: this is not a genesis",
        ),
    ],
)
async def test_a_bad_genesis_is_said_and_a_mended_one_is_taken(
    client: TestClient[Any, Any],
    remote: Remote,
    opened: list[str],
    body: bytes,
    code: int,
    why: str,
) -> None:
    remote.body, remote.status = body, code
    told = await status(client, why)
    assert told["ready"] is False
    for path in ("/genesis", "/ledger/domain", "/ledger/domain/1", "/status/text"):
        answer = await client.get(path)
        assert (answer.status, (await answer.json())["detail"]) in {
            (503, "Not ready"),
            (503, why),
        }
    page = await (await client.get("/", headers={"Accept": "text/html"})).text()
    assert f"{why[1:]}." in page
    assert "keeps trying by itself" in page
    assert opened == []

    remote.body, remote.status = GENESIS.encode(), 200
    assert (await status(client, None))["ready"] is True
    assert opened == [GENESIS, GENESIS]  # the first time the nodes did not answer
    assert await (await client.get("/genesis")).text() == GENESIS


async def test_a_server_that_is_not_there_is_said(settings: Settings) -> None:
    async def opens(_genesis: str) -> PaperNodes:
        return PaperNodes()

    url = "http://127.0.0.1:1/genesis"
    server = Server.make(replace(settings, genesis_file=None, genesis_url=url), opens)
    task = asyncio.create_task(server.connection.connect())
    while server.connection.error is None:  # noqa: ASYNC110 - it has nothing to wait on
        await asyncio.sleep(0.01)
    task.cancel()
    assert server.connection.error.startswith("GENESIS_URL cannot be read: Cannot connect")


async def test_nodes_that_are_not_there_are_said() -> None:
    away = re.sub(r'"client_port": \d+', '"client_port": 1', GENESIS)
    with pytest.raises(UnavailableError, match="the nodes do not answer"):
        await VdrNodes.open(away)
