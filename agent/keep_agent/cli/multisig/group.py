"""`indykeep group`: a key that several people share, made and stored as files."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from keep_agent.cli.multisig import (
    control_descriptor,
    group_ceremony,
    input_files,
    member_folder,
    secret_input,
    share_drill_steps,
)
from keep_agent.cli.multisig.input_files import read_value
from keep_agent.cli.multisig.member_folder import Folder, HeldShare
from keep_agent.cli.multisig.output import note, say
from keep_agent.errors import BadCommandError, NotNowError
from keep_agent.identity.keys import base58_key
from keep_ledger.identifiers import Did
from keep_ledger.multisig.audit.control_descriptor import Descriptor
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.threshold.dealer import split_seed
from keep_ledger.multisig.threshold.shares import Group
from keep_ledger.private_files import sync_folder, write_private
from keep_ledger.wording import counted

_EXAMPLES = """a new key in three rounds; Ana (1) starts. Files for others are in FOLDER/send, or in --out DIR; send
them by any way, since secrets in them are encrypted for the receiver:
  1: indykeep group begin acme --name "Trustees of Acme" --members 3 --threshold 2 --me 1
  2: indykeep group begin acme --join round1-1.json --me 2             (3 likewise)
  all: indykeep group deal acme round1-*.json           and compare the digest aloud
  all: indykeep group finish acme round2-*-to-1.json    (each with the files for their own number)
  all: indykeep group confirm acme 3f2a 91bc ...        the digest that the others read to you

from 2 of 3 to 3 of 5, same key, same DID (members who stay keep their numbers):
  1: indykeep group reshare acme2 --from acme --dealers 1,2 --members 1,2,3,4,5 --threshold 3
  2: indykeep group begin acme2 --join round1-1.json --me 2 --from acme
  4: indykeep group begin acme2 --join round1-1.json --me 4            (3 and 5 likewise)
  then deal, finish and confirm as above; all delete `acme`

To give an existing DID to a group, make a group, then propose a NYM that sets the DID's verkey to that of
the group (`indykeep propose`); likewise back to one key, signed by the group. `split` splits an existing
key without a write to the ledger; then nobody must have kept the seed.

Every command can be repeated after a crash. A share signs as frost:FOLDER.
"""


def main(words: list[str]) -> int:
    """Run `indykeep group`."""
    args = _parser().parse_args(words)
    return int(args.do(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="indykeep group",
        description="A key that several people share (FROST): nobody has all of it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _rounds(commands)
    _keeping(commands)
    control_descriptor.options(commands)
    _drills(commands.add_parser("drill", help="prove that shares exist, without using them"))
    return parser


def _rounds(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    begin = commands.add_parser("begin", help="round one: start a new key, or join a ceremony")
    _folder(begin, group_ceremony.begin)
    begin.add_argument("--name", help="name of the group, for people")
    begin.add_argument(
        "--members", type=int, metavar="N", help="number of members; they are numbered from 1"
    )
    begin.add_argument("--threshold", type=int, metavar="T", help="how many of them must sign")
    begin.add_argument(
        "--join", type=Path, metavar="FILE", help="a file of round one, of any member"
    )
    begin.add_argument("--me", type=int, required=True, metavar="I", help="your number")
    begin.add_argument(
        "--from", dest="old", type=Path, metavar="OLD", help="folder with your old share"
    )
    reshare = commands.add_parser("reshare", help="start to give the same key to other members")
    _folder(reshare, group_ceremony.reshare)
    reshare.add_argument("--from", dest="old", type=Path, metavar="OLD", required=True)
    reshare.add_argument("--dealers", type=_numbers, required=True, metavar="1,2")
    reshare.add_argument("--members", type=_numbers, required=True, metavar="1,2,3,4,5")
    reshare.add_argument("--threshold", type=int, required=True, metavar="T")
    deal = commands.add_parser("deal", help="round two: needs everybody's files of round one")
    _folder(deal, group_ceremony.deal)
    deal.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="file, or a folder with such files"
    )
    finish = commands.add_parser("finish", help="round three: needs the files for you")
    _folder(finish, group_ceremony.finish)
    finish.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="file, or a folder with such files"
    )
    finish.add_argument(
        "--transcript",
        metavar="DIGEST",
        help="confirm at once, if you have compared the digest",
    )
    confirm = commands.add_parser(
        "confirm", help="confirm that the digest is the same for everybody"
    )
    _folder(confirm, group_ceremony.confirm)
    confirm.add_argument("digest", nargs="+", metavar="DIGEST")


def _keeping(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    split = commands.add_parser("split", help="split a key that one person has (a seed)")
    _folder(split, _split)
    split.add_argument("--name", required=True)
    split.add_argument("--members", type=int, required=True, metavar="N")
    split.add_argument("--threshold", type=int, required=True, metavar="T")
    split.add_argument(
        "--seed-file",
        type=Path,
        metavar="FILE",
        help="file with the seed, instead of standard input",
    )
    show = commands.add_parser(
        "show", help="show what is in a folder; exit code 1 if a drill is due"
    )
    _folder(show, _show)
    every = timedelta(days=90)
    show.add_argument(
        "--remind-after", type=share_drill_steps.period, default=every, metavar="90d"
    )
    show.add_argument("--json", action="store_true", help="print JSON")
    export = commands.add_parser(
        "export", help="write the public descriptor; keep it apart from keys"
    )
    _folder(export, _export)
    export.add_argument(
        "--genesis", type=Path, metavar="FILE", help="genesis file of the network"
    )
    export.add_argument("--did", help="DID of the group, if it does not follow from the key")
    check = commands.add_parser(
        "check", help="check at a restore that a share belongs to a descriptor"
    )
    check.add_argument("descriptor", type=Path, metavar="DESCRIPTOR")
    _folder(check, _check)


def _drills(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="begin|answer|check")
    _folder(commands.add_parser("begin", help="draw a challenge"), share_drill_steps.begin)
    answer = commands.add_parser("answer", help="answer it with your share")
    check = commands.add_parser("check", help="check the answers and keep the record")
    for command, do in ((answer, share_drill_steps.answer), (check, share_drill_steps.check)):
        _folder(command, do)
        command.add_argument("challenge", type=Path, metavar="CHALLENGE")
    check.add_argument("answers", type=Path, nargs="+", metavar="ANSWER")


def _folder(command: argparse.ArgumentParser, do: object) -> None:
    command.add_argument("folder", type=Path, metavar="FOLDER", help="your private folder")
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for files to send to others"
    )
    command.set_defaults(do=do)


def _numbers(text: str) -> list[int]:
    return sorted(int(part) for part in text.split(","))


# -- splitting one person's key ----------------------------------------------------------------


def _split(args: argparse.Namespace) -> int:
    """Write a folder for each member, all or none."""
    target: Path = args.folder
    if target.exists():
        raise BadCommandError(f"{target} is there already: name a new folder")
    name = member_folder.checked_name(args.name)
    seed = secret_input.seed(args.seed_file)
    shares = split_seed(seed, args.threshold, group_ceremony.up_to(args.members))
    draft = target.with_name(f"{target.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(mode=0o700)
        for share in shares:
            place = draft / f"member-{share.identifier}"
            Folder.new(place).keep_share(HeldShare(name=name, agreed=None, share=share))
        draft.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise BadCommandError(f"{target}: {error.strerror}") from error
    say(
        f"The verkey is still {shares[0].group.verkey}\nAll members compare this digest (`group show`):"
    )
    say(group_ceremony.blocks(shares[0].group.digest))
    note(
        f"Give each member their folder in {target} in person, then delete all of it and the seed.\n"
        "Whoever had the seed before can still sign alone: to prevent that, rotate the DID to the key "
        "of a new group."
    )
    return 0


# -- showing -----------------------------------------------------------------------------------


def _show(args: argparse.Namespace) -> int:
    folder = Folder.of(args.folder)
    if not folder.has_share():
        return _unfinished(folder)
    held = folder.held()
    group = held.share.group
    names = {i: f"participant {i}" for i in group.shares}
    lines, code = share_drill_steps.last_proven(
        names, group.shares, folder.drills(), group.digest, args.remind_after
    )
    pending = len(folder.nonces().pending())
    if args.json:
        say(json.dumps(_facts(held) | {"drill_due": bool(code), "pending": pending}, indent=2))
        return code
    facts = _facts(held)
    del facts["digest"]
    for name, value in facts.items():
        say(f"{name:8} {value}")
    say(f"digest, which is the same for all members:\n{group_ceremony.blocks(group.digest)}")
    say("\n".join(lines))
    if pending:
        say(
            f"{counted(pending, 'signature')} under way, with nonces in {folder.path / 'nonces'}"
        )
    return code


def _facts(held: HeldShare) -> dict[str, object]:
    group = held.share.group
    return {
        "name": held.name,
        "did": _did(group),
        "verkey": group.verkey,
        "signs": f"{group.threshold} of {len(group.members)}",
        "you": held.share.identifier,
        "digest": group.digest.hex(),
    }


def _unfinished(folder: Folder) -> int:
    begun = folder.begun()
    if begun is None:
        folder.held()
        raise NotNowError(f"{folder.path} has no share")
    say(f"{begun.hello.name}: participant {begun.hello.identifier}, not finished.")
    if folder.unconfirmed() is not None:
        say("Next: compare the digest, then `group confirm`.")
    elif folder.hellos():
        say("Next: `group finish` with the files for you.")
    else:
        say("Next: `group deal` with everybody's files of round one.")
    return 0


def _did(group: Group) -> str:
    return base58_key(group.key[:16])


# -- the descriptor ----------------------------------------------------------------------------


def _export(args: argparse.Namespace) -> int:
    held = Folder.of(args.folder).held()
    group = held.share.group
    described = Descriptor(
        name=held.name,
        made=datetime.now(UTC),
        network=_network(args.genesis),
        did=str(Did.parse(args.did or _did(group))),
        threshold=0,
        members=(),
        group=group,
        rules=(),
        backup=None,
    )
    if args.out is None:
        say(described.to_text())
        return 0
    args.out.mkdir(mode=0o700, exist_ok=True)
    write_private(args.out / "descriptor.json", described.to_text())
    say(f"{args.out / 'descriptor.json'}: it has no secret; keep copies with several people")
    return 0


def _network(genesis: Path | None) -> bytes:
    given = genesis or os.environ.get("INDYKEEP_GENESIS")
    if not given:
        raise BadCommandError("name the network: --genesis FILE, or INDYKEEP_GENESIS")
    from keep_ledger.indy.genesis import Genesis  # noqa: PLC0415

    return bytes.fromhex(Genesis.parse(input_files.read_text(Path(given))).digest)


def _check(args: argparse.Namespace) -> int:
    held = Folder.of(args.folder).held()
    described = read_value(args.descriptor, Descriptor)
    described.check_share(held.share)
    if described.name != held.name:
        raise RefusedError(
            f"the descriptor is for {described.name!r}, the share for {held.name!r}"
        )
    say(
        f"The share of participant {held.share.identifier} belongs to {described.name!r} as described on "
        f"{described.made:%Y-%m-%d}: {described.did}, {held.share.group.threshold} of "
        f"{len(held.share.group.members)}."
    )
    return 0
