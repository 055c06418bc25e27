from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from campaigns.crash import campaign
from postgres import Server


@pytest.mark.campaign
async def test_thirty_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    report = await campaign(tmp_path, kills=30, seed=secrets.randbelow(10**6))
    print(report)  # noqa: T201 - the seed, where it fails
    assert report.failures == []
    assert report.kills.total() >= 30
    assert report.exchanges["issue-credential"] > 0


@pytest.mark.campaign
async def test_twelve_kills_of_processes_that_share_stores_lose_nothing(
    tmp_path: Path, postgres_server: Server
) -> None:
    """Two processes a side, each killed by itself."""
    seed = secrets.randbelow(10**6)
    report = await campaign(tmp_path, kills=12, seed=seed, postgres=postgres_server)
    print(report)  # noqa: T201 - the seed, where it fails
    assert report.failures == []
    assert report.kills.total() >= 12
    assert report.exchanges["issue-credential"] > 0
