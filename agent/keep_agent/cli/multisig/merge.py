"""`indykeep merge`: put together what several people said of one proposal."""

from __future__ import annotations

import argparse
from pathlib import Path

from keep_agent.cli.multisig import proposal_files, review_view
from keep_agent.cli.multisig.output import say
from keep_ledger.multisig.proposal.document import merge

_EXAMPLES = """examples:
  indykeep merge ana.psit ben.psit cas.psit --out endorser.psit
  indykeep merge endorser.psit photo.jpg --out endorser.psit

Every mark is verified before it is taken; copies may come in any order, and twice.
"""


def main(words: list[str]) -> int:
    """Run `indykeep merge`."""
    parser = argparse.ArgumentParser(
        prog="indykeep merge",
        description="Put together copies of one proposal that several people signed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, nargs="+", help="copies: .psit files or pictures")
    review_view.result_options(parser)
    args = parser.parse_args(words)
    whole = merge(proposal_files.load_all(args.file))
    review_view.write_result(whole, review_view.target(args), args.qr)
    for place, who in enumerate(whole.body.cosigners):
        said = ", ".join(sorted({m.act for m in whole.marks if m.by == place}))
        say(f"{who.name}: {said or 'nothing yet'}")
    return 0
