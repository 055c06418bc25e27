"""Two whole agents: handshake, reuse, early messages, and what strangers and thieves try."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest
from agent.pair import Agent, Pair, packed, stranger

from keep_agent.core.machine import ABANDONED, Exchange, PutKey, ReportProblem
from keep_agent.core.message import Json, ProblemReport, Thread
from keep_agent.errors import BadEnvelopeError, PeerError
from keep_agent.identity.connections import CONNECTION, CONNECTIONLESS
from keep_agent.identity.keys import NewKey, to_verkey
from keep_agent.protocols import (
    basic_message,
    did_exchange,
    discover_features_2,
    issue_credential_2,
    out_of_band,
    trust_ping,
)
from keep_agent.store.lists import listed
from keep_agent.store.rows import Commit

HELLO = basic_message.SendMessage(content="hello")
DONE = out_of_band.State.DONE
COMPLETED = did_exchange.State.COMPLETED


def message(text: str, **more: Any) -> Json:
    return basic_message.BasicMessage(content=text).wire() | more


async def texts(agent: Agent) -> list[str]:
    """Return what was said to an agent, oldest first."""
    protocol = basic_message.PROTOCOL.name
    found = await listed(agent.profile, "~protocol", protocol, 1000)
    return [
        line.content
        for x in reversed(found)
        if x.state == basic_message.State.RECEIVED
        for line in x.data.lines
    ]


async def unchanged(agent: Agent, before: Exchange[Any]) -> bool:
    after = await agent.profile.exchange(before.id)
    return after is not None and replace(after, via=before.via) == before


async def refused(what: Awaitable[object], error: type[Exception] = PeerError) -> None:
    with pytest.raises(error):
        await what


# -- what works ------------------------------------------------------------------------------------


async def test_two_agents_connect_and_greet(pair: Pair) -> None:
    hers, his = await pair.connect()
    assert hers.state == his.state == COMPLETED
    await pair.alice.start(basic_message.PROTOCOL, HELLO, hers.id)
    got = await pair.faber.reached(basic_message.PROTOCOL, basic_message.State.RECEIVED)
    assert got.data.lines[0].content == "hello"
    assert got.connection == his.id


async def test_they_tell_each_other_what_they_speak(pair: Pair) -> None:
    hers, _ = await pair.connect()
    protocol = discover_features_2.PROTOCOL
    every = {"feature-type": "protocol", "match": "*"}
    command = discover_features_2.SendQueries.model_validate({"queries": [every]})
    await pair.alice.start(protocol, command, hers.id)
    x = await pair.alice.reached(protocol, discover_features_2.State.COMPLETED)
    told = {d.id for d in x.data.disclosures}
    assert "https://didcomm.org/didexchange/1.1" in told
    assert "https://didcomm.org/discover-features/1.0" in told


async def test_a_known_inviter_is_not_connected_twice(pair: Pair) -> None:
    invitation = await pair.faber.invite(multi_use=True)
    await pair.alice.accept(invitation)
    hers, _ = await pair.met(invitation["@id"], pair.alice, pair.faber)
    x = await pair.alice.accept(invitation)
    assert x.state == out_of_band.State.AWAIT_RESPONSE
    x = await pair.alice.until(out_of_band.PROTOCOL, lambda y: (y.id, y.state) == (x.id, DONE))
    assert x.connection == hers.id
    assert len(await pair.alice.profile.find(CONNECTION)) == 1
    assert len(await pair.faber.profile.find(CONNECTION)) == 1


async def test_what_came_attached_is_answered_on_the_new_connection(pair: Pair) -> None:
    ping = await pair.faber.start(trust_ping.PROTOCOL, trust_ping.SendPing())
    invitation = await pair.faber.invite(thid=ping.peer, attach=[ping.id])
    await pair.alice.accept(invitation)
    _, his = await pair.met(invitation["@id"], pair.alice, pair.faber)
    done = await pair.faber.reached(trust_ping.PROTOCOL, trust_ping.State.DONE)
    assert done.id == ping.id
    assert done.connection == his.id


async def test_what_came_attached_may_be_answered_on_an_old_connection(pair: Pair) -> None:
    hers, his = await pair.connect()
    ping = await pair.faber.start(trust_ping.PROTOCOL, trust_ping.SendPing())
    invitation = await pair.faber.invite(thid=ping.peer, attach=[ping.id])
    unnamed = trust_ping.PingResponse(thread=Thread(thid=ping.thid))
    await pair.alice.stolen(hers, unnamed.wire())
    assert await unchanged(pair.faber, ping)
    thread = Thread(thid=ping.thid, pthid=invitation["@id"])
    await pair.alice.stolen(hers, trust_ping.PingResponse(thread=thread).wire())
    done = await pair.faber.reached(trust_ping.PROTOCOL, trust_ping.State.DONE)
    assert (done.id, done.connection) == (ping.id, his.id)


async def test_messages_of_one_peer_arrive_in_order(pair: Pair) -> None:
    hers, _ = await pair.connect()
    said = [str(i) for i in range(20)]
    for text in said:
        command = basic_message.SendMessage(content=text)
        await pair.alice.start(basic_message.PROTOCOL, command, hers.id)
    await pair.alice.quiet()
    assert await texts(pair.faber) == said


# -- a bad wire ------------------------------------------------------------------------------------


async def test_lost_messages_are_sent_again(pair: Pair) -> None:
    pair.wire.lose = 1
    hers, _ = await pair.connect()
    pair.wire.lose = 1
    await pair.alice.start(basic_message.PROTOCOL, HELLO, hers.id)
    await pair.faber.reached(basic_message.PROTOCOL, basic_message.State.RECEIVED)


async def test_messages_that_come_twice_count_once(pair: Pair) -> None:
    pair.wire.twice = True
    hers, _ = await pair.connect()
    for text in ("one", "two", "three"):
        command = basic_message.SendMessage(content=text)
        await pair.alice.start(basic_message.PROTOCOL, command, hers.id)
    await pair.alice.quiet()
    assert await texts(pair.faber) == ["one", "two", "three"]
    assert len(await pair.faber.profile.find(CONNECTION)) == 1


async def test_a_message_that_overtakes_the_complete_is_taken(pair: Pair) -> None:
    invitation = await pair.faber.invite()
    await pair.alice.accept(invitation)
    x = await pair.faber.reached(did_exchange.PROTOCOL, did_exchange.State.REQUEST_RECEIVED)
    pair.wire.held = []
    await pair.faber.command(x, did_exchange.SendResponse())
    await pair.wire.gather(1)
    held, pair.wire.held = pair.wire.held, []
    await pair.wire.arrive(*held[0])
    hers = await pair.alice.reached(did_exchange.PROTOCOL, COMPLETED)
    await pair.alice.start(basic_message.PROTOCOL, HELLO, hers.connection)
    await pair.wire.gather(2)
    (_, last), pair.wire.held = pair.wire.held, []
    await pair.wire.arrive(*last)
    assert await texts(pair.faber) == ["hello"]
    his = await pair.faber.connection(x.id)
    assert his.state == did_exchange.State.RESPONSE_SENT


async def test_a_message_that_overtakes_the_response_waits_for_it(pair: Pair) -> None:
    invitation = await pair.faber.invite()
    await pair.alice.accept(invitation)
    x = await pair.faber.reached(did_exchange.PROTOCOL, did_exchange.State.REQUEST_RECEIVED)
    await pair.alice.quiet()
    pair.wire.held = []
    await pair.faber.command(x, did_exchange.SendResponse())
    await pair.faber.start(basic_message.PROTOCOL, HELLO, x.id)
    await pair.wire.gather(2)
    await pair.wire.release(backwards=True)
    await pair.alice.reached(basic_message.PROTOCOL, basic_message.State.RECEIVED)
    assert await texts(pair.alice) == ["hello"]


# -- giving up -------------------------------------------------------------------------------------


async def test_an_inviter_who_refuses_ends_both_sides(pair: Pair) -> None:
    await pair.alice.accept(await pair.faber.invite())
    x = await pair.faber.reached(did_exchange.PROTOCOL, did_exchange.State.REQUEST_RECEIVED)
    await pair.faber.command(x, ReportProblem(comment="not today"))
    ours = await pair.alice.reached(did_exchange.PROTOCOL, ABANDONED)
    assert ours.error == "peer reports: not today (request_not_accepted)"
    connection = await pair.alice.connection(ours.id)
    assert connection.state == ABANDONED
    await refused(pair.alice.stolen(connection, message("please")))


async def test_an_invited_who_gives_up_ends_both_sides(pair: Pair) -> None:
    await pair.alice.accept(await pair.faber.invite())
    await pair.faber.reached(did_exchange.PROTOCOL, did_exchange.State.REQUEST_RECEIVED)
    ours = await pair.alice.reached(did_exchange.PROTOCOL, did_exchange.State.REQUEST_SENT)
    await pair.alice.command(ours, ReportProblem())
    theirs = await pair.faber.reached(did_exchange.PROTOCOL, ABANDONED)
    assert (await pair.faber.connection(theirs.id)).state == ABANDONED


async def test_a_message_that_is_too_long_for_the_peer_ends_the_exchange_here_too(
    pair: Pair,
) -> None:
    hers, _ = await pair.connect()
    pair.wire.most = 3000
    protocol = issue_credential_2.PROTOCOL
    long = issue_credential_2.SendProposal(values={"name": "x" * 3000})
    x = await pair.alice.start(protocol, long, hers.id)
    ended = await pair.alice.reached(protocol, ABANDONED)
    assert ended.id == x.id
    await pair.alice.quiet()
    told = await pair.alice.profile.exchange(x.id)
    assert told is not None
    assert told.error is not None
    assert re.fullmatch(
        r"the peer answered 413 to a message of 3\d{3} bytes: too long", told.error
    )


# -- SEC-O -----------------------------------------------------------------------------------------


async def test_sec_o_02_of_two_who_race_for_an_invitation_one_gets_it(pair: Pair) -> None:
    invitation = await pair.faber.invite()
    pair.wire.held = []
    await pair.alice.accept(invitation)
    await pair.mallory.accept(invitation)
    await pair.wire.gather(2)
    held, pair.wire.held = pair.wire.held, None
    await asyncio.gather(*(pair.wire.arrive(*envelope) for envelope in held))
    assert len(await pair.faber.profile.find(CONNECTION)) == 1


async def test_sec_o_02_a_used_invitation_gives_no_second_connection(pair: Pair) -> None:
    invitation = await pair.faber.invite()
    await pair.alice.accept(invitation)
    await pair.met(invitation["@id"], pair.alice, pair.faber)
    await pair.alice.accept(invitation)
    await pair.alice.until(
        did_exchange.PROTOCOL, lambda x: x.state == did_exchange.State.REQUEST_SENT
    )
    await pair.alice.quiet()
    assert len(await pair.faber.profile.find(CONNECTION)) == 1


async def test_sec_o_04_an_attached_message_waits_for_our_user(pair: Pair) -> None:
    ping = await pair.faber.start(trust_ping.PROTOCOL, trust_ping.SendPing())
    invitation = await pair.faber.invite(thid=ping.peer, attach=[ping.id])
    x = await pair.alice.look(invitation)
    await pair.alice.quiet()
    assert x.state == out_of_band.State.PREPARE_RESPONSE
    assert not pair.wire.carried
    assert not await pair.alice.profile.find(CONNECTION)
    assert not await listed(pair.alice.profile, "~protocol", trust_ping.PROTOCOL.name, 1000)


async def test_sec_o_06_a_service_does_not_move_a_connection(pair: Pair) -> None:
    hers, his = await pair.connect()
    service = {
        "recipientKeys": [hers.my_key],
        "routingKeys": [],
        "serviceEndpoint": "http://mallory.example/d/main",
    }
    await pair.alice.stolen(hers, message("hello", **{"~service": service}))
    assert await texts(pair.faber) == ["hello"]
    assert await pair.faber.connection(his.id) == his
    assert len(await pair.faber.profile.find(CONNECTION)) == 1


# -- SEC-E -----------------------------------------------------------------------------------------


async def test_sec_e_01_a_key_that_is_not_the_peers_is_refused(pair: Pair) -> None:
    hers, his = await pair.connect()
    body = message("I am Alice")
    await refused(
        pair.faber.tenant.receive(packed(body, his.my_key, stranger())), BadEnvelopeError
    )
    assert await texts(pair.faber) == []
    assert hers.their_key == his.my_key


async def test_sec_e_02_an_anonymous_message_is_refused(pair: Pair) -> None:
    _, his = await pair.connect()
    body = message("I am Alice")
    await refused(pair.faber.tenant.receive(packed(body, his.my_key, None)), BadEnvelopeError)
    assert await texts(pair.faber) == []


async def test_sec_e_03_a_replayed_envelope_has_no_effect(pair: Pair) -> None:
    hers, _ = await pair.connect()
    await pair.alice.start(basic_message.PROTOCOL, HELLO, hers.id)
    await pair.alice.quiet()
    before = await pair.faber.profile.find("exchange")
    event = pair.faber.profile.last_event
    for url, envelope in list(pair.wire.carried):
        if url == pair.faber.tenant.endpoint:
            await pair.faber.tenant.receive(envelope)
    await pair.faber.quiet()
    assert await pair.faber.profile.find("exchange") == before
    assert pair.faber.profile.last_event == event


async def test_sec_e_09_another_connection_does_not_reach_a_thread(pair: Pair) -> None:
    _, his = await pair.connect()
    thief, _ = await pair.connect(pair.mallory)
    pair.wire.held = []
    ping = await pair.faber.start(trust_ping.PROTOCOL, trust_ping.SendPing(), his.id)
    forged = trust_ping.PingResponse(thread=Thread(thid=ping.thid)).wire()
    await pair.mallory.stolen(thief, forged)
    x = await pair.faber.profile.exchange(ping.id)
    assert x is not None
    assert x.state == trust_ping.State.WAITING


async def test_sec_e_09_a_handshake_is_not_taken_over(pair: Pair) -> None:
    invitation = await pair.faber.invite(multi_use=True)
    await pair.alice.accept(invitation)
    x = await pair.faber.reached(did_exchange.PROTOCOL, did_exchange.State.REQUEST_RECEIVED)
    thief, _ = await pair.connect(pair.mallory)
    complete = did_exchange.Complete(thread=Thread(thid=x.thid, pthid=invitation["@id"]))
    await pair.mallory.stolen(thief, complete.wire())
    key = invitation["services"][0]["recipientKeys"][0]
    request = did_exchange.Request(id="mine", did=str(thief.my_did), thread=complete.thread)
    await refused(pair.faber.tenant.receive(packed(request.wire(), to_verkey(key), stranger())))
    assert await unchanged(pair.faber, x)


async def test_sec_e_10_a_third_party_cannot_end_an_exchange(pair: Pair) -> None:
    _, his = await pair.connect()
    thief, _ = await pair.connect(pair.mallory)
    pair.wire.held = []
    command = discover_features_2.SendQueries.model_validate(
        {"queries": [{"feature-type": "protocol", "match": "*"}]}
    )
    x = await pair.faber.start(discover_features_2.PROTOCOL, command, his.id)
    report = ProblemReport.of("e.p.bad").model_copy(update={"thread": Thread(thid=x.thid)})
    for kind in (ProblemReport.TYPE, f"{discover_features_2.URI}/problem-report"):
        await refused(pair.mallory.stolen(thief, report.wire(kind)))
    assert await unchanged(pair.faber, x)


async def test_a_key_that_is_not_for_messages_takes_none(pair: Pair) -> None:
    key = NewKey.generate({"did": "did:sov:WgWxqztrNooG92RXvxSTWv"})
    write = PutKey(key.verkey, key.key, key.metadata)
    await pair.faber.profile.commit(Commit(writes=(write,)))
    await refused(
        pair.faber.tenant.receive(packed(message("hello"), key.verkey, stranger())),
        BadEnvelopeError,
    )


async def test_a_stranger_with_an_invitation_may_only_introduce_himself(pair: Pair) -> None:
    invitation = await pair.faber.invite(multi_use=True)
    key = to_verkey(invitation["services"][0]["recipientKeys"][0])
    await refused(pair.faber.tenant.receive(packed(message("hello"), key, stranger())))
    assert await texts(pair.faber) == []


# -- without a connection --------------------------------------------------------------------------


async def connectionless(pair: Pair) -> tuple[str, Json]:
    """Let Faber put a ping into an invitation without a handshake."""
    ping = await pair.faber.start(trust_ping.PROTOCOL, trust_ping.SendPing())
    wish: dict[str, Any] = {"attach": [ping.id], "handshake_protocols": []}
    return ping.id, await pair.faber.invite(thid=ping.peer, **wish)


async def test_an_attached_message_is_answered_without_a_connection(pair: Pair) -> None:
    ping, invitation = await connectionless(pair)
    x = await pair.alice.accept(invitation)
    assert x.state == DONE
    done = await pair.faber.reached(trust_ping.PROTOCOL, trust_ping.State.DONE)
    assert done.id == ping
    his = await pair.faber.connection(str(done.connection))
    hers = await pair.alice.connection(str(x.connection))
    assert his.state == hers.state == CONNECTIONLESS
    assert his.their_key == hers.my_key
    assert his.endpoint == pair.alice.tenant.endpoint
    assert not await listed(pair.faber.profile, "~protocol", did_exchange.PROTOCOL.name, 1000)


async def test_sec_o_02_an_attached_message_is_answered_once(pair: Pair) -> None:
    _, invitation = await connectionless(pair)
    await pair.alice.accept(invitation)
    before = await pair.faber.reached(trust_ping.PROTOCOL, trust_ping.State.DONE)
    await pair.mallory.accept(invitation)
    await pair.mallory.quiet()
    assert await unchanged(pair.faber, before)
