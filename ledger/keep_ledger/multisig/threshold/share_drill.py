"""Drills: prove that a share exists and is right, without showing or using it.

The organiser draws a `Challenge` and sends it to everybody. Everybody answers with a Schnorr proof made with
the share. Anybody can check the answers against the public keys of the shares, at once or years later, and
see when each share was last proven. A proof cannot be used for signing: it has a hash domain of its own.
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
    """A challenge that nobody could answer in advance.

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
        """Draw a challenge; `at` must have a time zone."""
        return cls(subject=subject, at=at, nonce=secrets.token_bytes(32))


class Answer(Wire):
    """A proof that the share of `identifier` was there to answer this challenge. Public."""

    KIND = "drill-answer/1"
    challenge: Digest
    identifier: Identifier
    witness: PointBytes
    answer: ScalarBytes


class Drill(Wire):
    """The record of a drill: store it with the descriptor; it can be checked again at any time."""

    KIND = "drill/1"
    challenge: Challenge
    answers: tuple[Answer, ...]

    def proven(self, keys: Mapping[int, Point]) -> frozenset[int]:
        """The identifiers whose answers verify with these public keys."""
        return frozenset(a.identifier for a in self.answers if _holds(keys, self.challenge, a))


def answer(share: Share, challenge: Challenge) -> Answer:
    """Answer with a FROST share.

    Raises:
        RefusedError: the challenge is about another group, or an older sharing of this key.
    """
    wrong = [share.identifier] if challenge.subject != share.group.digest else []
    refuse(wrong, "the drill is about another group than that of this share")
    return answer_with(share.secret, share.identifier, challenge)


def answer_with(secret: Scalar, identifier: int, challenge: Challenge) -> Answer:
    """Answer with any secret whose public key is known, such as a share on paper."""
    witness, response = prove(secret, identifier, _context(challenge))
    return Answer(
        challenge=challenge.digest, identifier=identifier, witness=witness, answer=response
    )


def check(keys: Mapping[int, Point], challenge: Challenge, answers: Sequence[Answer]) -> Drill:
    """Check the answers and make the record; whoever did not answer is not in it.

    Args:
        keys: public keys of the shares: `Group.shares` or `Backup.keys_by_identifier`.

    Raises:
        RefusedError: an answer is wrong, of another challenge, or by somebody without a share; names whose.
    """
    refuse((a.identifier for a in answers if a.identifier not in keys), "has no share here")
    stale = (a.identifier for a in answers if a.challenge != challenge.digest)
    refuse(stale, "the answer is for another challenge")
    wrong = (a.identifier for a in answers if not _holds(keys, challenge, a))
    refuse(wrong, "the share is wrong: it did not answer the challenge")
    return Drill(challenge=challenge, answers=tuple(answers))


def last_proven(
    keys: Mapping[int, Point], drills: Iterable[Drill], subject: bytes
) -> dict[int, datetime | None]:
    """When each share was last proven, checked again from the records; None if never.

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
    """The identifiers of shares that were not proven within `every`."""
    return tuple(i for i, at in latest.items() if at is None or now - at > every)


def _context(challenge: Challenge) -> bytes:
    return sha512(b"drill", challenge.digest)


def _holds(keys: Mapping[int, Point], challenge: Challenge, given: Answer) -> bool:
    key = keys.get(given.identifier)
    if key is None or given.challenge != challenge.digest:
        return False
    return proven(key, given.identifier, _context(challenge), given.witness, given.answer)
