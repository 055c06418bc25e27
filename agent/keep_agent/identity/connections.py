"""Connections and invitations: their records."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, Self
from typing import Protocol as Port

from pydantic import BaseModel, ConfigDict

from keep_agent.core.machine import ABANDONED, Put, Target
from keep_agent.core.message import Json
from keep_agent.identity.did_choice import ShownDids
from keep_agent.identity.public_dids import pair

CONNECTION = "connection"
INVITATION = "invitation"
CONNECTIONLESS = "connectionless"
CONNECTION_STATES = (
    "request-sent",
    "request-received",
    "response-sent",
    "completed",
    ABANDONED,
    CONNECTIONLESS,
)
"""Those of the DID exchange (RFC 0023), and the one of what needs no handshake."""


@dataclass(frozen=True, slots=True)
class Address:
    """The endpoint of a peer, and the keys to encrypt to.

    Attributes:
        endpoint: URL as they wrote it; None: the peer fetches its messages.
        recipients: base58 keys, at least one.
        routing: base58 keys of their mediators, outermost last.
        did: the DID that this was read from; None: it is the service of an invitation.
        known_as: the DID in the one form by which it is compared: with the network where it was found,
            a did:peer:2 or 4 in its short form.
    """

    endpoint: str | None
    recipients: tuple[str, ...]
    routing: tuple[str, ...] = ()
    did: str | None = None
    known_as: str | None = None


class InvitationRecord(BaseModel):
    """What is remembered of an invitation, ours or one that we received.

    Attributes:
        id: the `@id` of the message; for an implicit invitation, the public DID.
        name: received only: the out-of-band exchange that received it. The inviter chose `id`, so
            no record of ours is named by it (SEC-O09).
        key: ours only: base58 key that answers are encrypted to.
        did: ours only: our public DID, if that stands in it; its key serves other invitations, too.
        used: a single-use invitation that was answered.
        expires: POSIX time; None: never.
        minors: minor versions of DID exchange 1 that are offered; empty: no handshake.
        request: received only: the attached message that is to be answered.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # older records have a `digest`

    id: str
    direction: Literal["ours", "received"]
    name: str = ""
    key: str | None = None
    did: str | None = None
    multi_use: bool = False
    used: bool = False
    expires: float | None = None
    minors: tuple[int, ...] = ()
    label: str | None = None
    address: Address | None = None
    request: Json | None = None

    def put(self, within: str | None = None) -> Put:
        """Return the write that stores it; one of ours is never overwritten.

        Args:
            within: the out-of-band exchange that it belongs to.
        """
        tags: dict[str, str] = {"direction": self.direction}
        value = self.model_dump(mode="json")
        new = self.direction == "ours"
        return Put(INVITATION, self.name or self.id, value, tags, new, within)

    @property
    def expired(self) -> bool:
        """Whether it has expired."""
        return self.expires is not None and self.expires < time.time()

    @property
    def closed(self) -> str | None:
        """Why it can no longer be answered, in words; None: it can (SEC-O02, SEC-O03)."""
        if self.expired:
            return "this invitation has expired: ask for a new one"
        return "this invitation is used up: ask for a new one" if self.used else None

    @property
    def inviter(self) -> str:
        """The DID or first key of the inviter, by which it is recognised later."""
        if self.address is None:
            return ""
        return self.address.known_as or self.address.did or self.address.recipients[0]


class Connection(BaseModel):
    """A peer that we can talk to.

    Attributes:
        id: of the DID exchange that made it, or of the exchange that needed it (connectionless).
        state: of the DID exchange (RFC 0023), or `connectionless`.
        role: ours in the DID exchange.
        their_key: base58 key that authenticates the peer's messages; None until its response.
        endpoint: the peer's URL; None: the peer fetches its messages.
        known_as: their DID in the one form by which it is compared (SEC-D03).
        invitation: id of the invitation that it came from; of an implicit one, our public DID.
        implicit: the peer asked without an invitation.
        answered: our own name of that invitation, if we answered it.
        reused: ids of later invitations of ours that the peer answered with this connection.
        reused_for: ids of later invitations of the peer that we answered with it, as the peer chose them:
            for lists alone.
        inviter: DID or key of the invitation that we answered; empty if we invited.
        service: the `~service` in our messages, if the peer has no DID of ours (RFC 0056).
        label: what the peer calls itself: untrusted text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    state: str
    role: str
    my_key: str
    my_did: str | None = None
    their_did: str | None = None
    known_as: str | None = None
    their_key: str | None = None
    endpoint: str | None = None
    recipients: tuple[str, ...] = ()
    routing: tuple[str, ...] = ()
    invitation: str | None = None
    implicit: bool = False
    answered: str | None = None
    reused: tuple[str, ...] = ()
    reused_for: tuple[str, ...] = ()
    inviter: str = ""
    service: Json | None = None
    label: str | None = None
    alias: str | None = None
    created: float

    def put(self, *, new: bool = False) -> Put:
        """Return the write that stores it; by its tags it is looked for.

        Args:
            new: it does not exist yet, which saves a read.
        """
        came_from = [self.invitation or "", *self.reused, *self.reused_for]
        tags: dict[str, str | list[str]] = {
            "state": self.state,
            "their_did": self.their_did or "",
            "my_did": self.my_did or "",
            "peer": came_from if len(came_from) > 1 else came_from[0],
            "inviter": self.inviter,
        }
        if self.known_as:
            tags["known_as"] = self.known_as
        if both := pair(self.my_did, self.their_key):
            tags["pair"] = both
        if self.implicit and self.my_did is None and self.state != ABANDONED:
            tags["unanswered"] = "implicit"
        return Put(CONNECTION, self.id, self.model_dump(mode="json"), tags, new, self.id)

    def but(self, **changes: object) -> Self:
        """Return a copy with these fields changed, validated again."""
        return type(self).model_validate({**self.__dict__, **changes})

    def at(self, address: Address, **changes: object) -> Self:
        """Return a copy with this address."""
        return self.but(
            endpoint=address.endpoint,
            recipients=address.recipients,
            routing=address.routing,
            their_did=address.did,
            known_as=address.known_as,
            **changes,
        )

    def with_service(self, body: Json) -> Json:
        """Return a message as it is sent on this connection."""
        return body if self.service is None else {**body, "~service": self.service}

    def as_received(self, body: Json | None) -> Json | None:
        """Return a message as if it came on this connection, for `Step.deliver`."""
        if body is None:
            return None
        return {"body": body, "sender": self.their_key, "recipient": self.my_key}

    @property
    def target(self) -> Target | None:
        """Where to send and the keys to encrypt to; None: there is no endpoint."""
        if self.endpoint is None:
            return None
        return Target(
            endpoint=self.endpoint,
            recipients=self.recipients,
            routing=self.routing,
            sender=self.my_key,
        )


class ConnectionRecords(Port):
    """Reads of connections and invitations, for the protocols that make them."""

    @property
    def label(self) -> str:
        """Our label."""
        ...

    @property
    def own(self) -> ShownDids:
        """The DIDs and keys of ours that peers see."""
        ...

    async def invitation(self, name: str) -> InvitationRecord:
        """Return an invitation by our own name of it; of a public DID, the implicit one.

        Raises:
            NotFoundError: there is none.
        """
        ...

    async def connection(self, name: str) -> Connection:
        """Return a connection.

        Raises:
            NotFoundError: there is none.
        """
        ...


class Records(Port):
    """What identification reads; see `store.Profile`."""

    async def fetch(self, category: str, name: str) -> Json | None:
        """Return a record, or None."""
        ...
