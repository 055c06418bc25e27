"""DIDs and ids of Indy with and without their network: `did:sov:...`, `did:indy:...`."""

from __future__ import annotations

import re

_OBJECTS = (
    (re.compile(r"SCHEMA/(.+)/([^/]+)"), "{0}:2:{1}:{2}"),
    (re.compile(r"CLAIM_DEF/(\d+)/(.+)"), "{0}:3:CL:{1}:{2}"),
    (
        re.compile(r"REV_REG_(?:DEF|ENTRY)/(\d+)/([^/]+)/([^/]+)"),
        "{0}:4:{0}:3:CL:{1}:{2}:CL_ACCUM:{3}",
    ),
)
"""What follows `/anoncreds/v0/`, and the id as the ledger writes it; {0} is the DID."""


def short(text: str) -> str:
    """Return a DID or the id of an object as the ledger writes it; what is none of them stays."""
    if text.startswith("did:sov:"):
        return text.removeprefix("did:sov:")
    if not text.startswith("did:indy:"):
        return text
    long, _, object_ = text.partition("/anoncreds/v0/")
    did = long.rpartition(":")[2]
    for form, written in _OBJECTS:
        if found := form.fullmatch(object_):
            return written.format(did, *found.groups())
    return text if object_ else did
