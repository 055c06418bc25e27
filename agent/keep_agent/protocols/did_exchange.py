"""DID exchange 1.1 (Aries RFC 0023): two agents exchange the DIDs of their connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Any, ClassVar, cast
from typing import Protocol as Port

from pydantic import Field

from keep_agent.core.machine import (
    ABANDONED,
    START,
    Command,
    Consume,
    Data,
    Exchange,
    Expired,
    Protocol,
    Refused,
    ReportProblem,
    Role,
    Rule,
    Step,
    Write,
    rule,
)
from keep_agent.core.message import Attachment, Id, Json, Message, ProblemReport, Thread
from keep_agent.core.untrusted_text import sanitize_text
from keep_agent.errors import NotNowError, PeerError, RefusedError
from keep_agent.identity.connections import (
    INVITATION,
    Address,
    Connection,
    ConnectionRecords,
)
from keep_agent.identity.did_choice import ForConnection, NewDid

URI = "https://didcomm.org/didexchange/1.1"
DAY_S = 24 * 3600
MAX_DID = 4096

DidText = Annotated[str, Field(min_length=1, max_length=MAX_DID)]


class Request(Message):
    """The requester sends its DID, in answer to an invitation."""

    TYPE: ClassVar[str] = f"{URI}/request"
    label: str | None = None
    goal: str | None = None
    goal_code: str | None = None
    did: DidText
    did_doc__attach: Attachment | None = None


class Response(Message):
    """The responder sends its DID, signed with a key of the invitation."""

    TYPE: ClassVar[str] = f"{URI}/response"
    did: DidText
    did_doc__attach: Attachment | None = None
    did_rotate__attach: Attachment | None = None


class Complete(Message):
    """The requester has the responder's DID."""

    TYPE: ClassVar[str] = f"{URI}/complete"


class SendRequest(Command):
    """Answer an invitation.

    Attributes:
        invitation: id of the out-of-band exchange that received it, or a public DID: an implicit
            invitation.
        alias: what our side calls the peer.
        did: our own DID in the connection: `did:peer:2`, `did:peer:4`, `public`, or a public DID of ours;
            what the tenant has chosen, if not given.
    """

    invitation: Id
    alias: str | None = None
    did: ForConnection | None = None

    def peer(self) -> str:
        """Return the invitation, as there is no connection yet."""
        return self.invitation


class SendResponse(Command):
    """Accept the requester as a peer.

    Attributes:
        did: our own DID in the connection, as in `SendRequest`.
    """

    alias: str | None = None
    did: ForConnection | None = None


class DidExchange(Data):
    """What is kept: the keys that bind it to its invitation, and the peer's texts.

    Attributes:
        inviter_keys: requester only: one of these must sign for the DID in the response.
        invitation_key: responder only: signs for the DID in our response.
        implicit: requester only: we asked a public DID, without an invitation.
    """

    inviter_keys: tuple[str, ...] = ()
    invitation_key: str | None = None
    implicit: bool = False
    label: str | None = None
    goal: str | None = None
    goal_code: str | None = None


class Handshake(ConnectionRecords, Port):
    """Keys, DIDs and records for DID exchange."""

    async def check_implicit(self, did: str, pthid: str | None) -> None:
        """Check that a request to a public DID of ours is taken without an invitation.

        Raises:
            RefusedError: it is not, it names something else, or too many wait for an answer.
        """
        ...

    async def take_implicit(self, connection: str) -> None:
        """Count such a request that is taken, by the id of the connection that is made.

        Raises:
            RefusedError: too many wait for an answer.
        """
        ...

    async def reach(self, did: str, document: Json | None) -> Address:
        """Return how to reach a DID, as its own method proves it (SEC-D01).

        Args:
            document: the one that came with the DID, signed by a key that may; about this DID.

        Raises:
            PeerError: it cannot be resolved, is not proved, or does not say how to reach it.
        """
        ...

    def signer(self, attachment: Attachment) -> str:
        """Return the base58 key that signed an attachment.

        Raises:
            RefusedError: it is not signed, or the signature is wrong (SEC-E13).
        """
        ...


class Side(Role):
    """Our role: who answers the invitation, and who made it."""

    REQUESTER = "requester"
    RESPONDER = "responder"


class State(StrEnum):
    """The states of the RFC."""

    REQUEST_SENT = "request-sent"
    REQUEST_RECEIVED = "request-received"
    RESPONSE_SENT = "response-sent"
    COMPLETED = "completed"
    ABANDONED = ABANDONED


X = Exchange[DidExchange]
Out = Step[DidExchange]


async def send_request(x: X, cmd: SendRequest, port: Handshake) -> Out:
    """Send our DID to the inviter."""
    invitation = await port.invitation(cmd.invitation)
    if invitation.direction != "received" or invitation.address is None:
        raise NotNowError("we made this invitation ourselves")
    if invitation.expired or not invitation.minors:
        raise NotNowError("this invitation has expired, or offers no DID exchange")
    ours = await port.own.for_connection(x.id, cmd.did)
    connection = Connection(
        id=x.id,
        state=State.REQUEST_SENT,
        role=x.role,
        my_key=ours.verkey,
        my_did=ours.did,
        invitation=invitation.id,
        answered=cmd.invitation,
        inviter=invitation.inviter,
        label=invitation.label,
        alias=cmd.alias,
        created=x.created,
    ).at(invitation.address)
    request = Request(label=port.label, did=ours.did, thread=Thread(pthid=invitation.id))
    return Step(
        State.REQUEST_SENT,
        data=x.data.but(
            inviter_keys=invitation.address.recipients,
            label=invitation.label,
            implicit=invitation.id.startswith("did:"),
        ),
        send=(request,),
        writes=(*ours.writes, connection.put(new=True)),
        connection=x.id,
        minor=min(x.minor, invitation.minors[0]),
    )


async def keep_request(x: X, request: Request, port: Handshake) -> Out:
    """Check the requester, and use up the invitation; until we respond, its key is our key."""
    invitation, used = await _answered(x, request, port)
    signers = {x.via.sender}
    document, _ = _document(request.did_doc__attach, signers, port, "request_not_accepted")
    address = await port.reach(request.did, document)
    if x.via.sender not in address.recipients:
        raise RefusedError("this DID is not the sender's", "request_not_accepted")
    if x.via.invitation is None:
        await port.take_implicit(x.id)
    assert x.via.recipient is not None
    label = sanitize_text(request.label)
    connection = Connection(
        id=x.id,
        state=State.REQUEST_RECEIVED,
        role=x.role,
        my_key=x.via.recipient,
        their_key=x.via.sender,
        invitation=invitation,
        implicit=x.via.invitation is None,
        label=label,
        created=x.created,
    ).at(address)
    data = x.data.but(
        invitation_key=x.via.recipient,
        label=label,
        goal=sanitize_text(request.goal),
        goal_code=sanitize_text(request.goal_code),
    )
    return Step(
        State.REQUEST_RECEIVED,
        data=data,
        writes=(connection.put(new=True), *used),
        connection=x.id,
    )


async def send_response(x: X, cmd: SendResponse, port: Handshake) -> Out:
    """Send our DID to the requester, signed with the key of the invitation."""
    connection = await port.connection(x.id)
    assert x.data.invitation_key is not None
    if connection.my_did is None or cmd.did is not None:
        ours = await port.own.for_connection(x.id, cmd.did)
    else:  # made when the request came, as earlier versions did
        ours = NewDid(connection.my_did, connection.my_key)
    response = Response(
        did=ours.did,
        did_rotate__attach=await port.own.vouch(x.data.invitation_key, ours),
        thread=Thread(thid=x.thid, pthid=x.pthid or connection.invitation),
    )
    connection = connection.but(
        state=State.RESPONSE_SENT, alias=cmd.alias, my_key=ours.verkey, my_did=ours.did
    )
    writes = (*ours.writes, connection.put())
    return Step(State.RESPONSE_SENT, send=(response,), writes=writes)


async def keep_response(x: X, response: Response, port: Handshake) -> Out:
    """Check that the inviter signed for this DID; handle the message attached to the invitation."""
    connection = await port.connection(x.id)
    try:
        address, signed_by = await _verified_address(x, response, port)
    except PeerError as error:
        problem = ProblemReport.of("response_not_accepted", str(error))
        return _abandoned(connection, str(error), (problem,))
    by_key = connection.inviter in x.data.inviter_keys  # of several keys, the one that signed
    connection = connection.at(
        address,
        state=State.COMPLETED,
        their_key=x.via.sender,
        inviter=signed_by if by_key else connection.inviter,
    )
    complete = Complete(thread=Thread(thid=x.thid, pthid=connection.invitation))
    return Step(
        State.COMPLETED,
        send=(complete,),
        writes=(connection.put(),),
        deliver=connection.as_received(await _attached(x, port)),
    )


async def finish(x: X, _complete: Complete, port: Handshake) -> Out:
    """Note that the requester has our DID."""
    connection = await port.connection(x.id)
    return Step(State.COMPLETED, writes=(connection.but(state=State.COMPLETED).put(),))


async def note_problem(x: X, report: ProblemReport, port: Handshake) -> Out:
    """Note that the peer ended the exchange."""
    return _abandoned(await port.connection(x.id), f"peer reports: {report.words}")


async def report_problem(x: X, cmd: ReportProblem, port: Handshake) -> Out:
    """End the exchange with a problem report."""
    code = _NOT_ACCEPTED[x.role] if cmd.code == "abandoned" else cmd.code
    problem = ProblemReport.of(code, cmd.comment)
    return _abandoned(await port.connection(x.id), cmd.comment or code, (problem,))


async def refuse(x: X, cmd: Refused, port: Handshake) -> Out:
    """End the exchange after a failed check of what the peer sent."""
    problem = ProblemReport.of(cmd.code, cmd.reason)
    return _abandoned(await port.connection(x.id), cmd.reason, (problem,))


async def expire(x: X, _cmd: Expired, port: Handshake) -> Out:
    """End an exchange that waited too long."""
    words = "the exchange waited too long"
    problem = ProblemReport.of(_NOT_ACCEPTED[x.role], words)
    return _abandoned(await port.connection(x.id), words, (problem,))


_NOT_ACCEPTED = {
    Side.REQUESTER.value: "response_not_accepted",
    Side.RESPONDER.value: "request_not_accepted",
}


def _abandoned(connection: Connection, words: str, send: tuple[ProblemReport, ...] = ()) -> Out:
    """End the exchange and its connection, which takes no more messages."""
    writes = (connection.but(state=State.ABANDONED).put(),)
    return Step(State.ABANDONED, send=send, writes=writes, error=words)


async def _attached(x: X, port: Handshake) -> Json | None:
    """Return the message that was attached to the invitation that we answered."""
    return None if x.data.implicit else (await port.invitation(x.peer)).request


async def _answered(x: X, request: Request, port: Handshake) -> tuple[str, tuple[Write, ...]]:
    """Return the id of the invitation that a request answers, and what uses it up (SEC-O02, SEC-O03).

    Of an implicit invitation the id is our public DID.
    """
    code = "request_not_accepted"
    if x.via.invitation is None and x.via.did is not None:
        await port.check_implicit(x.via.did, request.thread.pthid)
        return x.via.did, ()
    if x.via.invitation is None or x.via.sender is None:
        raise RefusedError("a request must answer an invitation", code)
    if request.thread.pthid not in {None, x.via.invitation}:
        raise RefusedError("a request to the key of another invitation", code)
    invitation = await port.invitation(x.via.invitation)
    if invitation.direction != "ours" or not invitation.minors:
        raise RefusedError("this invitation offers no DID exchange", code)
    if invitation.closed is not None:
        raise RefusedError(invitation.closed, code)
    return invitation.id, () if invitation.multi_use else (Consume(INVITATION, invitation.id),)


async def _verified_address(x: X, response: Response, port: Handshake) -> tuple[Address, str]:
    """Return the responder's address, and the key of the invitation that signed for its DID.

    A signature counts only for the DID that it covers, alone or in its document (SEC-E13, SEC-D02).
    """
    code = "response_not_accepted"
    keys = set(x.data.inviter_keys)
    document, signed_by = _document(response.did_doc__attach, keys, port, code)
    rotate = response.did_rotate__attach
    if rotate is not None:
        signed_by = _signer(rotate, keys, port, code)
        if rotate.raw.decode("utf-8", "replace") != response.did:
            raise RefusedError("the signature is for another DID", code)
    signed_by = signed_by or x.via.sender or ""
    if signed_by not in keys:
        raise RefusedError("this DID is not signed by a key of the invitation", code)
    address = await port.reach(response.did, document)
    if x.via.sender not in address.recipients:
        raise RefusedError("this DID is not the sender's", code)
    return address, signed_by


def _document(
    attachment: Attachment | None, signers: set[Any], port: Handshake, code: str
) -> tuple[Json | None, str | None]:
    """Return the attached DID document and which of these keys signed it, or None twice."""
    if attachment is None:
        return None, None
    key = _signer(attachment, signers, port, code)
    content = attachment.content
    if not isinstance(content, dict):
        raise RefusedError("a DID document must be a JSON object", code)
    return cast("Json", content), key


def _signer(attachment: Attachment, signers: set[Any], port: Handshake, code: str) -> str:
    key = port.signer(attachment)
    if key not in signers:
        raise RefusedError("an attachment is signed with another key", code)
    return key


_Do = Callable[[X, Any, Handshake], Awaitable[Out]]
_ENDS: tuple[tuple[type[Any], _Do], ...] = (
    (ProblemReport, note_problem),
    (ReportProblem, report_problem),
    (Refused, refuse),
    (Expired, expire),
)


def _ending(role: str, at: str) -> tuple[Rule[Handshake], ...]:
    """Return the rows by which either side, or a deadline, ends a handshake and its connection."""
    return tuple(rule(role, at, on, State.ABANDONED, do) for on, do in _ENDS)


# fmt: off
PROTOCOL: Protocol[Handshake] = Protocol(
    uri=URI, data=DidExchange, port="did_exchange", problem_report="problem_report",
    strangers=True, expires_s=DAY_S, rules=(
    #    role            at                      on             to                      do
    rule(Side.REQUESTER, START,                  SendRequest,   State.REQUEST_SENT,     send_request),
    rule(Side.REQUESTER, State.REQUEST_SENT,     Response,      (State.COMPLETED, State.ABANDONED), keep_response),
    *_ending(Side.REQUESTER, State.REQUEST_SENT),
    rule(Side.RESPONDER, START,                  Request,       State.REQUEST_RECEIVED, keep_request),
    rule(Side.RESPONDER, State.REQUEST_RECEIVED, SendResponse,  State.RESPONSE_SENT,    send_response),
    *_ending(Side.RESPONDER, State.REQUEST_RECEIVED),
    # from here on the connection works: a lost complete must not end it
    rule(Side.RESPONDER, State.RESPONSE_SENT,    Complete,      State.COMPLETED,        finish),
    rule(Side.RESPONDER, State.RESPONSE_SENT,    ProblemReport, State.ABANDONED,        note_problem),
))
# fmt: on
