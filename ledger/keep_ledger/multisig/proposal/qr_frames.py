"""A proposal as QR codes: one picture if it fits, else several frames.

A frame is text of QR's alphanumeric alphabet, so that any scanner can read it and it can be sent as a line
of text: `PSIT/<number>/<count>/<first 8 hex of SHA-256>/<base32 of a part>`. The parts joined
are the container, compressed (zlib). Frames may come in any order, and more than once.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterable

from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.cbor_container import MAX_BYTES
from keep_ledger.multisig.threshold.curve import sha256

ONE_CODE = 1600
"""The most bytes (compressed) in a single QR code, which then has about 125 modules a side."""
PART = 350
"""Bytes in each of several frames: few enough for a phone's camera."""
_FRAME = re.compile(r"PSIT/([0-9]{1,4})/([0-9]{1,4})/([0-9A-F]{8})/([A-Z2-7]{1,4000})")
_MOST = 4000


def to_frames(container: bytes) -> list[str]:
    """Split a container into the texts of its QR codes."""
    packed = zlib.compress(container, 9)
    size = ONE_CODE if len(packed) <= ONE_CODE else PART
    parts = [packed[at : at + size] for at in range(0, len(packed), size)]
    name = sha256(packed).hex()[:8].upper()
    return [
        f"PSIT/{number}/{len(parts)}/{name}/{base64.b32encode(part).decode().rstrip('=')}"
        for number, part in enumerate(parts, 1)
    ]


def from_frames(texts: Iterable[str]) -> bytes:
    """Join the texts of QR codes into a container.

    Raises:
        RefusedError: a text is not a frame, frames are of several proposals, some are missing (it
            says which), or they are damaged.
    """
    parts: dict[int, str] = {}
    heads: set[tuple[str, str]] = set()
    for text in texts:
        found = _FRAME.fullmatch(text.strip())
        if found is None:
            raise RefusedError(f"this is not a frame of a proposal: {text.strip()[:40]!r}")
        number, count, name, part = found.groups()
        heads.add((count, name))
        if parts.setdefault(int(number), part) != part:
            raise RefusedError(f"there are two different frames with number {number}")
    if len(heads) != 1:
        raise RefusedError(
            f"these are frames of {len(heads)} proposals" if heads else "there is no frame"
        )
    count, name = heads.pop()
    if missing := [str(n) for n in range(1, min(int(count), _MOST) + 1) if n not in parts]:
        raise RefusedError(f"of {count} frames these are missing: {', '.join(missing[:20])}")
    return _unpacked([parts[number] for number in sorted(parts)], name)


def _unpacked(parts: list[str], name: str) -> bytes:
    try:
        packed = b"".join(base64.b32decode(p + "=" * (-len(p) % 8)) for p in parts)
        stream = zlib.decompressobj()
        container = stream.decompress(packed, MAX_BYTES + 1)
    except (binascii.Error, zlib.error) as error:
        raise RefusedError("the frames are damaged: scan them again") from error
    if sha256(packed).hex()[:8].upper() != name or not stream.eof or stream.unused_data:
        raise RefusedError("the frames are damaged, or the proposal is too large")
    return container
