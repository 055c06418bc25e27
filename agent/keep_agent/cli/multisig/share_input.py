"""Words of shares on paper: typed line by line, not shown, and checked for each sheet."""

from __future__ import annotations

import sys
from pathlib import Path

from keep_agent.cli.multisig import secret_input
from keep_agent.cli.multisig.output import note
from keep_agent.errors import BadCommandError
from keep_ledger.multisig.errors import RecoveryError
from keep_ledger.multisig.recovery.slip39 import WORDS, Backup, answer_with_words
from keep_ledger.multisig.threshold.share_drill import Answer, Challenge

_MOST_TRIES = 5
_MOST_LINE = 2000
_INSTEAD = "pipe the words in: a line for each sheet, or an empty line after each"


def one_sheet(backup: Backup, challenge: Challenge) -> tuple[str, Answer]:
    """Ask for one sheet; return its words and its answer to a challenge, which identifies it.

    Raises:
        RecoveryError: it is mistyped or of another backup, and there is no terminal to ask again.
        BadCommandError: no words were given.
    """
    for left in range(_MOST_TRIES, 0, -1):
        text = _sheet(1)
        if not text:
            raise BadCommandError("no words were given; nothing was done")
        try:
            return text, answer_with_words(backup, text, challenge)
        except RecoveryError as error:
            if left == 1 or not sys.stdin.isatty():
                raise
            note(f"indykeep: {error}. Try again:")
    raise AssertionError


def sheets(backup: Backup | None, challenge: Challenge | None) -> list[str]:
    """Ask for sheets until there are enough; without a backup record, until an empty one.

    Raises:
        RecoveryError: as for `one_sheet`.
    """
    given: dict[int, str] = {}
    while True:
        number = len(given) + 1
        text = _sheet(number)
        if not text:
            break
        if backup is None or challenge is None:
            given[number] = text
            continue
        try:
            found = answer_with_words(backup, text, challenge).identifier
        except RecoveryError as error:
            if not sys.stdin.isatty():
                raise RecoveryError(str(error).replace("sheet 1", f"sheet {number}")) from None
            note(f"indykeep: {error}. Try again:")
            continue
        given[found] = text
        note(f"That is the share of {backup.guardian(found)}.")
        if backup.plan.met_by(frozenset(given)):
            break
    return list(given.values())


def passphrase(file: Path | None, *, new: bool = False) -> str:
    """Read the passphrase of shares from a file, or ask for it.

    Raises:
        BadCommandError: there is no file or no terminal, or two entries differ.
    """
    if file is not None:
        return secret_input.private_text(file, "passphrase file")
    instead = "use --passphrase-file"
    return (secret_input.ask_twice if new else secret_input.ask)(
        "Passphrase of the shares: ", instead
    )


def _sheet(number: int) -> str:
    """Read lines until there are 33 words, or an empty line."""
    found: list[str] = []
    while len(found) < WORDS:
        line = _line(f"Sheet {number}, words {len(found) + 1} to {WORDS} (not shown): ")
        if not line:
            break
        found += line.split()
    return " ".join(found)


def _line(question: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline(_MOST_LINE).strip()
    try:
        return secret_input.ask(question, _INSTEAD).strip()
    except BadCommandError:  # nothing was typed
        return ""
