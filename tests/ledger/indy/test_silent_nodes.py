"""A network whose first nodes are dead answers when f + 1 others live; its exported ledger opens it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import indy_vdr
import pytest
from indy_vdr.ledger import build_custom_request
from ledger.indy.genesis_files import compact, genesis
from pool import Network

from keep_ledger import codes
from keep_ledger.indy import IndyRegistry, open_ledger, replies, requests
from keep_ledger.indy.genesis import Genesis
from keep_ledger.indy.network_client import NetworkClient
from keep_ledger.indy.pool import Pool
from keep_ledger.json_object import Json
from keep_ledger.plugins import LedgerConfig
from keep_ledger.testing.conformance import TRUSTEE, registered

PROMPT_S = 5
FRESH_POOLS = 6
"""Which nodes indy-vdr asks first is chance: with two of four dead, both in one of six."""


async def nothing(url: str) -> bytes:
    raise OSError(url)


@pytest.mark.parametrize(("nodes", "asked"), [(1, 1), (3, 1), (4, 3), (7, 5), (25, 17)])
async def test_so_many_nodes_are_asked_at_once_that_one_of_them_lives(
    nodes: int, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Json] = []
    really = indy_vdr.set_config

    def configure(settings: Json) -> None:
        told.append(settings)
        really(settings)

    async def read() -> Genesis:
        return Genesis.parse(compact(*(genesis(n, f"N{n}") for n in range(1, nodes + 1))))

    monkeypatch.setattr(indy_vdr, "set_config", configure)
    pool = Pool("local", read, None)
    await pool._open()
    assert [settings["request_read_nodes"] for settings in told] == [asked]
    await pool.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    network = Network(tmp_path_factory.mktemp("silent") / "net", processes=True)
    yield network
    network.stop()


@pytest.fixture
def half_dead(running: Network) -> Iterator[Network]:
    """Two of four validators live: f + 1."""
    running.kill(1, 2)
    yield running
    running.heal()


def opened(genesis: Path, cache: Path | None = None) -> IndyRegistry:
    return open_ledger(LedgerConfig("indy", "local", str(genesis), cache), nothing)


@pytest.mark.pool
async def test_a_read_is_answered_at_once_while_half_of_the_nodes_are_dead(
    half_dead: Network,
) -> None:
    for _ in range(FRESH_POOLS):
        ledger, start = opened(half_dead.genesis), time.monotonic()
        nym = await ledger.get_nym(TRUSTEE.did)
        assert nym is not None
        assert nym.verkey == TRUSTEE.verkey
        assert time.monotonic() - start < PROMPT_S
        assert ledger.status().nodes == 4
        await ledger.close()


@pytest.mark.pool
async def test_without_a_fresh_proof_the_living_nodes_must_agree(
    half_dead: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that cannot write signs no new states: after 5 minutes no proof is fresh."""

    def stale(*_: object) -> bool:
        return False

    monkeypatch.setattr(replies, "proved", stale)
    ledger = opened(half_dead.genesis)
    nym = await ledger.get_nym(TRUSTEE.did)
    assert nym is not None
    assert nym.verkey == TRUSTEE.verkey
    await ledger.close()


@pytest.mark.pool
async def test_a_whole_network_is_read_while_half_of_the_nodes_are_dead(
    half_dead: Network,
) -> None:
    async with NetworkClient(str(half_dead.genesis), nothing) as client:
        first = await client.txn(codes.DOMAIN, 1)
        assert first is not None
        assert first["txn"]["data"]["dest"] == TRUSTEE.did
        assert len((await client.history(codes.POOL)).transactions) >= 4


async def submit(client: NetworkClient, operation: Json) -> None:
    request = requests.request(operation, TRUSTEE.did)
    said = build_custom_request(json.dumps(request)).signature_input
    await client.submit(request, TRUSTEE.sign(said))


@pytest.mark.pool
async def test_an_exported_pool_ledger_opens_the_network(
    running: Network, tmp_path: Path
) -> None:
    """Its later transactions name only what they change: a node was demoted, and is back."""
    target = Genesis.parse(running.genesis.read_text())
    last: Json = json.loads(target.lines[-1])["txn"]["data"]
    async with NetworkClient(str(running.genesis), nothing) as client:
        for services in ([], ["VALIDATOR"]):
            data = {"alias": last["data"]["alias"], "services": services}
            await submit(client, {"type": "0", "dest": last["dest"], "data": data})
        exported = (await client.history(codes.POOL)).transactions
    file = tmp_path / "exported"
    file.write_text(compact(*exported))
    assert len(Genesis.parse(file.read_text()).lines) >= len(target.lines) + 2
    ledger = opened(file, tmp_path / "cache")
    person = await registered(ledger, None)
    assert (await ledger.get_nym(person.did)) is not None
    assert ledger.status().nodes == len(target.validators)
    await ledger.close()
    again = opened(running.genesis, tmp_path / "other")
    assert (await again.get_nym(person.did)) is not None  # catches up on the same ledger
    await again.close()
    kept = Genesis.parse((tmp_path / "other" / "local" / "pool.jsonl").read_text())
    assert len(kept.lines) == len(exported)
