"""Read with proofs what the ledger says now about a proposal, for `review`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import base58

from keep_agent.errors import BadCommandError
from keep_ledger.indy import auth_rules
from keep_ledger.indy.current_objects import Found
from keep_ledger.indy.network_client import NetworkClient
from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.describe_request import rule_key
from keep_ledger.multisig.proposal.operations import AuthRule, AuthRules, Nym
from keep_ledger.multisig.proposal.request_decoder import Request
from keep_ledger.multisig.proposal.review import LedgerView, Person
from keep_ledger.multisig.rules.applicable_rules import Before, applicable
from keep_ledger.multisig.rules.auth_rules import Constraint, RuleKey
from keep_ledger.multisig.rules.lints import changes, what_if
from keep_ledger.multisig.rules.quorum import People
from keep_ledger.multisig.threshold.curve import sha256

GENESIS = "INDYKEEP_GENESIS"
PLAIN_DIDS = 50
"""How many DIDs without a role to assume: more than any rule requires."""
_MOST_NAMED = 5


@asynccontextmanager
async def opened(
    genesis: str | None, cache: Path | None = None
) -> AsyncGenerator[NetworkClient]:
    """Open the network that is named in a command line or environment.

    Raises:
        BadCommandError: none is named.
    """
    source = genesis or os.environ.get(GENESIS)
    if not source:
        raise BadCommandError(f"name the network: --genesis FILE (or URL), or {GENESIS}")
    async with NetworkClient(source, _fetch, cache) as client:
        yield client


async def _fetch(url: str) -> bytes:
    from aiohttp import ClientError, ClientSession  # noqa: PLC0415

    try:
        async with ClientSession(raise_for_status=True) as session, session.get(url) as answer:
            return await answer.read()
    except ClientError as error:
        raise OSError(str(error)) from error


async def read_ledger_view(
    client: NetworkClient, request: Request, dids: Iterable[str]
) -> LedgerView:
    """Read everything that decides whether a request is accepted.

    Args:
        dids: DIDs of the cosigners.

    Raises:
        LedgerUnavailableError: there is no answer that can be trusted.
    """
    wanted = dict.fromkeys([*dids, request.author, *filter(None, [request.endorser])])
    changing = await _rules(client, _changed(request))
    people, (found, before), taa = await asyncio.gather(
        _people(client, wanted), _before(client, request, changing), client.taa()
    )
    keys = applicable(request.body["operation"], _shape(request, found))
    rules = await _rules(client, keys)
    return LedgerView(
        network=client.network,
        people=people,
        rules=rules,
        before=before,
        agreement=taa.digest if taa else None,
        owner=_owner(request, people, found),
        changing=changing,
    )


def _changed(request: Request) -> list[RuleKey]:
    """The rules that a request changes."""
    operation = request.operation
    if not isinstance(operation, AuthRule | AuthRules):
        return []
    changes = operation.rules if isinstance(operation, AuthRules) else [operation]
    return list(map(rule_key, changes))


async def _rules(client: NetworkClient, keys: Iterable[RuleKey]) -> dict[str, Json]:
    listed = list(keys)
    found = await asyncio.gather(*(_rule(client, key) for key in listed))
    unknown = [key.text for key, one in zip(listed, found, strict=True) if one is None]
    if unknown:
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        named = ", ".join(unknown[:_MOST_NAMED])
        raise RefusedError(f"the network has no such auth rules: {named}{more}: leave them out")
    return {key.text: one.to_json() for key, one in zip(listed, found, strict=True) if one}


async def _rule(client: NetworkClient, key: RuleKey) -> Constraint | None:
    try:
        return await auth_rules.read_rule(client.pool, key)
    except auth_rules.NoSuchRuleError:
        return None


async def consequences(client: NetworkClient, request: Request) -> list[str]:
    """The effects of a change of rules, in sentences; empty for other requests."""
    if not _changed(request):
        return []
    rules = await auth_rules.read_rules(client.pool, None)
    found = what_if(rules, changes(request.body["operation"]), await everybody(client))
    told = [f"{one.after.sentence} Now: {one.before.sentence}" for one in found.changed]
    if found.final:
        told.insert(0, "after this nobody can change the rules any more")
    return told + [one.text for one in found.new if one.grave]


async def everybody(client: NetworkClient) -> People:
    """How many DIDs have each role."""
    found = await client.role_holders()
    return {None: PLAIN_DIDS} | {role: len(dids) for role, dids in found.items() if role}


async def _people(client: NetworkClient, dids: Iterable[str]) -> dict[str, Person]:
    listed = list(dids)
    found = await asyncio.gather(*map(client.nym, listed))
    return {
        did: Person(base58.b58decode(one.verkey) if one.verkey else None, one.role)
        for did, one in zip(listed, found, strict=True)
        if one is not None
    }


async def _before(
    client: NetworkClient, request: Request, changing: dict[str, Json]
) -> tuple[Found | None, Json]:
    """What a request changes, and the short form of it in a proposal, which changes with it."""
    operation = request.operation
    if isinstance(operation, Nym):
        nym = await client.nym(operation.dest)
        if nym is None:
            return None, {"exists": False}
        told = {"verkey": nym.verkey, "role": nym.role}
        return Found(f"DID {nym.did}", nym.seq_no, told), {"exists": True, **told}
    if changing:
        text = json.dumps(changing, sort_keys=True, separators=(",", ":"))
        return None, {"rules": sha256(text.encode()).hex()}
    if request.body["operation"]["type"] in {"109", "111"}:
        return None, {}
    found = await client.current_object(request.body)
    if found is None:
        return None, {"exists": False}
    text = json.dumps(found.value, sort_keys=True, separators=(",", ":"))
    return found, {"exists": True, "is": sha256(text.encode()).hex()}


def _shape(request: Request, found: Found | None) -> Before:
    value: Json = found.value if found else {}
    role: Any = value.get("role")
    node = value if request.operation.NAME == "NODE" else {}
    return Before(exists=found is not None, role=role, node=node)


def _owner(request: Request, people: dict[str, Person], found: Found | None) -> str | None:
    """The owner of what is changed, if it is known."""
    operation = request.body["operation"]
    if operation["type"] in {"1", "100"}:
        subject: str = operation["dest"]
        has_key = found is not None and (operation["type"] == "100" or found.value["verkey"])
        return subject if has_key or subject in people else None
    if operation["type"] == "114":
        return str(operation["revocRegDefId"]).partition(":")[0]
    return None
