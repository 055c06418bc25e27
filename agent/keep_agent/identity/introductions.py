"""What out-of-band and DID exchange ask of keys, DIDs and records; signed attachments (RFC 0017)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from typing import Protocol as Port

from keep_agent.core.machine import START, Consume, Exchange, Peer, Protocol, PutKey, Write
from keep_agent.core.message import (
    Attachment,
    AttachmentData,
    Json,
    Message,
    TypeUri,
    new_id,
    read_base64,
    read_json,
)
from keep_agent.errors import BadMessageError, NotFoundError, PeerError, RefusedError
from keep_agent.identity.connections import (
    CONNECTION,
    CONNECTIONLESS,
    INVITATION,
    Address,
    Connection,
    InvitationRecord,
    NewDid,
)
from keep_agent.identity.dids import (
    Did,
    Resolver,
    Service,
    create_peer4,
    inline_service,
    is_hash_of,
    is_made_of,
    read_did,
    read_document,
)
from keep_agent.identity.keys import (
    KEY_BYTES,
    Keys,
    NewKey,
    base58_key,
    did_key,
    raw_key,
    to_verkey,
    verify,
)

NO_ENDPOINT = "didcomm:transport/queue"
SERVICE_TYPE = "did-communication"
MOST_SERVICES = 4
"""How many services of an invitation are tried: each may cost reads of a ledger."""


class Records(Port):
    """What is read of the tenant's store; see `store.Profile`."""

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
        label: what we call ourselves.
        endpoint: URL that peers reach this tenant on.
        protocols: what is spoken, by `family/major`.
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
        self.endpoint = endpoint
        self._records = records
        self._keys = keys
        self._resolver = resolver
        self._protocols = protocols

    # -- records ---------------------------------------------------------------------------------

    async def ours(self, name: str) -> InvitationRecord | None:
        """Return an invitation that we made, by its id, or None."""
        found = await self._found(name)
        return found if found is not None and found.direction == "ours" else None

    async def invitation(self, name: str) -> InvitationRecord:
        """Return an invitation by our own name of it; of a public DID, the implicit one (RFC 0023).

        Raises:
            NotFoundError: there is none, or the DID leads nowhere.
        """
        if not name.startswith("did:"):
            found = await self._found(name)
            if found is None:
                raise NotFoundError(
                    f"no invitation {name!r}: name the out-of-band exchange that received it, or a "
                    "public DID"
                )
            return found
        try:
            address = await self.reach(name, None)
        except PeerError as error:
            raise NotFoundError(f"nobody is reached by {name!r}: {error}") from error
        return InvitationRecord(id=name, direction="received", minors=(1,), address=address)

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
        """Return our newest connection with an inviter, by its DID or key, or None."""
        for tag in ("inviter", "their_did"):
            found = await self._records.find(CONNECTION, {tag: inviter, "state": "completed"})
            if found:
                return Connection.model_validate(found[-1][1])
        return None

    async def attached(self, exchange: str) -> Json:
        """Return the first message of an exchange and its peer, as `{"message", "peer"}`.

        Raises:
            NotFoundError: there is no such exchange, or it has its peer already.
        """
        x = await self._records.exchange(exchange)
        held = next((out for out in x.out if out["connection"] is None), None) if x else None
        if x is None or x.connection is not None or held is None:
            raise NotFoundError(f"nothing to attach of an exchange {exchange!r}")
        return {"message": held["body"], "peer": x.peer}

    # -- keys and DIDs ---------------------------------------------------------------------------

    def new_key(self, purpose: Json) -> PutKey:
        """Make a key for a purpose, kept as its metadata; nothing is stored."""
        made = NewKey.generate(purpose)
        return PutKey(made.verkey, made.key, made.metadata)

    def new_did(self, connection: str) -> NewDid:
        """Make a did:peer:4 for a connection; nothing is stored."""
        key = self.new_key({"connection": connection})
        return NewDid(create_peer4(key.verkey, self.endpoint), key)

    def inline(self, verkey: str) -> Json:
        """Return the service of an invitation for one of our keys."""
        return {
            "id": "#inline",
            "type": SERVICE_TYPE,
            "recipientKeys": [did_key(verkey)],
            "serviceEndpoint": self.endpoint,
        }

    def decorator(self, verkey: str) -> Json:
        """Return the `~service` by which one of our keys is reached (RFC 0056)."""
        return {
            "recipientKeys": [verkey],
            "routingKeys": list[str](),
            "serviceEndpoint": self.endpoint,
        }

    async def address(self, services: Sequence[str | Json]) -> Address:
        """Return how to reach the first service that we can use: inline ones, and DIDs.

        Raises:
            PeerError: none of the first few can be used.
        """
        why: PeerError = RefusedError("there is no service")
        for service in services[:MOST_SERVICES]:
            try:
                if isinstance(service, str):
                    return await self.reach(service, None)
                return _address(inline_service({"type": SERVICE_TYPE, **service}), None)
            except PeerError as error:
                why = error
        raise why

    async def reach(self, did: str, document: Json | None) -> Address:
        """Return how to reach a DID, as its own method proves it (SEC-D01).

        A document that its claimant sends counts for a did:peer:1 that is its hash, and for an
        Indy DID that no ledger has and that is made of the key in it. The latter proves nothing
        of the DID, so the address does not name it.

        Args:
            document: what came with the DID, signed by somebody who may; about this very DID.

        Raises:
            PeerError: it cannot be resolved, is not proved, or does not say how to reach it.
        """
        name = read_did(did)
        if document is None:
            return _address((await self._resolver.resolve(name)).didcomm, did)
        given = read_document(document, name)
        if name.startswith("did:peer:1"):
            if not is_hash_of(name, document):
                raise RefusedError("SEC-D01: a did:peer:1 is not the hash of its document")
            return _address(given.didcomm, did)
        found = await self._resolver.find(name)
        if found is not None:
            return _address(found.didcomm, did)
        service = given.didcomm
        if not _pairwise(name) or not all(is_made_of(name, k) for k in service.recipient_keys):
            raise RefusedError("SEC-D01: a DID is not proved by a document that came with it")
        return _address(service, None)

    def starts(self, body: Json) -> bool:
        """Tell whether a message starts something that we speak with a peer whom we know."""
        try:
            uri = TypeUri.parse(body.get("@type"))
        except BadMessageError:
            return False
        protocol = self._protocols.get(uri.protocol)
        model = protocol.message(uri.name) if protocol else None
        if protocol is None or model is None or protocol.strangers:
            return False
        return protocol.starts(model) is not None

    # -- signed attachments ----------------------------------------------------------------------

    async def sign(self, verkey: str, content: bytes) -> Attachment:
        """Attach something as base64, signed with a key of ours.

        Raises:
            NotFoundError: the key is gone.
        """
        key = await self._keys.load(verkey)
        if key is None:
            raise NotFoundError("the key that must sign is gone")
        kid = did_key(verkey)
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": _url(raw_key(verkey)), "kid": kid}
        header = json.dumps({"alg": "EdDSA", "jwk": jwk}, separators=(",", ":"))
        protected = _url(header.encode())
        signature = key.sign(_signed(protected, content))
        jws: Json = {
            "header": {"kid": kid},
            "protected": protected,
            "signature": _url(signature),
        }
        data = AttachmentData(base64=base64.urlsafe_b64encode(content).decode(), jws=jws)
        return Attachment(id=new_id(), mime_type="text/string", data=data)

    def signer(self, attachment: Attachment) -> str:
        """Return the base58 key that signed an attachment.

        Raises:
            RefusedError: nobody did, or the signature is not good (SEC-E13).
        """
        return signer(attachment)


def signer(attachment: Attachment) -> str:
    """Return the base58 key that signed an attachment (RFC 0017, JWS with one signature).

    Raises:
        RefusedError: nobody did, or not with EdDSA, or the ids of the key contradict it, or the
            signature is not good.
    """
    jws = attachment.data.jws
    if jws is None or attachment.data.base64 is None:
        raise RefusedError("an attachment is not signed")
    try:
        protected, signature, header = _one_signature(jws)
        key = _signing_key(read_json(read_base64(protected)), header)
        good = verify(key, _signed(protected, attachment.raw), read_base64(signature))
    except (BadMessageError, KeyError, TypeError, AttributeError) as error:
        raise RefusedError("the signature of an attachment is malformed") from error
    if not good:
        raise RefusedError("the signature of an attachment is not good")
    return key


def _one_signature(jws: Json) -> tuple[str, str, Json]:
    several = jws.get("signatures")
    if several is not None:
        (jws,) = cast("list[Json]", several) if len(several) == 1 else ({},)
    return str(jws["protected"]), str(jws["signature"]), jws.get("header") or {}


def _signing_key(protected: Json, header: Json) -> str:
    """Return the key of a JWS; what else names a key must name the same one."""
    if protected.get("alg") != "EdDSA" or "crit" in protected:
        raise RefusedError("an attachment is not signed with EdDSA")
    jwk = cast("Json", protected["jwk"])
    raw = read_base64(jwk["x"])
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519" or len(raw) != KEY_BYTES:
        raise RefusedError("an attachment is signed with no Ed25519 key")
    key = base58_key(raw)
    for kid in (header.get("kid"), protected.get("kid"), jwk.get("kid")):
        if isinstance(kid, str) and kid.startswith("did:key:") and to_verkey(kid) != key:
            raise RefusedError("an attachment names two keys that signed it")
    return key


def _signed(protected: str, content: bytes) -> bytes:
    return f"{protected}.{_url(content)}".encode()


def _url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _address(service: Service, did: str | None) -> Address:
    endpoint = None if service.endpoint in {"", NO_ENDPOINT} else service.endpoint
    return Address(endpoint, service.recipient_keys, service.routing_keys, did)


def _pairwise(did: Did) -> bool:
    """Tell whether older agents make such DIDs for one connection, and write them on no ledger."""
    return did.startswith("did:sov:") or ":" not in did


def bind(
    x: Exchange[Any], peer: Peer, message: Message
) -> tuple[Exchange[Any], tuple[Write, ...]]:
    """Bind an exchange to whoever wrote first; from then on nobody else may (see `connectionless`)."""
    made = connectionless(x, peer, message)
    bound = replace(
        x,
        via=peer.via,
        connection=x.connection or peer.connection or (made.id if made else None),
        their_key=x.their_key or (None if peer.known else peer.via.sender),
    )
    return bound, taken(x, peer, made)


def taken(x: Exchange[Any], peer: Peer, made: Connection | None) -> tuple[Write, ...]:
    """Return what a message writes by which a peer takes a step of ours as its own (SEC-O11).

    Whoever answers first what was attached to an invitation uses it up: of several things that
    were attached, one is answered.
    """
    used = peer.answers if x.state != START and peer.takes(x) else None
    return (
        *((Consume(INVITATION, used),) if used is not None else ()),
        *((made.put(),) if made is not None else ()),
    )


def connectionless(x: Exchange[Any], peer: Peer, message: Message) -> Connection | None:
    """Return the connection that an answer to a request attached to our invitation makes.

    Only where there is none: a `~service` never changes one (SEC-O06).

    Raises:
        BadMessageError: the `~service` is malformed (RFC 0056).
    """
    if x.state == START or x.connection or peer.connection or message.service is None:
        return None
    address = _address(inline_service({"type": SERVICE_TYPE, **message.service}), None)
    if peer.via.sender not in address.recipients:
        raise RefusedError("a ~service for the key of somebody else")
    assert peer.via.recipient is not None
    return Connection(
        id=x.id,
        state=CONNECTIONLESS,
        role=x.role,
        my_key=peer.via.recipient,
        their_key=peer.via.sender,
        invitation=peer.via.invitation,
        created=x.created,
    ).at(address)
