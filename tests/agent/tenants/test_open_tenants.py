"""Tenants are opened when they are needed, closed when they are idle, and end nobody else when they fail."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from agent.tenants.house import House, befriend, living, until

from keep_agent.core.machine import Put
from keep_agent.core.message import new_id
from keep_agent.errors import NotFoundError, UnavailableError
from keep_agent.protocols import trust_ping
from keep_agent.store.deadlines import next_due
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit
from keep_agent.tenants import open_tenants
from keep_agent.tenants.tenant import MAIN, Surroundings, Tenant

PING = trust_ping.PROTOCOL.name
EARLY = "https://didcomm.org/trust_ping/1.0/ping_response"
"""A message that builds on one that has not come yet."""


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes quickly: tenants are idle at once."""
    monkeypatch.setattr(open_tenants, "TICK_S", 0.02)
    monkeypatch.setattr(open_tenants, "IDLE_S", 0.1)


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of tenants, each time that one is opened."""
    found: list[str] = []
    real = Tenant.open

    async def counted(profile: Profile, around: Surroundings, name: str) -> Tenant:
        found.append(name)
        await asyncio.sleep(0.02)  # others get the time to come as well
        return await real(profile, around, name)

    monkeypatch.setattr(Tenant, "open", counted)
    return found


async def marks(house: House) -> list[str]:
    """Return which tenants the next start would open."""
    return await house.tenants._records.left_open("")


async def deadline(house: House, name: str, in_s: float) -> str:
    """Let a ping of a tenant wait for its answer until a time; return the id of the exchange."""
    async with house.tenants.use(name) as tenant:
        friend = await befriend(tenant)
        ping = trust_ping.SendPing()
        x = await tenant.dispatcher.start(PING, ping, friend.connection.id)
        due = replace(x, due=time.time() + in_s)
        await tenant.profile.commit(Commit(exchanges=(due,)))
    return x.id


def state(tenant: Tenant, name: str) -> str | None:
    x = tenant.profile.cached_exchange(name)
    return x.state if x else None


# -- opened ------------------------------------------------------------------------------------


async def test_a_tenant_is_opened_by_its_first_message_and_not_before(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        one, other = await house.make("Alice", "Bob")
        friend = await house.friend(one)
    async with living(tmp_path) as house:
        assert dict(house.tenants.open) == {}
        await house.tenants.receive(one, friend.ping())
        await house.answered(friend)
        assert set(house.tenants.open) == {one}
        assert other not in house.tenants.open


async def test_two_who_need_a_tenant_at_once_open_it_once(
    tmp_path: Path, openings: list[str]
) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        friend = await house.friend(name)
    openings.clear()
    async with living(tmp_path) as house:
        await asyncio.gather(*(house.tenants.receive(name, friend.ping()) for _ in range(5)))
        await house.answered(friend, 5)
        assert openings == [name]


async def test_whoever_gives_up_while_a_tenant_is_opened_leaves_it_to_the_next(
    tmp_path: Path, openings: list[str]
) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")

        async def need() -> None:
            async with house.tenants.use(name):
                pass

        first = asyncio.create_task(need())
        await until(lambda: openings == [name])
        first.cancel()
        friend = await house.friend(name)
        await house.tenants.receive(name, friend.ping())
        await house.answered(friend)
        assert first.cancelled()
        assert openings == [name, name]


async def test_an_unknown_tenant_is_not_found(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        for name in ("somebody", "indykeep:system", ""):
            with pytest.raises(NotFoundError):
                await house.tenants.receive(name, b"{}")
        assert dict(house.tenants.open) == {}


# -- closed ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hasty")
async def test_an_idle_tenant_is_closed_and_opened_again_by_a_message(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        friend = await house.friend(name)
        for number in (1, 2, 3):
            await house.tenants.receive(name, friend.ping())
            await house.answered(friend, number)
            await house.closed(name)
            await until(lambda: not house.tenants._open.lock(name).locked())
            assert await marks(house) == []
        assert set(house.store._profiles) == {"indykeep:system"}
        assert len(await friend.opened(house.wire)) == 3  # each answer once


@pytest.mark.usefixtures("hasty")
async def test_the_main_tenant_stays_open(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        async with house.tenants.use(MAIN), house.tenants.use(name):
            pass
        await house.closed(name)
        assert set(house.tenants.open) == {MAIN}


@pytest.mark.usefixtures("hasty")
async def test_a_tenant_that_somebody_uses_is_not_closed(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        used, idle = await house.make("Alice", "Bob")
        async with house.tenants.use(used) as tenant:
            await house.friend(idle)
            await house.closed(idle)
            await asyncio.sleep(0.2)
            assert house.tenants.open[used] is tenant
        await house.closed(used)


@pytest.mark.usefixtures("hasty")
async def test_a_tenant_with_messages_to_send_is_not_closed(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        friend = await house.friend(name)
        house.wire.down = True
        await house.tenants.receive(name, friend.ping())
        await asyncio.sleep(0.3)
        assert name in house.tenants.open
        house.wire.down = False
        await house.answered(friend)
        await house.closed(name)


@pytest.mark.usefixtures("hasty")
async def test_a_tenant_with_an_early_message_is_not_closed(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        friend = await house.friend(name)
        offer = {"@type": EARLY, "~thread": {"thid": new_id()}}
        await house.tenants.receive(name, friend.ping(**offer))
        assert house.tenants.open[name].dispatcher.early
        await asyncio.sleep(0.3)
        assert name in house.tenants.open


async def test_the_least_recently_used_idle_tenant_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_tenants, "MOST_OPEN", 3)
    async with living(tmp_path) as house:
        one, two, three, four = await house.make("1", "2", "3", "4")
        for name in (one, two, three, one):
            async with house.tenants.use(name):
                pass
        async with house.tenants.use(four):
            assert set(house.tenants.open) == {one, three, four}
        assert set(await marks(house)) == {one, three, four}


async def test_no_more_are_opened_at_once_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_tenants, "MOST_OPEN", 3)
    async with living(tmp_path) as house:
        names = await house.make(*"abcdefgh")
        most = 0

        async def need(name: str) -> None:
            nonlocal most
            async with house.tenants.use(name):
                most = max(most, len(house.tenants.open))
                await asyncio.sleep(0.001)

        outcomes = await asyncio.gather(*map(need, names), return_exceptions=True)
        assert most <= 3
        assert all(o is None or isinstance(o, UnavailableError) for o in outcomes)
        for name in names:
            await need(name)


async def test_a_tenant_whose_peer_is_gone_makes_room_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_tenants, "MOST_OPEN", 1)
    monkeypatch.setattr(open_tenants, "TICK_S", 0.02)
    monkeypatch.setattr(open_tenants, "AGAIN_S", 0.3)
    async with living(tmp_path) as house:
        stuck, other = await house.make("Alice", "Bob")
        friend = await house.friend(stuck)
        house.wire.down = True
        await house.tenants.receive(stuck, friend.ping())
        with pytest.raises(UnavailableError, match="too many"):
            await house.friend(other)  # it has just been used
        monkeypatch.setattr(open_tenants, "REST_S", 0.0)
        async with house.tenants.use(other):
            assert set(house.tenants.open) == {other}
        house.wire.down = False
        await house.answered(friend)
        assert len(await friend.opened(house.wire)) == 1


# -- what is left to do ------------------------------------------------------------------------


async def test_after_a_crash_only_what_was_open_is_opened(
    tmp_path: Path, openings: list[str]
) -> None:
    async with living(tmp_path, crash=True) as house:
        names = await house.make(*(f"number {n}" for n in range(20)))
        friend = await house.friend(names[7])
        house.wire.down = True
        await house.tenants.receive(names[7], friend.ping())
    openings.clear()
    async with living(tmp_path) as house:
        await house.answered(friend)
        assert openings == [names[7]]


async def test_after_an_orderly_end_a_tenant_that_was_at_work_goes_on_and_an_idle_one_does_not(
    tmp_path: Path, openings: list[str]
) -> None:
    async with living(tmp_path) as house:
        idle, working = await house.make("Alice", "Bob")
        friend = await house.friend(working)
        await house.friend(idle)
        house.wire.down = True
        await house.tenants.receive(working, friend.ping())
    openings.clear()
    async with living(tmp_path) as house:
        await house.answered(friend)
        assert openings == [working]


@pytest.mark.usefixtures("hasty")
async def test_a_closed_tenant_is_opened_for_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_tenants, "AGAIN_S", 0.1)
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        x = await deadline(house, name, 1.0)
        await house.closed(name)
        await until(lambda: name in house.tenants.open)
        async with house.tenants.use(name) as tenant:
            await until(lambda: state(tenant, x) == trust_ping.State.SILENT)


async def test_the_deadline_of_a_closed_tenant_outlasts_a_restart(
    tmp_path: Path, openings: list[str]
) -> None:
    async with living(tmp_path) as house:
        soon, late, never = await house.make("soon", "late", "never")
        await deadline(house, soon, 1.0)
        await deadline(house, late, 30 * 24 * 3600.0)
        await house.friend(never)
    openings.clear()
    async with living(tmp_path) as house:
        due = {n: at for at, n in await house.tenants._records.due(time.time() + 10**9)}
        assert due.keys() == {soon, late}
        days = (due[late] - time.time()) / (24 * 3600)
        assert 15 < days < 30.1  # it is looked at again on the way


async def test_the_first_deadline_is_found_however_far_it_is(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        async with house.tenants.use(name) as tenant:
            assert await next_due(tenant.profile) is None
            for hours in (50_000, 300, 7, 0.5, -2):
                await deadline(house, name, hours * 3600)
                found = await next_due(tenant.profile)
                assert found is not None
                ahead = (found - time.time()) / 3600
                exact = abs(ahead - hours) < 0.01
                assert exact or (hours > 1 and hours / 2 - 1 <= ahead <= hours)


# -- failing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["Profile.write_delivered", "next_due"])
async def test_a_tenant_that_is_closed_while_the_store_does_not_answer_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """It is closed all the same: opened again, it reads anew what it has to send."""
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        friend = await house.friend(name)
        house.wire.down = True
        await house.tenants.receive(name, friend.ping())

        async def mute(_profile: Profile) -> None:
            raise UnavailableError("no answer")

        with monkeypatch.context() as patch:
            patch.setattr(f"keep_agent.tenants.open_tenants.{where}", mute)
            await house.tenants.suspend(name)
        house.wire.down = False
        await house.tenants.resume(name)
        async with house.tenants.use(name):
            await house.answered(friend)
        assert len(await friend.opened(house.wire)) == 1


async def test_a_tenant_that_fails_ends_no_other_and_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(open_tenants, "TICK_S", 0.02)
    monkeypatch.setattr(open_tenants, "FIRST_PAUSE_S", 0.3)
    async with living(tmp_path) as house:
        bad, good = await house.make("Alice", "Bob")
        friend, other = await house.friend(bad), await house.friend(good)
        broken = house.tenants.open[bad]

        async def fail() -> None:
            raise RuntimeError("out of order")

        assert broken.scheduler._tasks is not None
        broken.scheduler._tasks.create_task(fail())
        await house.closed(bad)
        with pytest.raises(UnavailableError):
            await house.tenants.receive(bad, friend.ping())
        await house.tenants.receive(good, other.ping())
        await house.answered(other)
        await until(lambda: bad in house.tenants.open)
        await house.tenants.receive(bad, friend.ping())
        await house.answered(friend)
        assert house.tenants.open[bad] is not broken
        assert "tenant failed" in caplog.text


async def test_a_tenant_that_fails_again_and_again_is_opened_ever_more_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, openings: list[str]
) -> None:
    monkeypatch.setattr(open_tenants, "TICK_S", 0.01)
    monkeypatch.setattr(open_tenants, "FIRST_PAUSE_S", 0.05)

    async def fail(_tenant: Tenant) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(Tenant, "run", fail)
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")
        began = time.monotonic()
        async with house.tenants.use(name):
            pass
        await until(lambda: len(openings) == 5)
        assert time.monotonic() - began > 0.05 * (1 + 2 + 4 + 8)


async def test_a_tenant_that_cannot_be_opened_is_not_there_and_not_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(tmp_path) as house:
        (name,) = await house.make("Alice")

        async def fail(*_args: object) -> Tenant:
            raise UnavailableError("its policies cannot be read")

        with monkeypatch.context() as patch:
            patch.setattr(Tenant, "open", fail)
            with pytest.raises(UnavailableError):
                await house.friend(name)
        assert dict(house.tenants.open) == {}
        assert set(house.store._profiles) == {"indykeep:system"}
        await house.friend(name)


# -- what a tenant costs -----------------------------------------------------------------------


async def test_an_idle_tenant_costs_five_tasks_and_no_thread(tmp_path: Path) -> None:
    async with living(tmp_path) as house:
        names = await house.make(*(f"number {n}" for n in range(10)))

        def tasks() -> int:
            return len(asyncio.all_tasks())

        await house.friend(names[0])
        await asyncio.sleep(0.05)
        before = tasks()
        for name in names[1:]:
            await house.friend(name)
        await until(lambda: tasks() - before <= 5 * 9)
        assert house.tenants.open.keys() == set(names)


# -- swept -------------------------------------------------------------------------------------


async def test_closed_tenants_are_swept_as_well_and_stay_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", open_tenants.log.name)
    async with living(tmp_path) as house:
        open_, shut, suspended = await house.make("Alice", "Bob", "Carol")
        for name in (open_, shut, suspended):
            async with house.tenants.use(name) as tenant:
                old = Put("seen", "old", {"digest": "", "at": 0.0}, {"~day": "00000001"})
                await tenant.profile.commit(Commit(writes=(old,)))
        await house.tenants.suspend(suspended)
    monkeypatch.setattr(open_tenants, "SWEEP_EVERY_S", 0.1)
    monkeypatch.setattr(open_tenants, "SWEEP_PAUSE_S", 0.0)
    async with living(tmp_path) as house:
        async with house.tenants.use(open_) as tenant:
            await until(lambda: caplog.text.count("swept") >= 2 * len((MAIN, open_, shut)))
            assert await tenant.profile.fetch("seen", "old") is None
        assert set(house.tenants.open) == {open_}
        monkeypatch.setattr(open_tenants, "SWEEP_EVERY_S", 1000.0)
        async with house.tenants.use(shut) as tenant:
            assert await tenant.profile.fetch("seen", "old") is None
        await house.tenants.resume(suspended)
        async with house.tenants.use(suspended) as tenant:
            assert await tenant.profile.fetch("seen", "old") is not None
