"""Tenants are made, suspended and deleted by jobs that survive being killed between any two steps."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from agent.tenants.house import PATIENCE_S, House, living, written

from keep_agent.core.machine import Put
from keep_agent.errors import BadCommandError, KeepError, NotFoundError, NotNowError
from keep_agent.protocols.trust_ping import URI
from keep_agent.store.rows import Commit
from keep_agent.store.store import Store
from keep_agent.tenants.records import Record, Records, State
from keep_agent.tenants.tenant import MAIN

STEPS = 6
"""Before and after each of the three steps of a job."""


class KilledError(KeepError):
    """The process ended here."""


class Fuse:
    """Ends a job before or after one of its steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.left = at
        for owner, name in (
            (Store, "make_profile"),
            (Store, "remove_profile"),
            (Records, "save"),
        ):
            monkeypatch.setattr(owner, name, self.around(getattr(owner, name)))

    def around(self, step: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def fused(*args: object, **kwargs: object) -> Any:
            self.burn()
            result = await step(*args, **kwargs)
            self.burn()
            return result

        return fused

    def burn(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KilledError("killed")


async def listed(house: House) -> list[Record]:
    return await house.tenants.list("", 1000)


async def finished(house: House) -> None:
    """Wait until nothing is left of what was begun."""
    async with asyncio.timeout(PATIENCE_S):
        while await house.tenants._records.unfinished():  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0.01)


async def profiles(house: House) -> set[str]:
    return set(await house.store.askar.list_profiles())


# -- made --------------------------------------------------------------------------------------


async def test_a_tenant_is_made_and_answers(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        record = await house.tenants.make("Registry office")
        friend = await house.friend(record.id)
        await house.tenants.receive(record.id, friend.ping())
        await house.answered(friend)
        (answer,) = await friend.opened(house.wire)
        assert answer["@type"] == f"{URI}/ping_response"
        assert await listed(house) == [record]
        assert (record.state, record.label) == (State.ACTIVE, "Registry office")


async def test_a_tenant_calls_itself_by_its_own_label_and_has_a_path_of_its_own(
    tmp_path: Path,
) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Registry office")
        async with house.tenants.use(name) as tenant:
            assert tenant.around.label == "Registry office"
            assert tenant.endpoint == f"http://house.example/d/{name}"
            assert name != tenant.profile.name
        async with house.tenants.use(MAIN) as tenant:
            assert tenant.around.label == "the house"
            assert (tenant.endpoint, tenant.profile.name) == (
                "http://house.example/d/main",
                MAIN,
            )


@pytest.mark.parametrize("label", ["", "x" * 101])
async def test_a_label_that_nobody_can_read_makes_no_tenant(tmp_path: Path, label: str) -> None:
    async with living(tmp_path) as house:
        with pytest.raises(BadCommandError):
            await house.tenants.make(label)
        assert await listed(house) == []


@pytest.mark.parametrize("step", range(STEPS))
async def test_a_making_that_is_killed_is_finished_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    async with living(tmp_path, crash=True) as house:
        with monkeypatch.context() as patch:
            Fuse(patch, step)
            with pytest.raises(KilledError):
                await house.tenants.make("Alice")
    async with living(tmp_path) as house:
        if step == 0:  # nothing was written
            assert await listed(house) == []
            return
        (record,) = await listed(house)
        await finished(house)
        friend = await house.friend(record.id)
        await house.tenants.receive(record.id, friend.ping())
        await house.answered(friend)
        assert [r.state for r in await listed(house)] == [State.ACTIVE]


async def test_what_is_still_being_made_answers_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(tmp_path) as house:
        with monkeypatch.context() as patch:
            Fuse(patch, 2)
            with pytest.raises(KilledError):
                await house.tenants.make("Alice")
        (record,) = await listed(house)
        assert record.state == State.MAKING
        with pytest.raises(NotFoundError):
            await house.tenants.receive(record.id, b"{}")
        with pytest.raises(NotNowError):
            await house.tenants.suspend(record.id)
        assert (await house.tenants.delete(record.id)).state == State.DELETED
        assert await listed(house) == []


# -- listed ------------------------------------------------------------------------------------


async def test_a_thousand_are_listed_in_their_order_without_opening_one(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        records = house.tenants._records
        made = [await records.save(Record.new(f"number {n}")) for n in range(1000)]
        found: list[Record] = []
        while page := await house.tenants.list(found[-1].place if found else "", 300):
            found += page
        assert [r.id for r in found] == [r.id for r in made]
        assert await records.find(made[500].id) == made[500]
        assert dict(house.tenants.open) == {}
        assert len(house.store._profiles) == 1  # the system profile


# -- suspended ---------------------------------------------------------------------------------


async def test_a_suspended_tenant_is_not_there_and_goes_on_when_it_is_resumed(
    tmp_path: Path,
) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        friend = await house.friend(name)
        house.wire.down = True
        await house.tenants.receive(name, friend.ping())
        assert (await house.tenants.suspend(name)).state == State.SUSPENDED
        house.wire.down = False
        assert name not in house.tenants.open
        with pytest.raises(NotFoundError) as suspended:
            await house.tenants.receive(name, friend.ping())
        with pytest.raises(NotFoundError) as unknown:
            await house.tenants.receive("somebody", friend.ping())
        assert str(suspended.value) == str(unknown.value)
        assert house.wire.sent == []
        await house.tenants.resume(name)
        await house.answered(friend)  # what it had decided before


async def test_a_suspended_tenant_stays_suspended_after_a_crash(tmp_path: Path) -> None:
    async with living(tmp_path, crash=True) as house:
        (name,) = await house.make("Alice")
        friend = await house.friend(name)
        await house.tenants.suspend(name)
    async with living(tmp_path) as house:
        with pytest.raises(NotFoundError):
            await house.tenants.receive(name, friend.ping())
        assert [r.state for r in await listed(house)] == [State.SUSPENDED]


async def test_a_block_that_still_uses_a_suspended_tenant_can_write_nothing(
    tmp_path: Path,
) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        async with house.tenants.use(name) as tenant:
            await house.tenants.suspend(name)
            with pytest.raises(KeepError, match="closed"):
                await tenant.profile.commit(Commit(writes=(Put("thing", "late", {}),)))
        await house.tenants.resume(name)
        async with house.tenants.use(name) as tenant:
            assert await tenant.profile.fetch("thing", "late") is None


async def test_suspending_and_resuming_twice_is_the_same_as_once(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        for job in (house.tenants.suspend, house.tenants.resume):
            assert await job(name) == await job(name)


async def test_main_is_neither_suspended_nor_deleted(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        for job in (house.tenants.suspend, house.tenants.resume, house.tenants.delete):
            with pytest.raises(BadCommandError, match="main"):
                await job(MAIN)
            with pytest.raises(NotFoundError):
                await job("somebody")


# -- deleted -----------------------------------------------------------------------------------


async def furnish(house: House, name: str, mark: str, file: Path) -> bytes:
    """Give a tenant rows with a plaintext tag; return what the file has of its profile key."""
    await house.friend(name)
    async with house.tenants.use(name) as tenant:
        for n in range(30):
            row = Put("thing", str(n), {"text": "x" * 300}, {"~mark": f"{mark} {n}"})
            await tenant.profile.commit(Commit(writes=(row,)))
        profile = tenant.profile.name
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        query = "SELECT profile_key FROM profiles WHERE name = ?"
        (key,) = db.execute(query, (profile,)).fetchone()
    assert isinstance(key, bytes)
    return key


async def test_sec_w_nothing_of_a_deleted_tenant_is_left_in_the_file(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        gone, stays = await house.make("Alice", "Bob")
        file = tmp_path / "agent.db"
        key = await furnish(house, gone, "planted with alice", file)
        other = await furnish(house, stays, "planted with bob", file)
        profile = next(r.profile for r in await listed(house) if r.id == gone)
        for planted in (b"planted with alice", key, profile.encode()):
            assert planted in written(tmp_path)
        assert await house.tenants.delete(gone) == Record(gone, State.DELETED)
        for planted in (b"planted with alice", key, profile.encode()):
            assert planted not in written(tmp_path)
        for planted in (b"planted with bob", other):
            assert planted in written(tmp_path)
        assert profile not in await profiles(house)
        assert profile not in house.store._profiles
        assert gone not in house.tenants.open
        record = await house.tenants._records.system.get("tenant", gone)
        assert record == {"id": gone, "state": "deleted"}
        async with house.tenants.use(stays) as tenant:
            assert len(await tenant.profile.find("thing")) == 30


async def test_a_deleted_tenant_is_not_listed_and_not_found_by_anything(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        friend = await house.friend(name)
        await house.tenants.delete(name)
        assert await listed(house) == []
        with pytest.raises(NotFoundError):
            await house.tenants.receive(name, friend.ping())
        for job in (house.tenants.suspend, house.tenants.resume, house.tenants.delete):
            with pytest.raises(NotFoundError):
                await job(name)


async def test_sec_w_the_name_of_a_deleted_tenant_is_never_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        await house.tenants.delete(name)
    async with living(tmp_path) as house:

        def again(_bytes: int) -> str:
            return name

        monkeypatch.setattr("keep_agent.tenants.records.secrets.token_urlsafe", again)
        with pytest.raises(KeepError):
            await house.tenants.make("Alice again")
        assert await listed(house) == []


@pytest.mark.parametrize("step", range(STEPS))
async def test_a_removal_that_is_killed_is_finished_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    async with living(tmp_path, crash=True) as house:
        (name,) = await house.make("Alice")
        await furnish(house, name, "planted with alice", tmp_path / "agent.db")
        (record,) = await listed(house)
        with monkeypatch.context() as patch:
            Fuse(patch, step)
            with pytest.raises(KilledError):
                await house.tenants.delete(name)
    async with living(tmp_path) as house:
        if step == 0:  # nobody has heard of it
            async with house.tenants.use(name) as tenant:
                assert len(await tenant.profile.find("thing")) == 30
            return
        with pytest.raises(NotFoundError):
            await house.tenants.receive(name, b"{}")
        await finished(house)
        assert await house.tenants._records.find(name) == Record(name, State.DELETED)
        assert record.profile not in await profiles(house)
        assert b"planted with alice" not in written(tmp_path)
        assert await listed(house) == []
        assert await house.tenants._records.left_open("") == []


async def test_a_removal_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keep_agent.tenants.registry.FINISH_EVERY_S", 0.05)
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        with monkeypatch.context() as patch:
            Fuse(patch, 2)
            with pytest.raises(KilledError):
                await house.tenants.delete(name)
        await finished(house)
        with pytest.raises(NotFoundError):
            await house.tenants.delete(name)
