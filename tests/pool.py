"""A real local Indy network for tests: the fixture `network` is one pool for the whole run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MANAGE = Path(__file__).parents[1] / "von-network" / "manage"


def manage(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one verb of von-network/manage to its end."""
    command = [str(MANAGE), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)


class Network:
    """A running network in a folder of its own; it ends with the process of the tests."""

    def __init__(self, folder: Path, *, processes: bool = False) -> None:
        self.folder = folder
        self._processes = processes
        self.start()

    @property
    def genesis(self) -> Path:
        """The pool transactions, for clients."""
        return Path(self._told["genesis"])

    @property
    def pids(self) -> dict[str, int]:
        """The process of each node that runs, by node name."""
        told = self._done("status", "--json")
        return dict(json.loads(told)["pids"])

    def start(self) -> None:
        """Start it, or its dead nodes; it has taken a write when this returns."""
        words = ["--json", "--die-with", str(os.getpid())]
        if not (self.folder / "network.json").exists():
            words += ["--port-base", "auto"]
        if self._processes:
            words += ["--processes"]
        self._told: dict[str, Any] = json.loads(self._done("start", *words))

    def stop(self) -> None:
        """End it; `start` brings it back with its data."""
        self._done("stop")

    def kill(self, node: int) -> None:
        """End one node at once, as a power cut of its machine would; `start` brings it back."""
        self._done("kill", str(node))

    async def register(self, did: str, verkey: str, role: str = "ENDORSER") -> None:
        """Write a DID as trustee; every live node has it when this returns."""
        words = ("--did", did, "--verkey", verkey, "--role", role)
        await asyncio.to_thread(self._done, "register", *words)

    def _done(self, verb: str, *words: str) -> str:
        result = manage(verb, "--dir", self.folder, *words)
        assert result.returncode == 0, result.stderr
        return result.stdout


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """One real pool for the whole run, started by the first test that asks for it."""
    pool = Network(tmp_path_factory.mktemp("networks") / "tests")
    yield pool
    pool.stop()
