"""The signing input of an Indy request, and the digest that a ledger stores for it.

Indy turns a request into text: the sorted members of an object as `name:value` joined by `|`, and lists
joined by `,`, without marking where a value begins or ends (indy-plenum, `SigningSerializer`). So two
different requests can have the same text and the same signature: whoever signs must check the request
(`request_decoder.decode`) and build the text from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from keep_ledger.codes import ATTRIB
from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.threshold.curve import sha256

UNSIGNED = frozenset({"signature", "signatures", "fees"})
_DEEPEST = 160
_HASHED = ("raw", "enc", "hash")


def signing_input(request: Json) -> bytes:
    """The bytes that every signer of this request signs.

    Args:
        request: a complete request; signatures in it are left out.

    Raises:
        RefusedError: a value is not JSON, is a fraction, or is nested too deep.

    Source: indy-plenum `SigningSerializer`; indy-node `Request.signingPayloadState` (an ATTRIB's
    content is replaced by its SHA-256).
    """
    body = {name: value for name, value in request.items() if name not in UNSIGNED}
    operation: Any = body.get("operation")
    if isinstance(operation, dict):
        body["operation"] = _hashed(cast("Json", operation))
    return _flat(body, 0).encode()


def digest(request: Json) -> bytes:
    """SHA-256 of `signing_input`: the `payloadDigest` of the transaction on the ledger."""
    return sha256(signing_input(request))


def _hashed(operation: Json) -> Json:
    if operation.get("type") != ATTRIB:
        return operation
    return {
        name: sha256(value.encode()).hex()
        if name in _HASHED and isinstance(value, str)
        else value
        for name, value in operation.items()
    }


def _flat(value: object, depth: int) -> str:
    if depth > _DEEPEST:
        raise RefusedError(f"the request is nested more than {_DEEPEST} deep")
    match value:
        case None:
            return ""
        case str():
            return value
        case bool() | int():
            return str(value)
        case list():
            return ",".join(_flat(one, depth + 1) for one in cast("list[object]", value))
        case dict():
            members = cast("Mapping[str, object]", value)
            return "|".join(f"{k}:{_flat(members[k], depth + 1)}" for k in sorted(members))
        case _:
            raise RefusedError(f"a request must not contain a {type(value).__name__}")
