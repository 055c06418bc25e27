"""`indykeep govern`: wanted quorums as a file, compared with a ledger, drilled, and proposed."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from keep_agent.cli.multisig import propose, review_view
from keep_agent.cli.multisig.input_files import read_text
from keep_agent.cli.multisig.output import note, say
from keep_agent.errors import BadCommandError
from keep_ledger.codes import TRUSTEE
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.document import Proposal
from keep_ledger.multisig.rules import governance_file, presets
from keep_ledger.multisig.rules.auth_rules import Constraint, RuleKey, leaves
from keep_ledger.multisig.rules.governance_file import Governance
from keep_ledger.multisig.rules.lints import what_if
from keep_ledger.multisig.rules.quorum import People, Quorum
from keep_ledger.multisig.rules.rule_words import role_count
from keep_ledger.multisig.rules.soundness import others
from keep_ledger.wording import counted

if TYPE_CHECKING:
    from keep_ledger.indy.network_client import NetworkClient

_EXAMPLES = """examples:
  indykeep govern init --preset 3-of-5 --out governance.yaml   write a commented file to start from
  indykeep govern diff governance.yaml --genesis pool.txn       show what would change, rule by rule
  indykeep govern drill governance.yaml                         try it on a local network
  indykeep govern propose governance.yaml --genesis pool.txn --author V4...f --out rules.psit
  indykeep sign rules.psit ...                                  as many people as the present rules require
  indykeep submit rules.psit

One AUTH_RULES operation changes all rules or none. A file is refused if registering trustees, changing
rules or replacing keys takes fewer trustees than something else: that would be the real quorum.
"""
_SLOW_S = 2.0
_PLENTY = 100
"""How many DIDs without a role to assume: more than any rule requires."""


def main(words: list[str]) -> int:
    """Run `indykeep govern`."""
    args = _parser().parse_args(words)
    return int(args.do(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="indykeep govern",
        description="Decide in a file who governs a ledger.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    init = commands.add_parser("init", help="write a commented file to start from")
    init.add_argument("--preset", choices=presets.PRESETS, required=True)
    init.add_argument("--out", type=Path, default=Path("governance.yaml"), metavar="FILE")
    init.set_defaults(do=_init)

    diff = commands.add_parser("diff", help="show what would change on a ledger, in words")
    _file(diff)
    review_view.options(diff, proposal=False)
    diff.add_argument("--json", action="store_true", help="print rules and constraints as JSON")
    diff.set_defaults(do=_diff)

    drill = commands.add_parser(
        "drill", help="put it in force on a local network, and try to break it"
    )
    _file(drill)
    drill.set_defaults(do=_drill)

    made = commands.add_parser("propose", help="make the proposal that puts it in force")
    _file(made)
    propose.options(made)
    made.set_defaults(do=_propose)
    return parser


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="wanted quorums (YAML)")


def _wanted(path: Path) -> Governance:
    wanted = governance_file.parse(read_text(path))
    for caution in governance_file.cautions(wanted):
        note(f"Caution: {caution}")
    return wanted


def _init(args: argparse.Namespace) -> int:
    text = presets.preset(args.preset)
    try:
        with args.out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise BadCommandError(f"{args.out}: {error.strerror}") from error
    say(f"{args.out}: {args.preset}. Read and edit it, then: indykeep govern diff {args.out}")
    return 0


# -- against a ledger ----------------------------------------------------------------------------


def _diff(args: argparse.Namespace) -> int:
    wanted = _wanted(args.file)

    async def read() -> tuple[dict[RuleKey, Constraint], People]:
        from keep_agent.cli.multisig import ledger_view  # noqa: PLC0415 - it loads what opens sockets

        async with ledger_view.opened(args.genesis) as client:
            members = await client.role_holders(_progress("transactions read"))
            there: dict[str | None, int] = {role: len(dids) for role, dids in members.items()}
            return await _rules(client), there | {None: _PLENTY}

    rules, people = asyncio.run(read())
    changes = governance_file.diff(wanted, rules)
    if args.json:
        say(json.dumps([_as_json(change) for change in changes], indent=2))
        return 0
    for change in changes:
        say(f"{change.sentence}  ({change.key.text})")
    say(f"{len(changes)} of {counted(len(rules), 'rule')} would change, all in one step.")
    _print_effects(rules, governance_file.wanted_rules(wanted, rules), people)
    return 0


def _print_effects(
    rules: dict[RuleKey, Constraint], change: dict[RuleKey, Constraint], people: People
) -> None:
    """Print the effects of the change on effective quorums."""
    for who, actions in others(rules | change).items():
        say(f"Without trustees, {who} may still {', '.join(actions)}.")
    found = what_if(rules, change, people)
    effects: dict[str, list[str]] = {}
    for one in found.changed:
        before, after = _fewest(one.before), _fewest(one.after)
        if before != after:
            effects.setdefault(f"{before} -> {after}", []).append(one.after.action.name)
    if effects:
        say("The smallest coalitions, directly or indirectly, with those on the ledger today:")
    for effect, names in effects.items():
        say(f"  {effect}: {', '.join(names)}.")
    for caution in found.cautions:
        note(f"Caution: {caution}.")


def _fewest(quorum: Quorum) -> str:
    return " or ".join(way.who for way in quorum.ways) or "nobody"


def _as_json(change: governance_file.Change) -> dict[str, object]:
    return {
        "rule": change.key.text,
        "sentence": change.sentence,
        "before": change.before.to_json(),
        "after": change.after.to_json(),
    }


async def _rules(client: NetworkClient) -> dict[RuleKey, Constraint]:
    from keep_ledger.indy import auth_rules  # noqa: PLC0415

    return await auth_rules.read_rules(client.pool, _progress("rules read"))


def _progress(what: str) -> Callable[[int, int], None]:
    """Print progress from time to time if it takes long."""
    last = time.monotonic()

    def report(done: int, count: int) -> None:
        nonlocal last
        if done < count and time.monotonic() - last > _SLOW_S:
            last = time.monotonic()
            note(f"{done} of {count} {what}")

    return report


def _propose(args: argparse.Namespace) -> int:
    wanted = _wanted(args.file)

    async def made() -> Proposal:
        from keep_agent.cli.multisig import ledger_view  # noqa: PLC0415

        async with ledger_view.opened(args.genesis) as client:
            rules = await _rules(client)
            await _check_trustees(client, wanted, rules)
            return await propose.proposed(
                client, args, governance_file.operation(wanted, rules)
            )

    propose.write_new(asyncio.run(made()), args)
    return 0


async def _check_trustees(
    client: NetworkClient, wanted: Governance, rules: dict[RuleKey, Constraint]
) -> None:
    """Compare the trustees of the file with those of the ledger.

    Raises:
        RefusedError: there are too few for a quorum, and nobody could undo it.
    """
    there = len((await client.role_holders()).get(TRUSTEE, ()))
    after = governance_file.wanted_rules(wanted, rules).values()
    most = max(
        leaf.sig_count for rule in after for leaf in leaves(rule) if leaf.role == TRUSTEE
    )
    if there < most:
        raise RefusedError(
            f"the ledger has {role_count(there, TRUSTEE)}, and the file requires {most}: register the others"
            " first, or nobody can ever change a rule again"
        )
    if there != wanted.trustees.members:
        note(
            f"The ledger has {role_count(there, TRUSTEE)}; the file says {wanted.trustees.members}."
        )


# -- a drill -------------------------------------------------------------------------------------


def _drill(args: argparse.Namespace) -> int:
    from keep_agent.cli.multisig import governance_drill  # noqa: PLC0415 - it loads what opens sockets

    governance_drill.run(_wanted(args.file))
    return 0
