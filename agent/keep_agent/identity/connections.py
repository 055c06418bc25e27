"""Who a peer is: from the keys of an envelope to a connection or an invitation of ours."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Self, cast
from typing import Protocol as Port

from pydantic import BaseModel, ConfigDict

from keep_agent.core.machine import ABANDONED, Peer, Put, PutKey, Target, Via
from keep_agent.core.message import Json, Received
from keep_agent.errors import BadEnvelopeError

CONNECTION = "connection"
INVITATION = "invitation"
CONNECTIONLESS = "connectionless"
MOST_SHOWN = 200
MOST_READ = 4 * MOST_SHOWN


def sanitize_text(text: str | None) -> str | None:
    """Make a peer's text fit to be shown: no control, format or bidi marks, and not too long.

    It stays untrusted: whoever shows it says who claims it, and escapes it.
    """
    if text is None:
        return None
    kept = (
        c
        for c in text[:MOST_READ]
        if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029"
    )
    return "".join(kept).strip()[:MOST_SHOWN] or None


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody listens, and for whom to seal.

    Attributes:
        endpoint: URL as they wrote it; None: they fetch their messages themselves.
        recipients: base58 keys, at least one.
        routing: base58 keys of their mediators, outermost last.
        did: the DID that this was read from; None: it stood in an invitation.
    """

    endpoint: str | None
    recipients: tuple[str, ...]
    routing: tuple[str, ...] = ()
    did: str | None = None


class InvitationRecord(BaseModel):
    """What is remembered of an invitation, ours or one that we received.

    Attributes:
        id: the `@id` of the message; for an implicit invitation, the public DID.
        name: received alone: the out-of-band exchange that looked at it. The id is the inviter's
            word, and names nothing of ours (SEC-O09).
        key: ours alone: base58 key that answers are sealed to.
        used: a single-use invitation that somebody has answered.
        expires: POSIX time; None: never.
        minors: minor versions of DID exchange 1 that are offered; empty: no handshake.
        request: received alone: the attached message that is to be answered.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # older records have a `digest`

    id: str
    direction: Literal["ours", "received"]
    name: str = ""
    key: str | None = None
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
        """Whether its time is over."""
        return self.expires is not None and self.expires < time.time()

    @property
    def closed(self) -> str | None:
        """Why nobody may answer it any more, in words; None: somebody may (SEC-O02, SEC-O03)."""
        if self.expired:
            return "this invitation has expired"
        return "this invitation is used up" if self.used else None

    @property
    def inviter(self) -> str:
        """What the inviter is known again by: the DID or the first key that it gave."""
        if self.address is None:
            return ""
        return self.address.did or self.address.recipients[0]


class Connection(BaseModel):
    """A peer that we can talk to.

    Attributes:
        id: of the DID exchange that made it, or of the exchange that needed it (connectionless).
        state: of the DID exchange (RFC 0023), or `connectionless`.
        role: ours in the DID exchange.
        their_key: base58 key that authenticates their messages; None until their response.
        endpoint: where they listen; None: they fetch their messages themselves.
        invitation: id of the invitation that it came from.
        answered: our own name of that invitation, where we answered it.
        reused: ids of later invitations of ours that they answered with this connection.
        inviter: DID or key of the invitation that we answered; empty where we invited.
        service: the `~service` that our messages carry, where they know us no other way (RFC 0056).
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
    answered: str | None = None
    reused: tuple[str, ...] = ()
    inviter: str = ""
    service: Json | None = None
    label: str | None = None
    alias: str | None = None
    created: float

    def put(self, *, new: bool = False) -> Put:
        """Return the write that stores it; found by state, their DID, and the inviter.

        Args:
            new: it is not there yet, which saves looking.
        """
        tags = {
            "state": self.state,
            "their_did": self.their_did or "",
            "peer": self.invitation or "",
            "inviter": self.inviter,
        }
        return Put(CONNECTION, self.id, self.model_dump(mode="json"), tags, new, self.id)

    def but(self, **changes: object) -> Self:
        """Return a copy with these fields changed, validated again."""
        return type(self).model_validate({**self.__dict__, **changes})

    def at(self, address: Address, **changes: object) -> Self:
        """Return a copy that reaches them there."""
        return self.but(
            endpoint=address.endpoint,
            recipients=address.recipients,
            routing=address.routing,
            their_did=address.did,
            **changes,
        )

    def with_service(self, body: Json) -> Json:
        """Return a message as it leaves on this connection."""
        return body if self.service is None else {**body, "~service": self.service}

    def as_received(self, body: Json | None) -> Json | None:
        """Return a message as if this connection had brought it, for `Step.deliver`."""
        if body is None:
            return None
        return {"body": body, "sender": self.their_key, "recipient": self.my_key}

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


@dataclass(frozen=True, slots=True)
class NewDid:
    """A DID of ours that nobody knows yet, with its key to store."""

    did: str
    key: PutKey


class ConnectionRecords(Port):
    """What the protocols that make connections read of them."""

    @property
    def label(self) -> str:
        """What we call ourselves."""
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


async def identify(
    received: Received, metadata: Callable[[str], Awaitable[Json | None]], records: Records
) -> Peer:
    """Find out who sent a message.

    Raises:
        BadEnvelopeError: nobody that may: no sender, or not the key that the connection is bound
            to (SEC-E01, SEC-E02), or to a key of ours that is not for messages.
    """
    if received.sender is None:
        raise BadEnvelopeError("a message without an authenticated sender")
    purpose = await metadata(received.recipient) or {}
    if "connection" in purpose:
        return await _connected(received, purpose["connection"], records)
    if "invitation" not in purpose:
        raise BadEnvelopeError("a message to a key that is not for messages")
    invitation = str(purpose["invitation"])
    via = Via(sender=received.sender, recipient=received.recipient, invitation=invitation)
    answers = await _ours(invitation, records)
    return _answering(answers, ids=(invitation,), connection=None, known=False, via=via)


async def _connected(received: Received, name: str, records: Records) -> Peer:
    record = await records.fetch(CONNECTION, name)
    if record is None or record["state"] == ABANDONED:
        raise BadEnvelopeError("a message for a connection that is no more")
    if record["their_key"] not in {None, received.sender}:
        raise BadEnvelopeError("the sender is not the peer of this connection")
    known = record["their_key"] is not None
    began = record.get("answered") or record["invitation"]
    ids = [name, *filter(None, [began]), *record.get("reused", ())]
    pthid = _parent(received.body)
    answers = None
    if known and pthid is not None and pthid not in ids:
        answers = await _ours(pthid, records)
        if answers is not None:
            ids.append(pthid)  # answered with this connection, without a handshake (RFC 0434)
    via = Via(sender=received.sender, recipient=received.recipient)
    return _answering(answers, ids=tuple(ids), connection=name, known=known, via=via)


def _answering(
    invitation: InvitationRecord | None,
    *,
    ids: tuple[str, ...],
    connection: str | None,
    known: bool,
    via: Via,
) -> Peer:
    return Peer(
        ids=ids,
        connection=connection,
        known=known,
        via=via,
        answers=invitation.id if invitation else None,
        closed=invitation.closed if invitation else None,
    )


async def _ours(name: str, records: Records) -> InvitationRecord | None:
    """Return an invitation that we made, or None."""
    record = await records.fetch(INVITATION, name)
    if record is None or record["direction"] != "ours":
        return None
    return InvitationRecord.model_validate(record)


def _parent(body: Json) -> str | None:
    thread = body.get("~thread")
    pthid = cast("Json", thread).get("pthid") if isinstance(thread, dict) else None
    return pthid if isinstance(pthid, str) else None
