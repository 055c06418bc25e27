"""`indykeep group describe|compare`: the public descriptor of a ledger's trustees, and what has changed."""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from keep_agent.cli.multisig.input_files import read_value
from keep_agent.cli.multisig.output import note, say
from keep_ledger.codes import TRUSTEE
from keep_ledger.multisig.audit.control_descriptor import Descriptor, Person, rule_digest
from keep_ledger.multisig.rules.auth_rules import RULES, leaves
from keep_ledger.private_files import write_private
from keep_ledger.wording import counted

if TYPE_CHECKING:
    from keep_ledger.indy.network_client import NetworkClient
    from keep_ledger.multisig.rules.auth_rules import Constraint


def options(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `describe` and `compare`."""
    describe = commands.add_parser(
        "describe",
        help="write a descriptor of the trustees of a ledger, their keys and its rules",
    )
    describe.add_argument("--name", required=True, help="name of the quorum, for people")
    describe.add_argument("--out", type=Path, required=True, metavar="FILE")
    describe.set_defaults(do=_describe)
    compare = commands.add_parser(
        "compare",
        help="show what has changed on the ledger since a descriptor was made; exit code 1 if anything has",
    )
    compare.add_argument("descriptor", type=Path, metavar="DESCRIPTOR")
    compare.set_defaults(do=_compare)
    for one in (describe, compare):
        one.add_argument(
            "--genesis", metavar="FILE", help="genesis file or URL; default: INDYKEEP_GENESIS"
        )


def _describe(args: argparse.Namespace) -> int:
    described = asyncio.run(_read(args.genesis, args.name))
    write_private(args.out, described.to_text() + "\n")
    say(
        f"{args.out}: {described.threshold} of {len(described.members)} trustees,"
        f" {counted(len(described.rules), 'rule')}. It has no secret: keep copies with several people"
    )
    return 0


def _compare(args: argparse.Namespace) -> int:
    before = read_value(args.descriptor, Descriptor)
    now = asyncio.run(_read(args.genesis, before.name))
    names = {member.did: member.name for member in before.members}
    members = tuple(
        member.model_copy(update={"name": names.get(member.did, member.name)})
        for member in now.members
    )
    same = {
        "members": members,
        "did": before.did,
        "group": before.group,
        "backup": before.backup,
    }
    found = before.differences(now.model_copy(update=same))
    for one in found:
        say(one)
    if not found:
        say(f"Nothing has changed since {before.made:%Y-%m-%d}.")
    return 1 if found else 0


async def _read(genesis: str | None, name: str) -> Descriptor:
    from keep_agent.cli.multisig import ledger_view  # noqa: PLC0415 - it loads what opens sockets
    from keep_ledger.indy import auth_rules  # noqa: PLC0415

    async with ledger_view.opened(genesis) as client:
        note("reading trustees and rules, each with its proof")
        rules = await auth_rules.read_rules(client.pool, None)
        members = await _members(client)
        return Descriptor(
            name=name,
            made=datetime.now(UTC),
            network=client.network,
            did=None,
            threshold=min(_threshold(rules[RULES]), len(members)),
            members=members,
            group=None,
            rules=tuple(
                sorted((key.text, rule_digest(c.to_json())) for key, c in rules.items())
            ),
            backup=None,
        )


async def _members(client: NetworkClient) -> tuple[Person, ...]:
    found: list[Person] = []
    for number, did in enumerate((await client.role_holders()).get(TRUSTEE, []), 1):
        nym = await client.nym(did)
        if nym is not None and nym.verkey is not None:
            found.append(Person(name=f"trustee {number}", did=did, verkey=nym.verkey))
    return tuple(found)


def _threshold(constraint: Constraint) -> int:
    """How many trustees can change the rules; at least one."""
    counts = Counter({leaf.role: leaf.sig_count for leaf in leaves(constraint)})
    return max(1, counts[TRUSTEE])
