"""`indykeep show`: show a proposal."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from keep_agent.cli.multisig import proposal_files, review_view
from keep_agent.cli.multisig.output import note, say
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.review import Sheet
from keep_ledger.wording import counted

_EXAMPLES = """examples:
  indykeep show endorser.psit --genesis genesis.txn
  indykeep show photo-1.jpg photo-2.jpg --genesis genesis.txn
  indykeep show endorser.psit --offline --qr endorser.html

Exit code: 0 if the proposal may be signed or sent, 1 if there is a reason against it.
"""


def main(words: list[str]) -> int:
    """Run `indykeep show`."""
    parser = argparse.ArgumentParser(
        prog="indykeep show",
        description="Show a proposal: what it does, which rules it must satisfy, who has signed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    review_view.options(parser)
    review_view.offline_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--qr", metavar="FILE", help="write QR codes: .svg, .png, .html; - for the terminal"
    )
    args = parser.parse_args(words)
    proposal = proposal_files.load(args.file)
    sheet = review_view.review_proposal(args, proposal)
    if args.json:
        say(json.dumps({"proposal": proposal.id.hex(), **_as_json(sheet)}, indent=2))
    else:
        review_view.show(proposal, sheet)
    if args.qr == "-":
        code = proposal_files.in_terminal(proposal)
        if code is None:
            raise RefusedError("there are several QR codes: use --qr FILE.html")
        say(code)
    elif args.qr:
        count = proposal_files.draw(proposal, Path(args.qr))
        note(f"{counted(count, 'QR code')} in {args.qr}")
    return 1 if sheet.refusals else 0


def _as_json(sheet: Sheet) -> dict[str, object]:
    return {
        "headline": sheet.headline,
        "facts": dict(sheet.facts),
        "now": sheet.now,
        "rules": sheet.rules,
        "signers": dict(sheet.signers),
        "warnings": sheet.warnings,
        "refusals": sheet.refusals,
        "missing": sheet.missing,
        "ready": sheet.ready,
    }
