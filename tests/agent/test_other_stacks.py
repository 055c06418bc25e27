"""What other stacks write, after public reports: small messages, and what must become of each."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from agent.credentials.test_flow import over_18
from agent.pair import Agent, Pair

from keep_agent.core.machine import ABANDONED, Exchange
from keep_agent.core.message import OLD_PREFIX, PREFIX, Json, Received, new_id
from keep_agent.errors import OutOfTurnError, PeerError
from keep_agent.identity.connections import Connection
from keep_agent.protocols import basic_message, did_exchange, trust_ping
from keep_agent.protocols import issue_credential_2 as ic
from keep_agent.protocols import present_proof_2 as pp
from keep_agent.store.lists import listed


class Talk:
    """Alice hears what Faber's other stack writes, and Faber notes what comes back."""

    def __init__(self, pair: Pair, hers: Connection, his: Connection) -> None:
        self.pair, self.hers, self.his = pair, hers, his
        self.heard: list[Json] = []
        real = pair.faber.tenant.dispatcher.receive

        async def noting(received: Received, *more: Any, **others: Any) -> None:
            self.heard.append(received.body)
            await real(received, *more, **others)

        pair.faber.tenant.dispatcher.receive = noting  # type: ignore[method-assign]

    @property
    def alice(self) -> Agent:
        return self.pair.alice

    async def say(self, kind: str, **body: Any) -> str:
        """Send a message to Alice and wait until what she answers has arrived; return its id."""
        name = str(body.pop("id", new_id()))
        prefix = "" if kind.startswith("did:") else PREFIX
        await self.pair.faber.stolen(self.his, {"@type": prefix + kind, "@id": name, **body})
        await self.alice.quiet()
        return name

    async def propose(self) -> Exchange[pp.Proving]:
        """Open an exchange of Alice's."""
        command = pp.SendProposal(request=over_18())
        x = await self.alice.start(pp.PROTOCOL, command, self.hers.id)
        await self.alice.quiet()
        self.heard.clear()
        return x

    async def now(self, x: Exchange[Any]) -> Exchange[Any]:
        after = await self.alice.profile.exchange(x.id)
        assert after is not None
        return after


@pytest.fixture
async def talk(pair: Pair) -> Talk:
    hers, his = await pair.connect()
    return Talk(pair, hers, his)


# -- messages and decorators -----------------------------------------------------------------------

PINGS: dict[str, Json] = {
    "msg-01": {"~thread": {}},
    "msg-03": {"~thread": {"thid": "", "pthid": ""}},
    "msg-04": {"~thread": {"thid": None, "pthid": None, "received_orders": None}},
    "msg-06": {"~timing": {"out_time": 1700000000, "expires_time": None}},
    "msg-10": {"~transport": None, "~service": None},
    "nulls": {
        "~thread": None,
        "comment": None,
        "response_requested": None,
        "~please_ack": None,
    },
}


@pytest.mark.parametrize("case", PINGS)
async def test_a_ping_is_answered_whatever_is_null_in_it(talk: Talk, case: str) -> None:
    name = await talk.say("trust_ping/1.0/ping", **PINGS[case])
    (pong,) = talk.heard
    assert pong["@type"].endswith("trust_ping/1.0/ping_response")
    assert pong["~thread"] == {"thid": name}


@pytest.mark.parametrize("kind", [f"{OLD_PREFIX}trust_ping/1.0/ping", "trust_ping/1.1/ping"])
async def test_older_prefixes_and_newer_minors_are_answered(talk: Talk, kind: str) -> None:
    await talk.say(kind)
    assert talk.heard[0]["@type"] == f"{PREFIX}trust_ping/1.0/ping_response"


async def test_a_query_with_a_null_is_answered(talk: Talk) -> None:
    await talk.say("discover-features/1.0/query", query="*", comment=None)
    assert talk.heard[0]["@type"].endswith("/disclose")


WORDS: dict[str, tuple[Json, Json]] = {
    "msg-12": (
        {"content": "hi", "sent_time": 1764151200000, "~l10n": {"locale": "en"}},
        {"content": "hi", "sent_time": "2025-11-26T10:00:00Z", "locale": "en"},
    ),
    "seconds": (
        {"content": "hi", "sent_time": 1764151200},
        {"content": "hi", "sent_time": "2025-11-26T10:00:00Z"},
    ),
    "msg-13": ({"content": "hi", "~l10n": {"locale": None}}, {"content": "hi"}),
    "msg-15": ({"content": "", "sent_time": None}, {"content": ""}),
    "msg-16": (
        {"content": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 👨\u200d👩\u200d👧"},
        {"content": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 👨\u200d👩\u200d👧"},
    ),
}


@pytest.mark.parametrize("case", WORDS)
async def test_a_text_is_kept_as_it_was_written(talk: Talk, case: str) -> None:
    body, kept = WORDS[case]
    await talk.say("basicmessage/1.0/message", **body)
    x = await talk.alice.reached(basic_message.PROTOCOL, "received")
    (line,) = x.data.lines
    assert line.model_dump(exclude_none=True, exclude={"id"}) == kept
    assert talk.heard == []


REFUSED: dict[str, tuple[str, Json, str]] = {
    "msg-09": ("trust_ping/1.0/ping", {"~please_ack": True}, "~please_ack must be an object"),
    "a text that is too long": (
        "basicmessage/1.0/message",
        {"content": "x" * 60_000},
        "content has 60000 characters; 50000 is the most",
    ),
    "no text": ("basicmessage/1.0/message", {"content": None}, "content is missing"),
    "a number": ("basicmessage/1.0/message", {"content": 5}, "content must be text"),
    "too many": (
        "discover-features/2.0/queries",
        {"queries": [{"feature-type": "protocol", "match": "*"}] * 17},
        "queries has too many items; 16 is the most",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_refusal_says_where_what_is_wrong_and_the_limit(talk: Talk, case: str) -> None:
    kind, body, words = REFUSED[case]
    name = await talk.say(kind, **body)
    (report,) = talk.heard
    assert report["~thread"] == {"thid": name}
    assert words in report["description"]["en"]
    assert "x" * 100 not in report["description"]["en"]


async def test_our_side_is_told_as_well_that_what_it_waits_for_cannot_be_read(
    talk: Talk,
) -> None:
    x = await talk.propose()
    kind = "present-proof/2.0/request-presentation"
    await talk.say(kind, formats=5, **{"~thread": {"thid": x.thid}})
    after = await talk.now(x)
    assert after.state == "proposal-sent"
    words = (
        "a message of the peer was refused: request-presentation cannot be read: formats must"
    )
    assert str(after.error).startswith(words)
    (report,) = talk.heard
    assert report["description"]["en"] in str(after.error)


async def test_what_others_send_on_a_thread_is_not_noted_there(talk: Talk) -> None:
    x = await talk.propose()
    thief, _ = await talk.pair.connect(talk.pair.mallory, talk.alice)
    kind = f"{PREFIX}present-proof/2.0/request-presentation"
    body = {"@type": kind, "@id": "1", "formats": 5, "~thread": {"thid": x.thid}}
    await talk.pair.mallory.stolen(thief, body)
    assert await talk.now(x) == x


# -- families --------------------------------------------------------------------------------------

FAMILIES = {
    "issue-credential/1.0/offer-credential": "issue-credential/1.0/problem-report",
    "present-proof/1.0/request-presentation": "present-proof/1.0/problem-report",
    "connections/1.0/request": "connections/1.0/problem_report",
    "didexchange/2.0/request": "didexchange/2.0/problem_report",
    "trust_ping/1.9/pang": "trust_ping/1.0/problem-report",
}


@pytest.mark.parametrize("kind", FAMILIES)
async def test_a_refusal_is_of_the_refused_family(talk: Talk, kind: str) -> None:
    name = await talk.say(kind, **{"~thread": None})
    (report,) = talk.heard
    assert report["@type"] == PREFIX + FAMILIES[kind]
    assert report["~thread"] == {"thid": name}
    assert report["description"]["code"] == "e.p.msg.unsupported"


async def test_a_refusal_says_which_version_we_speak(talk: Talk) -> None:
    await talk.say("issue-credential/1.0/offer-credential")
    await talk.say("tea/1.0/cup")
    said = [report["description"]["en"] for report in talk.heard]
    assert said[0].endswith("issue-credential/1.0 is not supported; issue-credential/2.0 is")
    assert said[1].endswith("tea/1.0 is not supported; ask what is, with discover-features")


# -- problem reports -------------------------------------------------------------------------------

PP = "present-proof/2.0/problem-report"
REPORTS: dict[str, tuple[str, Json, str]] = {
    "pr-01": (PP, {"description": {"code": "rejected", "en": "no"}}, "no (rejected)"),
    "pr-03": (PP, {"description": None}, "a problem, without saying which"),
    "pr-04": ("notification/1.0/problem-report", {"explain-ltxt": "not wanted"}, "not wanted"),
    "pr-06": (
        PP,
        {"problem-code": "rejected", "explain": "no", "impact": None, "noticed_time": "x"},
        "no (rejected)",
    ),
    "pr-07": (PP, {"description": {"de": "nein"}, "problem_items": [{"x": "y"}]}, "nein"),
    "pr-09": (PP, {"description": {"code": 400, "en": "no"}}, "no (400)"),
    "a text": (PP, {"description": "not now"}, "not now"),
    "a list": (PP, {"description": [{"en": "not", "code": None}, "now"]}, "not now"),
    "a number": (PP, {"description": 7}, "7"),
    "nothing": (PP, {}, "a problem, without saying which"),
    "empty texts": (
        PP,
        {"description": {"en": "", "code": ""}},
        "a problem, without saying which",
    ),
    "explained in languages": (PP, {"explain-ltxt": {"fr": "non"}}, "non"),
    "explained with a decorator": (PP, {"explain@l10n": {"fr": "non"}}, "non"),
    "items alone": (PP, {"problem-items": [{"en": "the postal code"}]}, "the postal code"),
    "a code and a hint": (
        PP,
        {"description": {"code": "rejected"}, "fix-hint": {"en": "try later"}},
        "try later (rejected)",
    ),
    "underscored": ("present-proof/2.0/problem_report", {"description": {"en": "no"}}, "no"),
    "another family": ("issue-credential/2.0/problem-report", {"description": "no"}, "no"),
    "a family unknown to us": ("tea/1.0/problem-report", {"description": "no"}, "no"),
    "an older version": ("present-proof/1.0/problem-report", {"description": "no"}, "no"),
    "the old prefix": (f"{OLD_PREFIX}{PP}", {"description": "no"}, "no"),
    "other members of any shape": (
        PP,
        {"description": "no", "~please_ack": True, "~service": 7, "fix-hint": [[]]},
        "no",
    ),
    "what must not be shown": (PP, {"description": {"en": "\u202eno\u0000\u2066"}}, "no"),
}


@pytest.mark.parametrize("case", REPORTS)
async def test_a_report_of_any_shape_ends_the_exchange_of_its_thread(
    talk: Talk, case: str
) -> None:
    kind, body, words = REPORTS[case]
    x = await talk.propose()
    await talk.say(kind, **body, **{"~thread": {"thid": x.thid, "pthid": None}})
    after = await talk.now(x)
    assert (after.state, after.error) == (ABANDONED, f"peer reports: {words}")
    assert talk.heard == []


async def test_the_words_of_a_report_are_bounded(talk: Talk) -> None:
    x = await talk.propose()
    deep: Any = "x" * 9000
    for _ in range(40):
        deep = [deep, "y" * 9000]
    description = {"en": "z" * 100_000, "code": "c" * 9000, "more": deep}
    await talk.say(PP, description=description, **{"~thread": {"thid": x.thid}})
    after = await talk.now(x)
    assert after.state == ABANDONED
    assert len(str(after.error)) < 500


@pytest.mark.parametrize("thread", [None, {}, {"thid": ""}, {"thid": 7}, "x", [], {"pthid": 1}])
async def test_a_report_that_names_no_thread_ends_nothing(talk: Talk, thread: object) -> None:
    """Not even if its own id is that of the thread."""
    x = await talk.propose()
    with pytest.raises(PeerError):
        await talk.say(PP, id=x.thid, description="no", **{"~thread": thread})
    assert (await talk.now(x)).state == "proposal-sent"
    assert talk.heard == []


async def test_a_report_for_an_unknown_thread_is_not_answered(talk: Talk) -> None:
    x = await talk.propose()
    for kind in (PP, "tea/1.0/problem-report", "tea/1.0/Problem_Report"):
        with pytest.raises(OutOfTurnError):
            await talk.say(kind, description="no", **{"~thread": {"thid": "another"}})
    assert (await talk.now(x)).state == "proposal-sent"
    assert talk.heard == []


async def test_a_ping_that_is_refused_waits_no_longer(talk: Talk) -> None:
    talk.pair.wire.held = []  # or Faber would answer it
    x = await talk.alice.start(trust_ping.PROTOCOL, trust_ping.SendPing(), talk.hers.id)
    await talk.pair.wire.gather(1)
    await talk.say(
        "notification/1.0/problem-report", description="no", **{"~thread": {"thid": x.thid}}
    )
    after = await talk.now(x)
    assert (after.state, after.error) == (ABANDONED, "peer reports: no")


# -- Credo: each proposal has the id of its thread ---------------------------------------------------


def proposal(attribute: str) -> Json:
    asked = {"name": "q", "version": "1.0", "nonce": "1", "requested_predicates": Json()}
    asked["requested_attributes"] = {"r": {"name": attribute}}
    return {
        "formats": [{"attach_id": "0", "format": "anoncreds/proof-request@v1.0"}],
        "proposals~attach": attached(json=asked),
    }


async def test_a_second_proposal_under_the_id_of_the_thread_is_taken(talk: Talk) -> None:
    kind, thread = "present-proof/2.0/propose-presentation", "thread-1"
    names = {"id": thread, "~thread": {"thid": thread}}
    await talk.say(kind, **names, **proposal("name"))
    x = await talk.alice.reached(pp.PROTOCOL, "proposal-received")
    await talk.alice.command(x, pp.SendRequest(request=over_18()))
    for _ in range(2):
        await talk.say(kind, **names, **proposal("category"))
    after = await talk.now(x)
    assert after.state == "proposal-received"
    assert after.data.proposal["requested_attributes"]["r"]["name"] == "category"
    await talk.alice.command(x, pp.SendRequest(request=over_18()))
    await talk.say(kind, **names, **proposal("name"))  # the first one again: a repetition
    assert (await talk.now(x)).state == "request-sent"


# -- offers ----------------------------------------------------------------------------------------

CRED = "WgWxqztrNooG92RXvxSTWv:3:CL:12:default"
CONTENT: Json = {
    "schema_id": "WgWxqztrNooG92RXvxSTWv:2:licence:1.0",
    "cred_def_id": CRED,
    "nonce": "1234567890",
    "key_correctness_proof": {"c": "1", "xz_cap": "2", "xr_cap": [["a", "3"]]},
}


def base64_of(content: Json) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode()


def offer(value: object = "1", **more: Any) -> Json:
    kind = f"{PREFIX}issue-credential/2.0/credential-preview"
    preview = {"@type": kind, "attributes": [{"name": "a", "value": value}]}
    data = {"base64": base64_of(CONTENT)}
    return {
        "credential_preview": preview,
        "formats": [{"attach_id": "0", "format": "hlindy/cred-abstract@v2.0"}],
        "offers~attach": [{"@id": "0", "mime-type": "application/json", "data": data}],
        **more,
    }


def attached(**data: Any) -> list[Json]:
    return [{"@id": "0", "mime-type": None, "data": data}]


_OLD_PREVIEW = f"{OLD_PREFIX}issue-credential/1.0/credential-preview"
_LD: Json = {"attach_id": "ld", "format": "aries/ld-proof-vc-detail@v1.0"}
OFFERS: dict[str, Json] = {
    "offer-01": offer(),
    "offer-06": offer(
        credential_preview={"@type": _OLD_PREVIEW, "attributes": [{"name": "a", "value": "1"}]}
    ),
    "offer-07": offer(
        formats=[_LD, *offer()["formats"]],
        **{
            "offers~attach": [
                {"@id": "ld", "data": {"json": {"credential": "x"}}},
                *offer()["offers~attach"],
            ]
        },
    ),
    "offer-09": offer(**{"offers~attach": attached(json=CONTENT)}),
    "offer-10": offer(**{"offers~attach": attached(base64=base64_of(CONTENT), sha256="ab")}),
    "offer-13": offer(comment=None, replacement_id=None, **{"~thread": Json()}),
    "offer-15": offer(
        supplements=[{"type": "hashlink-data", "ref": "a", "attrs": []}],
        **{"~attach": [{"@id": "s1", "data": {"base64": "eyJ4IjogMX0="}}]},
    ),
    "offer-16": offer(
        formats=[{"attach_id": "0", "format": "anoncreds/credential-offer@v1.0"}]
    ),
    "offer-18": offer(
        goal_code="issue-vc",
        comment="Voilà",
        **{"~l10n": {"locale": "fr"}, "~timing": {"expires_time": "2030-01-01 00:00Z"}},
    ),
    "nulls beside the content": offer(
        **{
            "offers~attach": attached(
                base64=base64_of(CONTENT), json=None, links=None, sha256=None, jws=None
            )
        }
    ),
    "base64 in lines": offer(
        **{
            "offers~attach": attached(
                base64=base64.encodebytes(json.dumps(CONTENT).encode()).decode()
            )
        }
    ),
}


@pytest.mark.parametrize("case", OFFERS)
async def test_an_offer_is_taken(talk: Talk, case: str) -> None:
    await talk.say("issue-credential/2.0/offer-credential", **OFFERS[case])
    x = await talk.alice.reached(ic.PROTOCOL, "offer-received")
    assert (x.data.values, x.data.cred_def_id, x.data.offer) == ({"a": "1"}, CRED, CONTENT)
    assert x.data.format == ("anoncreds" if case == "offer-16" else "hlindy")


WRONG_OFFERS: dict[str, tuple[Json, str]] = {
    "offer-03": (offer(25), "credential_preview.attributes.0.value must be text"),
    "offer-04": (offer(True), "credential_preview.attributes.0.value must be text"),  # noqa: FBT003
    "offer-12": (offer(credential_preview=None), "credential_preview is missing"),
    "no value": (offer(None), "credential_preview.attributes.0.value is missing"),
    "no list": (offer(formats=7), "formats must be a list"),
    "two contents": (
        offer(**{"offers~attach": attached(base64="e30=", json=[1])}),
        "offers~attach.0.data is wrong: data needs exactly one of base64 and json",
    ),
}


@pytest.mark.parametrize("case", WRONG_OFFERS)
async def test_an_offer_is_refused_in_clear_words(talk: Talk, case: str) -> None:
    body, words = WRONG_OFFERS[case]
    await talk.say("issue-credential/2.0/offer-credential", **body)
    (report,) = talk.heard
    assert report["@type"].endswith("issue-credential/2.0/problem-report")
    assert words in report["description"]["en"]
    assert not await listed(talk.alice.profile, "~protocol", ic.PROTOCOL.name, 10)


async def test_nothing_is_left_out_of_what_is_attached(talk: Talk) -> None:
    """A null there is its author's: what it means is said by the model of that content."""
    content = {**CONTENT, "x": None, "y": [None, {"z": None}]}
    body = offer(**{"offers~attach": attached(json=content)})
    await talk.say("issue-credential/2.0/offer-credential", **body)
    x = await talk.alice.reached(ic.PROTOCOL, "offer-received")
    assert x.data.offer == content


async def test_a_question_attached_as_json_is_taken(talk: Talk) -> None:
    item = {"name": "a", "restrictions": [{"cred_def_id": CRED}]}
    asked = {"name": "q", "version": "1.0", "nonce": "1", "requested_attributes": {"0_a": item}}
    body: Json = {
        "will_confirm": True,
        "formats": [{"attach_id": "0", "format": "hlindy/proof-req@v2.0"}],
        "request_presentations~attach": attached(json={**asked, "requested_predicates": {}}),
    }
    await talk.say("present-proof/2.0/request-presentation", **body)
    x = await talk.alice.reached(pp.PROTOCOL, "request-received")
    assert x.data.request["requested_attributes"] == {"0_a": item}


@pytest.mark.parametrize(
    "restrictions", [[None], [{"cred_def_id": None}], [{"cred_def_id": CRED, "x": None}]]
)
async def test_sec_p_32_a_null_in_a_restriction_is_refused_as_it_came(
    talk: Talk, restrictions: list[object]
) -> None:
    """In an attachment of JSON, too, where a message's own nulls are left out."""
    item = {"name": "a", "restrictions": restrictions}
    asked = {"name": "q", "version": "1.0", "nonce": "1", "requested_attributes": {"r": item}}
    body: Json = {
        "comment": None,
        "formats": [{"attach_id": "0", "format": "hlindy/proof-req@v2.0"}],
        "request_presentations~attach": attached(json={**asked, "requested_predicates": {}}),
    }
    await talk.say("present-proof/2.0/request-presentation", **body)
    (report,) = talk.heard
    assert "SEC-P" in report["description"]["en"]
    assert not await listed(talk.alice.profile, "~protocol", pp.PROTOCOL.name, 10)


# -- invitations that are used up or expired -------------------------------------------------------


async def test_who_answers_a_used_up_invitation_is_told_so(pair: Pair) -> None:
    invitation = await pair.faber.invite()
    await pair.alice.accept(invitation)
    await pair.met(invitation["@id"], pair.alice, pair.faber)
    await pair.mallory.accept(invitation)
    told = await pair.mallory.reached(did_exchange.PROTOCOL, ABANDONED)
    assert told.error == (
        "peer reports: this invitation is used up: ask for a new one (request_not_accepted)"
    )
    await pair.faber.quiet()
    exchanges = await listed(pair.faber.profile, "~protocol", did_exchange.PROTOCOL.name, 10)
    assert len(exchanges) == 1
