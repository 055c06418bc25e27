"""`indykeep sign`: review a proposal and sign it, with a key or with a share of a group's key."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from keep_agent.cli.multisig import proposal_files, review_view
from keep_agent.cli.multisig.output import note, say
from keep_agent.cli.multisig.signing_keys import SHARE, Signer, open_share, open_signer
from keep_agent.errors import BadCommandError
from keep_ledger.multisig.errors import RefusedError, SpentError
from keep_ledger.multisig.proposal.document import Act, Proposal, WrongKeyError
from keep_ledger.multisig.threshold import frost
from keep_ledger.multisig.threshold.nonce_files import NonceFiles
from keep_ledger.multisig.threshold.shares import Share

_EXAMPLES = """examples:
  indykeep sign endorser.psit --genesis genesis.txn --with store:ana.db#ana
  indykeep sign endorser.psit --genesis genesis.txn --with "pkcs11:token=trustees;object=ben?module-path=/usr/lib/softhsm/libsofthsm2.so"
  indykeep sign endorser.psit --offline --descriptor trustees.json --with store:ana.db#ana
  indykeep sign endorser.psit --genesis genesis.txn --with frost:acme      (twice: two rounds)

The proposal is compared with the ledger, shown, and signed only after a yes. A share signs in two rounds:
run the command once to commit, merge the files of the others, and run it again.
"""


def main(words: list[str]) -> int:
    """Run `indykeep sign`."""
    parser = argparse.ArgumentParser(
        prog="indykeep sign",
        description="Review a proposal and sign it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    review_view.options(parser)
    review_view.offline_options(parser)
    review_view.result_options(parser)
    key_options(parser)
    parser.add_argument(
        "--comment", default="", metavar="TEXT", help="comment beside the signature"
    )
    args = parser.parse_args(words)
    proposal = proposal_files.load(args.file)
    sheet = review_view.review_proposal(args, proposal)
    review_view.show(proposal, sheet)
    if sheet.refusals:
        raise RefusedError(f"it must not be signed: {'; '.join(sheet.refusals)}")
    if str(args.key).startswith(SHARE):
        done = _with_share(args, proposal)
    else:
        with open_signer(args.key, args.key_file) as signer:
            place = proposal.place_of(signer.verkey)
            _ask(args, proposal, place)
            done = add_mark(proposal, signer, "sign", args.comment)
    review_view.write_result(done, review_view.target(args), args.qr)
    return 0


def key_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a key."""
    parser.add_argument(
        "--with",
        dest="key",
        required=True,
        metavar="KEY",
        help="store:PATH#NAME, pkcs11:token=LABEL;object=LABEL?module-path=FILE or frost:FOLDER",
    )
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help="file with the key of the store"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def add_mark(proposal: Proposal, signer: Signer, act: Act, text: str = "") -> Proposal:
    """Add a person's mark to a proposal, sealed with the key."""
    place = proposal.place_of(signer.verkey)
    more = {"signature": signer.sign(proposal.request.signing_input)} if act == "sign" else {}
    mark = proposal.unsealed(act, place, int(time.time()), text, **more)
    return proposal.with_mark(
        mark.model_copy(update={"seal": signer.sign(proposal.to_seal(mark))})
    )


def add_mark_by_share(
    proposal: Proposal, member: Share, act: Act, text: str = "", **more: object
) -> Proposal:
    """Add a group member's mark to a proposal, sealed with the share."""
    place = place_of_group(proposal, member)
    mark = proposal.unsealed(
        act, place, int(time.time()), text, member=member.identifier, **more
    )
    return proposal.with_mark(proposal.sealed_by_share(mark, member))


def place_of_group(proposal: Proposal, share: Share) -> int:
    """The index of the cosigner that is the group of a share.

    Raises:
        WrongKeyError: there is none, or it has an older or newer sharing of the key.
    """
    place = proposal.place_of(share.group.key)
    group = proposal.body.cosigners[place].group
    if group is None or group.digest != share.group.digest:
        raise WrongKeyError("the proposal names another sharing of this group's key")
    return place


def _ask(args: argparse.Namespace, proposal: Proposal, place: int) -> None:
    who = proposal.body.cosigners[place].name
    review_view.ask_to_confirm(f"Sign this as {who}?", already=args.yes)


def _with_share(args: argparse.Namespace, proposal: Proposal) -> Proposal:
    share, vault = open_share(args.key)
    place = place_of_group(proposal, share)
    _ask(args, proposal, place)
    chosen = proposal.quorum(place)
    mine = [c for c in chosen if c.identifier == share.identifier]
    if chosen and not mine:
        note("enough others have committed: they sign, and you do not need to")
        return proposal
    if any(s.identifier == share.identifier for s in proposal.shares(place)):
        note("you have signed already")
        return proposal
    if chosen:
        try:
            return _signed(args, proposal, share, vault, place)
        except SpentError as error:
            note(
                f"{error}; committing again: the others must sign again with the new commitment"
            )
    return _committed(proposal, share, vault, place)


def _committed(proposal: Proposal, share: Share, vault: NonceFiles, place: int) -> Proposal:
    session = proposal.session(place)
    kept = {c.to_text() for c in vault.pending()}
    there = [c for c in proposal.commitments(place) if c.identifier == share.identifier]
    if there and there[0].to_text() in kept:
        note("you have committed already: the others must commit now")
        return proposal
    commitment = frost.commit(share, session, vault)
    done = add_mark_by_share(proposal, share, "commit", commitment=commitment)
    have = len(done.commitments(place))
    say(
        f"round 1 of 2: committed ({have} of {share.group.threshold}). Send the file to the others; when all"
        " have committed, sign again"
    )
    return done


def _signed(
    args: argparse.Namespace, proposal: Proposal, share: Share, vault: NonceFiles, place: int
) -> Proposal:
    message = proposal.request.signing_input
    part = frost.sign(share, proposal.session(place), message, proposal.quorum(place), vault)
    done = add_mark_by_share(proposal, share, "sign", args.comment, share=part)
    have, needed = len(done.shares(place)), share.group.threshold
    say(f"round 2 of 2: signed ({have} of {needed})")
    if have == needed and done.signatures().get(done.body.cosigners[place].did) is None:
        raise BadCommandError(
            "the shares do not make a signature"
        )  # unreachable: `signatures` names who
    return done
