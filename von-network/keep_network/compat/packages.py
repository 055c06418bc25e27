"""Small differences between the packages that plenum pinned and those that have wheels."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import base58
import msgpack
import sortedcontainers
import zmq.auth.thread


def patch() -> None:
    """Patch pyzmq, msgpack, sortedcontainers, importlib_metadata, base58 and leveldb in place."""
    _pyzmq()
    _msgpack()
    _sortedcontainers()
    # indy-node looks up its own version with the backport: without it, it does not import.
    sys.modules.setdefault("importlib_metadata", importlib.metadata)
    _base58()
    # plenum prints that it misses it into the nodes' log, for a store that no node uses.
    sys.modules.setdefault("leveldb", ModuleType("leveldb"))


def _pyzmq() -> None:
    # stp_zmq's authenticator is decorated with it at import time (dropped in pyzmq 23): the
    # nodes' network stack does not import.
    zmq.auth.thread._inherit_docstrings = _same  # noqa: SLF001


def _msgpack() -> None:
    # msgpack 1.0 refuses map keys that are no text unless told otherwise; ledger data has
    # integer keys: stored transactions cannot be read back.
    msgpack.unpackb = functools.partial(msgpack.unpackb, strict_map_key=False)
    msgpack.Unpacker = functools.partial(msgpack.Unpacker, strict_map_key=False)


def _sortedcontainers() -> None:
    # requirements.txt installs 1.5.7. The calls that 2.x dropped run only after a catch-up:
    # with it a node starts, and dies at its first restart with data.
    if not sortedcontainers.__version__.startswith("1."):
        raise ImportError("the nodes need sortedcontainers 1.5.7, see requirements.txt")


def _base58() -> None:
    # Speed, not need: validating messages decodes the same few DIDs, keys and roots over and
    # over. Errors are not cached.
    base58.b58decode = remembering(base58.b58decode)


def remembering(decode: Callable[..., bytes]) -> Callable[..., bytes]:
    """Return the function with a bounded memory for arguments that can be hashed."""
    cached = functools.lru_cache(maxsize=4096)(decode)

    @functools.wraps(decode)
    def remembered(v: object, **options: Any) -> bytes:
        if isinstance(v, str | bytes):
            return cached(v, **options)
        return decode(v, **options)

    return remembered


def _same(cls: type) -> type:
    return cls
