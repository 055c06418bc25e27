"""DIDs and ids of Indy with and without their network: `did:sov:...`, `did:indy:...`."""

from __future__ import annotations

_PREFIXES = ("did:sov:", "did:indy:")


def short(did: str) -> str:
    """Return a DID as the ledger writes it; what is no DID of Indy stays."""
    return did.rpartition(":")[2] if did.startswith(_PREFIXES) else did
