"""Auth rules of a ledger as sentences: who may do what (indy-node, `auth_rules`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keep_network.json_shape import array_of
from keep_network.web.transactions import NAMES, ROLES, mapping, text

_THINGS = {
    "ATTRIB": ("DIDs and roles", "an attribute of a DID"),
    "SCHEMA": ("Schemas and credentials", "a schema"),
    "CRED_DEF": ("Schemas and credentials", "a credential definition"),
    "REVOC_REG_DEF": ("Schemas and credentials", "a revocation registry"),
    "REVOC_REG_ENTRY": ("Schemas and credentials", "the state of a revocation registry"),
    "TXN_AUTHOR_AGREEMENT": ("Author agreement", "an author agreement"),
    "TXN_AUTHOR_AGREEMENT_AML": ("Author agreement", "the ways to accept it"),
    "AUTH_RULE": ("The network itself", "one of these rules"),
    "AUTH_RULES": ("The network itself", "several of these rules at once"),
    "POOL_CONFIG": ("The network itself", "the configuration of the network"),
    "LEDGERS_FREEZE": ("The network itself", "which ledgers are frozen"),
    "FLAG": ("The network itself", "a flag of the network"),
    "JSON_LD_CONTEXT": ("Rich schemas", "a JSON-LD context"),
    "RICH_SCHEMA": ("Rich schemas", "a rich schema"),
    "RICH_SCHEMA_ENCODING": ("Rich schemas", "an encoding of a rich schema"),
    "RICH_SCHEMA_MAPPING": ("Rich schemas", "a mapping of a rich schema"),
    "RICH_SCHEMA_CRED_DEF": ("Rich schemas", "a rich credential definition"),
    "RICH_SCHEMA_PRES_DEF": ("Rich schemas", "a rich presentation definition"),
}
_DEEDS = {
    ("TXN_AUTHOR_AGREEMENT_DISABLE", "ADD"): ("Author agreement", "retire all agreements"),
    ("POOL_UPGRADE", "ADD"): ("The network itself", "start an upgrade of the nodes"),
    ("POOL_UPGRADE", "EDIT"): ("The network itself", "cancel an upgrade of the nodes"),
    ("POOL_RESTART", "ADD"): ("The network itself", "restart the nodes"),
    ("VALIDATOR_INFO", "ADD"): ("The network itself", "ask the nodes about themselves"),
}
_FIELDS = {
    "node_ip": "the address of a node for other nodes",
    "node_port": "the port of a node for other nodes",
    "client_ip": "the address of a node for clients",
    "client_port": "the port of a node for clients",
    "blskey": "the BLS key of a node",
}
_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven"}
TOPICS = (
    "DIDs and roles",
    "Schemas and credentials",
    "Nodes",
    "Author agreement",
    "The network itself",
    "Change of roles",
    "Rich schemas",
)
"""In the order of a page."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule in words: who may do what."""

    topic: str
    who: str
    deed: str

    @property
    def sentence(self) -> str:
        """Return the whole sentence."""
        return f"{self.who[:1].upper()}{self.who[1:]} may {self.deed}."


def read(told: Iterable[Any]) -> dict[str, list[Rule]]:
    """Put the answer to GET_AUTH_RULE (its `data`) into words, by topic."""
    found: dict[str, list[Rule]] = {topic: [] for topic in TOPICS}
    for one in told:
        topic, deed = _deed(mapping(one))
        found.setdefault(topic, []).append(
            Rule(topic, who(mapping(one).get("constraint")), deed)
        )
    return {topic: listed for topic, listed in found.items() if listed}


def sentence(rule: dict[str, Any]) -> str:
    """Put one rule into words."""
    topic, deed = _deed(rule)
    return Rule(topic, who(rule.get("constraint")), deed).sentence


def who(constraint: Any, depth: int = 0) -> str:
    """Say who satisfies a constraint."""
    told = mapping(constraint)
    match told.get("constraint_id"):
        case "ROLE":
            return _role(told)
        case "OR" | "AND" as kind if depth < 8:  # noqa: PLR2004 - nobody writes such rules
            listed = array_of(told.get("auth_constraints"))
            parts = [who(one, depth + 1) for one in listed]
            return f" {kind.lower()} ".join(parts) or "nobody"
        case "FORBIDDEN":
            return "nobody"
        case _:
            return "somebody (a rule that this page does not know)"


def a(noun: str) -> str:
    """Put the right article before a noun."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def many(count: int, noun: str) -> str:
    """Count things."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _role(told: dict[str, Any]) -> str:
    count, owner = told.get("sig_count"), bool(told.get("need_to_be_owner"))
    number = text(told.get("role"))
    if count == 0 or told.get("off_ledger_signature"):
        base = "anybody" if number == "*" else a(_role_name(number))
        return (
            f"{base}, without a DID on the ledger" if told.get("off_ledger_signature") else base
        )
    if isinstance(count, int) and count > 1:
        noun = "DIDs" if number == "*" else f"{_role_name(number)}s"
        return f"{_NUMBERS.get(count, count)} {noun} together"
    if number == "*":
        return "the owner" if owner else "anybody with a DID on the ledger"
    return a(_role_name(number)) + (" who owns it" if owner else "")


def _role_name(number: str) -> str:
    return ROLES.get(number, f"role {number}") if number else "DID without a role"


def _deed(rule: dict[str, Any]) -> tuple[str, str]:
    name = NAMES.get(text(rule.get("auth_type")), text(rule.get("auth_type")))
    action = text(rule.get("auth_action"))
    if (name, action) in _DEEDS:
        return _DEEDS[name, action]
    if name == "NYM":
        return _nym(rule)
    if name == "NODE":
        return "Nodes", _node(rule)
    topic, thing = _THINGS.get(name, ("The network itself", f"a {name} transaction"))
    verb = {"ADD": "publish" if topic != "DIDs and roles" else "add", "EDIT": "change"}
    return topic, f"{verb.get(action, 'write')} {thing}"


def _nym(rule: dict[str, Any]) -> tuple[str, str]:
    old, new = (_role_name(text(rule.get(name))) for name in ("old_value", "new_value"))
    if rule.get("field") == "verkey":
        return "DIDs and roles", "change the key of a DID"
    if rule.get("auth_action") == "ADD":
        return "DIDs and roles", f"register {a(new)}"
    if old == new:
        return "Change of roles", f"write {a(old)} again without a change of its role"
    return "Change of roles", f"turn {a(old)} into {a(new)}"


def _node(rule: dict[str, Any]) -> str:
    field, new = text(rule.get("field")), "VALIDATOR" in str(rule.get("new_value"))
    if field != "services":
        return f"change {_FIELDS.get(field, f'{field} of a node')}"
    if rule.get("auth_action") == "ADD":
        return "add a node" if new else "add a node that does not take part yet"
    return "take a node into the consensus" if new else "take a node out of the consensus"
