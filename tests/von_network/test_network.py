"""A real network: it starts, remembers, loses nodes, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import base58
import dying_nodes
import pytest
from indy_client import Client, until
from indy_vdr import VdrError
from indy_vdr.ledger import build_get_nym_request
from pool import MANAGE, Network, manage

from keep_network.native_pool import NativePool

pytestmark = pytest.mark.pool
LONG = bool(os.environ.get("INDYKEEP_CAMPAIGN"))
WRITES = 500 if LONG else 60
long = pytest.mark.skipif(not LONG, reason="part of ./manage campaign network")
NODES = {"Node1", "Node2", "Node3", "Node4"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network that these tests may stop and kill."""
    network = Network(tmp_path_factory.mktemp("own") / "own")
    yield network
    assert manage("down", "--dir", network.folder).returncode == 0


def runs(pid: int) -> bool:
    """A zombie does not run: it waits for whoever is process 1 here."""
    told = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return told != "" and not told.startswith("Z")


def new_did() -> tuple[str, str]:
    key = secrets.token_bytes(32)
    return base58.b58encode(key[:16]).decode(), base58.b58encode(key).decode()


def ports(network: Network) -> list[int]:
    told = json.loads(manage("status", "--json", "--dir", network.folder).stdout)
    return [port for pair in told["ports"].values() for port in pair]


async def read(genesis: Path, did: str) -> Any:
    """Read a NYM as any client does: indy-vdr itself refuses an answer without a good proof."""
    with closing(NativePool(await asyncio.to_thread(genesis.read_text))) as pool:
        await pool.refresh()
        return await pool.submit_request(build_get_nym_request(None, did))


async def test_what_was_registered_is_still_there_after_a_restart(
    own: Network, network: Network
) -> None:
    assert len({*ports(own), *ports(network)}) == 16  # two side by side share nothing
    did, verkey = new_did()
    await own.register(did, verkey)
    pids = own.pids
    assert set(pids) == NODES

    answer = await read(own.genesis, did)
    assert json.loads(answer["data"])["verkey"] == verkey
    assert len(answer["state_proof"]["multi_signature"]["participants"]) >= 3

    own.stop()
    assert own.pids == {}
    assert not any(map(runs, pids.values()))

    own.start()
    assert json.loads((await read(own.genesis, did))["data"])["verkey"] == verkey
    await own.register(*new_did())


async def test_a_did_is_readable_from_every_node_once_registered(network: Network) -> None:
    for _ in range(5):
        did, verkey = new_did()
        await network.register(did, verkey, "none")
        assert json.loads((await read(network.genesis, did))["data"])["verkey"] == verkey


async def test_a_did_cannot_be_registered_again_with_another_key(network: Network) -> None:
    did, verkey = new_did()
    await network.register(did, verkey)
    await network.register(did, verkey)  # the same again is no change and no error
    words = ("--dir", network.folder, "--did", did, "--verkey", new_did()[1])
    refused = manage("register", *words)
    assert refused.returncode == 2
    assert "registered already, with another verkey or role" in refused.stderr
    assert json.loads((await read(network.genesis, did))["data"])["verkey"] == verkey


async def test_the_first_did_has_the_number_6_however_often_it_was_started(
    own: Network,
) -> None:
    own.manage("reset")
    own.manage("restart")
    told = json.loads(own.manage("register", "--seed", "my_seed_000000000000000000000000"))
    assert (told["seqNo"], told["did"]) == (6, "WECXqEbMeftPZBRP34U7rG")


async def test_killing_all_nodes_loses_nothing_and_the_supervisor_brings_them_back(
    own: Network,
) -> None:
    client = await Client.open(own.genesis)
    await client.write_many(WRITES, 20)
    client.close()
    killed = own.pids["Node1"]
    os.kill(killed, signal.SIGKILL)  # all four live in it

    async def back() -> bool:
        pids = await asyncio.to_thread(lambda: own.pids)
        return pids.get("Node1") not in {None, killed}

    await until(back)
    own.heal()  # returns when every node has a write
    again = await Client.open(own.genesis)
    assert await again.missing(client.written) == []
    await again.write()
    assert len(own.status()["restarts"]) == 1
    again.close()


@long
async def test_a_batch_that_one_node_alone_has_stored_is_not_lost(own: Network) -> None:
    """All nodes are killed when the primary has committed and nobody else has yet."""
    client = await Client.open(own.genesis)
    await client.write()
    own.stop()
    data = own.folder / "data" / "sandbox" / "data"
    for node in ("Node2", "Node3", "Node4"):
        shutil.copytree(data / node, own.folder / node)
    own.start()
    client = await Client.open(own.genesis)
    did = await client.write()
    own.stop()
    for node in ("Node2", "Node3", "Node4"):
        shutil.rmtree(data / node)
        shutil.move(own.folder / node, data / node)

    own.start()
    client = await Client.open(own.genesis)
    assert await client.missing([did]) == []
    await client.write_many(10, 5)
    sizes = await client.sizes(4)
    assert len(sizes) == 1


@long
async def test_all_is_there_after_sudden_ends_in_the_middle_of_writes(own: Network) -> None:
    written: list[str] = []
    for _ in range(5):
        client = await Client.open(own.genesis, reply_s=4)
        load = [asyncio.create_task(client.write_many(60, 1)) for _ in range(20)]
        await asyncio.sleep(1)
        os.kill(own.pids["Node1"], signal.SIGKILL)
        await asyncio.gather(*load, return_exceptions=True)
        written += client.written
        own.start()
    client = await Client.open(own.genesis)
    assert await client.missing(written) == []
    await client.write()


@long
async def test_all_is_there_after_a_sudden_end_at_each_write_of_each_node(own: Network) -> None:
    """All nodes live in one process: one has written a batch so far, others another part."""
    wish = dying_nodes.prepare(own.folder, "1,2,3,4")
    own.stop()
    own.start()
    written: list[str] = []
    for store in dying_nodes.STORES:
        for node in range(1, 5):
            client = await Client.open(own.genesis, reply_s=1)
            await asyncio.to_thread(wish.write_text, f"{store} {node}")
            while await asyncio.to_thread(wish.exists):
                with suppress(VdrError):
                    await client.write()
            written += client.written
            own.start()
            client = await Client.open(own.genesis)
            await client.write_many(3, 1)
            assert len(await client.sizes(4)) == 1
            assert await client.missing(written) == []
    logs = [path.read_text() for path in (own.folder / "log").rglob("*.log")]
    assert logs
    assert not any("incorrect state trie root" in text for text in logs)


@long
async def test_a_snapshot_brings_the_ledger_back_and_reset_empties_it(own: Network) -> None:
    did, verkey = new_did()
    await own.register(did, verkey)
    own.snapshot("with")
    own.reset()
    assert (await read(own.genesis, did))["data"] is None
    other, key = new_did()
    await own.register(other, key)

    own.restore("with")
    assert json.loads((await read(own.genesis, did))["data"])["verkey"] == verkey
    assert (await read(own.genesis, other))["data"] is None
    await own.register(*new_did())


def test_what_the_nodes_answer_is_printed_as_json(network: Network) -> None:
    words = ("ledger", "get-nym", network.trustee.did, "--dir", str(network.folder))
    told = json.loads(manage(*words).stdout)
    assert told["data"]["dest"] == network.trustee.did
    assert len(told["state_proof"]["multi_signature"]["participants"]) >= 3

    transaction = manage("ledger", "get-txn", "1", "--dir", str(network.folder))
    assert json.loads(transaction.stdout)["data"]["txnMetadata"]["seqNo"] == 1
    missing = manage("ledger", "get-nym", new_did()[0], "--dir", str(network.folder))
    assert missing.returncode == 1
    assert json.loads(missing.stdout)["data"] is None
    assert "the ledger does not have it" in missing.stderr


def test_a_taken_port_is_named_with_its_holder(network: Network, tmp_path: Path) -> None:
    told = json.loads(manage("status", "--json", "--dir", network.folder).stdout)
    first = told["ports"]["Node1"][0]
    refused = manage("start", "--dir", tmp_path / "new", "--port-base", str(first))
    assert refused.returncode == 1
    assert f"port {first} is taken by process {told['pids']['Node1']}" in refused.stderr
    assert "--port-base auto" in refused.stderr


def test_a_running_network_refuses_another_shape(network: Network) -> None:
    for words in (("--nodes", "7"), ("--port-base", "9701"), ("--processes",)):
        assert manage("start", "--dir", network.folder, *words).returncode == 2
    assert set(network.pids) == NODES


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_leaves_no_process(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "own"
    command = [str(MANAGE), "start", "--dir", str(folder), "--port-base", "auto"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as start:
        assert start.stderr is not None
        while "waiting for the first write" not in start.stderr.readline():
            assert start.poll() is None
        told = json.loads((folder / "processes.json").read_text())
        start.send_signal(number)
        assert "everything that was started has been stopped" in start.stderr.read()
    assert start.returncode == 130
    assert not any(runs(one["who"]["pid"]) for one in told)


def test_nodes_end_when_the_process_that_they_belong_to_is_gone(tmp_path: Path) -> None:
    words = ("--port-base", "auto", "--json", "--die-with")
    with subprocess.Popen(["sleep", "600"]) as owner:
        start = manage("start", "--dir", tmp_path / "own", *words, str(owner.pid))
        told = json.loads(start.stdout)
        owner.kill()
    deadline = time.monotonic() + 30
    while runs(told["pids"]["Node1"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_no_seed_and_no_key_is_in_what_a_start_prints_or_logs(network: Network) -> None:
    secret = [b"00000Trustee1", b"00000Steward", b"00000Node", b"SignKey", b"as_bytes"]
    written = [
        path.read_bytes() for path in (network.folder / "log").rglob("*") if path.is_file()
    ]
    assert written
    assert not [word for word in secret for text in written if word in text]
