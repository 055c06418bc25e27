"""Show a reviewed proposal on a terminal; options that several commands share."""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
import textwrap
import time
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from keep_agent.cli.multisig import proposal_files
from keep_agent.cli.multisig.input_files import read_text, read_value
from keep_agent.cli.multisig.output import note, printable, say
from keep_agent.errors import BadCommandError
from keep_ledger.multisig.audit.control_descriptor import Descriptor
from keep_ledger.multisig.proposal.describe_request import Fact, moment
from keep_ledger.multisig.proposal.document import Proposal
from keep_ledger.multisig.proposal.review import LedgerView, Sheet, review
from keep_ledger.multisig.rules.auth_rules import RuleKey
from keep_ledger.wording import counted

if TYPE_CHECKING:
    from keep_ledger.indy.network_client import NetworkClient

_NARROWEST, _WIDEST, _LABEL, _WORD = 60, 110, 18, 64


def options(parser: argparse.ArgumentParser, *, proposal: bool = True) -> None:
    """Add the options that name a proposal and a network."""
    if proposal:
        parser.add_argument(
            "file",
            type=Path,
            nargs="+",
            help="a .psit, or QR codes as pictures or as lines of text (- is standard input)",
        )
    parser.add_argument(
        "--genesis",
        metavar="FILE",
        help="genesis file or URL of the network; default: INDYKEEP_GENESIS",
    )


def offline_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for a machine without network."""
    parser.add_argument(
        "--offline",
        action="store_true",
        help="do not read the ledger: for a machine without network; opens no socket",
    )
    parser.add_argument(
        "--descriptor",
        type=Path,
        metavar="FILE",
        help="public descriptor (indykeep group export) to compare members, rules and network with",
    )


def review_proposal(args: argparse.Namespace, proposal: Proposal) -> Sheet:
    """Review a proposal with the ledger or, with --offline, without.

    Raises:
        LedgerUnavailableError: the ledger does not answer.
    """
    if args.offline:
        return _offline(args, proposal)
    from keep_agent.cli.multisig import ledger_view  # noqa: PLC0415 - it loads what opens sockets

    async def review_it() -> Sheet:
        async with ledger_view.opened(args.genesis) as client:
            return await review_on_ledger(client, proposal)

    return asyncio.run(review_it())


async def review_on_ledger(client: NetworkClient, proposal: Proposal) -> Sheet:
    """Review a proposal with an open ledger."""
    from keep_agent.cli.multisig import ledger_view  # noqa: PLC0415

    if client.network != proposal.body.network:  # nothing on this ledger concerns the proposal
        elsewhere = LedgerView(client.network, {}, {}, {}, None, None)
        sheet = review(proposal, int(time.time()), elsewhere, None)
        sheet.refusals = [one for one in sheet.refusals if "another network" in one]
        return sheet
    dids = [one.did for one in proposal.body.cosigners]
    seen = await ledger_view.read_ledger_view(client, proposal.request, dids)
    sheet = review(proposal, int(time.time()), seen, None)
    sheet.warnings += await ledger_view.consequences(client, proposal.request)
    return sheet


def _offline(args: argparse.Namespace, proposal: Proposal) -> Sheet:
    described = None
    if args.descriptor:
        described = read_value(args.descriptor, Descriptor)
    network = described.network if described else None
    if args.genesis:
        from keep_ledger.indy.genesis import Genesis  # noqa: PLC0415

        network = bytes.fromhex(Genesis.parse(read_text(Path(args.genesis))).digest)
    sheet = review(proposal, int(time.time()), None, network)
    if described:
        _compare(described, proposal, sheet)
    return sheet


def _compare(described: Descriptor, proposal: Proposal, sheet: Sheet) -> None:
    from keep_ledger.multisig.audit.control_descriptor import rule_digest  # noqa: PLC0415

    known = {member.did: member.verkey for member in described.members}
    for who in proposal.body.cosigners:
        if who.did in known and known[who.did] != who.verkey:
            sheet.refusals.append(
                f"{who.name} has another key in the descriptor of {described.name}"
            )
    rules = dict(described.rules)
    for key, constraint in proposal.body.rules.items():
        if key in rules and rules[key] != rule_digest(constraint):
            sheet.refusals.append(
                f"the rule {RuleKey.parse(key).text} is different in the descriptor of {described.name}"
            )


def show(proposal: Proposal, sheet: Sheet) -> None:
    """Print a reviewed proposal with all details."""
    say(printable(f"{sheet.headline}.") + "\n")
    for name, text in (*sheet.facts, *_around(proposal)):
        _row(name, text)
    say("")
    for name, text in _result(sheet):
        _row(name, text)


def _around(proposal: Proposal) -> list[Fact]:
    body = proposal.body
    replaces = [("replaces", body.replaces.hex()[:16])] if body.replaces else []
    return [
        ("memo", body.memo or "none"),
        ("network", body.network.hex()[:16]),
        ("made", f"{moment(body.made)}, expires {moment(body.expires)}"),
        *replaces,
        ("proposal", proposal.id.hex()),
    ]


def _result(sheet: Sheet) -> list[Fact]:
    end = [("NO", one) for one in sheet.refusals]
    return [
        *(("the rule now", rule) for rule in sheet.now),
        *(("must satisfy", rule) for rule in sheet.rules),
        *sheet.signers,
        *(("note", one) for one in sheet.warnings),
        *(end or [("still missing", sheet.missing or "nothing: it can be submitted")]),
    ]


def _row(name: str, text: str) -> None:
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
    lead = printable(f"{name:<{_LABEL}} ")
    lines = text.splitlines() or [""]
    for line in lines:
        say(
            textwrap.fill(
                _in_pieces(printable(line.replace("\t", "<U+0009>"))),
                width // 2 if _is_wide(lead + line) else width,
                initial_indent=lead,
                subsequent_indent=" " * (_LABEL + 1),
                break_on_hyphens=False,
                break_long_words=False,
            )
            or lead
        )
        lead = " " * (_LABEL + 1)


def _in_pieces(line: str) -> str:
    """Split words longer than a digest, so that no line runs into the next row."""
    return re.sub(rf"\S{{{_WORD}}}(?=\S)", r"\g<0> ", line)


def _is_wide(text: str) -> bool:
    """Whether some of its characters take two columns on a terminal."""
    return any(unicodedata.east_asian_width(c) in "WF" for c in text)


def ask_to_confirm(question: str, *, already: bool) -> None:
    """Ask for confirmation.

    Raises:
        BadCommandError: the answer was not yes, or there is no terminal.
    """
    if already:
        return
    if not sys.stdin.isatty():
        raise BadCommandError(
            "there is no terminal to ask: review the proposal, then give --yes"
        )
    note(f"{question} Type yes to continue:")
    if sys.stdin.readline().strip().lower() != "yes":
        raise BadCommandError("cancelled: nothing was signed or sent")


def target(args: argparse.Namespace) -> Path:
    """The file for the result: `--out`, or the file that was read.

    Raises:
        BadCommandError: not exactly one `.psit` was read.
    """
    if args.out:
        return Path(args.out)
    if len(args.file) == 1 and args.file[0].suffix == ".psit":
        return Path(args.file[0])
    raise BadCommandError("name a file for the result: --out FILE.psit")


def write_result(proposal: Proposal, path: Path, qr: Path | None) -> None:
    """Write a proposal, and its QR codes if they are wanted."""
    proposal_files.save(proposal, path)
    note(f"written to {path}")
    if qr:
        count = proposal_files.draw(proposal, qr)
        note(f"{counted(count, 'QR code')} in {qr}")


def result_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the result."""
    parser.add_argument("--out", type=Path, metavar="FILE", help="file for the result (.psit)")
    parser.add_argument(
        "--qr", type=Path, metavar="FILE", help="also write QR codes: .svg, .png or .html"
    )
