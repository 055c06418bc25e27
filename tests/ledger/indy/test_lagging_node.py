"""A node that is behind proves what was a moment ago: what is confirmed can be built on all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_network import GENESIS
from indy_vdr.ledger import build_custom_request
from ledger.fake_pool import NODES, PaperPool, write

from keep_ledger.codes import Role
from keep_ledger.indy import open_ledger, replies
from keep_ledger.interface import Finished
from keep_ledger.json_object import Json
from keep_ledger.plugins import LedgerConfig
from keep_ledger.testing.conformance import TRUSTEE, Person


async def nothing(url: str) -> bytes:
    raise OSError(url)


def proved(*_: object) -> bool:
    """Nodes on paper sign nothing; here each one is believed."""
    return True


async def test_a_role_is_given_right_after_the_registration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "proved", proved)
    genesis = tmp_path / "genesis"
    genesis.write_text(GENESIS)
    ledger, paper, person = (
        open_ledger(LedgerConfig("indy", "local", str(genesis)), nothing),
        PaperPool(),
        Person.new(),
    )
    place: Any = ledger._pool
    place._pool, place._refreshed, place._names, place._asks = paper, True, NODES, 3
    request = build_custom_request((await ledger.prepare(person.nym(), TRUSTEE.did)).request)
    request.set_signature(TRUSTEE.sign(request.signature_input))
    question: Json = json.loads(request.body)
    left = [3]

    def lag(reply: Json) -> None:
        if reply["type"] == "3":
            left[0] -= 1
            if left[0] == 0:
                write(paper.nodes["Node3"], question, request.signature_input)

    paper.nodes["Node3"].lies = lag
    paper.nodes["Node4"].down = True
    for name in ("Node1", "Node2"):
        write(paper.nodes[name], question, request.signature_input)

    assert await ledger.confirm(person.nym()) == Finished(person.did, 35)
    paper.read_from = "Node3"
    prepared = await ledger.prepare(person.nym(Role.ENDORSER), TRUSTEE.did)
    operation = json.loads(prepared.request)["operation"]
    assert operation == {"type": "1", "dest": person.did, "role": "101"}
    await ledger.close()
