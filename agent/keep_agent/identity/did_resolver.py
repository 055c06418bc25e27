"""Finding the document of a DID: in the DID itself, or on its ledger (SEC-D01)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from keep_agent.errors import RefusedError
from keep_agent.identity.did_documents import DidDocument
from keep_agent.identity.dids import Did, read_did, short_form
from keep_agent.identity.peer_dids import read_within


@dataclass(frozen=True, slots=True)
class Found:
    """The document of a DID.

    Attributes:
        known_as: the DID in the one form by which it is compared, as its method proves it: of a ledger
            `did:indy:` with the network where it was found; of did:peer the short form.
    """

    document: DidDocument
    known_as: str


Ask = Callable[[Did], Awaitable[Found | None]]
"""Returns what a ledger says of a DID, or None if there is no such DID."""


class Resolver:
    """Finds the document of a DID: in the DID itself, or on its ledger (SEC-D01).

    Args:
        ledger: asked for did:sov, did:indy and unqualified DIDs.
    """

    def __init__(self, ledger: Ask) -> None:
        self._ledger = ledger

    async def resolve(self, text: object) -> Found:
        """Return the document of a DID.

        Raises:
            BadMessageError: it is not a DID, or the document in it is malformed.
            RefusedError: the DID is unknown, or its method is not supported.
        """
        found = await self.find(read_did(text))
        if found is None:
            raise RefusedError("a DID cannot be resolved", "e.p.did.unresolvable")
        return found

    async def find(self, did: Did) -> Found | None:
        """Return the document of a DID, or None if it is unknown; raises as `resolve` does."""
        if did.startswith("did:web:"):
            raise RefusedError("did:web is not supported yet", "e.p.did.unsupported")
        within = read_within(did)
        if within is not None:
            return Found(within, short_form(did))
        return None if did.startswith("did:peer:") else await self._ledger(did)
