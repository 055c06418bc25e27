"""Fixtures: stores of version 1."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from agent.old_stores import MADE, Rows, rows_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("alice", "faber"):
        shutil.copy(MADE / f"{name}.db", tmp_path)
    return tmp_path


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "alice.db"


@pytest.fixture
async def before(path: Path) -> Rows:
    """What Alice's store holds before it is opened by the agent."""
    return await rows_of(path)
