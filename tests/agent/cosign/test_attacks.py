"""What an attacker tries with signatures that honest people gave, on a real network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent.cosign.people import Board
from governed import Governed, Json

from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.signing import signing_input
from keep_ledger.multisig.transactions import decode

pytestmark = pytest.mark.pool


@pytest.fixture
async def board(governed: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Five trustees with stores of their own, and the rules that a new network has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    return await Board.of(governed, tmp_path)


def leaf(role: str, count: int, **more: Any) -> Json:
    """Signatures of a role, as a ledger writes it."""
    plain = {"constraint_id": "ROLE", "metadata": {}, "need_to_be_owner": False}
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
    swallowing = {"constraint_id": "ROLE", SWALLOWED: {}} | rest
    other = request | {"operation": add_endorser(both("AND", swallowing))}
    assert signing_input(other) == signing_input(request)
    await governed.send(other, governed.trustees[0])  # the ledger takes it under that signature
    with pytest.raises(RefusedError, match="can hide another rule"):
        decode(request)
