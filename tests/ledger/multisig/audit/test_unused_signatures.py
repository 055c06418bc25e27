"""Signatures that were given and not used: which the ledger would still take, and how they end."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from fake_network import RECORDED
from ledger.multisig.ledger_writer import START, LedgerWriter, Signer, nym, request, signed

from keep_ledger.json_object import Json
from keep_ledger.multisig.audit.unused_signatures import (
    LedgerState,
    Pending,
    UnusedSignature,
    agreements_of,
    find_unused,
    ledger_now,
    roles_wanted,
    unused_sentences,
)

NETWORK = b"n" * 32
RULE: Json = {"constraint_id": "ROLE", "role": "0", "sig_count": 2}
Board = tuple[Signer, ...]


@pytest.fixture
def board() -> Board:
    return Signer.new(), Signer.new(), Signer.new()


@pytest.fixture
def writer(board: Board) -> LedgerWriter:
    found = LedgerWriter()
    for one in board:
        found.genesis(one, "0")
    return found


def pending(body: Json, *signers: Signer, **more: Any) -> Pending:
    fixed: Json = {
        "name": "p.psit",
        "network": NETWORK,
        "expires": START + 10**6,
        "rules": {"1--ADD--role--*--101": RULE},
        "names": {one.did: f"T{n}" for n, one in enumerate(signers)},
        "committed": {},
        "signatures": signed(body, *signers),
    }
    return Pending(request=body, **(fixed | more))


def now(writer: LedgerWriter) -> LedgerState:
    return ledger_now(NETWORK, writer.time, writer.ledgers)


def found(writer: LedgerWriter, *proposals: Pending) -> list[UnusedSignature]:
    return find_unused(proposals, now(writer))


def dids(writer: LedgerWriter, proposal: Pending) -> list[str]:
    return [one.did for one in found(writer, proposal)]


@pytest.fixture
def body(board: Board) -> Json:
    new = Signer.new()
    return request(nym(new, verkey=new.verkey, role="101"), board[0])


def test_what_was_signed_and_not_sent_is_unused(
    writer: LedgerWriter, board: Board, body: Json
) -> None:
    proposal = pending(body, *board[:2])
    listed = found(writer, proposal)
    assert [one.did for one in listed] == [board[0].did, board[1].did]
    assert [one.role for one in listed] == ["TRUSTEE", "TRUSTEE"]
    ways = "\n".join(listed[1].ways)
    assert f"T1 ({board[1].did}) rotates its key" in ways
    assert "loses the role TRUSTEE" in ways
    assert "the rule 1--ADD--role--*--101 is changed" in ways
    assert "the role" not in "\n".join(listed[0].ways)  # the author signs whatever its role
    assert "agreement" not in ways


def test_a_signature_of_a_written_request_is_not_unused(
    writer: LedgerWriter, board: Board, body: Json
) -> None:
    writer.write(body, *board)
    assert found(writer, pending(body, *board)) == []


def test_a_rotated_key_ends_its_signature_only(
    writer: LedgerWriter, board: Board, body: Json
) -> None:
    proposal = pending(body, *board)
    writer.write(request(nym(board[1], verkey=Signer.new().verkey), board[1]), board[1])
    assert dids(writer, proposal) == [board[0].did, board[2].did]


def test_a_key_that_is_gone_ends_its_signature(
    writer: LedgerWriter, board: Board, body: Json
) -> None:
    writer.write(request(nym(board[1], verkey=None), board[1]), board[1])
    assert dids(writer, pending(body, *board)) == [board[0].did, board[2].did]
    assert dids(writer, pending(body, Signer.new())) == []


def test_a_lost_role_ends_a_signature_but_the_authors(
    writer: LedgerWriter, board: Board, body: Json
) -> None:
    for one in board[:2]:
        writer.write(request(nym(one, role=None), board[2]), board[2])
    assert dids(writer, pending(body, *board)) == [board[0].did, board[2].did]
    anybody = pending(body, *board, rules={"x": RULE | {"role": "*"}})
    assert dids(writer, anybody) == [one.did for one in board]
    assert dids(writer, pending(body, *board, rules={})) == [one.did for one in board]


def test_a_forged_signature_is_not_listed(
    writer: LedgerWriter, board: Board, body: Json
) -> None:
    forged = {board[0].did: board[1].sign(body), board[1].did: b"short"}
    assert found(writer, pending(body, signatures=forged)) == []


def test_signatures_of_an_expired_proposal_are_listed_too(
    writer: LedgerWriter, board: Board, body: Json
) -> None:
    proposal = pending(body, board[0], expires=writer.time)
    (one,) = found(writer, proposal)
    assert one.expired
    lines = "\n".join(unused_sentences([one], [proposal], now(writer)))
    assert "expired 2026-11-18 11:06:40 UTC, which the ledger ignores" in lines
    assert "1 unused signature is valid." in lines


def test_proposals_for_another_network_are_left_out_and_named(
    writer: LedgerWriter, board: Board, body: Json
) -> None:
    other = pending(body, board[0], network=b"o" * 32, name="other.psit")
    assert found(writer, other) == []
    lines = unused_sentences([], [other], now(writer))
    assert lines == [
        "other.psit: for another network, not checked",
        "No unused signature is valid; checked 0 proposals.",
    ]


# -- the author agreement --------------------------------------------------------------------------


def taa(text: str, version: str) -> Json:
    return {"type": "4", "text": text, "version": version, "ratification_ts": START}


def accepting(body: Json, text: str, version: str) -> Json:
    name = hashlib.sha256((version + text).encode()).hexdigest()
    return body | {"taaAcceptance": {"taaDigest": name, "mechanism": "m", "time": START}}


def test_a_retired_agreement_ends_what_accepts_it(
    writer: LedgerWriter, board: Board, body: Json
) -> None:
    first = board[0]
    one, other = accepting(body, "a", "1"), accepting(body, "b", "2")
    writer.write(request(taa("a", "1"), first), first)
    writer.write(request(taa("b", "2"), first), first)
    assert dids(writer, pending(one, first)) == [first.did]
    assert dids(writer, pending(body, first)) == []
    (listed,) = found(writer, pending(one, first))
    assert any("the author agreement 1 is retired" in way for way in listed.ways)
    retired = {"type": "4", "version": "1", "retirement_ts": writer.time + 1000}
    writer.write(request(retired, first), first)
    assert dids(writer, pending(one, first)) == [first.did]
    writer.time += 1000
    assert dids(writer, pending(one, first)) == []
    assert dids(writer, pending(other, first)) == [first.did]
    assert dids(writer, pending(accepting(body, "x", "9"), first)) == []
    writer.write(request({"type": "8"}, first), first)
    assert dids(writer, pending(one, first)) == [first.did]
    assert dids(writer, pending(body, first)) == [first.did]


def test_the_agreement_is_for_the_domain_ledger_only(
    writer: LedgerWriter, board: Board
) -> None:
    first = board[0]
    writer.write(request(taa("a", "1"), first), first)
    rule = request({"type": "120"}, first)
    assert dids(writer, pending(rule, first)) == [first.did]
    odd = request(nym(Signer.new()), first, taaAcceptance={"taaDigest": 7})
    assert dids(writer, pending(odd, first)) == []


def test_the_agreement_of_a_real_ledger_has_its_digest() -> None:
    (one,) = agreements_of(RECORDED["ledgers"]["config"]).values()
    text = RECORDED["ledgers"]["config"][1]["txn"]["data"]["text"]
    assert one.version == "1.0"
    assert one.digest == hashlib.sha256(f"1.0{text}".encode()).hexdigest()


# -- groups ----------------------------------------------------------------------------------------


def test_a_group_that_has_begun_is_ended_by_its_nonces(
    writer: LedgerWriter, board: Board, body: Json
) -> None:
    group = board[1]
    begun = pending(body, board[0], committed={group.did: (1, 3)}, names={group.did: "Seal"})
    listed = found(writer, begun)
    assert [one.did for one in listed] == [board[0].did, group.did]
    assert "members 1, 3 of the group Seal" in listed[1].ways[0]
    assert found(writer, pending(body, committed={group.did: ()}, signatures={})) == []


def test_a_group_that_has_signed_is_ended_by_its_key(
    writer: LedgerWriter, board: Board, body: Json
) -> None:
    group = board[1]
    (one,) = found(writer, pending(body, group, committed={group.did: (1, 3)}))
    assert "burning nonces does not help" in one.ways[0]
    writer.write(request(nym(group, verkey=Signer.new().verkey), group), group)
    assert found(writer, pending(body, group, committed={group.did: ()})) == []


def test_roles_are_found_however_deep_a_rule_is() -> None:
    both: Json = {"constraint_id": "AND", "auth_constraints": [RULE, RULE | {"role": "101"}]}
    either: Json = {"constraint_id": "OR", "auth_constraints": [both, RULE | {"role": "2"}]}
    assert roles_wanted([either]) == {"0", "101", "2"}
    assert roles_wanted([either, RULE | {"role": "*"}]) == frozenset()
    assert roles_wanted([{"constraint_id": "FORBIDDEN"}]) == frozenset()
