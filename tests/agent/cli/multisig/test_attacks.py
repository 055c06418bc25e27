"""What an attacker tries with signatures that honest people gave, on a real network."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from agent.cli.multisig.five_trustees import Board
from governed_network import Governed, LedgerRefusal

from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.document import Proposal
from keep_ledger.multisig.proposal.request_decoder import decode
from keep_ledger.multisig.proposal.signing_input import signing_input

pytestmark = pytest.mark.pool


@pytest.fixture
async def board(governed: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Five trustees with stores of their own, and the rules that a new network has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    return await Board.of(governed, tmp_path)


def leaf(role: str, count: int, **more: Any) -> Json:
    """Signatures of a role, as a ledger writes it."""
    plain: Json = {"constraint_id": "ROLE", "metadata": {}, "need_to_be_owner": False}
    return plain | {"role": role, "sig_count": count} | more


def both(kind: str, *parts: Json) -> Json:
    """AND or OR."""
    return {"constraint_id": kind, "auth_constraints": list(parts)}


def add_endorser(constraint: Json) -> Json:
    """A rule about new endorsers."""
    key = {"auth_type": "1", "auth_action": "ADD", "field": "role", "new_value": "101"}
    return {"type": "120", **key, "constraint": constraint}


SWALLOWED = "metadata:|need_to_be_owner:False|role:0|sig_count:3,constraint_id:ROLE|metadata"


async def test_a_part_of_a_rule_cannot_be_swallowed_by_an_unknown_member(
    board: Board,
) -> None:
    """The ledger ignores members that it does not know; their names can hold half a rule."""
    governed = board.governed
    honest = add_endorser(both("AND", leaf("0", 3), leaf("2", 1)))
    request = governed.request(honest, governed.trustees[0])
    rest = {"need_to_be_owner": False, "role": "2", "sig_count": 1}
    nothing: Json = {}
    swallowing: Json = {"constraint_id": "ROLE", SWALLOWED: nothing, **rest}
    other = request | {"operation": add_endorser(both("AND", swallowing))}
    assert signing_input(other) == signing_input(request)
    await governed.send(other, governed.trustees[0])  # the ledger takes it under that signature
    with pytest.raises(RefusedError, match="can hide another rule"):
        decode(request)


NOTE = {
    "note": "ticket 7|need_to_be_owner:False|role:0|sig_count:1,constraint_id:ROLE|metadata:x"
}


@pytest.mark.parametrize(
    ("constraint", "why"),
    [
        (leaf("0", 3, metadata=NOTE), "metadata of a rule can hide another rule"),
        (leaf("0", 3, hidden=1), "has no member"),
        (leaf("7", 3), "an unknown role"),
        ({"constraint_id": "OR", "auth_constraints": []}, "1 to 64 parts"),
    ],
)
async def test_a_rule_that_hides_another_is_not_even_proposed(
    board: Board, constraint: Json, why: str
) -> None:
    (board.folder / "rule.json").write_text(json.dumps(add_endorser(constraint)))
    author = board.governed.trustees[0].did
    words = ("propose", "operation", "rule.json", "--author", author, "--out", "r.psit")
    await board.fails(*words, says=why)


async def test_a_rule_as_the_ledger_writes_it_is_respelled_and_lands(board: Board) -> None:
    """Proposed with all the empty members that a ledger gives back, it is in force as meant."""
    governed = board.governed
    owner = leaf("0", 1, need_to_be_owner=True, off_ledger_signature=False)
    wanted = both("OR", owner, both("AND", owner, leaf("2", 1)), leaf("0", 2))
    (board.folder / "rule.json").write_text(json.dumps(add_endorser(wanted)))
    author = governed.trustees[0].did
    words = ("--author", author, "--cosigner", f"First={author}", "--out", "r.psit")
    await board.run("propose", "operation", "rule.json", *words)
    await board.run("sign", "r.psit", *board.key(0), "--yes")
    governed.expect(add_endorser(wanted))
    assert "exactly as it was approved" in (await board.run("submit", "r.psit", "--yes")).out
    new = governed.person()
    nym = {"type": "1", "dest": new.did, "verkey": new.verkey, "role": "101"}
    with pytest.raises(LedgerRefusal):
        await governed.write(nym, governed.endorser)
    await governed.write(nym, *governed.trustees[:2])


async def test_a_list_that_became_one_name_raises_the_alarm(board: Board) -> None:
    """No cosigner can see it: `given,family,ssn` has the signed text of three names."""
    governed = board.governed
    author = governed.trustees[0]
    names = (
        "--name",
        f"id{time.time_ns()}",
        "--version",
        "1.0",
        "--attributes",
        "given,family,ssn",
    )
    words = ("--author", author.did, "--cosigner", f"First={author.did}", "--out", "s.psit")
    await board.run("propose", "schema", *names, *words)
    await board.run("sign", "s.psit", *board.key(0), "--yes")
    approved = Proposal.from_bytes((board.folder / "s.psit").read_bytes())
    body = json.loads(json.dumps(approved.body.request))
    body["operation"]["data"]["attr_names"] = ["given,family,ssn"]
    await governed.send_signed(body, approved.signatures())
    await board.fails("submit", "s.psit", "--yes", says="ALARM")


async def test_what_has_expired_is_neither_signed_nor_sent(board: Board) -> None:
    """The signatures would still be good for the ledger."""
    await board.propose_nym("p.psit", board.governed.person(), "ENDORSER")
    file = board.folder / "p.psit"
    fresh = Proposal.from_bytes(file.read_bytes())
    file.write_bytes(
        Proposal(fresh.body.model_copy(update={"made": 1, "expires": 2})).to_bytes()
    )
    await board.fails("sign", "p.psit", *board.key(0), "--yes", says="it expired at 1970")
    await board.fails("submit", "p.psit", "--yes", says="it expired at 1970")


@pytest.mark.parametrize(
    "lie",
    [
        {"rules": {}},
        {"rules": {"1--ADD--role--*--101": leaf("0", 1)}},
        {"before": {"exists": True, "role": "101", "verkey": None}},
    ],
)
async def test_a_proposer_who_lies_about_the_ledger_is_found_out(
    board: Board, lie: Json
) -> None:
    await board.propose_nym("p.psit", board.governed.person(), "ENDORSER")
    file = board.folder / "p.psit"
    honest = Proposal.from_bytes(file.read_bytes())
    file.write_bytes(Proposal(honest.body.model_copy(update=lie)).to_bytes())
    await board.fails("sign", "p.psit", *board.key(0), "--yes", says="it must not be signed")
    shown = await board.run("show", "p.psit", "--offline", genesis=False)
    assert "not compared with the ledger" in " ".join(shown.out.split())
