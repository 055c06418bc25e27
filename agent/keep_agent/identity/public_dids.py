"""Public DIDs of ours: on a ledger, at most one for each, and what is answered without an invitation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from keep_agent.core.machine import Put

PUBLIC_DID = "public_did"
OWN_DID = "did"
"""The records of all our DIDs on ledgers; a key's metadata names its DID by the same word."""

ANOTHER_KEY = (
    "the ledger has another key for this DID than we hold; a DID that several people hold together cannot "
    "respond to peers: use one whose key is in this store alone"
)

MOST_UNANSWERED = 50
"""How many implicit requests of a tenant may wait for an answer; the DID exchange ends them after a day."""


class PublicDid(BaseModel):
    """The public DID of a tenant on one ledger: also the implicit invitation that it is (RFC 0023).

    It is no record of an invitation, which inviters name (SEC-O09).

    Attributes:
        namespace: the network; also the name of the record.
        did: as its record has it.
        implicit_requests: whether a request to it is taken that answers no invitation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str
    did: str
    implicit_requests: bool = False
    created: float

    def put(self) -> Put:
        """Return the write that stores it, in the place of an earlier one."""
        return Put(PUBLIC_DID, self.namespace, self.model_dump(mode="json"))

    @property
    def shown(self) -> str:
        """The DID as peers get it: with its method."""
        return self.did if self.did.startswith("did:") else f"did:sov:{self.did}"

    def is_named(self, text: str) -> bool:
        """Whether a text means this DID, in any form that names no other network."""
        network, bare = split(text)
        return bare == split(self.did)[1] and network in {None, self.namespace}


def split(did: str) -> tuple[str | None, str]:
    """Return the network that an Indy DID names, or None, and the rest of it."""
    if did.startswith("did:indy:"):
        network, _, bare = did.removeprefix("did:indy:").rpartition(":")
        return network, bare
    return None, did.removeprefix("did:sov:")


def pair(my_did: str | None, their_key: str | None) -> str | None:
    """Return by what a connection of a DID that serves many is found; None: its DID serves it alone."""
    if my_did is None or their_key is None or my_did.startswith("did:peer:"):
        return None
    return f"{my_did.removeprefix('did:sov:')} {their_key}"
