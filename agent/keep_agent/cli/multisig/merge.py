"""`indykeep merge`: merge copies of a proposal that several people signed."""

from __future__ import annotations

import argparse
from pathlib import Path

from keep_agent.cli.multisig import proposal_files, review_view
from keep_agent.cli.multisig.output import say
from keep_ledger.multisig.proposal.document import merge

_EXAMPLES = """examples:
  indykeep merge ana.psit ben.psit cas.psit --out endorser.psit
  indykeep merge endorser.psit photo.jpg --out endorser.psit

Every mark is verified; copies may be given in any order, and more than once.
"""


def main(words: list[str]) -> int:
    """Run `indykeep merge`."""
    parser = argparse.ArgumentParser(
        prog="indykeep merge",
        description="Merge copies of a proposal that several people signed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file", type=Path, nargs="+", help="copies: .psit files or pictures of QR codes"
    )
    review_view.result_options(parser)
    args = parser.parse_args(words)
    whole = merge(proposal_files.load_all(args.file))
    review_view.write_result(whole, review_view.target(args), args.qr)
    for place, who in enumerate(whole.body.cosigners):
        marks = ", ".join(sorted({m.act for m in whole.marks if m.by == place}))
        say(f"{who.name}: {marks or 'no answer yet'}")
    return 0
