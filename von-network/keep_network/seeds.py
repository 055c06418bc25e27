"""The seeds of a network's trustee, stewards and nodes: those that everybody knows, or its own."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets

from keep_network.errors import BadInputError, NetworkError
from keep_network.record import Network

FILE = "trustee.seed"
"""In the network's folder, readable for its owner alone; absent with the known seeds."""

TRUSTEE = "Trustee1"
_LENGTH = 32


def choose(network: Network) -> None:
    """Give a network that is not made yet seeds of its own; its folder is its owner's alone."""
    network.folder.chmod(0o700)  # the nodes' keys are in there, too
    path = network.folder / FILE
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(_LENGTH // 2) + "\n")


def read(text: str) -> tuple[bytes, str]:
    """Return the 32 bytes that a seed of somebody stands for, and the seed padded.

    A seed is at most 32 characters, padded with zeros behind, or the base64 of 32 bytes, which
    ends in `=`.

    Raises:
        BadInputError: it is too long, or no ASCII, or no base64 of 32 bytes.
    """
    if text.endswith("="):
        try:
            made = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            made = b""
        if len(made) != _LENGTH:
            raise BadInputError("A seed in base64 must be of 32 bytes.")
        return made, text
    if len(text) > _LENGTH:
        raise BadInputError("Seed must be between 0 and 32 characters long.")
    if not text.isascii():
        raise BadInputError("Seed must be ASCII characters.")
    padded = text.ljust(_LENGTH, "0")
    return padded.encode(), padded


def of(network: Network, name: str) -> bytes:
    """Return the seed of `Trustee1`, `Steward2`, `Node3` and so on: 32 ASCII characters.

    A known seed is the name with zeros in front. Of its own are a random one for the trustee and
    those that follow from it for all others, who have less power than the trustee.

    Raises:
        NetworkError: the network has seeds of its own, and the file is gone.
    """
    if not network.own_seeds:
        return name.rjust(_LENGTH, "0").encode()
    path = network.folder / FILE
    try:
        trustee = path.read_text().strip().encode()
    except FileNotFoundError:
        raise NetworkError(f"{path} is gone: it had the seed of the network") from None
    if name == TRUSTEE:
        return trustee
    return hmac.digest(trustee, name.encode(), "sha256").hex()[:_LENGTH].encode()
