"""Who a peer is: from the keys of an envelope to a connection or an invitation of ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self
from typing import Protocol as Port

from pydantic import BaseModel, ConfigDict

from keep_agent.errors import BadEnvelopeError
from keep_agent.machine import Exchange, Put, Target, Via
from keep_agent.message import Json, Received

CONNECTION = "connection"
INVITATION = "invitation"


class Connection(BaseModel):
    """A peer that we can talk to.

    Attributes:
        id: of the DID exchange that made it, or of the exchange that needed it (connectionless).
        state: of the DID exchange (RFC 0023), or `connectionless`.
        role: ours in the DID exchange.
        their_key: base58 key that authenticates their messages; None until their response.
        endpoint: where they listen; None: they fetch their messages themselves.
        invitation: id of the invitation that it came from.
        label: what they call themselves: untrusted text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    state: str
    role: str
    my_key: str
    my_did: str | None = None
    their_did: str | None = None
    their_key: str | None = None
    endpoint: str | None = None
    recipients: tuple[str, ...] = ()
    routing: tuple[str, ...] = ()
    invitation: str | None = None
    label: str | None = None
    alias: str | None = None
    created: float

    def put(self) -> Put:
        """Return the write that stores it; found by state and by their DID."""
        tags = {
            "state": self.state,
            "their_did": self.their_did or "",
            "peer": self.invitation or "",
        }
        return Put(CONNECTION, self.id, self.model_dump(mode="json"), tags)

    def but(self, **changes: object) -> Self:
        """Return a copy with these fields changed, validated again."""
        return type(self).model_validate({**self.__dict__, **changes})

    @property
    def target(self) -> Target | None:
        """Where and for whom to pack; None: there is no endpoint."""
        if self.endpoint is None:
            return None
        return Target(
            endpoint=self.endpoint,
            recipients=self.recipients,
            routing=self.routing,
            sender=self.my_key,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who sent a message, as far as its envelope proves it.

    Attributes:
        ids: what exchanges with this peer may be named by, the best first.
        connection: id of the connection, if there is one.
        known: the sender's key is the one that the connection is bound to.
    """

    ids: tuple[str, ...]
    connection: str | None
    known: bool
    via: Via

    def owns(self, x: Exchange[Any]) -> bool:
        """Tell whether this peer is the one that the exchange is bound to, or may become it."""
        return x.connection in {None, self.connection} and x.their_key in {
            None,
            self.via.sender,
        }


class Records(Port):
    """What identification reads; see `store.Profile`."""

    async def fetch(self, category: str, name: str) -> Json | None:
        """Return a record, or None."""
        ...


async def identify(
    received: Received, metadata: Callable[[str], Awaitable[Json | None]], records: Records
) -> Peer:
    """Find out who sent a message.

    Raises:
        BadEnvelopeError: nobody that may: no sender, or not the key that the connection is bound
            to (SEC-E01, SEC-E02).
    """
    if received.sender is None:
        raise BadEnvelopeError("a message without an authenticated sender")
    purpose = await metadata(received.recipient) or {}
    via = Via(
        sender=received.sender,
        recipient=received.recipient,
        invitation=purpose.get("invitation"),
    )
    if "connection" not in purpose:
        return Peer(
            ids=(str(purpose.get("invitation")),), connection=None, known=False, via=via
        )
    record = await records.fetch(CONNECTION, purpose["connection"])
    if record is None:
        raise BadEnvelopeError("a message for a connection that is no more")
    if record["their_key"] not in {None, received.sender}:
        raise BadEnvelopeError("the sender is not the peer of this connection")
    ids = (record["id"], record["invitation"]) if record["invitation"] else (record["id"],)
    return Peer(
        ids=ids, connection=record["id"], known=record["their_key"] is not None, via=via
    )
