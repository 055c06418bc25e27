"""A pool that is given up harms no other: indy-vdr has one lock for all pools of a process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_network import GENESIS
from native_thread import said

ASKS = """
import asyncio, sys, time
from keep_ledger.errors import LedgerUnavailableError
from keep_ledger.indy import open_ledger, pool
from keep_ledger.plugins import LedgerConfig
from native_thread import lose, run

pool._REFRESH_S = 0.3
pool._SETTINGS["ack_timeout"] = int(sys.argv[2])

async def nothing(url):
    raise OSError(url)

async def main():
    for _ in range(2):
        begun = time.monotonic()
        ledger = open_ledger(LedgerConfig("indy", "local", sys.argv[1]), nothing)
        try:
            await ledger.get_nym("V4SGRU86Z58d6TV7PBUe6f")
        except LedgerUnavailableError as error:
            print(error)
        if sys.argv[3] == "close":
            await ledger.close()
        else:
            lose(ledger)
            del ledger
            await asyncio.sleep(3)
        print(time.monotonic() - begun)

run(main)
"""


@pytest.fixture
def away(tmp_path: Path) -> str:
    """A genesis whose nodes say nothing."""
    path = tmp_path / "genesis"
    path.write_text(re.sub(r'"client_port": \d+', '"client_port": 1', GENESIS))
    return str(path)


def test_a_pool_that_is_lost_breaks_no_other(away: str) -> None:
    lines, errors = said(ASKS, away, "1", "lose")
    assert "panicked" not in errors
    assert lines[::2] == ["local: no validator answers within 0.3 s"] * 2


def test_a_request_on_its_way_holds_no_other_pool_up(away: str) -> None:
    lines, errors = said(ASKS, away, "20", "close")
    assert lines[::2] == ["local: no validator answers within 0.3 s"] * 2
    assert sum(map(float, lines[1::2])) < 10, errors
