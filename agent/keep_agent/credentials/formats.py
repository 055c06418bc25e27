"""Which attachment of a message is in which format (Aries RFC 0453, 0454; names of RFC 0592, 0771).

Two families of formats carry the same AnonCreds objects: `anoncreds/*@v1.0`, and `hlindy/*@v2.0` of
older agents. We stay in the family in which an exchange began; a peer may change it: ACA-Py with its newer
wallet answers an offer of the older family in the newer one, and goes on in that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, cast, get_args

from pydantic import Field

from keep_agent.core.message import (
    MAX_MESSAGE,
    MOST_ATTACHED,
    Attachment,
    Id,
    Json,
    Wire,
    write_json,
)
from keep_agent.errors import BadCommandError, BadMessageError

Family = Literal["anoncreds", "hlindy"]
Names = Mapping[Family, str]
"""The format of one kind of object in each family, the preferred family first."""

LEGACY: Family = "hlindy"
"""The family whose ids name no network."""

Ids = Literal["qualified", "unqualified"]
"""How ids are written: with their network (did:indy), or in the older form without one."""

FilterKey = Literal[
    "cred_def_id",
    "issuer_id",
    "schema_id",
    "schema_issuer_id",
    "schema_name",
    "schema_version",
]
Filter = dict[FilterKey, str]
"""What a holder may ask of a credential in a proposal."""

FILTER: Names = {
    "anoncreds": "anoncreds/credential-filter@v1.0",
    "hlindy": "hlindy/cred-filter@v2.0",
}
OFFER: Names = {
    "anoncreds": "anoncreds/credential-offer@v1.0",
    "hlindy": "hlindy/cred-abstract@v2.0",
}
REQUEST: Names = {
    "anoncreds": "anoncreds/credential-request@v1.0",
    "hlindy": "hlindy/cred-req@v2.0",
}
CREDENTIAL: Names = {
    "anoncreds": "anoncreds/credential@v1.0",
    "hlindy": "hlindy/cred@v2.0",
}

PROOF_REQUEST: Names = {
    "anoncreds": "anoncreds/proof-request@v1.0",
    "hlindy": "hlindy/proof-req@v2.0",
}
PROOF: Names = {
    "anoncreds": "anoncreds/proof@v1.0",
    "hlindy": "hlindy/proof@v2.0",
}
MOST_OF_AN_ATTACHMENT = MAX_MESSAGE - (16 << 10)
"""Bytes, as base64."""
_MOST_OFFERED = MOST_OF_AN_ATTACHMENT - (128 << 10)
"""What is offered must also be presented: a proof is longer than the signature, with 125 attributes by 90 KB."""
_SIGNATURE_BYTES = 8 << 10
_ENCODED = "9" * 78
"""As long as the longest number that stands for a text."""
_OTHER_NAMES = {"anoncreds/proof-proposal@v1.0": PROOF_REQUEST["anoncreds"]}
"""What ACA-Py calls the format of a proposal; RFC 0771 has one name for proposal and request."""

_FILTER_KEYS: tuple[FilterKey, ...] = get_args(FilterKey)
_OLD_KEYS: dict[str, str] = {
    "issuer_id": "issuer_did",
    "schema_issuer_id": "schema_issuer_did",
}


class Format(Wire):
    """The format of the attachment with this id."""

    attach_id: Id
    format: str


Formats = Annotated[tuple[Format, ...], Field(max_length=MOST_ATTACHED, fail_fast=True)]
"""The formats of the attachments of a message."""


def attach(content: Json, family: Family, names: Names) -> tuple[Format, Attachment]:
    """Attach an object in a family's format.

    Raises:
        BadCommandError: no message is long enough for it.
    """
    attachment = Attachment.of(content)
    if (size := len(attachment.data.base64 or "")) > MOST_OF_AN_ATTACHMENT:
        raise BadCommandError(_too_long(names[family], size))
    return Format(attach_id=attachment.id, format=names[family]), attachment


def too_long(values: Mapping[str, str]) -> str | None:
    """Say in words that a credential with these values fits into no message; None: it fits."""
    filled = {name: {"raw": raw, "encoded": _ENCODED} for name, raw in values.items()}
    size = (len(write_json(filled)) + _SIGNATURE_BYTES) * 4 // 3
    return _too_long("a credential with these values", size) if size > _MOST_OFFERED else None


def _too_long(what: str, size: int) -> str:
    return (
        f"too long: in a message, {what} would have about {size} bytes, and "
        f"{MOST_OF_AN_ATTACHMENT} is the most; make the longest values shorter"
    )


async def attached(
    formats: Iterable[Format],
    attachments: Iterable[Attachment],
    names: Names,
    preferred: Family | None = None,
) -> tuple[Family, Json]:
    """Return the attached object in the preferred one of the formats that we support.

    Args:
        preferred: the family of the exchange, once it has one.

    Raises:
        BadMessageError: none of the formats is supported, or the attachment is not a JSON object.
    """
    by_id = {each.id: each for each in attachments}
    named = {_OTHER_NAMES.get(each.format, each.format): each.attach_id for each in formats}
    for family in sorted(
        names, key=lambda each: each != preferred
    ):  # else in the order of `names`
        name = names[family]
        if name not in named:
            continue
        attachment = by_id.get(named[name])
        if attachment is None:
            raise BadMessageError(f"there is no attachment in the format {name}")
        content = await attachment.read()
        if not isinstance(content, dict):
            raise BadMessageError(f"the attachment in the format {name} is not a JSON object")
        return family, cast("Json", content)
    spoken = " or ".join(names.values())
    raise BadMessageError(f"there is no attachment in a supported format: {spoken}")


def read_filter(content: Json) -> Filter:
    """Read a filter of either family; unknown keys are left out."""
    found: Filter = {}
    for key in _FILTER_KEYS:
        value = content.get(key) or content.get(_OLD_KEYS.get(key, key))
        if isinstance(value, str):
            found[key] = value
    return found


def write_filter(wanted: Filter, family: Family) -> Json:
    """Write a filter in the words of a family."""
    old = _OLD_KEYS if family == "hlindy" else {}
    return {old.get(key, key): value for key, value in wanted.items()}
