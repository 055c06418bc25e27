"""The libsodium that pyzmq's wheel carries, for libnacl.

libnacl looks for a system library with ctypes and does not import without one. pyzmq's Linux
and macOS wheels bring a whole libsodium, so no system package is needed.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import importlib.util
from pathlib import Path


def patch() -> None:
    """Import libnacl while its look-up of libsodium is answered by us."""
    look_up = ctypes.util.find_library

    def find_library(name: str) -> str | None:
        return (_shipped() if name == "sodium" else None) or look_up(name)

    ctypes.util.find_library = find_library
    try:
        importlib.import_module("libnacl")  # binds libsodium now
    finally:
        ctypes.util.find_library = look_up


def _shipped() -> str | None:
    for path in _candidates():
        try:
            ctypes.CDLL(str(path))
        except OSError:
            continue
        return str(path)
    return None


def _candidates() -> list[Path]:
    spec = importlib.util.find_spec("zmq")
    if spec is None or spec.origin is None:
        return []
    package = Path(spec.origin).parent
    linux = (package.parent / "pyzmq.libs").glob("libsodium*")
    macos = (package / ".dylibs").glob("libsodium*")
    return sorted([*linux, *macos])
