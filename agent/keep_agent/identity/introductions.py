"""Records, addresses and DIDs for out-of-band and DID exchange."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from typing import Protocol as Port

from keep_agent.core.machine import START, Consume, Exchange, Peer, Protocol, Write
from keep_agent.core.message import Attachment, Json, Message, TypeUri
from keep_agent.errors import BadMessageError, NotFoundError, PeerError, RefusedError
from keep_agent.identity.connections import (
    CONNECTION,
    CONNECTIONLESS,
    INVITATION,
    Address,
    Connection,
    InvitationRecord,
)
from keep_agent.identity.did_documents import (
    NO_ENDPOINT,
    Service,
    inline_service,
    priority,
    read_document,
)
from keep_agent.identity.did_resolver import Found, Resolver
from keep_agent.identity.dids import Did, is_made_of, read_did
from keep_agent.identity.keys import Keys
from keep_agent.identity.own_dids import SERVICE_TYPE, OwnDids
from keep_agent.identity.peer_dids import is_hash_of
from keep_agent.identity.public_dids import MOST_UNANSWERED
from keep_agent.identity.signed_attachments import signer

MOST_DIDS = 4
"""How many DIDs among the services of an invitation are tried: each may need reads of a ledger."""
COMMITTED_S = 10.0
"""How long an implicit request that was taken counts although its commit is not seen yet."""


class Records(Port):
    """Reads of the tenant's store; see `store.Profile`."""

    async def fetch(self, category: str, name: str) -> Json | None:
        """Return a record, or None."""
        ...

    async def exchange(self, name: str) -> Exchange[Any] | None:
        """Return an exchange, or None."""
        ...

    async def find(
        self, category: str, tags: dict[str, str] | None = None, limit: int | None = None
    ) -> list[tuple[str, Json]]:
        """Return (name, record) of all that carry these tags, oldest first."""
        ...


class Introductions:
    """Implements the ports of out-of-band and DID exchange for one tenant; stores nothing.

    Args:
        label: ours.
        endpoint: URL that peers reach this tenant on.
        protocols: those that are supported, by `family/major`.
    """

    def __init__(
        self,
        records: Records,
        keys: Keys,
        resolver: Resolver,
        *,
        label: str,
        endpoint: str,
        protocols: Mapping[str, Protocol[Any]],
    ) -> None:
        self.label = label
        self.own = OwnDids(records, keys, resolver, endpoint)
        self._records = records
        self._resolver = resolver
        self._protocols = protocols
        self._taken: dict[str, float] = {}

    # -- records ---------------------------------------------------------------------------------

    async def ours(self, name: str) -> InvitationRecord | None:
        """Return an invitation that we made, by its id, or None."""
        found = await self._found(name)
        return found if found is not None and found.direction == "ours" else None

    async def invitation(self, name: str) -> InvitationRecord:
        """Return an invitation by our own name of it; of a public DID, the implicit one (RFC 0023).

        Raises:
            NotFoundError: there is none, or the DID cannot be resolved.
        """
        found = None if name.startswith("did:") else await self._found(name)
        if found is not None:
            return found
        try:
            did = read_did(name)
        except BadMessageError as error:
            raise NotFoundError(
                f"no invitation {name!r}: name the out-of-band exchange that received it, or a public DID"
            ) from error
        shown = did if did.startswith("did:") else f"did:sov:{did}"
        try:
            address = await self.reach(shown, None)
        except PeerError as error:
            raise NotFoundError(f"{name!r} cannot be reached: {error}") from error
        return InvitationRecord(id=shown, direction="received", minors=(1,), address=address)

    async def check_implicit(self, did: str, pthid: str | None) -> None:
        """Check that a request to a public DID of ours is taken without an invitation.

        Raises:
            RefusedError: it is not, it names something else, or too many wait for an answer.
        """
        code = "request_not_accepted"
        ours = next((each for each in await self.own.public() if each.did == did), None)
        if ours is None or not ours.implicit_requests:
            raise RefusedError("a request must answer an invitation", code)
        if pthid is not None and not ours.is_named(pthid):
            raise RefusedError("a request for an invitation that we do not know", code)
        await self._check_room(None)

    async def take_implicit(self, connection: str) -> None:
        """Count a request to a public DID of ours that is taken, until its commit is seen.

        Requests come at the same time. Several processes on one store do not see this of each other.

        Args:
            connection: id of the connection that is made.

        Raises:
            RefusedError: too many wait for an answer.
        """
        await self._check_room(connection)
        self._taken[connection] = time.monotonic()

    async def _check_room(self, connection: str | None) -> None:
        for name, at in list(self._taken.items()):
            committed = await self._records.fetch(CONNECTION, name) is not None
            if committed or time.monotonic() - at > COMMITTED_S:
                self._taken.pop(name, None)
        waiting = set(self._taken)
        found = await self._records.find(
            CONNECTION, {"unanswered": "implicit"}, MOST_UNANSWERED
        )
        waiting |= {*(name for name, _ in found), *self._taken}
        if len(waiting - {connection}) >= MOST_UNANSWERED:
            words = "SEC-D06: too many requests wait for an answer; ask again later"
            raise RefusedError(words, "request_not_accepted")

    async def _found(self, name: str) -> InvitationRecord | None:
        record = await self._records.fetch(INVITATION, name)
        return InvitationRecord.model_validate(record) if record else None

    async def connection(self, name: str) -> Connection:
        """Return a connection.

        Raises:
            NotFoundError: there is none.
        """
        record = await self._records.fetch(CONNECTION, name)
        if record is None:
            raise NotFoundError(f"no connection {name!r}")
        return Connection.model_validate(record)

    async def known(self, inviter: str) -> Connection | None:
        """Return our newest connection with an inviter, by `InvitationRecord.inviter`, or None."""
        for tag in ("inviter", "known_as"):
            found = await self._records.find(CONNECTION, {tag: inviter, "state": "completed"})
            if found:
                return Connection.model_validate(found[-1][1])
        return None

    async def attached(self, exchange: str) -> Json:
        """Return the first message of an exchange and its peer, as `{"message", "peer"}`.

        Raises:
            NotFoundError: there is no such exchange, or it has a peer already.
        """
        x = await self._records.exchange(exchange)
        held = next((out for out in x.out if out["connection"] is None), None) if x else None
        if x is None or x.connection is not None or held is None:
            raise NotFoundError(f"exchange {exchange!r} has no message to attach")
        return {"message": held["body"], "peer": x.peer}

    # -- addresses -------------------------------------------------------------------------------

    def decorator(self, verkey: str) -> Json:
        """Return the `~service` by which one of our keys is reached (RFC 0056)."""
        return {
            "recipientKeys": [verkey],
            "routingKeys": list[str](),
            "serviceEndpoint": self.own.endpoint,
        }

    async def address(self, services: Sequence[str | Json]) -> Address:
        """Return how to reach the first service that we can use: inline ones by priority, and DIDs.

        Raises:
            PeerError: none can be used, of the DIDs none of the first few; says what the first lacks.
        """
        why: PeerError | None = None
        dids = [service for service in services if isinstance(service, str)][:MOST_DIDS]
        for service in sorted(services, key=_rank):
            try:
                if not isinstance(service, str):
                    return _address(inline_service(_typed(service)), None)
                if service in dids:
                    return await self.reach(service, None)
            except PeerError as error:
                why = why or error
        raise why or RefusedError("there is no service")

    async def reach(self, did: str, document: Json | None) -> Address:
        """Return how to reach a DID, as its own method proves it (SEC-D01).

        A document that comes with the DID is accepted for a did:peer:1 that is its hash, and for an
        Indy DID that is on no ledger and is derived from the key in it. The latter does not prove
        the DID, so the address does not name it.

        Args:
            document: the one that came with the DID, signed by a key that may; about this DID.

        Raises:
            PeerError: it cannot be resolved, is not proved, or does not say how to reach it.
        """
        name = read_did(did)
        if document is None:
            return _found_address(await self._resolver.resolve(name), did)
        given = read_document(document, name)
        if name.startswith("did:peer:1"):
            if not is_hash_of(name, document):
                raise RefusedError("SEC-D01: a did:peer:1 is not the hash of its document")
            return _address(given.didcomm, did, did)
        found = await self._resolver.find(name)
        if found is not None:
            return _found_address(found, did)
        service = given.didcomm
        if not _pairwise(name) or not all(is_made_of(name, k) for k in service.recipient_keys):
            raise RefusedError("SEC-D01: a DID is not proved by a document that came with it")
        return _address(service, None)

    def starts(self, body: Json) -> bool:
        """Tell whether a message starts an exchange that only a known peer may start."""
        try:
            uri = TypeUri.parse(body.get("@type"))
        except BadMessageError:
            return False
        protocol = self._protocols.get(uri.protocol)
        model = protocol.message(uri.name) if protocol else None
        if protocol is None or model is None or protocol.strangers:
            return False
        return protocol.starts(model) is not None

    def signer(self, attachment: Attachment) -> str:
        """Return the base58 key that signed an attachment (see `signed_attachments`)."""
        return signer(attachment)


def _found_address(found: Found, did: str) -> Address:
    return _address(found.document.didcomm, did, found.known_as)


def _address(service: Service, did: str | None, known_as: str | None = None) -> Address:
    endpoint = None if service.endpoint in {"", NO_ENDPOINT} else service.endpoint
    return Address(endpoint, service.recipient_keys, service.routing_keys, did, known_as)


def _typed(service: Json) -> Json:
    """Return an inline service with a type: one that names none is for DIDComm."""
    return {**service, "type": service.get("type") or SERVICE_TYPE}


def _rank(service: str | Json) -> float:
    return 0 if isinstance(service, str) else priority(service)


def _pairwise(did: Did) -> bool:
    """Tell whether older agents make such DIDs for one connection, without a ledger."""
    return did.startswith("did:sov:") or ":" not in did


def bind(
    x: Exchange[Any],
    peer: Peer,
    message: Message,
    decorator: Callable[[str], Json] | None = None,
) -> tuple[Exchange[Any], tuple[Write, ...]]:
    """Bind an exchange to the peer that wrote first; from then on no other peer may write.

    Args:
        decorator: returns the `~service` by which one of our keys is reached.
    """
    made = connectionless(x, peer, message)
    if made is not None and decorator is not None:
        made = made.but(service=decorator(made.my_key))
    begins = x.state == START or peer.connectionless
    bound = replace(
        x,
        via=peer.via,
        parent=made.invitation if made else x.parent if begins else None,
        connection=x.connection or peer.connection or (made.id if made else None),
        their_key=x.their_key or (None if peer.known else peer.via.sender),
    )
    return bound, taken(x, peer, made)


def taken(x: Exchange[Any], peer: Peer, made: Connection | None) -> tuple[Write, ...]:
    """Return the writes for a message that binds an exchange of ours to its sender (SEC-O11).

    The first answer to a message that was attached to an invitation uses up the invitation: of
    several attached messages, only one is answered.
    """
    used = peer.answers if x.state != START and peer.takes(x) else None
    return (
        *((Consume(INVITATION, used),) if used is not None else ()),
        *((made.put(),) if made is not None else ()),
    )


def connectionless(x: Exchange[Any], peer: Peer, message: Message) -> Connection | None:
    """Return the connection that an answer to a request attached to our invitation makes.

    Only if there is none yet: a `~service` never changes a connection (SEC-O06).

    Raises:
        BadMessageError: the `~service` is malformed (RFC 0056).
    """
    if x.state == START or x.connection or peer.connection or message.service is None:
        return None
    address = _address(inline_service(_typed(message.service)), None)
    if peer.via.sender not in address.recipients:
        raise RefusedError("a ~service with the key of another agent")
    assert peer.via.recipient is not None
    return Connection(
        id=x.id,
        state=CONNECTIONLESS,
        role=x.role,
        my_key=peer.via.recipient,
        my_did=peer.via.did,
        their_key=peer.via.sender,
        invitation=peer.via.invitation,
        created=x.created,
    ).at(address)
