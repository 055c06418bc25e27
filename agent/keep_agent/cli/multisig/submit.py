"""`indykeep submit`: compare a proposal with the ledger, send it, and check what was written."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from keep_agent.cli.multisig import proposal_files, review_view
from keep_agent.cli.multisig.output import note, say
from keep_ledger.json_object import Json
from keep_ledger.multisig.audit.identity_audit import differences
from keep_ledger.multisig.audit.key_history import kept_digest, request_of
from keep_ledger.multisig.errors import MultisigError, RefusedError
from keep_ledger.multisig.proposal.document import Proposal
from keep_ledger.multisig.proposal.review import Sheet

if TYPE_CHECKING:
    from keep_ledger.indy.network_client import NetworkClient

_EXAMPLES = """examples:
  indykeep submit endorser.psit --genesis genesis.txn

Usually the last signer sends it. If you run it again, it finds the transaction and sends nothing.
"""


class WrittenDifferentlyError(MultisigError):
    """The transaction on the ledger is not what was approved: raise an alarm."""


def main(words: list[str]) -> int:
    """Run `indykeep submit`."""
    parser = argparse.ArgumentParser(
        prog="indykeep submit",
        description="Send a proposal that enough people have signed to the ledger.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    review_view.options(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    args = parser.parse_args(words)
    return asyncio.run(_submit(args, proposal_files.load(args.file)))


async def _submit(args: argparse.Namespace, proposal: Proposal) -> int:
    from keep_agent.cli.multisig import ledger_view  # noqa: PLC0415 - it loads what opens sockets

    async with ledger_view.opened(args.genesis) as client:
        if client.network != proposal.body.network:
            raise RefusedError("it is for another network")
        number = await client.find_transaction(proposal.request.body)
        if number is not None:
            note("it is on the ledger already; nothing is sent")
        else:
            number = await _send(args, client, proposal)
        await _compare(client, proposal, number)
        say(f"It is on the ledger as transaction {number}, exactly as it was approved.")
    return 0


async def _send(args: argparse.Namespace, client: NetworkClient, proposal: Proposal) -> int:
    sheet = await review_view.review_on_ledger(client, proposal)
    review_view.show(proposal, sheet)
    if sheet.refusals:
        raise RefusedError(f"it must not be sent: {'; '.join(sheet.refusals)}")
    if sheet.missing:
        raise RefusedError(f"it cannot be sent yet: {sheet.missing}")
    review_view.ask_to_confirm("Send it?", already=args.yes)
    return await client.submit(proposal.request.body, _signatures(proposal, sheet))


def _signatures(proposal: Proposal, sheet: Sheet) -> dict[str, bytes] | bytes:
    """The signatures for the ledger: a single one, or all that count."""
    if set(sheet.signatures) == {proposal.request.author}:
        return sheet.signatures[proposal.request.author]
    return sheet.signatures


async def _compare(client: NetworkClient, proposal: Proposal, number: int) -> None:
    """Compare what the ledger wrote with what was approved.

    Raises:
        WrittenDifferentlyError: it is something else with the same signatures.
    """
    written = await client.txn(proposal.request.operation.LEDGER, number)
    if written is None:
        raise WrittenDifferentlyError(f"the ledger does not show its transaction {number}")
    if found := _differences(proposal, written):
        raise WrittenDifferentlyError(
            "ALARM: the transaction on the ledger is not what was approved, with the same signatures:\n"
            + "\n".join(found)
        )


def _differences(proposal: Proposal, written: Json) -> list[str]:
    request, _ = request_of(written)
    other = ["it has another digest"] if kept_digest(written) != proposal.request.digest else []
    return [*other, *differences(proposal.request.body, request)]
