"""Steps of a drill: a challenge is sent to everybody, everybody answers, the record is stored."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from keep_agent.cli.multisig.input_files import read_value
from keep_agent.cli.multisig.member_folder import Folder
from keep_agent.cli.multisig.output import note, say
from keep_agent.errors import BadCommandError
from keep_ledger.multisig.threshold import share_drill
from keep_ledger.multisig.threshold.curve import Point
from keep_ledger.multisig.threshold.share_drill import Answer, Challenge, Drill
from keep_ledger.wording import counted

_DAYS = re.compile(r"([1-9][0-9]{0,3})d")


def period(text: str) -> timedelta:
    """Read `90d`.

    Raises:
        ArgumentTypeError: it is not a number of days.
    """
    if not (found := _DAYS.fullmatch(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days, for example 90d")
    return timedelta(days=int(found[1]))


def begin(args: argparse.Namespace) -> int:
    """Draw a challenge for everybody."""
    folder = Folder.of(args.folder)
    challenge = Challenge.of(folder.share().group.digest, datetime.now(UTC))
    path = folder.hand_out(f"drill-{challenge.digest.hex()[:8]}.json", challenge, args.out)
    say(f"For everybody: {path}")
    note("Each answers with: indykeep group drill answer FOLDER FILE")
    return 0


def answer(args: argparse.Namespace) -> int:
    """Prove that this share exists, without showing or using it."""
    folder = Folder.of(args.folder)
    share = folder.share()
    challenge = read_value(args.challenge, Challenge)
    given = share_drill.answer(share, challenge)
    name = f"drill-{challenge.digest.hex()[:8]}-answer-{share.identifier}.json"
    say(f"For everybody: {folder.hand_out(name, given, args.out)}")
    return 0


def check(args: argparse.Namespace) -> int:
    """Check the answers and store the record; exit code 1 if somebody did not answer."""
    folder = Folder.of(args.folder)
    group = folder.share().group
    challenge = read_value(args.challenge, Challenge)
    if challenge.subject != group.digest:
        raise BadCommandError(f"{args.challenge} is the challenge of another group")
    record = share_drill.check(
        group.shares, challenge, [read_value(path, Answer) for path in args.answers]
    )
    folder.keep_drill(record)
    names = {identifier: f"participant {identifier}" for identifier in group.shares}
    return print_answers(names, group.shares, record)


def print_answers(names: Mapping[int, str], keys: Mapping[int, Point], record: Drill) -> int:
    """Print who answered; return 0 if all did, else 1."""
    proven = record.proven(keys)
    for identifier, name in names.items():
        say(f"{name}: {'proven' if identifier in proven else 'NO ANSWER'}")
    return int(len(proven) < len(keys))


def last_proven(
    names: Mapping[int, str],
    keys: Mapping[int, Point],
    drills: Iterable[Drill],
    subject: bytes,
    every: timedelta,
) -> tuple[list[str], int]:
    """Lines that say when each share was last proven, and exit code 1 if one is overdue."""
    latest = share_drill.last_proven(keys, drills, subject)
    late = share_drill.overdue(latest, datetime.now(UTC), every)
    lines = [
        f"{names[i]}: {'never proven' if at is None else f'last proven {at:%Y-%m-%d}'}"
        + (f"; DRILL DUE (every {counted(every.days, 'day')})" if i in late else "")
        for i, at in latest.items()
    ]
    return lines, int(bool(late))
