"""Decode a request strictly: a closed schema for every type, so that each request has one meaning.

A ledger accepts more than is accepted here. Refused is what could mean something else to the ledger than
to the reader under the same signature (`signing_input`): unknown members, other types than shown, empty
values that are signed alike, separators in texts, and content that is only a hash.

Some ambiguities cannot be seen in a request, because the ledger does not check the value: a list of names
is signed like a single name with commas, and so is a map or text (keys of a CRED_DEF, ways to accept an
agreement, alias of a NODE) like itself and the members after it. The content of a DID's document can be left
out, and a key with the version beside it (`Nym.may_lose`). This is found when the transaction is
compared with what was approved (`identity_audit.differences`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError

from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.field_types import DidText, Name, Seconds, Sha256
from keep_ledger.multisig.proposal.operations import TYPES, AnyOperation, Closed
from keep_ledger.multisig.proposal.signing_input import digest, signing_input
from keep_ledger.multisig.threshold.shares import reason


class Acceptance(Closed):
    """The author's acceptance of the author agreement."""

    taaDigest: Sha256  # noqa: N815
    mechanism: Name
    time: Annotated[Seconds, Field(multiple_of=86400)]


class _Envelope(Closed):
    identifier: DidText
    reqId: Annotated[int, Field(ge=1, lt=1 << 63)]  # noqa: N815
    protocolVersion: Literal[2]  # noqa: N815
    operation: dict[str, Any]
    endorser: DidText | None = None
    taaAcceptance: Acceptance | None = None  # noqa: N815


@dataclass(frozen=True, slots=True)
class Request:
    """A decoded request; `body` is exactly what was given.

    Attributes:
        author: the DID that becomes the owner of what is created; it must sign.
        endorser: a DID that takes responsibility for the author; it must sign, too.
        body: the request without signatures.
    """

    author: str
    number: int
    operation: AnyOperation
    endorser: str | None
    acceptance: Acceptance | None
    body: Json

    @property
    def signing_input(self) -> bytes:
        """The bytes that are signed."""
        return signing_input(self.body)

    @property
    def digest(self) -> bytes:
        """The digest that the ledger will store for it."""
        return digest(self.body)


def decode(body: Json) -> Request:
    """Decode a request without signatures, or refuse it with the first reason.

    Raises:
        RefusedError: its type is not supported, or it does not fit the schema; says where.
    """
    try:
        envelope = _Envelope.model_validate(body)
        _no_empty(body, "endorser", "taaAcceptance")
        kind = envelope.operation.get("type")
        model = TYPES.get(kind) if isinstance(kind, str) else None
        if model is None:
            known = ", ".join(f"{number} ({one.NAME})" for number, one in TYPES.items())
            raise RefusedError(
                f"a transaction of type {kind!r:.20} cannot be reviewed here; these can: {known}"
            )
        operation = model.model_validate(envelope.operation)
        _no_nulls(envelope.operation)
    except ValidationError as error:
        raise RefusedError(f"the request is not well-formed: {reason(error)}") from error
    return Request(
        author=envelope.identifier,
        number=envelope.reqId,
        operation=cast("AnyOperation", operation),
        endorser=envelope.endorser,
        acceptance=envelope.taaAcceptance,
        body=body,
    )


def _no_empty(body: Json, *names: str) -> None:
    for name in names:
        if name in body and body[name] is None:
            raise RefusedError(f"{name} is null: leave it out")


def _no_nulls(body: Json) -> None:
    """Refuse null where it has no meaning of its own."""
    meant = {"role", "new_value", "old_value"}  # no role, of a DID or in a rule

    def look(value: Any, place: str) -> None:
        if isinstance(value, dict):
            for name, one in cast("Json", value).items():
                if one is None and name not in meant:
                    raise RefusedError(f"{place}{name} is null: leave it out")
                look(one, f"{place}{name}.")
        elif isinstance(value, list):
            for one in cast("list[object]", value):
                look(one, place)

    look(body, "")
