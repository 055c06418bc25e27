"""`indykeep audit`: on a real network, by what people type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agent.cli.multisig.five_trustees import Board
from agent.cli.multisig.run_command import Ran, refused, run
from governed_network import Governed, Person

from keep_ledger.multisig.proposal.document import Proposal

THREE: dict[str, Any] = {
    "constraint_id": "ROLE",
    "role": "0",
    "sig_count": 3,
    "need_to_be_owner": False,
    "metadata": {},
}
ADD_ENDORSER: dict[str, Any] = {
    "type": "120",
    "auth_type": "1",
    "auth_action": "ADD",
    "field": "role",
    "new_value": "101",
    "constraint": THREE,
}
pool = pytest.mark.pool


@pytest.fixture
async def board(governed: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Five trustees with stores of their own; three of them are needed for a new endorser."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    await governed.write(ADD_ENDORSER, governed.trustees[0])
    return await Board.of(governed, tmp_path)


async def signed_by_three(board: Board, file: str) -> Person:
    """A proposal that waits to be sent."""
    new = board.governed.person()
    await board.propose_nym(file, new, "ENDORSER")
    for one in (0, 1, 2):
        await board.run("sign", file, *board.key(one), "--yes")
    return new


def proposal_in(file: str) -> Proposal:
    return Proposal.from_bytes(Path(file).read_bytes())


def copy_and_spoil(file: str) -> None:
    """Put a copy, a forged copy and what is not a proposal beside it."""
    raw = Path(file).read_bytes()
    Path("copy.psit").write_bytes(raw)
    Path("bad.psit").write_bytes(b"\xa1")
    Path("forged.psit").write_bytes(raw[:-3] + bytes([raw[-3] ^ 1]) + raw[-2:])


async def audited(board: Board, *words: str) -> Ran:
    return await board._run(("audit", *words), genesis=True, stdin="")


@pool
async def test_what_three_of_five_wrote_is_explained_also_after_a_key_was_rotated(
    board: Board,
) -> None:
    governed = board.governed
    await signed_by_three(board, "p.psit")
    said = await board.run("submit", "p.psit", "--yes")
    number = said.out.split("as transaction ")[1].split(",")[0]
    second = governed.trustees[1]
    words = (second.did, "--proposals", ".", "--since", number)
    before = await audited(board, *words)
    assert before.code == 0, before
    assert "approved as p.psit" in before.out
    assert before.out.count("(TRUSTEE then): verifies with the key of that time") == 3

    changed = governed.person(second.did)
    rotation = {"type": "1", "dest": second.did, "verkey": changed.verkey}
    await governed.write(rotation, second)
    after = await audited(board, *words)
    assert after.out.count("(TRUSTEE then): verifies with the key of that time") == 4
    assert f"key {changed.verkey}, role TRUSTEE" in after.out
    assert (after.code, after.out.count("ALARM:")) == (1, 1)  # the rotation was not proposed
    assert (
        "no approved proposal explains this write (author and signer and subject)" in after.out
    )

    told = json.loads((await audited(board, *words, "--json")).out)
    (first, *_) = told["entries"]
    assert (first["explained"], first["rebuilt"]) == ("p.psit", True)
    assert first["digest"] == proposal_in("p.psit").request.digest.hex()
    assert [one["good"] for one in first["signatures"]] == [True] * 3


@pool
async def test_a_write_behind_the_proposals_back_raises_the_alarm(board: Board) -> None:
    governed = board.governed
    new = governed.person()
    body = {"type": "1", "dest": new.did, "verkey": new.verkey, "role": "101"}
    reply = await governed.write(body, *governed.trustees[:3])
    number = str(reply["txnMetadata"]["seqNo"])
    for trustee in governed.trustees[:3]:
        said = await audited(board, trustee.did, "--proposals", ".", "--since", number)
        assert said.code == 1
        assert f"domain {number}" in said.out
        assert "ALARM: no approved proposal explains this write" in said.out
    alone = await audited(board, governed.trustees[0].did, "--since", number)
    assert alone.code == 0
    assert "Without proposals it is not known who approved what" in alone.out


@pool
async def test_other_content_under_the_approved_signatures_raises_the_alarm(
    board: Board,
) -> None:
    governed = board.governed
    author = governed.trustees[0]
    shown = {"type": "101", "data": {"name": "s", "version": "1.0", "attr_names": ["a", "b"]}}
    words = ("propose", "schema", "--name", "s", "--version", "1.0", "--attributes", "a,b")
    await board.run(*words, "--author", author.did, "--out", "s.psit")
    await board.run("sign", "s.psit", *board.key(0), "--yes")
    proposal = proposal_in("s.psit")
    assert proposal.body.request["operation"] == shown
    other = json.loads(json.dumps(proposal.body.request))
    other["operation"]["data"]["attr_names"] = ["a,b"]
    reply = await governed.send(other, author)
    number = str(reply["txnMetadata"]["seqNo"])
    said = await audited(board, author.did, "--proposals", ".", "--since", number)
    assert said.code == 1
    assert (
        "ALARM: what was written is not what s.psit says: request.operation.data.attr_names"
        in said.out
    )


@pool
async def test_unused_signatures_are_listed_until_they_end(board: Board) -> None:
    governed = board.governed
    await signed_by_three(board, "p.psit")
    listed = await audited(board, "--unused", "--proposals", ".")
    assert listed.code == 0
    assert "3 unused signatures are valid." in listed.out
    changed = governed.person(governed.trustees[1].did)
    rotation = {"type": "1", "dest": changed.did, "verkey": changed.verkey}
    await governed.write(rotation, governed.trustees[1])
    told = json.loads((await audited(board, "--unused", "--proposals", ".", "--json")).out)
    assert [one["did"] for one in told["unused"]] == [
        governed.trustees[0].did,
        governed.trustees[2].did,
    ]


@pool
async def test_files_that_are_no_proposals_are_named_and_left_out(board: Board) -> None:
    await signed_by_three(board, "p.psit")
    copy_and_spoil("p.psit")
    said = await audited(board, "--unused", "--proposals", ".")
    assert "bad.psit is left out" in said.err
    assert "forged.psit is left out" in said.err
    assert "3 unused signatures are valid." in said.out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "name a DID to audit, or give --unused"),
        (("--unused",), "--unused checks proposals"),
        (
            ("--unused", "V4SGRU86Z58d6TV7PBUe6f", "--proposals", "."),
            "name a DID to audit, or give",
        ),
        (("V4SGRU86Z58d6TV7PBUe6f", "--proposals", "nowhere"), "nowhere is not a folder"),
        (("no-did", "--genesis", "x"), "is not a DID"),
        (("V4SGRU86Z58d6TV7PBUe6f", "--genesis", "nowhere"), "cannot get the genesis"),
    ],
)
def test_what_is_missing_is_said(words: tuple[str, ...], why: str) -> None:
    assert why in refused("audit", *words)


@pytest.mark.parametrize("since", ["0", "-1", "x"])
def test_a_number_that_is_none_is_refused(since: str) -> None:
    with pytest.raises(SystemExit):
        run("audit", "V4SGRU86Z58d6TV7PBUe6f", "--since", since)
