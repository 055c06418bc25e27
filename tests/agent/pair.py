"""Two whole agents over a wire in memory: real stores, keys and envelopes; no HTTP."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keep_agent.core.catalog import load_catalog
from keep_agent.core.machine import Command, Exchange, Protocol
from keep_agent.core.message import Json
from keep_agent.didcomm.envelope import seal
from keep_agent.errors import PeerError, UnavailableError
from keep_agent.identity.connections import CONNECTION, Connection
from keep_agent.identity.keys import LocalKey, NewKey, base58_key
from keep_agent.protocols import did_exchange, out_of_band
from keep_agent.store.lists import listed
from keep_agent.store.location import Sqlite
from keep_agent.store.rows import Commit
from keep_agent.store.store import Store
from keep_agent.tenants.tenant import Surroundings, Tenant
from keep_agent.transport.egress import Delivered, Delivery, Refused, Retry
from keep_ledger.interface import Registry
from keep_ledger.plugins import Ledgers
from keep_zkp.native import Native

PATIENCE_S = 20.0
OOB = out_of_band.PROTOCOL.name
DIDEX = did_exchange.PROTOCOL.name


@dataclass(slots=True)
class Wire:
    """Carries packed messages between tenants, by endpoint, as well as it is told to.

    Attributes:
        lose: how many of the next messages are lost; their senders notice and send again.
        twice: each message arrives twice.
        held: while this is a list, messages end up here; `release` lets them go on.
        most: of how many bytes a message may be; a longer one is answered 413.
        carried: every message that arrived, as (endpoint, packed bytes).
    """

    tenants: dict[str, Tenant] = field(default_factory=dict[str, Tenant])
    lose: int = 0
    twice: bool = False
    held: list[tuple[str, bytes]] | None = None
    most: int = 1 << 30
    carried: deque[tuple[str, bytes]] = field(default_factory=deque[tuple[str, bytes]])

    async def post(self, url: str, body: bytes, content_type: str, *, hurry: bool) -> Delivery:
        assert content_type == "application/ssi-agent-wire"
        if self.lose > 0:
            self.lose -= 1
            return Retry("lost", None)
        if len(body) > self.most:
            return Refused(413)
        if self.held is not None:
            self.held.append((url, body))
            return Delivered(None)
        outcome = await self.arrive(url, body)
        return await self.arrive(url, body) if self.twice else outcome

    async def arrive(self, url: str, body: bytes) -> Delivery:
        if url not in self.tenants:
            return Refused(404)
        self.carried.append((url, body))
        try:
            await self.tenants[url].receive(body)
        except PeerError:
            return Refused(400)
        except UnavailableError as error:
            return Retry(str(error), None)
        return Delivered(None)

    async def gather(self, number: int) -> None:
        """Wait until so many messages are held."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.held or ()) < number:  # noqa: ASYNC110 - carriers set no events
                await asyncio.sleep(0.005)

    async def release(self, *, backwards: bool = False) -> None:
        """Let the held messages arrive, in order or the last one first; hold no more."""
        held, self.held = self.held or [], None
        for url, body in reversed(held) if backwards else held:
            await self.arrive(url, body)


class Agent:
    """One tenant at work, and what a test asks of it."""

    def __init__(self, tenant: Tenant, wire: Wire) -> None:
        self.tenant = tenant
        self.wire = wire
        self.profile = tenant.profile

    async def start(
        self,
        protocol: Protocol[Any],
        command: Command,
        connection: str | None = None,
        thid: str | None = None,
    ) -> Exchange[Any]:
        return await self.tenant.dispatcher.start(protocol.name, command, connection, thid)

    async def command(self, x: Exchange[Any], command: Command) -> Exchange[Any]:
        return await self.tenant.dispatcher.command(x.id, command)

    async def until(
        self, protocol: Protocol[Any], holds: Callable[[Exchange[Any]], bool]
    ) -> Exchange[Any]:
        """Return an exchange as soon as there is one of which something holds."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                seen = self.profile.last_event
                for x in await listed(self.profile, "~protocol", protocol.name, 1000):
                    if holds(x):
                        return x
                await self.profile.wait_event(seen)

    async def reached(self, protocol: Protocol[Any], state: str) -> Exchange[Any]:
        return await self.until(protocol, lambda x: x.state == state)

    async def quiet(self) -> None:
        """Wait until everything that is committed has been delivered."""
        async with asyncio.timeout(PATIENCE_S):
            while self.tenant.outbox.waiting:  # noqa: ASYNC110 - it sets no event
                await asyncio.sleep(0.005)

    async def invite(self, thid: str | None = None, **wish: Any) -> Json:
        command = out_of_band.CreateInvitation(**wish)
        x = await self.start(out_of_band.PROTOCOL, command, thid=thid)
        message: Json = x.data.message
        return message

    async def look(self, invitation: Json) -> Exchange[Any]:
        command = out_of_band.ReceiveInvitation(invitation=invitation)
        return await self.start(out_of_band.PROTOCOL, command)

    async def accept(self, invitation: Json, **how: Any) -> Exchange[Any]:
        return await self.command(await self.look(invitation), out_of_band.Accept(**how))

    async def connection(self, name: str) -> Connection:
        return Connection.model_validate(await self.profile.get(CONNECTION, name))

    async def key(self, connection: Connection) -> LocalKey:
        key = await self.tenant.keys.load(connection.my_key)
        assert key is not None
        return key

    async def stolen(self, connection: Connection, body: Json) -> None:
        """Send any body on a connection, past the machine."""
        target = connection.target
        assert target is not None
        assert target.endpoint is not None
        packed = seal(_bytes(body), target.recipients, await self.key(connection), ())
        await self.wire.tenants[target.endpoint].receive(packed)


@dataclass(slots=True)
class Pair:
    """Alice, Faber and Mallory, who share a wire."""

    alice: Agent
    faber: Agent
    mallory: Agent
    wire: Wire

    async def connect(
        self, invited: Agent | None = None, inviter: Agent | None = None
    ) -> tuple[Connection, Connection]:
        """Connect two of them, Alice and Faber unless said, step by step."""
        invited, inviter = invited or self.alice, inviter or self.faber
        invitation = await inviter.invite()
        await invited.accept(invitation)
        return await self.met(invitation["@id"], invited, inviter)

    async def met(
        self, invitation: str, invited: Agent, inviter: Agent
    ) -> tuple[Connection, Connection]:
        """Let the inviter take the request, and return both ends of the connection."""

        def of(state: str) -> Callable[[Exchange[Any]], bool]:
            return lambda x: (x.peer, x.state) == (invitation, state)

        protocol, completed = did_exchange.PROTOCOL, did_exchange.State.COMPLETED
        x = await inviter.until(protocol, of(did_exchange.State.REQUEST_RECEIVED))
        await inviter.command(x, did_exchange.SendResponse())
        ours = await invited.until(
            protocol, lambda y: (y.role, y.thid, y.state) == ("requester", x.thid, completed)
        )
        theirs = await inviter.until(protocol, of(completed))
        return await invited.connection(ours.id), await inviter.connection(theirs.id)


def _bytes(body: Json) -> bytes:
    return json.dumps(body).encode()


def stranger() -> LocalKey:
    """Return a key that nobody knows."""
    made = NewKey.generate({})
    return LocalKey.of(made.verkey, made.key, {})


def packed(body: Json, to: str, sender: LocalKey | None) -> bytes:
    """Seal any body for a key."""
    return seal(_bytes(body), [to], sender, ())


@asynccontextmanager
async def opened(
    folder: Path, key: str | None = None, networks: Sequence[Registry] = ()
) -> AsyncGenerator[Pair, None]:
    """Open the agents with stores in this folder; end all that they run.

    Args:
        key: of the stores, where they are there already.
    """
    wire = Wire()
    protocols = load_catalog().protocols
    native = Native(threads=1, room=64, deadline_s=60)
    stores: list[Store] = []
    tasks: list[asyncio.Task[None]] = []
    writers: list[asyncio.Task[None]] = []
    agents: dict[str, Agent] = {}
    for name in ("alice", "faber", "mallory"):
        store = await Store.open(
            Sqlite(folder / f"{name}.db"),
            key or base58_key(secrets.token_bytes(32)),
            {p.name: p.data for p in protocols.values()},
        )
        stores.append(store)
        writers.append(asyncio.create_task(store.run()))
        around = Surroundings(
            protocols=protocols,
            ports={},
            ledgers=Ledgers(networks),
            native=native,
            carrier=wire,
            endpoint=f"http://{name}.example",
            label=name,
            seen_days=30,
        )
        tenant = await Tenant.open(await store.profile("main"), around)
        wire.tenants[tenant.endpoint] = tenant
        agents[name] = Agent(tenant, wire)
    tasks += [asyncio.create_task(agent.tenant.run()) for agent in agents.values()]
    await asyncio.sleep(0)
    try:
        yield Pair(agents["alice"], agents["faber"], agents["mallory"], wire)
    finally:
        await _end(tasks)
        for agent in agents.values():
            await agent.profile.commit(Commit())  # what was handed to the writer is written
        await _end(writers)
        for store in stores:
            await store.close()
        native.close()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
