"""Roles and auth rules in plain English, for sentences about who may do what."""

from __future__ import annotations

from keep_ledger.codes import ENDORSER, NETWORK_MONITOR, STEWARD, TRUSTEE

_NOUNS = {
    TRUSTEE: "trustee",
    STEWARD: "steward",
    ENDORSER: "endorser",
    NETWORK_MONITOR: "monitor",
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven")
_ANY = "*"

_THINGS = {
    "100": "an attribute of a DID",
    "101": "a schema",
    "102": "a credential definition",
    "113": "a revocation registry",
    "114": "the state of a revocation registry",
    "200": "a JSON-LD context",
    "201": "a rich schema",
    "202": "an encoding of a rich schema",
    "203": "a mapping of a rich schema",
    "204": "a rich credential definition",
    "205": "a rich presentation definition",
}
_ACTIONS = {
    ("4", "ADD"): "publish an author agreement",
    ("4", "EDIT"): "change or retire an author agreement",
    ("5", "ADD"): "publish the ways to accept an author agreement",
    ("8", "ADD"): "retire all author agreements",
    ("9", "EDIT"): "freeze ledgers",
    ("109", "ADD"): "start an upgrade of the nodes",
    ("109", "EDIT"): "cancel an upgrade of the nodes",
    ("111", "EDIT"): "change whether the network accepts writes",
    ("118", "ADD"): "restart the nodes",
    ("119", "ADD"): "read information about the nodes",
    ("120", "EDIT"): "change one of these rules",
    ("122", "EDIT"): "change several of these rules at once",
    ("130", "EDIT"): "change a flag of the network",
}
_FIELDS = {
    "node_ip": "the address of a node for other nodes",
    "node_port": "the port of a node for other nodes",
    "client_ip": "the address of a node for clients",
    "client_port": "the port of a node for clients",
    "blskey": "the BLS key of a node",
}


def role_noun(role: str | None) -> str:
    """`trustee`, `DID without a role`, or `DID` for any role."""
    if role == _ANY:
        return "DID"
    return _NOUNS.get(role, f"role {role}") if role else "DID without a role"


def with_article(thing: str) -> str:
    """`a trustee`, `an endorser`."""
    return f"{'an' if thing[:1].lower() in 'aeiou' else 'a'} {thing}"


def number_word(count: int) -> str:
    """Small numbers as words."""
    return _NUMBERS[count] if 0 <= count < len(_NUMBERS) else str(count)


def role_count(count: int, role: str | None) -> str:
    """`two trustees`, `one DID without a role`."""
    one = role_noun(role)
    if count != 1:
        one = one.replace("DID", "DIDs") if "DID" in one else f"{one}s"
    return f"{number_word(count)} {one}"


def describe_rule(auth_type: str, action: str, field: str, old: str, new: str) -> str:
    """What a rule is about, as a phrase after `may`: `register an endorser`."""
    if auth_type == "1":
        return _nym(action, field, old, new)
    if auth_type == "0":
        return _node(action, field, new)
    if (auth_type, action) in _ACTIONS:
        return _ACTIONS[auth_type, action]
    verb = "write" if action == "ADD" else "change"
    return f"{verb} {_THINGS.get(auth_type, f'a transaction of type {auth_type}')}"


def _nym(action: str, field: str, old: str, new: str) -> str:
    if field == "verkey":
        return "give a DID another key"
    if action == "ADD":
        return f"register {with_article(role_noun(new))}"
    if old == new:
        return f"write {with_article(role_noun(old))} again without changing its role"
    return f"turn {with_article(role_noun(old))} into {with_article(role_noun(new))}"


def _node(action: str, field: str, new: str) -> str:
    takes_part = "VALIDATOR" in new
    if field != "services":
        return f"change {_FIELDS.get(field, f'{field} of a node')}"
    if action == "ADD":
        return "add a node" if takes_part else "add a node that does not take part yet"
    return (
        "take a node into the consensus" if takes_part else "take a node out of the consensus"
    )
