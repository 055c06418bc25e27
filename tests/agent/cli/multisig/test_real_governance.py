"""Governance as real networks write it, by the commands that people type, on a real network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agent.cli.multisig.five_trustees import Board
from governed_network import Governed

from keep_ledger.indy.auth_rules import read_rule
from keep_ledger.indy.genesis import Genesis
from keep_ledger.indy.pool import Pool
from keep_ledger.multisig.rules.auth_rules import leaves
from keep_ledger.multisig.rules.default_rules import DEFAULTS

pytestmark = pytest.mark.pool

OWNER: dict[str, Any] = {
    "constraint_id": "ROLE",
    "role": "0",
    "sig_count": 1,
    "need_to_be_owner": True,
    "metadata": {},
}


@pytest.fixture
async def board(governed: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Five trustees with stores of their own, under the default rules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    return await Board.of(governed, tmp_path)


async def propose(board: Board, operation: dict[str, Any], file: str) -> str:
    """Let the first trustee propose an operation and sign it; what is shown."""
    (board.folder / "wish.json").write_text(json.dumps(operation))
    author = board.governed.trustees[0].did
    words = ("--author", author, "--cosigner", f"First={author}", "--out", file)
    said = await board.run("propose", "operation", "wish.json", *words)
    await board.run("sign", file, *board.key(0), "--yes")
    return said.out


async def test_54_rules_with_an_owner_land_in_one_write(board: Board) -> None:
    governed = board.governed
    keys = [key for key in DEFAULTS if key.auth_type not in {"120", "122"}][:54]
    governed._touched |= set(keys)
    rules = [key.to_json() | {"constraint": OWNER} for key in keys]
    said = await propose(board, {"type": "122", "rules": rules}, "rules.psit")
    assert "Change 54 rules" in said
    assert (
        "exactly as it was approved" in (await board.run("submit", "rules.psit", "--yes")).out
    )

    async def genesis() -> Genesis:
        return Genesis.parse(governed.genesis.read_text("utf-8"))

    pool = Pool("governed", genesis, None)
    for key in (keys[0], keys[-1]):
        [leaf] = leaves(await read_rule(pool, key))
        assert (leaf.role, leaf.sig_count, leaf.need_to_be_owner) == ("0", 1, True)
    await pool.close()


async def test_rules_that_the_network_does_not_have_are_named(board: Board) -> None:
    """As in a file of another network: nothing would be written, so nothing is proposed."""
    author = board.governed.trustees[0].did
    there = next(key for key in DEFAULTS if key.auth_type == "101").to_json()
    unknown = [
        {"auth_type": kind, "auth_action": "ADD", "field": "*", "new_value": "*"}
        for kind in ("1", "109")
    ]
    rules = [key | {"constraint": OWNER} for key in (there, *unknown)]
    (board.folder / "wish.json").write_text(json.dumps({"type": "122", "rules": rules}))
    await board.fails(
        *("propose", "operation", "wish.json", "--author", author, "--out", "x.psit"),
        says="no such auth rules: 1--ADD--*--*--*, 109--ADD--*--*--*: leave them out",
    )


async def test_a_whole_request_of_indy_cli_is_proposed(board: Board) -> None:
    """Its operation is; what else stands there is made anew."""
    nym = {"type": "1", "dest": board.governed.person().did, "role": "101"}
    whole: dict[str, Any] = {"identifier": board.governed.trustees[0].did, "operation": nym}
    whole |= {"protocolVersion": 2, "reqId": 1764151200123456789, "signature": None}
    said = await propose(board, whole, "whole.psit")
    assert f"Register the DID {nym['dest']} with the role ENDORSER" in said


async def test_a_tab_in_an_agreement_is_told_from_a_question_mark(board: Board) -> None:
    text = {"text": "Agreement\tOne?", "version": "3.0", "ratification_ts": 1764115200}
    assert "Agreement<U+0009>One?" in await propose(board, {"type": "4", **text}, "t.psit")


async def test_a_did_with_content_for_its_document_lands(board: Board) -> None:
    new = board.governed.person()
    nym = {"type": "1", "dest": new.did, "verkey": new.verkey}
    nym |= {"diddocContent": '{"service":[]}'}
    said = await propose(board, nym, "nym.psit")
    assert '{"service": []}' in said
    assert "could leave out diddocContent" in said
    assert "exactly as it was approved" in (await board.run("submit", "nym.psit", "--yes")).out
