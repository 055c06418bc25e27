"""The genesis is read, merged by node, checked, and pinned after first use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from indy_vdr import bindings
from ledger.indy.genesis_files import (
    SHAPES,
    RealShape,
    bls,
    compact,
    dest,
    four,
    genesis,
    update,
)

from keep_ledger.errors import GenesisError
from keep_ledger.indy import IndyRegistry, open_ledger
from keep_ledger.indy.genesis import Genesis, load
from keep_ledger.indy.native_pool import NativePool
from keep_ledger.indy.pool import Pool
from keep_ledger.json_object import Json
from keep_ledger.plugins import LedgerConfig

URL = "https://ledger.example/genesis"
GOOD = compact(*four())


async def no_network(url: str) -> bytes:
    raise OSError("no route")


def serving(text: str) -> Callable[[str], Any]:
    async def fetch(url: str) -> bytes:
        assert url == URL
        return text.encode()

    return fetch


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_what_real_networks_publish_is_read_and_indy_vdr_opens_it(
    shape: RealShape,
) -> None:
    read = Genesis.parse(shape.text)
    assert read.validators == shape.validators
    pool = NativePool(read.text)
    assert set((await pool.status())["nodes"]) == set(shape.validators)
    again = Genesis.parse(await pool.get_transactions())
    assert again == read  # what nodes hash is as it came
    pool.close()


async def test_it_is_known_how_many_validators_sign() -> None:
    some = [*four()[:2], *four(key=False)[2:]]
    for transactions, signers in ((four(), 4), (four(key=False), 0), (some, 2)):
        pool = NativePool(Genesis.parse(compact(*transactions)).text)
        assert (await pool.status())["signers"] == signers
        pool.close()


async def test_a_later_transaction_changes_what_it_names() -> None:
    moved = update(5, "Node4", client_ip="192.0.2.99", client_port="9799")
    keyed = update(6, "Node4", blskey=bls("another"))
    pool = NativePool(Genesis.parse(compact(*four(), moved, keyed)).text)
    found = json.loads(await bindings.pool_get_verifiers(pool._open()))
    node = found["Node4"]
    assert node["client_addr"] == "tcp://192.0.2.99:9799"
    assert node["node_addr"] == "tcp://192.0.2.4:9701"
    assert node["bls_key"] == bls("another")
    pool.close()


def test_white_space_does_not_change_a_genesis() -> None:
    spaced = "\r\n\n".join(json.dumps(one, separators=(",", ": ")) for one in four())
    assert Genesis.parse(spaced + "\n").digest == Genesis.parse(GOOD).digest
    assert Genesis.parse(compact(genesis(1, "Node1"))).digest != Genesis.parse(GOOD).digest


def test_the_digest_is_that_of_canonical_lines() -> None:
    known = "4aad4d92ee5c2a9f5e412738464b5902a920b2989a81f287145395214fd625a5"
    assert Genesis.parse(GOOD).digest == known


def data(one: Json) -> Json:
    found: Json = one["txn"]["data"]["data"]
    return found


def broken(change: Callable[[Json], Any]) -> str:
    second = genesis(2, "Node2")
    change(second)
    return compact(genesis(1, "Node1"), second)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1 to 200 nodes that are validators, this one has 0"),
        ("\n" * 3, "1 to 200 nodes"),
        (compact(*(genesis(n, f"N{n}") for n in range(1, 202))), "this one has 201"),
        ("<html>", "line 1: is not JSON"),
        (GOOD + "\n\n{", "line 7: is not JSON"),
        ("[" * 100_000, "line 1: is not JSON"),
        (GOOD.replace("9702", "NaN"), "line 1: is not JSON"),
        (GOOD.replace("9702", "1e999"), "line 1: is not JSON"),
        ("[]", "line 1: is not a transaction"),
        (compact(genesis(1, "Node1"), genesis(1, "Node1")), "line 2: txnMetadata.seqNo: .* 1"),
        (compact(genesis(2, "Node2")), "line 1: txnMetadata.seqNo: is the sequence number 2"),
        ("\n" + compact(genesis(2, "Node2")), "line 2: txnMetadata.seqNo"),
        (broken(lambda n: n["txn"].update(type="1")), "txn.type: must be '0'; .* domain_trans"),
        (broken(lambda n: n.pop("txn")), "line 2: txn: is missing; .*before 2018"),
        (broken(lambda n: n.pop("reqSignature")), "line 2: reqSignature: is missing"),
        (broken(lambda n: n["txn"].pop("metadata")), "line 2: txn.metadata: is missing"),
        (broken(lambda n: n["txn"].update(metadata={})), "txn.metadata.from: is missing"),
        (broken(lambda n: n.pop("txnMetadata")), "line 2: txnMetadata: is missing"),
        (broken(lambda n: n.pop("ver")), "line 2: ver: is missing"),
        (broken(lambda n: n.update(ver="2")), "line 2: ver"),
        (broken(lambda n: data(n).pop("alias")), "line 2: txn.data.data.alias: is missing"),
        (broken(lambda n: data(n).update(client_port=" 9702")), "client_port: ' 9702' is not"),
        (
            broken(lambda n: data(n).update(client_port=9702.0)),
            "line 2: .*must be a whole number",
        ),
        (broken(lambda n: data(n).update(client_port="70000")), "line 2: .*client_port"),
        (broken(lambda n: data(n).update(client_port=True)), "line 2: .*client_port"),
        (broken(lambda n: data(n).pop("client_port")), "client_port of .*'Node2': is missing"),
        (broken(lambda n: data(n).update(node_port=0)), "node_port of .*'Node2': is missing"),
        (broken(lambda n: data(n).pop("node_ip")), "node_ip of .*'Node2': is missing"),
        (broken(lambda n: data(n).update(client_ip="a host")), "line 2: .*client_ip of"),
        (broken(lambda n: data(n).update(client_ip="localhost")), "'localhost' is not an IP"),
        (broken(lambda n: data(n).update(blskey="4N8a")), "blskey of .*'Node2': .* 3 bytes"),
        (broken(lambda n: data(n).update(blskey="0OIl")), "blskey of .*'Node2': .*base58"),
        (
            broken(lambda n: data(n).update(services="VALIDATOR")),
            "line 2: .*services: must be a list",
        ),
        (broken(lambda n: data(n).update(alias="Node1")), "line 2: .*names a node twice"),
        (
            broken(lambda n: n["txn"]["data"].update(dest=dest("x")[:-5])),
            "line 2: txn.data.dest",
        ),
        (broken(lambda n: n["txn"]["data"].update(dest="0OIl")), "line 2: txn.data.dest"),
        (broken(lambda n: n["txn"]["data"].update(dest=dest("Node1"))), "keeps its name"),
        (
            compact(*four(), update(5, "Node4", client_ip="node.example")),
            "line 5: .*client_ip of the validator 'Node4'",
        ),
        (
            compact(*four(), *(update(4 + n, f"Node{n}", services=[]) for n in range(1, 5))),
            r"this one has 0 \(and 4 others\)",
        ),
    ],
)
def test_anything_else_is_refused_with_line_and_member(text: str, says: str) -> None:
    with pytest.raises(GenesisError, match=says):
        Genesis.parse(text)


async def test_a_validator_that_indy_vdr_would_leave_out_is_told() -> None:
    """A network of 3 bears no faulty node, one of 4 bears one: nobody may vanish silently."""
    no_point = genesis(4, "Node4")
    no_point["txn"]["data"]["dest"] = "C34q9R3EGnJZtCm8t3Kr2bmw7v8jutT46RUsxJFv99Ye"

    async def read() -> Genesis:
        return Genesis.parse(compact(*four()[:3], no_point))

    pool = Pool("local", read, None)
    status = await pool.refresh()
    assert status.answers is False
    assert status.last_error is not None
    assert "Node4" in status.last_error
    await pool.close()


async def test_a_changed_genesis_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "local"
    first = await load(URL, serving(GOOD), folder)
    assert await load(URL, serving(GOOD + "\n"), folder) == first
    with pytest.raises(GenesisError, match=f"delete the folder {folder}"):
        await load(URL, serving(compact(genesis(1, "Node1"))), folder)
    source = tmp_path / "genesis"
    source.write_text(compact(genesis(1, "Node1")))
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
    first = Genesis.parse(GOOD)
    assert first.begins(first)
    assert first.begins(Genesis.parse(GOOD + compact(update(5, "Node4", services=[]))))
    assert not first.begins(Genesis.parse(compact(genesis(1, "Node1"))))
    assert not first.begins(Genesis.parse(compact(genesis(1, "Node2"), *four()[1:1])))


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (None, "cannot read the genesis {file}: No such file or directory"),
        ("<html>", "{file} is not a genesis (genesis line 1"),
        (
            "",
            "{file} is not a genesis (a genesis has 1 to 200 nodes that are validators, this one has 0",
        ),
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
