"""What is no genesis never reaches indy-vdr; what real networks publish does."""

from __future__ import annotations

import pytest
from fake_network import GENESIS
from ledger.indy.genesis_files import SHAPES, compact, dest, four, genesis, update

from keep_network.web.errors import UnavailableError
from keep_network.web.genesis_check import check_genesis

HTML = "<!doctype html><title>Sign in to the Wi-Fi</title>"
LINES = {name: shape.text for name, shape in SHAPES.items() if "several lines" not in name}


@pytest.mark.parametrize("text", LINES.values(), ids=LINES)
def test_what_real_networks_publish_is_a_genesis(text: str) -> None:
    check_genesis(text.removeprefix("\ufeff"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            compact(*four(), update(5, "Node4", client_ip="node.example")),
            "line 5 .*node.example",
        ),
        (compact(*four(), update(5, "Node4", client_port=" 9702")), "line 5 .*client_port"),
        (compact(*four(), update(5, "Node4", blskey="4N8a")), "line 5 .*blskey"),
        (compact(*four(), update(5, "Node4", blskey=7)), "line 5 .*not text"),
        (compact(*four(), update(5, "Node4", services="VALIDATOR")), "line 5 .*services"),
        (
            compact(*four()).replace(dest("Node4"), dest("Node3")),
            "line 4 .*called Node3 before",
        ),
        (compact(*four(), genesis(5, "x")).replace('"x"', '"Node1"'), "the same alias"),
        (compact(*(update(n, f"N{n}", services=[]) for n in (1, 2))), "no validators"),
        (compact(*four()).replace("client_ip", "ip"), "line 1 .*client_ip is missing"),
        (
            compact(*four()).replace("reqSignature", "signature"),
            "line 1 .*reqSignature is missing",
        ),
        (compact(*four()).replace('"ver":"1"', '"ver":"2"'), "line 1 .*ver"),
    ],
)
def test_what_indy_vdr_would_not_read_is_told_by_its_line(text: str, says: str) -> None:
    with pytest.raises(UnavailableError, match=says):
        check_genesis(text)


@pytest.mark.parametrize("text", ["", "\n\n", "null", "[]", '{"txn": 1}', "[" * 10000, HTML])
def test_what_is_no_genesis_is_refused(text: str) -> None:
    with pytest.raises(UnavailableError, match="this is not a genesis"):
        check_genesis(text)


@pytest.mark.parametrize(
    ("told", "lie"),
    [
        ("Gw6pDLhcBcoQesN72qfotTgFa7cbuqZpkX3Xo6pLhPhv", "x"),
        ("Gw6pDLhcBcoQesN72qfotTgFa7cbuqZpkX3Xo6pLhPhv", ""),
        ('"blskey": "4N8a', '"blskey": "4N'),
        ("127.0.0.1", "example.org"),
        ('"client_port": ', '"client_port": -'),
        ('"alias": "Node1"', '"alias": 1'),
    ],
)
def test_a_genesis_that_lies_about_a_node_never_reaches_indy_vdr(told: str, lie: str) -> None:
    assert told in GENESIS
    with pytest.raises(UnavailableError, match="line 1 is not a NODE transaction"):
        check_genesis(GENESIS.replace(told, lie))


def test_a_real_genesis_is_none_of_that() -> None:
    check_genesis(GENESIS)
