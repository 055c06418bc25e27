"""`ledger get-...`: read a ledger as any client does, and print the answer as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from indy_vdr import Request, VdrError, VdrErrorCode
from indy_vdr import ledger as vdr

from keep_network import arguments, control
from keep_network.arguments import Verbs, folder_of
from keep_network.dids import short
from keep_network.errors import BadInputError, NetworkError
from keep_network.ledger import opened
from keep_network.record import Network

_RULES = {
    "identifier": "LibindyDid111111111111",
    "reqId": 1,
    "protocolVersion": 2,
    "operation": {"type": "121"},
}
LEDGERS = {"pool": 0, "domain": 1, "config": 2}
_LARGEST = 2**31


@dataclass(frozen=True, slots=True)
class Read:
    """One kind of read.

    Attributes:
        takes: the arguments after its name.
        build: makes indy-vdr's request from their values.
    """

    takes: tuple[str, ...]
    build: Callable[[list[Any]], Request]


READS = {
    "get-nym": Read(("did",), lambda told: vdr.build_get_nym_request(None, *told)),
    "get-attrib": Read(
        ("did", "attribute"),
        lambda told: vdr.build_get_attrib_request(None, *told),
    ),
    "get-schema": Read(("id",), lambda told: vdr.build_get_schema_request(None, *told)),
    "get-cred-def": Read(("id",), lambda told: vdr.build_get_cred_def_request(None, *told)),
    "get-revoc-reg-def": Read(
        ("id",), lambda told: vdr.build_get_revoc_reg_def_request(None, *told)
    ),
    "get-revoc-reg": Read(
        ("id",),
        lambda told: vdr.build_get_revoc_reg_request(None, told[0], int(time.time())),
    ),
    "get-taa": Read((), lambda _: vdr.build_get_txn_author_agreement_request()),
    "get-aml": Read((), lambda _: vdr.build_get_acceptance_mechanisms_request()),
    "get-auth-rules": Read((), lambda _: vdr.build_custom_request(json.dumps(_RULES))),
}
"""The reads with a state proof; `get-txn` is beside them."""


def add_verbs(verbs: Verbs) -> None:
    """Add `ledger` with all its reads."""
    parser = verbs.add_parser("ledger", help="read: " + ", ".join(("get-txn", *READS)))
    kinds = parser.add_subparsers(metavar="READ", required=True)
    for name, read in READS.items():
        verb = arguments.verb(kinds, name, _read, "read with a state proof")
        verb.set_defaults(read=read)
        for word in read.takes:
            verb.add_argument(word)
    number = arguments.verb(kinds, "get-txn", _read, "read a transaction by its number")
    number.set_defaults(read=Read(("number", "ledger"), _transaction))
    number.add_argument("number", type=_number)
    number.add_argument("--ledger", choices=LEDGERS, default="domain")


def _transaction(told: list[Any]) -> Request:
    number, name = told
    return vdr.build_get_txn_request(None, LEDGERS[name], number)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < _LARGEST):
        raise argparse.ArgumentTypeError("a transaction has a number from 1")
    return int(text)


def _read(args: argparse.Namespace) -> None:
    network = control.find(folder_of(args))
    words: list[Any] = [
        short(word) if isinstance(word, str) else word
        for word in (getattr(args, name) for name in args.read.takes)
    ]
    try:
        request = args.read.build(words)
    except VdrError as error:
        raise BadInputError(f"no ledger accepts that: {error}") from error
    if not control.describe(network)["pids"]:
        raise NetworkError(f"{network.name} does not run; start it first")
    told = asyncio.run(_ask(network, request))
    print(json.dumps(told, indent=2, ensure_ascii=False))
    if not told["data"]:
        raise NetworkError("the ledger does not have it; see the answer above")


async def _ask(network: Network, request: Request) -> dict[str, Any]:
    """Return the nodes' answer; its `data` is parsed where it is JSON in a string."""
    try:
        async with opened(network) as pool:
            told = await pool.submit_request(request)
    except VdrError as error:
        refused = error.code == VdrErrorCode.POOL_REQUEST_FAILED
        did = "refused it" if refused else "did not answer"
        raise NetworkError(f"the network {did}: {error}") from error
    if isinstance(told["data"], str):
        told["data"] = json.loads(told["data"])
    return told
