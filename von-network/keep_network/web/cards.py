"""Transactions in plain words: who wrote what."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from keep_network.json_shape import array_of
from keep_network.web import rules
from keep_network.web.store import Row
from keep_network.web.transactions import ROLES, Transaction, mapping, text

_SHORT = 22
_LEDGER_NAMES = {0: "pool", 1: "domain", 2: "config"}


@dataclass(frozen=True, slots=True)
class Ref:
    """A name that leads somewhere.

    Attributes:
        text: what is shown.
        href: where it leads.
        full: what it stands for, when that is longer.
    """

    text: str
    href: str
    full: str = ""


Part = str | Ref


@dataclass(frozen=True, slots=True)
class Fact:
    """One line below a headline.

    Attributes:
        code: the value is for machines: a key, a hash, an id.
    """

    label: str
    value: Part
    code: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """A transaction for people.

    Attributes:
        kind: which picture it gets: did, schema, definition, revocation, node, rule, text.
        headline: a sentence, with links in it.
        signed: True: all signatures verify; False: one does not; None: nobody can tell.
        signers: the DIDs that signed.
    """

    ledger: str
    seq: int
    name: str
    kind: str
    headline: tuple[Part, ...]
    facts: tuple[Fact, ...]
    time: datetime | None
    author: Ref | None
    endorser: Ref | None
    signed: bool | None
    signers: tuple[Ref, ...]
    href: str
    words: str = field(default="", repr=False)


SchemaName = Callable[[int], str | None]


@dataclass(frozen=True, slots=True)
class Teller:
    """Puts transactions into words.

    Attributes:
        schema_name: gives the name and version of the schema with a number.
    """

    schema_name: SchemaName

    def card(self, row: Row) -> Card:
        """Describe one transaction; what cannot be understood is still named by its type."""
        txn = Transaction(row.transaction())
        checks = mapping(row.checks)
        kind, verb, facts = self._said(txn, first=bool(checks.get("first")))
        author = did(txn.author) if txn.author else None
        ledger = _LEDGER_NAMES[row.ledger]
        return Card(
            ledger=ledger,
            seq=row.seq,
            name=txn.name,
            kind=kind,
            headline=(author or "The genesis", *verb),
            facts=tuple(fact for fact in facts if fact.value),
            time=datetime.fromtimestamp(row.time, UTC) if row.time else None,
            author=author,
            endorser=did(txn.endorser) if txn.endorser else None,
            signed=_verdict(checks),
            signers=tuple(did(one) for one in txn.signers),
            href=f"/browse/{ledger}/{row.seq}",
        )

    def _said(self, txn: Transaction, *, first: bool) -> tuple[str, list[Part], list[Fact]]:
        match txn.name:
            case "NYM":
                return "did", *_nym(txn, first=first)
            case "ATTRIB":
                return "did", *_attribute(txn)
            case "SCHEMA":
                return "schema", *_schema(txn)
            case "CRED_DEF":
                return "definition", *self._definition(txn)
            case "REVOC_REG_DEF":
                return "revocation", *_registry(txn)
            case "REVOC_REG_ENTRY":
                return "revocation", *_entry(txn)
            case "NODE":
                return "node", *_node(txn, first=first)
            case _:
                return _config(txn)

    def _definition(self, txn: Transaction) -> tuple[list[Part], list[Fact]]:
        ref, tag = text(txn.data.get("ref")), text(txn.data.get("tag"))
        schema: Part = f"schema {ref}"
        if ref.isdecimal():
            name = self.schema_name(int(ref)) or f"schema {ref}"
            schema = Ref(name, f"/browse/domain/{ref}")
        revocable = "revocation" in mapping(txn.data.get("data"))
        return [" published a credential definition for ", schema], [
            Fact("Tag", tag),
            Fact("Revocable", "yes" if revocable else "no"),
            Fact("Id", txn.subject, code=True),
        ]


def did(full: str) -> Ref:
    """Return a link to the page of a DID."""
    return Ref(short(full), f"/did/{quote(full, safe='')}", full)


def short(full: str) -> str:
    """Return a long name so that it fits into a line of a phone."""
    return full if len(full) <= _SHORT else f"{full[:10]}…{full[-8:]}"


def _verdict(checks: dict[str, Any]) -> bool | None:
    if checks.get("path") is False:
        return False
    verdicts = [mapping(one).get("good") for one in array_of(checks.get("signed"))]
    if False in verdicts:
        return False
    return True if verdicts and all(verdicts) else None


def _nym(txn: Transaction, *, first: bool) -> tuple[list[Part], list[Fact]]:
    data, whom = txn.data, did(text(txn.data.get("dest")))
    role = _role_words(data)
    facts = [
        Fact("Alias", text(data.get("alias"))),
        Fact("Verkey", text(data.get("verkey")), code=True),
    ]
    if not txn.author:
        return [" made ", whom, f" {role}"], facts
    if first:
        return [" registered ", whom, f" as {role}" if "role" in data else ""], facts
    if "verkey" in data:
        itself = txn.author == whom.full
        return ([" changed its key"] if itself else [" gave ", whom, " a new key"]), facts
    if "role" in data:
        return [" made ", whom, f" {role}"], facts
    return [" confirmed ", whom, " and changed nothing"], facts


def _role_words(data: dict[str, Any]) -> str:
    role = text(data.get("role"))
    if not role:
        return "a DID without a role"
    return rules.a(ROLES.get(role, f"DID with role {role}"))


def _attribute(txn: Transaction) -> tuple[list[Part], list[Fact]]:
    whom = did(text(txn.data.get("dest")))
    verb: list[Part] = [" set an attribute of ", "itself" if whom.full == txn.author else whom]
    known = mapping(txn.data.get("raw"))
    facts = [
        Fact(name, json.dumps(value, ensure_ascii=False), code=True)
        for name, value in known.items()
    ]
    kept = next((text(txn.data[k]) for k in ("raw", "hash", "enc") if k in txn.data), "")
    return verb, facts or [Fact("Hash of the attribute", kept, code=True)]


def _schema(txn: Transaction) -> tuple[list[Part], list[Fact]]:
    data = mapping(txn.data.get("data"))
    name = Ref(
        f"{text(data.get('name'))} {text(data.get('version'))}", f"/browse/domain/{txn.seq}"
    )
    listed = sorted(map(text, array_of(data.get("attr_names"))))
    return [" published the schema ", name], [
        Fact("Attributes", ", ".join(listed)),
        Fact("Id", txn.subject, code=True),
    ]


def _registry(txn: Transaction) -> tuple[list[Part], list[Fact]]:
    value = mapping(txn.data.get("value"))
    issued = (
        "from the start" if value.get("issuanceType") == "ISSUANCE_BY_DEFAULT" else "one by one"
    )
    return [" opened a revocation registry"], [
        Fact("Room for", f"{text(value.get('maxCredNum'))} credentials, valid {issued}"),
        Fact("Credential definition", text(txn.data.get("credDefId")), code=True),
        Fact("Tails hash", text(value.get("tailsHash")), code=True),
        Fact("Id", txn.subject, code=True),
    ]


def _entry(txn: Transaction) -> tuple[list[Part], list[Fact]]:
    value = mapping(txn.data.get("value"))
    revoked, issued = (len(array_of(value.get(name))) for name in ("revoked", "issued"))
    parts = [f"revoked {rules.many(revoked, 'credential')}"] if revoked else []
    parts += [f"issued {rules.many(issued, 'credential')}"] if issued else []
    said = " and ".join(parts) or "published the state of a revocation registry"
    return [f" {said}"], [Fact("Registry", txn.subject, code=True)]


def _node(txn: Transaction, *, first: bool) -> tuple[list[Part], list[Fact]]:
    data = mapping(txn.data.get("data"))
    name = text(data.get("alias"))
    services = data.get("services")
    out = services == [] and not first
    verb = f" added the node {name}" if first else f" changed the node {name}"
    verb = f" took the node {name} out of the consensus" if out else verb
    where = {
        "For clients": (data.get("client_ip"), data.get("client_port")),
        "For nodes": (data.get("node_ip"), data.get("node_port")),
    }
    facts = [
        Fact(label, f"{text(ip)}:{text(port)}", code=True)
        for label, (ip, port) in where.items()
        if ip and port
    ]
    return [verb], facts


def _rule(txn: Transaction) -> tuple[list[Part], list[Fact]]:
    listed = array_of(txn.data.get("rules")) if txn.name == "AUTH_RULES" else [txn.data]
    told = [rules.sentence(mapping(one)) for one in listed]
    return [f" set {rules.many(len(told), 'rule')}"], [Fact("Rule", one) for one in told[:20]]


def _config(txn: Transaction) -> tuple[str, list[Part], list[Fact]]:
    if txn.name in {"AUTH_RULE", "AUTH_RULES"}:
        return "rule", *_rule(txn)
    return "text", *_other(txn)


def _other(txn: Transaction) -> tuple[list[Part], list[Fact]]:
    data = txn.data
    match txn.name:
        case "TXN_AUTHOR_AGREEMENT":
            retired = data.get("retirement_ts") and not data.get("text")
            verb = "retired" if retired else "adopted"
            return [f" {verb} the author agreement {text(data.get('version'))}"], [
                Fact("Text", text(data.get("text"))[:300])
            ]
        case "TXN_AUTHOR_AGREEMENT_AML":
            ways = ", ".join(mapping(data.get("aml")))
            return [" listed the acceptance mechanisms of the author agreement"], [
                Fact("Ways", ways)
            ]
        case "TXN_AUTHOR_AGREEMENT_DISABLE":
            return [" retired all author agreements"], []
        case name:
            return [f" wrote a transaction of type {name}"], [
                Fact("Data", json.dumps(data, ensure_ascii=False)[:300], code=True)
            ]
