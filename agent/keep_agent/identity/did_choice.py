"""Which DID we show: in an invitation, as our own on a connection, and what a tenant shows unless told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated
from typing import Protocol as Port

from pydantic import AfterValidator, BaseModel, ConfigDict

from keep_agent.core.machine import Put, PutKey, Write
from keep_agent.core.message import Attachment, Json

KEY = "key"
"""No DID: the key and endpoint themselves stand in the invitation."""
PEER_2 = "did:peer:2"
PEER_4 = "did:peer:4"
PUBLIC = "public"
"""The public DID of the tenant, if it has one alone; else that DID itself is the choice."""

DID_CHOICE = "did_choice"
NAME = "default"

_ON_LEDGER = re.compile(r"(did:sov:|did:indy:[a-z0-9_:-]+:)?[1-9A-HJ-NP-Za-km-z]{21,22}")


def _for_connection(text: str) -> str:
    return _checked(text, "a request and a response show a DID", PEER_2, PEER_4, PUBLIC)


def _for_invitation(text: str) -> str:
    return _checked(text, "an invitation shows one of", KEY, PEER_2, PEER_4, PUBLIC)


def _checked(text: str, rule: str, *words: str) -> str:
    if text not in words and not _ON_LEDGER.fullmatch(text):
        raise ValueError(f"{rule}: {', '.join(words)}, or a public DID of ours")
    return text


ForInvitation = Annotated[str, AfterValidator(_for_invitation)]
"""`key`, `did:peer:2`, `did:peer:4`, `public`, or a public DID of ours."""

ForConnection = Annotated[str, AfterValidator(_for_connection)]
"""`did:peer:2`, `did:peer:4`, `public`, or a public DID of ours."""


class DidChoice(BaseModel):
    """What a tenant shows where a command does not say it.

    Attributes:
        invitation: in an invitation.
        connection: in a request or response: its own DID of the connection.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    invitation: ForInvitation = KEY
    connection: ForConnection = PEER_4

    def put(self) -> Put:
        """Return the write that stores it."""
        return Put(DID_CHOICE, NAME, self.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class Inviter:
    """How we stand in an invitation.

    Attributes:
        service: the item of its `services`.
        verkey: base58 key that answers are encrypted to.
        writes: what stores the key; nothing where we have it already.
        did: our public DID, as its record has it, if that is shown.
    """

    service: str | Json
    verkey: str
    writes: tuple[Write, ...] = ()
    did: str | None = None


@dataclass(frozen=True, slots=True)
class NewDid:
    """A DID of ours for a connection.

    Attributes:
        verkey: base58 key that messages to it are encrypted to.
        writes: what stores the key; nothing where we have it already.
    """

    did: str
    verkey: str
    writes: tuple[Write, ...] = ()


class ShownDids(Port):
    """The DIDs and keys of ours that peers see; see `own_dids.OwnDids`."""

    @property
    def endpoint(self) -> str:
        """URL at which peers reach us."""
        ...

    async def for_invitation(self, invitation: str, choice: str | None) -> Inviter:
        """Return how we stand in an invitation of this id; stores nothing.

        Raises:
            BadCommandError: the chosen DID cannot be used.
        """
        ...

    async def for_connection(self, connection: str, choice: str | None) -> NewDid:
        """Return our DID for a connection; stores nothing.

        Raises:
            BadCommandError: the chosen DID cannot be used.
        """
        ...

    async def check_for_connection(self, choice: str | None) -> None:
        """Check that we can show a DID on a connection to be, before anything is done for it.

        Raises:
            BadCommandError: the chosen DID cannot be used.
        """
        ...

    def new_key(self, purpose: Json) -> PutKey:
        """Make a key for a purpose, kept as its metadata; stores nothing."""
        ...

    async def vouch(self, verkey: str, ours: NewDid) -> Attachment:
        """Sign a DID of ours with the key of the invitation that a peer answered (SEC-D05).

        Raises:
            NotFoundError: the key, or that of the DID, is not ours.
        """
        ...
