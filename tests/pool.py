"""A real local Indy network for tests: the fixture `network` is one pool for the whole run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from keep_ledger.testing.fixture import IndyNetwork as Network
from keep_ledger.testing.fixture import run

MANAGE = Path(__file__).parents[1] / "von-network" / "manage"

__all__ = ["MANAGE", "Network", "manage", "network"]


def manage(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one verb of von-network/manage to its end."""
    return run(*map(str, words))


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """One real pool for the whole run, started by the first test that asks for it."""
    pool = Network(tmp_path_factory.mktemp("networks") / "tests")
    yield pool
    pool.stop()
