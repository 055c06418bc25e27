"""`--host`: which addresses a network may be at, and which it is told to."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from pool import MANAGE, manage

from keep_network import addresses
from keep_network.addresses import Place
from keep_network.errors import BadInputError


def test_an_address_of_this_machine_and_names_for_it_are_taken() -> None:
    assert addresses.read("127.0.0.2", "--host") == Place(("127.0.0.2",), ())
    assert addresses.read("localhost", "--host") == Place(("127.0.0.1",), ("localhost",))
    told = addresses.read("127.0.0.1, Host.Docker.Internal", "--host")
    assert told == Place(("127.0.0.1",), ("host.docker.internal",))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("192.0.2.1", "this machine has no address 192.0.2.1"),
        ("0.0.0.0", "this machine has no address 0.0.0.0"),
        ("255.255.255.255", "this machine has no address"),
        ("224.0.0.1", "this machine has no address"),
        ("127.0.0.1,192.0.2.1", "this machine has no address 192.0.2.1"),
        ("no-such-host.invalid", "has no IPv4 address .*--host ADDRESS,no-such-host.invalid"),
        ("::1", "no IPv4 address and no name"),
        ("127.1.", "no IPv4 address and no name"),
        ("2130706433", "no IPv4 address and no name"),
        ("", "no IPv4 address and no name"),
        ("127.0.0.1,,", "no IPv4 address and no name"),
        ("http://localhost", "no IPv4 address and no name"),
        ("localhost:9000", "no IPv4 address and no name"),
        ("a b", "no IPv4 address and no name"),
    ],
)
def test_everything_else_is_refused_in_words(text: str, sentence: str) -> None:
    with pytest.raises(BadInputError, match=f"^--host: .*{sentence}"):
        addresses.read(text, "--host")


def test_the_classic_variables_count_for_a_new_network_alone_and_after_the_option() -> None:
    env = {"IPS": "127.0.0.2,127.0.0.3", "IP": "127.0.0.4", "DOCKERHOST": "127.0.0.5"}
    for name in addresses.CLASSIC:
        told = addresses.wanted(None, env, new=True)
        assert told == addresses.read(env.pop(name), name)
    assert addresses.wanted(None, {"IP": ""}, new=True) is None
    assert addresses.wanted(None, {"IP": "nonsense!"}, new=False) is None
    assert addresses.wanted("127.0.0.1", {"IP": "127.0.0.2"}, new=True) == Place(
        ("127.0.0.1",), ()
    )
    with pytest.raises(BadInputError, match=r"^IP: "):
        addresses.wanted(None, {"IP": "nonsense!"}, new=True)


def test_only_what_others_reach_is_said_to_be_open() -> None:
    assert addresses.open_to(["127.0.0.1", "127.1.2.3"]) == []
    assert addresses.open_to(["10.0.0.5", "127.0.0.1", "10.0.0.5"]) == ["10.0.0.5"]


def hosts(genesis: str) -> list[str]:
    told = [json.loads(line)["txn"]["data"]["data"] for line in genesis.splitlines()]
    assert all(one["node_ip"] == one["client_ip"] for one in told)
    return [one["node_ip"] for one in told]


def test_the_addresses_are_on_the_ledger_and_stay(tmp_path: Path) -> None:
    words = ("--dir", str(tmp_path / "net"), "--port-base", "auto")
    made = subprocess.run(
        [str(MANAGE), "generate-genesis", *words],
        env=os.environ | {"IPS": "127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert hosts(made.stdout) == [f"127.0.0.{n}" for n in range(2, 6)], made.stderr
    assert hosts(manage("generate-genesis", *words[:2]).stdout) == hosts(made.stdout)
    refused = manage("start", *words[:2], "--host", "127.0.0.1")
    assert refused.returncode == 2
    assert "net is at 127.0.0.2, 127.0.0.3" in refused.stderr


@pytest.mark.parametrize(
    ("host", "sentence"),
    [("127.0.0.1,127.0.0.2", "2 addresses for 4 nodes"), ("192.0.2.1", "has no address")],
)
def test_a_place_that_cannot_be_leaves_nothing(
    host: str, sentence: str, tmp_path: Path
) -> None:
    refused = manage("start", "--dir", tmp_path / "net", "--host", host)
    assert refused.returncode == 2
    assert sentence in refused.stderr
    assert not (tmp_path / "net" / "network.json").exists()
