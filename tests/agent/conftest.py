"""Fixtures: agents that talk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent.pair import Pair, opened


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Alice, Faber and Mallory, not connected yet."""
    async with opened(tmp_path) as pair:
        yield pair
