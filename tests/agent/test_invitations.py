"""SEC-O: what an invitation may name, what looking at one changes, and when it is closed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from agent.pair import Agent, Pair, packed, stranger

from keep_agent.core.machine import Exchange
from keep_agent.core.message import Json, Thread
from keep_agent.core.problem_reports import REPORTS_IN_A_ROW
from keep_agent.errors import BadCommandError, LocalError, PeerError, RefusedError
from keep_agent.identity.connections import CONNECTION, INVITATION, InvitationRecord
from keep_agent.identity.keys import base58_key, to_verkey
from keep_agent.protocols import did_exchange, out_of_band, trust_ping
from keep_agent.store.rows import Commit

DID = "did:sov:WgWxqztrNooG92RXvxSTWv"
REQUEST_SENT = did_exchange.State.REQUEST_SENT


async def with_ping(faber: Agent, **wish: Any) -> tuple[Exchange[Any], Json]:
    """Return a ping of Faber's and the invitation that it is attached to."""
    ping = await faber.start(trust_ping.PROTOCOL, trust_ping.SendPing())
    return ping, await faber.invite(thid=ping.peer, attach=[ping.id], **wish)


def named(invitation: Json, name: str) -> Json:
    return {**copy.deepcopy(invitation), "@id": name}


async def waits(faber: Agent, ping: Exchange[Any]) -> bool:
    x = await faber.profile.exchange(ping.id)
    assert x is not None
    return x.state == trust_ping.State.WAITING and x.their_key is None and x.connection is None


def answer(ping: Exchange[Any], invitation: Json) -> Json:
    thread = Thread(thid=ping.thid, pthid=invitation["@id"])
    return trust_ping.PingResponse(thread=thread).wire()


def key_of(invitation: Json) -> str:
    return to_verkey(invitation["services"][0]["recipientKeys"][0])


async def expire(agent: Agent, invitation: Json) -> None:
    record = InvitationRecord.model_validate(
        await agent.profile.get(INVITATION, invitation["@id"])
    )
    late = record.model_copy(update={"expires": 1.0}).model_dump(mode="json")
    put = record.put()
    write = type(put)(put.category, put.name, late, put.tags)
    await agent.profile.commit(Commit(writes=(write,)))


# -- SEC-O09: what an id of an invitation names ----------------------------------------------------


async def test_sec_o_09_an_invitation_is_not_called_by_a_did(pair: Pair) -> None:
    """Else whoever later calls the owner of that DID would reach the inviter."""
    invitation = named(await pair.mallory.invite(), DID)
    with pytest.raises(BadCommandError, match="must not be a DID"):
        await pair.alice.look(invitation)
    assert not await pair.alice.profile.find(INVITATION)
    with pytest.raises(LocalError, match="cannot be reached"):
        await pair.alice.start(did_exchange.PROTOCOL, did_exchange.SendRequest(invitation=DID))


async def test_sec_o_09_an_invitation_takes_no_id_that_we_gave_out(pair: Pair) -> None:
    ping, ours = await with_ping(pair.faber)
    theirs = await pair.mallory.invite(multi_use=True)
    with pytest.raises(BadCommandError, match="one of ours"):
        await pair.faber.look(named(theirs, ours["@id"]))
    hers, his = await pair.connect()
    given_out = [ping.id, ping.thid, his.id, hers.id, his.my_key, "x"]
    for name in given_out:
        before = await pair.faber.profile.find(INVITATION)
        x = await pair.faber.look(named(theirs, name))
        found = await pair.faber.profile.find(INVITATION)
        assert [n for n, _ in found[len(before) :]] == [x.id]
    assert await pair.faber.connection(his.id) == his
    assert await waits(pair.faber, ping)


async def test_sec_o_09_an_inviter_does_not_reach_what_his_id_names(pair: Pair) -> None:
    """Mallory calls her invitation as Faber called a ping that is nobody's yet."""
    ping, ours = await with_ping(pair.faber)
    theirs = await pair.mallory.invite(thid=ping.thid)
    await pair.faber.accept(theirs)
    asked = await pair.mallory.reached(
        did_exchange.PROTOCOL, did_exchange.State.REQUEST_RECEIVED
    )
    await pair.mallory.command(asked, did_exchange.SendResponse())
    await pair.faber.reached(did_exchange.PROTOCOL, did_exchange.State.COMPLETED)
    thief = await pair.mallory.connection(asked.id)
    bare = trust_ping.PingResponse(thread=Thread(thid=ping.thid)).wire()
    await pair.mallory.stolen(thief, bare)
    assert await waits(pair.faber, ping)
    assert ours["@id"] == ping.peer


# -- SEC-O10: looking changes nothing --------------------------------------------------------------


async def test_sec_o_10_another_invitation_under_the_same_id_changes_nothing(
    pair: Pair,
) -> None:
    """Mallory's came first, or in between: Alice answers what she looked at."""
    invitation = await pair.faber.invite(multi_use=True)
    fake = named(await pair.mallory.invite(multi_use=True), invitation["@id"])
    await pair.alice.look(fake)
    x = await pair.alice.look(invitation)
    await pair.alice.look(fake)
    await pair.alice.command(x, out_of_band.Accept())
    hers, _ = await pair.met(invitation["@id"], pair.alice, pair.faber)
    assert hers.endpoint == pair.faber.tenant.endpoint
    assert not await pair.mallory.profile.find(CONNECTION)


async def test_sec_o_10_what_is_delivered_is_what_was_looked_at(pair: Pair) -> None:
    """The attachment of an invitation, as of the one that was accepted."""
    ping, invitation = await with_ping(pair.faber)
    other = copy.deepcopy(invitation)
    other["requests~attach"][0]["data"]["json"]["@id"] = "another"
    x = await pair.alice.look(invitation)
    await pair.alice.command(x, out_of_band.Accept())
    await pair.alice.look(other)
    await pair.met(invitation["@id"], pair.alice, pair.faber)
    done = await pair.faber.reached(trust_ping.PROTOCOL, trust_ping.State.DONE)
    assert done.id == ping.id


async def test_sec_o_10_looking_twice_is_looking_twice(pair: Pair) -> None:
    invitation = await pair.faber.invite(multi_use=True)
    first, second = [await pair.alice.look(invitation) for _ in range(2)]
    await pair.alice.command(second, out_of_band.Accept())
    await pair.met(invitation["@id"], pair.alice, pair.faber)
    after = await pair.alice.profile.exchange(first.id)
    assert after is not None
    assert after.state == out_of_band.State.PREPARE_RESPONSE
    x = await pair.alice.command(first, out_of_band.Accept())
    assert x.state == out_of_band.State.AWAIT_RESPONSE  # they know each other by now


async def test_sec_o_10_looking_does_not_change_whom_we_reuse(pair: Pair) -> None:
    hers, _ = await pair.connect()
    fake = await pair.mallory.invite(multi_use=True)
    real = await pair.faber.invite(multi_use=True)
    await pair.alice.look({**fake, "services": real["services"]})
    assert await pair.alice.connection(hers.id) == hers
    x = await pair.alice.accept(fake)
    assert x.connection is None


# -- SEC-O11: closed for what was attached, too ----------------------------------------------------


async def test_sec_o_11_an_expired_invitation_is_closed_for_what_was_attached(
    pair: Pair,
) -> None:
    ping, invitation = await with_ping(pair.faber, handshake_protocols=[], expires_in_s=60)
    known, _ = await pair.connect()
    x = await pair.alice.look(invitation)
    await expire(pair.faber, invitation)
    await pair.alice.command(x, out_of_band.Accept())
    await pair.alice.quiet()
    assert await waits(pair.faber, ping)
    await pair.alice.stolen(known, answer(ping, invitation))
    assert await waits(pair.faber, ping)


async def test_sec_o_11_who_shook_hands_first_is_the_one_who_answers(pair: Pair) -> None:
    """Mallory has seen Alice's invitation: what was attached to it is Alice's."""
    thief, _ = await pair.connect(pair.mallory)
    ping, invitation = await with_ping(pair.faber)
    await pair.alice.accept(invitation)
    await pair.faber.until(did_exchange.PROTOCOL, lambda x: x.peer == invitation["@id"])
    await pair.mallory.stolen(thief, answer(ping, invitation))
    body = {**answer(ping, invitation), "@id": "other"}
    with pytest.raises(RefusedError, match="used up"):
        await pair.faber.tenant.receive(packed(body, key_of(invitation), stranger()))
    assert await waits(pair.faber, ping)
    _, his = await pair.met(invitation["@id"], pair.alice, pair.faber)
    done = await pair.faber.reached(trust_ping.PROTOCOL, trust_ping.State.DONE)
    assert (done.id, done.connection) == (ping.id, his.id)


async def test_sec_o_11_an_answer_without_a_handshake_uses_the_invitation_up(
    pair: Pair,
) -> None:
    ping, invitation = await with_ping(pair.faber)
    first = stranger()
    await pair.faber.tenant.receive(packed(answer(ping, invitation), key_of(invitation), first))
    done = await pair.faber.reached(trust_ping.PROTOCOL, trust_ping.State.DONE)
    assert done.their_key == first.verkey
    assert (await pair.faber.profile.get(INVITATION, invitation["@id"]))["used"]
    await pair.mallory.accept(invitation)
    await pair.mallory.quiet()
    assert not await pair.faber.profile.find(CONNECTION)


async def test_sec_o_11_of_two_answers_at_once_one_counts(pair: Pair) -> None:
    first, invitation = await with_ping(pair.faber)
    known, his = await pair.connect()
    body = answer(first, invitation)
    await pair.alice.stolen(known, body)
    with pytest.raises(PeerError):
        await pair.faber.tenant.receive(
            packed({**body, "@id": "x"}, key_of(invitation), stranger())
        )
    done = await pair.faber.reached(trust_ping.PROTOCOL, trust_ping.State.DONE)
    assert (done.connection, done.their_key) == (his.id, None)


async def test_sec_o_11_of_two_things_attached_one_is_answered(pair: Pair) -> None:
    one = await pair.faber.start(trust_ping.PROTOCOL, trust_ping.SendPing())
    name = one.peer
    invitation = await pair.faber.invite(thid=name, attach=[one.id])
    first, second = stranger(), stranger()
    await pair.faber.tenant.receive(packed(answer(one, invitation), key_of(invitation), first))
    request = did_exchange.Request(did="did:key:z6Mk", thread=Thread(pthid=name)).wire()
    with pytest.raises(RefusedError, match="used up"):
        await pair.faber.tenant.receive(packed(request, key_of(invitation), second))


async def test_sec_e_15_a_used_up_invitation_costs_no_reads_beyond_its_allowance(
    pair: Pair,
) -> None:
    """Each message to it names another DID, where its sender is to be told."""
    invitation = await pair.faber.invite()
    await pair.alice.accept(invitation)
    await pair.met(invitation["@id"], pair.alice, pair.faber)
    read: list[str] = []

    async def ledger(did: str) -> None:
        read.append(did)

    pair.faber.tenant.resolver._ledger = ledger
    for number in range(3 * REPORTS_IN_A_ROW):
        did = base58_key((2**127 + number).to_bytes(16, "big"))
        request = did_exchange.Request(
            did=f"did:sov:{did}", thread=Thread(pthid=invitation["@id"])
        )
        with pytest.raises(PeerError):
            await pair.faber.tenant.receive(
                packed(request.wire(), key_of(invitation), stranger())
            )
    assert 0 < len(read) < 2 * REPORTS_IN_A_ROW
