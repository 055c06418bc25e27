"""Whose key was checked is remembered, so that the next request needs the library no more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from wallets import (
    ALICE,
    LICENCE,
    STORE_KEY,
    Tenant,
    issue,
    ledger,
    publish,
    tenants,
    vectors,
)

from keep_agent.core.message import Json
from keep_agent.credentials.wallet import CHECKED_KEY, make_link_secret
from keep_agent.errors import RefusedError
from keep_agent.protocols.issue_credential_2 import OfferOrRequest
from keep_agent.store.location import Location, Sqlite, parse
from keep_agent.store.store import Store
from keep_ledger.memory import MemoryRegistry
from keep_ledger.plugins import Ledgers
from keep_zkp import blinding
from keep_zkp.native import Native, Scope


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Tenant, ...]]:
    async with tenants(tmp_path, "office", "alice", "bob") as made:
        yield made


async def offered(office: Tenant) -> Json:
    made = await office.credentials.offer({"cred_def_id": LICENCE}, ALICE, "anoncreds", None)
    return made.attachment


async def ask(holder: Tenant, offer: Json) -> OfferOrRequest:
    """Request, and commit what is to be remembered, as the step of an exchange does."""
    asked = await holder.credentials.request(offer, ALICE)
    if asked.writes:
        await holder.write(*asked.writes)
    return asked


async def remembered(holder: Tenant) -> list[tuple[str, Json]]:
    return await holder.profile.find(CHECKED_KEY)


@asynccontextmanager
async def opened(
    location: Location, folder: Path, network: MemoryRegistry
) -> AsyncGenerator[Tenant]:
    """Open alice's store once more, as the next process does, or another one."""
    native = Native(threads=1, room=64, deadline_s=60)
    store = await Store.open(location, STORE_KEY, {}, folder)
    writer = asyncio.create_task(store.run())
    try:
        yield Tenant(await store.profile("alice"), Scope(native, keep=8), Ledgers((network,)))
    finally:
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer
        await store.close()
        native.close()


async def test_the_second_request_for_a_definition_is_our_own(
    pair: tuple[Tenant, ...], by_library: list[object]
) -> None:
    office, alice, bob = pair
    first = await ask(alice, await offered(office))
    assert len(by_library) == 1
    assert len(first.writes) == 1
    second = await ask(alice, await offered(office))
    assert len(by_library) == 1
    assert second.writes == ()
    await issue(office, alice, "x", ALICE)
    assert len(by_library) == 1
    await ask(bob, await offered(office))  # a tenant remembers for itself
    assert len(by_library) == 2
    ((name, value),) = await remembered(alice)
    assert name.startswith("local:")
    assert value == {}


async def test_what_was_not_committed_is_not_remembered(
    pair: tuple[Tenant, ...], by_library: list[object]
) -> None:
    office, alice, _ = pair
    for _ in range(2):
        await alice.credentials.request(await offered(office), ALICE)
    assert len(by_library) == 2


async def test_two_first_requests_at_once_do_not_meet(
    pair: tuple[Tenant, ...], by_library: list[object]
) -> None:
    office, alice, _ = pair
    offers = [await offered(office) for _ in range(4)]
    asked = await asyncio.gather(*(alice.credentials.request(each, ALICE) for each in offers))
    assert len(by_library) == 4
    await asyncio.gather(*(alice.write(*each.writes) for each in asked))
    assert len(await remembered(alice)) == 1
    await ask(alice, await offered(office))
    assert len(by_library) == 4


async def test_it_is_remembered_after_a_restart(
    tmp_path: Path, by_library: list[object]
) -> None:
    async with tenants(tmp_path, "office", "alice") as (office, alice):
        offers = [await offered(office) for _ in range(2)]
        await ask(alice, offers[0])
    async with opened(Sqlite(tmp_path / "store.db"), tmp_path, ledger()) as again:
        assert (await ask(again, offers[1])).writes == ()
    assert len(by_library) == 1


async def test_another_key_or_another_network_is_checked_by_itself(
    tmp_path: Path, by_library: list[object]
) -> None:
    async with tenants(tmp_path, "office", "alice") as (office, alice):
        offer = await offered(office)
        await ask(alice, offer)
    changed = ledger()
    learner = vectors()["cred_defs"]["learner"]
    publish(changed, LICENCE, learner)
    offer_of_learner = {**offer, "key_correctness_proof": learner["key_proof"]}
    async with opened(Sqlite(tmp_path / "store.db"), tmp_path, changed) as again:
        with pytest.raises(RefusedError, match="SEC-I05"):
            await ask(again, offer)
        assert len(by_library) == 1
        await ask(again, offer_of_learner)
    assert len(by_library) == 2
    elsewhere = json.loads(json.dumps(offer).replace("did:indy:local:", "did:indy:other:"))
    async with opened(Sqlite(tmp_path / "store.db"), tmp_path, ledger("other")) as again:
        await ask(again, elsewhere)
        assert len(by_library) == 3
        names = [name.partition(":")[0] for name, _ in await remembered(again)]
        assert sorted(names) == ["local", "local", "other"]


async def test_sec_i05_a_false_proof_is_refused_before_and_after_a_right_one(
    pair: tuple[Tenant, ...],
) -> None:
    office, alice, _ = pair
    offer = await offered(office)
    other = vectors()["cred_defs"]["learner"]["key_proof"]
    false = {**offer, "key_correctness_proof": other}
    for _ in range(2):
        with pytest.raises(RefusedError, match="SEC-I05"):
            await ask(alice, false)
        await ask(alice, offer)
    assert len(await remembered(alice)) == 1


async def test_without_gmpy2_nothing_is_remembered_and_the_library_asks(
    pair: tuple[Tenant, ...], by_library: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blinding, "gmpy2", None)
    office, alice, _ = pair
    for _ in range(2):
        await ask(alice, await offered(office))
    assert len(by_library) == 2
    assert await remembered(alice) == []


async def test_the_link_secret_is_in_no_log_and_no_request(
    pair: tuple[Tenant, ...], caplog: pytest.LogCaptureFixture
) -> None:
    office, alice, _ = pair
    caplog.set_level("DEBUG")
    secret = (await alice.profile.get("link_secret", "default"))["secret"]
    for _ in range(2):
        asked = await ask(alice, await offered(office))
        assert secret not in json.dumps(asked.attachment)
        assert secret not in json.dumps(asked.kept)
        assert secret not in repr(asked)
    assert secret not in caplog.text


async def test_processes_that_share_a_store_remember_together(
    tmp_path: Path, postgres: str, by_library: list[object]
) -> None:
    async with AsyncExitStack() as stack:
        (office,) = await stack.enter_async_context(tenants(tmp_path, "office"))
        one = await stack.enter_async_context(opened(parse(postgres), tmp_path, ledger()))
        other = await stack.enter_async_context(opened(parse(postgres), tmp_path, ledger()))
        await make_link_secret(one.profile, one.scope)
        offer = await offered(office)
        asked = await asyncio.gather(
            one.credentials.request(offer, ALICE), other.credentials.request(offer, ALICE)
        )
        await asyncio.gather(one.write(*asked[0].writes), other.write(*asked[1].writes))
        assert len(by_library) == 2
        for each in (one, other):
            await ask(each, await offered(office))
        assert len(by_library) == 2
        assert len(await remembered(other)) == 1
