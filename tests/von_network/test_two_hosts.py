"""A network on one host, an agent on another: two network namespaces with a wire between them.

Needs root and iproute2 on Linux. What a test made is removed, whatever happens in it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import visitor
from pool import MANAGE

HERE, THERE = "10.77.83.1", "10.77.83.2"
LONGEST_S = 240


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, timeout=LONGEST_S,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def ip(*words: str) -> None:
    done = run("ip", *words)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@dataclass(frozen=True, slots=True)
class Host:
    """A network namespace."""

    name: str

    def run(self, *words: str | Path) -> str:
        done = run("ip", "netns", "exec", self.name, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach each other, and nothing else."""
    if not shutil.which("ip"):
        pytest.skip("two hosts on one machine need the command ip (iproute2)")
    here, there = (f"indykeep-{os.getpid()}-{end}" for end in "ab")
    with ExitStack() as undo:
        try:
            for name in (here, there):
                ip("netns", "add", name)
                undo.callback(ip, "netns", "del", name)  # its end of the wire goes with it
                ip("-n", name, "link", "set", "lo", "up")
            wire = ("veth", "peer", "name", "wire", "netns", there)
            ip("link", "add", "wire", "netns", here, "type", *wire)
            for name, address in ((here, HERE), (there, THERE)):
                ip("-n", name, "address", "add", f"{address}/24", "dev", "wire")
                ip("-n", name, "link", "set", "wire", "up")
        except OSError as error:
            pytest.skip(f"two hosts on one machine need root and network namespaces: {error}")
        yield Host(here), Host(there)


@pytest.mark.pool
def test_an_agent_on_another_host_registers_and_writes(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    here, there = hosts
    folder = ("--dir", tmp_path / "net")
    own = ("--port-base", "auto", "--seeds", "random", "--die-with", str(os.getpid()))
    with ExitStack() as undo:
        undo.callback(here.run, MANAGE, "down", *folder)
        told = json.loads(here.run(MANAGE, "start", *folder, *own, "--host", HERE, "--json"))
        assert told["web"].startswith(f"http://{HERE}:")
        found = json.loads(
            there.run(sys.executable, "-P", visitor.__file__, told["web"], tmp_path / "agent")
        )
        assert found["schema"]
        assert found["foreign"] == 403
        seen = json.loads(here.run(MANAGE, "ledger", "get-nym", found["did"], *folder))
        assert seen["data"]["dest"] == found["did"]
        sockets = here.run("ss", "-Hltn")
        listening = {line.split()[3].rpartition(":")[0] for line in sockets.splitlines()}
        assert listening == {HERE, "127.0.0.1"}  # and no other address of the machine


@pytest.mark.pool
def test_what_others_can_do_is_said_before_anything_starts(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    here, _ = hosts
    words = (str(MANAGE), "start", "--dir", str(tmp_path / "net"), "--host", HERE)
    command = ("ip", "netns", "exec", here.name, *words, "--port-base", "auto")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as start:
        assert start.stderr is not None
        told = [start.stderr.readline() for _ in range(3)]
        start.terminate()
        start.communicate()
    assert told[0] == f"open to everybody who reaches {HERE}: reading and writing the ledger\n"
    assert "trustees by the seeds that everybody knows" in told[1]
    assert "--seeds random" in told[1]
    assert "REGISTER_NEW_DIDS=False" in told[2]
    assert "REGISTER_TOKEN" in told[2]
