"""Several tenants on one store, a wire in memory, and peers that are keys alone."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent.pair import packed, stranger

from keep_agent.core.catalog import load_catalog
from keep_agent.core.machine import PutKey
from keep_agent.core.message import Json, new_id
from keep_agent.didcomm.envelope import unpack
from keep_agent.identity.connections import Connection
from keep_agent.identity.keys import LocalKey, NewKey, base58_key
from keep_agent.protocols.trust_ping import URI
from keep_agent.store.location import Location, Sqlite
from keep_agent.store.rows import Commit
from keep_agent.store.store import Store
from keep_agent.tenants.registry import Tenants
from keep_agent.tenants.tenant import Surroundings, Tenant
from keep_agent.transport.egress import Delivered, Delivery, Retry
from keep_ledger.plugins import Ledgers
from keep_zkp.native import Native

PATIENCE_S = 20.0


@dataclass(slots=True)
class Wire:
    """Takes what tenants send, as (endpoint, packed bytes).

    Attributes:
        down: nothing is delivered.
    """

    sent: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    down: bool = False

    async def post(self, url: str, body: bytes, content_type: str, *, hurry: bool) -> Delivery:
        if self.down:
            return Retry("down", None)
        self.sent.append((url, body))
        return Delivered(None)


@dataclass(frozen=True, slots=True)
class Friend:
    """A peer of one tenant: a key, and the connection that the tenant has with it."""

    key: LocalKey
    connection: Connection
    endpoint: str

    def ping(self, **more: object) -> bytes:
        """Return a packed trust ping, which asks for an answer."""
        body = {"@type": f"{URI}/ping", "@id": new_id(), "response_requested": True, **more}
        return packed(body, self.connection.my_key, self.key)

    async def opened(self, wire: Wire) -> list[Json]:
        """Return the messages that reached it."""

        async def key(verkey: str) -> LocalKey | None:
            return self.key if verkey == self.key.verkey else None

        mine = [body for url, body in wire.sent if url == self.endpoint]
        return [(await unpack(body, key)).body for body in mine]


@dataclass(slots=True)
class House:
    """The tenants at work."""

    tenants: Tenants
    store: Store
    wire: Wire

    async def make(self, *labels: str) -> list[str]:
        return [(await self.tenants.make(label)).id for label in labels]

    async def friend(self, name: str) -> Friend:
        """Give a tenant a peer, as if they had met."""
        async with self.tenants.use(name) as tenant:
            return await befriend(tenant)

    async def answered(self, friend: Friend, number: int = 1) -> None:
        """Wait until so many messages reached a peer."""
        await until(lambda: sum(u == friend.endpoint for u, _ in self.wire.sent) >= number)

    async def closed(self, name: str) -> None:
        await until(lambda: name not in self.tenants.open)


async def befriend(tenant: Tenant, endpoint: str = "") -> Friend:
    key = stranger()
    connection = new_id()
    endpoint = endpoint or f"http://{connection}.example"
    mine = NewKey.generate({"connection": connection})
    record = Connection(
        id=connection,
        state="completed",
        role="responder",
        my_key=mine.verkey,
        their_key=key.verkey,
        endpoint=endpoint,
        recipients=(key.verkey,),
        created=0.0,
    )
    writes = (PutKey(mine.verkey, mine.key, mine.metadata), record.put(new=True))
    await tenant.profile.commit(Commit(writes=writes))
    return Friend(key, record, endpoint)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


def key_of(folder: Path) -> str:
    """Return the key of the store in a folder, the same each time."""
    file = folder / "key"
    if not file.exists():
        file.write_text(base58_key(secrets.token_bytes(32)))
    return file.read_text()


@asynccontextmanager
async def living(
    folder: Path, *, crash: bool = False, location: Location | None = None
) -> AsyncGenerator[House, None]:
    """Open the store in a folder and let its tenants work.

    Args:
        location: of another store.
        crash: at the end nothing is put in order, as if the process had been killed.
    """
    protocols = load_catalog().protocols
    models = {p.name: p.data for p in protocols.values()}
    where = location or Sqlite(folder / "agent.db")
    store = await Store.open(where, key_of(folder), models, folder / "processes")
    tenants = await Tenants.of(store)
    writer = asyncio.create_task(store.run())
    native = Native(threads=1, room=64, deadline_s=60)
    wire = Wire()
    around = Surroundings(
        protocols=protocols,
        ports={},
        ledgers=Ledgers([]),
        native=native,
        carrier=wire,
        endpoint="http://house.example",
        label="the house",
        seen_days=30,
    )
    work = asyncio.create_task(tenants.run(around))
    try:
        await tenants.ready()
        yield House(tenants, store, wire)
    finally:
        await _end(work)
        if not crash:
            await tenants.close()
        await _end(writer)
        await store.close()
        native.close()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def written(folder: Path) -> bytes:
    """Return all that the store has on the disk."""
    return b"".join(file.read_bytes() for file in sorted(folder.glob("agent.db*")))
