"""What is attached to an invitation is answered on its parent thread (RFC 0434), to the end of the exchange."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from agent.credentials.test_flow import over_18
from agent.pair import Agent, Pair, packed, stranger
from agent.test_invitations import expire
from wallets import ALICE, LICENCE, issuer_keys, ledger

from keep_agent.core.machine import ABANDONED, Command, Exchange, Protocol, ReportProblem
from keep_agent.core.message import PREFIX, Json, Received, TypeUri
from keep_agent.core.problem_reports import REPORTS_IN_A_ROW
from keep_agent.errors import PeerError
from keep_agent.identity.keys import to_verkey
from keep_agent.protocols import did_exchange, out_of_band
from keep_agent.protocols import issue_credential_2 as ic
from keep_agent.protocols import present_proof_2 as pp
from keep_agent.store.lists import listed
from keep_agent.store.rows import Commit

HANDSHAKE: dict[str, Any] = {}
CONNECTIONLESS: dict[str, Any] = {"handshake_protocols": []}
WAYS = pytest.mark.parametrize("way", [HANDSHAKE, CONNECTIONLESS], ids=["handshake", "without"])


class Town:
    """The office invites Alice, with something attached; what each of them gets is noted."""

    def __init__(self, pair: Pair) -> None:
        self.pair, self.alice, self.office = pair, pair.alice, pair.faber
        self.heard: dict[str, list[Json]] = defaultdict(list)
        for agent in (self.alice, self.office):
            self._note(agent)

    def _note(self, agent: Agent) -> None:
        real = agent.tenant.dispatcher.receive

        async def noting(received: Received, *more: Any, **others: Any) -> None:
            if not more:
                self.heard[agent.tenant.around.label].append(received.body)
            await real(received, *more, **others)

        agent.tenant.dispatcher.receive = noting  # type: ignore[method-assign]

    async def invite(
        self, protocol: Protocol[Any], command: Command, way: dict[str, Any]
    ) -> tuple[Exchange[Any], str]:
        """Attach the first message of an exchange, and let Alice accept the invitation."""
        x = await self.office.start(protocol, command)
        invitation = await self.office.invite(thid=x.peer, attach=[x.id], **way)
        await self.alice.accept(invitation)
        if way is HANDSHAKE:
            asked = await self.office.until(
                did_exchange.PROTOCOL, lambda y: y.state == "request-received"
            )
            await self.office.command(asked, did_exchange.SendResponse())
        return x, invitation["@id"]

    async def do(
        self, agent: Agent, protocol: Protocol[Any], state: str, command: Command
    ) -> None:
        await agent.command(await agent.reached(protocol, state), command)

    def parents(self, agent: Agent, family: str) -> dict[str, object]:
        """Return by name what each message that an agent got names as its parent thread."""
        heard = self.heard[agent.tenant.around.label]
        uris = [(TypeUri.parse(body["@type"]), body) for body in heard]
        return {
            uri.name: body.get("~thread", {}).get("pthid")
            for uri, body in uris
            if uri.family == family
        }

    def services(self, agent: Agent, family: str) -> dict[str, bool]:
        """Return by name whether each message that an agent got has a `~service`."""
        heard = self.heard[agent.tenant.around.label]
        uris = [(TypeUri.parse(body["@type"]), body) for body in heard]
        return {uri.name: "~service" in body for uri, body in uris if uri.family == family}


@pytest.fixture
async def town(pair: Pair) -> Town:
    shared = ledger()
    for agent in (pair.alice, pair.faber, pair.mallory):
        agent.tenant.around.ledgers._registries = (shared,)
    await pair.faber.profile.commit(Commit(writes=issuer_keys("licence")))
    return Town(pair)


OFFER = ic.SendOffer(cred_def_id=LICENCE, values=ALICE)


@WAYS
async def test_a_credential_that_was_attached_is_issued(
    town: Town, way: dict[str, Any]
) -> None:
    _, invitation = await town.invite(ic.PROTOCOL, OFFER, way)
    await town.do(town.alice, ic.PROTOCOL, "offer-received", ic.SendRequest())
    await town.do(town.office, ic.PROTOCOL, "request-received", ic.Issue())
    await town.do(town.alice, ic.PROTOCOL, "credential-received", ic.StoreCredential())
    await town.office.reached(ic.PROTOCOL, "done")
    later = invitation if way is CONNECTIONLESS else None
    assert town.parents(town.office, "issue-credential") == {
        "request-credential": invitation,
        "ack": later,
    }
    assert town.parents(town.alice, "issue-credential") == {"issue-credential": later}
    for agent in (town.alice, town.office):
        found = town.services(agent, "issue-credential")
        assert set(found.values()) == {way is CONNECTIONLESS}


@WAYS
async def test_a_proof_that_was_attached_is_answered(town: Town, way: dict[str, Any]) -> None:
    ask = pp.SendRequest(request={**over_18(), "requested_predicates": {}})
    _, invitation = await town.invite(pp.PROTOCOL, ask, way)
    wanted = {"requested_attributes": {"category": {"name": "category"}}}
    proposal = pp.SendProposal(request=wanted)
    await town.do(town.alice, pp.PROTOCOL, "request-received", proposal)
    await town.do(town.office, pp.PROTOCOL, "proposal-received", ask)
    await town.do(town.alice, pp.PROTOCOL, "request-received", ReportProblem(comment="no"))
    ended = await town.office.reached(pp.PROTOCOL, ABANDONED)
    assert ended.error == "peer reports: no (abandoned)"
    later = invitation if way is CONNECTIONLESS else None
    assert town.parents(town.office, "present-proof") == {
        "propose-presentation": invitation,
        "problem-report": later,
    }
    assert town.parents(town.alice, "present-proof") == {"request-presentation": later}


@WAYS
async def test_every_message_before_the_first_that_comes_back_names_the_parent(
    town: Town, way: dict[str, Any]
) -> None:
    """A proposal, and then a refusal: the peer has said nothing yet, and may have got neither."""
    x, invitation = await town.invite(ic.PROTOCOL, OFFER, way)
    await town.do(
        town.alice, ic.PROTOCOL, "offer-received", ic.SendProposal(values={"category": "A"})
    )
    await town.do(town.alice, ic.PROTOCOL, "proposal-sent", ReportProblem(comment="no"))
    ended = await town.office.reached(ic.PROTOCOL, ABANDONED)
    assert ended.id == x.id
    assert town.parents(town.office, "issue-credential") == {
        "propose-credential": invitation,
        "problem-report": invitation,
    }


async def test_what_is_attached_and_cannot_be_read_is_refused_on_the_parent_thread(
    town: Town,
) -> None:
    x = await town.office.start(ic.PROTOCOL, OFFER)
    invitation = await town.office.invite(thid=x.peer, attach=[x.id], **CONNECTIONLESS)
    offer = invitation["requests~attach"][0]["data"]["json"]
    offer["credential_preview"]["attributes"][0]["value"] = 25
    await town.alice.accept(invitation)
    ended = await town.office.reached(ic.PROTOCOL, ABANDONED)
    assert ended.id == x.id
    assert "credential_preview.attributes.0.value must be text" in str(ended.error)
    assert town.parents(town.office, "issue-credential") == {
        "problem-report": invitation["@id"]
    }


async def test_an_exchange_on_a_connection_names_no_parent(town: Town) -> None:
    """Also where that connection came from an invitation."""
    invitation = await town.office.invite()
    await town.alice.accept(invitation)
    asked = await town.office.reached(did_exchange.PROTOCOL, "request-received")
    await town.office.command(asked, did_exchange.SendResponse())
    await town.office.reached(did_exchange.PROTOCOL, "completed")
    await town.office.start(ic.PROTOCOL, OFFER, asked.id)
    await town.do(town.alice, ic.PROTOCOL, "offer-received", ic.SendRequest())
    await town.do(town.office, ic.PROTOCOL, "request-received", ic.Issue())
    await town.alice.reached(ic.PROTOCOL, "credential-received")
    assert town.parents(town.office, "issue-credential") == {"request-credential": None}
    assert set(town.parents(town.alice, "issue-credential").values()) == {None}


async def test_a_reused_connection_answers_on_the_parent_thread(town: Town) -> None:
    first = await town.office.invite()
    await town.alice.accept(first)
    asked = await town.office.reached(did_exchange.PROTOCOL, "request-received")
    await town.office.command(asked, did_exchange.SendResponse())
    await town.alice.reached(did_exchange.PROTOCOL, "completed")
    x = await town.office.start(ic.PROTOCOL, OFFER)
    invitation = await town.office.invite(thid=x.peer, attach=[x.id])
    await town.alice.accept({**invitation, "services": first["services"]})
    await town.do(town.alice, ic.PROTOCOL, "offer-received", ic.SendRequest())
    requested = await town.office.reached(ic.PROTOCOL, "request-received")
    assert (requested.id, requested.connection) == (x.id, asked.id)
    assert town.parents(town.office, "issue-credential") == {
        "request-credential": invitation["@id"]
    }


async def test_the_attached_message_by_itself_is_answered_without_the_invitation(
    town: Town,
) -> None:
    """As peers without out-of-band answer it: by its `~service`, on its thread, without a parent."""
    x = await town.office.start(ic.PROTOCOL, OFFER)
    made = await town.office.start(
        out_of_band.PROTOCOL,
        out_of_band.CreateInvitation(attach=(x.id,), handshake_protocols=()),
        thid=x.peer,
    )
    first: Json = made.data.first_message
    assert (first["@type"], first["@id"]) == (
        f"{PREFIX}issue-credential/2.0/offer-credential",
        x.thid,
    )
    assert first["~service"]["serviceEndpoint"] == town.office.tenant.endpoint
    assert "pthid" not in first.get("~thread", {})
    (key,) = first["~service"]["recipientKeys"]
    report = {
        "@type": f"{PREFIX}issue-credential/2.0/problem-report",
        "@id": "no",
        "~thread": {"thid": x.thid},
        "description": {"code": "rejected", "en": "not today"},
    }
    await town.office.tenant.receive(packed(report, key, stranger()))
    told = await town.office.reached(ic.PROTOCOL, ABANDONED)
    assert told.id == x.id
    assert str(told.error).startswith("peer reports: not today")


async def test_who_answers_too_late_is_told_so(town: Town) -> None:
    """By the `~service` of the answer: there is no connection."""
    x = await town.office.start(ic.PROTOCOL, OFFER)
    invitation = await town.office.invite(thid=x.peer, attach=[x.id], **CONNECTIONLESS)
    for agent in (town.alice, town.pair.mallory):
        await agent.accept(invitation)
        await town.do(agent, ic.PROTOCOL, "offer-received", ic.SendRequest())
        await town.office.reached(ic.PROTOCOL, "request-received")
    told = await town.pair.mallory.reached(ic.PROTOCOL, ABANDONED)
    assert str(told.error).startswith(
        "peer reports: this invitation is used up: ask for a new one"
    )
    (kept,) = await listed(town.office.profile, "~protocol", ic.PROTOCOL.name, 10)
    assert kept.state == "request-received"


async def test_who_answers_an_expired_invitation_is_told_so(town: Town) -> None:
    x = await town.office.start(ic.PROTOCOL, OFFER)
    invitation = await town.office.invite(
        thid=x.peer, attach=[x.id], expires_in_s=60, **CONNECTIONLESS
    )
    await town.alice.accept(invitation)
    await expire(town.office, invitation)
    await town.do(town.alice, ic.PROTOCOL, "offer-received", ic.SendRequest())
    told = await town.alice.reached(ic.PROTOCOL, ABANDONED)
    assert str(told.error).startswith(
        "peer reports: this invitation has expired: ask for a new one"
    )


async def test_sec_r_02_who_answers_too_late_is_told_only_at_an_address_of_its_own_key(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only so often: else whoever has an old invitation could make us write to anybody."""
    x = await town.office.start(ic.PROTOCOL, OFFER)
    invitation = await town.office.invite(thid=x.peer, attach=[x.id], **CONNECTIONLESS)
    await expire(town.office, invitation)
    (service,) = invitation["services"]
    key, us = to_verkey(service["recipientKeys"][0]), stranger()
    body = {"@type": f"{PREFIX}issue-credential/2.0/request-credential", "@id": "1"}
    thread = {"~thread": {"thid": x.thid, "pthid": invitation["@id"]}}
    theirs = {
        "recipientKeys": [stranger().verkey],
        "serviceEndpoint": "http://alice.example/d/main",
    }
    ours = {**theirs, "recipientKeys": [us.verkey]}
    monkeypatch.setattr("keep_agent.core.problem_reports.REPORTS_PER_S", 0.0)
    refused: list[object] = []
    for i, said in enumerate([None, theirs, 7, *([ours] * 30)]):
        late: Json = {**body, "@id": str(i), **thread, "formats": [], "requests~attach": []}
        try:
            await town.office.tenant.receive(packed({**late, "~service": said}, key, us))
        except PeerError:
            refused.append(said)
    told = REPORTS_IN_A_ROW - 3  # whoever gives no address of its own has used up some, too
    assert refused == [None, theirs, 7, *([ours] * (30 - told))]
