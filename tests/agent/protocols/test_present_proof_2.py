"""Present proof 2.0, step by step, with a port that only remembers."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from protocol_steps import Party
from pydantic import ValidationError

from keep_agent.core.machine import ABANDONED, START, Expired, ReportProblem
from keep_agent.core.policy import Automatic, Policies, Policy
from keep_agent.credentials.formats import PROOF, PROOF_REQUEST, Family, Ids
from keep_agent.errors import (
    BadCommandError,
    OutOfTurnError,
    RefusedError,
    UnavailableError,
)
from keep_agent.protocols.present_proof_2 import (
    NOT_PROVED,
    PROTOCOL,
    URI,
    Asked,
    SendPresentation,
    SendProposal,
    SendRequest,
    Side,
    State,
    Verdict,
    Verify,
)

Json = dict[str, Any]

QUESTION: Json = {"name": "age", "requested_predicates": {"over_18": {"name": "birthdate"}}}
CREDO = [
    json.loads(line)
    for line in (Path(__file__).parent / "recorded_credentials.jsonl").read_text().splitlines()
]


class Paper:
    """AnonCreds on paper: a presentation is right when it repeats the nonce of the question."""

    def __init__(self, *, holds: bool = True) -> None:
        self.nonces = 0
        self.holds = holds
        self.any_issuer: bool | None = None
        self.judged: Json = {}
        self.busy = False

    async def ask(
        self, request: Json, family: Family, ids: Ids | None, *, accept_any_issuer: bool
    ) -> Asked:
        self.nonces += 1
        asked = {**request, "nonce": str(self.nonces)}
        return Asked(asked) if ids is None else Asked({**asked, "ids": ids}, asked)

    async def read(self, request: Json) -> Json:
        if "name" not in request:
            raise RefusedError("not a presentation request")
        return request

    async def present(
        self,
        request: Json,
        family: Family,
        credentials: dict[str, str],
        self_attested: dict[str, str],
        hidden: Collection[str] = (),
    ) -> Json:
        if not self.holds:
            raise BadCommandError("no credential fits: birthdate 2014 is not <= 2008")
        return {"answers": request["nonce"], "chosen": credentials, "said": self_attested}

    async def verify(
        self, request: Json, presentation: Json, *, accept_any_issuer: bool
    ) -> Verdict:
        if self.busy:
            raise UnavailableError("busy")
        self.any_issuer = accept_any_issuer
        self.judged = request
        ok = presentation.get("answers") == request["nonce"]
        why = "" if ok else "'age' (asked as 'over_18') is not answered (SEC-P07)"
        return Verdict(ok, why, {"ok": ok, "answers": ["the answers"] if ok else []})


@pytest.fixture
def bar() -> Party:
    return Party(PROTOCOL, Side.VERIFIER, Paper())


@pytest.fixture
def alice() -> Party:
    return Party(PROTOCOL, Side.PROVER, Paper())


def content(message: Json, field: str) -> Json:
    attachment = message[f"{field}~attach"][0]
    assert message["formats"][0]["attach_id"] == attachment["@id"]
    found: Json = json.loads(base64.b64decode(attachment["data"]["base64"]))
    return found


def replaced(message: Json, field: str, inside: Json) -> Json:
    raw = base64.b64encode(json.dumps(inside).encode()).decode()
    attachment = {**message[f"{field}~attach"][0], "data": {"base64": raw}}
    return {**message, f"{field}~attach": [attachment]}


def recorded(kind: str, flow: str) -> Json:
    found: Json = next(
        line["message"]
        for line in CREDO
        if line["message"]["@type"] == f"{URI}/{kind}" and flow in line["flow"]
    )
    return found


# -- the whole way -----------------------------------------------------------------------------


async def test_what_is_judged_is_what_was_meant_and_not_how_it_was_written(
    bar: Party, alice: Party
) -> None:
    await bar.do(SendRequest(request=QUESTION, ids="unqualified"))
    request = await bar.do(SendRequest(ids="qualified"))  # again, what was meant at first
    sent = {**QUESTION, "nonce": "2"}
    assert content(request, "request_presentations") == {**sent, "ids": "qualified"}
    await alice.hear(request)
    await bar.hear(await alice.do(SendPresentation()))
    await bar.do(Verify())
    assert isinstance(bar.port, Paper)
    assert bar.port.judged == sent
    assert bar.data.verdict["ok"] is True


@pytest.mark.parametrize("family", ["anoncreds", "hlindy"])
async def test_a_question_is_asked_answered_judged_and_acknowledged(
    bar: Party, alice: Party, family: Family
) -> None:
    request = await bar.do(SendRequest(request=QUESTION, format=family))
    assert bar.state == State.REQUEST_SENT
    assert request["will_confirm"] is True
    assert request["formats"][0]["format"] == PROOF_REQUEST[family]
    assert await alice.hear(request) == []
    assert alice.state == State.REQUEST_RECEIVED
    presentation = await alice.do(SendPresentation())
    assert alice.state == State.PRESENTATION_SENT
    assert presentation["formats"][0]["format"] == PROOF[family]
    assert presentation["~please_ack"] == {"on": ["OUTCOME"]}
    assert await bar.hear(presentation) == []
    assert bar.state == State.PRESENTATION_RECEIVED
    ack = await bar.do(Verify())
    assert (ack["@type"], ack["status"]) == (f"{URI}/ack", "OK")
    assert (bar.state, bar.data.verdict["ok"]) == (State.DONE, True)
    assert await alice.hear(ack) == []
    assert (alice.state, alice.x.error) == (State.DONE, None)


async def test_a_false_proof_is_a_finished_exchange_and_the_prover_is_told(
    bar: Party, alice: Party
) -> None:
    await alice.hear(await bar.do(SendRequest(request=QUESTION)))
    presentation = await alice.do(SendPresentation())
    await bar.hear(replaced(presentation, "presentations", {"answers": "something else"}))
    report = await bar.do(Verify())
    assert (bar.state, bar.data.verdict) == (State.DONE, {"ok": False, "answers": []})
    assert report["description"]["code"] == NOT_PROVED
    assert "over_18" not in json.dumps(report)
    assert bar.x.error == (
        "the presentation does not prove what was requested: "
        "'age' (asked as 'over_18') is not answered (SEC-P07)"
    )
    await alice.hear(report)
    words = "the presentation does not prove what was requested"
    assert (alice.state, alice.x.error) == (ABANDONED, f"peer reports: {words} ({NOT_PROVED})")


async def test_only_the_verdict_is_kept_of_a_presentation(bar: Party, alice: Party) -> None:
    await alice.hear(await bar.do(SendRequest(request=QUESTION)))
    await bar.hear(await alice.do(SendPresentation()))
    assert bar.data.presentation is not None
    assert "presentation" not in bar.data.shown()
    await bar.do(Verify())
    assert bar.data.presentation is None
    assert bar.data.shown()["verdict"] == {"ok": True, "answers": ["the answers"]}


async def test_a_verifier_that_promises_no_ack_gets_an_answer_and_that_is_it(
    bar: Party, alice: Party
) -> None:
    request = await bar.do(SendRequest(request=QUESTION))
    del request["will_confirm"]
    await alice.hear(request)
    presentation = await alice.do(SendPresentation())
    assert alice.state == State.DONE
    assert "~please_ack" not in presentation


ACKS: dict[object, str] = {
    "OK": State.DONE,
    "ok": State.DONE,
    None: State.DONE,
    "FAIL": ABANDONED,
    " fail": ABANDONED,
    "PENDING": State.PRESENTATION_SENT,
}


@pytest.mark.parametrize("status", ACKS)
async def test_an_ack_says_whether_it_is_the_end(
    bar: Party, alice: Party, status: object
) -> None:
    await alice.hear(await bar.do(SendRequest(request=QUESTION)))
    await bar.hear(await alice.do(SendPresentation()))
    ack = await bar.do(Verify())
    await alice.hear({**ack, "status": status})
    assert alice.state == ACKS[status]
    failed = "the verifier did not accept it" if alice.state == ABANDONED else None
    assert alice.x.error == failed


async def test_a_pending_ack_is_followed_by_another(bar: Party, alice: Party) -> None:
    await alice.hear(await bar.do(SendRequest(request=QUESTION)))
    await bar.hear(await alice.do(SendPresentation()))
    ack = await bar.do(Verify())
    await alice.hear({**ack, "@id": "1", "status": "pending"})
    await alice.hear({**ack, "@id": "2"})
    assert alice.state == State.DONE


async def test_what_the_holder_chooses_reaches_the_wallet(bar: Party, alice: Party) -> None:
    await alice.hear(await bar.do(SendRequest(request=QUESTION)))
    chosen = SendPresentation(credentials={"over_18": "mine"}, self_attested={"phone": "1"})
    presented = content(await alice.do(chosen), "presentations")
    assert (presented["chosen"], presented["said"]) == ({"over_18": "mine"}, {"phone": "1"})


async def test_a_wallet_that_cannot_answer_sends_nothing_and_says_why(bar: Party) -> None:
    child = Party(PROTOCOL, Side.PROVER, Paper(holds=False))
    await child.hear(await bar.do(SendRequest(request=QUESTION)))
    with pytest.raises(BadCommandError, match="birthdate 2014 is not <= 2008"):
        await child.do(SendPresentation())
    assert child.state == State.REQUEST_RECEIVED
    report = await child.do(ReportProblem(comment="I cannot"))
    assert "birthdate" not in json.dumps(report)
    await bar.hear(report)
    assert bar.state == ABANDONED


# -- negotiation -------------------------------------------------------------------------------


async def test_sec_p14_a_proposal_is_asked_back_with_a_nonce_of_our_own(
    bar: Party, alice: Party
) -> None:
    proposal = await alice.do(SendProposal(request=QUESTION, format="hlindy"))
    assert (alice.state, proposal["formats"][0]["format"]) == (
        State.PROPOSAL_SENT,
        PROOF_REQUEST["hlindy"],
    )
    inside = {**content(proposal, "proposals"), "nonce": "4711"}
    await bar.hear(replaced(proposal, "proposals", inside))
    assert bar.state == State.PROPOSAL_RECEIVED
    request = await bar.do(SendRequest())
    asked = content(request, "request_presentations")
    assert asked["requested_predicates"] == QUESTION["requested_predicates"]
    assert asked["nonce"] == "1"
    assert request["formats"][0]["format"] == PROOF_REQUEST["hlindy"]
    await alice.hear(request)
    assert alice.state == State.REQUEST_RECEIVED


async def test_a_proposal_as_acapy_sends_it_is_asked_back(bar: Party, alice: Party) -> None:
    """ACA-Py 1.7: another name of the format than RFC 0771 has, and no nonce."""
    proposal = await alice.do(SendProposal(request=QUESTION))
    proposal["formats"][0]["format"] = "anoncreds/proof-proposal@v1.0"
    inside = content(proposal, "proposals")
    del inside["nonce"]
    await bar.hear(replaced(proposal, "proposals", inside))
    assert bar.data.proposal["nonce"] == "0"
    request = await bar.do(SendRequest())
    assert request["formats"][0]["format"] == PROOF_REQUEST["anoncreds"]
    asked = content(request, "request_presentations")
    assert asked == {**QUESTION, "nonce": "1"}


async def test_the_prover_answers_a_question_with_a_proposal(bar: Party, alice: Party) -> None:
    await alice.hear(await bar.do(SendRequest(request=QUESTION)))
    other = {**QUESTION, "name": "rather this"}
    await bar.hear(await alice.do(SendProposal(request=other)))
    await bar.hear(await alice.do(SendProposal(request={**other, "name": "or this"})))
    assert bar.data.proposal["name"] == "or this"
    request = await bar.do(SendRequest(request=bar.data.proposal))
    assert content(request, "request_presentations")["name"] == "or this"
    await alice.hear(request)
    await bar.hear(await alice.do(SendPresentation()))
    await bar.do(Verify())
    assert bar.data.verdict["ok"] is True


async def test_sec_p34_a_proposal_never_takes_the_place_of_our_question(
    bar: Party, alice: Party
) -> None:
    await alice.hear(await bar.do(SendRequest(request=QUESTION)))
    easier = {**QUESTION, "requested_predicates": {"over_8": {"name": "birthdate"}}}
    await bar.hear(await alice.do(SendProposal(request=easier)))
    request = await bar.do(SendRequest())
    asked = content(request, "request_presentations")
    assert asked["requested_predicates"] == QUESTION["requested_predicates"]
    assert bar.data.request["requested_predicates"] == QUESTION["requested_predicates"]


def test_sec_p34_a_policy_that_answers_proposals_names_its_own_question() -> None:
    policies = Policies({PROTOCOL.name: PROTOCOL})

    def on_proposals(**args: Any) -> Policy:
        automatic = Automatic(command="send-request", args=args)
        return Policy(protocol=PROTOCOL.name, auto={State.PROPOSAL_RECEIVED: automatic})

    policies.check(on_proposals(request=QUESTION))
    refused: list[Json] = [{}, {"request": None}, {"request": {}}, {"accept_any_issuer": True}]
    for args in refused:
        with pytest.raises(BadCommandError, match="must name its own request"):
            policies.check(on_proposals(**args))


async def test_a_second_question_takes_the_place_of_the_first(bar: Party, alice: Party) -> None:
    first = await bar.do(SendRequest(request=QUESTION))
    await alice.hear(first)
    answer_to_first = await alice.do(SendPresentation())
    other = Party(PROTOCOL, Side.PROVER, Paper())
    await other.hear(first)
    await other.hear(await bar.do(SendRequest()))
    await other.do(SendPresentation())
    await bar.hear(answer_to_first)
    await bar.do(Verify())
    assert bar.data.verdict["ok"] is False


async def test_nothing_to_ask_is_a_mistake_of_ours(bar: Party) -> None:
    with pytest.raises(BadCommandError):
        await bar.do(SendRequest())


async def test_who_asks_for_any_issuer_is_judged_by_it(bar: Party, alice: Party) -> None:
    for accept in (True, False):
        party = Party(PROTOCOL, Side.VERIFIER, Paper())
        alice = Party(PROTOCOL, Side.PROVER, Paper())
        await alice.hear(
            await party.do(SendRequest(request=QUESTION, accept_any_issuer=accept))
        )
        await party.hear(await alice.do(SendPresentation()))
        await party.do(Verify())
        assert party.port.any_issuer is accept  # type: ignore[attr-defined] # it is Paper


# -- refusals and ends -------------------------------------------------------------------------


async def test_sec_p16_a_second_presentation_is_out_of_turn(bar: Party, alice: Party) -> None:
    await alice.hear(await bar.do(SendRequest(request=QUESTION)))
    presentation = await alice.do(SendPresentation())
    await bar.hear(presentation)
    other = {**replaced(presentation, "presentations", {"answers": "x"}), "@id": "another"}
    with pytest.raises(OutOfTurnError):
        await bar.hear(other)
    await bar.do(Verify())
    with pytest.raises(OutOfTurnError):
        await bar.hear(other)
    with pytest.raises(OutOfTurnError):
        await bar.do(Verify())
    assert bar.data.verdict["ok"] is True


async def test_a_busy_library_gives_no_verdict(bar: Party, alice: Party) -> None:
    await alice.hear(await bar.do(SendRequest(request=QUESTION)))
    await bar.hear(await alice.do(SendPresentation()))
    bar.port.busy = True  # type: ignore[attr-defined] # it is Paper
    with pytest.raises(UnavailableError):
        await bar.do(Verify())
    assert (bar.state, bar.data.verdict) == (State.PRESENTATION_RECEIVED, None)


@pytest.mark.parametrize("side", ["verifier", "prover"])
async def test_either_side_can_end_it_in_every_open_state(side: str) -> None:
    async def reach(step: int) -> tuple[Party, Party]:
        bar = Party(PROTOCOL, Side.VERIFIER, Paper())
        alice = Party(PROTOCOL, Side.PROVER, Paper())
        await bar.hear(await alice.do(SendProposal(request=QUESTION)))
        if step > 0:
            await alice.hear(await bar.do(SendRequest()))
        if step > 1:
            await bar.hear(await alice.do(SendPresentation()))
        return (bar, alice) if side == "verifier" else (alice, bar)

    for step in range(3):
        ours, theirs = await reach(step)
        await theirs.hear(await ours.do(ReportProblem(comment="no, thank you")))
        assert (ours.state, theirs.state) == (ABANDONED, ABANDONED)
        ours, _ = await reach(step)
        await ours.take(Expired())
        assert ours.state == ABANDONED


# -- what comes --------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", ["anoncreds", "indy"])
async def test_the_messages_of_a_credo_verifier_are_understood(alice: Party, flow: str) -> None:
    family: Family = "anoncreds" if flow == "anoncreds" else "hlindy"
    await alice.hear(recorded("request-presentation", f"v2 {flow}"))
    assert (alice.data.format, alice.data.will_confirm) == (family, True)
    assert alice.data.request["requested_predicates"]["a"]["p_value"] == 18
    presentation = await alice.do(SendPresentation())
    assert presentation["formats"][0]["format"] == PROOF[family]
    await alice.hear(recorded("ack", f"v2 {flow}"))
    assert alice.state == State.DONE


@pytest.mark.parametrize("flow", ["anoncreds", "indy"])
async def test_the_messages_of_a_credo_prover_are_understood(bar: Party, flow: str) -> None:
    family: Family = "anoncreds" if flow == "anoncreds" else "hlindy"
    await bar.do(SendRequest(request=QUESTION, format=family))
    await bar.hear(recorded("presentation", f"v2 {flow}"))
    assert bar.data.presentation["requested_proof"]["revealed_attrs"]["n"]["raw"] == "Ann"


async def test_a_question_that_is_none_is_refused(bar: Party, alice: Party) -> None:
    request = await bar.do(SendRequest(request=QUESTION))
    with pytest.raises(RefusedError):
        await alice.hear(replaced(request, "request_presentations", {"nonce": "1"}))
    assert alice.state == START


async def test_an_answer_in_another_format_than_asked_is_judged_alike(
    bar: Party, alice: Party
) -> None:
    await alice.hear(await bar.do(SendRequest(request=QUESTION)))
    presentation = await alice.do(SendPresentation())
    presentation["formats"][0]["format"] = PROOF["hlindy"]
    await bar.hear(presentation)
    await bar.do(Verify())
    assert (bar.state, bar.data.verdict["ok"]) == (State.DONE, True)


@pytest.mark.parametrize("missing", ["formats", "request_presentations~attach"])
async def test_a_question_without_its_parts_does_not_parse(
    bar: Party, alice: Party, missing: str
) -> None:
    request = await bar.do(SendRequest(request=QUESTION))
    del request[missing]
    with pytest.raises(ValidationError):
        await alice.hear(request)
