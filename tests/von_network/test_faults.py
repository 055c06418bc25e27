"""A real network that is broken on purpose: what goes on, what stops, and what is never lost.

The short form is part of every test run; INDYKEEP_CAMPAIGN=1 (`./manage campaign network`) does
more of everything.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import dying_nodes
import pytest
from indy_client import Client, until
from indy_vdr import VdrError
from pool import MANAGE, Network, manage

pytestmark = [pytest.mark.pool, pytest.mark.campaign]

LONG = bool(os.environ.get("INDYKEEP_CAMPAIGN"))
LOAD = 1000 if LONG else 150
long = pytest.mark.skipif(not LONG, reason="part of ./manage campaign network")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    network = Network(tmp_path_factory.mktemp("faults") / "net", processes=True)
    yield network
    network.stop()


@pytest.fixture
async def broken(running: Network) -> AsyncIterator[Network]:
    """A network of one process per node, whole before and after each test."""
    yield running
    running.heal()
    assert len(running.pids) == 4


@pytest.fixture
async def client(broken: Network) -> AsyncIterator[Client]:
    client = await Client.open(broken.genesis)
    yield client
    client.close()


def cut_off(network: Network, node: int) -> None:
    """Let a node hear nobody."""
    network.partition((node,))


async def everywhere(client: Client) -> int:
    """Return the size of the domain ledger once all four nodes have the same."""

    async def same() -> bool:
        sizes = await client.sizes(4)
        return len(sizes) == 1 and None not in sizes

    await until(same)
    size = await client.size("Node1")
    assert size is not None
    return size


async def under_load(
    client: Client, act: Callable[[], None], *, after: int, again: bool = False
) -> None:
    """Write before, while and after something is done: so many times after."""
    enough: list[int] = []
    load = asyncio.create_task(
        client.write_while(
            lambda: not enough or len(client.written) < enough[0], 5, again=again
        )
    )
    await asyncio.to_thread(act)
    enough.append(len(client.written) + after)
    await load


async def test_writes_go_on_when_one_node_of_four_is_killed_and_it_catches_up(
    broken: Network, client: Client
) -> None:
    await under_load(client, lambda: broken.kill(4), after=LOAD)
    assert set(broken.pids) == {"Node1", "Node2", "Node3"}  # killed on purpose: left dead
    assert await client.size("Node4") is None

    broken.heal()
    assert await everywhere(client) > LOAD
    assert await client.missing(client.written) == []


@pytest.fixture
def wish(broken: Network) -> Path:
    """A file for "store n": Node4 dies at its n-th write to that store in the next batch."""
    file = dying_nodes.prepare(broken.folder, "4")
    broken.kill(4)
    broken.heal()
    return file


async def dies_and_votes(network: Network, client: Client, wish: Path) -> None:
    """Wait until Node4 has died, bring it back, and let the network need its vote."""
    await until(lambda: asyncio.to_thread(lambda: not wish.exists()))
    await comes_back_and_votes(network, client)


async def comes_back_and_votes(network: Network, client: Client) -> None:
    """Bring Node4 back, and let the network need its vote for a write."""
    await asyncio.to_thread(network.heal)
    await everywhere(client)
    network.freeze(await client.primary() % 3 + 1)
    await client.write()
    network.manage("thaw")


async def test_a_node_that_is_killed_between_any_two_of_its_writes_takes_part_again(
    broken: Network, client: Client, wish: Path
) -> None:
    """A node whose state is not that of its transactions would never vote again."""
    for store in dying_nodes.STORES if LONG else ("domain_merkleLeaves", "domain_state"):
        await asyncio.to_thread(wish.write_text, f"{store} 1")
        await client.write_many(3, 3)
        await dies_and_votes(broken, client, wish)
    assert await client.missing(client.written) == []


@long
async def test_a_node_that_is_killed_in_its_catch_up_takes_part_again(
    broken: Network, client: Client, wish: Path
) -> None:
    broken.partition((4,))
    await client.write_many(30, 5)
    await asyncio.to_thread(wish.write_text, "domain_transactions 20")
    await asyncio.to_thread(broken.heal)
    await dies_and_votes(broken, client, wish)
    assert await client.missing(client.written) == []


async def test_a_node_whose_state_is_not_that_of_its_ledger_makes_it_again(
    broken: Network, client: Client
) -> None:
    """So did an earlier version leave a node that was killed inside a batch."""
    state = broken.folder / "data" / "sandbox" / "data" / "Node4" / "domain_state"
    broken.kill(4)
    old = await asyncio.to_thread(shutil.copytree, state, broken.folder / "old_state")
    await asyncio.to_thread(broken.heal)
    await client.write_many(5, 1)
    await everywhere(client)
    broken.kill(4)
    await asyncio.to_thread(shutil.rmtree, state)
    await asyncio.to_thread(shutil.move, old, state)
    await comes_back_and_votes(broken, client)
    assert await client.missing(client.written) == []


async def test_a_killed_primary_is_replaced_and_two_dead_nodes_stop_writes_but_no_reads(
    broken: Network, client: Client, record_property: Callable[[str, object], None]
) -> None:
    did = await client.write()
    primary = await client.primary()
    broken.kill(primary)
    await client.write()
    record_property("primary_killed_pause_s", round(client.times[-1], 1))

    broken.kill(primary % 4 + 1)
    hasty = await Client.open(broken.genesis, reply_s=3)
    with pytest.raises(VdrError, match="timeout"):
        await hasty.write()
    reader = await Client.open(broken.genesis, reply_s=10, ack_s=1)
    read: list[object] = []

    async def is_read() -> (
        bool
    ):  # its first two nodes may be the dead ones, and then it may give up
        with suppress(VdrError):
            read.append(await reader.read(did))
        return bool(read)

    await until(is_read)
    assert read[0] is not None
    words = ("--did", did, "--verkey", "GJ1SzoWzavQYfNL9XkaJdrQejfztN4XqdsiV4ct3LXKL")
    refused = manage("register", "--dir", str(broken.folder), *words)
    assert refused.returncode == 1
    assert "2 of 4 nodes can take part and a write needs 3" in refused.stderr

    broken.heal()
    await (await Client.open(broken.genesis)).write()


async def test_the_supervisor_starts_a_node_again_that_died_and_says_so(
    broken: Network, client: Client
) -> None:
    before, known = broken.pids, len(broken.status()["restarts"])
    os.kill(before["Node3"], signal.SIGKILL)

    async def back() -> bool:
        pids = await asyncio.to_thread(lambda: broken.pids)
        return pids.get("Node3") not in {None, before["Node3"]}

    await until(back)
    told = broken.status()["restarts"][known:]
    assert [one["nodes"] for one in told] == [["Node3"]]
    assert "Node3 died and was restarted at" in broken.manage("status")
    await client.write()
    await everywhere(client)


async def test_a_frozen_node_holds_nobody_up(broken: Network, client: Client) -> None:
    node = await client.primary() % 4 + 1  # a hung primary is another story
    broken.freeze(node)
    assert broken.status()["frozen"] == [f"Node{node}"]
    await client.write_many(10, 5)
    await broken.register("LibindyDid111111111111", broken.trustee.verkey, "none")
    assert await client.size(f"Node{node}") is None
    broken.manage("thaw", f"Node{node}")
    await everywhere(client)


async def test_a_node_that_is_cut_off_misses_what_happens_and_then_learns_it(
    broken: Network, client: Client
) -> None:
    before = await everywhere(client)
    broken.partition((4,))
    assert broken.status()["cut"] == [["Node4"], ["Node1", "Node2", "Node3"]]
    await client.write_many(10, 5)
    assert await client.size("Node4") == before
    broken.heal()
    assert broken.status()["cut"] == []
    assert await everywhere(client) >= before + 10


@long
async def test_halves_do_not_write_and_the_healed_whole_does(
    broken: Network, client: Client
) -> None:
    broken.partition((1, 2), (3, 4))
    hasty = await Client.open(broken.genesis, reply_s=3)
    with pytest.raises(VdrError, match=r"timeout|consensus"):
        await hasty.write()
    await asyncio.sleep(30)  # long enough for view changes that cannot end
    broken.heal()
    whole = await Client.open(broken.genesis)
    await whole.write_many(20, 5)
    await everywhere(whole)


async def test_a_primary_that_is_cut_off_for_a_moment_comes_back_into_step(
    broken: Network, client: Client
) -> None:
    """It has sent a batch that the others order without it, and has missed requests."""
    primary = await client.primary()

    def cut_off_and_heal() -> None:
        broken.partition((primary,))
        broken.heal()

    await under_load(client, cut_off_and_heal, after=30)
    await everywhere(client)


@long
async def test_faults_that_come_and_go_while_writes_go_on_hold_none_up(
    broken: Network, client: Client, record_property: Callable[[str, object], None]
) -> None:
    """Two in five meet the primary; the seed of their order is in the report."""
    seed = int(os.environ.get("INDYKEEP_SEED", secrets.randbelow(10**6)))
    record_property("seed", seed)
    draw = random.Random(seed)

    def come_and_go(fault: Callable[[int], None], node: int, pause_s: float) -> None:
        fault(node)
        time.sleep(pause_s)
        broken.heal()

    for _ in range(16):
        node = draw.choice([await client.primary(), *range(1, 5)])
        fault = draw.choice((broken.kill, broken.freeze, partial(cut_off, broken)))
        act = partial(come_and_go, fault, node, draw.choice((0, 0, 2, 6)))
        await under_load(client, act, after=30)
    await everywhere(client)
    assert await client.missing(client.written) == []
    record_property("slowest_write_s", round(max(client.times), 1))


IMPATIENT = """
import sys
from pathlib import Path
from keep_network import faults
faults.BY_THEMSELVES_S = 0.0
faults.heal(Path(sys.argv[1]))
"""


@long
async def test_heal_restarts_what_does_not_take_a_write_by_itself(
    broken: Network, client: Client
) -> None:
    """No time at all stands for nodes that stay at odds; `heal` runs where `manage` runs it."""
    did, before = await client.write(), broken.pids
    python = Path(os.environ["INDYKEEP_NODE_VENV"]) / "bin" / "python"
    healed = await asyncio.to_thread(
        subprocess.run,
        [str(python), "-P", "-W", "ignore", "-c", IMPATIENT, str(broken.folder)],
        env={**os.environ, "PYTHONPATH": str(MANAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "restarting all nodes" in healed.stdout + healed.stderr
    assert not set(before.values()) & set(broken.pids.values())
    whole = await Client.open(broken.genesis)
    assert await whole.missing([did]) == []


@long
async def test_many_faults_one_after_the_other_lose_nothing(
    broken: Network, client: Client, record_property: Callable[[str, object], None]
) -> None:
    for node in (1, 2, 3, 4):
        for fault in (broken.kill, broken.freeze, partial(cut_off, broken)):
            await under_load(client, partial(fault, node), after=60, again=True)
            await asyncio.to_thread(broken.heal)
    await everywhere(client)
    assert await client.missing(client.written) == []
    record_property("slowest_write_s", round(max(client.times), 1))
    record_property("timed_out_and_repeated", client.repeated)


@long
async def test_seven_nodes_write_on_when_two_are_killed(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    words = ("--dir", str(tmp_path / "seven"), "--nodes", "7", "--port-base", "auto")
    more = ("--web-port", "none", "--processes", "--die-with", str(os.getpid()))
    started = await asyncio.to_thread(manage, "start", *words, *more)
    assert started.returncode == 0, started.stderr
    seven = Network(tmp_path / "seven")  # it runs already
    client = await Client.open(seven.genesis)
    primary = await client.primary()
    await under_load(client, lambda: seven.kill(primary, primary % 7 + 1), after=100)
    record_property("slowest_write_s", round(max(client.times), 1))
    assert len(seven.pids) == 5
    seven.heal()

    async def same() -> bool:
        sizes = await client.sizes(7)
        return len(sizes) == 1 and None not in sizes

    await until(same)
    assert await client.missing(client.written) == []
    seven.stop()


@long
async def test_a_node_that_joins_has_all_and_takes_part(running: Network) -> None:
    running.manage("add-node")
    assert set(running.pids) == {f"Node{n}" for n in range(1, 6)}
    client = await Client.open(running.genesis)
    await client.write_many(20, 5)
    assert await client.size("Node5") is not None
    running.manage("restart", "--one-process")
    assert len(set(running.pids.values())) == 1
    assert len(running.pids) == 5
    assert await client.missing(client.written) == []
