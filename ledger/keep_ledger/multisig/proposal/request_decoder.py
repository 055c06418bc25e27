"""Requests as a cosigner may see them: a closed schema for every type, with one meaning each.

What a ledger takes is wider than what is accepted here. Left out is all that could mean something
else to the ledger than to the reader under the same signature (`signing`): unknown members, other
types than shown, empty values that read like each other, separators in texts, and content that
is only a hash. Where the ledger takes what it gets, nothing can be seen from a request: a list of names
flattens like a single name with commas, and a map or text that it does not look into (keys of a
CRED_DEF, ways to accept an agreement, alias of a NODE) like that and the members after it. This
is caught when what landed is compared with what was approved (`audit.differences`).
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
    """That the author accepted the agreement in force."""

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
    """A request that was decoded; `body` is exactly what was given.

    Attributes:
        author: the DID that becomes owner of what it creates; it must be among the signers.
        endorser: a DID that takes responsibility for the author, and signs, too.
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
        """What is signed, rebuilt from what was decoded."""
        return signing_input(self.body)

    @property
    def digest(self) -> bytes:
        """The digest by which the ledger will know it."""
        return digest(self.body)


def decode(body: Json) -> Request:
    """Read a request without signatures, or refuse it with the first reason.

    Raises:
        RefusedError: of a type that is not known here, or not of its closed schema; says where.
    """
    try:
        envelope = _Envelope.model_validate(body)
        _no_empty(body, "endorser", "taaAcceptance")
        kind = envelope.operation.get("type")
        model = TYPES.get(kind) if isinstance(kind, str) else None
        if model is None:
            raise RefusedError(f"a transaction of type {kind!r:.20} cannot be reviewed here")
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
    """Refuse null where it is not one of the values that mean something."""
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
