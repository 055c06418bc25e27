"""Out-of-band 1.1 (Aries RFC 0434): an invitation as a link, a QR code or a text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self, cast
from typing import Protocol as Port

from pydantic import Field, ValidationError, model_validator

from keep_agent.core.machine import (
    START,
    Command,
    Consume,
    Data,
    Exchange,
    Expired,
    Protocol,
    Role,
    Step,
    Then,
    Write,
    rule,
)
from keep_agent.core.message import (
    PREFIX,
    Attachment,
    AttachmentData,
    Json,
    Message,
    ProblemReport,
    Thread,
    TypeUri,
    Wire,
    new_id,
)
from keep_agent.core.model_errors import explained
from keep_agent.core.times import TimeText, read_time, write_time
from keep_agent.core.untrusted_text import sanitize_text
from keep_agent.didcomm.invitation_urls import (
    ASK,
    MAX_INVITATION,
    link,
    minors_of,
    read_link,
    read_object,
)
from keep_agent.errors import (
    BadCommandError,
    NotNowError,
    PeerError,
    RefusedError,
)
from keep_agent.identity.connections import (
    CONNECTIONLESS,
    INVITATION,
    Address,
    Connection,
    ConnectionRecords,
    InvitationRecord,
)
from keep_agent.identity.did_choice import ForConnection, ForInvitation

URI = "https://didcomm.org/out-of-band/1.1"
DID_EXCHANGE = "didexchange/1"
ACCEPT = ("didcomm/aip1", "didcomm/aip2;env=rfc19")
MOST = 16
MOST_ATTACHED = 4
LONGEST_S = 10 * 365 * 24 * 3600

Word = Annotated[str, Field(max_length=1000)]
Version = Literal["didexchange/1.1", "didexchange/1.0"]


class Timing(Wire):
    """The `~timing` decorator (RFC 0032): until when the message is valid."""

    expires_time: TimeText | None = None


class Invitation(Message):
    """An invitation to connect or to answer a message; the one message that is not encrypted."""

    TYPE: ClassVar[str] = f"{URI}/invitation"
    label: str | None = None
    goal_code: str | None = None
    goal: str | None = None
    accept: Annotated[tuple[Word, ...], Field(max_length=MOST)] | None = None
    handshake_protocols: Annotated[tuple[Word, ...], Field(max_length=MOST)] | None = None
    requests__attach: Annotated[tuple[Attachment, ...], Field(max_length=MOST)] | None = None
    services: Annotated[tuple[str | Json, ...], Field(min_length=1, max_length=MOST)]
    timing: Timing | None = None


class HandshakeReuse(Message):
    """Proposes to use the connection that it is sent on instead of a new one."""

    TYPE: ClassVar[str] = f"{URI}/handshake-reuse"


class HandshakeReuseAccepted(Message):
    """Accepts that proposal."""

    TYPE: ClassVar[str] = f"{URI}/handshake-reuse-accepted"


class CreateInvitation(Command):
    """Create an invitation, for a person to show or send.

    Attributes:
        multi_use: any number of peers may use it; else one peer, once.
        did: how we stand in it: `key` (the key itself), `did:peer:2`, `did:peer:4`, `public`, or a public
            DID of ours; what the tenant has chosen, if not given.
        handshake_protocols: versions of DID exchange, preferred first; none: connectionless.
        attach: exchanges of ours whose first message is attached. They must have been started without a
            connection, and this exchange must be on the thread that is their `peer`.
        expires_in_s: seconds until it expires.
    """

    multi_use: bool = False
    did: ForInvitation | None = None
    handshake_protocols: tuple[Version, ...] = ("didexchange/1.1", "didexchange/1.0")
    attach: Annotated[tuple[str, ...], Field(max_length=MOST_ATTACHED)] = ()
    goal: Word | None = None
    goal_code: Word | None = None
    expires_in_s: Annotated[int, Field(gt=0, le=LONGEST_S)] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.multi_use and self.attach:
            raise ValueError("attached messages are for one peer: not with multi_use")
        if not self.handshake_protocols and not self.attach:
            raise ValueError("offer a handshake, or attach something, or both")
        return self


class ReceiveInvitation(Command):
    """Read an invitation; nothing is answered yet (SEC-O04).

    Attributes:
        invitation: the message; or
        url: the link that holds it in its parameter `oob`.
        alias: what our side calls the peer.
    """

    invitation: Json | None = None
    url: Annotated[str, Field(max_length=2 * MAX_INVITATION)] | None = None
    alias: str | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.invitation is None) == (self.url is None):
            raise ValueError("give exactly one of invitation and url")
        return self


class Accept(Command):
    """Answer the invitation: on an existing connection, on a new one, or without one.

    Attributes:
        reuse: use an existing connection with the inviter.
        did: our DID in a new connection, see DID exchange.
    """

    reuse: bool = True
    did: ForConnection | None = None


class SendRequest(Command):
    """The command of DID exchange that answers an invitation."""

    invitation: str
    alias: str | None = None
    did: str | None = None


class OutOfBand(Data):
    """What the API shows of an invitation; texts of the inviter are sanitized claims (SEC-O01).

    Attributes:
        invitation: id of the invitation.
        message: sender only: the invitation to show.
        url: sender only: the same as a link.
        first_message: sender only, where no connection is offered and one message is attached: that message
            by itself, which says where it is answered (RFC 0056), for peers without out-of-band.
        request: receiver only: type of the attached message that would be answered.
        handshake: whether a connection is offered.
        reusable: receiver only: the connection with the inviter that there was when the invitation was read;
            `accept` uses the newest there is, unless its `reuse` is false.
        did: receiver only: our choice of a DID, if a new connection must be made.
    """

    invitation: str = ""
    message: Json | None = None
    url: str | None = None
    first_message: Json | None = None
    label: str | None = None
    goal: str | None = None
    goal_code: str | None = None
    request: str | None = None
    handshake: bool = False
    reusable: str | None = None
    alias: str | None = None
    did: str | None = None


class Invitations(ConnectionRecords, Port):
    """Keys, DIDs and records for out-of-band."""

    def decorator(self, verkey: str) -> Json:
        """Return the `~service` by which one of our keys is reached (RFC 0056)."""
        ...

    async def attached(self, exchange: str) -> Json:
        """Return the first message of an exchange and its peer, as `{"message", "peer"}`.

        Raises:
            NotFoundError: there is no such exchange, or it has a peer already.
        """
        ...

    async def ours(self, name: str) -> InvitationRecord | None:
        """Return an invitation that we made, by its id, or None."""
        ...

    async def address(self, services: Sequence[str | Json]) -> Address:
        """Return how to reach the first service that we can use: inline ones, and DIDs.

        Raises:
            PeerError: none can be used.
        """
        ...

    async def known(self, inviter: str) -> Connection | None:
        """Return our newest connection with an inviter, by its DID or key, or None."""
        ...

    def starts(self, body: Json) -> bool:
        """Tell whether a message starts an exchange that only a known peer may start."""
        ...


class Side(Role):
    """Our role: who invites, and who is invited."""

    SENDER = "sender"
    RECEIVER = "receiver"


class State(StrEnum):
    """The states of the RFC.

    An invitation of ours stays in `await-response`; the connections and exchanges that name it show
    who answered it, and whether it is used up.
    """

    AWAIT_RESPONSE = "await-response"
    PREPARE_RESPONSE = "prepare-response"
    DONE = "done"


X = Exchange[OutOfBand]
Out = Step[OutOfBand]


async def create(x: X, cmd: CreateInvitation, port: Invitations) -> Out:
    """Create the invitation, its key and its record; its id is the thread id."""
    attached = [await port.attached(name) for name in cmd.attach]
    requests = tuple(_attach(each, x.thid, i) for i, each in enumerate(attached))
    ours = await port.own.for_invitation(x.thid, cmd.did)
    expires = time.time() + cmd.expires_in_s if cmd.expires_in_s else None
    message = Invitation(
        id=x.thid,
        label=port.label,
        goal=cmd.goal,
        goal_code=cmd.goal_code,
        accept=ACCEPT,
        handshake_protocols=tuple(PREFIX + name for name in cmd.handshake_protocols) or None,
        requests__attach=requests or None,
        services=(ours.service,),
        timing=Timing(expires_time=write_time(expires)) if expires else None,
    )
    record = InvitationRecord(
        id=x.thid,
        direction="ours",
        key=ours.verkey,
        did=ours.did,
        multi_use=cmd.multi_use,
        expires=expires,
        minors=minors_of(message.handshake_protocols or ()),
    )
    data = x.data.but(
        invitation=x.thid,
        message=message.wire(),
        url=link(port.own.endpoint, message.wire()),
        goal=cmd.goal,
        goal_code=cmd.goal_code,
        handshake=bool(cmd.handshake_protocols),
    )
    if not cmd.handshake_protocols and len(attached) == 1:
        service = port.decorator(ours.verkey)
        data = data.but(first_message={**attached[0]["message"], "~service": service})
    return Step(State.AWAIT_RESPONSE, data=data, writes=(*ours.writes, record.put(x.id)))


async def take_reuse(x: X, reuse: HandshakeReuse, port: Invitations) -> Out:
    """Let a known peer answer an invitation on its existing connection."""
    name = reuse.thread.pthid
    invitation = await port.ours(name) if name else None
    if invitation is None:
        raise RefusedError("this is not an invitation of ours", "e.p.req.invitation")
    if invitation.expired or not invitation.minors:
        raise RefusedError(
            "this invitation has expired, or offers no handshake", "e.p.req.expired"
        )
    if invitation.used:
        raise RefusedError("this invitation is used up", "e.p.req.used")
    assert x.connection is not None
    connection = await port.connection(x.connection)
    writes: list[Write] = [] if invitation.multi_use else [Consume(INVITATION, invitation.id)]
    new = invitation.id not in {connection.invitation, *connection.reused}
    if new and connection.state == "completed":  # else DID exchange still writes this record
        reused = (*connection.reused, invitation.id)[-MOST:]
        writes.append(connection.but(reused=reused).put())
    accepted = HandshakeReuseAccepted(thread=Thread(thid=x.thid, pthid=invitation.id))
    data = x.data.but(invitation=invitation.id)
    return Step(State.DONE, data=data, send=(accepted,), writes=tuple(writes))


async def receive(x: X, cmd: ReceiveInvitation, port: Invitations) -> Out:
    """Read an invitation and keep what an answer needs; the answer is a command of its own.

    The record belongs to this exchange: receiving another invitation, or the same one again, does
    not change it, whatever its id is (SEC-O10).
    """
    body = read_link(cmd.url) if cmd.url is not None else read_object(cmd.invitation or {})
    try:
        message = _parsed(body)
        record = InvitationRecord(
            id=message.id,
            direction="received",
            name=x.id,
            expires=read_time(message.timing.expires_time if message.timing else None),
            minors=minors_of(message.handshake_protocols or ()),
            label=sanitize_text(message.label),
            address=await port.address(message.services),
            request=_request_to_us(message, port),
        )
    except PeerError as error:
        raise BadCommandError(f"this invitation cannot be used: {error}") from error
    if await port.ours(message.id) is not None:
        raise BadCommandError("this invitation is one of ours")
    _check_usable(record, message.handshake_protocols or ())
    known = await port.known(record.inviter) if record.minors else None
    data = x.data.but(
        invitation=message.id,
        label=record.label,
        goal=sanitize_text(message.goal),
        goal_code=sanitize_text(message.goal_code),
        request=str(record.request["@type"]) if record.request else None,
        handshake=bool(record.minors),
        reusable=known.id if known else None,
        alias=cmd.alias,
    )
    minor = min(x.minor, TypeUri.parse(body["@type"]).minor)
    return Step(State.PREPARE_RESPONSE, data=data, writes=(record.put(x.id),), minor=minor)


async def accept(x: X, cmd: Accept, port: Invitations) -> Out:
    """Answer: on a connection with this inviter, else by a handshake, else connectionless.

    Raises:
        BadCommandError: the DID that a new connection would show cannot be used; nothing is changed.
    """
    invitation = await port.invitation(x.id)
    if invitation.expired:
        raise NotNowError("this invitation has expired")
    if not invitation.minors:
        return _connectionless(x, invitation, port)
    await port.own.check_for_connection(
        cmd.did
    )  # also for reuse: the inviter may not accept that
    known = await port.known(invitation.inviter) if cmd.reuse else None
    chosen = x.data.but(did=cmd.did)
    if known is None:
        return _handshake(replace(x, data=chosen))
    name = new_id()
    reuse = HandshakeReuse(id=name, thread=Thread(thid=name, pthid=invitation.id))
    return Step(State.AWAIT_RESPONSE, data=chosen, send=(reuse,), connection=known.id)


async def go_on(x: X, _msg: HandshakeReuseAccepted, port: Invitations) -> Out:
    """Use the existing connection: the attached message is handled as if it came on it."""
    invitation = await port.invitation(x.id)
    assert x.connection is not None
    connection = await port.connection(x.connection)
    writes: list[Write] = []
    new = invitation.id not in {connection.invitation, *connection.reused_for}
    if new and connection.state == "completed":  # it may have been abandoned meanwhile
        reused_for = (*connection.reused_for, invitation.id)[-MOST:]
        writes.append(connection.but(reused_for=reused_for).put())
    return Step(
        State.DONE,
        writes=tuple(writes),
        deliver=connection.as_received(invitation.request),
    )


async def make_new(x: X, why: ProblemReport | Expired, _port: Invitations) -> Out:
    """Make a new connection, as the RFC says: the inviter did not accept the existing one."""
    words = f": peer reports: {why.words}" if isinstance(why, ProblemReport) else ""
    return _handshake(x, f"the inviter did not accept the existing connection{words}")


def _handshake(x: X, words: str | None = None) -> Out:
    request = SendRequest(invitation=x.id, alias=x.data.alias, did=x.data.did)
    return Step(
        State.DONE, data=x.data, then=(Then(request, protocol=DID_EXCHANGE),), error=words
    )


def _connectionless(x: X, invitation: InvitationRecord, port: Invitations) -> Out:
    """Answer the attached message with a new key, and only to the inviter's service."""
    assert invitation.address is not None
    key = port.own.new_key({"connection": x.id})
    connection = Connection(
        id=x.id,
        state=CONNECTIONLESS,
        role=x.role,
        my_key=key.verkey,
        their_key=invitation.address.recipients[0],
        invitation=invitation.id,
        answered=x.id,
        service=port.decorator(key.verkey),
        label=invitation.label,
        alias=x.data.alias,
        created=x.created,
    ).at(invitation.address)
    return Step(
        State.DONE,
        writes=(key, connection.put(new=True)),
        connection=x.id,
        deliver=connection.as_received(invitation.request),
    )


# -- making an invitation --------------------------------------------------------------------------


def _attach(attached: Json, invitation: str, number: int) -> Attachment:
    if attached["peer"] != invitation:
        raise BadCommandError(
            f"this exchange can only be attached to an invitation on the thread {attached['peer']!r}"
        )
    body = cast("Json", attached["message"])
    thread = {**cast("Json", body.get("~thread", {})), "pthid": invitation}
    data = AttachmentData.model_validate({"json": {**body, "~thread": thread}})
    return Attachment(id=f"request-{number}", mime_type="application/json", data=data)


# -- reading an invitation -------------------------------------------------------------------------


def _parsed(body: Json) -> Invitation:
    uri = TypeUri.parse(body.get("@type"))
    if (uri.protocol, uri.name) != ("out-of-band/1", "invitation"):
        raise BadCommandError(f"invitations of {uri.protocol} are not supported: {ASK}")
    try:
        return Invitation.model_validate(body)
    except ValidationError as error:
        raise BadCommandError(f"this invitation cannot be read: {explained(error)}") from None


def _request_to_us(message: Invitation, port: Invitations) -> Json | None:
    """Return the first attached message that starts an exchange of ours, on its parent thread."""
    for attachment in message.requests__attach or ():
        body = attachment.content
        if isinstance(body, dict) and port.starts(cast("Json", body)):
            thread = cast("Json", body).get("~thread") or Json()
            if isinstance(thread, dict):
                return {**body, "~thread": {**cast("Json", thread), "pthid": message.id}}
    return None


def _check_usable(record: InvitationRecord, offered: Sequence[str]) -> None:
    if record.id.startswith("did:"):
        raise BadCommandError("SEC-O09: the id of an invitation must not be a DID")
    if record.expired:
        raise BadCommandError("this invitation has expired")
    if offered and not record.minors:
        names = ", ".join(filter(None, map(sanitize_text, offered)))
        raise BadCommandError(f"this invitation offers no handshake that we support: {names}")
    if not record.minors and record.request is None:
        raise BadCommandError("this invitation asks for nothing that we support")


# fmt: off
PROTOCOL: Protocol[Invitations] = Protocol(
    uri=URI, data=OutOfBand, port="out_of_band", expires_s=60, rules=(
    #    role           at                      on                      to                                do
    rule(Side.SENDER,   START,                  CreateInvitation,       State.AWAIT_RESPONSE,             create),
    rule(Side.SENDER,   START,                  HandshakeReuse,         State.DONE,                       take_reuse),
    rule(Side.RECEIVER, START,                  ReceiveInvitation,      State.PREPARE_RESPONSE,           receive),
    rule(Side.RECEIVER, State.PREPARE_RESPONSE, Accept,                 (State.AWAIT_RESPONSE, State.DONE), accept),
    rule(Side.RECEIVER, State.AWAIT_RESPONSE,   HandshakeReuseAccepted, State.DONE,                       go_on),
    rule(Side.RECEIVER, State.AWAIT_RESPONSE,   ProblemReport,          State.DONE,                       make_new),
    rule(Side.RECEIVER, State.AWAIT_RESPONSE,   Expired,                State.DONE,                       make_new),
))
# fmt: on
