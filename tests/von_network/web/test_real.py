"""The web server of a real network, from outside."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from indy_vdr.ledger import build_custom_request
from pool import Network, manage

from keep_network.native_pool import NativePool
from processes import free_ports

pytestmark = pytest.mark.pool


@pytest.fixture(scope="session")
async def web(network: Network) -> AsyncIterator[aiohttp.ClientSession]:
    with free_ports(1) as (port,):
        words = (f"--web-port={port}", "--die-with", str(os.getpid()), "--json")
        started = await asyncio.to_thread(manage, "start", "--dir", network.folder, *words)
    assert started.returncode == 0, started.stderr
    told = json.loads(started.stdout)
    assert told["web"] == f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession(told["web"]) as session:
        yield session


async def get(web: aiohttp.ClientSession, path: str) -> Any:
    async with web.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def register(web: aiohttp.ClientSession, **body: str) -> dict[str, str]:
    async with web.post("/register", json=body) as answer:
        assert answer.status == 200, await answer.text()
        found: dict[str, str] = await answer.json()
        return found


def process(network: Network) -> psutil.Process:
    """Return the web server's process."""
    told = json.loads((network.folder / "processes.json").read_text())
    [found] = [one["who"]["pid"] for one in told if one["module"] == "web"]
    return psutil.Process(found)


async def test_what_is_registered_is_on_every_node_and_on_the_pages(
    network: Network, web: aiohttp.ClientSession
) -> None:
    genesis = await (await web.get("/genesis")).text()
    assert genesis == network.genesis.read_text()
    with closing(NativePool(genesis)) as pool:
        await pool.refresh()
        for _ in range(3):
            made = await register(web, seed=secrets.token_hex(16))
            read = {"type": "105", "dest": made["did"]}
            body = {
                "identifier": made["did"],
                "reqId": 1,
                "protocolVersion": 2,
                "operation": read,
            }
            answers = await pool.submit_action(build_custom_request(json.dumps(body)))
            assert len(answers) == 4
            for answer in answers.values():
                assert made["verkey"] in answer
            found = await get(web, f"/ledger/domain?query={made['did']}")
            assert found["total"] == 1


async def test_a_real_transaction_is_believed_for_three_reasons(
    web: aiohttp.ClientSession,
) -> None:
    made = await register(web, seed=secrets.token_hex(16))
    found = await get(web, f"/ledger/domain?query={made['did']}")
    number = found["results"][0]["txnMetadata"]["seqNo"]
    async with web.get(f"/browse/domain/{number}", headers={"Accept": "text/html"}) as answer:
        html = await answer.text()
    assert "The signature is valid for the key that the ledger had" in html
    assert "in the hash tree give the root of the ledger" in html
    assert (
        "signed this root together, 3 are needed. The signature is valid for their keys."
        in html
    )
    assert "not valid" not in html


async def test_nodes_tell_about_themselves(web: aiohttp.ClientSession) -> None:
    told = await get(web, "/status?validators=1")
    names = [one["Node_info"]["Name"] for one in told["validators"]]
    assert names == ["Node1", "Node2", "Node3", "Node4"]
    async with web.get("/", headers={"Accept": "text/html"}) as answer:
        html = await answer.text()
    assert "All 4 nodes answer" in html
    assert "primary" in html
    async with web.get("/rules", headers={"Accept": "text/html"}) as answer:
        assert "may register an endorser." in await answer.text()


async def test_what_others_write_is_seen_too(
    network: Network, web: aiohttp.ClientSession
) -> None:
    key = secrets.token_bytes(32)
    base58 = importlib.import_module("base58")
    did = base58.b58encode(key[:16]).decode()
    await network.register(did, base58.b58encode(key).decode())
    while not (await get(web, f"/ledger/domain?query={did}"))["total"]:
        pass


@pytest.mark.usefixtures("web")
def test_the_trustees_seed_is_in_no_command_line_and_no_log(network: Network) -> None:
    ours = process(network)
    assert "Trustee1" not in " ".join(ours.cmdline())
    assert "LEDGER_SEED" not in ours.environ()
    logs = [path.read_bytes() for path in Path(network.folder, "log").rglob("*.out")]
    assert logs
    assert not [one for one in logs if b"Trustee1" in one]


async def test_a_dead_web_server_is_started_again(
    network: Network, web: aiohttp.ClientSession
) -> None:
    before = process(network).pid
    os.kill(before, signal.SIGKILL)
    while True:
        try:
            told = await get(web, "/status")
        except aiohttp.ClientError:
            await asyncio.sleep(0.05)
            continue
        if told["ready"]:
            break
    assert process(network).pid != before
    await register(web, seed=secrets.token_hex(16))


def test_a_taken_web_port_is_named_with_its_holder(
    network: Network, web: aiohttp.ClientSession, tmp_path: Path
) -> None:
    told = json.loads(manage("status", "--json", "--dir", network.folder).stdout)
    port = told["web"].rpartition(":")[2]
    words = ("--port-base", "auto", "--web-port", port)
    refused = manage("start", "--dir", tmp_path / "new", *words)
    assert refused.returncode == 1
    assert f"port {port} is taken by process {process(network).pid}" in refused.stderr
