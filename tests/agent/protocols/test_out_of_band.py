"""Invitations step by step: made, read, answered, refused."""

from __future__ import annotations

import base64
import json
import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from agent.paper import Paper, recorded

from keep_agent.core.machine import Exchange, Expired, Put
from keep_agent.core.message import PREFIX, Json, ProblemReport, Thread
from keep_agent.core.untrusted_text import sanitize_text
from keep_agent.didcomm.invitation_urls import MAX_INVITATION
from keep_agent.errors import (
    BadCommandError,
    LocalError,
    NotFoundError,
    NotNowError,
    RefusedError,
)
from keep_agent.identity.connections import (
    CONNECTION,
    CONNECTIONLESS,
    INVITATION,
    Connection,
)
from keep_agent.identity.dids import Did, short_form
from keep_agent.identity.keys import NewKey, did_key, to_verkey
from keep_agent.protocols import did_exchange, trust_ping
from keep_agent.protocols.out_of_band import (
    PROTOCOL,
    Accept,
    CreateInvitation,
    HandshakeReuse,
    HandshakeReuseAccepted,
    ReceiveInvitation,
    SendRequest,
    Side,
    State,
)
from keep_agent.store.rows import Outgoing, write_outgoing

PING = {"@type": "https://didcomm.org/trust_ping/1.0/ping", "@id": "ping-1"}


@pytest.fixture
def alice() -> Paper:
    return Paper("alice")


@pytest.fixture
def faber() -> Paper:
    return Paper("faber")


async def look(alice: Paper, **given: Any) -> Exchange[Any]:
    x = alice.new(PROTOCOL, Side.RECEIVER, "nobody")
    after, _ = await alice.run(PROTOCOL, x, ReceiveInvitation(**given))
    return after


def meet(alice: Paper, invitation: Json, **more: Any) -> Connection:
    """Note that Alice has a connection out of an earlier invitation."""
    key = to_verkey(invitation["services"][0]["recipientKeys"][0])
    connection = Connection(
        id="c",
        state="completed",
        role="requester",
        my_key=NewKey.generate({}).verkey,
        their_key=NewKey.generate({}).verkey,
        endpoint="http://faber.example",
        recipients=(key,),
        inviter=key,
        created=1.0,
    ).but(**more)
    alice.write(connection.put())
    return connection


def hold(faber: Paper, name: str, peer: str) -> None:
    """Let Faber have an exchange whose first message waits for an invitation."""
    x = replace(faber.new(trust_ping.PROTOCOL, trust_ping.Side.SENDER, peer), id=name)
    held = write_outgoing(Outgoing(f"{name}.1", "line", x.thid, PING, exchange=name))
    faber.exchanges[name] = replace(x, out=(held,))


async def with_ping(faber: Paper, **wish: Any) -> Json:
    """Return an invitation of Faber's with a ping attached."""
    x = faber.new(PROTOCOL, Side.SENDER, "nobody")
    hold(faber, "pinging", x.thid)
    after, _ = await faber.run(PROTOCOL, x, CreateInvitation(attach=("pinging",), **wish))
    message: Json = after.data.message
    return message


# -- making ----------------------------------------------------------------------------------------


async def test_an_invitation_says_how_to_answer(faber: Paper) -> None:
    x = faber.new(PROTOCOL, Side.SENDER, "nobody")
    wish = CreateInvitation(goal="To greet", goal_code="greet")
    after, step = await faber.run(PROTOCOL, x, wish)
    message = after.data.message
    assert message["@type"] == "https://didcomm.org/out-of-band/1.1/invitation"
    assert message["@id"] == x.thid
    assert message["label"] == "faber"
    assert message["goal"] == "To greet"
    assert message["goal_code"] == "greet"
    assert message["accept"] == ["didcomm/aip1", "didcomm/aip2;env=rfc19"]
    assert message["handshake_protocols"] == [
        "https://didcomm.org/didexchange/1.1",
        "https://didcomm.org/didexchange/1.0",
    ]
    (service,) = message["services"]
    assert service["serviceEndpoint"] == faber.port.own.endpoint
    assert "~timing" not in message
    assert not step.send
    key = to_verkey(service["recipientKeys"][0])
    assert faber.stored[key].metadata == {"invitation": x.thid}
    record = faber.invitation(x.thid)
    assert (record.direction, record.key, record.minors) == ("ours", key, (1, 0))


async def test_the_link_holds_the_invitation(faber: Paper, alice: Paper) -> None:
    x = faber.new(PROTOCOL, Side.SENDER, "nobody")
    after, _ = await faber.run(PROTOCOL, x, CreateInvitation())
    assert after.data.url.startswith(f"{faber.port.own.endpoint}?oob=")
    seen = await look(alice, url=after.data.url)
    assert seen.data.invitation == x.thid


async def test_each_invitation_has_a_key_of_its_own(faber: Paper) -> None:
    first, second = await faber.invite(), await faber.invite()
    assert first["services"] != second["services"]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"multi_use": True, "attach": ["x"]}, "for one peer"),
        ({"handshake_protocols": []}, "offer a handshake"),
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused(
    faber: Paper, wish: Json, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        await faber.invite(**wish)
    assert not faber.records


async def test_what_is_not_there_cannot_be_attached(faber: Paper) -> None:
    with pytest.raises(NotFoundError):
        await faber.invite(attach=["nothing"])


async def test_an_exchange_goes_only_with_the_invitation_it_is_named_by(faber: Paper) -> None:
    hold(faber, "x", "another")
    with pytest.raises(BadCommandError, match="'another'"):
        await faber.invite(attach=["x"])


async def test_an_attached_message_names_its_parent_thread(faber: Paper) -> None:
    invitation = await with_ping(faber)
    (request,) = invitation["requests~attach"]
    assert request["data"]["json"] == {**PING, "~thread": {"pthid": invitation["@id"]}}


# -- reading ---------------------------------------------------------------------------------------


async def test_a_recorded_invitation_is_read(alice: Paper) -> None:
    invitations = [
        i
        for i in recorded("invitation", "invitation")
        if "https://didcomm.org/didexchange/1.1" in i.get("handshake_protocols", [])
    ]
    assert len(invitations) == 4
    for invitation in invitations:
        x = await look(alice, invitation=invitation)
        assert x.state == State.PREPARE_RESPONSE
        assert x.data.label == "trace-faber"
        record = alice.invitation(x.id)
        assert record.direction == "received"
        assert record.address is not None
        assert record.address.endpoint == "http://127.0.0.1:8350"


async def test_a_handshake_that_we_do_not_speak_is_named(alice: Paper) -> None:
    (old,) = [
        i
        for i in recorded("invitation", "invitation")
        if "https://didcomm.org/connections/1.0" in i.get("handshake_protocols", [])
    ]
    with pytest.raises(BadCommandError, match=r"connections/1\.0"):
        await look(alice, invitation=old)


async def test_an_invitation_of_connections_1_0_is_named(alice: Paper) -> None:
    (old,) = [
        i for i in recorded("invitation", "invitation") if "connections/1.0" in i["@type"]
    ]
    with pytest.raises(BadCommandError, match="connections/1 are not supported"):
        await look(alice, invitation=old)
    with pytest.raises(BadCommandError, match=r"connections/1\.0 are not supported"):
        await look(alice, url="http://faber.example?c_i=e30")


async def test_version_1_0_is_answered_in_1_0(alice: Paper, faber: Paper) -> None:
    invitation = await faber.invite()
    old = {**invitation, "@type": "https://didcomm.org/out-of-band/1.0/invitation"}
    assert (await look(alice, invitation=old)).minor == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://faber.example",
        "http://faber.example?oob=",
        "http://faber.example?oob=!!!",
        "http://faber.example?oob=bm8",
        "http://faber.example?oob=W10",
        "http://faber.example?d_m=e30",
        "http://[",
        "nonsense",
    ],
)
async def test_a_link_without_a_good_invitation_is_refused(alice: Paper, url: str) -> None:
    with pytest.raises(BadCommandError):
        await look(alice, url=url)
    assert not alice.records


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
async def test_every_base64_of_a_link_is_read(
    alice: Paper, faber: Paper, *, padded: bool, encode: Any
) -> None:
    invitation = {**await faber.invite(), "goal": "ÿÿÿ???>>>~~~"}
    text = encode(json.dumps(invitation, ensure_ascii=False).encode()).decode()
    link = f"http://x.example/?oob={text if padded else text.rstrip('=')}"
    for url in (link, f" <{link}>\n", f'"{link}"'):
        assert (await look(alice, url=url)).data.goal == "ÿÿÿ???>>>~~~"


LINKS: dict[str, tuple[str, Callable[[str], str]]] = {
    "oob-01 padding as percent": ("oob", lambda text: text.replace("=", "%3D")),
    "oob-07 under an older name": ("d_m", str),
    "under the name of connections": ("c_i", str),
    "oob-10 in lines": ("oob", lambda text: "%0A".join(textwrap.wrap(text, 76))),
    "in lines of mail": ("oob", lambda text: "%0D%0A".join(textwrap.wrap(text, 60)) + "%0D%0A"),
    "in indented lines": ("oob", lambda text: "%0A%20%20".join(textwrap.wrap(text, 60))),
    "in words": ("oob", lambda text: "%20".join(textwrap.wrap(text, 60))),
    "a plus that became a blank": ("oob", lambda text: text.replace("+", "%20")),
}


@pytest.mark.parametrize("case", LINKS)
@pytest.mark.parametrize("scheme", ["https://kiosk.example/i", "didcomm://invite"])
async def test_links_of_other_stacks_are_read(
    alice: Paper, faber: Paper, case: str, scheme: str
) -> None:
    name, write = LINKS[case]
    plus = "" if "%20" in write("a" * 99) else "ÿÿ>>>"
    goal = plus if case != "a plus that became a blank" else "ÿÿ>>>"
    body = json.dumps({**await faber.invite(), "goal": goal or "x"}, ensure_ascii=False)
    text = base64.b64encode(body.encode()).decode()
    x = await look(alice, url=f"{scheme}?{name}={write(text)}")
    assert x.data.goal == (goal or "x")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://kiosk.example/i#oob=e30", "contains no invitation"),
        (
            "didcomm://aries_proof-request?_url=aHR0cHM6Ly9raW9zay5leGFtcGxlL2k=",
            "open 'https://kiosk.example/i' first",
        ),
        ("didcomm://x?_url=amF2YXNjcmlwdDphKCk=", "open a short link first"),
        (
            '{"@type": "https://didcomm.org/out-of-band/1.1/invitation"}',
            "give it as `invitation`",
        ),
        ("", "contains no invitation"),
        ("didcomm://x?_url=_w", "open a short link first"),
        (
            "https://kiosk.example/i?c_i=e30",
            "connections/1.0 are not supported: ask the peer for an invitation of out-of-band/1",
        ),
        ("https://kiosk.example/i?oob=eyJhIjoxLCJhIjoxfQ", "names a key twice"),
    ],
)
async def test_links_that_hold_nothing_for_us_are_refused_in_words(
    alice: Paper, url: str, words: str
) -> None:
    with pytest.raises(BadCommandError, match=words):
        await look(alice, url=url)


IN_FIELD: dict[str, Json] = {
    "oob-13": {
        "@type": "did:sov:BzCbsNYhMrjHiqZDTUASHg;spec/out-of-band/1.0/invitation",
        "handshake_protocols": ["did:sov:BzCbsNYhMrjHiqZDTUASHg;spec/didexchange/1.0"],
    },
    "oob-15": {"~timing": {"expires_time": "2040-01-25T18:25:00.123456789+02:00"}},
    "oob-16": {"~timing": {"expires_time": 4100000000}},
    "in milliseconds": {"~timing": {"expires_time": 4100000000000}},
    "in a text": {"~timing": {"expires_time": "4100000000"}},
    "an empty time": {"~timing": {"expires_time": ""}},
    "Go's time that is not set": {"~timing": {"expires_time": "0001-01-01T00:00:00Z"}},
    "oob-18": {"label": None, "goal": None, "goal_code": None, "accept": None},
    "oob-19": {"~thread": None, "~timing": None},
    "oob-21": {"requests~attach": None},
    "oob-27": {"handshake_protocols": [f"{PREFIX}didexchange/1.2", f"{PREFIX}connections/1.0"]},
    "oob-28": {"handshake_protocols": [f"{PREFIX}connections/1.0", f"{PREFIX}didexchange/1.0"]},
    "oob-31": {"goal": "Lang " * 400},
    "oob-36": {"imageUrl": "data:image/png;base64," + "A" * 40_000},
}


@pytest.mark.parametrize("case", IN_FIELD)
async def test_invitations_of_other_stacks_are_read(
    alice: Paper, faber: Paper, case: str
) -> None:
    x = await look(alice, invitation={**await faber.invite(), **IN_FIELD[case]})
    assert (x.state, x.data.handshake) == (State.PREPARE_RESPONSE, True)
    expires: dict[str, float] = dict.fromkeys(("oob-16", "in milliseconds", "in a text"), 4.1e9)
    expires["oob-15"] = 2211121500.123456
    assert alice.invitation(x.id).expires == expires.get(case)


@pytest.mark.parametrize("at", [1700000000, 1.7e12, "1700000000", "2023-11-14T22:13:20Z"])
async def test_sec_o_03_an_invitation_that_expired_is_refused_however_that_is_written(
    alice: Paper, faber: Paper, at: object
) -> None:
    invitation = {**await faber.invite(), "~timing": {"expires_time": at}}
    with pytest.raises(BadCommandError, match="has expired"):
        await look(alice, invitation=invitation)


async def test_a_null_thread_in_what_is_attached_is_none(alice: Paper, faber: Paper) -> None:
    invitation = await with_ping(faber)
    invitation["requests~attach"][0]["data"]["json"]["~thread"] = None
    x = await look(alice, invitation=invitation)
    assert x.data.request == PING["@type"]
    assert alice.invitation(x.id).request == {**PING, "~thread": {"pthid": invitation["@id"]}}


async def test_a_refusal_says_where_and_what_the_limit_is(alice: Paper, faber: Paper) -> None:
    wrong = {"services": ["did:x"] * 17, "accept": 5, "label": 7}
    with pytest.raises(BadCommandError) as refusal:
        await look(alice, invitation={**await faber.invite(), **wrong})
    words = str(refusal.value)
    assert "services has too many items; 16 is the most" in words
    assert "accept must be a list" in words
    assert "label must be text" in words


MALFORMED: list[Json] = [
    {"@type": "https://didcomm.org/out-of-band/2.0/invitation"},
    {"@type": "https://didcomm.org/trust_ping/1.0/ping"},
    {"@type": 5},
    {"@id": ""},
    {"@id": "x" * 201},
    {"services": []},
    {"services": [5]},
    {"services": ["did:nothing:x"]},
    {"services": ["did:sov:WgWxqztrNooG92RXvxSTWv"]},
    {"services": [{"serviceEndpoint": "http://x.example", "recipientKeys": ["x"]}]},
    {"services": [{"recipientKeys": []}]},
    {"services": ["did:sov:WgWxqztrNooG92RXvxSTWv"] * 17},
    {"handshake_protocols": None},
    {"handshake_protocols": ["x"] * 17},
    {"handshake_protocols": ["didexchange/1.1"]},
    {"requests~attach": [{"data": {"base64": "!"}}]},
    {"requests~attach": [{"data": {}}]},
    {"~timing": {"expires_time": "tomorrow"}},
]


@pytest.mark.parametrize("change", MALFORMED)
async def test_a_malformed_invitation_is_refused_and_nothing_kept(
    alice: Paper, faber: Paper, change: Json
) -> None:
    invitation = {**await faber.invite(), **change}
    with pytest.raises(BadCommandError):
        await look(alice, invitation=invitation)
    assert not alice.records


async def test_exactly_one_form_is_given(alice: Paper) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        ReceiveInvitation()
    with pytest.raises(ValueError, match="exactly one"):
        ReceiveInvitation(invitation={}, url="http://x.example")


async def test_the_first_service_that_we_can_use_counts(alice: Paper, faber: Paper) -> None:
    invitation = await faber.invite()
    services = ["did:sov:WgWxqztrNooG92RXvxSTWv", *invitation["services"]]
    x = await look(alice, invitation={**invitation, "services": services})
    address = alice.invitation(x.id).address
    assert address is not None
    assert address.endpoint == faber.port.own.endpoint


@pytest.mark.parametrize(
    ("services", "endpoint"),
    [
        ([{"priority": None}], "http://faber.example/d/main"),
        ([{"routingKeys": None}], "http://faber.example/d/main"),
        ([{"type": None}], "http://faber.example/d/main"),
        ([{"type": "IndyAgent"}], "http://faber.example/d/main"),
        (
            [{"serviceEndpoint": "http://a.example"}, {"serviceEndpoint": "ws://b.example"}],
            None,
        ),
        (
            [{"serviceEndpoint": "ws://b.example"}, {"serviceEndpoint": "http://a.example"}],
            None,
        ),
        ([{"priority": 1}, {"serviceEndpoint": "http://a.example"}], None),
        (
            [
                {
                    "serviceEndpoint": {
                        "uri": "http://a.example",
                        "accept": ["didcomm/aip2;env=rfc19"],
                        "routingKeys": [],
                    }
                }
            ],
            None,
        ),
        ([{"serviceEndpoint": "ws://b.example"}] * 9 + [{}], "http://faber.example/d/main"),
    ],
)
async def test_the_service_that_we_can_send_to_is_taken_by_priority(
    alice: Paper, faber: Paper, services: list[Json], endpoint: str | None
) -> None:
    """As reported of several stacks: oob-25, oob-33, oob-34 and their like."""
    invitation = await faber.invite()
    (own,) = invitation["services"]
    sent = {**invitation, "services": [{**own, **change} for change in services]}
    x = await look(alice, invitation=sent)
    address = alice.invitation(x.id).address
    assert address is not None
    assert address.endpoint == (endpoint or "http://a.example")


async def test_an_invitation_that_is_only_for_websocket_is_refused_in_words(
    alice: Paper, faber: Paper
) -> None:
    invitation = await faber.invite()
    invitation["services"][0]["serviceEndpoint"] = "wss://faber.example"
    with pytest.raises(BadCommandError, match="not an http or https URL"):
        await look(alice, invitation=invitation)


async def test_a_service_without_type_speaks_didcomm(alice: Paper, faber: Paper) -> None:
    invitation = await faber.invite()
    (service,) = invitation["services"]
    bare = {k: v for k, v in service.items() if k != "type"}
    x = await look(alice, invitation={**invitation, "services": [bare]})
    assert x.state == State.PREPARE_RESPONSE


async def test_our_own_invitation_is_not_overwritten(faber: Paper) -> None:
    invitation = await faber.invite()
    with pytest.raises(BadCommandError, match="one of ours"):
        await look(faber, invitation=invitation)
    assert faber.invitation(invitation["@id"]).direction == "ours"


# -- SEC-O -----------------------------------------------------------------------------------------


async def test_sec_o_01_texts_of_the_inviter_are_cleaned(alice: Paper, faber: Paper) -> None:
    evil = {
        "label": "Fa\u202eber\u0000\u200b\n",
        "goal": "x" * 5000,
        "goal_code": "\u2066pay\u2069",
    }
    x = await look(alice, invitation={**await faber.invite(), **evil})
    assert x.data.label == "Faber"
    assert x.data.goal_code == "pay"
    assert len(x.data.goal) == 200
    assert alice.invitation(x.id).label == "Faber"


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم 👨\u200d👩\u200d👧 Büro",  # noqa: RUF001 - Persian
        "ශ්\u200dරී ලංකා",
        "שלום",
    ],
)
async def test_sec_o_01_a_label_in_any_script_is_shown_as_it_is_written(
    alice: Paper, faber: Paper, text: str
) -> None:
    x = await look(alice, invitation={**await faber.invite(), "label": text})
    assert x.data.label == text
    assert sanitize_text(f"\u2067{text}\u2069\u200f\u061c") == text


@pytest.mark.parametrize("text", [None, "", "\u202e", "  \n", "\u200d \u200c\u00a0\u200d"])
def test_sec_o_01_a_text_of_nothing_is_none(text: str | None) -> None:
    assert sanitize_text(text) is None


async def test_joiners_of_words_and_emoji_stay(alice: Paper, faber: Paper) -> None:
    label = "می\u200cخواهم 👨\u200d👩\u200d👧 Büro"  # noqa: RUF001
    x = await look(alice, invitation={**await faber.invite(), "label": f"\u202e{label}\u2066"})
    assert x.data.label == label


async def test_sec_o_02_reuse_does_not_use_an_invitation_twice(
    alice: Paper, faber: Paper
) -> None:
    invitation = await faber.invite()
    connection = meet(faber, invitation)
    for attempt in range(2):
        x = faber.new(PROTOCOL, Side.SENDER, connection.id)
        x = await bound(x, connection)
        reuse = HandshakeReuse(thread=Thread(thid=x.thid, pthid=invitation["@id"]))
        if attempt == 0:
            after, step = await faber.run(PROTOCOL, x, reuse)
            assert after.state == State.DONE
            assert isinstance(step.send[0], HandshakeReuseAccepted)
            assert step.send[0].thread == Thread(thid=x.thid, pthid=invitation["@id"])
        else:
            with pytest.raises(RefusedError, match="used up"):
                await faber.run(PROTOCOL, x, reuse)
    assert faber.connection(connection.id).reused == (invitation["@id"],)


async def test_sec_o_03_an_expired_invitation_is_not_read(alice: Paper, faber: Paper) -> None:
    invitation = await faber.invite(expires_in_s=60)
    assert (await look(alice, invitation=invitation)).state == State.PREPARE_RESPONSE
    for past in ("2020-01-01T00:00:00Z", "2020-01-01 00:00:00", "2020-01-01"):
        late = {**await faber.invite(), "~timing": {"expires_time": past}}
        with pytest.raises(BadCommandError, match="expired"):
            await look(alice, invitation=late)


async def test_sec_o_03_an_invitation_that_expired_meanwhile_is_not_answered(
    alice: Paper, faber: Paper
) -> None:
    invitation = await faber.invite()
    x = await look(alice, invitation=invitation)
    late = alice.invitation(x.id).model_copy(update={"expires": 1.0})
    alice.write(late.put())
    with pytest.raises(NotNowError, match="expired"):
        await alice.run(PROTOCOL, x, Accept())


async def test_sec_o_03_an_expired_invitation_is_not_reused(faber: Paper) -> None:
    invitation = await faber.invite()
    late = faber.invitation(invitation["@id"]).model_copy(update={"expires": 1.0})
    faber.write(late.put())
    x = await bound(faber.new(PROTOCOL, Side.SENDER, "c"), meet(faber, invitation))
    with pytest.raises(RefusedError, match="expired"):
        await faber.run(PROTOCOL, x, HandshakeReuse(thread=Thread(pthid=invitation["@id"])))


async def test_sec_o_04_nothing_goes_on_by_itself(alice: Paper, faber: Paper) -> None:
    for invitation in (await faber.invite(), await with_ping(faber)):
        x = alice.new(PROTOCOL, Side.RECEIVER, "nobody")
        after, step = await alice.run(PROTOCOL, x, ReceiveInvitation(invitation=invitation))
        assert after.state == State.PREPARE_RESPONSE
        assert (step.send, step.then, step.deliver) == ((), (), None)
        assert [type(w) for w in step.writes] == [Put]
    assert not await alice.find(CONNECTION)


async def test_sec_o_08_a_huge_invitation_is_refused(alice: Paper, faber: Paper) -> None:
    invitation = {**await faber.invite(), "goal": "x" * 10**6}
    with pytest.raises(BadCommandError, match="too large"):
        await look(alice, invitation=invitation)
    text = base64.urlsafe_b64encode(b'"' + b"x" * (MAX_INVITATION + 1) + b'"').decode()
    with pytest.raises(BadCommandError, match="too large"):
        await look(alice, url=f"http://x.example?oob={text}")
    with pytest.raises(ValueError, match="at most"):
        ReceiveInvitation(url="http://x.example?oob=" + "A" * 10**6)
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    with pytest.raises(BadCommandError, match="deep"):
        await look(alice, invitation={**await faber.invite(), "goal": deep})


# -- answering -------------------------------------------------------------------------------------


async def bound(x: Exchange[Any], connection: Connection) -> Exchange[Any]:

    return replace(x, connection=connection.id)


async def test_a_stranger_is_answered_with_a_handshake(alice: Paper, faber: Paper) -> None:
    x = await look(alice, invitation=await faber.invite(), alias="Faber")
    after, step = await alice.run(PROTOCOL, x, Accept())
    assert after.state == State.DONE
    (then,) = step.then
    assert then.protocol == "didexchange/1"
    assert then.command == SendRequest(invitation=x.id, alias="Faber")
    assert not step.send


def test_the_command_for_did_exchange_is_its_own() -> None:

    theirs = did_exchange.PROTOCOL.commands[SendRequest.title()]
    assert set(theirs.model_fields) == set(SendRequest.model_fields)


async def test_a_known_inviter_is_answered_with_reuse(alice: Paper, faber: Paper) -> None:
    invitation = await faber.invite(multi_use=True)
    connection = meet(alice, invitation)
    x = await look(alice, invitation=invitation)
    after, step = await alice.run(PROTOCOL, x, Accept())
    assert after.state == State.AWAIT_RESPONSE
    assert after.connection == connection.id
    (reuse,) = step.send
    assert reuse.thread == Thread(thid=reuse.id, pthid=invitation["@id"])
    after, step = await alice.run(PROTOCOL, after, HandshakeReuseAccepted())
    assert after.state == State.DONE
    assert step.deliver is None


async def test_reuse_delivers_what_is_attached(alice: Paper, faber: Paper) -> None:
    invitation = await with_ping(faber)
    connection = meet(alice, invitation)
    x = await look(alice, invitation=invitation)
    after, _ = await alice.run(PROTOCOL, x, Accept())
    after, step = await alice.run(PROTOCOL, after, HandshakeReuseAccepted())
    assert step.deliver == {
        "body": {**PING, "~thread": {"pthid": invitation["@id"]}},
        "sender": connection.their_key,
        "recipient": connection.my_key,
    }


async def test_an_inviter_is_known_again_by_its_did(alice: Paper, faber: Paper) -> None:
    (invitation,) = [
        i
        for i in recorded("invitation", "invitation")
        if i.get("services") and isinstance(i["services"][0], str)
    ]
    did = invitation["services"][0]
    connection = meet(alice, await faber.invite(), known_as=short_form(Did(did)))
    x = await look(alice, invitation=invitation)
    after, _ = await alice.run(PROTOCOL, x, Accept())
    assert after.connection == connection.id


async def test_reuse_may_be_turned_off(alice: Paper, faber: Paper) -> None:
    invitation = await faber.invite()
    meet(alice, invitation)
    x = await look(alice, invitation=invitation)
    after, step = await alice.run(PROTOCOL, x, Accept(reuse=False))
    assert (after.state, len(step.then)) == (State.DONE, 1)


@pytest.mark.parametrize(
    ("event", "words"),
    [(Expired(), ""), (ProblemReport.of("x", "we moved"), ": peer reports: we moved (x)")],
)
async def test_reuse_that_is_not_accepted_becomes_a_handshake(
    alice: Paper, faber: Paper, event: Any, words: str
) -> None:
    invitation = await faber.invite()
    meet(alice, invitation)
    x = await look(alice, invitation=invitation)
    after, _ = await alice.run(PROTOCOL, x, Accept())
    after, step = await alice.run(PROTOCOL, after, event)
    assert after.state == State.DONE
    assert after.error == f"the inviter did not accept the existing connection{words}"
    assert step.then[0].command == SendRequest(invitation=x.id)


async def test_an_unfinished_connection_is_not_reused(alice: Paper, faber: Paper) -> None:
    invitation = await faber.invite()
    meet(alice, invitation, state="request-sent")
    x = await look(alice, invitation=invitation)
    after, _ = await alice.run(PROTOCOL, x, Accept())
    assert after.state == State.DONE


@pytest.mark.parametrize("pthid", [None, "nothing"])
async def test_reuse_of_an_unknown_invitation_is_refused(
    faber: Paper, pthid: str | None
) -> None:
    x = await bound(faber.new(PROTOCOL, Side.SENDER, "c"), meet(faber, await faber.invite()))
    with pytest.raises(RefusedError, match="not an invitation of ours"):
        await faber.run(PROTOCOL, x, HandshakeReuse(thread=Thread(pthid=pthid)))


async def test_without_a_handshake_the_attached_message_is_answered(
    alice: Paper, faber: Paper
) -> None:
    invitation = await with_ping(faber, handshake_protocols=[])
    x = await look(alice, invitation=invitation)
    assert x.data.request == PING["@type"]
    assert not x.data.handshake
    after, step = await alice.run(PROTOCOL, x, Accept())
    assert after.state == State.DONE
    connection = alice.connection(after.id)
    assert connection.state == CONNECTIONLESS
    assert connection.their_key == to_verkey(invitation["services"][0]["recipientKeys"][0])
    assert connection.endpoint == faber.port.own.endpoint
    assert alice.stored[connection.my_key].metadata == {"connection": after.id}
    assert step.deliver is not None
    assert step.deliver["recipient"] == connection.my_key
    assert connection.with_service({"a": 1}) == {
        "a": 1,
        "~service": {
            "recipientKeys": [connection.my_key],
            "routingKeys": [],
            "serviceEndpoint": alice.port.own.endpoint,
        },
    }


@pytest.mark.parametrize(
    "body",
    [
        {"@type": "https://didcomm.org/unknown/1.0/x", "@id": "1"},
        {"@type": "https://didcomm.org/trust_ping/1.0/ping_response", "@id": "1"},
        {"@type": "https://didcomm.org/didexchange/1.1/request", "@id": "1"},
        {"@type": "https://didcomm.org/trust_ping/1.0/nothing", "@id": "1"},
        {**PING, "~thread": 5},
        "text",
        {},
    ],
)
async def test_an_attached_message_that_starts_nothing_is_not_taken(
    alice: Paper, faber: Paper, body: Any
) -> None:
    attachments = [{"@id": "0", "data": {"json": body}}]
    invitation = {**await faber.invite(), "requests~attach": attachments}
    x = await look(alice, invitation=invitation)
    assert x.data.request is None
    bare = {**invitation, "@id": "2"}
    del bare["handshake_protocols"]
    with pytest.raises(LocalError, match="nothing that we support"):
        await look(alice, invitation=bare)


async def test_the_first_attached_message_that_we_speak_is_taken(
    alice: Paper, faber: Paper
) -> None:
    unknown = {"@type": "https://didcomm.org/unknown/1.0/x", "@id": "1"}
    raw = base64.b64encode(json.dumps(PING).encode()).decode()
    attachments = [{"data": {"json": unknown}}, {"data": {"base64": raw}}]
    invitation = {**await faber.invite(), "requests~attach": attachments}
    assert (await look(alice, invitation=invitation)).data.request == PING["@type"]


async def test_a_did_key_in_a_service_may_carry_its_fragment(
    alice: Paper, faber: Paper
) -> None:
    invitation = await faber.invite()
    (service,) = invitation["services"]
    key = service["recipientKeys"][0]
    long = f"{key}#{key.removeprefix('did:key:')}"
    x = await look(
        alice, invitation={**invitation, "services": [{**service, "recipientKeys": [long]}]}
    )
    address = alice.invitation(x.id).address
    assert address is not None
    assert did_key(address.recipients[0]) == key


async def test_records_of_both_directions_are_told_apart(alice: Paper, faber: Paper) -> None:
    invitation = await faber.invite()
    x = await look(alice, invitation=invitation)
    assert [n for n, _ in await alice.find(INVITATION, {"direction": "received"})] == [x.id]
    assert not await alice.find(INVITATION, {"direction": "ours"})
