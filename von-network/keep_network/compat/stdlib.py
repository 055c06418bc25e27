"""Names that the standard library dropped between Python 3.8 and 3.13."""

from __future__ import annotations

import asyncio.coroutines
import collections
import collections.abc
import hashlib
import sys
import types
from typing import Any


def patch() -> None:
    """Add the names that are missing; those that are there stay as they are."""
    # `from collections import Mapping` and its siblings (gone in 3.10): without
    # them neither plenum and indy-node nor sortedcontainers 1.5.7 can be imported.
    for name in vars(collections.abc)["__all__"]:
        _add(collections, name, getattr(collections.abc, name))
    # An annotation in stp_core's looper needs the name (gone in 3.8): no looper, no node.
    _add(asyncio.coroutines, "CoroWrapper", type("CoroWrapper", (), {}))
    # `from _sha256 import sha256` in the request handlers (merged into another module in
    # 3.12): the node does not import.
    if sys.version_info >= (3, 12):
        merged: Any = types.ModuleType("_sha256")
        merged.sha256 = hashlib.sha256
        sys.modules.setdefault("_sha256", merged)


def _add(module: types.ModuleType, name: str, value: object) -> None:
    if not hasattr(module, name):
        setattr(module, name, value)
