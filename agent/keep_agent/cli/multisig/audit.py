"""`indykeep audit`: who signed what an identity wrote, and which unused signatures are still valid."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from keep_agent.cli.multisig.output import note, say
from keep_agent.errors import BadCommandError
from keep_ledger.codes import LEDGER_NAMES
from keep_ledger.identifiers import Did
from keep_ledger.json_object import Json
from keep_ledger.multisig.audit import identity_audit, reports, unused_signatures
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.document import Proposal

if TYPE_CHECKING:
    from keep_ledger.indy.network_client import NetworkClient

ALARMED = 1
"""Exit code if an alarm was raised."""

_QUIET_S = 2.0
_EXAMPLES = """examples:
  indykeep audit V4SGRU86Z58d6TV7PBUe6f --genesis genesis.txn
      checks every transaction that it wrote, signed or endorsed, and every one about it

  indykeep audit V4SGRU86Z58d6TV7PBUe6f --genesis genesis.txn --proposals approved/ --since 120
      the same from transaction 120 of the domain ledger on, with an alarm for every write that has no
      proposal (.psit) in that folder

  indykeep audit --unused --genesis genesis.txn --proposals approved/
      lists signatures that were given and not used, which the ledger would still accept, and how to
      invalidate them

The whole ledgers are read: the root hash on which the nodes agree proves that nothing is missing. They are
cached in --cache, so the next audit is fast; the cache is checked each time.

Exit code: 0 nothing is wrong, 1 an alarm, 2 the audit was not possible.
"""


def main(words: list[str]) -> int:
    """Run `indykeep audit`."""
    args = _parser().parse_args(words)
    if args.unused == (args.did is not None):
        raise BadCommandError("name a DID to audit, or give --unused; see --help")
    if args.unused and args.proposals is None:
        raise BadCommandError("--unused checks proposals: name their folder with --proposals")
    found = read_folder(args.proposals) if args.proposals else None
    return asyncio.run(_run(args, found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="indykeep audit",
        description="Check from the ledger what an identity wrote and who signed it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("did", nargs="?", metavar="DID", help="the identity")
    parser.add_argument(
        "--genesis",
        metavar="FILE",
        help="genesis file or URL of the network; default: INDYKEEP_GENESIS",
    )
    parser.add_argument(
        "--proposals",
        type=Path,
        metavar="FOLDER",
        help="folder with .psit files, also in folders below",
    )
    parser.add_argument(
        "--unused", action="store_true", help="list unused signatures that are still valid"
    )
    parser.add_argument(
        "--since",
        type=_number,
        default=1,
        metavar="SEQNO",
        help="number in the domain ledger; older transactions are left out, on all ledgers",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=_cache(),
        metavar="FOLDER",
        help="folder for cached ledgers (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _number(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a sequence number")
    return int(text)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "indykeep" / "ledgers"


async def _run(args: argparse.Namespace, found: dict[str, Proposal] | None) -> int:
    from keep_agent.cli.multisig import ledger_view  # noqa: PLC0415 - it loads what opens sockets

    did = None if args.did is None else Did.parse(args.did).id
    async with ledger_view.opened(args.genesis, args.cache) as client:
        ledgers = {number: await _read(client, number) for number in LEDGER_NAMES}
    if did is None:
        state = unused_signatures.ledger_now(client.network, int(time.time()), ledgers)
        return _unused(args, [pending(name, one) for name, one in (found or {}).items()], state)
    return _audit(args, did, ledgers, client.network, found)


async def _read(client: NetworkClient, number: int) -> tuple[Json, ...]:
    started = last = time.monotonic()

    def progress(done: int, size: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - started > _QUIET_S and now - last > _QUIET_S:
            note(f"{LEDGER_NAMES[number]} ledger: {done} of {size} transactions read")
            last = now

    return (await client.history(number, progress)).transactions


def _audit(
    args: argparse.Namespace,
    did: str,
    ledgers: dict[int, tuple[Json, ...]],
    network: bytes,
    found: dict[str, Proposal] | None,
) -> int:
    report = identity_audit.audit(did, ledgers, args.since)
    if found is not None:
        here = {name: one for name, one in found.items() if one.body.network == network}
        for name in found.keys() - here.keys():
            note(f"{name}: for another network, not compared")
        report = identity_audit.explain(
            report, [approved(name, one) for name, one in here.items()]
        )
    if args.json:
        say(json.dumps(reports.to_json(report), indent=2))
    else:
        say("\n".join(reports.sentences(report)))
    return ALARMED if report.alarms else 0


def _unused(
    args: argparse.Namespace,
    found: list[unused_signatures.Pending],
    state: unused_signatures.LedgerState,
) -> int:
    listed = unused_signatures.find_unused(found, state)
    if args.json:
        plain = [asdict(one) | {"digest": one.digest.hex()} for one in listed]
        say(json.dumps({"unused": plain}, indent=2))
    else:
        say("\n".join(unused_signatures.unused_sentences(listed, found, state)))
    return 0


# -- proposals in a folder -----------------------------------------------------------------------


def read_folder(folder: Path) -> dict[str, Proposal]:
    """Read all proposals in a folder and below, by the names of their files; copies are merged.

    A file that cannot be read is reported and left out.

    Raises:
        BadCommandError: the folder does not exist.
    """
    if not folder.is_dir():
        raise BadCommandError(f"{folder} is not a folder")
    found: dict[bytes, tuple[str, Proposal]] = {}
    for path in sorted(folder.rglob("*.psit")):
        name = str(path.relative_to(folder))
        try:
            proposal = Proposal.from_bytes(path.read_bytes())
        except (OSError, RefusedError) as error:
            note(f"{name} is left out: {error}")
            continue
        if there := found.get(proposal.id):
            name, proposal = there[0], there[1].merged(proposal)
        found[proposal.id] = (name, proposal)
    return dict(found.values())


def signatures_of(proposal: Proposal) -> dict[str, bytes]:
    """Signatures by DID; without those of a group that has a wrong share."""
    try:
        return proposal.signatures()
    except RefusedError:
        persons = [mark for mark in proposal.of("sign") if mark.signature]
        return {proposal.body.cosigners[m.by].did: m.signature for m in persons if m.signature}


def approved(name: str, proposal: Proposal) -> identity_audit.ApprovedProposal:
    """A proposal in the form that the audit compares with."""
    return identity_audit.ApprovedProposal(
        name,
        proposal.body.request,
        frozenset(signatures_of(proposal)),
        proposal.body.expires,
        proposal.cancelled(),
    )


def pending(name: str, proposal: Proposal) -> unused_signatures.Pending:
    """A proposal in the form that the list of unused signatures needs."""
    body = proposal.body
    committed = {
        one.did: tuple(commitment.identifier for commitment in proposal.commitments(place))
        for place, one in enumerate(body.cosigners)
        if one.group is not None
    }
    return unused_signatures.Pending(
        name,
        body.network,
        body.request,
        body.expires,
        body.rules,
        signatures_of(proposal),
        {one.did: one.name for one in body.cosigners},
        committed,
    )
