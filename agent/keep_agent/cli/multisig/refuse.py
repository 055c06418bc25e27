"""`indykeep refuse`: refuse a proposal with a reason, comment on it, or cancel it."""

from __future__ import annotations

import argparse

from keep_agent.cli.multisig import proposal_files, review_view
from keep_agent.cli.multisig.output import say
from keep_agent.cli.multisig.sign import add_mark, add_mark_by_share, key_options
from keep_agent.cli.multisig.signing_keys import SHARE, open_share, open_signer
from keep_ledger.multisig.proposal.document import Act, Proposal

_EXAMPLES = """examples:
  indykeep refuse endorser.psit --with store:ben.db#ben --reason "Acme has no contract yet"
  indykeep refuse endorser.psit --with store:ben.db#ben --reason "who asked for this?" --comment
  indykeep refuse endorser.psit --with store:ana.db#ana --reason "made in error" --cancel

A refusal does not bind the others, who may still be enough. `--cancel` is for the author (of a group, as many
members as must sign): after that no command signs or sends the proposal. Signatures that were given remain
valid on the ledger: `indykeep audit --unused` says how to invalidate them.
"""


def main(words: list[str]) -> int:
    """Run `indykeep refuse`."""
    parser = argparse.ArgumentParser(
        prog="indykeep refuse",
        description="Refuse a proposal with a reason, comment on it, or cancel it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    review_view.options(parser)
    review_view.result_options(parser)
    key_options(parser)
    parser.add_argument("--reason", required=True, metavar="TEXT", help="text for the others")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--comment", action="store_true", help="only comment")
    kind.add_argument("--cancel", action="store_true", help="cancel your own proposal")
    args = parser.parse_args(words)
    act: Act = "comment" if args.comment else "cancel" if args.cancel else "refuse"
    proposal = proposal_files.load(args.file)
    done = _with_mark(args, proposal, act)
    review_view.write_result(done, review_view.target(args), args.qr)
    if act == "cancel" and not done.cancelled():
        say(
            "noted; the proposal is cancelled when its author, or enough members of the author's group, cancel it"
        )
    return 0


def _with_mark(args: argparse.Namespace, proposal: Proposal, act: Act) -> Proposal:
    if str(args.key).startswith(SHARE):
        share, _ = open_share(args.key)
        return add_mark_by_share(proposal, share, act, args.reason)
    with open_signer(args.key, args.key_file) as signer:
        return add_mark(proposal, signer, act, args.reason)
