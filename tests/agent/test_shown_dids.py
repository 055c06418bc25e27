"""Which DID a peer sees is a choice, and each choice is understood by the other side."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from agent.pair import Agent, Pair
from agent.paper import Paper
from pydantic import BaseModel, ValidationError

from keep_agent.core.machine import Exchange, Expired
from keep_agent.core.message import Json
from keep_agent.errors import BadCommandError, NotFoundError
from keep_agent.identity.connections import Connection
from keep_agent.identity.did_choice import DidChoice, NewDid
from keep_agent.identity.keys import NewKey
from keep_agent.identity.peer_dids import create_peer2, create_peer4
from keep_agent.protocols import did_exchange, out_of_band, trust_ping

INVITING = ("key", "did:peer:2", "did:peer:4")
CONNECTING = ("did:peer:2", "did:peer:4")


def shown_in(invitation: Json) -> str:
    (service,) = invitation["services"]
    return "key" if isinstance(service, dict) else service


async def connect(
    pair: Pair, inviting: str | None, asking: str | None, answering: str | None
) -> tuple[Connection, Connection, Json]:
    """Connect Alice, who is invited, and Faber by these choices."""
    invitation = await pair.faber.invite(did=inviting)
    await pair.alice.accept(invitation, did=asking)

    def came(x: Exchange[Any]) -> bool:
        return (x.peer, x.state) == (invitation["@id"], "request-received")

    x = await pair.faber.until(did_exchange.PROTOCOL, came)
    await pair.faber.command(x, did_exchange.SendResponse(did=answering))
    theirs = await pair.faber.until(
        did_exchange.PROTOCOL, lambda y: y.id == x.id and y.state == "completed"
    )
    hers = await pair.alice.until(
        did_exchange.PROTOCOL, lambda y: y.thid == x.thid and y.state == "completed"
    )
    return (
        await pair.alice.connection(hers.id),
        await pair.faber.connection(theirs.id),
        invitation,
    )


async def ping(agent: Agent, connection: Connection) -> None:
    """Ask for an answer on a connection, and wait for it."""
    x = await agent.start(trust_ping.PROTOCOL, trust_ping.SendPing(), connection.id)
    await agent.until(trust_ping.PROTOCOL, lambda y: y.id == x.id and y.state == "done")


@pytest.mark.parametrize(
    ("inviting", "asking", "answering"), list(product(INVITING, CONNECTING, CONNECTING))
)
async def test_every_choice_is_understood(
    pair: Pair, inviting: str, asking: str, answering: str
) -> None:
    hers, his, invitation = await connect(pair, inviting, asking, answering)
    assert shown_in(invitation).startswith(inviting)
    assert str(hers.my_did).startswith(asking)
    assert str(his.my_did).startswith(answering)
    assert (hers.their_did, his.their_did) == (his.my_did, hers.my_did)
    assert (hers.their_key, his.their_key) == (his.my_key, hers.my_key)
    await ping(pair.alice, hers)
    await ping(pair.faber, his)


async def test_a_tenant_shows_what_it_has_chosen(pair: Pair) -> None:
    for agent in (pair.alice, pair.faber):
        choice = DidChoice(invitation="did:peer:2", connection="did:peer:2")
        await agent.tenant.commands.choose_dids(choice)
    hers, his, invitation = await connect(pair, None, None, None)
    assert shown_in(invitation).startswith("did:peer:2")
    assert str(hers.my_did).startswith("did:peer:2")
    assert str(his.my_did).startswith("did:peer:2")
    hers, his, invitation = await connect(pair, "key", "did:peer:4", "did:peer:4")
    assert shown_in(invitation) == "key"
    assert str(hers.my_did).startswith("did:peer:4")
    assert str(his.my_did).startswith("did:peer:4")


async def test_unless_told_the_key_stands_in_invitations_and_did_peer_4_in_connections(
    pair: Pair,
) -> None:
    hers, his, invitation = await connect(pair, None, None, None)
    assert shown_in(invitation) == "key"
    assert str(hers.my_did).startswith("did:peer:4")
    assert str(his.my_did).startswith("did:peer:4")


@pytest.mark.parametrize(
    ("command", "args"),
    [
        (out_of_band.Accept, {"did": "key"}),
        (did_exchange.SendResponse, {"did": "key"}),
        (did_exchange.SendRequest, {"invitation": "x", "did": "key"}),
        (DidChoice, {"connection": "key"}),
    ],
)
def test_a_connection_always_shows_a_did(command: type[BaseModel], args: Json) -> None:
    with pytest.raises(ValidationError, match="show a DID: did:peer:2, did:peer:4, public"):
        command.model_validate(args)


@pytest.mark.parametrize(
    "word", ["", "peer", "did:peer:3", "did:key:z6Mk", "did:web:a.example"]
)
def test_what_is_no_choice_is_refused_with_those_that_are(word: str) -> None:
    with pytest.raises(
        ValidationError, match="key, did:peer:2, did:peer:4, public, or a public"
    ):
        out_of_band.CreateInvitation(did=word)


async def test_without_a_public_did_none_can_be_shown() -> None:
    faber = Paper("faber")
    with pytest.raises(BadCommandError, match="no public DID"):
        await faber.invite(did="public")
    assert not faber.records


@pytest.mark.parametrize("by", ["command", "tenant"])
@pytest.mark.parametrize("reuse", [False, True])
async def test_an_invitation_is_not_spent_on_a_did_that_cannot_be_shown(
    pair: Pair, by: str, *, reuse: bool
) -> None:
    if reuse:
        await pair.connect()
    if by == "tenant":
        await pair.alice.tenant.commands.choose_dids(DidChoice(connection="public"))
    invitation = await pair.faber.invite()
    looked = await pair.alice.look(invitation)
    how = out_of_band.Accept(reuse=reuse, did="public" if by == "command" else None)
    with pytest.raises(BadCommandError, match="no public DID: make a DID of ours public first"):
        await pair.alice.command(looked, how)
    assert await pair.alice.profile.exchange(looked.id) == looked
    usable = out_of_band.Accept(reuse=False, did="did:peer:2")
    assert (await pair.alice.command(looked, usable)).state == out_of_band.State.DONE
    hers, _ = await pair.met(invitation["@id"], pair.alice, pair.faber)
    assert str(hers.my_did).startswith("did:peer:2")


async def test_a_choice_outlives_a_reuse_that_the_inviter_does_not_accept() -> None:
    alice = Paper("alice")
    x = alice.new(out_of_band.PROTOCOL, out_of_band.Side.RECEIVER, "nobody")
    x = replace(x, data=out_of_band.OutOfBand(did="did:peer:2"))
    step = await out_of_band.make_new(x, Expired(), alice.port)
    (then,) = step.then
    assert isinstance(then.command, out_of_band.SendRequest)
    assert then.command.did == "did:peer:2"


@pytest.mark.parametrize("make", [create_peer2, create_peer4])
async def test_sec_d_05_a_key_of_ours_signs_no_did_of_others(make: Any) -> None:
    faber = Paper("faber")
    key = faber.port.own.new_key({})
    faber.write(key)
    theirs = NewKey.generate({}).verkey
    did = make(theirs, "http://mallory.example")
    for claim in (NewDid(did, theirs), NewDid(did, key.verkey), NewDid(did, theirs, (key,))):
        with pytest.raises(NotFoundError, match="SEC-D05"):
            await faber.port.own.vouch(key.verkey, claim)
