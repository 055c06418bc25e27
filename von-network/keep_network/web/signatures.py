"""Who signed a transaction: the request is put together again and its signatures are checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from keep_network.json_shape import array_of, is_array, is_object, object_of
from keep_network.web import keys, merkle

GENESIS = "it is part of the genesis, which every node starts with"
ALTERED = "the nodes store it in another form than the one that was signed"
NO_KEY = "the ledger had no key of this DID before this transaction"
GOOD = "the signature is valid for the key that the ledger had for this DID at that time"
BAD = "the signature is not valid for the key that the ledger had for this DID at that time"

KeyOf = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Signed:
    """What we know about one signature.

    Attributes:
        by: the DID that it is said to be of.
        good: True: it verifies; False: it does not; None: nobody can tell from the ledger.
        why: the reason, in words.
    """

    by: str
    good: bool | None
    why: str


def check(transaction: Mapping[str, Any], key_of: KeyOf) -> list[Signed]:
    """Check the signatures of a transaction, none for one of the genesis.

    The nodes keep a digest of the request beside it; only if our reconstruction has this
    digest does a signature that fails say anything.

    Args:
        key_of: gives the verkey of a DID just before this transaction.
    """
    values = array_of(object_of(transaction.get("reqSignature")).get("values"))
    signed = signed_text(object_of(transaction.get("txn")))
    return [_check(object_of(value), signed, key_of) for value in values]


def signed_text(payload: Mapping[str, Any]) -> bytes | None:
    """Return what the signatures of a transaction are over, None if it cannot be made again.

    The nodes add the version of a transaction's format where the author named none, and an
    attribute is signed as a hash; the digest beside the transaction says which is right.
    """
    hashed = merkle.without_values(payload)
    data = object_of(hashed.get("data"))
    if payload.get("type") == merkle.ATTRIB and isinstance(data.get("hash"), str):
        again = hashlib.sha256(data["hash"].encode()).hexdigest()
        hashed = {**hashed, "data": {**data, "hash": again}}
    plain = {name: value for name, value in hashed.items() if name != "ver"}
    digest = object_of(payload.get("metadata")).get("payloadDigest")
    for text in (signing_text(request(hashed)), signing_text(request(plain))):
        if digest is None or hashlib.sha256(text).hexdigest() == digest:
            return text
    return None


def request(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that a transaction (its part `txn`) was made of, unsigned."""
    metadata = object_of(payload.get("metadata"))
    operation = {**object_of(payload.get("data")), "type": payload.get("type")}
    if "ver" in payload:
        operation["ver"] = payload["ver"]
    made = {
        "identifier": metadata.get("from"),
        "reqId": metadata.get("reqId"),
        "operation": operation,
    }
    if "protocolVersion" in payload:
        made["protocolVersion"] = payload["protocolVersion"]
    for name in ("taaAcceptance", "endorser"):
        if name in metadata:
            made[name] = metadata[name]
    return made


def signing_text(value: Any) -> bytes:
    """Write a request as it is signed: `key:value|key:value`, keys sorted, lists with commas.

    Source: indy-plenum, `serialize_msg_for_signing`.
    """
    return _text(value).encode()


def _check(value: dict[str, Any], text: bytes | None, key_of: KeyOf) -> Signed:
    by, signature = str(value.get("from")), str(value.get("value"))
    if text is None:
        return Signed(by, None, ALTERED)
    verkey = key_of(by)
    if verkey is None:
        return Signed(by, None, NO_KEY)
    good = keys.verifies(keys.whole(by, verkey), text, signature)
    return Signed(by, good, GOOD if good else BAD)


def _text(value: Any) -> str:
    if is_object(value):
        return "|".join(f"{key}:{_text(value[key])}" for key in sorted(value))
    if is_array(value):
        return ",".join(map(_text, value))
    return "" if value is None else str(value)
