"""`ursa.bls`: BLS multi-signatures by indy-bls, without its logger.

indy-bls hands every trace line of the native library to Python, whatever the level: a
multi-signature takes 4.5 instead of 1.5 ms. Its own debug lines hold sign keys: they are
switched off whatever level the nodes log at.
"""

from __future__ import annotations

import logging

import indy_bls.lib
from indy_bls.bls import (
    Bls,
    BlsEntity,
    Generator,
    MultiSignature,
    ProofOfPossession,
    Signature,
    SignKey,
    VerKey,
)

__all__ = [
    "Bls",
    "BlsEntity",
    "Generator",
    "MultiSignature",
    "ProofOfPossession",
    "SignKey",
    "Signature",
    "VerKey",
]


def _no_logger() -> None:
    """Take the place of the function that installs the logger."""


indy_bls.lib._set_logger = _no_logger  # noqa: SLF001 - it offers no setting
indy_bls.lib.LOGGER = logging.getLogger("indy_bls")  # it writes to the root logger
indy_bls.lib.LOGGER.setLevel(logging.WARNING)
