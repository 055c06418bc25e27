"""Which auth rules a ledger checks for a write.

Source: the request handlers of indy-node 1.13 (`indy_node/server/request_handlers`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.rules.auth_rules import ANY, RuleKey


@dataclass(frozen=True, slots=True)
class Before:
    """The present state of the object of a write.

    Attributes:
        exists: whether the ledger has the DID, attribute, schema, credential definition, registry,
            state of a registry, agreement of this version, or node that the write names.
        role: of the DID of a NYM.
        node: data of the node, for NODE.
        action: the last action on the upgrade of this name and version, for POOL_UPGRADE.
    """

    exists: bool
    role: str | None = None
    node: Json = field(default_factory=dict[str, Any])
    action: str | None = None


_ADD_OR_EDIT = frozenset({"4", "100", "101", "102", "113", "114", *map(str, range(200, 206))})
_ADDED = frozenset({"5", "8", "118", "119"})
_EDITED = frozenset({"9", "120", "122", "130"})


def applicable(operation: Json, before: Before) -> tuple[RuleKey, ...]:
    """The rules that the ledger checks for a write, in its order; all must be satisfied.

    If the ledger has no rule with one of these keys, it accepts the write from nobody. The result is empty
    for a NYM without role and verkey, which only the owner may write.

    Raises:
        RefusedError: there are no rules for this type of transaction.
    """
    kind = operation.get("type")
    if kind == "1":
        return _nym_rules(operation, before)
    if kind == "0":
        return _node_rules(operation, before)
    if kind == "109":
        return (_upgrade_rule(operation, before),)
    if kind == "111":
        return (RuleKey("111", "EDIT", "action", ANY, ANY),)
    if kind in _ADDED or (kind in _ADD_OR_EDIT and not before.exists):
        name = "action" if kind == "118" else ANY
        return (RuleKey(str(kind), "ADD", name, ANY, ANY),)
    if kind in _EDITED or kind in _ADD_OR_EDIT:
        return (RuleKey(str(kind), "EDIT", ANY, ANY, ANY),)
    raise RefusedError(f"no auth rule is about transactions of type {kind!r}")


def _nym_rules(operation: Json, before: Before) -> tuple[RuleKey, ...]:
    new = operation.get("role") or ""
    if not before.exists:
        return (RuleKey("1", "ADD", "role", ANY, new),)
    role = RuleKey("1", "EDIT", "role", before.role or "", new)
    verkey = RuleKey("1", "EDIT", "verkey", ANY, ANY)
    return (role,) * ("role" in operation) + (verkey,) * ("verkey" in operation)


def _node_rules(operation: Json, before: Before) -> tuple[RuleKey, ...]:
    data: Json = operation.get("data") or {}
    if not before.exists:
        services = str(data.get("services", ["VALIDATOR"]))
        return (RuleKey("0", "ADD", "services", ANY, services),)
    return tuple(_node_edits(data, before.node))


def _node_edits(data: Json, now: Json) -> Iterable[RuleKey]:
    for name, new in data.items():
        if name in ("alias", "blskey_pop"):
            continue
        if name == "services":
            was, will = str(now.get(name) or "[]"), str(new or "[]")
            if was != will:
                yield RuleKey("0", "EDIT", name, was, will)
        elif now.get(name) != new:
            yield RuleKey("0", "EDIT", name, ANY, ANY)


def _upgrade_rule(operation: Json, before: Before) -> RuleKey:
    new = str(operation.get("action"))
    if before.action is None:
        return RuleKey("109", "ADD", "action", ANY, new)
    return RuleKey("109", "EDIT", "action", before.action, new)
