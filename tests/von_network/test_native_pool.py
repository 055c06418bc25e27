"""A pool that is given up harms no other: indy-vdr has one lock for all pools of a process."""

from __future__ import annotations

import asyncio
import re

import pytest
from fake_network import GENESIS
from indy_vdr import VdrError, VdrErrorCode
from native_thread import said

from keep_network.web import nodes
from keep_network.web.errors import UnavailableError

AWAY = re.sub(r'"client_port": \d+', '"client_port": 1', GENESIS)
OPENS = """
import asyncio, sys, time
from keep_network.web import nodes
from keep_network.web.errors import UnavailableError
from native_thread import lose, run

nodes._OPEN_S = 0.3
nodes._TIMEOUTS["ack_timeout"] = int(sys.argv[2])

async def main():
    for _ in range(2):
        begun = time.monotonic()
        try:
            await nodes.VdrNodes.open(sys.argv[1])
        except UnavailableError as error:
            print(error)
            if sys.argv[3] == "lose":
                lose(error)
        print(time.monotonic() - begun)
        if sys.argv[3] == "lose":
            await asyncio.sleep(3)

run(main)
"""


def test_a_pool_that_is_lost_breaks_no_other() -> None:
    lines, errors = said(OPENS, AWAY, "1", "lose")
    assert "panicked" not in errors
    assert lines[::2] == ["the nodes do not answer"] * 2


def test_a_request_on_its_way_holds_no_other_pool_up() -> None:
    lines, errors = said(OPENS, AWAY, "20", "close")
    assert lines[::2] == ["the nodes do not answer"] * 2
    assert sum(map(float, lines[1::2])) < 10, errors


class PaperPool:
    """Stands where a native pool does.

    Attributes:
        trouble: what comes in place of an answer; None: nothing ever comes.
    """

    def __init__(self, trouble: VdrError | None) -> None:
        self.trouble = trouble
        self.asked = asyncio.Event()
        self.closed = False

    async def refresh(self) -> None:
        """Have trouble."""
        self.asked.set()
        if self.trouble:
            raise self.trouble
        await asyncio.Event().wait()

    def close(self) -> None:
        """Remember it."""
        self.closed = True


def instead(monkeypatch: pytest.MonkeyPatch, trouble: VdrError | None) -> PaperPool:
    """The pool that is made next."""
    pool = PaperPool(trouble)

    def made(_transactions: str) -> PaperPool:
        return pool

    monkeypatch.setattr(nodes, "NativePool", made)
    return pool


@pytest.mark.parametrize(
    "trouble",
    [None, VdrError(VdrErrorCode.POOL_TIMEOUT, "no answer")],
    ids=["silence", "error"],
)
async def test_what_does_not_open_is_closed(
    trouble: VdrError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = instead(monkeypatch, trouble)
    monkeypatch.setattr(nodes, "_OPEN_S", 0.05)
    with pytest.raises(UnavailableError, match="the nodes do not answer"):
        await nodes.VdrNodes.open(GENESIS)
    assert pool.closed


async def test_what_is_cancelled_while_it_opens_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = instead(monkeypatch, None)
    opening = asyncio.create_task(nodes.VdrNodes.open(GENESIS))
    await pool.asked.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert pool.closed
