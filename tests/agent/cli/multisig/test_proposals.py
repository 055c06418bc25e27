"""A proposal from wish to ledger, by the commands that people type, on a real network."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import base58
import pytest
from agent.cli.multisig.five_trustees import Board
from governed_network import Governed

from keep_ledger.multisig.proposal.document import Proposal

pytestmark = pytest.mark.pool

CRED_DEF = resources.files("keep_ledger.testing") / "cred_def.json"
THREE: dict[str, Any] = {
    "constraint_id": "ROLE",
    "role": "0",
    "sig_count": 3,
    "need_to_be_owner": False,
    "metadata": {},
}
ADD_ENDORSER: dict[str, Any] = {
    "auth_type": "1",
    "auth_action": "ADD",
    "field": "role",
    "new_value": "101",
    "constraint": THREE,
}


@pytest.fixture
async def board(governed: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Five trustees with stores of their own; three of them are needed for a new endorser."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    await governed.write({"type": "120"} | ADD_ENDORSER, governed.trustees[0])
    return await Board.of(governed, tmp_path)


async def test_three_of_five_sign_copies_and_it_lands(board: Board) -> None:
    new = board.governed.person()
    await board.propose_nym("p.psit", new, "ENDORSER")
    assert "Three trustees together may register an endorser." in await board.show("p.psit")
    for one in (0, 1, 2):
        await board.run("sign", "p.psit", *board.key(one), "--out", f"{one}.psit", "--yes")
    await board.fails("submit", "0.psit", "--yes", says="two more trustees")
    await board.run("merge", "0.psit", "2.psit", "1.psit", "--out", "p.psit", genesis=False)
    said = await board.run("submit", "p.psit", "--yes")
    assert "exactly as it was approved" in said.out
    assert await board.governed.nym(new.did) == (new.verkey, "101")
    again = await board.run("submit", "p.psit", "--yes")
    assert "on the ledger already" in again.err


async def test_a_refusal_is_heard_and_binds_nobody_else(board: Board) -> None:
    new = board.governed.person()
    await board.propose_nym("p.psit", new, "ENDORSER")
    await board.run(
        "refuse", "p.psit", *board.key(4), "--reason", "who is that?", genesis=False
    )
    for one in (0, 1, 2):
        await board.run("sign", "p.psit", *board.key(one), "--yes")
    assert "who is that?" in await board.show("p.psit")
    await board.run("submit", "p.psit", "--yes")


async def test_what_its_author_took_back_is_neither_signed_nor_sent(board: Board) -> None:
    await board.propose_nym("p.psit", board.governed.person(), "ENDORSER")
    for one in (0, 1, 2):
        await board.run("sign", "p.psit", *board.key(one), "--yes")
    cancel = ("refuse", "p.psit", *board.key(0), "--reason", "a mistake", "--cancel")
    await board.run(*cancel, genesis=False)
    await board.fails("sign", "p.psit", *board.key(3), "--yes", says="cancelled it")
    await board.fails("submit", "p.psit", "--yes", says="cancelled it")


async def test_a_rule_that_was_tightened_makes_a_proposal_stale(board: Board) -> None:
    new, governed = board.governed.person(), board.governed
    await board.propose_nym("p.psit", new, "ENDORSER")
    for one in (0, 1, 2):
        await board.run("sign", "p.psit", *board.key(one), "--yes")
    tighter = ADD_ENDORSER | {"constraint": THREE | {"sig_count": 4}}
    await governed.write({"type": "120"} | tighter, governed.trustees[0])
    await board.fails("submit", "p.psit", "--yes", says="has changed since it was proposed")
    await board.fails("sign", "p.psit", *board.key(3), "--yes", says="Four trustees together")
    await board.run("propose", "renew", "p.psit", "--out", "new.psit")
    for one in (0, 1, 2, 3):
        await board.run("sign", "new.psit", *board.key(one), "--yes")
    await board.run("submit", "new.psit", "--yes")
    assert await governed.nym(new.did) == (new.verkey, "101")


async def test_a_subject_that_changed_after_approval_is_noticed(board: Board) -> None:
    """The promotion of Z was approved; meanwhile Z took another key."""
    governed = board.governed
    z = governed.person()
    first = governed.trustees[0]
    await governed.write({"type": "1", "dest": z.did, "verkey": z.verkey}, first)
    await board.run(
        "propose",
        "nym",
        "--did",
        z.did,
        "--role",
        "ENDORSER",
        "--author",
        first.did,
        "--out",
        "p.psit",
    )
    for one in (0, 1, 2):
        await board.run("sign", "p.psit", *board.key(one), "--yes")
    other = governed.person(z.did)
    await governed.write({"type": "1", "dest": z.did, "verkey": other.verkey}, z)
    await board.fails("submit", "p.psit", "--yes", says="what it changes has changed")


async def test_a_signature_by_a_key_that_was_replaced_is_left_out(board: Board) -> None:
    new, governed = board.governed.person(), board.governed
    await board.propose_nym("p.psit", new, "ENDORSER")
    for one in (0, 1, 2):
        await board.run("sign", "p.psit", *board.key(one), "--yes")
    third = governed.trustees[2]
    later = governed.person(third.did)
    await governed.write({"type": "1", "dest": third.did, "verkey": later.verkey}, third)
    said = await board.fails("submit", "p.psit", "--yes", says="one more trustee")
    assert "has another key now" in said.out
    await board.run("sign", "p.psit", *board.key(3), "--yes")
    await board.run("submit", "p.psit", "--yes")
    assert await governed.nym(new.did) == (new.verkey, "101")


async def test_a_proposal_for_another_network_is_refused(board: Board) -> None:
    await board.propose_nym("p.psit", board.governed.person(), "ENDORSER")
    file = board.folder / "p.psit"
    found = Proposal.from_bytes(file.read_bytes())
    elsewhere = Proposal(found.body.model_copy(update={"network": bytes(32)}))
    file.write_bytes(elsewhere.to_bytes())
    await board.fails("sign", "p.psit", *board.key(0), "--yes", says="another network")
    await board.fails("submit", "p.psit", "--yes", says="another network")


async def test_an_endorsed_write_needs_author_and_endorser(board: Board) -> None:
    governed = board.governed
    author = await board.newcomer()
    await board.run(
        "propose",
        "schema",
        "--name",
        "licence",
        "--version",
        "1.0",
        "--attributes",
        "name,age",
        "--author",
        author.did,
        "--endorser",
        governed.endorser.did,
        "--cosigner",
        f"Acme={author.did}",
        "--out",
        "s.psit",
    )
    await board.run("sign", "s.psit", *board.key_of(author), "--yes")
    await board.fails("submit", "s.psit", "--yes", says="endorser")
    await board.run("sign", "s.psit", *board.key_of(governed.endorser), "--yes")
    assert "exactly as it was approved" in (await board.run("submit", "s.psit", "--yes")).out


async def test_a_group_signs_in_two_rounds_and_writes_as_one_did(board: Board) -> None:
    """A FROST group of 2 of 3 writes NYM, SCHEMA, ATTRIB and CRED_DEF under its own DID."""
    group = await board.group()
    did = base58.b58encode(group.key[:16]).decode()
    first, new = board.governed.trustees[0], board.governed.person()
    steward = {"type": "1", "dest": did, "verkey": group.verkey, "role": "2"}
    await board.governed.write(steward, first)
    schema = ("--name", "seal", "--version", "1.0", "--attributes", "name,age")
    number = await board.by_group(did, "schema", *schema)
    raw = '{"endpoint":{"endpoint":"https://seal.example"}}'
    await board.by_group(did, "attrib", "--did", did, "--raw", raw)
    await board.by_group(did, "nym", "--did", new.did, "--verkey", new.verkey)
    assert await board.governed.nym(new.did) == (new.verkey, None)
    keys = json.loads(CRED_DEF.read_text())["value"]
    operation = {"type": "102", "ref": number, "signature_type": "CL", "tag": "a", "data": keys}
    (board.folder / "cred-def.json").write_text(json.dumps(operation))
    await board.by_group(did, "operation", "cred-def.json")


async def test_show_says_all_of_it_to_programs(board: Board) -> None:
    await board.propose_nym("p.psit", board.governed.person(), "ENDORSER")
    told: dict[str, Any] = json.loads((await board.run("show", "p.psit", "--json")).out)
    assert told["missing"] == "Trustee 0, the author; three trustees together"
    assert not told["ready"]
    assert told["refusals"] == []


async def test_pictures_and_lines_of_text_carry_a_proposal(board: Board) -> None:
    await board.propose_nym("p.psit", board.governed.person(), "ENDORSER", "--qr", "p.png")
    await board.run("sign", "p.png", *board.key(0), "--yes", "--out", "a.psit")
    await board.run("show", "a.psit", "--offline", "--qr", "a.html", genesis=False)
    assert "<svg" in (board.folder / "a.html").read_text()
    assert "signed" in await board.show("a.psit")
