"""`--seeds random`: a network whose trustee is nobody else."""

from __future__ import annotations

import json
import os
import stat
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from indy_client import Client
from indy_vdr import VdrError, VdrErrorCode
from pool import manage

from keep_network import record, seeds
from keep_network.errors import NetworkError
from keep_network.record import Network

NAMES = ["Trustee1", *(f"{kind}{n}" for kind in ("Steward", "Node") for n in range(1, 6))]
START = ("--port-base", "auto", "--seeds", "random", "--json")


def test_the_known_seeds_are_those_of_the_classic_network(tmp_path: Path) -> None:
    network = Network(tmp_path, "net", 4, 9701)
    assert seeds.of(network, "Trustee1") == b"000000000000000000000000Trustee1"
    assert seeds.of(network, "Node4") == b"000000000000000000000000000Node4"
    assert list(tmp_path.iterdir()) == []


def test_random_seeds_are_different_stay_and_are_their_owners_alone(tmp_path: Path) -> None:
    networks = [
        Network(tmp_path / name, name, 4, 9701, own_seeds=True) for name in ("one", "other")
    ]
    found: set[bytes] = set()
    for network in networks:
        network.folder.mkdir()
        seeds.choose(network)
        told = [seeds.of(network, name) for name in NAMES]
        assert told == [seeds.of(network, name) for name in NAMES]
        assert {len(seed) for seed in told} == {32}
        assert all(seed.isascii() for seed in told)
        found |= set(told)
        for path, mode in ((network.folder, 0o700), (network.folder / seeds.FILE, 0o600)):
            assert stat.S_IMODE(path.stat().st_mode) == mode
    assert len(found) == 2 * len(NAMES)


def test_a_seed_that_is_gone_is_said_and_never_replaced_by_the_known(tmp_path: Path) -> None:
    network = Network(tmp_path, "net", 4, 9701, own_seeds=True)
    with pytest.raises(NetworkError, match=r"trustee\.seed is gone"):
        seeds.of(network, "Node1")


@pytest.mark.parametrize(
    ("first", "then", "sentence"),
    [("known", "random", "has the known seeds"), ("random", "known", "has random seeds")],
)
def test_seeds_are_chosen_once(first: str, then: str, sentence: str, tmp_path: Path) -> None:
    words = ("--dir", tmp_path / "net", "--port-base", "auto")
    made = manage("generate-genesis", *words, "--seeds", first)
    assert made.returncode == 0, made.stderr
    refused = manage("generate-genesis", "--dir", tmp_path / "net", "--seeds", then)
    assert refused.returncode == 2
    assert sentence in refused.stderr
    again = manage("generate-genesis", "--dir", tmp_path / "net", "--seeds", first)
    assert again.stdout == made.stdout
    own = (
        "V4SGRU86Z58d6TV7PBUe6f"
        not in (tmp_path / "net/genesis/sandbox/domain_transactions_genesis").read_text()
    )
    assert own == (first == "random")
    assert manage("down", "--dir", tmp_path / "net").returncode == 0
    assert not (tmp_path / "net").exists()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("seeds") / "own"
    started = manage("start", "--dir", folder, *START, "--die-with", str(os.getpid()))
    assert started.returncode == 0, started.stderr
    assert json.loads(started.stdout)["trustee_seed"] == str(folder / seeds.FILE)
    yield folder
    assert manage("down", "--dir", folder).returncode == 0


@pytest.mark.pool
async def test_sec_h_04_who_knows_the_known_seeds_is_no_trustee_of_random_ones(
    own: Path,
) -> None:
    network = record.load(own)
    with closing(await Client.open(network.genesis)) as client:
        with pytest.raises(VdrError) as refused:
            await client.write()
        assert refused.value.code == VdrErrorCode.POOL_REQUEST_FAILED  # no time-out
        client.use(seeds.of(network, seeds.TRUSTEE))
        await client.write()


@pytest.mark.pool
def test_a_network_with_random_seeds_registers_and_grows_and_restarts(own: Path) -> None:
    told = json.loads(manage("status", "--json", "--dir", own).stdout)
    body = json.dumps({"seed": "faber", "role": "TRUSTEE"}).encode()
    with urllib.request.urlopen(f"{told['web']}/register", body, 30) as answer:
        made = json.load(answer)
    words = ("--did", made["did"], "--verkey", made["verkey"], "--role", "TRUSTEE")
    assert manage("register", "--dir", own, *words).returncode == 0
    joined = manage("add-node", "--dir", own)
    assert joined.returncode == 0, joined.stderr
    assert manage("stop", "--dir", own).returncode == 0
    again = manage("start", "--dir", own, "--die-with", str(os.getpid()))
    assert again.returncode == 0, again.stderr
    assert manage("ledger", "get-nym", made["did"], "--dir", own).returncode == 0
    secret = (own / seeds.FILE).read_bytes().strip()
    written = [path.read_bytes() for path in (own / "log").rglob("*") if path.is_file()]
    assert not any(secret in text for text in (*written, again.stderr.encode()))
