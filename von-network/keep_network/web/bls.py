"""BLS multi-signatures of nodes over the roots of a ledger, checked with indy-bls."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any

import base58
import msgpack

_GENERATOR = (
    "3LHpUjiyFC2q2hD7MnwwNmVXiuaFbQx2XkAFJWzswCjgN1utjsCeLzHsKk1nJvFEaS4fcrUmVAkdhtPCYbrVyATZcmzwJ"
    "ReTcJqwqBCPTmTQ9uWPwz6rEncKb2pYYYFcdHa8N17HzVyTqKfgPi4X9pMetfT3A5xCHq54R2pDNYWVLDX"
)  # indy-plenum's constant; a signature over another generator fits no node's key


def verifies(signed: Mapping[str, Any], bls_keys: Mapping[str, str]) -> bool | None:
    """Say whether a multi-signature is of the nodes that it names; None without indy-bls.

    Args:
        signed: `state_proof.multi_signature` of an answer.
        bls_keys: of the nodes of this network by name, base58.
    """
    if not _has_library():
        return None
    try:
        message = msgpack.packb(dict(sorted(signed["value"].items())), use_bin_type=True)
        verkeys = tuple(sorted(bls_keys[name] for name in set(signed["participants"])))
        return bool(verkeys) and _verify(str(signed["signature"]), message, verkeys)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


@lru_cache(maxsize=256)
def _verify(signature: str, message: bytes, verkeys: tuple[str, ...]) -> bool:
    # Not indy-bls itself: that one logs keys.
    from keep_network.compat.ursa_bls import (  # noqa: PLC0415 - not everywhere
        Bls,
        Generator,
        MultiSignature,
        VerKey,
    )

    try:
        return bool(
            Bls.verify_multi_sig(
                MultiSignature.from_bytes(base58.b58decode(signature)),
                message,
                [VerKey.from_bytes(base58.b58decode(key)) for key in verkeys],
                Generator.from_bytes(base58.b58decode(_GENERATOR)),
            )
        )
    except Exception:  # noqa: BLE001 - whatever the library says of malformed points
        return False


@cache
def _has_library() -> bool:
    return find_spec("indy_bls") is not None
