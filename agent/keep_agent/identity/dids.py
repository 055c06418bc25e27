"""DIDs as texts: did:key, did:peer, did:sov, did:indy, and DIDs of Indy without a method (DID Core)."""

from __future__ import annotations

import hashlib
import re
from typing import NewType

import base58

from keep_agent.errors import BadMessageError
from keep_agent.identity.keys import MAX_MULTIBASE, multibase, raw_key

Did = NewType("Did", str)
"""A DID that `read_did` found well-formed; never a DID URL."""

MAX_DID = MAX_MULTIBASE
INDY_BYTES = 16

_B58 = "[1-9A-HJ-NP-Za-km-z]"
_INDY = f"{_B58}{{21,22}}"
_SYNTAX = re.compile(
    rf"{_INDY}"
    rf"|did:sov:{_INDY}"
    rf"|did:indy:[a-z0-9_-]+(?::[a-z0-9_-]+)?:{_INDY}"
    rf"|did:key:z{_B58}+"
    rf"|did:peer:[013]z{_B58}+"
    r"|did:peer:2(?:\.[AEVDIS][A-Za-z0-9=_-]+)+"
    rf"|did:peer:4z{_B58}+(?::z{_B58}+)?"
    r"|did:web:[A-Za-z0-9.%_:-]+"
)
_SHA256 = b"\x12\x20"  # multihash: function and length


def read_did(text: object) -> Did:
    """Read a DID of a known method, or an unqualified Indy DID.

    Raises:
        BadMessageError: it is not one, or longer than 4 KiB.
    """
    if not isinstance(text, str) or len(text) > MAX_DID or not _SYNTAX.fullmatch(text):
        raise BadMessageError("not a DID of a known method")
    indy = not text.startswith("did:") or text.startswith(("did:sov:", "did:indy:"))
    if indy and len(base58.b58decode(text.rpartition(":")[2])) != INDY_BYTES:
        raise BadMessageError("an Indy DID must be 16 bytes")
    return Did(text)


def short_form(did: Did) -> Did:
    """Return the short form of a DID: a cut did:peer:4, or the did:peer:3 of a did:peer:2."""
    if did.startswith("did:peer:4"):
        return Did(":".join(did.split(":")[:3]))
    if did.startswith("did:peer:2"):
        return Did("did:peer:3" + multihash(did.removeprefix("did:peer:2")))
    return did


def is_made_of(did: Did, verkey: str) -> bool:
    """Whether an Indy DID is the first half of this key, as every new one is."""
    return base58.b58decode(did.rpartition(":")[2]) == raw_key(verkey)[:INDY_BYTES]


def multihash(text: str) -> str:
    """Return the SHA-256 of a text as a multibase multihash."""
    return multibase(_SHA256 + hashlib.sha256(text.encode()).digest())
