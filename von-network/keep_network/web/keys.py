"""Ed25519 keys and the DIDs made of them (Indy: the first 16 bytes of the verkey)."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import base58

from keep_network.compat import sodium

SEED_BYTES = 32
DID_BYTES, VERKEY_BYTES = 16, 32
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Key:
    """A DID with its keys."""

    did: str
    verkey: str
    secret: bytes = field(repr=False)

    @classmethod
    def derive(cls, seed: bytes) -> Key:
        """Make the DID and keys of a seed of 32 bytes."""
        public, secret = _nacl().crypto_sign_seed_keypair(seed)
        return cls(
            base58.b58encode(public[:DID_BYTES]).decode(),
            base58.b58encode(public).decode(),
            secret,
        )

    def sign(self, message: bytes) -> bytes:
        """Sign: 64 bytes."""
        signed: bytes = _nacl().crypto_sign(message, self.secret)
        return signed[:_SIGNATURE_BYTES]


def verifies(verkey: str, message: bytes, signature: str) -> bool:
    """Say whether a signature (base58) over a message is of the holder of a whole verkey."""
    public, signed = decode(verkey), decode(signature)
    if len(public) != VERKEY_BYTES or len(signed) != _SIGNATURE_BYTES:
        return False
    try:
        _nacl().crypto_sign_open(signed + message, public)
    except Exception:  # noqa: BLE001 - each binding of libsodium has an error class of its own
        return False
    return True


def whole(did: str, verkey: str) -> str:
    """Return a verkey that is not abbreviated: `~` stands for the 16 bytes of the DID."""
    if not verkey.startswith("~"):
        return verkey
    return base58.b58encode(decode(did) + decode(verkey[1:])).decode()


def is_did(text: str) -> bool:
    """Say whether a text is 16 bytes in base58."""
    return len(decode(text)) == DID_BYTES


def decode(text: str) -> bytes:
    """Read base58; what is not base58 has no bytes."""
    try:
        return base58.b58decode(text) if text.isascii() else b""
    except ValueError:
        return b""


@cache
def _nacl() -> Any:
    """Return PyNaCl's bindings, or libnacl on pyzmq's libsodium: both name functions alike."""
    try:
        return importlib.import_module("nacl.bindings")
    except ModuleNotFoundError:
        sodium.patch()
        return importlib.import_module("libnacl")
