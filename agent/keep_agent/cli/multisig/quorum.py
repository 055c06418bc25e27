"""`indykeep quorum`: the rules of a ledger, and the smallest coalitions for every action."""

from __future__ import annotations

import argparse
import asyncio
import json
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from keep_agent.cli.multisig.output import note, say
from keep_agent.errors import BadCommandError
from keep_ledger.codes import ROLE_NAMES
from keep_ledger.multisig.rules.auth_rules import RuleKey, Rules, parse_constraint, sentence
from keep_ledger.multisig.rules.lints import Differences, changes, lints, takeover, what_if
from keep_ledger.multisig.rules.quorum import People, Quorum, Quorums, quorums
from keep_ledger.multisig.rules.quorum_picture import picture
from keep_ledger.wording import counted

_EXAMPLES = """examples:
  indykeep quorum --genesis genesis.txn                     who can do what, directly or indirectly
  indykeep quorum --genesis genesis.txn --svg quorum.svg    the same as a picture
  indykeep quorum --genesis genesis.txn --what-if rule.json the effects of a change of rules
  indykeep quorum --rules rules.json --have TRUSTEE=5,STEWARD=4,ENDORSER=6
  indykeep quorum --genesis genesis.txn --in-words          every rule as a sentence

A rule that requires three trustees is worth only one if a single one can change the rule, register more
trustees or replace their keys. All such ways are tried. The exit code is 1 if there is a grave problem: a
quorum that is weaker than it says, or an action that nobody can do any more.
"""
_ROLES = {name: code for code, name in ROLE_NAMES.items()}
_LATE = 25


def main(words: list[str]) -> int:
    """Run `indykeep quorum`."""
    args = _parser().parse_args(words)
    rules, people, name = asyncio.run(_read(args))
    if args.in_words:
        for key, constraint in rules.items():
            say(f"{key.text:<44} {sentence(key, constraint)}")
        return 0
    if args.what_if:
        return _what_if(what_if(rules, changes(_json(args.what_if)), people))
    told = quorums(rules, people)
    if args.svg:
        args.svg.write_text(picture(told, name), "utf-8")
        note(f"picture written to {args.svg}")
    found = lints(rules, people)
    if args.json:
        say(json.dumps(_to_json(told), indent=2))
    else:
        _show(told, args.action)
        for one in found:
            say(f"{'!!' if one.grave else ' i'} {one.text}")
    return int(any(one.grave for one in found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="indykeep quorum",
        description="Show who can do what on a ledger: the smallest coalitions.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--genesis", metavar="FILE", help="genesis file or URL; default: INDYKEEP_GENESIS"
    )
    parser.add_argument(
        "--rules",
        type=Path,
        metavar="FILE",
        help="the data of GET_AUTH_RULE as JSON, instead of a ledger",
    )
    parser.add_argument("--have", metavar="ROLE=N,...", help="number of DIDs with each role")
    parser.add_argument(
        "--action", metavar="TEXT", help="only actions with this text in their name"
    )
    parser.add_argument(
        "--what-if", type=Path, metavar="FILE", help="an operation AUTH_RULE or AUTH_RULES"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also draw a picture")
    parser.add_argument("--in-words", action="store_true", help="print the rules as sentences")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


async def _read(args: argparse.Namespace) -> tuple[Rules, People, str]:
    if args.rules:
        if not args.have:
            raise BadCommandError(
                "with --rules also give the number of DIDs: --have TRUSTEE=5,STEWARD=4"
            )
        return _from_file(args.rules), _have(args.have), args.rules.name
    from keep_agent.cli.multisig import ledger_view  # noqa: PLC0415 - it loads what opens sockets
    from keep_ledger.indy import auth_rules  # noqa: PLC0415

    async with ledger_view.opened(args.genesis) as client:
        rules = await auth_rules.read_rules(client.pool, _progress)
        people = _have(args.have) if args.have else await ledger_view.everybody(client)
        return rules, people, client.network.hex()[:16]


def _progress(done: int, of: int) -> None:
    if done % _LATE == 0 or done == of:
        note(f"{done} of {counted(of, 'rule')} read, each with its proof")


def _have(text: str) -> People:
    from keep_agent.cli.multisig.ledger_view import PLAIN_DIDS  # noqa: PLC0415 - as above

    found: dict[str | None, int] = {None: PLAIN_DIDS}
    for part in text.split(","):
        name, _, number = part.partition("=")
        if name not in _ROLES or not number.isdigit():
            raise BadCommandError(
                f"--have {part}: write one of {', '.join(_ROLES)}, then =, then a number"
            )
        found[_ROLES[name]] = int(number)
    return found


def _json(path: Path) -> dict[str, Any]:
    found = _loaded(path)
    if not isinstance(found, dict):
        raise BadCommandError(f"{path} is not a JSON object")
    body = cast("dict[str, Any]", found)
    return cast("dict[str, Any]", body.get("operation", body))


def _from_file(path: Path) -> Rules:
    found = _loaded(path)
    if not isinstance(found, list):
        raise BadCommandError(f"{path} is not a list of auth rules")
    entries = cast("list[dict[str, Any]]", found)
    return {RuleKey.of(one): parse_constraint(one.get("constraint")) for one in entries}


def _loaded(path: Path) -> object:
    try:
        return cast("object", json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise BadCommandError(f"{path} is not readable JSON: {error}") from error


def _show(told: Quorums, only: str | None) -> None:
    say(f"{takeover(told)}\n")
    shown = [one for one in told.values() if not only or only in one.action.name]
    for topic, group in groupby(shown, key=lambda one: one.action.topic):
        say(topic)
        for one in group:
            say(f"  {_number(one):>7}  {one.action.name}: {_how(one)}")
        say("")


def _number(one: Quorum) -> str:
    return "nobody" if one.size is None else "anybody" if one.size == 0 else str(one.size)


def _how(one: Quorum) -> str:
    if not one.ways:
        return "and nobody can change that"
    way = one.ways[0]
    return f"{way.who}{f' ({way.path})' if way.moves else ''}"


def _what_if(found: Differences) -> int:
    if found.final:
        say("After this nobody can change the rules any more.")
    for one in found.changed:
        sign = "weaker" if one.weaker else "other"
        say(f"{sign:>7}  now: {one.before.sentence}\n         then: {one.after.sentence}")
    for lint in found.new:
        say(f"{'!!' if lint.grave else ' i'} {lint.text}")
    if not found.changed and not found.new:
        say("No quorum changes.")
    return int(found.final or any(lint.grave for lint in found.new))


def _to_json(told: Quorums) -> dict[str, Any]:
    return {
        name: {
            "smallest": one.size,
            "asked": one.asked,
            "ways": [{"who": way.who, "first": list(way.moves)} for way in one.ways],
        }
        for name, one in told.items()
    }
