"""Issue credential 2.0, step by step, with a port that only remembers."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from protocol_steps import Party
from pydantic import ValidationError

from keep_agent.core.machine import ABANDONED, START, Expired, Put, ReportProblem
from keep_agent.credentials.formats import (
    CREDENTIAL,
    FILTER,
    OFFER,
    REQUEST,
    Family,
    Filter,
    Ids,
    Names,
)
from keep_agent.errors import (
    BadCommandError,
    BadMessageError,
    OutOfTurnError,
    RefusedError,
    UnavailableError,
)
from keep_agent.protocols.issue_credential_2 import (
    PROTOCOL,
    URI,
    Issue,
    OfferOrRequest,
    SendOffer,
    SendProposal,
    SendRequest,
    Side,
    State,
    StoreCredential,
    Values,
)

Json = dict[str, Any]

DEFINITION = "V4SGRU86Z58d6TV7PBUe6f:3:CL:12:default"
SCHEMA = "V4SGRU86Z58d6TV7PBUe6f:2:licence:1.0"
ALICE = {"name": "Alice", "category": "B"}
REMEMBERED = Put("checked_key", "local:1", {})
OFFERING = SendOffer(cred_def_id=DEFINITION, values=ALICE)
CREDO = [
    json.loads(line)
    for line in (Path(__file__).parent / "recorded_credentials.jsonl").read_text().splitlines()
]


class Paper:
    """AnonCreds on paper: each object says what it was made of."""

    def __init__(self) -> None:
        self.issued = 0
        self.ids: Ids | None = None
        self.refuse: Exception | None = None

    async def offer(
        self, wanted: Filter, values: Values, family: Family, ids: Ids | None
    ) -> OfferOrRequest:
        self._maybe()
        self.ids = ids
        if wanted.get("cred_def_id") != DEFINITION:
            raise BadCommandError("no credential definition of ours fits")
        attached = {"cred_def_id": DEFINITION, "schema_id": SCHEMA, "family": family}
        return OfferOrRequest({**attached, "key_correctness_proof": "large"}, attached)

    async def request(self, offer: Json, values: Values) -> OfferOrRequest:
        self._maybe()
        kept = {"offer": offer["cred_def_id"], "secret": "blinding"}
        return OfferOrRequest({"answers": offer["cred_def_id"]}, kept, (REMEMBERED,))

    async def issue(self, kept: Json, request: Json, values: Values) -> Json:
        self._maybe()
        if request != {"answers": kept["cred_def_id"]}:
            raise RefusedError("SEC-I01: the request is for another credential definition")
        self.issued += 1
        return {"values": values, "signed": True}

    async def check(self, name: str, credential: Json, kept: Json, values: Values) -> Put:
        self._maybe()
        assert kept["secret"] == "blinding"
        if credential != {"values": values, "signed": True}:
            raise RefusedError("SEC-I04: the values are not those accepted")
        return Put("credential", name, credential, new=True)

    def _maybe(self) -> None:
        if self.refuse is not None:
            raise self.refuse


@pytest.fixture
def office() -> Party:
    return Party(PROTOCOL, Side.ISSUER, Paper())


@pytest.fixture
def alice() -> Party:
    return Party(PROTOCOL, Side.HOLDER, Paper())


def content(message: Json, field: str) -> Json:
    attachment = message[f"{field}~attach"][0]
    assert message["formats"][0]["attach_id"] == attachment["@id"]
    found: Json = json.loads(base64.b64decode(attachment["data"]["base64"]))
    return found


def recorded(kind: str, flow: str) -> Json:
    found: Json = next(
        line["message"]
        for line in CREDO
        if line["message"]["@type"] == f"{URI}/{kind}" and flow in line["flow"]
    )
    return found


# -- the whole way -----------------------------------------------------------------------------


@pytest.mark.parametrize("ids", ["qualified", "unqualified", None])
async def test_an_offer_says_how_ids_are_to_be_written(office: Party, ids: Ids | None) -> None:
    await office.do(OFFERING.model_copy(update={"ids": ids}))
    assert isinstance(office.port, Paper)
    assert office.port.ids == ids


@pytest.mark.parametrize("family", ["anoncreds", "hlindy"])
async def test_a_credential_is_offered_requested_issued_stored_and_acknowledged(
    office: Party, alice: Party, family: Family
) -> None:
    offer = await office.do(OFFERING.model_copy(update={"format": family}))
    assert office.state == State.OFFER_SENT
    assert offer["formats"][0]["format"] == OFFER[family]
    assert offer["credential_preview"] == {
        "@type": f"{URI}/credential-preview",
        "attributes": [{"name": "name", "value": "Alice"}, {"name": "category", "value": "B"}],
    }
    assert await alice.hear(offer) == []
    assert (alice.state, alice.data.values) == (State.OFFER_RECEIVED, ALICE)
    request = await alice.do(SendRequest())
    assert (alice.state, [*alice.last.writes]) == (State.REQUEST_SENT, [REMEMBERED])
    assert request["formats"][0]["format"] == REQUEST[family]
    assert await office.hear(request) == []
    assert office.state == State.REQUEST_RECEIVED
    credential = await office.do(Issue())
    assert office.state == State.ISSUED
    assert credential["formats"][0]["format"] == CREDENTIAL[family]
    assert credential["~please_ack"] == {"on": ["OUTCOME"]}
    assert await alice.hear(credential) == []
    assert (alice.state, [*alice.last.writes]) == (State.RECEIVED, [])
    ack = await alice.do(StoreCredential())
    assert (ack["@type"], ack["status"]) == (f"{URI}/ack", "OK")
    (write,) = alice.last.writes
    assert isinstance(write, Put)
    assert (write.name, write.new) == (alice.x.id, True)
    assert (alice.state, alice.data.stored) == (State.DONE, alice.x.id)
    assert await office.hear(ack) == []
    assert office.state == State.DONE


async def test_what_a_step_has_used_up_is_forgotten(office: Party, alice: Party) -> None:
    offer = await office.do(OFFERING)
    assert "key_correctness_proof" not in office.data.offer
    await alice.hear(offer)
    request = await alice.do(SendRequest())
    assert alice.data.offer is None
    await office.hear(request)
    credential = await office.do(Issue())
    assert (office.data.offer, office.data.request) == (None, None)
    await alice.hear(credential)
    await alice.do(StoreCredential())
    assert (alice.data.kept, alice.data.credential) == (None, None)


async def test_what_is_secret_is_not_shown(office: Party, alice: Party) -> None:
    await alice.hear(await office.do(OFFERING))
    await office.hear(await alice.do(SendRequest()))
    for party in (office, alice):
        shown = json.dumps(party.data.shown()) + repr(party.data)
        assert "blinding" not in shown
        assert "answers" not in shown
        assert "Alice" not in repr(party.data)
    assert alice.data.shown()["values"] == ALICE


# -- negotiation -------------------------------------------------------------------------------


async def test_a_proposal_leads_to_an_offer_of_what_was_proposed(
    office: Party, alice: Party
) -> None:
    wanted: Filter = {"cred_def_id": DEFINITION}
    proposal = await alice.do(SendProposal(values=ALICE, filter=wanted, format="hlindy"))
    assert alice.state == State.PROPOSAL_SENT
    await office.hear(proposal)
    assert office.state == State.PROPOSAL_RECEIVED
    offer = await office.do(SendOffer())
    assert offer["formats"][0]["format"] == OFFER["hlindy"]
    await alice.hear(offer)
    assert (alice.state, alice.data.values) == (State.OFFER_RECEIVED, ALICE)


async def test_a_proposal_that_names_no_definition_needs_one_from_us(
    office: Party, alice: Party
) -> None:
    await office.hear(await alice.do(SendProposal(values=ALICE)))
    with pytest.raises(BadCommandError):
        await office.do(SendOffer())
    assert office.state == State.PROPOSAL_RECEIVED
    await office.do(SendOffer(cred_def_id=DEFINITION))
    assert office.state == State.OFFER_SENT


async def test_the_holder_answers_an_offer_with_another_proposal(
    office: Party, alice: Party
) -> None:
    await alice.hear(await office.do(OFFERING))
    better = {**ALICE, "category": "C"}
    proposal = await alice.do(SendProposal(values=better))
    assert content(proposal, "filters") == {"cred_def_id": DEFINITION}
    await office.hear(proposal)
    assert (office.state, office.data.values) == (State.PROPOSAL_RECEIVED, better)
    await alice.hear(await office.do(SendOffer(values={**ALICE, "category": "A"})))
    await office.hear(await alice.do(SendRequest()))
    issued = content(await office.do(Issue()), "credentials")
    assert issued["values"] == {**ALICE, "category": "A"}


async def test_a_second_offer_takes_the_place_of_the_first(office: Party, alice: Party) -> None:
    await alice.hear(await office.do(OFFERING))
    await alice.hear(await office.do(SendOffer(values={**ALICE, "category": "C"})))
    assert alice.data.values["category"] == "C"
    await office.hear(await alice.do(SendRequest()))
    assert office.state == State.REQUEST_RECEIVED


async def test_a_second_proposal_takes_the_place_of_the_first(
    office: Party, alice: Party
) -> None:
    await office.hear(await alice.do(SendProposal(values=ALICE)))
    await office.hear(await alice.do(SendProposal(values={**ALICE, "category": "C"})))
    assert (office.state, office.data.values["category"]) == (State.PROPOSAL_RECEIVED, "C")


async def test_a_filter_speaks_the_words_of_its_format(office: Party, alice: Party) -> None:
    wanted: Filter = {"issuer_id": "V4SGRU86Z58d6TV7PBUe6f", "schema_name": "licence"}
    proposal = await alice.do(SendProposal(values=ALICE, filter=wanted, format="hlindy"))
    assert proposal["formats"][0]["format"] == FILTER["hlindy"]
    assert content(proposal, "filters") == {
        "issuer_did": "V4SGRU86Z58d6TV7PBUe6f",
        "schema_name": "licence",
    }
    await office.hear(proposal)
    assert office.data.wanted == wanted


async def test_a_proposal_without_preview_or_filter_is_taken(office: Party) -> None:
    await office.hear({"@type": f"{URI}/propose-credential", "@id": "1", "comment": "hello"})
    assert (office.state, office.data.comment) == (State.PROPOSAL_RECEIVED, "hello")


# -- refusals and ends -------------------------------------------------------------------------


async def test_sec_i01_a_request_for_another_definition_is_refused(
    office: Party, alice: Party
) -> None:
    await alice.hear(await office.do(OFFERING))
    request = await alice.do(SendRequest())
    raw = base64.b64encode(json.dumps({"answers": "another"}).encode()).decode()
    request["requests~attach"][0]["data"] = {"base64": raw}
    await office.hear(request)
    with pytest.raises(RefusedError, match="SEC-I01"):
        await office.do(Issue())


async def test_sec_i02_a_second_request_brings_no_second_credential(
    office: Party, alice: Party
) -> None:
    await alice.hear(await office.do(OFFERING))
    request = await alice.do(SendRequest())
    await office.hear(request)
    for _ in range(2):
        with pytest.raises(OutOfTurnError):
            await office.hear({**request, "@id": "another"})
    await office.do(Issue())
    with pytest.raises(OutOfTurnError):
        await office.hear({**request, "@id": "yet another"})
    with pytest.raises(OutOfTurnError):
        await office.do(Issue())
    assert office.port.issued == 1  # type: ignore[attr-defined] # it is Paper


async def test_sec_i03_nobody_can_change_the_values_between_offer_and_issue(
    office: Party, alice: Party
) -> None:
    with pytest.raises(ValidationError):
        Issue.model_validate({"values": {**ALICE, "category": "C"}})
    await alice.hear(await office.do(OFFERING))
    request = await alice.do(SendRequest())
    await office.hear(
        {**request, "credential_preview": {"attributes": [{"name": "name", "value": "Eve"}]}}
    )
    assert content(await office.do(Issue()), "credentials")["values"] == ALICE


async def test_sec_i04_a_credential_with_other_values_is_refused_and_not_kept(
    office: Party, alice: Party
) -> None:
    await alice.hear(await office.do(OFFERING))
    await office.hear(await alice.do(SendRequest()))
    credential = await office.do(Issue())
    forged = {"values": {**ALICE, "category": "A"}, "signed": True}
    raw = base64.b64encode(json.dumps(forged).encode()).decode()
    credential["credentials~attach"][0]["data"] = {"base64": raw}
    await alice.hear(credential)
    with pytest.raises(RefusedError, match="SEC-I04"):
        await alice.do(StoreCredential())
    assert (alice.state, alice.data.stored) == (State.RECEIVED, None)


async def test_a_busy_library_changes_nothing(office: Party, alice: Party) -> None:
    await alice.hear(await office.do(OFFERING))
    alice.port.refuse = UnavailableError("busy")  # type: ignore[attr-defined] # it is Paper
    with pytest.raises(UnavailableError):
        await alice.do(SendRequest())
    assert alice.state == State.OFFER_RECEIVED
    alice.port.refuse = None  # type: ignore[attr-defined] # it is Paper
    await alice.do(SendRequest())
    assert alice.state == State.REQUEST_SENT


@pytest.mark.parametrize(("states", "side"), [(3, "issuer"), (3, "holder")])
async def test_either_side_can_end_it_in_every_open_state(states: int, side: str) -> None:
    async def reach(step: int) -> tuple[Party, Party]:
        office = Party(PROTOCOL, Side.ISSUER, Paper())
        alice = Party(PROTOCOL, Side.HOLDER, Paper())
        await office.hear(await alice.do(SendProposal(values=ALICE)))
        if step > 0:
            await alice.hear(await office.do(OFFERING))
        if step > 1:
            await office.hear(await alice.do(SendRequest()))
        return (office, alice) if side == "issuer" else (alice, office)

    for step in range(states):
        ours, theirs = await reach(step)
        report = await ours.do(ReportProblem(comment="no, thank you"))
        assert ours.state == ABANDONED
        await theirs.hear(report)
        assert (theirs.state, theirs.x.error) == (
            ABANDONED,
            "peer reports: no, thank you (abandoned)",
        )
        ours, _ = await reach(step)
        await ours.take(Expired())
        assert ours.state == ABANDONED


async def test_a_holder_may_refuse_what_was_issued(office: Party, alice: Party) -> None:
    await alice.hear(await office.do(OFFERING))
    await office.hear(await alice.do(SendRequest()))
    await alice.hear(await office.do(Issue()))
    await office.hear(await alice.do(ReportProblem(code="not-mine")))
    assert office.state == ABANDONED
    assert "not-mine" in str(office.x.error)


ACKS: dict[object, str] = {
    "OK": State.DONE,
    "ok": State.DONE,
    None: State.DONE,
    "FAIL": ABANDONED,
    "PENDING": State.ISSUED,
}


@pytest.mark.parametrize("status", ACKS)
async def test_an_ack_says_whether_it_is_the_end(
    office: Party, alice: Party, status: object
) -> None:
    await alice.hear(await office.do(OFFERING))
    await office.hear(await alice.do(SendRequest()))
    await alice.hear(await office.do(Issue()))
    ack = await alice.do(StoreCredential())
    await office.hear({**ack, "status": status})
    assert office.state == ACKS[status]
    assert (office.x.error is None) == (status != "FAIL")


async def test_an_ack_that_never_comes_takes_nothing_back(office: Party, alice: Party) -> None:
    await alice.hear(await office.do(OFFERING))
    await office.hear(await alice.do(SendRequest()))
    await office.do(Issue())
    assert await office.take(Expired()) == []
    assert (office.state, office.x.error) == (State.DONE, "no ack came in time")


# -- what comes --------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", ["anoncreds", "indy"])
async def test_the_messages_of_a_credo_issuer_are_understood(alice: Party, flow: str) -> None:
    family: Family = "anoncreds" if flow == "anoncreds" else "hlindy"
    await alice.hear(recorded("offer-credential", f"v2 {flow}"))
    assert alice.data.format == family
    assert alice.data.values == {"name": "Ann", "age": "30"}
    assert alice.data.cred_def_id.startswith("did:indy:") == (flow == "anoncreds")
    request = await alice.do(SendRequest())
    assert request["formats"][0]["format"] == REQUEST[family]
    await alice.hear(recorded("issue-credential", f"v2 {flow}"))
    assert alice.state == State.RECEIVED
    assert alice.data.credential["values"]["name"]["raw"] == "Ann"


@pytest.mark.parametrize("flow", ["anoncreds", "indy"])
async def test_the_messages_of_a_credo_holder_are_understood(office: Party, flow: str) -> None:
    family: Family = "anoncreds" if flow == "anoncreds" else "hlindy"
    await office.do(OFFERING.model_copy(update={"format": family}))
    await office.hear(recorded("request-credential", f"v2 {flow}"))
    assert "blinded_ms" in office.data.request


async def test_an_offer_in_both_formats_is_answered_in_the_better_one(
    office: Party, alice: Party
) -> None:
    offer, old = [
        await Party(PROTOCOL, Side.ISSUER, Paper()).do(
            OFFERING.model_copy(update={"format": family})
        )
        for family in ("anoncreds", "hlindy")
    ]
    for key in ("formats", "offers~attach"):
        offer[key] = old[key] + offer[key]
    await alice.hear(offer)
    assert alice.data.format == "anoncreds"


def _attach(message: Json, field: str, names: Names, data: Json) -> Json:
    return {
        **message,
        "formats": [{"attach_id": "a", "format": names["anoncreds"]}],
        f"{field}~attach": [{"@id": "a", "data": data}],
    }


@pytest.mark.parametrize(
    "data",
    [
        {"base64": "e30"},  # {}: neither id
        {"json": {"cred_def_id": 7, "schema_id": "s"}},
        {"json": ["no object"]},
        {"base64": "!!!"},
        {"base64": base64.b64encode(b'{"cred_def_id": NaN}').decode()},
    ],
)
async def test_an_offer_that_is_none_is_refused(
    office: Party, alice: Party, data: Json
) -> None:
    offer = await office.do(OFFERING)
    with pytest.raises(BadMessageError):
        await alice.hear(_attach(offer, "offers", OFFER, data))
    assert alice.state == START


async def test_attachments_in_other_formats_are_refused(office: Party, alice: Party) -> None:
    offer = await office.do(OFFERING)
    offer["formats"][0]["format"] = "aries/ld-proof-vc-detail@v1.0"
    with pytest.raises(BadMessageError, match="anoncreds/credential-offer"):
        await alice.hear(offer)


async def test_a_format_without_its_attachment_is_refused(office: Party, alice: Party) -> None:
    offer = await office.do(OFFERING)
    offer["offers~attach"][0]["@id"] = "another"
    with pytest.raises(BadMessageError, match="there is no attachment"):
        await alice.hear(offer)


@pytest.mark.parametrize(
    ("offered", "answered"), [("anoncreds", "hlindy"), ("hlindy", "anoncreds")]
)
async def test_an_exchange_goes_on_in_the_format_of_the_request(
    office: Party, alice: Party, offered: Family, answered: Family
) -> None:
    """ACA-Py 1.7 with its newer wallet answers the older format in the newer one."""
    await alice.hear(await office.do(OFFERING.model_copy(update={"format": offered})))
    request = await alice.do(SendRequest())
    request["formats"][0]["format"] = REQUEST[answered]
    await office.hear(request)
    credential = await office.do(Issue())
    assert credential["formats"][0]["format"] == CREDENTIAL[answered]
    await alice.hear(credential)
    await office.hear(await alice.do(StoreCredential()))
    assert (office.state, alice.state) == (State.DONE, State.DONE)


async def test_a_preview_that_names_an_attribute_twice_is_refused(
    office: Party, alice: Party
) -> None:
    offer = await office.do(OFFERING)
    offer["credential_preview"]["attributes"] *= 2
    with pytest.raises(BadMessageError, match="twice"):
        await alice.hear(offer)


@pytest.mark.parametrize("missing", ["credential_preview", "formats", "offers~attach"])
async def test_an_offer_without_its_parts_does_not_parse(
    office: Party, alice: Party, missing: str
) -> None:
    offer = await office.do(OFFERING)
    del offer[missing]
    with pytest.raises(ValidationError):
        await alice.hear(offer)


@pytest.mark.parametrize("value", [25, True, ["a"]])
async def test_a_value_that_is_no_text_is_refused_with_its_place(
    office: Party, alice: Party, value: object
) -> None:
    offer = await office.do(OFFERING)
    offer["credential_preview"]["attributes"][0]["value"] = value
    with pytest.raises(ValidationError, match=r"credential_preview\.attributes\.0\.value"):
        await alice.hear(offer)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a%2e", "a\n", "é", "x" * 101]
)
def test_sec_h_02_the_id_of_a_credential_is_one_part_of_a_path(name: str) -> None:
    with pytest.raises(ValidationError):
        StoreCredential(credential_id=name)
    assert StoreCredential(credential_id="a..b:7").credential_id == "a..b:7"
