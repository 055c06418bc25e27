"""What is in a transaction: its type, who wrote it, what it is about, what it is found by.

Ledgers of other people hold whatever their nodes once accepted, so nothing is taken for granted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keep_network.json_shape import array_of, is_array, is_object, object_of

NAMES = {
    "0": "NODE",
    "1": "NYM",
    "4": "TXN_AUTHOR_AGREEMENT",
    "5": "TXN_AUTHOR_AGREEMENT_AML",
    "8": "TXN_AUTHOR_AGREEMENT_DISABLE",
    "9": "LEDGERS_FREEZE",
    "100": "ATTRIB",
    "101": "SCHEMA",
    "102": "CRED_DEF",
    "109": "POOL_UPGRADE",
    "110": "NODE_UPGRADE",
    "111": "POOL_CONFIG",
    "113": "REVOC_REG_DEF",
    "114": "REVOC_REG_ENTRY",
    "118": "POOL_RESTART",
    "119": "VALIDATOR_INFO",
    "120": "AUTH_RULE",
    "122": "AUTH_RULES",
    "130": "FLAG",
    "200": "JSON_LD_CONTEXT",
    "201": "RICH_SCHEMA",
    "202": "RICH_SCHEMA_ENCODING",
    "203": "RICH_SCHEMA_MAPPING",
    "204": "RICH_SCHEMA_CRED_DEF",
    "205": "RICH_SCHEMA_PRES_DEF",
}
"""Transaction types by number."""

NUMBERS = {name: number for number, name in NAMES.items()} | {"CLAIM_DEF": "102"}

ROLES = {"0": "trustee", "2": "steward", "101": "endorser", "201": "network monitor"}
"""Roles by number, in words."""

_LONGEST_WORD = 200
_MOST_WORDS = 8000


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction as GET_TXN gives it (`data`), with safe ways to its parts."""

    raw: Mapping[str, Any]

    @property
    def seq(self) -> int:
        """Its number in its ledger, 0 when it says nothing sensible."""
        return _int(self._part("txnMetadata").get("seqNo"))

    @property
    def id(self) -> str:
        """The nodes' digest of it; empty for a NYM of the genesis."""
        return text(self._part("txnMetadata").get("txnId"))

    @property
    def time(self) -> int:
        """When the nodes ordered it, seconds since the epoch; 0 in a genesis."""
        return _int(self._part("txnMetadata").get("txnTime"))

    @property
    def type(self) -> str:
        """The number of its type, as text."""
        return text(self._part("txn").get("type"))

    @property
    def name(self) -> str:
        """The name of its type."""
        return NAMES.get(self.type, self.type or "unknown")

    @property
    def data(self) -> dict[str, Any]:
        """What was written."""
        return mapping(self._part("txn").get("data"))

    @property
    def author(self) -> str:
        """The DID that wrote it, empty in a genesis."""
        return text(self._metadata.get("from"))

    @property
    def endorser(self) -> str:
        """The DID that endorsed it; empty if nobody did."""
        return text(self._metadata.get("endorser"))

    @property
    def request(self) -> str:
        """The number that the author gave the request; empty in a genesis."""
        return text(self._metadata.get("reqId"))

    @property
    def agreed(self) -> bool:
        """True when the author accepted the transaction author agreement."""
        return "taaAcceptance" in self._metadata

    @property
    def signers(self) -> list[str]:
        """The DIDs whose signatures it carries."""
        listed = array_of(self._part("reqSignature").get("values"))
        return [text(mapping(one).get("from")) for one in listed]

    @property
    def subject(self) -> str:
        """What it is about: a DID, the id of a schema, cred def or registry, a node."""
        match self.name:
            case "NYM" | "ATTRIB":
                return text(self.data.get("dest"))
            case "NODE":
                return text(self.data.get("dest"))
            case "SCHEMA":
                told = mapping(self.data.get("data"))
                return f"{self.author}:2:{text(told.get('name'))}:{text(told.get('version'))}"
            case "CRED_DEF":
                kind, ref = text(self.data.get("signature_type")), text(self.data.get("ref"))
                return f"{self.author}:3:{kind}:{ref}:{text(self.data.get('tag'))}"
            case "REVOC_REG_DEF":
                return text(self.data.get("id"))
            case "REVOC_REG_ENTRY":
                return text(self.data.get("revocRegDefId"))
            case name:
                return name

    @property
    def words(self) -> str:
        """Everything that a person might search for; long numbers are left out."""
        own = [self.name, self.id, self.subject, self.author, self.endorser, *self.signers]
        role = ROLES.get(text(self.data.get("role")), "")
        return " ".join([*own, role, *_leaves(self.data)])[:_MOST_WORDS]

    @property
    def _metadata(self) -> dict[str, Any]:
        return mapping(self._part("txn").get("metadata"))

    def _part(self, name: str) -> dict[str, Any]:
        return mapping(self.raw.get(name))


def text(value: Any) -> str:
    """Return a scalar as text, anything else as nothing."""
    return str(value) if isinstance(value, str | int | float) else ""


def mapping(value: Any) -> dict[str, Any]:
    """Return a JSON object, or an empty one; text that holds an object is opened."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return object_of(value)


def _leaves(value: Any, depth: int = 0) -> Iterator[str]:
    if depth > 8:  # noqa: PLR2004 - no transaction of Indy is that deep
        return
    if is_object(value):
        for key, one in value.items():
            yield from _leaves(key, depth + 1)
            yield from _leaves(one, depth + 1)
    elif is_array(value):
        for one in value[:200]:
            yield from _leaves(one, depth + 1)
    elif isinstance(value, str) and len(value) <= _LONGEST_WORD:
        yield value


def _int(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 47 else 0
