"""Bad input and missing things: one clear sentence, the right exit status, nothing changed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from pool import MANAGE, manage

from keep_network import ports
from keep_network.dids import short
from keep_network.logs import Reader

DID = "LibindyDid111111111111"
VERKEY = "GJ1SzoWzavQYfNL9XkaJdrQejfztN4XqdsiV4ct3LXKL"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "net"
    result = manage("generate-genesis", "--dir", folder, "--port-base", "auto")
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def prepared(made: Path, tmp_path: Path) -> Path:
    """A network that was never started."""
    return Path(shutil.copytree(made, tmp_path / "net"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--nodes", "1"], "a single node never finishes its catch-up"),
        (["--nodes", "5"], "a network has 4 or 7 nodes"),
        (["--nodes", "four"], "a network has 4 or 7 nodes"),
        (["--port-base", "80"], "a port is 1024 to 65520, or auto"),
        (["--port-base", "65530"], "a port is 1024 to 65520, or auto"),
        (["--port-base", "any"], "a port is 1024 to 65520, or auto"),
        (["--web-port", "80"], "a web port is 1024 to 65520, or none"),
        (["--web-port", "auto"], "a web port is 1024 to 65520, or none"),
        (["--die-with", "999999999"], "there is no process 999999999"),
        (["--name", "../up"], "a name is 1 to 40 of a-z, 0-9, _ and -"),
    ],
)
def test_a_start_that_cannot_be_is_refused(
    words: list[str], sentence: str, tmp_path: Path
) -> None:
    refused = manage("start", "--dir", tmp_path / "net", *words)
    assert refused.returncode == 2
    assert sentence in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"--did": "did:key:" + DID}, "a DID is 16 bytes in base58"),
        ({"--did": "did:indy:x:" + VERKEY}, "a DID is 16 bytes in base58"),
        ({"--did": VERKEY}, "a DID is 16 bytes in base58"),
        ({"--did": DID[:-1] + "0"}, "a DID is 16 bytes in base58"),
        ({"--did": "é" * 22}, "a DID is 16 bytes in base58"),
        ({"--did": ""}, "a DID is 16 bytes in base58"),
        ({"--verkey": DID}, "a verkey is 32 bytes in base58"),
        ({"--verkey": "~" + DID}, "a verkey is 32 bytes in base58"),
        ({"--role": "KING"}, "a role is one of ENDORSER, TRUSTEE, STEWARD, none"),
        ({"--role": "endorser"}, "a role is one of ENDORSER, TRUSTEE, STEWARD, none"),
        ({"--alias": ""}, "an alias is 1 to 256 printable characters"),
        ({"--alias": "a\nb"}, "an alias is 1 to 256 printable characters"),
        ({"--alias": "a" * 257}, "an alias is 1 to 256 printable characters"),
    ],
)
def test_a_registration_that_no_ledger_takes_is_refused(
    changed: dict[str, str], sentence: str
) -> None:
    options = {"--did": DID, "--verkey": VERKEY} | changed
    refused = manage("register", *(f"{name}={value}" for name, value in options.items()))
    assert refused.returncode == 2
    assert sentence in refused.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["kill", "four"], "a node is Node1, Node2 and so on, not four"),
        (["kill", "Node5"], "there is no Node5; net has Node1 to Node4"),
        (["freeze", "0"], "a node is Node1, Node2 and so on, not 0"),
        (["thaw", "Node9"], "there is no Node9; net has Node1 to Node4"),
        (["partition", "Node1,Node2", "Node2"], "a node can be on one side only"),
        (["partition", "Node1,Node7"], "there is no Node7"),
        (["logs", "Node5"], "there is no Node5"),
        (["snapshot", "../../etc"], "a name is 1 to 40 of a-z, 0-9, _ and -"),
        (["restore", "yesterday"], "there is no snapshot yesterday; there is none"),
        (["ledger", "get-txn", "0"], "a transaction has a number from 1"),
        (["ledger", "get-nym", "nobody"], "no ledger accepts that"),
        (["restart", "--processes", "--one-process"], "not allowed with argument"),
    ],
)
def test_a_fault_or_a_read_that_makes_no_sense_is_refused(
    words: list[str], sentence: str, prepared: Path
) -> None:
    refused = manage(*words, "--dir", prepared)
    assert refused.returncode == 2
    assert sentence in refused.stderr


@pytest.mark.parametrize(
    ("verb", "ident"),
    [
        ("get-nym", f"did:indy:x:{DID}"),
        ("get-schema", f"did:indy:x:y:{DID}/anoncreds/v0/SCHEMA/a b/1.0"),
        ("get-cred-def", f"did:indy:x:{DID}/anoncreds/v0/CLAIM_DEF/8/tag"),
        ("get-revoc-reg-def", f"did:indy:x:{DID}/anoncreds/v0/REV_REG_DEF/8/tag/one"),
        ("get-revoc-reg", f"did:indy:x:{DID}/anoncreds/v0/REV_REG_ENTRY/8/tag/one"),
    ],
)
def test_a_read_takes_ids_with_their_network(verb: str, ident: str, prepared: Path) -> None:
    refused = manage("ledger", verb, ident, "--dir", prepared)
    assert "net does not run; start it first" in refused.stderr


@pytest.mark.parametrize(
    ("ident", "written"),
    [
        (DID, DID),
        (f"did:sov:{DID}", DID),
        (f"did:indy:sovrin:staging:{DID}", DID),
        (f"did:indy:x:{DID}/anoncreds/v0/SCHEMA/a/b/1.0", f"{DID}:2:a/b:1.0"),
        (f"did:indy:x:{DID}/anoncreds/v0/CLAIM_DEF/8/a/b", f"{DID}:3:CL:8:a/b"),
        (
            f"did:indy:x:{DID}/anoncreds/v0/REV_REG_DEF/8/tag/one",
            f"{DID}:4:{DID}:3:CL:8:tag:CL_ACCUM:one",
        ),
        (f"did:indy:x:{DID}/anoncreds/v0/KING/8", f"did:indy:x:{DID}/anoncreds/v0/KING/8"),
        (f"{DID}:2:a:1.0", f"{DID}:2:a:1.0"),
    ],
)
def test_an_id_is_shortened_to_what_the_ledger_writes(ident: str, written: str) -> None:
    assert short(ident) == written


@pytest.mark.parametrize("words", ["kill 1", "freeze 1", "partition 1", "heal", "add-node"])
def test_a_fault_needs_a_network_that_runs(words: str, prepared: Path) -> None:
    refused = manage(*words.split(), "--dir", prepared)
    assert refused.returncode == 1
    assert "net does not run; start it first" in refused.stderr


def test_a_snapshot_is_the_whole_state_and_is_put_back_whole(prepared: Path) -> None:
    def state() -> dict[str, bytes]:
        files = [path for path in prepared.rglob("*") if path.is_file()]
        ours = [path for path in files if "snapshots" not in path.parts]
        return {str(path): path.read_bytes() for path in ours}

    before = state()
    assert manage("snapshot", "first", "--dir", prepared).returncode == 0
    again = manage("snapshot", "first", "--dir", prepared)
    assert again.returncode == 2
    assert "there is a snapshot first already" in again.stderr

    shutil.rmtree(prepared / "keys")
    (prepared / "data").mkdir(exist_ok=True)
    (prepared / "data" / "more").write_text("later")
    assert manage("restore", "first", "--dir", prepared).returncode == 0
    assert state() == before
    unknown = manage("restore", "second", "--dir", prepared)
    assert "there is no snapshot second; there are: first" in unknown.stderr


@pytest.mark.parametrize("keep", [0, 100, 3000])
def test_a_damaged_snapshot_changes_nothing(keep: int, prepared: Path) -> None:
    manage("snapshot", "torn", "--dir", prepared)
    file = prepared / "snapshots" / "torn.tar.gz"
    file.write_bytes(file.read_bytes()[:keep])
    keys = sorted((prepared / "keys").rglob("*"))
    refused = manage("restore", "torn", "--dir", prepared)
    assert refused.returncode == 1
    assert "torn.tar.gz cannot be unpacked" in refused.stderr
    assert sorted((prepared / "keys").rglob("*")) == keys
    assert not (prepared / "restoring").exists()
    assert json.loads(manage("status", "--json", "--dir", prepared).stdout)["pids"] == {}


def test_reset_leaves_addresses_and_snapshots_and_nothing_else(prepared: Path) -> None:
    before = json.loads(manage("status", "--json", "--dir", prepared).stdout)["ports"]
    manage("snapshot", "kept", "--dir", prepared)
    assert manage("reset", "--dir", prepared).returncode == 0
    assert not (prepared / "keys").exists()
    assert json.loads(manage("status", "--json", "--dir", prepared).stdout)["ports"] == before
    assert manage("restore", "kept", "--dir", prepared).returncode == 0
    assert (prepared / "keys").is_dir()


def test_logs_are_told_apart_and_a_part_of_a_line_waits(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    (log / "nodes-1.out").write_text("one\ntwo\nthr")
    (log / "nodes-2.out").write_text("other\n")
    assert list(Reader(tmp_path, 2).lines()) == ["nodes-2 | other"]
    reader = Reader(tmp_path, None)
    assert list(reader.lines()) == ["nodes-1 | one", "nodes-1 | two", "nodes-2 | other"]
    with (log / "nodes-1.out").open("a") as file:
        file.write("ee\n")
    assert list(reader.lines()) == ["nodes-1 | three"]
    (log / "nodes-1.out").write_text("new\n")
    assert list(reader.lines()) == ["nodes-1 | new"]


@pytest.mark.parametrize("verb", ["status", "stop", "down", "register"])
def test_an_unknown_network_is_named_beside_those_that_exist(verb: str, prepared: Path) -> None:
    words = ("--did", DID, "--verkey", VERKEY) if verb == "register" else ()
    refused = manage(verb, "--dir", prepared.parent / "other", *words)
    assert refused.returncode == 1
    assert f"there is no network in {prepared.parent / 'other'}" in refused.stderr
    assert "there are: net" in refused.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--did", DID),
        ("--verkey", VERKEY),
        ("--seed", "x", "--did", DID),
        ("--seed", "x", "--verkey", VERKEY),
        (),
    ],
)
def test_who_is_registered_is_told_in_one_way(words: tuple[str, ...], prepared: Path) -> None:
    refused = manage("register", "--dir", prepared, *words)
    assert refused.returncode == 2
    assert "give --did and --verkey, or --seed alone" in refused.stderr


def test_a_seed_is_that_of_the_web_server(prepared: Path) -> None:
    refused = manage("register", "--dir", prepared, "--seed", "x" * 33)
    assert refused.returncode == 2
    assert "Seed must be between 0 and 32 characters long." in refused.stderr
    refused = manage("register", "--dir", prepared, "--seed", "x")
    assert "net does not run; start it first" in refused.stderr


def test_the_words_of_the_classic_network_are_known(prepared: Path) -> None:
    refused = manage("up", "--wait", "203.0.113.5", "--dir", prepared)
    assert refused.returncode == 2
    assert "203.0.113.5" in refused.stderr
    for verb in ("build", "rebuild"):
        told = manage(verb)
        assert (told.returncode, "there is nothing to build" in told.stderr) == (0, True)
    assert manage("rm", "--dir", prepared).returncode == 0
    assert not prepared.exists()


def test_the_web_port_may_come_from_the_classic_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = manage("start", "WEB_SERVER_HOST_PORT=80", "--dir", tmp_path / "net")
    assert refused.returncode == 2
    assert "WEB_SERVER_HOST_PORT: a web port is 1024 to 65520" in refused.stderr
    monkeypatch.setenv("WEB_SERVER_HOST_PORT", "9123")
    words = ("--dir", tmp_path / "net", "--port-base", "auto")
    assert manage("generate-genesis", *words).returncode == 0
    assert json.loads((tmp_path / "net" / "network.json").read_text())["web_port"] == 9123


@pytest.mark.parametrize("prefix", ["", "did:sov:", "did:indy:sovrin:staging:"])
def test_a_did_is_not_registered_where_nothing_runs(prefix: str, prepared: Path) -> None:
    refused = manage("register", "--dir", prepared, "--did", prefix + DID, "--verkey", VERKEY)
    assert refused.returncode == 1
    assert "net does not run; start it first" in refused.stderr


def test_the_genesis_is_that_of_the_classic_network(prepared: Path) -> None:
    text = manage("generate-genesis", "--dir", prepared).stdout
    nodes = [json.loads(line)["txn"]["data"] for line in text.splitlines()]
    assert [node["data"]["alias"] for node in nodes] == ["Node1", "Node2", "Node3", "Node4"]
    assert nodes[0]["dest"] == "Gw6pDLhcBcoQesN72qfotTgFa7cbuqZpkX3Xo6pLhPhv"
    assert {node["data"]["node_ip"] for node in nodes} == {"127.0.0.1"}
    told = json.loads(manage("status", "--dir", prepared, "--json").stdout)
    assert told["pids"] == {}
    assert [[node["data"]["node_port"], node["data"]["client_port"]] for node in nodes] == list(
        told["ports"].values()
    )


def test_ports_of_a_stopped_neighbour_are_not_given_away(prepared: Path) -> None:
    manage("generate-genesis", "--dir", prepared.parent / "other", "--port-base", "auto")
    told = [
        json.loads(manage("status", "--dir", prepared.parent / name, "--json").stdout)
        for name in ("net", "other")
    ]
    ports = [port for one in told for pair in one["ports"].values() for port in pair]
    assert len(set(ports)) == 16


def test_a_port_that_another_program_holds_is_named_with_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        words = ("--dir", tmp_path / "net", "--port-base", str(min(port, 65520)))
        refused = manage("start", *words)
    assert refused.returncode == 1
    assert f"port {port} is taken by process {os.getpid()}" in refused.stderr
    assert "--port-base auto" in refused.stderr
    assert not (tmp_path / "net" / "network.json").exists()


def test_of_a_new_network_that_did_not_start_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        words = ("--port-base", "auto", "--web-port", port, "--seeds", "random")
        refused = manage("start", "--dir", folder, *words)
    assert refused.returncode == 1
    assert f"port {port} is taken by process {os.getpid()}" in refused.stderr
    assert "are those of outgoing connections here" in refused.stderr
    assert [path.name for path in folder.iterdir()] == ["lock"]
    assert "there is no network in" in manage("status", "--dir", folder).stderr


def test_ports_of_outgoing_connections_are_risky(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "range").write_text("32768\t60999\n")
    monkeypatch.setattr(ports, "_OUTGOING", tmp_path / "range")
    assert ports.warning([9701, 32767, 61000, 0]) == ""
    assert "ports from 32768 to 60999 are those" in ports.warning([9701, 32768])
    monkeypatch.setattr(ports, "_OUTGOING", tmp_path / "absent")
    assert "ports from 49152 to 65535 are those" in ports.warning([65535])


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    refused = manage("start", "--dir", tmp_path)
    assert refused.returncode == 2
    assert "has other things in it" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_down_deletes_the_network_and_not_what_others_put_beside_it(prepared: Path) -> None:
    (prepared / "notes.txt").write_text("mine")
    assert manage("down", "--dir", prepared).returncode == 0
    assert [path.name for path in prepared.iterdir()] == ["notes.txt"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = manage("start", "--dir", tmp_path / "file" / "net")
    assert refused.returncode == 1
    assert refused.stderr.strip() == f"manage: {tmp_path}/file/net: Not a directory"


def test_a_damaged_record_is_said_and_not_overwritten(prepared: Path) -> None:
    record = prepared / "network.json"
    record.write_text('{"name": "net"')
    refused = manage("start", "--dir", prepared)
    assert refused.returncode == 1
    assert "network.json is damaged" in refused.stderr
    assert record.read_text() == '{"name": "net"'


def test_in_a_fresh_checkout_the_nodes_venv_is_made_first(tmp_path: Path) -> None:
    folder = tmp_path / "von-network"
    folder.mkdir()
    shutil.copy(MANAGE, folder)
    (tmp_path / "manage").write_text('#!/bin/sh\necho "$@ in $(pwd)"\n')
    (tmp_path / "manage").chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name != "INDYKEEP_NODE_VENV"}
    words = [str(folder / "manage"), "start", "--dir", "here"]
    told = subprocess.run(
        words, env=env, cwd=folder, capture_output=True, text=True, check=True
    )
    assert told.stdout == f"network start --dir here in {folder}\n"


def test_a_node_venv_that_is_named_and_not_there_is_said(tmp_path: Path) -> None:
    result = subprocess.run(
        [str(MANAGE), "status"],
        env=os.environ | {"INDYKEEP_NODE_VENV": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert f"INDYKEEP_NODE_VENV names a folder without bin/python: {tmp_path}" in result.stderr
