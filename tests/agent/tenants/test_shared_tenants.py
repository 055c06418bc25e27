"""Tenants of a store that two processes share; both are in this one, with stores of their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from agent.tenants.house import PATIENCE_S, House, key_of, living

from keep_agent.errors import KeepError, NotFoundError
from keep_agent.store import processes
from keep_agent.store.location import Location, parse
from keep_agent.tenants.records import State


@dataclass(frozen=True, slots=True)
class Both:
    """Two processes with one store, each on a host of its own."""

    one: House
    other: House


@pytest.fixture
def location(postgres: str) -> Location:
    return parse(postgres)


@pytest.fixture
async def both(tmp_path: Path, location: Location) -> AsyncIterator[Both]:
    async with AsyncExitStack() as stack:
        one, other = hosts(tmp_path)
        first = await stack.enter_async_context(living(one, location=location))
        second = await stack.enter_async_context(living(other, location=location))
        yield Both(first, second)


def hosts(folder: Path) -> tuple[Path, Path]:
    """Make a folder for each of two hosts; both have the store's key."""
    one, other = folder / "one", folder / "other"
    for each in (one, other):
        each.mkdir(exist_ok=True)
    if not (other / "key").exists():
        (other / "key").write_text(key_of(one))
    return one, other


async def die(process: processes.Processes) -> None:
    """End as if killed: say nothing, and lose the lock."""
    assert process._lock is not None
    os.close(process._lock)


async def unknown(house: House, name: str) -> None:
    """Wait until a process takes nothing for a tenant any more."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await house.tenants.receive(name, b"{}")
            except NotFoundError:
                return
            except KeepError:
                await asyncio.sleep(0.02)


async def test_a_tenant_that_one_made_answers_in_the_other(both: Both) -> None:
    (name,) = await both.one.make("Alice")
    friend = await both.one.friend(name)
    await both.other.tenants.receive(name, friend.ping())
    await both.other.answered(friend)
    assert [r.id for r in await both.other.tenants.list("", 10)] == [name]


async def test_a_tenant_that_one_suspended_is_closed_in_the_other(both: Both) -> None:
    (name,) = await both.one.make("Alice")
    friend = await both.other.friend(name)
    await both.one.tenants.suspend(name)
    await both.other.closed(name)
    await unknown(both.other, name)
    await both.other.tenants.resume(name)
    await both.one.friend(name)
    await both.other.tenants.receive(name, friend.ping())
    await both.other.answered(friend)


async def test_what_a_suspended_tenant_had_to_do_goes_on_where_it_was_wherever_it_is_resumed(
    both: Both,
) -> None:
    (name,) = await both.one.make("Alice")
    friend = await both.one.friend(name)
    both.one.wire.down = True
    await both.one.tenants.receive(name, friend.ping())
    await both.other.tenants.suspend(name)
    await both.one.closed(name)
    both.one.wire.down = False
    await both.other.tenants.resume(name)
    await both.one.answered(friend)
    assert both.other.wire.sent == []


async def test_a_tenant_that_one_deleted_is_gone_in_the_other(both: Both) -> None:
    (name,) = await both.one.make("Alice")
    await both.other.friend(name)
    await both.one.friend(name)
    (record,) = await both.one.tenants.list("", 10)
    assert (await both.one.tenants.delete(name)).state == State.DELETED
    assert name not in both.other.tenants.open
    await unknown(both.other, name)
    for house in (both.one, both.other):
        assert await house.tenants.list("", 10) == []
        assert record.profile not in await house.store.askar.list_profiles()


async def test_the_work_of_closed_tenants_is_taken_over_from_a_process_that_is_gone(
    tmp_path: Path, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = hosts(tmp_path)
    monkeypatch.setattr(processes.Processes, "end", die)
    async with living(one, crash=True, location=location) as gone:
        names = await gone.make("Alice", "Bob")
        friend = await gone.friend(names[0])
        gone.wire.down = True
        await gone.tenants.receive(names[0], friend.ping())
    async with living(one, location=location) as house:  # on the same host: at once
        await house.answered(friend)
        assert len(await friend.opened(house.wire)) == 1
        assert set(house.tenants.open) == {names[0]}
