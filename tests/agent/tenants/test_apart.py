"""For one tenant, nothing of another exists, whichever way it is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agent.tenants.house import Friend, living

from keep_agent.core.machine import Exchange, Expired, Put
from keep_agent.core.policy import Automatic, Policy
from keep_agent.errors import NotFoundError, PeerError
from keep_agent.protocols import out_of_band, trust_ping
from keep_agent.store.deadlines import due
from keep_agent.store.lists import listed
from keep_agent.store.rows import Commit
from keep_agent.tenants.tenant import Tenant

PING = trust_ping.PROTOCOL.name
OOB = out_of_band.PROTOCOL.name
CATEGORIES = (
    "connection",
    "invitation",
    "did",
    "did-document",
    "credential",
    "cred_def",
    "cred_def_key",
    "job",
    "agreement",
    "dead-letter",
    "seen",
    "policy",
)


@dataclass(frozen=True, slots=True)
class Home:
    """A tenant with something of everything.

    Attributes:
        x: an exchange that waits.
        records: name of a record, by category.
    """

    tenant: Tenant
    friend: Friend
    x: Exchange[Any]
    records: dict[str, str]

    @property
    def verkey(self) -> str:
        return self.friend.connection.my_key


@pytest.fixture
async def homes(tmp_path: Path) -> AsyncIterator[tuple[Home, Home]]:
    """Alice and Bob, tenants of one store."""
    async with living(tmp_path) as house:
        house.wire.down = True
        names = await house.make("Alice", "Bob")
        friends = [await house.friend(name) for name in names]
        async with house.tenants.use(names[0]) as one, house.tenants.use(names[1]) as other:
            yield await furnished(one, friends[0]), await furnished(other, friends[1])


async def furnished(tenant: Tenant, friend: Friend) -> Home:
    profile = tenant.profile
    connection = friend.connection.id
    records = {category: f"{category} of {connection}" for category in CATEGORIES}
    await profile.commit(
        Commit(writes=tuple(Put(c, name, {"id": name}) for c, name in records.items()))
    )
    policy = Policy(
        protocol=OOB, connection=connection, auto={"x": Automatic(command="accept")}
    )
    await profile.commit(Commit(writes=(policy.put(),)))
    tenant.policies.adopt(policy)
    records["connection"] = connection
    x = await tenant.dispatcher.start(PING, trust_ping.SendPing(), connection)
    return Home(tenant, friend, x, records)


Look = Callable[[Tenant, Home], Awaitable[bool]]
"""Tells whether a tenant sees something that a home has."""


def record(category: str) -> Look:
    async def look(tenant: Tenant, home: Home) -> bool:
        return await tenant.profile.fetch(category, home.records[category]) is not None

    return look


async def in_lists(tenant: Tenant, home: Home) -> bool:
    for category, name in home.records.items():
        if name in {n for n, _ in await tenant.profile.find(category)}:
            return True
        if name in {n for n, _ in await tenant.profile.reader.page(category, None, 0, 100)}:
            return True
    return False


async def exchange(tenant: Tenant, home: Home) -> bool:
    return await tenant.profile.exchange(home.x.id) is not None


async def exchange_by_thread(tenant: Tenant, home: Home) -> bool:
    return bool(await tenant.profile.exchanges("thid", home.x.thid))


async def exchange_at_hand(tenant: Tenant, home: Home) -> bool:
    return tenant.profile.cached_exchange(home.x.id) is not None


async def record_at_hand(tenant: Tenant, home: Home) -> bool:
    return tenant.profile.cached("connection", home.records["connection"]) is not None


async def exchange_in_a_page(tenant: Tenant, home: Home) -> bool:
    return home.x.id in {x.id for x in await listed(tenant.profile, "~protocol", PING, 100)}


async def deadline(tenant: Tenant, home: Home) -> bool:
    return home.x.id in {x.id for x in await due(tenant.profile, 1e12)}


async def event(tenant: Tenant, home: Home) -> bool:
    return home.x.id in {e.get("id") for e in await tenant.profile.events(0)}


async def key(tenant: Tenant, home: Home) -> bool:
    return await tenant.profile.key(home.verkey) is not None


async def loaded_key(tenant: Tenant, home: Home) -> bool:
    return await tenant.keys.load(home.verkey) is not None


async def command(tenant: Tenant, home: Home) -> bool:
    try:
        await tenant.dispatcher.command(home.x.id, Expired())
    except NotFoundError:
        return False
    return True


async def start(tenant: Tenant, home: Home) -> bool:
    try:
        await tenant.dispatcher.start(PING, trust_ping.SendPing(), home.records["connection"])
    except NotFoundError:
        return False
    return True


async def message(tenant: Tenant, home: Home) -> bool:
    try:
        await tenant.receive(home.friend.ping())
    except PeerError:
        return False
    return True


async def policy(tenant: Tenant, home: Home) -> bool:
    return home.records["connection"] in {p.connection for p in tenant.policies.all()}


async def outbox(tenant: Tenant, home: Home) -> bool:
    return home.x.id in {row.exchange for row in tenant.profile.deliveries.fresh}


LOOKS: dict[str, Look] = {
    **{f"record {category}": record(category) for category in CATEGORIES},
    **{
        look.__name__: look
        for look in (
            in_lists,
            exchange,
            exchange_by_thread,
            exchange_at_hand,
            record_at_hand,
            exchange_in_a_page,
            deadline,
            event,
            key,
            loaded_key,
            start,
            message,
            policy,
            outbox,
            command,
        )
    },
}


async def test_sec_w_what_one_tenant_has_does_not_exist_for_another(
    homes: tuple[Home, Home],
) -> None:
    alice, bob = homes

    async def seen(tenant: Tenant, home: Home) -> list[str]:
        return [what for what, look in LOOKS.items() if await look(tenant, home)]

    assert await seen(bob.tenant, alice) == []
    assert await seen(alice.tenant, bob) == []
    assert await seen(alice.tenant, alice) == list(LOOKS)  # each of them would have been seen
    assert await seen(bob.tenant, bob) == list(LOOKS)
    assert await seen(bob.tenant, alice) == []  # nor what is at hand now
