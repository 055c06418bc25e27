"""The command line, with agents as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from agent.api.conftest import KEY, agent
from agent.processes import ended, environment, introduce, launch, output, spawned

from keep_agent.cli import main
from keep_agent.settings import Settings

SECRET_WORDS = "the secret of this very test"
SEED = "0000000000000000000000000Secret1"


async def test_two_agents_meet_and_keep_their_secrets(tmp_path: Path) -> None:
    """The whole way as processes: connect, ping, write; and SEC-W: secrets stay inside."""
    async with (
        spawned(tmp_path / "alice", LOG_LEVEL="DEBUG", LABEL="Alice") as alice,
        spawned(tmp_path / "faber", LOG_LEVEL="DEBUG", LABEL="Faber") as faber,
    ):
        to_alice, to_faber = await introduce(faber.client, alice.client)
        ping = await alice.client.start("trust-ping", "send-ping", to_faber)
        await alice.client.wait("trust-ping", ping["id"], "done", timeout=20)
        await alice.client.start(
            "basic-message", "send-message", to_faber, content=SECRET_WORDS
        )
        did = await faber.client.create_did(seed=SEED)
        found = await faber.client.list("basic-message", connection=to_alice)
        answers = json.dumps(
            [
                did,
                found,
                await faber.client.status(),
                await faber.client.call("GET", "/v1/events"),
            ]
        )
        shown = " ".join(
            word
            for agent in (alice, faber)
            for word in psutil.Process(agent.process.pid).cmdline()
        )
        assert "run" in shown
    secrets = [SEED, SECRET_WORDS]
    for name in ("alice", "faber"):
        for key in ("store.key", "admin.key"):
            file = tmp_path / name / "data" / key
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            secrets.append(file.read_text("ascii").strip())
    logs = "".join((tmp_path / name / "log").read_text("utf-8") for name in ("alice", "faber"))
    assert "created a key file" in logs
    for secret in secrets:
        assert secret not in shown
        assert secret not in logs
        assert secret == SECRET_WORDS or secret not in answers


async def test_run_says_where_everything_is(tmp_path: Path) -> None:
    process = await launch(tmp_path)
    said = "".join([await output(process) for _ in range(4)])
    assert re.search(r"http://127\.0\.0\.1:\d+/d/main\n", said)
    assert str(tmp_path / "data" / "admin.key") in said
    assert "Ctrl-C" in said
    process.send_signal(signal.SIGINT)
    assert await ended(process) == 0


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    process = await launch(tmp_path, "--json")
    await output(process)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert await ended(process) in {0, 1}


async def test_a_signal_during_the_start_ends_the_start(tmp_path: Path) -> None:
    process = await launch(tmp_path, "--json")
    store = tmp_path / "data" / "agent.db"
    while not store.exists():  # noqa: ASYNC110 - another process sets no event of ours
        await asyncio.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    assert await ended(process) == 0


async def test_an_agent_ends_with_the_process_that_it_lives_for(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec("sleep", "1000")
    process = await launch(tmp_path, "--json", "--die-with", str(parent.pid))
    await output(process)
    parent.kill()
    await parent.wait()
    assert await ended(process) == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"PROT": "1"}, "INDYKEEP_PROT: no such setting; did you mean INDYKEEP_PORT?"),
        ({"PORT": "70000"}, "INDYKEEP_PORT: must be 0..65535"),
        ({"STORE_URI": "mysql://u@x/y"}, "must be sqlite://PATH or postgres://"),
        ({"STORE_URI": "postgresql://u@x/y"}, "the key of the store is missing"),
        ({"ADMIN_HOST": "0.0.0.0"}, "must be loopback"),
        ({"ADMIN_KEY": "too-short"}, "must have at least 16 characters"),
        ({"LEDGERS": '[{"plugin": "nix", "namespace": "x"}]'}, "no ledger plugin 'nix'"),
        (
            {
                "LEDGERS": '[{"plugin": "indy", "namespace": "x", "genesis": "/nowhere/genesis"}]'
            },
            "the ledger x: cannot read the genesis /nowhere/genesis: No such file",
        ),
        ({"STORE_KEY_FILE": "/nowhere/key"}, "key file /nowhere/key: No such file"),
        ({"DIE_WITH": "x"}, "INDYKEEP_DIE_WITH"),
        ({"HOST": "192.0.2.1"}, "cannot listen on 192.0.2.1"),
    ],
)
def test_bad_settings_are_told_in_a_sentence(
    tmp_path: Path,
    given: dict[str, str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment(tmp_path, **given).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "_exit", sys.exit)  # a start that fails must not end this process
    monkeypatch.setattr("keep_agent.logs.set_up", max)  # the log of this process stays as it is
    assert main.main(["run", "--json"]) == main.REFUSED
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("indykeep: ")
    assert says in said.err
    assert "too-short" not in said.err


async def test_a_taken_port_a_held_store_and_a_wrong_key_are_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for name in ("PORT", "ADMIN_PORT"):
            process = await launch(tmp_path / name, "--json", **{name: port})
            assert await ended(process) == main.REFUSED
            log = (tmp_path / name / "log").read_text("utf-8")
            assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in log
            assert "Traceback" not in log
    async with spawned(tmp_path / "held") as first:
        process = await launch(tmp_path / "held", "--json")
        assert await ended(process) == main.REFUSED
        log = (tmp_path / "held" / "log").read_text("utf-8")
        assert f"is held by process {first.process.pid}; stop it first" in log
    key = tmp_path / "held" / "data" / "store.key"
    key.write_text("1" * 31 + "2\n", "ascii")
    process = await launch(tmp_path / "held", "--json")
    assert await ended(process) == main.REFUSED
    log = (tmp_path / "held" / "log").read_text("utf-8")
    assert "the key does not open the store" in log
    assert "Traceback" not in log


async def test_a_network_that_does_not_answer_keeps_no_agent_from_its_start(
    tmp_path: Path,
) -> None:
    ledgers = [{"plugin": "indy", "namespace": "x", "genesis": "http://127.0.0.1:9/genesis"}]
    async with spawned(tmp_path, LEDGERS=json.dumps(ledgers)) as agent:
        [ledger] = (await agent.client.status())["ledgers"]
        assert (ledger["namespace"], ledger["answers"]) == ("x", None)


async def test_what_was_said_is_there_after_a_restart(tmp_path: Path) -> None:
    async with spawned(tmp_path) as agent:
        made = await agent.client.start("out-of-band", "create-invitation")
        before = await agent.client.call("GET", "/v1/events")
    async with spawned(tmp_path) as agent:
        assert await agent.client.get("out-of-band", made["id"]) == made
        after = await agent.client.call("GET", "/v1/events")
        assert after == before
        newer = await agent.client.call("GET", "/v1/events", query={"after": before["next"]})
        assert newer["results"] == []


async def test_status_asks_a_running_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    async with agent(tmp_path, "Asked") as asked:
        args = ["status", "--url", asked.url, "--key-file", str(key)]
        assert await asyncio.to_thread(main.main, args) == 0
        assert json.loads(capsys.readouterr().out)["label"] == "Asked"
        key.write_text("another one")
        assert await asyncio.to_thread(main.main, args) == main.REFUSED
        assert "the admin key is missing or wrong" in capsys.readouterr().err
        args[-1] = str(tmp_path / "none")
        assert await asyncio.to_thread(main.main, args) == main.REFUSED
        assert "No such file" in capsys.readouterr().err
    args[-1] = str(key)
    assert await asyncio.to_thread(main.main, args) == main.REFUSED
    assert "does not answer" in capsys.readouterr().err


async def test_the_public_did_of_a_running_agent_is_set_shown_and_withdrawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    async with agent(tmp_path, "Asked") as asked:
        did = (await asked.client.create_did())["did"]

        async def say(*words: str) -> tuple[int, str]:
            args = ["public-did", "--url", asked.url, "--key-file", str(key), *words]
            code = await asyncio.to_thread(main.main, args)
            said = capsys.readouterr()
            return code, said.out or said.err

        assert json.loads((await say())[1]) == {"results": []}
        for word in ("--implicit-requests", "--no-implicit-requests"):
            code, said = await say(word)
            assert (code, "goes with --set" in said) == (main.REFUSED, True)
        with pytest.raises(SystemExit):
            await say("--set", did, "--withdraw", "local")
        assert "not allowed with" in capsys.readouterr().err
        code, said = await say("--set", "WgWxqztrNooG92RXvxSTWv")
        assert (code, "several people hold" in said) == (main.REFUSED, True)
        code, said = await say("--set", did, "--implicit-requests")
        [shown] = json.loads(said)["results"]
        assert (code, shown["did"], shown["namespace"]) == (0, did, "local")
        assert (shown["on_ledger"], shown["implicit_requests"]) == (False, True)
        assert "register it" in shown["problem"]
        for words, takes in (([], True), (["--no-implicit-requests"], False), ([], False)):
            [shown] = json.loads((await say("--set", did, *words))[1])["results"]
            assert shown["implicit_requests"] is takes
        code, said = await say("--withdraw", "local")
        assert (code, json.loads(said)) == (0, {"results": []})


def test_settings_explains_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["settings"]) == 0
    said = capsys.readouterr().out
    for name in Settings.model_fields:
        assert re.search(rf"^INDYKEEP_{name.upper()}( = .*)?\n    \w", said, re.MULTILINE), name


def test_version_and_help_teach(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("--version", "--help"):
        with pytest.raises(SystemExit) as ended_with:
            main.main([word])
        assert ended_with.value.code == 0
    said = capsys.readouterr().out
    assert re.match(r"indykeep \d+\.\d+\.\d+\nusage: ", said)
    assert "indykeep run --config agent.toml" in said


def test_help_needs_no_library(tmp_path: Path) -> None:
    """The start of a process is measured; what is not needed is not imported."""
    code = (
        "import sys, keep_agent.cli.main as c; c._parser();"
        "heavy = 'aiohttp', 'pydantic', 'aries_askar', 'importlib.metadata';"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert done.stdout == "[]\n"
