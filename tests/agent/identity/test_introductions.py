"""SEC-D: a DID is believed by its own method's proof alone, and found again only so."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import base58
import pytest
from agent.paper import Paper

from keep_agent.core.machine import Exchange, PutKey, Step, Via
from keep_agent.core.message import Attachment, Json
from keep_agent.errors import PeerError, RefusedError, UnavailableError
from keep_agent.identity.connections import CONNECTION
from keep_agent.identity.did_documents import read_document
from keep_agent.identity.dids import Did, short_form
from keep_agent.identity.keys import NewKey, did_key, raw_key, to_verkey
from keep_agent.identity.peer_dids import create_peer2, create_peer4
from keep_agent.protocols import out_of_band
from keep_agent.protocols.did_exchange import (
    PROTOCOL,
    Request,
    Response,
    SendRequest,
    Side,
    State,
)

PUBLIC = "WgWxqztrNooG92RXvxSTWv"
THERE = "http://mallory.example"


@pytest.fixture
def faber() -> Paper:
    return Paper("faber")


@pytest.fixture
def alice() -> Paper:
    return Paper("alice")


class Somebody:
    """A key without an agent: what it can claim."""

    def __init__(self) -> None:
        self.hand = Paper("hand")
        self.key = NewKey.generate({})
        self.verkey = self.key.verkey
        self.hand.write(PutKey(self.verkey, self.key.key, {}))

    @property
    def indy(self) -> str:
        return base58.b58encode(raw_key(self.verkey)[:16]).decode()

    def document(self, did: str, *keys: str) -> Json:
        """A document of the old shape about any DID, with our key in it."""
        service = {
            "type": "IndyAgent",
            "serviceEndpoint": THERE,
            "recipientKeys": list(keys or [self.verkey]),
        }
        return {"id": did, "service": [service]}

    def peer1(self) -> tuple[str, Json]:
        document = {k: v for k, v in self.document("").items() if k != "id"}
        digest = hashlib.sha256(json.dumps(document, separators=(",", ":")).encode()).digest()
        did = "did:peer:1z" + base58.b58encode(b"\x12\x20" + digest).decode()
        return did, {"id": did, **document}

    async def signed(self, content: Json | str) -> Attachment:
        raw = content if isinstance(content, str) else json.dumps(content)
        return await self.hand.sign(self.verkey, raw.encode())

    async def asks(
        self, agent: Paper, did: str, document: Json | None
    ) -> tuple[Exchange[Any], Step[Any]]:
        """Answer an invitation of the agent's, claiming a DID."""
        invitation = await agent.invite()
        attached = await self.signed(document) if document else None
        request = Request(did=did, did_doc__attach=attached)
        x = agent.new(PROTOCOL, Side.RESPONDER, invitation["@id"], request.id)
        via = agent.via(self.verkey, invitation["@id"])
        return await agent.run(PROTOCOL, x, request, via)


def publish(agent: Paper, did: str, verkey: str, endpoint: str = "http://bank.example") -> None:
    """Let the agent's ledger have a DID, spelt in both ways."""
    for text in (did, f"did:sov:{did}"):
        service = {
            "type": "did-communication",
            "serviceEndpoint": endpoint,
            "recipientKeys": [did_key(verkey)],
        }
        agent.documents[text] = read_document({"id": text, "service": [service]})


async def refused(agent: Paper, who: Somebody, did: str, document: Json | None) -> None:
    with pytest.raises(PeerError):
        await who.asks(agent, did, document)
    assert not await agent.find(CONNECTION)


# -- SEC-D01: what is believed ---------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "did:sov:"])
async def test_sec_d_01_a_public_did_with_a_document_of_its_claimant_is_refused(
    faber: Paper, prefix: str
) -> None:
    bank, mallory = Somebody(), Somebody()
    publish(faber, PUBLIC, bank.verkey)
    did = prefix + PUBLIC
    await refused(faber, mallory, did, mallory.document(did))
    await refused(faber, mallory, did, mallory.document(did, bank.verkey, mallory.verkey))
    await refused(faber, mallory, did, None)


@pytest.mark.parametrize("prefix", ["", "did:sov:"])
async def test_sec_d_01_a_public_did_is_its_owners_wherever_the_document_points(
    faber: Paper, prefix: str
) -> None:
    bank = Somebody()
    publish(faber, PUBLIC, bank.verkey)
    did = prefix + PUBLIC
    after, _ = await bank.asks(faber, did, bank.document(did))
    connection = faber.connection(after.id)
    assert connection.their_did == did
    assert connection.endpoint == "http://bank.example"


@pytest.mark.parametrize("prefix", ["", "did:sov:"])
async def test_sec_d_01_a_did_that_no_ledger_has_is_not_anybodys(
    faber: Paper, prefix: str
) -> None:
    bank, mallory = Somebody(), Somebody()
    for did in (prefix + PUBLIC, prefix + bank.indy):
        await refused(faber, mallory, did, mallory.document(did))
        await refused(faber, mallory, did, mallory.document(did, bank.verkey, mallory.verkey))


@pytest.mark.parametrize("prefix", ["", "did:sov:"])
async def test_sec_d_01_a_did_of_the_senders_own_key_connects_and_proves_nothing(
    faber: Paper, prefix: str
) -> None:
    """Older agents make such DIDs for each connection and write them on no ledger."""
    somebody = Somebody()
    did = prefix + somebody.indy
    after, _ = await somebody.asks(faber, did, somebody.document(f"did:sov:{somebody.indy}"))
    connection = faber.connection(after.id)
    assert (connection.endpoint, connection.their_key) == (THERE, somebody.verkey)
    assert connection.their_did is None


async def test_sec_d_01_an_old_key_of_a_public_did_is_refused(faber: Paper) -> None:
    """The DID is made of this key; on the ledger it has another one by now."""
    thief, owner = Somebody(), Somebody()
    publish(faber, thief.indy, owner.verkey)
    await refused(faber, thief, thief.indy, thief.document(thief.indy))


async def test_sec_d_01_while_the_ledger_is_silent_nobody_is_believed(faber: Paper) -> None:
    faber.silent = True
    somebody = Somebody()
    with pytest.raises(UnavailableError):
        await somebody.asks(faber, somebody.indy, somebody.document(somebody.indy))
    assert not await faber.find(CONNECTION)


async def test_sec_d_01_a_did_peer_1_is_the_hash_of_its_document(faber: Paper) -> None:
    somebody, mallory = Somebody(), Somebody()
    did, document = somebody.peer1()
    await refused(faber, mallory, did, mallory.document(did))
    await refused(faber, mallory, did, document)
    await refused(faber, somebody, did, {**document, "service": document["service"] * 2})
    await refused(faber, somebody, did, None)
    after, _ = await somebody.asks(faber, did, document)
    assert faber.connection(after.id).their_did == did


async def test_sec_d_01_a_document_adds_nothing_to_a_did_that_holds_its_own(
    faber: Paper,
) -> None:
    bank, mallory = Somebody(), Somebody()
    peer4 = create_peer4(bank.verkey, "http://bank.example")
    for did in (peer4, create_peer2(bank.verkey, "http://bank.example"), did_key(bank.verkey)):
        await refused(faber, mallory, did, mallory.document(did))
    after, _ = await bank.asks(faber, peer4, bank.document(short_form(peer4)))
    assert faber.connection(after.id).endpoint == "http://bank.example"


async def test_sec_d_01_a_short_form_is_not_proved_by_a_document(faber: Paper) -> None:
    mallory = Somebody()
    peer4 = short_form(create_peer4(mallory.verkey, THERE))
    peer3 = short_form(create_peer2(mallory.verkey, THERE))
    indy = f"did:indy:sovrin:{mallory.indy}"
    for did in (peer4, peer3, Did(indy)):
        await refused(faber, mallory, did, mallory.document(did))


# -- SEC-D02: who vouches for what -----------------------------------------------------------------


async def invited(alice: Paper, inviter: Paper) -> tuple[Exchange[Any], str]:
    """Let Alice ask; return her exchange and the key of the invitation."""
    invitation = await inviter.invite()
    seen = await alice.take(invitation)
    x = alice.new(PROTOCOL, Side.REQUESTER, seen.id)
    after, _ = await alice.run(PROTOCOL, x, SendRequest(invitation=seen.id))
    return after, to_verkey(invitation["services"][0]["recipientKeys"][0])


async def hears(
    alice: Paper, ours: Exchange[Any], response: Response, sender: str
) -> Exchange[Any]:
    after, _ = await alice.run(PROTOCOL, ours, response, Via(sender=sender))
    return after


async def test_sec_d_01_a_response_claims_no_public_did_with_a_document_of_its_own(
    alice: Paper, faber: Paper
) -> None:
    """Even where the invitation's own key signs that document."""
    bank, mallory = Somebody(), Somebody()
    publish(alice, PUBLIC, bank.verkey)
    ours, key = await invited(alice, faber)
    document = json.dumps(mallory.document(PUBLIC)).encode()
    attached = await faber.sign(key, document)
    response = Response(did=PUBLIC, did_doc__attach=attached)
    after = await hears(alice, ours, response, mallory.verkey)
    assert after.state == State.ABANDONED
    assert after.error == "this DID is not the sender's"
    assert alice.connection(ours.id).their_key is None


async def test_sec_d_02_a_signed_document_of_another_did_vouches_for_nothing(
    alice: Paper, faber: Paper
) -> None:
    """The invitation's key did sign it, in another exchange."""
    mallory = Somebody()
    ours, key = await invited(alice, faber)
    theirs = create_peer4(key, "http://faber.example")
    attached = await faber.sign(key, json.dumps({"id": theirs, "service": []}).encode())
    did = create_peer4(mallory.verkey, THERE)
    response = Response(did=did, did_doc__attach=attached)
    after = await hears(alice, ours, response, mallory.verkey)
    assert after.state == State.ABANDONED
    assert "another DID" in str(after.error)


async def test_sec_d_02_a_key_that_is_not_the_invitations_vouches_for_nothing(
    alice: Paper, faber: Paper
) -> None:
    mallory = Somebody()
    did = create_peer4(mallory.verkey, THERE)
    for attached in (
        {"did_rotate__attach": await mallory.signed(did)},
        {"did_doc__attach": await mallory.signed(mallory.document(did))},
        {},
    ):
        ours, _ = await invited(alice, faber)
        response = Response(did=did).model_copy(update=attached)
        after = await hears(alice, ours, response, mallory.verkey)
        assert after.state == State.ABANDONED


async def test_sec_d_02_a_document_in_a_request_is_signed_by_its_sender(faber: Paper) -> None:
    somebody, mallory = Somebody(), Somebody()
    did, document = somebody.peer1()
    invitation = await faber.invite()
    request = Request(did=did, did_doc__attach=await mallory.signed(document))
    x = faber.new(PROTOCOL, Side.RESPONDER, invitation["@id"], request.id)
    via = faber.via(somebody.verkey, invitation["@id"])
    with pytest.raises(RefusedError, match="signed with another key"):
        await faber.run(PROTOCOL, x, request, via)


async def test_sec_d_02_a_document_is_an_object(faber: Paper) -> None:
    somebody = Somebody()
    did, _ = somebody.peer1()
    for text in ("[]", "7", '"x"', "null"):
        invitation = await faber.invite()
        request = Request(did=did, did_doc__attach=await somebody.signed(text))
        x = faber.new(PROTOCOL, Side.RESPONDER, invitation["@id"], request.id)
        via = faber.via(somebody.verkey, invitation["@id"])
        with pytest.raises(RefusedError, match="JSON object"):
            await faber.run(PROTOCOL, x, request, via)


# -- SEC-D03: who is known again -------------------------------------------------------------------


async def accepts(alice: Paper, invitation: Json) -> str | None:
    """Return the connection by which Alice would answer an invitation."""
    seen = await alice.take(invitation)
    after, _ = await alice.run(out_of_band.PROTOCOL, seen, out_of_band.Accept())
    return after.connection


def invitation_of(*keys: str) -> Json:
    service = {
        "id": "#inline",
        "type": "did-communication",
        "recipientKeys": [did_key(key) for key in keys],
        "serviceEndpoint": THERE,
    }
    return {
        "@type": "https://didcomm.org/out-of-band/1.1/invitation",
        "@id": f"from {keys[-1]}",
        "handshake_protocols": ["https://didcomm.org/didexchange/1.1"],
        "services": [service],
    }


async def connects(alice: Paper, invitation: Json, who: Somebody) -> str:
    """Let somebody whose key is in an invitation answer as its inviter."""
    seen = await alice.take(invitation)
    x = alice.new(PROTOCOL, Side.REQUESTER, seen.id)
    x, _ = await alice.run(PROTOCOL, x, SendRequest(invitation=seen.id))
    response = Response(did=create_peer4(who.verkey, THERE))
    x = await hears(alice, x, response, who.verkey)
    assert x.state == State.COMPLETED, x.error
    return x.id


async def test_sec_d_03_an_inviter_is_known_by_the_key_that_proved_itself(alice: Paper) -> None:
    """Mallory put the bank's key before her own: she is not the bank for that."""
    bank, mallory = Somebody(), Somebody()
    hers = await connects(alice, invitation_of(bank.verkey, mallory.verkey), mallory)
    assert await accepts(alice, invitation_of(bank.verkey)) is None
    assert await accepts(alice, invitation_of(mallory.verkey)) == hers
    banks = await connects(alice, invitation_of(bank.verkey), bank)
    assert await accepts(alice, invitation_of(bank.verkey)) == banks


async def test_sec_d_03_nobody_is_known_by_a_did_that_was_not_proved(alice: Paper) -> None:
    """When the DID comes to a ledger, whoever called himself so before is not its owner."""
    early = Somebody()
    await early.asks(alice, early.indy, early.document(early.indy))
    for name, record in await alice.find(CONNECTION):
        connection = alice.connection(name).but(state="completed")
        assert record["their_did"] is None
        alice.write(connection.put())
    publish(alice, early.indy, Somebody().verkey)
    invitation = {**invitation_of(early.verkey), "services": [f"did:sov:{early.indy}"]}
    assert await accepts(alice, invitation) is None
    assert await accepts(alice, {**invitation, "services": [early.indy]}) is None
