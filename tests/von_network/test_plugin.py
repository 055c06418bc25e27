"""The pytest plugin as another project uses it: from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = """
import json
from pathlib import Path

async def test_my_agent(indy_network):
    nodes = [json.loads(line) for line in indy_network.genesis.read_text().splitlines()]
    assert len(nodes) == 4
    await indy_network.register("LibindyDid111111111111", indy_network.trustee.verkey)
    Path("folder").write_text(str(indy_network.folder))

def test_it_is_the_same_network(indy_network):
    assert str(indy_network.folder) == Path("folder").read_text()
    assert len(indy_network.trustee.seed) == 32 and "Trustee1" not in repr(indy_network.trustee)
    FAULT
"""
FAULT = "indy_network.kill(2); assert len(indy_network.pids) == 3; indy_network.heal()"
LONG = bool(os.environ.get("INDYKEEP_CAMPAIGN"))


def in_project(folder: Path, text: str, **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_mine.py").write_text(text)
    words = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
    ]
    words += ["-o", "asyncio_mode=auto"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=folder,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.pool
def test_a_network_is_there_for_the_asking_and_ends_with_the_tests(tmp_path: Path) -> None:
    done = in_project(tmp_path, PROJECT.replace("FAULT", FAULT if LONG else ""))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert (Path((tmp_path / "folder").read_text()) / "processes.json").read_text() == "[]"


def test_without_a_checkout_the_variable_that_names_one_is_named(tmp_path: Path) -> None:
    text = "def test_mine(indy_network): pass\n"
    done = in_project(tmp_path, text, INDYKEEP_CHECKOUT=str(tmp_path))
    assert done.returncode == 1
    assert f"{tmp_path} is not a checkout of Indykeep" in done.stdout
    assert "set INDYKEEP_CHECKOUT to a checkout" in done.stdout
