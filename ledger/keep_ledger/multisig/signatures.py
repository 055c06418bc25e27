"""The check of an Ed25519 signature, by libsodium."""

from __future__ import annotations

from nacl import bindings as sodium
from nacl.exceptions import BadSignatureError

SIGNATURE_BYTES = 64


def verifies(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether it is this key's signature of this message; False for a key that is not 32 bytes."""
    try:
        if len(signature) != SIGNATURE_BYTES:
            return False
        sodium.crypto_sign_open(signature + message, key)
    except (BadSignatureError, ValueError):
        return False
    return True
