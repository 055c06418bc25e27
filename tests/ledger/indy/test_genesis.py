"""The genesis is read strictly and pinned after first use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keep_ledger.errors import GenesisError
from keep_ledger.indy import IndyRegistry, open_ledger
from keep_ledger.indy.genesis import Genesis, load, starts_with
from keep_ledger.json_object import Json
from keep_ledger.plugins import LedgerConfig

DEST = "Gw6pDLhcBcoQesN72qfotTgFa7cbuqZpkX3Xo6pLhPhv"
URL = "https://ledger.example/genesis"


def node(number: int) -> Json:
    data = {
        "alias": f"Node{number}",
        "blskey": "4N8a",
        "blskey_pop": "Rahh",
        "client_ip": "127.0.0.1",
        "client_port": 9700 + 2 * number,
        "node_ip": "127.0.0.1",
        "node_port": 9699 + 2 * number,
        "services": ["VALIDATOR"],
    }
    txn = {"type": "0", "data": {"data": data, "dest": DEST}, "metadata": {"from": "Th7M"}}
    place = {"seqNo": number, "txnId": f"{number}"}
    return {"reqSignature": {}, "txn": txn, "txnMetadata": place, "ver": "1"}


def text_of(*nodes: Json) -> str:
    return "\n".join(json.dumps(one) for one in nodes)


GOOD = text_of(node(1), node(2))


async def no_network(url: str) -> bytes:
    raise OSError("no route")


def serving(text: str) -> Callable[[str], Any]:
    async def fetch(url: str) -> bytes:
        assert url == URL
        return text.encode()

    return fetch


def test_white_space_does_not_change_a_genesis() -> None:
    spaced = "\r\n\n".join(
        json.dumps(json.loads(line), indent=None, separators=(",", ": "))
        for line in GOOD.splitlines()
    )
    assert Genesis.parse(spaced + "\n").digest == Genesis.parse(GOOD).digest
    assert Genesis.parse(text_of(node(1))).digest != Genesis.parse(GOOD).digest


def broken(change: Callable[[Json], Any]) -> str:
    second = node(2)
    change(second)
    return text_of(node(1), second)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1 to 200 lines"),
        ("\n" * 3, "1 to 200 lines"),
        (GOOD.replace("\n", "\n" * 2) * 200, "1 to 200 lines"),
        ("<html>", "line 1"),
        ("[]", "line 1"),
        (text_of(node(1), node(1)), "sequence number 1"),
        (text_of(node(2)), "sequence number 2"),
        (broken(lambda n: n["txn"].update(type="1")), "line 2: txn.type"),
        (broken(lambda n: n["txn"]["data"]["data"].pop("blskey")), "blskey"),
        (broken(lambda n: n["txn"]["data"]["data"].update(client_port="9704")), "client_port"),
        (broken(lambda n: n["txn"]["data"]["data"].update(client_port=70000)), "client_port"),
        (
            broken(lambda n: n["txn"]["data"]["data"].update(alias="Node1")),
            "names a node twice",
        ),
        (broken(lambda n: n["txn"]["data"].update(dest=DEST[:-5])), "dest"),
        (broken(lambda n: n["txn"]["data"].update(dest="0OIl")), "dest"),
        (broken(lambda n: n["txn"]["data"]["data"].update(client_ip="a host")), "client_ip"),
        (broken(lambda n: n.update(ver="2")), "ver"),
    ],
)
def test_anything_but_node_transactions_is_refused(text: str, says: str) -> None:
    with pytest.raises(GenesisError, match=says):
        Genesis.parse(text)


async def test_a_changed_genesis_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "local"
    first = await load(URL, serving(GOOD), folder)
    assert await load(URL, serving(GOOD + "\n"), folder) == first
    with pytest.raises(GenesisError, match=f"delete the folder {folder}"):
        await load(URL, serving(text_of(node(1))), folder)
    source = tmp_path / "genesis"
    source.write_text(text_of(node(1)))
    with pytest.raises(GenesisError, match="not the one that was used first"):
        await load(str(source), no_network, folder)
    source.write_text(GOOD)
    assert await load(str(source), no_network, folder) == first


async def test_a_url_that_does_not_answer_leaves_the_pinned_copy(tmp_path: Path) -> None:
    with pytest.raises(GenesisError, match="no route"):
        await load(URL, no_network, tmp_path)
    first = await load(URL, serving(GOOD), tmp_path)
    assert await load(URL, no_network, tmp_path) == first
    with pytest.raises(GenesisError, match="cannot get"):
        await load(str(tmp_path / "missing"), no_network, tmp_path)


@pytest.mark.parametrize(
    ("raw", "says"), [(b"\xff", "not text"), (b"x" * 2**20 + b"y", "more than")]
)
async def test_a_garbled_answer_is_no_genesis(tmp_path: Path, raw: bytes, says: str) -> None:
    async def fetch(url: str) -> bytes:
        return raw

    with pytest.raises(GenesisError, match=says):
        await load(URL, fetch, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_kept_transactions_continue_the_genesis() -> None:
    genesis = Genesis.parse(GOOD)
    assert starts_with(GOOD, genesis)
    assert starts_with(text_of(node(1), node(2), node(3)), genesis)
    assert not starts_with(text_of(node(1)), genesis)
    assert not starts_with(text_of(node(2), node(1)), genesis)
    assert not starts_with("garbage\n" * 3, genesis)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (None, "cannot read the genesis {file}: No such file or directory"),
        ("<html>", "{file} is not a genesis (genesis line 1"),
        ("", "{file} is not a genesis (a genesis has 1 to 200 lines, this one 0)"),
        ("\xff", "{file} is not a genesis (the genesis at {file} is not text)"),
    ],
)
def test_a_file_that_is_not_a_genesis_is_told_when_the_ledger_is_opened(
    written: str | None, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "genesis"
    if written is not None:
        file.write_text(written, "latin-1")
    with pytest.raises(GenesisError) as refusal:
        open_ledger(LedgerConfig("indy", "a:b", str(file)), no_network)
    assert str(refusal.value).startswith(f"the ledger a:b: {says.format(file=file)}")
    assert "must name a file or a URL" in str(refusal.value)


def test_a_ledger_that_has_no_genesis_is_told_when_it_is_opened() -> None:
    with pytest.raises(GenesisError, match="the ledger local: no genesis is configured; "):
        open_ledger(LedgerConfig("indy", "local"), no_network)


async def test_a_url_that_does_not_answer_is_a_ledger_that_is_down(tmp_path: Path) -> None:
    ledger: IndyRegistry = open_ledger(LedgerConfig("indy", "a:b", URL, tmp_path), no_network)
    assert ledger.namespace == "a:b"
    assert ledger.status().answers is None
    status = await ledger.refresh()
    assert status.answers is False
    assert status.last_error == f"cannot get the genesis from {URL}: no route"
    await ledger.close()
