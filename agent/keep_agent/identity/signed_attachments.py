"""Attachments that are signed: JWS with one signature (Aries RFC 0017)."""

from __future__ import annotations

import base64
import json
from typing import cast

from keep_agent.core.message import (
    LARGE,
    Attachment,
    AttachmentData,
    Json,
    new_id,
    read_base64,
    read_json,
)
from keep_agent.errors import BadMessageError, RefusedError
from keep_agent.identity.keys import (
    KEY_BYTES,
    LocalKey,
    base58_key,
    did_key,
    raw_key,
    to_verkey,
    verify,
)

MOST_SIGNED = LARGE
"""Characters of base64 of a signed attachment: a DID or its document; strangers send them (SEC-R01)."""


def sign(key: LocalKey, content: bytes) -> Attachment:
    """Return something as base64, signed with a key of ours."""
    kid = did_key(key.verkey)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": _url(raw_key(key.verkey)), "kid": kid}
    header = json.dumps({"alg": "EdDSA", "jwk": jwk}, separators=(",", ":"))
    protected = _url(header.encode())
    jws: Json = {
        "header": {"kid": kid},
        "protected": protected,
        "signature": _url(key.sign(_signed(protected, content))),
    }
    data = AttachmentData(base64=base64.urlsafe_b64encode(content).decode(), jws=jws)
    return Attachment(id=new_id(), mime_type="text/string", data=data)


def signer(attachment: Attachment) -> str:
    """Return the base58 key that signed an attachment (RFC 0017, JWS with one signature).

    Raises:
        RefusedError: it is not signed, or not with EdDSA, or too long, or the ids of the key contradict
            it, or the signature is wrong.
    """
    jws = attachment.data.jws
    if jws is None or attachment.data.base64 is None:
        raise RefusedError("an attachment is not signed")
    if len(attachment.data.base64) > MOST_SIGNED:
        raise RefusedError(
            f"a signed attachment has at most {MOST_SIGNED} characters of base64"
        )
    try:
        protected, signature, header = _one_signature(jws)
        key = _signing_key(read_json(read_base64(protected)), header)
        good = verify(key, _signed(protected, attachment.raw), read_base64(signature))
    except (BadMessageError, KeyError, TypeError, AttributeError) as error:
        raise RefusedError("the signature of an attachment is malformed") from error
    if not good:
        raise RefusedError("the signature of an attachment is wrong")
    return key


def _one_signature(jws: Json) -> tuple[str, str, Json]:
    several = jws.get("signatures")
    if several is not None:
        (jws,) = cast("list[Json]", several) if len(several) == 1 else ({},)
    return str(jws["protected"]), str(jws["signature"]), jws.get("header") or {}


def _signing_key(protected: Json, header: Json) -> str:
    """Return the key of a JWS; every id of a key in it must be the same."""
    if protected.get("alg") != "EdDSA" or "crit" in protected:
        raise RefusedError("an attachment is not signed with EdDSA")
    jwk = cast("Json", protected["jwk"])
    raw = read_base64(jwk["x"])
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519" or len(raw) != KEY_BYTES:
        raise RefusedError("an attachment is not signed with an Ed25519 key")
    key = base58_key(raw)
    for kid in (header.get("kid"), protected.get("kid"), jwk.get("kid")):
        if isinstance(kid, str) and kid.startswith("did:key:") and to_verkey(kid) != key:
            raise RefusedError("an attachment names two signing keys")
    return key


def _signed(protected: str, content: bytes) -> bytes:
    return f"{protected}.{_url(content)}".encode()


def _url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
