"""Who signed what, told from ledgers alone: recorded ones, and ones where something is wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import base58
import pytest
from fake_network import RECORDED
from ledger.multisig.ledger_writer import LedgerWriter, Signer, nym, request, signed

from keep_ledger.codes import CONFIG, DOMAIN
from keep_ledger.json_object import Json
from keep_ledger.multisig.audit.identity_audit import (
    ApprovedProposal,
    Report,
    audit,
    differences,
    explain,
)
from keep_ledger.multisig.audit.key_history import KeyHistory, Moment
from keep_ledger.multisig.audit.reports import sentences, to_json
from keep_ledger.multisig.proposal.signing_input import digest

REAL = {
    number: RECORDED["ledgers"][name]
    for number, name in enumerate(("pool", "domain", "config"))
}
DIDS = sorted({txn["txn"]["data"]["dest"] for txn in REAL[1] if txn["txn"]["type"] == "1"})


@pytest.fixture
def board() -> tuple[Signer, ...]:
    """Three trustees."""
    return Signer.new(), Signer.new(), Signer.new()


@pytest.fixture
def writer(board: tuple[Signer, ...]) -> LedgerWriter:
    """A network that starts with them."""
    found = LedgerWriter()
    for one in board:
        found.genesis(one, "0")
    return found


def text(report: Report) -> str:
    return "\n".join(sentences(report))


def kinds(report: Report) -> list[str]:
    return [alarm.kind for alarm in report.alarms]


# -- the ledger alone ------------------------------------------------------------------------------


@pytest.mark.parametrize("did", DIDS)
def test_on_a_real_ledger_every_digest_and_every_signature_is_right(did: str) -> None:
    report = audit(did, REAL)
    assert report.entries
    assert report.alarms == ()
    for one in report.entries:
        assert one.genesis is (one.digest is None)
        assert one.genesis or one.rebuilt
        assert all(signed.good for signed in one.signatures)
        assert one.genesis or one.signatures
    assert "Nothing wrong" in text(report)
    json.dumps(to_json(report))


def test_all_kinds_of_writes_are_told_and_nothing_moves_the_cursor() -> None:
    told = "\n".join(text(audit(did, REAL)) for did in DIDS)
    for words in (
        "registered the DID",
        "changed the key to",
        "published the schema Degree 1.0",
        "wrote an attribute of",
        "published the credential definition main for schema 26",
        "published the revocation registry",
        "changed the state of the revocation registry",
        "changed the author agreement, version 1.0",
        "set the rule 101--ADD--*--*",
        "part of the genesis, which is not signed",
        "endorsed by WECXqEbMeftPZBRP34U7rG",
    ):
        assert words in told
    escape = Signer.new()
    writer = LedgerWriter()
    acceptance = {"taaDigest": "ab" * 32, "mechanism": "on_file", "time": 1_795_046_400}
    operation = {"type": "101", "data": {"name": "\x1b[2J\u202e"}}
    writer.write(request(operation, escape, taaAcceptance=acceptance), escape)
    writer.write(request({"type": "999"}, escape, taaAcceptance="odd"), escape)
    told = text(audit(escape.did, writer.ledgers))
    assert f"accepted the author agreement {'ab' * 32} by on_file on 2026-11-19" in told
    assert "wrote a transaction of type 999" in told
    assert "\x1b" not in told
    assert "\\x1b[2J\\u202e" in told


def spoil_a_signature(txn: Json) -> None:
    value = txn["reqSignature"]["values"][0]["value"]
    txn["reqSignature"]["values"][0]["value"] = value[:-1] + ("1" if value[-1] != "1" else "2")


def spoil_the_content(txn: Json) -> None:
    txn["txn"]["data"]["role"] = "0"


def spoil_the_author(txn: Json) -> None:
    txn["txn"]["metadata"]["reqId"] += 1


def spoil_the_digest(txn: Json) -> None:
    txn["txn"]["metadata"]["payloadDigest"] = "00" * 32


def lose_the_signatures(txn: Json) -> None:
    txn["reqSignature"] = {}


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (spoil_a_signature, "signature", "does not verify with the key"),
        (spoil_the_content, "digest", "is not that of the transaction"),
        (spoil_the_author, "digest", "is not that of the transaction"),
        (spoil_the_digest, "digest", "is not that of the transaction"),
        (lose_the_signatures, "signature", "no signature"),
    ],
)
def test_what_was_changed_afterwards_raises_an_alarm(
    spoil: Callable[[Json], None],
    kind: str,
    said: str,
    writer: LedgerWriter,
    board: tuple[Signer, ...],
) -> None:
    new = Signer.new()
    number = writer.write(request(nym(new, verkey=new.verkey, role="101"), board[0]), *board)
    spoil(writer.ledgers[1][number - 1])
    report = audit(board[0].did, writer.ledgers)
    assert kinds(report) == [kind]
    assert report.alarms[0].entry == f"domain {number}"
    assert said in text(report)
    assert "1 alarm;" in text(report)


def test_an_old_signature_is_checked_with_the_key_of_its_time(
    writer: LedgerWriter, board: tuple[Signer, ...]
) -> None:
    first, second, _ = board
    new = Signer.new()
    writer.write(request(nym(new, verkey=new.verkey), first), first, second)
    old = copy.copy(second)
    changed = Signer(second.did, Signer.new().key)
    writer.write(request(nym(second, verkey=changed.verkey), second), old)
    other = Signer.new()
    writer.write(request(nym(other, verkey=other.verkey), first), first, changed, after_s=100)
    report = audit(second.did, writer.ledgers)
    assert report.alarms == ()
    assert f"verifies with the key of that time, {old.verkey}" in text(report)
    assert f"verifies with the key of that time, {changed.verkey}" in text(report)
    assert [one.verkey for one in report.states] == [old.verkey, changed.verkey]


@pytest.mark.parametrize(("after_s", "alarms"), [(5, 0), (60, 0), (61, 1)])
def test_a_replaced_key_serves_only_what_was_on_its_way(
    after_s: int, alarms: int, writer: LedgerWriter, board: tuple[Signer, ...]
) -> None:
    first, second, _ = board
    old, changed = copy.copy(second), Signer.new().key
    writer.write(request(nym(second, verkey=Signer("", changed).verkey), second), old)
    new = Signer.new()
    writer.write(request(nym(new, verkey=new.verkey), first), first, old, after_s=after_s)
    report = audit(second.did, writer.ledgers)
    assert len(report.alarms) == alarms
    assert ("may have been under way" in text(report)) is (alarms == 0)


def test_a_role_is_that_of_its_time(writer: LedgerWriter, board: tuple[Signer, ...]) -> None:
    first, second, third = board
    rule = {"type": "120", "auth_type": "1"}
    writer.write(request(rule, first), first, second)
    writer.write(request(nym(second, role=None), first), first, third)
    writer.write(request(rule, first), first, second, after_s=100)
    entries = audit(second.did, writer.ledgers).entries
    roles = [[s.role for s in one.signatures if s.did == second.did] for one in entries]
    assert roles == [[], ["0"], [], [None]]
    assert audit(second.did, writer.ledgers).alarms == ()


def test_within_one_second_the_order_of_two_ledgers_is_not_known(
    writer: LedgerWriter, board: tuple[Signer, ...]
) -> None:
    first, second, _ = board
    changed = Signer(second.did, Signer.new().key)
    writer.write(request(nym(second, verkey=changed.verkey), second), second)
    rule = {"type": "120", "auth_type": "1"}
    writer.write(request(rule, first), first, second, after_s=0)
    writer.write(request(rule, first), first, changed, after_s=0)
    assert audit(second.did, writer.ledgers).alarms == ()
    history = KeyHistory(writer.ledgers[1])
    at = Moment(writer.time, CONFIG, 1)
    assert {one.verkey for one in history.plausible(second.did, at)} == {
        second.verkey,
        changed.verkey,
    }
    assert history.at(second.did, Moment(writer.time, DOMAIN, 5)) == history.now(second.did)


def test_signers_who_are_nobody_are_told(
    writer: LedgerWriter, board: tuple[Signer, ...]
) -> None:
    stranger, new, keyless = Signer.new(), Signer.new(), Signer.new()
    body = request(nym(new, verkey=new.verkey), new)
    writer.write(body, new, board[0])
    writer.write(request(nym(keyless), board[0]), board[0])
    writer.write(request({"type": "120"}, board[0]), board[0], stranger)
    writer.write(request({"type": "120"}, board[0]), board[0], keyless)
    assert "the key in this request" in text(audit(new.did, writer.ledgers))
    assert "was not on the ledger" in text(audit(stranger.did, writer.ledgers))
    assert "none (it belonged to the DID that registered it)" in text(
        audit(keyless.did, writer.ledgers)
    )
    assert kinds(audit(new.did, writer.ledgers)) == []
    assert kinds(audit(stranger.did, writer.ledgers)) == ["signature"]
    assert kinds(audit(keyless.did, writer.ledgers)) == ["signature"]


def test_a_key_that_a_request_brings_may_be_abbreviated_and_must_be_one(
    writer: LedgerWriter,
) -> None:
    new, other = Signer.new(), Signer.new()
    short = base58.b58encode(bytes(new.key.verify_key)[16:]).decode()
    writer.write(request(nym(new, verkey=f"~{short}"), new), new)
    writer.write(request(nym(other, verkey="0OIl"), other), other)
    assert kinds(audit(new.did, writer.ledgers)) == []
    assert kinds(audit(other.did, writer.ledgers)) == ["signature"]


def test_what_cannot_have_been_signed_raises_an_alarm(writer: LedgerWriter) -> None:
    who = Signer.new()
    writer.write(request(nym(who, verkey=who.verkey), who), who)
    number = writer.write(request({"type": "101", "data": {"name": 1}}, who), who)
    writer.ledgers[1][number - 1]["txn"]["data"]["data"]["name"] = 1.5
    number = writer.write(request({"type": "100", "dest": who.did, "raw": "a"}, who), who)
    writer.ledgers[1][number - 1]["txn"]["data"]["raw"] = "no json"
    assert kinds(audit(who.did, writer.ledgers)) == ["digest", "digest"]


def test_what_is_no_signature_or_no_key_raises_an_alarm(writer: LedgerWriter) -> None:
    odd, new = Signer.new(), Signer.new()
    number = writer.write(request(nym(odd, verkey="no key", role="0"), new), new)
    writer.ledgers[1][number - 1]["reqSignature"]["values"][0]["value"] = "0OIl"
    writer.write(request({"type": "120"}, odd), odd)
    assert kinds(audit(new.did, writer.ledgers)) == ["signature"]
    assert kinds(audit(odd.did, writer.ledgers)) == ["signature", "signature"]


@pytest.mark.parametrize(
    "raw",
    [
        '{"a": {"b": "é"}}',
        '{"a":{"b":"é"}}',
        '{"a": {"b": "\\u00e9"}}',
        '{"a":{"b":"\\u00e9"}}',
    ],
)
def test_an_attribute_that_the_nodes_spell_anew_is_found(
    raw: str, writer: LedgerWriter
) -> None:
    who = Signer.new()
    writer.write(request(nym(who, verkey=who.verkey), who), who)
    number = writer.write(request({"type": "100", "dest": who.did, "raw": raw}, who), who)
    writer.ledgers[1][number - 1]["txn"]["data"]["raw"] = json.dumps(json.loads(raw))
    assert audit(who.did, writer.ledgers).alarms == ()


def test_an_attribute_in_an_unknown_spelling_says_so_unless_a_proposal_tells(
    writer: LedgerWriter,
) -> None:
    who = Signer.new()
    writer.write(request(nym(who, verkey=who.verkey), who), who)
    body = request({"type": "100", "dest": who.did, "raw": '{ "a":1}'}, who)
    number = writer.write(body, who)
    writer.ledgers[1][number - 1]["txn"]["data"]["raw"] = '{"a":1}'
    report = audit(who.did, writer.ledgers, since=number)
    assert kinds(report) == ["digest"]
    assert "written with other spaces" in text(report)
    assert explain(report, [known(body, who)]).alarms == ()
    assert "1 cannot be checked" in text(explain(report, [known(body, who)]))


def test_the_version_that_a_node_adds_is_not_part_of_what_was_signed(
    writer: LedgerWriter, board: tuple[Signer, ...]
) -> None:
    operation = {"type": "4", "text": "Be kind", "version": "1", "ratification_ts": 1}
    number = writer.write(request(operation, board[0]), board[0])
    writer.ledgers[2][number - 1]["txn"]["ver"] = "2"
    writer.write(request(operation | {"ver": "2"}, board[0]), board[0])
    assert audit(board[0].did, writer.ledgers).alarms == ()


def test_only_what_is_recent_is_told_and_keys_are_followed_from_the_start(
    writer: LedgerWriter, board: tuple[Signer, ...]
) -> None:
    first = board[0]
    writer.write(request({"type": "120"}, first), first)
    new = Signer.new()
    number = writer.write(request(nym(new, verkey=new.verkey), first), first)
    writer.write(request({"type": "122"}, first), first)
    report = audit(first.did, writer.ledgers, since=number)
    assert [one.name for one in report.entries] == [f"domain {number}", "config 2"]
    assert report.alarms == ()


def test_nothing_is_newer_than_what_is_still_to_come(
    writer: LedgerWriter, board: tuple[Signer, ...]
) -> None:
    writer.write(request({"type": "120"}, board[0]), board[0])
    assert audit(board[0].did, writer.ledgers, since=4).entries == ()


def test_a_did_that_is_not_there_has_no_history(writer: LedgerWriter) -> None:
    assert "It is not on the ledger." in text(audit(Signer.new().did, writer.ledgers))


# -- compared with proposals -----------------------------------------------------------------------


def known(body: Json, *signers: Signer, **more: Any) -> ApprovedProposal:
    return ApprovedProposal("p.psit", body, frozenset(one.did for one in signers), **more)


def test_a_write_that_was_approved_is_explained(
    writer: LedgerWriter, board: tuple[Signer, ...]
) -> None:
    new = Signer.new()
    body = request(nym(new, verkey=new.verkey), board[0])
    writer.write(body, *board)
    report = explain(audit(board[1].did, writer.ledgers), [known(body, *board)])
    assert report.alarms == ()
    assert "approved as p.psit" in text(report)
    assert "every write was approved exactly as it is on the ledger" in text(report)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_write_behind_the_proposals_back_raises_an_alarm(
    place: int, writer: LedgerWriter, board: tuple[Signer, ...]
) -> None:
    new = Signer.new()
    body = request(nym(new, verkey=new.verkey), board[0])
    writer.write(body, *board)
    other = known(request(nym(new), board[0]), *board)
    report = explain(audit(board[place].did, writer.ledgers), [other])
    assert kinds(report) == ["unexplained"]
    assert "no approved proposal explains this write" in text(report)


def test_what_others_do_to_an_identity_is_told_unless_it_made_it(
    writer: LedgerWriter, board: tuple[Signer, ...]
) -> None:
    new = Signer.new()
    made = request(nym(new, verkey=new.verkey), board[0])
    writer.write(made, board[0])
    writer.write(
        request({"type": "100", "dest": new.did, "raw": '{"a":1}'}, board[0]), board[0]
    )
    assert explain(audit(new.did, writer.ledgers), []).alarms == ()
    writer.write(request(nym(new, verkey=Signer.new().verkey), board[0]), board[0])
    report = explain(audit(new.did, writer.ledgers), [])
    assert [alarm.text for alarm in report.alarms] == [
        f"{board[0].did} changed this identity, and no approved proposal explains it"
    ]


COLLISIONS: list[tuple[Json, Json]] = [
    (
        {"type": "101", "data": {"name": "n", "version": "1", "attr_names": ["a", "b"]}},
        {"type": "101", "data": {"name": "n", "version": "1", "attr_names": ["a,b"]}},
    ),
    ({"type": "1", "dest": "x", "role": None}, {"type": "1", "dest": "x", "role": ""}),
    ({"type": "1", "dest": "x", "alias": "2"}, {"type": "1", "dest": "x", "alias": 2}),
    ({"type": "1", "dest": "x", "alias": "True"}, {"type": "1", "dest": "x", "alias": True}),
    (
        {"type": "120", "constraint": {"metadata": {"note": "7|sig_count:1"}}},
        {"type": "120", "constraint": {"metadata": {"note": "7"}, "sig_count": "1"}},
    ),
]


@pytest.mark.parametrize(("wanted", "landed"), COLLISIONS)
def test_other_content_under_the_same_signature_raises_an_alarm(
    wanted: Json, landed: Json, writer: LedgerWriter, board: tuple[Signer, ...]
) -> None:
    body = request(wanted, board[0])
    other = body | {"operation": landed}
    assert digest(other) == digest(body)
    writer.put(other, signed(body, *board))
    alone = audit(board[0].did, writer.ledgers)
    assert alone.alarms == ()  # the ledger alone cannot tell
    for approved, count in ((body, 1), (other, 0)):
        report = explain(alone, [known(approved, *board)])
        assert bool(report.alarms) is bool(count)
        assert set(kinds(report)) <= {"content"}
    assert "what was written is not what p.psit says" in text(
        explain(alone, [known(body, *board)])
    )


def test_the_proposal_that_fits_best_explains(
    writer: LedgerWriter, board: tuple[Signer, ...]
) -> None:
    wanted, landed = COLLISIONS[0]
    body = request(wanted, board[0])
    writer.write(body, *board)
    both = [known(body | {"operation": landed}, *board), known(body, *board)]
    assert explain(audit(board[0].did, writer.ledgers), both).alarms == ()


def test_what_was_not_approved_by_a_signer_or_not_any_more_raises_an_alarm(
    writer: LedgerWriter, board: tuple[Signer, ...]
) -> None:
    body = request({"type": "120"}, board[0])
    writer.write(body, *board)
    alone = audit(board[0].did, writer.ledgers)
    for approved, kind in (
        (known(body, *board[:2]), "approval"),
        (known(body, *board, cancelled=True), "cancelled"),
        (known(body, *board, expires=writer.time - 1), "expired"),
    ):
        assert kinds(explain(alone, [approved])) == [kind]
    assert explain(alone, [known(body, *board, expires=writer.time)]).alarms == ()


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ({"a": 1}, {"a": 1}, 0),
        ({"a": 1}, {"a": True}, 1),
        ({"a": 1}, {"a": 1.0}, 1),
        ({"a": None}, {}, 1),
        ({}, {"a": None}, 1),
        ({"a": ["x", "y"]}, {"a": ["x"]}, 1),
        ({"a": ["x", {"y": 1}]}, {"a": ["x", {"y": 2}]}, 1),
        ({"a": {}}, {"a": []}, 1),
        ({"operation": {"raw": '{"a":1}'}}, {"operation": {"raw": '{ "a": 1}'}}, 0),
        ({"operation": {"raw": '{"a":1}'}}, {"operation": {"raw": '{"a":true}'}}, 1),
        ({"operation": {"raw": "no json"}}, {"operation": {"raw": "no json"}}, 0),
    ],
)
def test_requests_are_compared_type_by_type(one: Json, other: Json, count: int) -> None:
    assert len(differences(one, other)) == count
    assert len(differences(other, one)) == count
