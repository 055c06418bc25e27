"""Two whole agents: credentials issued and proved, refused, negotiated, twice, at once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from agent.pair import Agent, Pair
from wallets import ALICE, CHILD, LICENCE, LICENCE_INDY, issuer_keys, ledger, vectors

from keep_agent.core.machine import ABANDONED, Exchange, Protocol, ReportProblem
from keep_agent.core.message import Json, Message, Thread
from keep_agent.core.policy import Automatic, Policy
from keep_agent.credentials.formats import CREDENTIAL as CREDENTIAL_FORMATS
from keep_agent.credentials.formats import PROOF, attach
from keep_agent.credentials.wallet import CRED_DEF, CREDENTIAL
from keep_agent.errors import BadCommandError, NotFoundError
from keep_agent.identity.connections import Connection
from keep_agent.protocols import issue_credential_2 as ic
from keep_agent.protocols import present_proof_2 as pp
from keep_agent.store.lists import listed
from keep_agent.store.rows import Commit
from keep_zkp.requests import from_cred_def, over_age

Values = dict[str, str]


@dataclass(slots=True)
class Town:
    """Alice and the office that issues licences and asks for them; both see one ledger."""

    pair: Pair
    hers: Connection
    its: Connection

    @property
    def alice(self) -> Agent:
        return self.pair.alice

    @property
    def office(self) -> Agent:
        return self.pair.faber

    async def offer(self, values: Values = ALICE) -> Exchange[ic.Issuance]:
        command = ic.SendOffer(cred_def_id=LICENCE, values=values)
        return await self.office.start(ic.PROTOCOL, command, self.its.id)

    async def ask(self, request: Json | None = None) -> Exchange[pp.Proving]:
        command = pp.SendRequest(request=request or over_18())
        return await self.office.start(pp.PROTOCOL, command, self.its.id)

    async def hold(self, values: Values = ALICE) -> None:
        """Let Alice get a credential, each step by a command."""
        x = await self.offer(values)
        await self.alice.command(
            await at(self.alice, ic.PROTOCOL, x, "offer-received"), ic.SendRequest()
        )
        await self.office.command(
            await at(self.office, ic.PROTOCOL, x, "request-received"), ic.Issue()
        )
        received = await at(self.alice, ic.PROTOCOL, x, "credential-received")
        await self.alice.command(received, ic.StoreCredential())
        await at(self.office, ic.PROTOCOL, x, "done")


def over_18() -> Json:
    today = date(2026, 11, 22)
    return over_age(
        18, today=today, source=from_cred_def(LICENCE_INDY), show=("category",)
    ).wire()


async def at(
    agent: Agent, protocol: Protocol[Any], of: Exchange[Any], state: str
) -> Exchange[Any]:
    """Wait until an agent's half of an exchange is in a state."""
    return await agent.until(protocol, lambda x: (x.thid, x.state) == (of.thid, state))


def automate(agent: Agent, protocol: Protocol[Any], **auto: str) -> None:
    """Let commands run by themselves; states are written with underscores."""
    rows = {
        state.replace("_", "-"): Automatic(command=command) for state, command in auto.items()
    }
    policy = Policy(protocol=protocol.name, auto=rows)
    agent.tenant.policies.check(policy)
    agent.tenant.policies.adopt(policy)


def automate_issuing(town: Town) -> None:
    automate(town.office, ic.PROTOCOL, request_received="issue")
    automate(
        town.alice,
        ic.PROTOCOL,
        offer_received="send-request",
        credential_received="store-credential",
    )


def automate_proving(town: Town) -> None:
    automate(town.alice, pp.PROTOCOL, request_received="send-presentation")
    automate(town.office, pp.PROTOCOL, presentation_received="verify")


async def held(agent: Agent) -> list[Json]:
    return [record for _, record in await agent.profile.find(CREDENTIAL)]


def in_thread(message: Message, x: Exchange[Any]) -> Json:
    return message.model_copy(update={"thread": Thread(thid=x.thid)}).wire()


@pytest.fixture
async def town(pair: Pair) -> Town:
    shared = ledger()
    for agent in (pair.alice, pair.faber, pair.mallory):
        agent.tenant.around.ledgers._registries = (shared,)
    await pair.faber.profile.commit(Commit(writes=issuer_keys("licence")))
    hers, its = await pair.connect()
    return Town(pair, hers, its)


# -- the whole way -----------------------------------------------------------------------------


async def test_a_licence_is_issued_and_proves_an_age_step_by_step(town: Town) -> None:
    await town.hold()
    (record,) = await held(town.alice)
    assert record["cred_def_id"] == LICENCE_INDY
    x = await town.ask()
    asked = await at(town.alice, pp.PROTOCOL, x, "request-received")
    await town.alice.command(asked, pp.SendPresentation())
    await town.office.command(
        await at(town.office, pp.PROTOCOL, x, "presentation-received"), pp.Verify()
    )
    await at(town.alice, pp.PROTOCOL, x, "done")
    judged = await at(town.office, pp.PROTOCOL, x, "done")
    answers = {each["referent"]: each for each in judged.data.verdict["answers"]}
    assert judged.data.verdict["ok"] is True
    assert answers["shown"]["values"] == {"category": "B"}
    assert answers["over_18"]["how"] == "proven"
    assert ALICE["birthdate_dateint"] not in json.dumps(judged.data.shown())
    assert ALICE["name"] not in json.dumps(judged.data.shown())


async def test_a_credential_is_held_under_an_id_of_the_callers_choice(town: Town) -> None:
    await town.hold()
    x = await town.offer()
    await town.alice.command(
        await at(town.alice, ic.PROTOCOL, x, "offer-received"), ic.SendRequest()
    )
    await town.office.command(
        await at(town.office, ic.PROTOCOL, x, "request-received"), ic.Issue()
    )
    received = await at(town.alice, ic.PROTOCOL, x, "credential-received")
    ((taken, _),) = await town.alice.profile.find(CREDENTIAL)
    with pytest.raises(BadCommandError, match="is held already: choose another id"):
        await town.alice.command(received, ic.StoreCredential(credential_id=taken))
    await town.alice.command(received, ic.StoreCredential(credential_id="my:licence-2"))
    await at(town.office, ic.PROTOCOL, x, "done")
    assert await town.alice.profile.fetch(CREDENTIAL, "my:licence-2") is not None
    await town.alice.tenant.commands.delete_credential("my:licence-2")
    assert await town.alice.profile.fetch(CREDENTIAL, "my:licence-2") is None
    with pytest.raises(NotFoundError):
        await town.alice.tenant.commands.delete_credential("my:licence-2")


async def test_a_value_can_be_kept_back_and_our_verifier_refuses_that(town: Town) -> None:
    """Verifiers of others may be content with less; ours asked to see it (SEC-P24)."""
    await town.hold()
    x = await town.ask()
    asked = await at(town.alice, pp.PROTOCOL, x, "request-received")
    for referent, why in (("over_18", "not an attribute"), ("nobody", "not an attribute")):
        with pytest.raises(BadCommandError, match=why):
            await town.alice.command(asked, pp.SendPresentation(revealed={referent: False}))
    await town.alice.command(asked, pp.SendPresentation(revealed={"shown": False}))
    received = await at(town.office, pp.PROTOCOL, x, "presentation-received")
    proof = received.data.presentation["requested_proof"]
    assert proof["unrevealed_attrs"].keys() == {"shown"}
    assert not proof["revealed_attrs"]
    await town.office.command(received, pp.Verify())
    judged = await at(town.office, pp.PROTOCOL, x, "done")
    assert [each["rule"] for each in judged.data.verdict["reasons"]] == ["SEC-P24"]


async def test_a_child_is_told_why_and_sends_nothing(town: Town) -> None:
    await town.hold(CHILD)
    x = await town.ask()
    asked = await at(town.alice, pp.PROTOCOL, x, "request-received")
    with pytest.raises(BadCommandError, match="birthdate_dateint 20140101 is not <= 20081122"):
        await town.alice.command(asked, pp.SendPresentation())
    await town.alice.command(asked, ReportProblem(comment="I cannot show that"))
    refused = await at(town.office, pp.PROTOCOL, x, ABANDONED)
    assert refused.error == "peer reports: I cannot show that (abandoned)"


async def test_a_policy_keeps_the_reason_with_the_exchange(town: Town) -> None:
    await town.hold(CHILD)
    automate_proving(town)
    x = await town.ask()
    kept = await town.alice.until(
        pp.PROTOCOL, lambda each: each.thid == x.thid and each.error is not None
    )
    assert kept.state == pp.State.REQUEST_RECEIVED
    assert "no credential fits" in str(kept.error)


# -- who does not keep to it -------------------------------------------------------------------


async def test_a_presentation_that_answers_another_question_is_refused(town: Town) -> None:
    await town.hold(CHILD)
    x = await town.ask()
    asked = await at(town.alice, pp.PROTOCOL, x, "request-received")
    easy = json.loads(json.dumps(asked.data.request))
    easy["requested_predicates"]["over_18"]["p_value"] = 20200101
    proof = await town.alice.tenant.prover.present(easy, "anoncreds", {}, {})
    form, attachment = attach(proof, "anoncreds", PROOF)
    message = pp.Presentation(formats=(form,), presentations__attach=(attachment,))
    await town.alice.stolen(town.hers, in_thread(message, x))
    await town.office.command(
        await at(town.office, pp.PROTOCOL, x, "presentation-received"), pp.Verify()
    )
    judged = await at(town.office, pp.PROTOCOL, x, "done")
    assert judged.data.verdict["ok"] is False
    assert judged.data.verdict["reasons"][0]["rule"] == "SEC-P01"
    told = await at(town.alice, pp.PROTOCOL, x, ABANDONED)
    assert pp.NOT_PROVED in str(told.error)


async def test_sec_p15_a_presentation_from_another_connection_is_refused(town: Town) -> None:
    await town.hold()
    x = await town.ask()
    asked = await at(town.alice, pp.PROTOCOL, x, "request-received")
    proof = await town.alice.tenant.prover.present(asked.data.request, "anoncreds", {}, {})
    form, attachment = attach(proof, "anoncreds", PROOF)
    message = pp.Presentation(formats=(form,), presentations__attach=(attachment,))
    mallorys, _ = await town.pair.connect(town.pair.mallory, town.office)
    await town.pair.mallory.stolen(mallorys, in_thread(message, x))
    waiting = await town.office.profile.exchange(x.id)
    assert waiting is not None
    assert waiting.state == pp.State.REQUEST_SENT


async def test_sec_p13_a_question_survives_a_restart_and_is_judged_once(town: Town) -> None:
    await town.hold()
    x = await town.ask()
    town.office.profile.forget_all()
    asked = await at(town.alice, pp.PROTOCOL, x, "request-received")
    await town.alice.command(asked, pp.SendPresentation())
    received = await at(town.office, pp.PROTOCOL, x, "presentation-received")
    assert received.data.request["nonce"] == asked.data.request["nonce"]
    await town.office.command(received, pp.Verify())
    judged = await at(town.office, pp.PROTOCOL, x, "done")
    for url, packed in list(town.pair.wire.carried):
        await town.pair.wire.arrive(url, packed)
    again = await town.office.profile.exchange(x.id)
    assert again is not None
    assert (again.revision, again.data) == (judged.revision, judged.data)


async def test_sec_i02_whoever_replays_every_envelope_gets_no_second_credential(
    town: Town,
) -> None:
    await town.hold()
    before = await listed(town.office.profile, "~protocol", ic.PROTOCOL.name, 1000)
    sent = len(town.pair.wire.carried)
    for url, packed in list(town.pair.wire.carried):
        await town.pair.wire.arrive(url, packed)
    await town.office.quiet()
    await town.alice.quiet()
    assert await listed(town.office.profile, "~protocol", ic.PROTOCOL.name, 1000) == before
    assert len(await held(town.alice)) == 1
    assert len(town.pair.wire.carried) == 2 * sent


async def test_sec_i04_a_credential_with_other_values_is_refused_and_not_kept(
    town: Town,
) -> None:
    x = await town.offer()
    await town.alice.command(
        await at(town.alice, ic.PROTOCOL, x, "offer-received"), ic.SendRequest()
    )
    asked = await at(town.office, ic.PROTOCOL, x, "request-received")
    forged = await town.office.tenant.wallet.issue(
        asked.data.offer, asked.data.request, {**ALICE, "category": "A"}
    )
    form, attachment = attach(forged, "anoncreds", CREDENTIAL_FORMATS)
    message = ic.IssueCredential(formats=(form,), credentials__attach=(attachment,))
    await town.office.stolen(town.its, in_thread(message, x))
    received = await at(town.alice, ic.PROTOCOL, x, "credential-received")
    after = await town.alice.command(received, ic.StoreCredential())
    assert after.state == ABANDONED
    assert "SEC-I04" in str(after.error)
    assert await held(town.alice) == []
    told = await at(town.office, ic.PROTOCOL, x, ABANDONED)
    assert "e.p.refused" in str(told.error)


async def test_sec_i07_a_private_key_is_in_nothing_but_its_record(town: Town) -> None:
    await town.hold()
    private = vectors()["cred_defs"]["licence"]["TEST_ONLY_private"]["value"]["p_key"]
    profile = town.office.profile
    shown = [x.data.shown() for x in await profile.reader.exchanges({})]
    rows = [
        await profile.reader.page(each, None, 0, 1000) for each in ("exchange", "log", CRED_DEF)
    ]
    everything = json.dumps(shown) + str(rows)
    for secret in private.values():
        assert secret not in everything


# -- negotiation and declines ------------------------------------------------------------------


async def test_they_negotiate_before_they_agree(town: Town) -> None:
    wish = ic.SendProposal(filter={"schema_name": "licence"}, values={**ALICE, "category": "C"})
    x = await town.alice.start(ic.PROTOCOL, wish, town.hers.id)
    proposed = await at(town.office, ic.PROTOCOL, x, "proposal-received")
    await town.office.command(proposed, ic.SendOffer(values={**ALICE, "category": "A"}))
    offered = await at(town.alice, ic.PROTOCOL, x, "offer-received")
    await town.alice.command(offered, ic.SendProposal(values=ALICE))
    proposed = await at(town.office, ic.PROTOCOL, x, "proposal-received")
    await town.office.command(proposed, ic.SendOffer())
    offered = await at(town.alice, ic.PROTOCOL, x, "offer-received")
    await town.alice.command(offered, ic.SendRequest())
    await town.office.command(
        await at(town.office, ic.PROTOCOL, x, "request-received"), ic.Issue()
    )
    received = await at(town.alice, ic.PROTOCOL, x, "credential-received")
    await town.alice.command(received, ic.StoreCredential())
    (record,) = await held(town.alice)
    assert record["credential"]["values"]["category"]["raw"] == "B"


async def test_a_prover_proposes_what_to_ask(town: Town) -> None:
    await town.hold()
    automate_proving(town)
    wish = pp.SendProposal(request=over_18())
    x = await town.alice.start(pp.PROTOCOL, wish, town.hers.id)
    proposed = await at(town.office, pp.PROTOCOL, x, "proposal-received")
    asked = await town.office.command(proposed, pp.SendRequest())
    assert asked.data.request["nonce"] != proposed.data.proposal["nonce"]
    assert (await at(town.office, pp.PROTOCOL, x, "done")).data.verdict["ok"] is True


async def test_a_declined_offer_ends_on_both_sides(town: Town) -> None:
    x = await town.offer()
    offered = await at(town.alice, ic.PROTOCOL, x, "offer-received")
    await town.alice.command(offered, ReportProblem(comment="no, thank you"))
    assert (await at(town.office, ic.PROTOCOL, x, ABANDONED)).error is not None


# -- loss, duplicates, disorder, many at once --------------------------------------------------


async def test_what_arrives_twice_counts_once(town: Town) -> None:
    town.pair.wire.twice = True
    automate_issuing(town)
    automate_proving(town)
    x = await town.offer()
    await at(town.office, ic.PROTOCOL, x, "done")
    assert len(await held(town.alice)) == 1
    proof = await town.ask()
    assert (await at(town.office, pp.PROTOCOL, proof, "done")).data.verdict["ok"] is True
    await at(town.alice, pp.PROTOCOL, proof, "done")


async def test_what_is_lost_is_sent_again(town: Town) -> None:
    automate_issuing(town)
    town.pair.wire.lose = 2
    x = await town.offer()
    await at(town.office, ic.PROTOCOL, x, "done")
    assert len(await held(town.alice)) == 1


async def test_eight_credentials_and_eight_proofs_at_once_in_disorder(town: Town) -> None:
    automate_issuing(town)
    automate_proving(town)
    town.pair.wire.held = []
    offers = await asyncio.gather(
        *(town.offer({**ALICE, "number": f"L-{n}"}) for n in range(8))
    )
    await town.pair.wire.gather(8)
    await town.pair.wire.release(backwards=True)
    for offer in offers:
        await at(town.office, ic.PROTOCOL, offer, "done")
    records = await held(town.alice)
    numbers = {each["credential"]["values"]["number"]["raw"] for each in records}
    assert numbers == {f"L-{n}" for n in range(8)}
    assert len(records) == 8
    town.pair.wire.held = []
    asked = await asyncio.gather(*(town.ask() for _ in range(8)))
    await town.pair.wire.gather(8)
    await town.pair.wire.release(backwards=True)
    for x in asked:
        assert (await at(town.office, pp.PROTOCOL, x, "done")).data.verdict["ok"] is True
        await at(town.alice, pp.PROTOCOL, x, "done")
