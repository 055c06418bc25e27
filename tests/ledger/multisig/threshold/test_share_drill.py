"""A drill proves that shares are there, to anybody, without showing them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ledger.multisig.frost_parties import any_flip, flipped

from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.threshold.curve import ONE, add
from keep_ledger.multisig.threshold.dealer import split_new
from keep_ledger.multisig.threshold.share_drill import (
    Answer,
    Challenge,
    Drill,
    answer,
    check,
    last_proven,
    overdue,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SHARES = split_new(2, (1, 2, 3))
GROUP = SHARES[0].group
CHALLENGE = Challenge.of(GROUP.digest, NOW)
ANSWERS = tuple(answer(share, CHALLENGE) for share in SHARES[:2])


def test_who_answered_is_in_the_record_and_who_did_not_is_not() -> None:
    record = Drill.from_text(check(GROUP.shares, CHALLENGE, ANSWERS).to_text())
    assert record.proven(GROUP.shares) == {1, 2}


def test_when_each_share_was_last_proven_and_whom_to_remind() -> None:
    earlier = Challenge.of(GROUP.digest, NOW - timedelta(days=100))
    records = [
        check(GROUP.shares, CHALLENGE, ANSWERS[:1]),
        check(GROUP.shares, earlier, [answer(s, earlier) for s in SHARES[:2]]),
    ]
    latest = last_proven(GROUP.shares, records, GROUP.digest)
    assert latest == {1: NOW, 2: NOW - timedelta(days=100), 3: None}
    assert overdue(latest, NOW, timedelta(days=90)) == (2, 3)
    assert overdue(latest, NOW, timedelta(days=100)) == (3,)


def test_a_drill_of_another_group_proves_nothing_here() -> None:
    other = split_new(2, (1, 2))
    challenge = Challenge.of(other[0].group.digest, NOW)
    record = check(other[0].group.shares, challenge, [answer(other[0], challenge)])
    assert last_proven(GROUP.shares, [record], GROUP.digest) == {1: None, 2: None, 3: None}
    assert record.proven(GROUP.shares) == frozenset()
    with pytest.raises(RefusedError, match="participant 1: the drill is about another group"):
        answer(SHARES[0], challenge)


def test_a_record_that_was_tampered_with_proves_nothing() -> None:
    record = check(GROUP.shares, CHALLENGE, ANSWERS)
    later = record.challenge.model_copy(update={"at": NOW + timedelta(days=1)})
    assert record.model_copy(update={"challenge": later}).proven(GROUP.shares) == frozenset()


def test_an_answer_to_another_challenge_is_refused() -> None:
    again = Challenge.of(GROUP.digest, NOW)
    with pytest.raises(
        RefusedError, match="participants 1, 2: the answer is for another challenge"
    ):
        check(GROUP.shares, again, ANSWERS)


def test_an_answer_by_another_share_is_refused() -> None:
    stolen = ANSWERS[0].model_copy(update={"identifier": 2})
    with pytest.raises(RefusedError, match="participant 2: the share is wrong") as refusal:
        check(GROUP.shares, CHALLENGE, [stolen])
    assert refusal.value.culprits == (2,)
    stranger = ANSWERS[0].model_copy(update={"identifier": 9})
    with pytest.raises(RefusedError, match="participant 9: has no share here"):
        check(GROUP.shares, CHALLENGE, [stranger])


def test_a_false_answer_is_refused() -> None:
    wrong = ANSWERS[1].model_copy(update={"answer": add(ANSWERS[1].answer, ONE)})
    with pytest.raises(RefusedError, match="participant 2: the share is wrong"):
        check(GROUP.shares, CHALLENGE, [ANSWERS[0], wrong])


@any_flip
def test_a_flipped_bit_in_an_answer_never_passes(place: int, bit: int) -> None:
    text = flipped(ANSWERS[0].to_text(), place, bit)
    with pytest.raises(RefusedError) as refusal:
        _drilled(text)
    assert refusal.value.culprits == (1,)


def _drilled(text: str) -> None:
    check(GROUP.shares, CHALLENGE, [Answer.from_text(text, sender=1)])
