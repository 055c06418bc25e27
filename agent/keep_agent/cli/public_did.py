"""The command `indykeep public-did`: of a running agent, through its admin API."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, cast

from keep_agent.errors import BadCommandError

if TYPE_CHECKING:
    from keep_agent.client import Client
    from keep_agent.core.message import Json


def add(parser: argparse.ArgumentParser) -> None:
    """Add its options to a parser."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--set", metavar="DID", help="make this DID of the agent the public one of its ledger"
    )
    what.add_argument(
        "--withdraw",
        metavar="NAMESPACE",
        help="withdraw the public DID of this network; its connections stay",
    )
    parser.add_argument(
        "--namespace", help="the network of --set, where the DID does not name it"
    )
    parser.add_argument(
        "--implicit-requests",
        action=argparse.BooleanOptionalAction,
        help="with --set: take connection requests that answer no invitation, or not; as it was where "
        "neither is said, at first not",
    )


async def run(client: Client, args: argparse.Namespace) -> Json:
    """Do what was asked, and return the public DIDs with what their ledgers say."""
    if args.set is None and (args.implicit_requests is not None or args.namespace is not None):
        raise BadCommandError(
            "--implicit-requests, --no-implicit-requests and --namespace: each goes with --set"
        )
    if args.withdraw is not None:
        await client.withdraw_public_did(cast("str", args.withdraw))
    if args.set is not None:
        await client.make_public(
            args.set, namespace=args.namespace, implicit_requests=args.implicit_requests
        )
    return {"results": await client.public_dids()}
