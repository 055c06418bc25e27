"""What transactions did, in words that are safe to print."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

from keep_ledger.codes import NYM, role_name
from keep_ledger.json_object import Json
from keep_ledger.multisig.audit.key_history import KeyHistory, KeyState, Moment

_SHOWN = 200


def summary(transaction: Json, moment: Moment, history: KeyHistory) -> str:
    """What a transaction did, as a phrase without its author."""
    kind, data = transaction["txn"]["type"], transaction["txn"]["data"]
    if kind == NYM:
        return _nym(data, history.at(data["dest"], moment))
    if kind in _DEEDS:
        text, names = _DEEDS[kind]
        return text.format(*(sanitize_text(_dig(data, name)) for name in names))
    return f"wrote a transaction of type {sanitize_text(kind)}"


def _nym(data: Json, was: KeyState | None) -> str:
    did, role = sanitize_text(data["dest"]), role_name(data.get("role"))
    if was is None:
        return f"registered the DID {did} with {role}"
    changes: list[str] = []
    if "verkey" in data:
        changes.append(f"the key to {sanitize_text(data['verkey'])}")
    if "role" in data:
        changes.append(f"the role from {role_name(was.role)} to {role}")
    return f"changed {' and '.join(changes) or 'nothing'} of the DID {did}"


_DEEDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "0": ("changed the node {} (services {})", ("data.alias", "data.services")),
    "100": ("wrote an attribute of {}: {}", ("dest", "raw")),
    "101": (
        "published the schema {} {} ({})",
        ("data.name", "data.version", "data.attr_names"),
    ),
    "102": ("published the credential definition {} for schema {}", ("tag", "ref")),
    "113": ("published the revocation registry {}", ("id",)),
    "114": ("changed the state of the revocation registry {}", ("revocRegDefId",)),
    "4": (
        "changed the author agreement, version {} (retired {})",
        ("version", "retirement_ts"),
    ),
    "5": ("published ways to accept the author agreement, version {}", ("version",)),
    "8": ("retired all author agreements", ()),
    "109": ("planned the pool upgrade {} ({})", ("name", "action")),
    "111": ("set whether the pool takes writes: {}", ("writes",)),
    "120": (
        "set the rule {}--{}--{}--{} to {}",
        ("auth_type", "auth_action", "field", "new_value", "constraint"),
    ),
    "122": ("set several rules at once: {}", ("rules",)),
}


def _dig(data: Any, path: str) -> Any:
    for name in path.split("."):
        data = cast("Json", data).get(name) if isinstance(data, dict) else None
    return "none" if data is None else data


def sanitize_text(value: Any) -> str:
    """A value from a ledger as text that is safe for a terminal, shortened if it is long."""
    text = value if isinstance(value, str) else short_json(value)
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return clean if len(clean) <= _SHOWN else f"{clean[:_SHOWN]}..."


def short_json(value: Any) -> str:
    """A value as JSON that is safe for a terminal, shortened if it is long."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def utc_time(seconds: int) -> str:
    """A time for people, in UTC."""
    if not seconds:
        return "in the genesis"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
