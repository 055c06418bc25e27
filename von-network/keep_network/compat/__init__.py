"""Let Indy's node packages run unchanged on a current Python with current wheels.

indy-node 1.13.2 and indy-plenum 1.13.1 were written for Python 3.8 and for C libraries of
2017-2021. Nothing of theirs is edited here. Each module stands in for something that is gone
and says what breaks without it.
"""

from __future__ import annotations

import importlib
import sys

from keep_network.compat import sodium, stdlib

STAND_INS = {
    "rocksdb": "rocksdb",
    "orderedset": "orderedset",
    "orderedset._orderedset": "orderedset",
    "ujson": "ujson",
    "rlp": "rlp",
    "rlp.sedes": "rlp",
    "ursa": "ursa",
    "ursa.bls": "ursa_bls",
    "ursa.indy_error": "ursa",
}
"""Modules that plenum imports and that have no wheel, and which of ours takes their place."""


def install() -> None:
    """Put every stand-in and patch in place; must run before the first `import plenum`."""
    stdlib.patch()
    for name, ours in STAND_INS.items():
        sys.modules[name] = importlib.import_module(f"keep_network.compat.{ours}")
    sodium.patch()
    importlib.import_module("keep_network.compat.packages").patch()  # imports patched ones
