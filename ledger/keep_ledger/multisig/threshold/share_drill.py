"""Drills: proving that a share is there and right, without showing or using it.

The one who drills draws a `Challenge` and sends it round; everybody answers with a Schnorr
proof made by the share; anybody can check the answers against the public keys of the shares,
at once or years later, and see when each share was last proven. A proof is worth nothing for
signing: it hashes in a domain of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self

from pydantic import AwareDatetime

from keep_ledger.multisig.errors import refuse
from keep_ledger.multisig.threshold.curve import Point, Scalar, prove, proven, sha512
from keep_ledger.multisig.threshold.shares import (
    Digest,
    Identifier,
    PointBytes,
    ScalarBytes,
    Share,
    Wire,
)


class Challenge(Wire):
    """A question that nobody could answer in advance.

    Attributes:
        subject: digest of the `Group` or `Backup` that is drilled.
        nonce: 32 random bytes.
    """

    KIND = "drill-challenge/1"
    subject: Digest
    at: AwareDatetime
    nonce: Digest

    @classmethod
    def of(cls, subject: bytes, at: datetime) -> Self:
        """Draw one; `at` has a time zone."""
        return cls(subject=subject, at=at, nonce=secrets.token_bytes(32))


class Answer(Wire):
    """That the share of `identifier` was there to answer this challenge. Public."""

    KIND = "drill-answer/1"
    challenge: Digest
    identifier: Identifier
    witness: PointBytes
    answer: ScalarBytes


class Drill(Wire):
    """The record of a drill: keep it with the descriptor; it can be checked again at any time."""

    KIND = "drill/1"
    challenge: Challenge
    answers: tuple[Answer, ...]

    def proven(self, keys: Mapping[int, Point]) -> frozenset[int]:
        """Whose answers hold against these public keys."""
        return frozenset(a.identifier for a in self.answers if _holds(keys, self.challenge, a))


def answer(share: Share, challenge: Challenge) -> Answer:
    """Answer for a FROST share.

    Raises:
        RefusedError: the challenge is about another group, or an older sharing of this key.
    """
    wrong = [share.identifier] if challenge.subject != share.group.digest else []
    refuse(wrong, "the drill is about another group than this share's")
    return answer_with(share.secret, share.identifier, challenge)


def answer_with(secret: Scalar, identifier: int, challenge: Challenge) -> Answer:
    """Answer with any secret whose public key is kept, as those of shares on paper are."""
    witness, response = prove(secret, identifier, _context(challenge))
    return Answer(
        challenge=challenge.digest, identifier=identifier, witness=witness, answer=response
    )


def check(keys: Mapping[int, Point], challenge: Challenge, answers: Sequence[Answer]) -> Drill:
    """Check the answers and make the record; who did not answer simply is not in it.

    Args:
        keys: public keys of the shares: `Group.shares` or `Backup.keys_by_identifier`.

    Raises:
        RefusedError: an answer is false, of another challenge or by a stranger; names whose.
    """
    refuse((a.identifier for a in answers if a.identifier not in keys), "has no share here")
    stale = (a.identifier for a in answers if a.challenge != challenge.digest)
    refuse(stale, "answers another challenge")
    false = (a.identifier for a in answers if not _holds(keys, challenge, a))
    refuse(false, "the share is wrong: it did not answer the challenge")
    return Drill(challenge=challenge, answers=tuple(answers))


def last_proven(
    keys: Mapping[int, Point], drills: Iterable[Drill], subject: bytes
) -> dict[int, datetime | None]:
    """When each share was last proven, rechecked from the records; None if never.

    Args:
        subject: digest of the group or backup; drills of others do not count.
    """
    latest: dict[int, datetime | None] = dict.fromkeys(keys)
    for record in drills:
        if record.challenge.subject != subject:
            continue
        for identifier in record.proven(keys):
            before = latest[identifier]
            if before is None or before < record.challenge.at:
                latest[identifier] = record.challenge.at
    return latest


def overdue(
    latest: Mapping[int, datetime | None], now: datetime, every: timedelta
) -> tuple[int, ...]:
    """Whose share was not proven within `every`: whom to remind."""
    return tuple(i for i, at in latest.items() if at is None or now - at > every)


def _context(challenge: Challenge) -> bytes:
    return sha512(b"drill", challenge.digest)


def _holds(keys: Mapping[int, Point], challenge: Challenge, given: Answer) -> bool:
    key = keys.get(given.identifier)
    if key is None or given.challenge != challenge.digest:
        return False
    return proven(key, given.identifier, _context(challenge), given.witness, given.answer)
