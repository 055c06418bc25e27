"""DID exchange step by step, with real keys and signatures."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from agent.paper import Paper, recorded

from keep_agent.core.machine import Exchange, Expired, PutKey, ReportProblem, Via
from keep_agent.core.message import Attachment, Json, ProblemReport, Thread
from keep_agent.errors import NotFoundError, NotNowError, RefusedError
from keep_agent.identity.connections import CONNECTION, InvitationRecord
from keep_agent.identity.did_documents import read_document
from keep_agent.identity.keys import NewKey, did_key, to_verkey
from keep_agent.identity.peer_dids import create_peer4
from keep_agent.identity.signed_attachments import signer
from keep_agent.protocols.did_exchange import (
    PROTOCOL,
    Complete,
    Request,
    Response,
    SendRequest,
    SendResponse,
    Side,
    State,
)

FLOWS = [
    "didexchange did:peer:4",
    "didexchange did:peer:2",
    "didexchange did:peer:1",
    "didexchange, invitation from did:peer:2",
]


@pytest.fixture
def alice() -> Paper:
    return Paper("alice")


@pytest.fixture
def faber() -> Paper:
    return Paper("faber")


async def requested(alice: Paper, invitation: Json) -> tuple[Exchange[Any], Request]:
    """Let Alice look at an invitation and ask."""
    seen = await alice.take(invitation)
    x = alice.new(PROTOCOL, Side.REQUESTER, seen.id)
    after, step = await alice.run(PROTOCOL, x, SendRequest(invitation=seen.id))
    (request,) = step.send
    assert isinstance(request, Request)
    return after, request


def from_alice(alice: Paper, x: Exchange[Any], invitation: Json) -> Via:
    return Via(
        sender=alice.connection(x.id).my_key,
        recipient=to_verkey(invitation["services"][0]["recipientKeys"][0]),
        invitation=invitation["@id"],
    )


async def taken(
    faber: Paper, alice: Paper, x: Exchange[Any], request: Request, invitation: Json
) -> Exchange[Any]:
    """Let Faber read the request."""
    theirs = faber.new(PROTOCOL, Side.RESPONDER, invitation["@id"], x.thid)
    after, _ = await faber.run(PROTOCOL, theirs, request, from_alice(alice, x, invitation))
    return after


async def answered(faber: Paper, theirs: Exchange[Any]) -> tuple[Exchange[Any], Response]:
    after, step = await faber.run(PROTOCOL, theirs, SendResponse())
    (response,) = step.send
    assert isinstance(response, Response)
    return after, response


async def test_two_agents_meet(alice: Paper, faber: Paper) -> None:
    invitation = await faber.invite()
    ours, request = await requested(alice, invitation)
    assert request.thread == Thread(pthid=invitation["@id"])
    theirs = await taken(faber, alice, ours, request, invitation)
    assert theirs.state == State.REQUEST_RECEIVED
    assert faber.connection(theirs.id).their_key == alice.connection(ours.id).my_key
    theirs, response = await answered(faber, theirs)
    assert response.thread == Thread(thid=ours.thid, pthid=invitation["@id"])

    faber_key = faber.connection(theirs.id).my_key
    ours, step = await alice.run(PROTOCOL, ours, response, Via(sender=faber_key))
    (complete,) = step.send
    assert complete.thread == Thread(thid=ours.thid, pthid=invitation["@id"])
    theirs, _ = await faber.run(PROTOCOL, theirs, Complete(thread=complete.thread))

    hers, his = alice.connection(ours.id), faber.connection(theirs.id)
    assert hers.state == his.state == State.COMPLETED
    assert (hers.their_did, his.their_did) == (his.my_did, hers.my_did)
    assert (hers.their_key, his.their_key) == (his.my_key, hers.my_key)
    assert hers.endpoint == "http://faber.example/d/main"
    assert his.endpoint == "http://alice.example/d/main"
    assert hers.invitation == his.invitation == invitation["@id"]
    assert hers.label == "faber"
    assert his.label == "alice"


async def test_an_older_inviter_is_answered_in_its_version(alice: Paper, faber: Paper) -> None:
    invitation = await faber.invite(handshake_protocols=["didexchange/1.0"])
    ours, _ = await requested(alice, invitation)
    assert ours.minor == 0


async def test_the_first_version_of_the_inviter_counts(alice: Paper, faber: Paper) -> None:
    invitation = await faber.invite()
    ours, _ = await requested(alice, invitation)
    assert ours.minor == 1


async def test_a_request_for_an_unknown_invitation_is_not_sent(alice: Paper) -> None:
    x = alice.new(PROTOCOL, Side.REQUESTER, "nothing")
    with pytest.raises(NotFoundError):
        await alice.run(PROTOCOL, x, SendRequest(invitation="nothing"))


async def test_nobody_answers_an_invitation_of_their_own(faber: Paper) -> None:
    invitation = await faber.invite()
    x = faber.new(PROTOCOL, Side.REQUESTER, invitation["@id"])
    with pytest.raises(NotNowError):
        await faber.run(PROTOCOL, x, SendRequest(invitation=invitation["@id"]))


async def test_a_public_did_is_an_implicit_invitation(alice: Paper) -> None:
    key = NewKey.generate({})
    did = "did:sov:WgWxqztrNooG92RXvxSTWv"
    service = {
        "type": "did-communication",
        "serviceEndpoint": "http://faber.example",
        "recipientKeys": [did_key(key.verkey)],
    }
    alice.documents[did] = read_document({"id": did, "service": [service]})
    x = alice.new(PROTOCOL, Side.REQUESTER, did)
    after, step = await alice.run(PROTOCOL, x, SendRequest(invitation=did))
    assert step.send[0].thread == Thread(pthid=did)
    connection = alice.connection(after.id)
    assert connection.endpoint == "http://faber.example"
    assert connection.recipients == (key.verkey,)


async def test_a_did_that_leads_nowhere_invites_nobody(alice: Paper) -> None:
    did = "did:sov:WgWxqztrNooG92RXvxSTWv"
    x = alice.new(PROTOCOL, Side.REQUESTER, did)
    with pytest.raises(NotFoundError):
        await alice.run(PROTOCOL, x, SendRequest(invitation=did))


# -- what a responder refuses ----------------------------------------------------------------------


async def test_sec_o_02_a_single_use_invitation_is_used_once(
    alice: Paper, faber: Paper
) -> None:
    invitation = await faber.invite()
    ours, request = await requested(alice, invitation)
    await taken(faber, alice, ours, request, invitation)
    again, second = await requested(alice, invitation)
    with pytest.raises(RefusedError, match="used up"):
        await taken(faber, alice, again, second, invitation)


async def test_a_multi_use_invitation_is_used_often(alice: Paper, faber: Paper) -> None:
    invitation = await faber.invite(multi_use=True)
    for _ in range(3):
        ours, request = await requested(alice, invitation)
        theirs = await taken(faber, alice, ours, request, invitation)
        assert theirs.state == State.REQUEST_RECEIVED
    assert len(await faber.find(CONNECTION)) == 3


async def test_sec_o_03_an_expired_invitation_takes_no_request(
    alice: Paper, faber: Paper
) -> None:
    invitation = await faber.invite(expires_in_s=60)
    ours, request = await requested(alice, invitation)
    late = faber.invitation(invitation["@id"]).model_copy(update={"expires": 1.0})
    faber.write(late.put())
    with pytest.raises(RefusedError, match="expired"):
        await taken(faber, alice, ours, request, invitation)


@pytest.mark.parametrize(
    ("via", "words"),
    [
        ({"invitation": None}, "must answer an invitation"),
        ({"sender": NewKey.generate({}).verkey}, "not the sender's"),
    ],
)
async def test_a_request_from_elsewhere_is_refused(
    alice: Paper, faber: Paper, via: Json, words: str
) -> None:
    invitation = await faber.invite()
    ours, request = await requested(alice, invitation)
    x = faber.new(PROTOCOL, Side.RESPONDER, invitation["@id"], ours.thid)
    seen = replace(from_alice(alice, ours, invitation), **via)
    with pytest.raises(RefusedError, match=words) as caught:
        await faber.run(PROTOCOL, x, request, seen)
    assert caught.value.code == "request_not_accepted"
    assert not await faber.find(CONNECTION)
    assert not faber.invitation(invitation["@id"]).used


async def test_a_request_on_another_parent_thread_is_refused(
    alice: Paper, faber: Paper
) -> None:
    invitation = await faber.invite()
    ours, request = await requested(alice, invitation)
    other = request.model_copy(update={"thread": Thread(pthid="another")})
    with pytest.raises(RefusedError, match="another invitation"):
        await taken(faber, alice, ours, other, invitation)


async def test_an_invitation_without_handshake_takes_no_request(
    alice: Paper, faber: Paper
) -> None:
    invitation = await faber.invite()
    ours, request = await requested(alice, invitation)
    bare = faber.invitation(invitation["@id"]).model_copy(update={"minors": ()})
    faber.write(bare.put())
    with pytest.raises(RefusedError, match="no DID exchange"):
        await taken(faber, alice, ours, request, invitation)


# -- what a requester refuses ----------------------------------------------------------------------


async def both(alice: Paper, faber: Paper) -> tuple[Exchange[Any], Exchange[Any], Response]:
    invitation = await faber.invite()
    ours, request = await requested(alice, invitation)
    theirs = await taken(faber, alice, ours, request, invitation)
    theirs, response = await answered(faber, theirs)
    return ours, theirs, response


async def refused(alice: Paper, ours: Exchange[Any], response: Response, sender: str) -> str:
    """Return why Alice refuses; her connection ends with it, and the peer is told."""
    after, step = await alice.run(PROTOCOL, ours, response, Via(sender=sender))
    assert after.state == State.ABANDONED
    connection = alice.connection(ours.id)
    assert connection.state == State.ABANDONED
    assert connection.their_key is None
    (report,) = step.send
    assert isinstance(report, ProblemReport)
    assert report.code == "response_not_accepted"
    assert after.error is not None
    return after.error


async def test_sec_e_13_a_did_that_another_key_vouches_for_is_refused(
    alice: Paper, faber: Paper
) -> None:
    ours, theirs, response = await both(alice, faber)
    connection = faber.connection(theirs.id)
    forged = await faber.sign(connection.my_key, response.did.encode())
    bad = response.model_copy(update={"did_rotate__attach": forged})
    assert "another key" in await refused(alice, ours, bad, connection.my_key)


async def test_sec_e_13_a_signature_of_another_did_is_refused(
    alice: Paper, faber: Paper
) -> None:
    ours, theirs, response = await both(alice, faber)
    key = NewKey.generate({})
    did = create_peer4(key.verkey, "http://mallory.example")
    bad = response.model_copy(update={"did": did})
    assert "another DID" in await refused(alice, ours, bad, key.verkey)
    assert theirs.state == State.RESPONSE_SENT


async def test_sec_e_13_a_did_that_nobody_vouches_for_is_refused(
    alice: Paper, faber: Paper
) -> None:
    ours, theirs, response = await both(alice, faber)
    bare = response.model_copy(update={"did_rotate__attach": None})
    key = faber.connection(theirs.id).my_key
    assert "not signed by a key" in await refused(alice, ours, bare, key)


async def test_a_response_with_somebody_elses_did_is_refused(
    alice: Paper, faber: Paper
) -> None:
    ours, _, response = await both(alice, faber)
    assert "not the sender's" in await refused(
        alice, ours, response, NewKey.generate({}).verkey
    )


async def test_the_key_of_the_invitation_may_answer_itself(alice: Paper, faber: Paper) -> None:
    invitation = await faber.invite()
    ours, _ = await requested(alice, invitation)
    key = to_verkey(invitation["services"][0]["recipientKeys"][0])
    response = Response(did=create_peer4(key, "http://faber.example"))
    after, _ = await alice.run(PROTOCOL, ours, response, Via(sender=key))
    assert after.state == State.COMPLETED


# -- signatures (SEC-E13) --------------------------------------------------------------------------


def resigned(attachment: Attachment, change: Json, jwk: Json) -> Attachment:
    """Return an attachment with another protected header and its old signature."""
    jws = dict(attachment.data.jws or {})
    protected = json.loads(base64.urlsafe_b64decode(jws["protected"] + "=="))
    protected = {**protected, **change, "jwk": {**protected["jwk"], **jwk}}
    raw = json.dumps(protected).encode()
    jws["protected"] = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    data = attachment.data.model_copy(update={"jws": jws})
    return attachment.model_copy(update={"data": data})


@pytest.fixture
async def vouched(faber: Paper) -> Attachment:
    key = NewKey.generate({})
    faber.write(PutKey(key.verkey, key.key, {}))
    return await faber.sign(key.verkey, b"did:peer:4abc")


async def test_what_we_sign_is_good(faber: Paper) -> None:
    key = NewKey.generate({})
    faber.write(PutKey(key.verkey, key.key, {}))
    assert signer(await faber.sign(key.verkey, b"text")) == key.verkey


@pytest.mark.parametrize(
    ("change", "jwk"),
    [
        ({"alg": "none"}, {}),
        ({"alg": "HS256"}, {}),
        ({"crit": ["b64"]}, {}),
        ({}, {"kty": "EC"}),
        ({}, {"crv": "X25519"}),
        ({}, {"x": "AAAA"}),
        ({}, {"x": base64.urlsafe_b64encode(bytes(32)).decode()}),
        ({}, {"x": 5}),
        ({}, {"kid": did_key(NewKey.generate({}).verkey)}),
        ({"kid": did_key(NewKey.generate({}).verkey)}, {}),
        ({"more": 1}, {}),
    ],
)
async def test_sec_e_13_another_header_is_refused(
    vouched: Attachment, change: Json, jwk: Json
) -> None:
    with pytest.raises(RefusedError):
        signer(resigned(vouched, change, jwk))


MALFORMED: list[Json | None] = [
    None,
    {},
    {"protected": "!", "signature": "x"},
    {"signatures": []},
    {"signatures": [{}, {}]},
    {"signatures": 5},
    {"protected": "W10", "signature": "x"},
]


@pytest.mark.parametrize("jws", MALFORMED)
async def test_sec_e_13_a_malformed_signature_is_refused(
    vouched: Attachment, jws: Json | None
) -> None:
    data = vouched.data.model_copy(update={"jws": jws})
    with pytest.raises(RefusedError):
        signer(vouched.model_copy(update={"data": data}))


async def test_sec_e_13_a_key_id_beside_the_signature_must_be_the_signers(
    vouched: Attachment,
) -> None:
    other = {"kid": did_key(NewKey.generate({}).verkey)}
    jws = {**(vouched.data.jws or {}), "header": other}
    data = vouched.data.model_copy(update={"jws": jws})
    with pytest.raises(RefusedError, match="two signing keys"):
        signer(vouched.model_copy(update={"data": data}))


async def test_sec_e_13_other_content_is_not_signed(vouched: Attachment) -> None:
    data = vouched.data.model_copy(update={"base64": "ZGlkOnBlZXI6eA"})
    with pytest.raises(RefusedError, match="signature of an attachment is wrong"):
        signer(vouched.model_copy(update={"data": data}))


async def test_an_unprotected_header_may_be_missing(vouched: Attachment) -> None:
    jws = {k: v for k, v in (vouched.data.jws or {}).items() if k != "header"}
    data = vouched.data.model_copy(update={"jws": jws})
    assert signer(vouched.model_copy(update={"data": data})) == signer(vouched)


async def test_a_signature_without_its_key_is_refused_in_words(vouched: Attachment) -> None:
    """RFC 0017 asks for `jwk`: a key id beside it does not take its place."""
    protected = base64.urlsafe_b64encode(b'{"alg": "EdDSA"}').decode()
    data = vouched.data.model_copy(
        update={"jws": {**(vouched.data.jws or {}), "protected": protected}}
    )
    with pytest.raises(RefusedError, match="signature of an attachment is malformed"):
        signer(vouched.model_copy(update={"data": data}))


async def test_a_list_of_one_signature_is_read(vouched: Attachment) -> None:
    data = vouched.data.model_copy(update={"jws": {"signatures": [vouched.data.jws]}})
    assert signer(vouched.model_copy(update={"data": data})) == signer(vouched)


# -- giving up -------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [Expired(), ReportProblem(), ProblemReport.of("no")])
async def test_either_side_and_time_end_it(alice: Paper, faber: Paper, event: Any) -> None:
    invitation = await faber.invite()
    ours, request = await requested(alice, invitation)
    theirs = await taken(faber, alice, ours, request, invitation)
    for agent, x, code in (
        (alice, ours, "response_not_accepted"),
        (faber, theirs, "request_not_accepted"),
    ):
        after, step = await agent.run(PROTOCOL, x, event)
        assert after.state == State.ABANDONED
        assert after.error
        assert agent.connection(x.id).state == State.ABANDONED
        told = [m.code for m in step.send if isinstance(m, ProblemReport)]
        assert told == ([] if isinstance(event, ProblemReport) else [code])


async def test_a_lost_complete_does_not_end_a_connection_that_works(
    alice: Paper, faber: Paper
) -> None:
    _, theirs, _ = await both(alice, faber)
    assert (theirs.role, theirs.state, Expired) not in PROTOCOL.cells
    assert not PROTOCOL.final(theirs.role, theirs.state)


# -- messages of a running peer --------------------------------------------------------------------


@pytest.mark.parametrize("flow", FLOWS)
async def test_a_recorded_request_is_taken(faber: Paper, flow: str) -> None:
    (body,) = recorded(flow, "request")
    invitation = await faber.invite()
    pthid = invitation["@id"]
    request = Request.model_validate({**body, "~thread": {"pthid": pthid}})
    document = request.did_doc__attach.content if request.did_doc__attach else None
    sender = (await faber.port.reach(request.did, document)).recipients[0]
    x = faber.new(PROTOCOL, Side.RESPONDER, pthid, request.thid)
    after, _ = await faber.run(PROTOCOL, x, request, faber.via(sender, pthid))
    assert after.state == State.REQUEST_RECEIVED
    connection = faber.connection(after.id)
    assert connection.endpoint == "http://127.0.0.1:8360"
    assert connection.label == "trace-alice"
    after, response = await answered(faber, after)
    assert response.did_rotate__attach is not None
    vouched = signer(response.did_rotate__attach)
    assert vouched == to_verkey(invitation["services"][0]["recipientKeys"][0])
    (complete,) = recorded(flow, "complete")
    after, _ = await faber.run(PROTOCOL, after, Complete.model_validate(complete))
    assert after.state == State.COMPLETED


@pytest.mark.parametrize("flow", FLOWS)
async def test_a_recorded_response_completes(alice: Paper, flow: str) -> None:
    (body,) = recorded(flow, "response")
    (complete,) = recorded(flow, "complete")
    (invitation,) = [
        i
        for i in recorded("invitation", "invitation")
        if i["@id"] == complete["~thread"]["pthid"]
    ]
    ours, request = await requested(alice, invitation)
    assert request.thread == Thread(pthid=invitation["@id"])
    response = Response.model_validate(body)
    document = response.did_doc__attach.content if response.did_doc__attach else None
    sender = (await alice.port.reach(response.did, document)).recipients[0]
    after, _ = await alice.run(PROTOCOL, ours, response, Via(sender=sender))
    assert after.state == State.COMPLETED, after.error
    connection = alice.connection(after.id)
    assert connection.endpoint == "http://127.0.0.1:8350"
    assert connection.their_did == body["did"]


def test_an_invitation_record_keeps_its_address() -> None:
    record = InvitationRecord(id="i", direction="received")
    assert record.inviter == ""
    assert InvitationRecord.model_validate(record.model_dump(mode="json")) == record
