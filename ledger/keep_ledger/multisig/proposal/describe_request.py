"""A request in words: one sentence, and every value in it.

Every value of the request is shown, so that nothing can be hidden; a change shows the old value, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from keep_ledger.codes import role_name
from keep_ledger.json_object import Json
from keep_ledger.multisig.proposal.invisible import marks, with_marks
from keep_ledger.multisig.proposal.operations import (
    Agreement,
    AnyOperation,
    Attrib,
    AuthRule,
    AuthRules,
    ClaimDef,
    Mechanisms,
    NoAgreement,
    Node,
    Nym,
    PoolConfig,
    RegistryDef,
    RegistryEntry,
    RuleChange,
    Schema,
    Upgrade,
)
from keep_ledger.multisig.proposal.request_decoder import Request
from keep_ledger.multisig.rules.auth_rules import RuleKey, parse_constraint, sentence
from keep_ledger.multisig.threshold.curve import sha256
from keep_ledger.wording import counted

Fact = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Description:
    """A request in words.

    Attributes:
        headline: what it does, as a sentence without a full stop.
        facts: every value, with its name.
    """

    headline: str
    facts: tuple[Fact, ...]


def describe(request: Request, before: Json) -> Description:
    """Describe a request.

    Args:
        before: what is on the ledger now, as in `Body.before`, to describe a change as a change.
    """
    headline, facts = _operation(request.operation, request, before)
    return Description(headline, (*facts, *_around(request)))


def rule_key(change: RuleChange) -> RuleKey:
    """The key of the rule that is changed."""
    return RuleKey.of(change.model_dump(exclude_unset=True))


def moment(seconds: int) -> str:
    """A time for people, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _operation(
    operation: AnyOperation, request: Request, before: Json
) -> tuple[str, list[Fact]]:
    match operation:
        case Nym():
            return _nym(operation, before)
        case Attrib() | Schema() | ClaimDef() | RegistryDef() | RegistryEntry():
            return _object(operation, request, before)
        case AuthRule():
            return "Change who may do something on this network", list(_change(operation))
        case AuthRules():
            return (
                f"Change {counted(len(operation.rules), 'rule')} about who may do what on this network",
                [fact for change in operation.rules for fact in _change(change)],
            )
        case Agreement() | Mechanisms() | NoAgreement():
            return _agreement(operation)
        case Node() | Upgrade() | PoolConfig():
            return _network(operation)
        case _:
            assert_never(operation)


def _nym(op: Nym, before: Json) -> tuple[str, list[Fact]]:
    facts = [("DID", op.dest)]
    role = role_name(op.role)
    if before.get("exists"):
        was = role_name(before.get("role"))
        changes: list[str] = []
        if op.sets_role:
            changes.append(f"its role from {was} to {role}")
            facts.append(("role", f"{was} -> {role}"))
        if op.verkey:
            changes.append("its key")
            facts.append(("key", f"{before.get('verkey')} -> {op.verkey}"))
        if op.document is not None:
            changes.append("its document")
        headline = f"Change {' and '.join(changes) or 'nothing'} of the DID {op.dest}"
        return headline, facts + _rest(op)
    facts += [
        ("role", role),
        ("key", op.verkey or "none: the DID that registers it can sign for it"),
    ]
    return f"Register the DID {op.dest} with {_with_article(role)}", facts + _rest(op)


def _with_article(role: str) -> str:
    return role if role == "no role" else f"the role {role}"


def _rest(op: Nym) -> list[Fact]:
    """The members that need no words of their own."""
    facts = [("alias", op.alias)] if op.alias else []
    if op.diddocContent is not None:
        shown = json.dumps(op.document, ensure_ascii=True)
        facts += [("document", shown), ("text", with_marks(op.diddocContent))]
    return facts + ([("version", str(op.version))] if op.version is not None else [])


def _prose(name: str, text: str) -> list[Fact]:
    """A long text, and what a reader does not see of it."""
    unseen = "; ".join(marks(text))
    return [(name, with_marks(text)), *([(f"{name}: unseen", unseen)] if unseen else [])]


def _object(
    op: Attrib | Schema | ClaimDef | RegistryDef | RegistryEntry, request: Request, before: Json
) -> tuple[str, list[Fact]]:
    change = "Overwrite" if before.get("exists") else "Write"
    match op:
        case Attrib():
            name, value = next(iter(op.content.items()))
            shown = json.dumps(value, ensure_ascii=True)
            return (
                f"{change} the attribute {name!r} of the DID {op.dest}",
                [("DID", op.dest), ("attribute", f"{name} = {shown}"), ("text", op.raw)],
            )
        case Schema():
            data = op.data
            return (
                f"{change} the schema {data.name} {data.version} as {request.author}",
                [
                    ("schema", f"{data.name} {data.version}"),
                    (counted(len(data.attr_names), "attribute"), "; ".join(data.attr_names)),
                ],
            )
        case ClaimDef():
            keys = sha256(json.dumps(op.data.model_dump(), sort_keys=True).encode()).hex()
            return (
                f"{change} a credential definition for schema number {op.ref}, tag {op.tag}",
                [
                    ("schema number", str(op.ref)),
                    ("tag", op.tag),
                    ("attributes", "; ".join(sorted(op.data.primary.r))),
                    ("revocable", "yes" if op.data.revocation else "no"),
                    ("SHA-256 of its keys", keys),
                ],
            )
        case RegistryDef():
            return (
                f"{change} a revocation registry for {op.credDefId}",
                [("value", op.model_dump_json(exclude={"type"}))],
            )
        case RegistryEntry():
            return (
                f"{change} the state of the revocation registry {op.revocRegDefId}",
                [("value", op.model_dump_json(exclude={"type"}, exclude_none=True))],
            )
        case _:
            assert_never(op)


def _change(change: RuleChange) -> Iterator[Fact]:
    key = rule_key(change)
    yield key.text, sentence(key, parse_constraint(change.constraint))


def _agreement(op: Agreement | Mechanisms | NoAgreement) -> tuple[str, list[Fact]]:
    match op:
        case NoAgreement():
            return "Retire all author agreements: none is in force any more", []
        case Mechanisms():
            ways = [
                fact
                for label, text in op.aml.items()
                for fact in _prose(f"accepted by {label}", text)
            ]
            context = _prose("context", op.amlContext) if op.amlContext else []
            return (
                f"Set the ways to accept an author agreement, version {op.version}",
                ways + context,
            )
        case Agreement():
            facts = [("version", op.version)]
            if op.text is not None:
                facts += _prose("text", op.text)
            if op.ratification_ts is not None:
                facts.append(("ratified", moment(op.ratification_ts)))
            if op.retirement_ts is not None:
                facts.append(("retired from", moment(op.retirement_ts)))
            verb = "Set the end of" if op.text is None else "Put in force"
            return f"{verb} the author agreement, version {op.version}", facts
        case _:
            assert_never(op)


def _network(op: Node | Upgrade | PoolConfig) -> tuple[str, list[Fact]]:
    match op:
        case Node():
            data = op.data.model_dump(exclude_none=True)
            facts = [(name, json.dumps(value)) for name, value in data.items()]
            verb = "Change"
            if op.data.services is not None:
                verb = "Let take part" if op.data.services else "Take out of the consensus"
            return f"{verb}: the node {op.data.alias}", [("node", op.dest), *facts]
        case Upgrade():
            verb = "Upgrade" if op.action == "start" else "Cancel an upgrade of"
            data = op.model_dump(exclude_none=True, exclude={"type"})
            return (
                f"{verb} the nodes: {op.package or 'indy-node'} {op.version}",
                [(name, json.dumps(value)) for name, value in data.items()],
            )
        case PoolConfig():
            verb = "Let the network take writes" if op.writes else "Stop all writes"
            return verb, [("writes", str(op.writes)), ("force", str(bool(op.force)))]
        case _:
            assert_never(op)


def _around(request: Request) -> list[Fact]:
    facts = [("author", request.author)]
    if request.endorser:
        facts.append(("endorser", request.endorser))
    if request.acceptance:
        day = moment(request.acceptance.time)[:10]
        facts.append(
            (
                "agreement",
                f"accepted on {day} by {request.acceptance.mechanism}, digest {request.acceptance.taaDigest}",
            )
        )
    return [*facts, ("digest", request.digest.hex())]
