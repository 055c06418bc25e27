"""A store's key on paper, split among people who are trusted together but not alone: SLIP-39.

The store's raw key is split: 32 bytes (agents store it in base58). A `Plan` says whose shares restore it
("me, or two of family"). `split` also makes a `Backup`: a public record that identifies a mistyped, foreign
or replaced share, detects a wrong passphrase (SLIP-39 alone would silently return another key), and is
needed for drills. A backup has no secret, but whoever has enough shares *and* the backup can try
passphrases against it, as against the store.

SLIP-39 is not verifiable secret sharing: the shares are right because `split` checks each of them before it
returns them, and drills show that they are still the same.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from secrets import token_bytes
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)
from shamir_mnemonic import (
    MnemonicError,
    combine_mnemonics,
    generate_mnemonics,
)
from shamir_mnemonic import Share as Mnemonic
from shamir_mnemonic.wordlist import WORD_INDEX_MAP

from keep_ledger.multisig.errors import RecoveryError
from keep_ledger.multisig.threshold.curve import (
    Point,
    Scalar,
    reduced,
    sha256,
    sha512,
    times_base,
)
from keep_ledger.multisig.threshold.share_drill import Answer, Challenge, answer_with
from keep_ledger.multisig.threshold.shares import MAX_SIGNERS, Digest, PointBytes, Wire
from keep_ledger.wording import counted

KEY_SIZE = 32
WORDS = 33
_MOST = 16


def _is_label(text: str) -> str:
    if text != text.strip() or any(unicodedata.category(c)[0] == "C" for c in text):
        raise ValueError("has spaces around it or invisible characters")
    return text


Label = Annotated[str, Field(min_length=1, max_length=80), AfterValidator(_is_label)]


class Circle(BaseModel):
    """People whose shares count alike (a group of SLIP-39).

    Attributes:
        need: how many of the guardians it takes. With 1 there is exactly one guardian, since
            SLIP-39 cannot distinguish equal shares; make several circles instead.
        guardians: their names, one share each.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
    name: Label
    need: Annotated[int, Field(ge=1, le=_MOST)]
    guardians: Annotated[tuple[Label, ...], Field(min_length=1, max_length=_MOST)]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.need > len(self.guardians):
            raise ValueError(f"{self.name} has fewer guardians than it needs")
        if self.need == 1 < len(self.guardians):
            raise ValueError(
                f"{self.name}: one of several guardians is not possible; make several circles"
            )
        if len(set(self.guardians)) != len(self.guardians):
            raise ValueError(f"{self.name} names a guardian twice")
        return self


class Plan(Wire):
    """Whose shares restore the key: `need` of the circles, each with enough of its guardians."""

    KIND = "recovery-plan/1"
    need: Annotated[int, Field(ge=1, le=_MOST)]
    circles: Annotated[tuple[Circle, ...], Field(min_length=1, max_length=_MOST)]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.need > len(self.circles):
            raise ValueError("more circles are needed than there are")
        if sum(len(circle.guardians) for circle in self.circles) > MAX_SIGNERS:
            raise ValueError(f"more than {MAX_SIGNERS} shares")
        return self

    @property
    def places(self) -> dict[int, tuple[int, int]]:
        """Identifier of each share, from 1, to its circle and its index there, from 0."""
        pairs = [(c, g) for c, x in enumerate(self.circles) for g in range(len(x.guardians))]
        return dict(enumerate(pairs, start=1))

    def sentence(self) -> str:
        """The plan in words."""
        parts = [
            circle.guardians[0]
            if len(circle.guardians) == 1
            else f"{circle.need} of {len(circle.guardians)} of {circle.name}"
            for circle in self.circles
        ]
        if self.need == 1:
            return " or ".join(parts)
        if self.need == len(parts):
            return " and ".join(parts)
        return f"{self.need} of: {'; '.join(parts)}"

    def met_by(self, identifiers: frozenset[int]) -> bool:
        """Whether these shares restore the key."""
        there = [self.places[i][0] for i in identifiers if i in self.places]
        full = [there.count(c) >= circle.need for c, circle in enumerate(self.circles)]
        return sum(full) >= self.need


class Backup(Wire):
    """The public record of one set of shares.

    Attributes:
        fingerprint: of the key: 32 bytes, one way (the key is 32 random bytes).
        keys: public key of each share, by which it proves itself.
        passphrase: whether one is needed; not which.
    """

    KIND = "recovery-backup/1"
    plan: Plan
    made: AwareDatetime
    fingerprint: Digest
    keys: tuple[PointBytes, ...]
    passphrase: bool

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if len(self.keys) != len(self.plan.places):
            raise ValueError("there is not one key for each share")
        return self

    @property
    def keys_by_identifier(self) -> dict[int, Point]:
        """Public key of each share, for drills."""
        return dict(enumerate(self.keys, start=1))

    def guardian(self, identifier: int) -> str:
        """Who holds a share: name and circle."""
        circle, place = self.plan.places[identifier]
        return (
            f"{self.plan.circles[circle].guardians[place]} ({self.plan.circles[circle].name})"
        )


@dataclass(frozen=True, slots=True)
class PaperShare:
    """One guardian's share.

    Attributes:
        words: 33 words of the SLIP-39 list: the secret.
    """

    identifier: int
    words: str = field(repr=False)


def split(
    key: bytes, plan: Plan, made: datetime, passphrase: str = ""
) -> tuple[Backup, tuple[PaperShare, ...]]:
    """Split a key; every share is tested before they are returned.

    Args:
        key: the raw key of a store, 32 random bytes.
        passphrase: printable ASCII; if given, it is needed to restore.

    Raises:
        RecoveryError: the key or passphrase is not valid, or the shares do not restore the key.
    """
    if len(key) != KEY_SIZE:
        raise RecoveryError(f"the raw key of a store has {KEY_SIZE} bytes")
    extra = _passphrase(passphrase)
    sizes = [(circle.need, len(circle.guardians)) for circle in plan.circles]
    circles = generate_mnemonics(plan.need, sizes, key, extra)
    shares = tuple(
        PaperShare(identifier, circles[circle][place])
        for identifier, (circle, place) in plan.places.items()
    )
    backup = Backup(
        plan=plan,
        made=made,
        fingerprint=_fingerprint(key),
        keys=tuple(times_base(_secret(share.words)) for share in shares),
        passphrase=bool(passphrase),
    )
    for subset in _covering(circles, plan):
        restore(backup, subset, passphrase)
    return backup, shares


def restore(backup: Backup | None, sheets: Sequence[str], passphrase: str = "") -> bytes:
    """Restore a key.

    Args:
        backup: the public record. None if it is lost: then a wrong passphrase gives a wrong
            key without an error, and the proof is that the store opens.
        sheets: the words of each share, in any order; more than needed are allowed.

    Raises:
        RecoveryError: a sheet is mistyped (says which and where, but no word), or of another or an
            older set, there are too few, or the passphrase is wrong.
    """
    extra = _passphrase(passphrase)
    shares = [_read(text, number) for number, text in enumerate(sheets, start=1)]
    if backup is not None:
        for number, share in enumerate(shares, start=1):
            _identifier(backup, share, f"sheet {number}")
    chosen = _chosen(shares, backup)
    try:
        key = combine_mnemonics([share.mnemonic() for share in chosen], extra)
    except MnemonicError:  # see _read
        raise RecoveryError(
            "the sheets do not belong together, although each is well formed"
        ) from None
    if backup is not None and _fingerprint(key) != backup.fingerprint:
        raise RecoveryError("the sheets are right, so the passphrase is wrong")
    return key


def answer_with_words(backup: Backup, words: str, challenge: Challenge) -> Answer:
    """Answer a drill for a share on paper, on its guardian's computer.

    Raises:
        RecoveryError: the words are mistyped, or this share is not of this backup.
    """
    if challenge.subject != backup.digest:
        raise RecoveryError("the drill is about another backup")
    share = _read(words, 1)
    identifier = _identifier(backup, share, "the sheet")
    return answer_with(_secret(share.mnemonic()), identifier, challenge)


async def replace(
    plan: Plan,
    made: datetime,
    keep: Callable[[Backup, tuple[PaperShare, ...]], Awaitable[None]],
    change: Callable[[bytes], Awaitable[None]],
    passphrase: str = "",
) -> Backup:
    """Change a store's key and split the new one, to remove a guardian or a lost share.

    It can be interrupted safely: the guardians have the new shares before the key changes, so one set
    restores the store at every moment. Afterwards the old shares open only old copies of the store. DIDs
    whose store was stolen also need new keys on the ledger.

    Args:
        keep: prints or stores the shares, and returns when they are safe; if it raises, the key does
            not change.
        change: gives the store this new raw key; if it raises, the old shares stay valid.
    """
    key = token_bytes(KEY_SIZE)
    backup, shares = split(key, plan, made, passphrase)
    await keep(backup, shares)
    await change(key)
    return backup


def _passphrase(text: str) -> bytes:
    if not all(" " <= letter <= "~" for letter in text):
        raise RecoveryError("a passphrase for SLIP-39 must be printable ASCII")
    return text.encode()


def _fingerprint(key: bytes) -> bytes:
    return sha256(b"indykeep store key/1", key)


def _secret(words: str) -> Scalar:
    return reduced(sha512(b"indykeep paper share/1", words.encode()))


def _read(text: str, number: int) -> Mnemonic:
    """The share in these words; an error says where the mistake is, but no word."""
    words = text.lower().split()
    try:
        return Mnemonic.from_mnemonic(" ".join(words))
    except MnemonicError:  # its text quotes the words, so it is not chained
        raise RecoveryError(f"sheet {number} is mistyped: {_fault(words)}") from None


def _fault(words: list[str]) -> str:
    unknown = [str(n) for n, word in enumerate(words, start=1) if word not in WORD_INDEX_MAP]
    if unknown:
        return f"word {', '.join(unknown)} is not on the SLIP-39 list"
    if len(words) != WORDS:
        return f"it has {len(words)} words instead of {WORDS}"
    return "its checksum is wrong: a word is wrong, or two are swapped"


def _identifier(backup: Backup, share: Mnemonic, which: str) -> int:
    """Which share of the backup this is, proven by its public key."""
    key = times_base(_secret(share.mnemonic()))
    if key not in backup.keys:
        raise RecoveryError(f"{which} is of another set, or of one that was replaced")
    return backup.keys.index(key) + 1


def _chosen(shares: Sequence[Mnemonic], backup: Backup | None) -> list[Mnemonic]:
    """Choose exactly as many shares as are needed.

    Raises:
        RecoveryError: there are too few (says what is missing), or they are of several sets.
    """
    circles: dict[int, dict[int, Mnemonic]] = defaultdict(dict)
    for share in shares:
        circles[share.group_index][share.index] = share
    if len({(s.identifier, s.group_threshold, s.group_count) for s in shares}) != 1:
        raise RecoveryError("the sheets are of several sets" if shares else "there is no sheet")
    need = shares[0].group_threshold
    full = [c for c in circles.values() if len(c) >= next(iter(c.values())).member_threshold]
    if len(full) < need:
        raise RecoveryError(f"too few sheets: {_missing(circles, need, backup)}")
    return [
        share
        for circle in full[:need]
        for share in list(circle.values())[: next(iter(circle.values())).member_threshold]
    ]


def _missing(circles: dict[int, dict[int, Mnemonic]], need: int, backup: Backup | None) -> str:
    if backup is not None:
        return f"it takes {backup.plan.sentence()}"
    have = ", ".join(
        f"circle {index + 1} has {len(circle)} of {next(iter(circle.values())).member_threshold}"
        for index, circle in sorted(circles.items())
    )
    return f"{counted(need, 'full circle')} needed; {have}"


def _covering(circles: Sequence[Sequence[str]], plan: Plan) -> list[list[str]]:
    """Smallest sufficient sets of shares that together contain every share."""
    count = len(circles)
    windows = [
        [(start + k) % count for k in range(plan.need)] for start in range(0, count, plan.need)
    ]
    return [
        [
            circles[c][(turn + k) % len(circles[c])]
            for c in window
            for k in range(plan.circles[c].need)
        ]
        for window in windows
        for turn in range(max(len(circles[c]) for c in window))
    ]
