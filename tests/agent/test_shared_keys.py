"""The key of a public DID serves many connections, and the DID is known again, in any spelling."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from agent.ledger_dids import (
    asked,
    connect,
    ends,
    implicit,
    new_did,
    ping,
    public,
    publish,
)
from agent.pair import Agent, Pair, opened, packed, stranger

from keep_agent.core.machine import Exchange
from keep_agent.core.message import Json, Message, ProblemReport, Thread
from keep_agent.errors import (
    BadCommandError,
    NotFoundError,
    PeerError,
)
from keep_agent.identity.connections import CONNECTION, INVITATION, Connection
from keep_agent.identity.did_choice import NewDid
from keep_agent.identity.identify import MOST_ALIKE
from keep_agent.identity.introductions import Introductions
from keep_agent.identity.keys import NewKey
from keep_agent.identity.peer_dids import create_peer4
from keep_agent.protocols import did_exchange, out_of_band, trust_ping
from keep_agent.registry.commands import RotateKey
from keep_agent.registry.public_dids import MakePublic
from keep_agent.store.lists import listed
from keep_agent.store.reading import Reader
from keep_ledger.memory import MemoryRegistry


@pytest.fixture
def ledger() -> MemoryRegistry:
    return MemoryRegistry("local")


@pytest.fixture
async def pair(tmp_path: Path, ledger: MemoryRegistry) -> AsyncIterator[Pair]:
    """Alice, Faber and Mallory, who read one ledger."""
    async with opened(tmp_path, networks=[ledger]) as pair:
        yield pair


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
        said = await listed(pair.faber.profile, "~protocol", trust_ping.PROTOCOL.name, 10)
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
        again: Json = {**await pair.faber.invite(did="public"), "services": [spelling]}
        seen = await pair.alice.look(again)
        assert seen.data.reusable == hers.id
        x = await pair.alice.command(seen, out_of_band.Accept())
        assert x.connection == hers.id
        await pair.alice.until(out_of_band.PROTOCOL, _is_done(x))
        for agent, name in ((pair.alice, hers.id), (pair.faber, his.id)):
            by_invitation = await agent.profile.records(
                CONNECTION, {"peer": again["@id"]}, 0, 9
            )
            assert [found for found, _ in by_invitation] == [name]
    assert len((await pair.faber.connection(his.id)).reused) == 3
    by_did = await pair.faber.profile.records(CONNECTION, {"my_did": his.my_did or "-"}, 0, 9)
    assert [name for name, _ in by_did] == [his.id]


async def test_an_invitation_of_somebody_new_is_not_said_to_be_reusable(pair: Pair) -> None:
    await connect(pair.alice, pair.faber, await pair.faber.invite())
    assert (await pair.alice.look(await pair.mallory.invite())).data.reusable is None


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


async def test_sec_r_01_a_message_costs_few_reads_however_many_connections_its_peer_has(
    pair: Pair, ledger: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    did = await public(pair.faber, ledger)
    invitation = await pair.faber.invite(did=did, multi_use=True)
    ours = (await pair.faber.tenant.public_dids.status())[0]["verkey"]
    peer = stranger()
    theirs = create_peer4(peer.verkey, "http://stranger.example")

    async def send(message: Message) -> None:
        await pair.faber.tenant.receive(packed(message.wire(), ours, peer))

    for number in range(MOST_ALIKE):
        thread = Thread(thid=f"thread {number}", pthid=invitation["@id"])
        await send(did_exchange.Request(did=theirs, thread=thread))
        x = await asked(pair.faber)
        await pair.faber.command(x, did_exchange.SendResponse(did=did))
        await send(did_exchange.Complete(thread=thread))
    reads: list[None] = []
    read = Reader.read

    async def counted(reader: Reader, fetch: Any) -> Any:
        reads.append(None)
        return await read(reader, fetch)

    monkeypatch.setattr(Reader, "read", counted)
    with pytest.raises(PeerError, match="unknown thread"):
        await send(
            ProblemReport.of("x").model_copy(update={"thread": Thread(thid="no thread")})
        )
    assert len(reads) < 5 * len(pair.faber.tenant.around.protocols)
