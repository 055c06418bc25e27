"""The author agreement from files, as the classic von-network takes it: AML_ and TAA_CONFIG_FILE."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fake_network import TRUSTEE_SEED
from indy_client import Client
from pool import manage

from keep_network import agreement
from keep_network.errors import BadInputError
from keep_network.web.settings import Settings

AML = {
    "version": "1.0",
    "context": "http://aml",
    "aml": {"on_file": "kept", "at_submission": "é"},
}
TAA = {"version": "1.1", "text": "agree *here*\n\n- é", "ratification_ts": 1597654073}
BASE = {"GENESIS_FILE": "genesis", "LEDGER_SEED": TRUSTEE_SEED}


def write(folder: Path, name: str, told: Any) -> str:
    file = folder / name
    file.write_text(told if isinstance(told, str) else json.dumps(told))
    return str(file)


def test_the_classic_files_become_the_operations_of_the_ledger(tmp_path: Path) -> None:
    env = {
        "AML_CONFIG_FILE": write(tmp_path, "aml.json", AML),
        "TAA_CONFIG_FILE": write(tmp_path, "taa.json", TAA),
    }
    made = Settings.load(BASE | env)
    assert made.aml == {
        "type": "5", "version": "1.0", "aml": AML["aml"], "amlContext": "http://aml"
    }  # fmt: skip
    assert made.taa == {"type": "4", **TAA}
    bare = agreement.read_taa(Path(write(tmp_path, "bare", {"version": "2", "text": "t"})))
    assert bare["ratification_ts"] > 1_700_000_000


@pytest.mark.parametrize(
    ("variable", "told", "why"),
    [
        ("AML_CONFIG_FILE", "{", "it is not JSON"),
        ("AML_CONFIG_FILE", "[]", "it must be a JSON object"),
        ("AML_CONFIG_FILE", {"aml": {"a": "b"}}, "version must be a text"),
        ("AML_CONFIG_FILE", {"version": "1", "aml": {}}, "aml is an object with at least one"),
        ("AML_CONFIG_FILE", AML | {"context": 1}, "context is a text"),
        ("TAA_CONFIG_FILE", {"version": 1, "text": "t"}, "version must be a text"),
        ("TAA_CONFIG_FILE", {"version": "1"}, "text must be a text"),
        ("TAA_CONFIG_FILE", TAA | {"ratification_ts": "now"}, "ratification_ts is a number"),
        ("TAA_CONFIG_FILE", "[" * 100_000, "it is not JSON"),
        ("TAA_CONFIG_FILE", json.dumps(TAA) + " " * (1 << 20), "a JSON object of at most 1 MB"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(
    variable: str, told: Any, why: str, tmp_path: Path
) -> None:
    file = write(tmp_path, "bad.json", told)
    with pytest.raises(BadInputError, match=why) as refused:
        Settings.load(BASE | {variable: file})
    assert str(refused.value).startswith(f"{variable}: {file}: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"absent: it cannot be read: No such file"):
        Settings.load(BASE | {"TAA_CONFIG_FILE": str(tmp_path / "absent")})
    with pytest.raises(BadInputError, match="TAA_CONFIG_FILE needs LEDGER_SEED"):
        Settings.load({"GENESIS_FILE": "g", "TAA_CONFIG_FILE": str(tmp_path / "absent")})


@pytest.mark.pool
async def test_a_network_starts_with_its_agreement_and_starts_again_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All writes need an acceptance from then on, those of `start` and `register` too."""
    words = ("--dir", tmp_path / "net", "--port-base", "auto", "--die-with", str(os.getpid()))
    monkeypatch.setenv("TAA_CONFIG_FILE", write(tmp_path, "taa.json", "{"))
    refused = manage("start", *words)
    assert refused.returncode == 2
    assert "taa.json: it is not JSON" in refused.stderr
    assert not list((tmp_path / "net").glob("genesis/*"))  # nothing was made

    monkeypatch.setenv("AML_CONFIG_FILE", write(tmp_path, "aml.json", AML))
    write(tmp_path, "taa.json", TAA)
    started = manage("start", *words, "--json")
    assert started.returncode == 0, started.stderr
    web = json.loads(started.stdout)["web"]
    place = ("--dir", tmp_path / "net")
    there = json.loads(manage("ledger", "get-taa", *place).stdout)["data"]
    assert (there["version"], there["text"]) == ("1.1", TAA["text"])
    assert json.loads(manage("ledger", "get-aml", *place).stdout)["data"]["aml"] == AML["aml"]

    assert manage("restart", *place).returncode == 0  # its first write accepts
    did, verkey = "LibindyDid111111111111", "GJ1SzoWzavQYfNL9XkaJdrQejfztN4XqdsiV4ct3LXKL"
    taken = manage("register", *place, "--did", did, "--verkey", verkey, "--role", "none")
    assert taken.returncode == 0, taken.stderr
    client = await Client.open(next((tmp_path / "net").glob("genesis/*/pool_transactions_g*")))
    assert await client.read(did) == verkey
    async with aiohttp.ClientSession() as session, session.get(f"{web}/ledger/config") as told:
        assert (await told.json())["total"] == 2  # the same versions are not written again
    assert manage("down", *place).returncode == 0
