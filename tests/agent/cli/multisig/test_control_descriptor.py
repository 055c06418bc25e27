"""The description of a quorum, from a real ledger and against it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from agent.cli.multisig.run_command import run
from governed_network import Governed

from keep_ledger.multisig.audit.control_descriptor import Descriptor

pytestmark = pytest.mark.pool


async def test_a_description_tells_what_changed_since(
    governed: Governed, tmp_path: Path
) -> None:
    file, network = tmp_path / "board.json", ("--genesis", governed.genesis)
    made = ("group", "describe", "--name", "Board", "--out", file, *network)
    assert (await asyncio.to_thread(run, *made)).code == 0
    described = Descriptor.from_text(file.read_text().strip())
    assert {m.did for m in described.members} >= {t.did for t in governed.trustees}
    assert described.threshold == 1
    assert len(described.rules) > 70

    compare = ("group", "compare", file, *network)
    same = await asyncio.to_thread(run, *compare)
    assert same.code == 0, same
    third = governed.trustees[2]
    later = governed.person(third.did)
    await governed.write({"type": "1", "dest": third.did, "verkey": later.verkey}, third)
    other = await asyncio.to_thread(run, *compare)
    assert other.code == 1
    assert "has another key" in other.out
    assert "Traceback" not in other.err
