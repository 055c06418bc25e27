"""`indykeep propose`: make a proposal, with everything that its cosigners must see."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import base58

from keep_agent.cli.multisig import proposal_files, review_view
from keep_agent.cli.multisig.input_files import read_text, read_value
from keep_agent.cli.multisig.output import note
from keep_agent.errors import BadCommandError
from keep_ledger.codes import DOMAIN, ROLE_NAMES
from keep_ledger.json_object import Json
from keep_ledger.multisig.audit.control_descriptor import Descriptor
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.document import Body, Cosigner, Proposal
from keep_ledger.multisig.proposal.request_decoder import Request, decode
from keep_ledger.multisig.rules.auth_rules import ANY, leaves, parse_constraint
from keep_ledger.multisig.rules.single_reading import spelled
from keep_ledger.multisig.threshold.shares import MAX_SIGNERS

if TYPE_CHECKING:
    from keep_ledger.indy.network_client import NetworkClient

_EXAMPLES = """examples:
  indykeep propose nym --did W8...Z --verkey 5R...k --role ENDORSER --author V4...f --out acme.psit
  indykeep propose nym --did W8...Z --verkey 9t...Q --author W8...Z --out new-key.psit      (rotate a key;
      with the verkey of a group it gives the DID to the group; back likewise, with --group)
  indykeep propose schema --name licence --version 1.0 --attributes name,category --author W8...Z --out s.psit
  indykeep propose attrib --did W8...Z --raw '{"endpoint":{"endpoint":"https://a.example"}}' --author W8...Z --out a.psit
  indykeep propose operation rules.json --author V4...f --out rules.psit        (any type, as JSON)
  indykeep propose renew old.psit --out new.psit

If you name no cosigners, they are all DIDs on the ledger with a role that the rule requires. A group (FROST)
is named by its descriptor: --group acme.json (indykeep group export).
"""
_ROLES = {**{name: code for code, name in ROLE_NAMES.items()}, "none": None}
_SPAN = re.compile(r"([1-9][0-9]{0,3})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}
_DAY_S = 86400


def main(words: list[str]) -> int:
    """Run `indykeep propose`."""
    args = _parser().parse_args(words)
    write_new(asyncio.run(_proposed(args)), args)
    return 0


def write_new(proposal: Proposal, args: argparse.Namespace) -> None:
    """Write a new proposal to the files in the options, and say what to do next."""
    review_view.write_result(proposal, args.out, args.qr)
    note(f"Nobody has signed it yet: `indykeep sign {args.out}`")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="indykeep propose",
        description="Make a proposal for several people to sign.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(required=True, dest="kind", metavar="WHAT")
    nym = kinds.add_parser("nym", help="register a DID, or change its role or key")
    nym.add_argument("--did", required=True)
    nym.add_argument("--verkey")
    nym.add_argument("--role", choices=_ROLES, help="none removes the role")
    nym.add_argument("--alias")
    schema = kinds.add_parser("schema", help="a schema, owned by the author")
    schema.add_argument("--name", required=True)
    schema.add_argument("--version", required=True)
    schema.add_argument("--attributes", required=True, metavar="A,B,C")
    attrib = kinds.add_parser("attrib", help="an attribute of a DID")
    attrib.add_argument("--did", required=True)
    attrib.add_argument("--raw", required=True, metavar="JSON")
    operation = kinds.add_parser("operation", help="any operation, from a JSON file")
    operation.add_argument("operation", type=Path, metavar="FILE")
    renew = kinds.add_parser("renew", help="make an old proposal again, to be signed again")
    renew.add_argument("old", type=Path, metavar="FILE")
    for one in (nym, schema, attrib, operation, renew):
        options(one, author=one is not renew)
    return parser


def options(parser: argparse.ArgumentParser, *, author: bool = True) -> None:
    """Add the options of every proposal."""
    review_view.options(parser, proposal=False)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.psit")
    parser.add_argument(
        "--qr", type=Path, metavar="FILE", help="also write QR codes: .svg, .png or .html"
    )
    parser.add_argument("--expires", default="7d", metavar="SPAN", help="12h, 7d (default), 2w")
    parser.add_argument("--memo", default="", metavar="TEXT", help="reason, for those who sign")
    if author:
        parser.add_argument(
            "--author", required=True, metavar="DID", help="author; must sign, too"
        )
        parser.add_argument(
            "--endorser",
            metavar="DID",
            help="endorser, who takes responsibility; must sign, too",
        )
    parser.add_argument(
        "--cosigner", action="append", default=[], metavar="NAME=DID", help="can be repeated"
    )
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="descriptor of a FROST group; can be repeated",
    )
    parser.add_argument(
        "--accept-taa",
        metavar="MECHANISM",
        help="accept the author agreement in force, with this mechanism",
    )


async def _proposed(args: argparse.Namespace) -> Proposal:
    from keep_agent.cli.multisig import ledger_view  # noqa: PLC0415 - it loads what opens sockets

    async with ledger_view.opened(args.genesis) as client:
        old = proposal_files.load([args.old]) if args.kind == "renew" else None
        if old is not None and old.body.network != client.network:
            raise RefusedError("the old proposal is for another network")
        operation: Json = old.body.request["operation"] if old else _operation(args)
        return await proposed(client, args, operation, old)


async def proposed(
    client: NetworkClient,
    args: argparse.Namespace,
    operation: Json,
    old: Proposal | None = None,
) -> Proposal:
    """Make a proposal of an operation, and show it.

    Args:
        args: the options.
        old: an older proposal of the same, which this one replaces.

    Raises:
        BadCommandError, RefusedError: something named is not valid or does not exist.
        LedgerUnavailableError: the ledger does not answer.
    """
    from keep_agent.cli.multisig import ledger_view  # noqa: PLC0415 - it loads what opens sockets

    now = int(time.time())
    body = old.body.request | {"reqId": time.time_ns()} if old else _request(args, operation)
    request = decode(body | await _acceptance(client, args, body))
    seen = await ledger_view.read_ledger_view(client, request, [])
    members: Json = {
        "network": client.network,
        "request": request.body,
        "made": now,
        "expires": now + _seconds(args.expires),
        "memo": args.memo or (old.body.memo if old else ""),
        "cosigners": await _cosigners(client, args, request, seen.rules, old),
        "rules": dict(seen.rules),
        "before": seen.before,
    }
    proposal = Proposal(Body.model_validate(members | ({"replaces": old.id} if old else {})))
    review_view.show(proposal, await review_view.review_on_ledger(client, proposal))
    return proposal


def _request(args: argparse.Namespace, operation: Json) -> Json:
    body: Json = {
        "identifier": args.author,
        "reqId": time.time_ns(),
        "protocolVersion": 2,
        "operation": operation,
    }
    return body | ({"endorser": args.endorser} if args.endorser else {})


def _operation(args: argparse.Namespace) -> Json:
    match args.kind:
        case "nym":
            nym: Json = {"type": "1", "dest": args.did}
            nym |= {"verkey": args.verkey} if args.verkey else {}
            nym |= {"alias": args.alias} if args.alias else {}
            return nym | ({"role": _ROLES[args.role]} if args.role else {})
        case "schema":
            names = [name.strip() for name in args.attributes.split(",")]
            data = {"name": args.name, "version": args.version, "attr_names": names}
            return {"type": "101", "data": data}
        case "attrib":
            return {"type": "100", "dest": args.did, "raw": args.raw}
        case _:
            return _from_file(args.operation)


def _from_file(path: Path) -> Json:
    try:
        found: Any = json.loads(read_text(path))
    except ValueError as error:
        raise BadCommandError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadCommandError(f"{path} is not an operation: a JSON object with a type")
    body = cast("Json", found)
    if isinstance(body.get("operation"), dict):
        body = cast("Json", body["operation"])
    return _respelled(body)


def _respelled(body: Json) -> Json:
    """Write rules in the form that can be signed; other operations are left as they are."""
    try:
        match body:
            case {"type": "120", "constraint": dict()}:
                return body | {"constraint": spelled([body["constraint"]])[1][0]}
            case {"type": "122", "rules": list()}:
                listed = cast("list[Json]", body["rules"])
                order, parts = spelled([one["constraint"] for one in listed])
                pairs = zip(order, parts, strict=True)
                return body | {"rules": [listed[i] | {"constraint": c} for i, c in pairs]}
            case _:
                return body
    except (KeyError, TypeError, AttributeError, RecursionError):
        return body  # not well-formed: `decode` says why


async def _acceptance(client: NetworkClient, args: argparse.Namespace, body: Json) -> Json:
    """The acceptance of the author agreement, if the ledger requires one."""
    if (
        decode({k: v for k, v in body.items() if k != "taaAcceptance"}).operation.LEDGER
        != DOMAIN
    ):
        return {}
    taa = await client.taa()
    if taa is None:
        return {}
    if args.accept_taa not in taa.mechanisms:
        raise BadCommandError(
            f"this network has an author agreement (version {taa.version}). Read it, then accept it:"
            f" --accept-taa with one of {', '.join(taa.mechanisms)}"
        )
    day = int(time.time()) // _DAY_S * _DAY_S
    return {
        "taaAcceptance": {"taaDigest": taa.digest, "mechanism": args.accept_taa, "time": day}
    }


# -- who signs ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    did: str


async def _cosigners(
    client: NetworkClient,
    args: argparse.Namespace,
    request: Request,
    rules: Any,
    old: Proposal | None,
) -> tuple[Cosigner, ...]:
    groups = {one.did: one for one in map(_group, args.group)}
    if old is not None:
        groups |= {c.did: c for c in old.body.cosigners if c.group and c.did not in groups}
    named = [_named(text) for text in args.cosigner]
    if old is not None and not named:
        named = [_Named(c.name, c.did) for c in old.body.cosigners if c.group is None]
    if not named:
        named = [_Named(name, did) for name, did in await _by_role(client, rules)]
    known = {one.did for one in named} | groups.keys()
    for did, name in ((request.author, "author"), (request.endorser, "endorser")):
        if did and did not in known:
            named.append(_Named(name, did))
    if len(named) + len(groups) > MAX_SIGNERS:
        raise BadCommandError(
            f"{len(named)} DIDs could sign this: name at most {MAX_SIGNERS} of them (--cosigner)"
        )
    people = [await _person(client, one) for one in named if one.did not in groups]
    return (*people, *groups.values())


def _named(text: str) -> _Named:
    name, _, did = text.rpartition("=")
    if not name:
        raise BadCommandError(f"--cosigner {text}: write NAME=DID")
    return _Named(name, did)


async def _person(client: NetworkClient, who: _Named) -> Cosigner:
    there = await client.nym(who.did)
    if there is None or there.verkey is None:
        raise BadCommandError(f"{who.name}: the ledger has no key for {who.did}")
    return Cosigner.from_json(
        {
            "kind": Cosigner.KIND,
            "name": who.name,
            "did": who.did,
            "key": base58.b58decode(there.verkey).hex(),
        }
    )


def _group(path: Path) -> Cosigner:
    described = read_value(path, Descriptor)
    if described.group is None or described.did is None:
        raise BadCommandError(f"{path} does not describe a group with a DID")
    return Cosigner(
        name=described.name, did=described.did, key=described.group.key, group=described.group
    )


async def _by_role(client: NetworkClient, rules: Any) -> list[tuple[str, str]]:
    """Everybody with a role that a rule requires, named by role and number."""
    wanted = {
        leaf.role
        for constraint in rules.values()
        for leaf in leaves(parse_constraint(constraint))
        if leaf.role not in (None, ANY)
    }
    if not wanted:
        return []
    members = await client.role_holders()
    return [
        (f"{ROLE_NAMES[role].lower()} {number}", did)
        for role in sorted(wanted & members.keys())
        for number, did in enumerate(members[role], 1)
    ]


def _seconds(span: str) -> int:
    found = _SPAN.fullmatch(span)
    if found is None:
        raise BadCommandError(
            f"--expires {span}: write a number and h, d or w, for example 12h or 7d"
        )
    return int(found[1]) * _HOURS[found[2]] * 3600
