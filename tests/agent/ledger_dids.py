"""Agents with DIDs on a ledger, and how they connect by them."""

from __future__ import annotations

from typing import Any

from agent.pair import Agent

from keep_agent.core.machine import Exchange
from keep_agent.core.message import Json
from keep_agent.identity.connections import Connection
from keep_agent.protocols import did_exchange, trust_ping
from keep_agent.registry.commands import CreateDid
from keep_agent.registry.public_dids import MakePublic
from keep_ledger.codes import Role
from keep_ledger.interface import Finished
from keep_ledger.memory import TRUSTEE, MemoryRegistry
from keep_ledger.writes import Write, WriteAttrib, WriteNym

DIDEX = did_exchange.PROTOCOL


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
