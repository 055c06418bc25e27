"""Public DIDs: invitations by them, requests to them without an invitation, and one key for many peers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from agent.pair import Agent, Pair, opened, packed, stranger

from keep_agent.core.machine import Exchange, Expired
from keep_agent.core.message import Json, Thread
from keep_agent.core.policy import Automatic, Policy
from keep_agent.errors import (
    BadCommandError,
    BadEnvelopeError,
    NotFoundError,
    NotNowError,
    PeerError,
    RefusedError,
)
from keep_agent.identity.connections import CONNECTION, INVITATION, Connection
from keep_agent.identity.did_choice import NewDid
from keep_agent.identity.introductions import Introductions
from keep_agent.identity.keys import NewKey
from keep_agent.identity.peer_dids import create_peer4
from keep_agent.identity.public_dids import MOST_UNANSWERED
from keep_agent.protocols import did_exchange, out_of_band, trust_ping
from keep_agent.registry.commands import CreateDid, RotateKey
from keep_agent.registry.public_dids import MakePublic
from keep_ledger.codes import Role
from keep_ledger.interface import Finished
from keep_ledger.memory import TRUSTEE, MemoryRegistry
from keep_ledger.writes import Write, WriteAttrib, WriteNym, WriteVerkey

DIDEX = did_exchange.PROTOCOL


@pytest.fixture
def ledger() -> MemoryRegistry:
    return MemoryRegistry("local")


@pytest.fixture
async def pair(tmp_path: Path, ledger: MemoryRegistry) -> AsyncIterator[Pair]:
    """Alice, Faber and Mallory, who read one ledger."""
    async with opened(tmp_path, networks=[ledger]) as pair:
        yield pair


async def write(ledger: MemoryRegistry, what: Write, by: str = TRUSTEE.did) -> None:
    prepared = await ledger.prepare(what, by)
    done = await ledger.submit(prepared, {prepared.submitter: bytes(64)})
    assert isinstance(done, Finished), done


async def new_did(agent: Agent, namespace: str | None = None) -> Json:
    return await agent.tenant.commands.create_did(CreateDid(namespace=namespace))


async def publish(ledger: MemoryRegistry, record: Json, endpoint: str) -> None:
    did = record["did"]
    await write(ledger, WriteNym(did, record["verkey"], Role.ENDORSER))
    await write(ledger, WriteAttrib.endpoint(did, endpoint), did)


async def public(
    agent: Agent, ledger: MemoryRegistry, namespace: str | None = None, **wish: Any
) -> str:
    """Give an agent a public DID on the ledger; return it as peers get it."""
    record = await new_did(agent, namespace)
    await publish(ledger, record, agent.tenant.endpoint)
    wanted = MakePublic(did=record["did"], **wish)
    status = await agent.tenant.public_dids.make_public(wanted)
    assert status["problem"] is None
    return str(status["shown"])


async def asked(agent: Agent) -> Exchange[Any]:
    return await agent.reached(DIDEX, did_exchange.State.REQUEST_RECEIVED)


async def ends(
    invited: Agent, inviter: Agent, x: Exchange[Any], **answer: Any
) -> tuple[Connection, Connection]:
    """Let the inviter answer a request; return both ends of the connection."""
    await inviter.command(x, did_exchange.SendResponse(**answer))
    theirs = await inviter.until(DIDEX, lambda y: y.id == x.id and y.state == "completed")
    ours = await invited.until(
        DIDEX, lambda y: (y.role, y.thid, y.state) == ("requester", x.thid, "completed")
    )
    return await invited.connection(ours.id), await inviter.connection(theirs.id)


async def ping(agent: Agent, connection: Connection) -> None:
    x = await agent.start(trust_ping.PROTOCOL, trust_ping.SendPing(), connection.id)
    await agent.until(trust_ping.PROTOCOL, lambda y: y.id == x.id and y.state == "done")


async def connect(
    invited: Agent, inviter: Agent, invitation: Json, ask: str | None = None, **answer: Any
) -> tuple[Connection, Connection]:
    await invited.accept(invitation, did=ask, reuse=False)
    return await ends(invited, inviter, await asked(inviter), **answer)


async def implicit(invited: Agent, inviter: Agent, whom: str, **ask: Any) -> Exchange[Any]:
    """Ask a public DID for a connection; return the request as it came in."""
    await invited.start(DIDEX, did_exchange.SendRequest(invitation=whom, **ask))
    return await asked(inviter)


# -- what is public --------------------------------------------------------------------------------


async def test_a_tenant_has_at_most_one_public_did_on_a_ledger(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    commands = pair.faber.tenant.public_dids
    first = await public(pair.faber, ledger)
    second = await public(pair.faber, ledger)
    assert first != second
    assert [each["shown"] for each in await commands.status()] == [second]
    await commands.withdraw("local")
    assert await commands.status() == []
    with pytest.raises(NotFoundError):
        await commands.withdraw("local")


async def test_the_status_says_what_the_ledger_has_and_what_is_missing(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    faber = pair.faber.tenant
    record = await new_did(pair.faber)
    did = record["did"]

    async def status() -> Json:
        (found,) = await faber.public_dids.status()
        return found

    await faber.public_dids.make_public(MakePublic(did=did))
    found = await status()
    assert (found["on_ledger"], found["role"], found["endpoint"]) == (False, None, None)
    assert "has to register it" in found["problem"]
    await write(ledger, WriteNym(did, record["verkey"], Role.ENDORSER))
    found = await status()
    assert (found["on_ledger"], found["role"], found["endpoint"]) == (True, "ENDORSER", None)
    assert f"write {faber.endpoint}" in found["problem"]
    await write(ledger, WriteAttrib.endpoint(did, "http://elsewhere.example"), did)
    assert "another than" in (await status())["problem"]
    await write(ledger, WriteAttrib.endpoint(did, faber.endpoint), did)
    found = await status()
    assert (found["endpoint"], found["problem"]) == (faber.endpoint, None)
    assert found["implicit_requests"] is False


async def test_a_did_that_several_people_hold_cannot_respond_and_is_refused_in_words(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    commands = pair.faber.tenant.public_dids
    with pytest.raises(NotFoundError, match="several people hold together"):
        await commands.make_public(MakePublic(did=TRUSTEE.did))
    record = await new_did(pair.faber)
    await publish(ledger, record, pair.faber.tenant.endpoint)
    await commands.make_public(MakePublic(did=record["did"]))
    held_by_a_group = NewKey.generate({}).verkey
    await write(ledger, WriteVerkey(record["did"], held_by_a_group), record["did"])
    with pytest.raises(BadCommandError, match="several people hold together cannot respond"):
        await pair.faber.invite(did="public")
    with pytest.raises(NotNowError, match="several people hold together cannot respond"):
        await commands.make_public(MakePublic(did=record["did"]))
    (status,) = await commands.status()
    assert "cannot respond" in status["problem"]


async def test_a_did_that_leads_nobody_to_us_stands_in_no_invitation(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    record = await new_did(pair.faber)
    await pair.faber.tenant.public_dids.make_public(MakePublic(did=record["did"]))
    with pytest.raises(BadCommandError, match="must be on the ledger, with an endpoint"):
        await pair.faber.invite(did="public")
    await write(ledger, WriteNym(record["did"], record["verkey"], None))
    with pytest.raises(BadCommandError, match="must be on the ledger, with an endpoint"):
        await pair.faber.invite(did="public")
    with pytest.raises(BadCommandError, match="is not public"):
        await pair.faber.invite(did=TRUSTEE.did)
    assert await pair.faber.profile.find(INVITATION) == []


async def test_where_several_networks_are_configured_one_is_named(tmp_path: Path) -> None:
    networks = [MemoryRegistry("local"), MemoryRegistry("other")]
    async with opened(tmp_path, networks=networks) as pair:
        commands = pair.faber.tenant.public_dids
        did = (await new_did(pair.faber))["did"]
        with pytest.raises(BadCommandError, match="namespace: local, other"):
            await commands.make_public(MakePublic(did=did))
        there = (await new_did(pair.faber, "other"))["did"]
        with pytest.raises(BadCommandError, match="not of the network local"):
            await commands.make_public(MakePublic(did=there, namespace="local"))
        await commands.make_public(MakePublic(did=there))
        await commands.make_public(MakePublic(did=did, namespace="local"))
        assert {each["namespace"] for each in await commands.status()} == {"local", "other"}
        with pytest.raises(BadCommandError, match="several public DIDs; name one"):
            await pair.faber.invite(did="public")


# -- invitations by it -----------------------------------------------------------------------------

KINDS = ("did:peer:2", "did:peer:4", "public")
WITH_PUBLIC = [kinds for kinds in product(("key", *KINDS), KINDS, KINDS) if "public" in kinds]


@pytest.mark.parametrize(("inviting", "asking", "answering"), WITH_PUBLIC)
async def test_a_public_did_is_understood_in_every_place(
    pair: Pair, ledger: MemoryRegistry, inviting: str, asking: str, answering: str
) -> None:
    hers_public = await public(pair.alice, ledger)
    his_public = await public(pair.faber, ledger)
    invitation = await pair.faber.invite(did=inviting)
    hers, his = await connect(pair.alice, pair.faber, invitation, asking, did=answering)
    if inviting == "public":
        assert invitation["services"] == [his_public]
    assert (hers.my_did == hers_public) == (asking == "public")
    assert (his.my_did == his_public) == (answering == "public")
    assert (hers.their_did, his.their_did) == (his.my_did, hers.my_did)
    assert (hers.their_key, his.their_key) == (his.my_key, hers.my_key)
    await ping(pair.alice, hers)
    await ping(pair.faber, his)


async def test_a_did_that_names_its_network_is_shown_as_it_is_written(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    did = await public(pair.faber, ledger, "local")
    assert did.startswith("did:indy:local:")
    invitation = await pair.faber.invite(did=did)
    assert invitation["services"] == [did]
    await connect(pair.alice, pair.faber, invitation)


async def test_several_invitations_of_one_did_are_told_apart(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    await public(pair.faber, ledger)
    first = await pair.faber.invite(did="public")
    second = await pair.faber.invite(did="public", multi_use=True)
    await connect(pair.alice, pair.faber, first)
    await connect(pair.alice, pair.faber, second)
    await pair.mallory.accept(first)
    await connect(pair.mallory, pair.faber, second)
    connections = await pair.faber.profile.find(CONNECTION)
    assert [row["invitation"] for _, row in connections] == [
        first["@id"], second["@id"], second["@id"],
    ]  # fmt: skip


async def test_a_message_attached_to_an_invitation_of_a_public_did_is_answered(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    await public(pair.faber, ledger)
    asks = await pair.faber.start(trust_ping.PROTOCOL, trust_ping.SendPing())
    invitation = await pair.faber.invite(
        thid=asks.peer, attach=[asks.id], did="public", handshake_protocols=[]
    )
    await pair.alice.accept(invitation)
    x = await pair.faber.until(trust_ping.PROTOCOL, lambda y: y.state == "done")
    assert x.id == asks.id


# -- without an invitation -------------------------------------------------------------------------


async def test_requests_without_an_invitation_are_refused_unless_they_are_allowed(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    did = await public(pair.faber, ledger)
    x = await pair.alice.start(DIDEX, did_exchange.SendRequest(invitation=did))
    key = await pair.alice.key(await pair.alice.connection(x.id))
    (stored,) = await pair.faber.tenant.public_dids.status()
    body = did_exchange.Request(
        did=create_peer4(key.verkey, pair.alice.tenant.endpoint), thread=Thread(pthid=did)
    ).wire()
    with pytest.raises(PeerError, match="must answer an invitation"):
        await pair.faber.tenant.receive(packed(body, stored["verkey"], key))
    assert await pair.faber.profile.find(CONNECTION) == []
    await pair.faber.tenant.public_dids.withdraw("local")
    with pytest.raises(BadEnvelopeError, match="not for messages"):
        await pair.faber.tenant.receive(packed(body, stored["verkey"], key))


@pytest.mark.parametrize("network", [None, "local"])
async def test_a_request_to_a_public_did_is_answered_like_any(
    pair: Pair, ledger: MemoryRegistry, network: str | None
) -> None:
    did = await public(pair.faber, ledger, network, implicit_requests=True)
    x = await implicit(pair.alice, pair.faber, did)
    assert x.pthid == did
    hers, his = await ends(pair.alice, pair.faber, x)
    assert hers.invitation == did
    assert his.implicit
    assert str(his.my_did).startswith("did:peer:4")
    await ping(pair.alice, hers)
    await ping(pair.faber, his)


@pytest.mark.parametrize("spelling", ["", "did:sov:", "did:indy:local:"])
async def test_a_public_did_is_asked_in_any_spelling(
    pair: Pair, ledger: MemoryRegistry, spelling: str
) -> None:
    shown = await public(pair.faber, ledger, implicit_requests=True)
    did = spelling + shown.removeprefix("did:sov:")
    x = await implicit(pair.alice, pair.faber, did, did="did:peer:2")
    hers, _ = await ends(pair.alice, pair.faber, x, did="public")
    assert hers.their_did == shown
    await ping(pair.alice, hers)


async def test_a_policy_answers_requests_to_a_public_did(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    did = await public(pair.faber, ledger, implicit_requests=True)
    auto = {"request-received": Automatic(command="send-response")}
    await pair.faber.tenant.commands.set_policy(Policy(protocol="didexchange/1", auto=auto))
    x = await pair.alice.start(DIDEX, did_exchange.SendRequest(invitation=did))
    await pair.alice.until(DIDEX, lambda y: y.id == x.id and y.state == "completed")


async def test_a_request_for_an_invitation_that_is_not_there_is_no_implicit_one(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    did = await public(pair.faber, ledger, implicit_requests=True)
    own_key = await pair.faber.invite()
    (stored,) = await pair.faber.tenant.public_dids.status()
    key = stranger()
    mine = create_peer4(key.verkey, "http://mallory.example")
    for pthid in ("unknown", own_key["@id"], f"did:indy:other:{did.removeprefix('did:sov:')}"):
        body = did_exchange.Request(did=mine, thread=Thread(pthid=pthid)).wire()
        with pytest.raises(RefusedError, match="do not know"):
            await pair.faber.tenant.receive(packed(body, stored["verkey"], key))
    assert await pair.faber.profile.find(CONNECTION) == []


async def test_sec_d_06_unanswered_requests_are_bounded_and_expire(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    await public(pair.faber, ledger, implicit_requests=True)
    (stored,) = await pair.faber.tenant.public_dids.status()

    async def ask() -> None:
        key = stranger()
        did = create_peer4(key.verkey, "http://mallory.example")
        body = did_exchange.Request(did=did).wire()
        await pair.faber.tenant.receive(packed(body, stored["verkey"], key))

    for _ in range(MOST_UNANSWERED):
        await ask()
    with pytest.raises(RefusedError, match="ask again later"):
        await ask()
    x = await asked(pair.faber)
    assert x.due is not None
    assert x.due - x.updated <= did_exchange.DAY_S
    ended = await pair.faber.command(x, Expired())
    assert ended.state == did_exchange.State.ABANDONED
    await ask()
    with pytest.raises(RefusedError, match="ask again later"):
        await ask()
    invitation = await pair.faber.invite()  # who is invited does not wait behind them
    await pair.alice.accept(invitation)
    await pair.faber.until(DIDEX, lambda y: y.peer == invitation["@id"])


# -- one key, many peers ---------------------------------------------------------------------------


async def test_a_key_serves_many_connections_and_each_peer_is_found_by_its_own(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    await public(pair.faber, ledger)
    found: list[tuple[Agent, Connection, Connection]] = []
    for peer in (pair.alice, pair.mallory):
        invitation = await pair.faber.invite(did="public")
        found.append((peer, *await connect(peer, pair.faber, invitation, did="public")))
    assert len({his.my_key for _, _, his in found}) == 1
    for peer, hers, his in found:
        await ping(peer, hers)
        await ping(pair.faber, his)
        said = await pair.faber.profile.listed("~protocol", trust_ping.PROTOCOL.name, 10)
        assert said[0].connection == his.id


async def test_sec_e_01_who_shares_our_key_with_others_speaks_only_for_himself(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    await public(pair.faber, ledger)
    ends_of: dict[str, tuple[Connection, Connection]] = {}
    for name, peer in (("alice", pair.alice), ("mallory", pair.mallory)):
        invitation = await pair.faber.invite(did="public")
        ends_of[name] = await connect(peer, pair.faber, invitation, did="public")
    x = await pair.faber.start(
        trust_ping.PROTOCOL, trust_ping.SendPing(), ends_of["alice"][1].id
    )
    forged = trust_ping.PingResponse(thread=Thread(thid=x.thid)).wire()
    with pytest.raises(PeerError):
        await pair.faber.tenant.receive(packed(forged, ends_of["alice"][1].my_key, stranger()))
    await pair.mallory.stolen(ends_of["mallory"][0], forged)  # refused with a report to Mallory
    after = await pair.faber.until(
        trust_ping.PROTOCOL, lambda y: y.id == x.id and y.state == "done"
    )
    assert after.connection == ends_of["alice"][1].id


async def test_two_public_dids_may_connect_more_than_once(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    await public(pair.alice, ledger)
    did = await public(pair.faber, ledger, implicit_requests=True)
    first = await connect(
        pair.alice, pair.faber, await pair.faber.invite(did="public"), "public", did="public"
    )
    second = await connect(
        pair.alice, pair.faber, await pair.faber.invite(did="public"), "public", did="public"
    )
    x = await implicit(pair.alice, pair.faber, did, did="public")
    third = await ends(pair.alice, pair.faber, x, did="public")
    both = [first, second, third]
    assert len({his.id for _, his in both}) == len({hers.id for hers, _ in both}) == 3
    for hers, his in both:
        await ping(pair.alice, hers)
        await ping(pair.faber, his)


async def test_a_connection_outlives_a_new_key_of_its_did(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    await public(pair.faber, ledger)
    invitation = await pair.faber.invite(did="public", multi_use=True)
    hers, his = await connect(pair.alice, pair.faber, invitation, did="public")
    did = str(his.my_did).removeprefix("did:sov:")
    await pair.faber.tenant.commands.rotate_key(RotateKey(did=did))
    while (await pair.faber.profile.get("did", did))["verkey"] == his.my_key:
        await pair.faber.profile.wait_event(pair.faber.profile.last_event)
    await ping(pair.alice, hers)
    await ping(pair.faber, his)
    newer, _ = await connect(pair.mallory, pair.faber, invitation, did="public")
    assert newer.their_key != hers.their_key
    await ping(pair.mallory, newer)


async def test_a_connection_outlives_that_its_did_is_public(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    await public(pair.faber, ledger)
    invitation = await pair.faber.invite(did="public")
    hers, _ = await connect(pair.alice, pair.faber, invitation, did="public")
    await pair.faber.tenant.public_dids.withdraw("local")
    await ping(pair.alice, hers)


async def test_sec_d_05_a_ledger_key_signs_no_did_of_a_peer(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    did = await public(pair.faber, ledger)
    theirs = await public(pair.alice, ledger)
    port = pair.faber.tenant.dispatcher.context.ports["did_exchange"]
    assert isinstance(port, Introductions)
    own = port.own
    (stored,) = await pair.faber.tenant.public_dids.status()
    await own.vouch(stored["verkey"], NewDid(did, stored["verkey"]))
    peer4 = create_peer4(NewKey.generate({}).verkey, "http://alice.example")
    for claim in (NewDid(theirs, stored["verkey"]), NewDid(peer4, stored["verkey"])):
        with pytest.raises(NotFoundError, match="SEC-D05"):
            await own.vouch(stored["verkey"], claim)


# -- reuse -----------------------------------------------------------------------------------------


def _is_done(x: Exchange[Any]) -> Callable[[Exchange[Any]], bool]:
    return lambda y: (y.id, y.state) == (x.id, "done")


async def reused(agent: Agent, invitation: Json) -> str | None:
    x = await agent.accept(invitation)
    return x.connection


@pytest.mark.parametrize("network", [None, "local"])
async def test_whoever_invites_by_the_same_did_is_known(
    pair: Pair, ledger: MemoryRegistry, network: str | None
) -> None:
    did = await public(pair.faber, ledger, network)
    bare = did.rpartition(":")[2]
    first = await pair.faber.invite(did="public")
    hers, his = await connect(pair.alice, pair.faber, first)
    for spelling in (f"did:sov:{bare}", f"did:indy:local:{bare}", bare):
        again = {**await pair.faber.invite(did="public"), "services": [spelling]}
        x = await pair.alice.accept(again)
        assert x.connection == hers.id
        await pair.alice.until(out_of_band.PROTOCOL, _is_done(x))
    assert len((await pair.faber.connection(his.id)).reused) == 3


async def test_whoever_came_to_us_with_a_did_is_known_when_it_invites_us(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    """Alice came to Faber with her public DID; later she invites him by it."""
    await public(pair.alice, ledger)
    _, his = await connect(pair.alice, pair.faber, await pair.faber.invite(), "public")
    x = await pair.faber.accept(await pair.alice.invite(did="public"))
    assert x.connection == his.id
    await pair.faber.until(out_of_band.PROTOCOL, lambda y: y.id == x.id and y.state == "done")


async def test_sec_d_03_a_did_of_another_network_is_another_peer(tmp_path: Path) -> None:
    here, there = MemoryRegistry("local"), MemoryRegistry("other")
    async with opened(tmp_path, networks=[here, there]) as pair:
        record = await new_did(pair.faber)
        await publish(here, record, pair.faber.tenant.endpoint)
        wanted = MakePublic(did=record["did"], namespace="local")
        await pair.faber.tenant.public_dids.make_public(wanted)
        hers, _ = await connect(pair.alice, pair.faber, await pair.faber.invite(did="public"))
        assert hers.inviter == f"did:indy:local:{record['did']}"
        thief = {"did": record["did"], "verkey": NewKey.generate({}).verkey}
        await publish(there, thief, pair.mallory.tenant.endpoint)
        forged = {
            **await pair.mallory.invite(),
            "services": [f"did:indy:other:{record['did']}"],
        }
        assert await reused(pair.alice, forged) is None


async def test_sec_o_09_no_invitation_is_named_like_a_public_did(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    did = await public(pair.faber, ledger, implicit_requests=True)
    with pytest.raises(BadCommandError, match="SEC-O09"):
        await pair.alice.look({**await pair.mallory.invite(), "@id": did})
    x = await implicit(pair.alice, pair.faber, did)
    hers, his = await ends(pair.alice, pair.faber, x)
    for agent in (pair.alice, pair.faber):
        assert await agent.profile.fetch(INVITATION, did) is None
    assert x.peer == his.invitation == did.removeprefix("did:sov:")
    assert hers.answered == did
