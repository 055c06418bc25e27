"""A web server in front of a network on paper."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from fake_network import GENESIS, TRUSTEE_SEED, PaperNodes

from keep_network.web.app import make_app
from keep_network.web.server import Server
from keep_network.web.settings import Settings


@dataclass(frozen=True, slots=True)
class Site:
    """A running web server, its nodes and a client."""

    nodes: PaperNodes
    server: Server
    client: TestClient[Any, Any]

    async def page(self, path: str, status: int = 200) -> str:
        """Get a page as a browser does."""
        answer = await self.client.get(path, headers={"Accept": "text/html"})
        assert answer.status == status, await answer.text()
        assert answer.content_type == "text/html"
        return await answer.text()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "genesis").write_text(GENESIS)
    return Settings(
        genesis_file=tmp_path / "genesis",
        genesis_url=None,
        seed=TRUSTEE_SEED,
        register=True,
        cache=tmp_path / "ledger.db",
        retry_s=0.01,
    )


@pytest.fixture
async def site(settings: Settings, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A server that is connected; parametrize it with settings to change."""
    nodes = PaperNodes()

    async def opens(_genesis: str) -> PaperNodes:
        return nodes

    server = Server.make(replace(settings, **getattr(request, "param", {})), opens)
    assert settings.cache is not None
    app = make_app(server, settings.cache.parent / "tails")
    async with TestClient(TestServer(app)) as client:
        told = {"ready": False, "syncing": True}
        while told["syncing"] or not told["ready"]:
            told = await (await client.get("/status")).json()
        yield Site(nodes, server, client)
