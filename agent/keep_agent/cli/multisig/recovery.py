"""`indykeep recovery`: the key of a store as shares on paper, with people who are trusted together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import base58

from keep_agent.cli.multisig import (
    key_stores,
    offline_loop,
    recovery_plan,
    secret_input,
    share_drill_steps,
    share_input,
)
from keep_agent.cli.multisig.input_files import read_value
from keep_agent.cli.multisig.key_stores import Place, WrongKeyError
from keep_agent.cli.multisig.output import note, say
from keep_agent.cli.multisig.signing_keys import STORE, store_place
from keep_agent.errors import BadCommandError, NotNowError
from keep_ledger.multisig.errors import RecoveryError
from keep_ledger.multisig.recovery import slip39
from keep_ledger.multisig.recovery.paper_sheets import sheet
from keep_ledger.multisig.recovery.slip39 import Backup, PaperShare
from keep_ledger.multisig.threshold import share_drill
from keep_ledger.multisig.threshold.share_drill import Answer, Challenge, Drill
from keep_ledger.private_files import burn, write_private

PRINTED = "printed"
_RECORD = "backup.json"
_EXAMPLES = """examples:
  indykeep recovery split store:keys.db --key-file keys.key --circle me=Ana \\
      --circle family=2:Bo,Cy,Di --need 1 --out paper          Ana alone, or two of her family
  indykeep recovery split store:indykeep-data --plan plan.yaml --out paper
  indykeep recovery show paper/backup.json                     who has which share, and when it was last proven
  indykeep recovery drill begin paper/backup.json              then every guardian answers at home:
  indykeep recovery drill answer paper/backup.json drill-1a2b3c4d.json
  indykeep recovery drill check paper/backup.json drill-1a2b3c4d.json ANSWERS...
  indykeep recovery restore store:keys.db --backup paper/backup.json --new-key-file keys.key
  indykeep recovery replace store:keys.db --key-file keys.key --circle ... --out paper2
      a new key and new shares, when a guardian has left or a sheet is lost: old shares become useless

plan.yaml:
  need: 2
  circles:
    - {name: me, need: 1, guardians: [Ana]}
    - {name: family, need: 2, guardians: [Bo, Cy, Di]}

Sheets are HTML pages with a secret: print them from a machine without network, give each to its guardian,
then type `printed`, and the files are removed. backup.json is public: keep it in several places; it
identifies a wrong sheet and a wrong passphrase.
If the key of a DID on a ledger is lost, trustees can give the DID a new one: `indykeep propose`.
"""


def main(given: list[str]) -> int:
    """Run `indykeep recovery`."""
    args = _parser().parse_args(given)
    return int(args.do(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="indykeep recovery",
        description="The key of a store as shares on paper (SLIP-39).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    split = commands.add_parser("split", help="make shares of the key of a store")
    replace = commands.add_parser(
        "replace", help="give a store a new key and make shares of it"
    )
    for command, do in ((split, _split), (replace, _replace)):
        _store(command, do)
        command.add_argument("--plan", type=Path, metavar="FILE", help="plan in YAML, as below")
        command.add_argument("--circle", action="append", default=[], metavar="NAME=2:A,B,C")
        command.add_argument(
            "--need", type=int, metavar="N", help="number of circles that are needed"
        )
        command.add_argument(
            "--passphrase", action="store_true", help="also ask for a passphrase"
        )
        command.add_argument("--passphrase-file", type=Path, metavar="FILE")
        command.add_argument(
            "--out", type=Path, required=True, metavar="DIR", help="a new folder"
        )
    replace.add_argument(
        "--new-key-file",
        type=Path,
        metavar="FILE",
        help="file for the new key, if not --key-file",
    )
    restore = commands.add_parser("restore", help="restore the key from typed words")
    _store(restore, _restore)
    restore.add_argument(
        "--backup", type=Path, metavar="FILE", help="backup.json, if you have it"
    )
    restore.add_argument(
        "--passphrase",
        action="store_true",
        help="ask for a passphrase; not needed with --backup",
    )
    restore.add_argument("--passphrase-file", type=Path, metavar="FILE")
    restore.add_argument("--new-key-file", type=Path, required=True, metavar="FILE")
    again = commands.add_parser("sheet", help="write a sheet again, from its words")
    again.add_argument("backup", type=Path, metavar="BACKUP")
    again.add_argument("--out", type=Path, required=True, metavar="FILE")
    again.set_defaults(do=_sheet)
    show = commands.add_parser(
        "show", help="show who has shares; exit code 1 if a drill is due"
    )
    show.add_argument("backup", type=Path, metavar="BACKUP")
    every = timedelta(days=90)
    show.add_argument(
        "--remind-after", type=share_drill_steps.period, default=every, metavar="90d"
    )
    show.set_defaults(do=_show)
    _drills(commands.add_parser("drill", help="prove that shares exist, without using them"))
    return parser


def _store(command: argparse.ArgumentParser, do: object) -> None:
    command.add_argument(
        "store", metavar="STORE", help="store:PATH, a file or an agent's folder"
    )
    command.add_argument(
        "--key-file", type=Path, metavar="FILE", help="file with the raw key of the store"
    )
    command.set_defaults(do=do)


def _drills(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="begin|answer|check")
    for name, do, what in (
        ("begin", _drill_begin, "draw a challenge for all guardians"),
        ("answer", _drill_answer, "for a guardian: answer with the words of the sheet"),
        ("check", _drill_check, "check the answers and store the record beside BACKUP"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("backup", type=Path, metavar="BACKUP")
        if name != "begin":
            command.add_argument("challenge", type=Path, metavar="CHALLENGE")
        if name == "check":
            command.add_argument("answers", type=Path, nargs="+", metavar="ANSWER")
        else:
            command.add_argument("--out", type=Path, default=Path(), metavar="DIR")
        command.set_defaults(do=do)


# -- making shares -----------------------------------------------------------------------------


def _split(args: argparse.Namespace) -> int:
    plan, place = _plan(args), _place(args)
    if place.key_file is None:
        raise NotNowError(
            f"{place.path} has a passphrase, which cannot be split: `indykeep recovery replace` gives "
            "it a key that can"
        )
    extra = _extra(args, new=True)
    offline_loop.run(_opens(place))
    raw = base58.b58decode(secret_input.raw_key(place.key_file))
    backup, shares = slip39.split(raw, plan, _now(), extra)
    written = _write(args.out, backup, shares)
    say(f"It takes {plan.sentence()} to restore the key of {place.path}.")
    _print_files(args.out, written)
    if _confirmed():
        _remove(written)
    else:
        note("The sheets are not removed: print them, then delete them.")
    return 0


def _replace(args: argparse.Namespace) -> int:
    plan, place = _plan(args), _place(args)
    key_file: Path | None = args.new_key_file or place.key_file
    if key_file is None:
        raise BadCommandError("name a file for the new key: --new-key-file FILE")
    if key_file != place.key_file and key_file.exists():
        raise BadCommandError(f"{key_file} exists already: name a new file")
    offline_loop.run(_replaced(args, plan, place, key_file))
    say(f"{place.path} has a new key, in {key_file}. It takes {plan.sentence()} to restore it.")
    say("Older shares open only older copies of the store: delete these copies.")
    return 0


async def _replaced(
    args: argparse.Namespace, plan: slip39.Plan, place: Place, key_file: Path
) -> None:
    written: list[Path] = []

    async def keep(backup: Backup, shares: tuple[PaperShare, ...]) -> None:
        written.extend(_write(args.out, backup, shares))
        _print_files(args.out, written)
        if not _confirmed():
            _remove(written)
            (args.out / _RECORD).unlink()
            args.out.rmdir()
            raise NotNowError(
                f"not {PRINTED}: the key and the shares of the store do not change. The new sheets are "
                "removed: destroy any that were printed"
            )

    extra = _extra(args, new=True)
    async with key_stores.opened(place) as store:

        async def change(raw: bytes) -> None:
            await key_stores.rekey(store, place, key_file, base58.b58encode(raw).decode())

        await slip39.replace(plan, _now(), keep, change, extra)
    _remove(written)


def _write(out: Path, backup: Backup, shares: Sequence[PaperShare]) -> list[Path]:
    """Write the public record, then the sheets; only their owner can read them."""
    if out.exists():
        raise BadCommandError(f"{out} exists already: use a new folder for each set of shares")
    try:
        out.mkdir(mode=0o700)
        write_private(out / _RECORD, backup.to_text())
        written: list[Path] = []
        for share in shares:
            written.append(out / f"sheet-{share.identifier}.html")
            write_private(written[-1], sheet(backup, share))
    except OSError as error:
        raise BadCommandError(f"{out}: {error.strerror}") from error
    return written


def _print_files(out: Path, written: Sequence[Path]) -> None:
    say(f"The public record, to keep in several places: {out / _RECORD}")
    say("To print, one for each guardian:")
    say("\n".join(f"  {path}" for path in written))


def _confirmed() -> bool:
    note(
        f"When all are printed and given to their guardians, type {PRINTED!r} (anything else cancels):"
    )
    return sys.stdin.readline(80).strip().lower() == PRINTED


def _remove(written: Sequence[Path]) -> None:
    for path in written:
        burn(path)
    note("The files of the sheets are removed.")


def _plan(args: argparse.Namespace) -> slip39.Plan:
    if args.plan is None:
        return recovery_plan.from_flags(args.circle, args.need)
    if args.circle or args.need:
        raise BadCommandError("with --plan leave out --circle and --need")
    return recovery_plan.from_file(args.plan)


def _extra(args: argparse.Namespace, *, new: bool, needed: bool = False) -> str:
    if args.passphrase or args.passphrase_file is not None or needed:
        return share_input.passphrase(args.passphrase_file, new=new)
    return ""


def _place(args: argparse.Namespace) -> Place:
    text: str = args.store
    if not text.startswith(STORE):
        raise BadCommandError(f"{text[:80]!r} is not a store: write store:PATH")
    place, name = store_place(text, args.key_file)
    if name:
        raise BadCommandError("a whole store is restored, not a single key: leave out #NAME")
    return place


async def _opens(place: Place) -> None:
    async with key_stores.opened(place):
        pass


# -- restoring ---------------------------------------------------------------------------------


def _restore(args: argparse.Namespace) -> int:
    place = _place(args)
    target: Path = args.new_key_file
    if target.exists():
        raise BadCommandError(f"{target} exists already: name a new file")
    backup = None if args.backup is None else read_value(args.backup, Backup)
    if backup is not None:
        note(f"It takes {backup.plan.sentence()}.")
    challenge = None if backup is None else Challenge.of(backup.digest, _now())
    typed_words = share_input.sheets(backup, challenge)
    extra = _extra(args, new=False, needed=backup is not None and backup.passphrase)
    raw = base58.b58encode(slip39.restore(backup, typed_words, extra)).decode()
    draft = target.with_name(f"{target.name}.new")
    write_private(draft, f"{raw}\n")
    try:
        offline_loop.run(_opens(Place(place.path, draft)))
        draft.replace(target)
    except WrongKeyError as error:
        raise RecoveryError(
            f"the key of these sheets does not open {place.path}: the sheets were replaced, are of "
            "another store, or the passphrase is wrong"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    say(f"The key is right: it opens {place.path}. It is in {target}.")
    note("If somebody else heard or saw the words, make new shares with `recovery replace`.")
    return 0


def _sheet(args: argparse.Namespace) -> int:
    backup = read_value(args.backup, Backup)
    if args.out.exists():
        raise BadCommandError(f"{args.out} exists already: name a new file")
    text, answer = share_input.one_sheet(backup, Challenge.of(backup.digest, _now()))
    write_private(args.out, sheet(backup, PaperShare(answer.identifier, text.lower())))
    say(f"The sheet of {backup.guardian(answer.identifier)}: {args.out}")
    note("It has a secret: print it, then delete it.")
    return 0


# -- drills ------------------------------------------------------------------------------------


def _show(args: argparse.Namespace) -> int:
    backup = read_value(args.backup, Backup)
    say(f"Made {backup.made:%Y-%m-%d}. It takes {backup.plan.sentence()} to restore the key.")
    if backup.passphrase:
        say("The passphrase is needed, too.")
    records = [read_value(path, Drill) for path in sorted(_records(args.backup).glob("*.json"))]
    keys = backup.keys_by_identifier
    lines, code = share_drill_steps.last_proven(
        _names(backup), keys, records, backup.digest, args.remind_after
    )
    say("\n".join(lines))
    return code


def _drill_begin(args: argparse.Namespace) -> int:
    backup = read_value(args.backup, Backup)
    challenge = Challenge.of(backup.digest, _now())
    path = args.out / f"drill-{challenge.digest.hex()[:8]}.json"
    write_private(path, challenge.to_text())
    say(f"Send to every guardian, with {args.backup}: {path}")
    return 0


def _drill_answer(args: argparse.Namespace) -> int:
    backup = read_value(args.backup, Backup)
    challenge = read_value(args.challenge, Challenge)
    _, answer = share_input.one_sheet(backup, challenge)
    path = args.out / f"{args.challenge.stem}-answer-{answer.identifier}.json"
    write_private(path, answer.to_text())
    say(f"Answer of {backup.guardian(answer.identifier)}, without any secret: {path}")
    return 0


def _drill_check(args: argparse.Namespace) -> int:
    backup = read_value(args.backup, Backup)
    challenge = read_value(args.challenge, Challenge)
    if challenge.subject != backup.digest:
        raise BadCommandError(f"{args.challenge} is the challenge of another backup")
    keys = backup.keys_by_identifier
    record = share_drill.check(
        keys, challenge, [read_value(path, Answer) for path in args.answers]
    )
    folder = _records(args.backup)
    folder.mkdir(mode=0o700, exist_ok=True)
    write_private(folder / f"{challenge.digest.hex()[:16]}.json", record.to_text())
    return share_drill_steps.print_answers(_names(backup), keys, record)


def _names(backup: Backup) -> dict[int, str]:
    return {identifier: backup.guardian(identifier) for identifier in backup.keys_by_identifier}


def _records(backup: Path) -> Path:
    return backup.with_name(f"{backup.stem}.drills")


def _now() -> datetime:
    return datetime.now(UTC)
