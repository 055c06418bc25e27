"""Who sent a message: the peer is found by the keys of its envelope, never by what it says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from typing import Protocol as Port

from keep_agent.core.machine import ABANDONED, Exchange, Peer, Via
from keep_agent.core.message import Json, Message, Received, thread_decorator
from keep_agent.errors import BadEnvelopeError
from keep_agent.identity.connections import (
    CONNECTION,
    CONNECTIONLESS,
    INVITATION,
    InvitationRecord,
)
from keep_agent.identity.public_dids import OWN_DID, PUBLIC_DID, pair

MOST_ALIKE = 8
"""How many connections between the same DID of ours and the same key of a peer are looked at, newest first."""

MOST_LEDGERS = 100


class Records(Port):
    """What identification reads; see `store.Profile`."""

    async def fetch(self, category: str, name: str) -> Json | None:
        """Return a record, or None."""
        ...

    async def records(
        self, category: str, tags: dict[str, str] | None, offset: int, limit: int
    ) -> list[tuple[str, Json]]:
        """Return some records that carry these tags, newest first."""
        ...

    async def exchanges(
        self, tag: str, value: str, limit: int | None = None
    ) -> list[Exchange[Any]]:
        """Return exchanges by a tag."""
        ...


async def identify(
    received: Received, metadata: Callable[[str], Awaitable[Json | None]], records: Records
) -> Peer:
    """Find out who sent a message.

    Raises:
        BadEnvelopeError: it has no sender, or its sender is not the peer of the connection
            (SEC-E01, SEC-E02), or it came to a key of ours that is not for messages.
        BadMessageError: its thread is malformed.
    """
    if received.sender is None:
        raise BadEnvelopeError("a message without an authenticated sender")
    purpose = await metadata(received.recipient) or {}
    if "connection" in purpose:
        return await _connected(received, purpose["connection"], records)
    if OWN_DID in purpose:
        return await _of_public_did(received, str(purpose[OWN_DID]), records)
    if "invitation" not in purpose:
        raise BadEnvelopeError("a message to a key that is not for messages")
    invitation = str(purpose["invitation"])
    via = Via(sender=received.sender, recipient=received.recipient, invitation=invitation)
    answers = await _ours(invitation, records)
    return _answering(answers, ids=(invitation,), via=via, connectionless=True)


async def _connected(received: Received, name: str, records: Records) -> Peer:
    record = await records.fetch(CONNECTION, name)
    if record is None or record["state"] == ABANDONED:
        raise BadEnvelopeError("a message for a connection that does not exist any more")
    if record["their_key"] not in {None, received.sender}:
        raise BadEnvelopeError("the sender is not the peer of this connection")
    via = Via(sender=received.sender, recipient=received.recipient)
    return await _of([record], received, records, via)


async def _of_public_did(received: Received, did: str, records: Records) -> Peer:
    """Find the peer of a message to a key that serves many connections, by that key's DID and theirs.

    Until a peer has answered, its key is not known: then the thread of our request leads to it, and what
    the answer says is believed by its signature alone.
    """
    begun = await records.exchanges("thid", Message.thread_of(received.body), MOST_ALIKE)
    invitation = await _invited(received, did, begun, records)
    via = Via(
        sender=received.sender,
        recipient=received.recipient,
        invitation=invitation.id if invitation else None,
        did=did,
    )
    asked = await _asked(received, begun, records)
    if asked is not None:
        return await _of([asked], received, records, via)
    alike = {"pair": str(pair(did, received.sender))}
    found = await records.records(CONNECTION, alike, 0, MOST_ALIKE)
    alive = [record for _, record in found if record["state"] != ABANDONED]
    if alive:
        return await _of(alive, received, records, via)
    if invitation is not None:
        return _answering(invitation, ids=(invitation.id,), via=via, connectionless=True)
    public = await records.records(PUBLIC_DID, None, 0, MOST_LEDGERS)
    if all(record["did"] != did for _, record in public):
        raise BadEnvelopeError("a message to a key that is not for messages")
    return _answering(None, ids=(did,), via=via)


async def _invited(
    received: Received, did: str, begun: Sequence[Exchange[Any]], records: Records
) -> InvitationRecord | None:
    """Return the invitation with this DID that a message names, or on whose attached message it answers."""
    pthid = _parent(received.body)
    for name in [pthid] if pthid else [x.peer for x in begun if x.connection is None]:
        invitation = await _ours(name, records)
        if invitation is not None and invitation.did == did:
            return invitation
    return None


async def _asked(
    received: Received, begun: Sequence[Exchange[Any]], records: Records
) -> Json | None:
    """Return the connection for which we asked on this thread, if nobody has answered yet."""
    for x in begun:
        record = await records.fetch(CONNECTION, x.connection) if x.connection else None
        if record is None or record["state"] == ABANDONED or record["their_key"] is not None:
            continue
        if record["my_key"] == received.recipient and record["my_did"] is not None:
            return record
    return None


async def _of(alike: Sequence[Json], received: Received, records: Records, via: Via) -> Peer:
    """Return the peer of these connections, newest first: the same keys prove all of them."""
    newest = alike[0]
    known = newest["their_key"] is not None
    ids: list[str] = []
    for record in alike:
        began = record.get("answered") or record["invitation"]
        ids += [record["id"], *filter(None, [began]), *record.get("reused", ())]
    pthid = _parent(received.body)
    answers = None
    if known and pthid is not None and pthid not in ids:
        answers = await _ours(pthid, records)
        if answers is not None:
            ids.append(pthid)  # answered on this connection, without a handshake (RFC 0434)
    others = tuple(record["id"] for record in alike[1:])
    name = str(newest["id"])
    return _answering(
        answers,
        ids=tuple(ids),
        connection=name,
        others=others,
        known=known,
        via=via,
        connectionless=newest["state"] == CONNECTIONLESS,
    )


def _answering(
    invitation: InvitationRecord | None,
    *,
    ids: tuple[str, ...],
    via: Via,
    connection: str | None = None,
    others: tuple[str, ...] = (),
    known: bool = False,
    connectionless: bool = False,
) -> Peer:
    return Peer(
        ids=ids,
        connection=connection,
        others=others,
        known=known,
        via=via,
        answers=invitation.id if invitation else None,
        closed=invitation.closed if invitation else None,
        connectionless=connectionless,
    )


async def _ours(name: str, records: Records) -> InvitationRecord | None:
    """Return an invitation that we made, or None."""
    record = await records.fetch(INVITATION, name)
    if record is None or record["direction"] != "ours":
        return None
    return InvitationRecord.model_validate(record)


def _parent(body: Json) -> str | None:
    pthid = thread_decorator(body).get("pthid")
    return pthid if isinstance(pthid, str) else None
