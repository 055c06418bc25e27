"""Processes wake each other: quickly, together where there is much to say, and never not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from postgres import Server

from keep_agent.store import wakeups
from keep_agent.store.location import Location, Sqlite, parse
from keep_agent.store.wakeups import Wakeups

PATIENCE_S = 20.0


class Ear:
    """One process's wake-ups, and what it heard."""

    def __init__(self, location: Location) -> None:
        self.heard: list[tuple[str, int]] = []
        self.looks = 0
        self.wakeups = Wakeups(location, self._wake, poll_s=0.1)

    def _wake(self, profile: str | None, number: int) -> None:
        if profile is None:
            self.looks += 1
        else:
            self.heard.append((profile, number))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - what is watched sets no event
            await asyncio.sleep(0.005)


@asynccontextmanager
async def listening(url: str) -> AsyncGenerator[Ear]:
    ear = Ear(parse(url))
    task = asyncio.create_task(ear.wakeups.run())
    try:
        await until(lambda: ear.wakeups.connected)
        yield ear
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def backends(url: str) -> list[int]:
    """Return the server's processes for wake-ups of this database."""
    admin = await asyncpg.connect(url)
    try:
        query = (
            "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
        )
        return [pid for (pid,) in await admin.fetch(query, url.rpartition("/")[2])]
    finally:
        await admin.close()


async def cut(server: Server, url: str) -> None:
    for pid in await backends(url):
        await server.run(f"SELECT pg_terminate_backend({pid})")


async def test_the_others_hear_it_and_nobody_hears_himself(postgres: str) -> None:
    async with (
        listening(postgres) as one,
        listening(postgres) as two,
        listening(postgres) as me,
    ):
        me.wakeups.notify("main", 7)
        await until(lambda: bool(one.heard and two.heard))
        two.wakeups.notify("tenant", 1)
        await until(lambda: bool(me.heard))
    assert one.heard == [("main", 7), ("tenant", 1)]
    assert two.heard == [("main", 7)]
    assert me.heard == [("tenant", 1)]


async def test_much_that_is_said_at_once_is_said_together(postgres: str) -> None:
    async with listening(postgres) as me, listening(postgres) as other:
        for number in range(1, 1001):
            me.wakeups.notify("main", number)
            me.wakeups.notify(f"tenant {number % 200}", number)
        await until(lambda: len(other.heard) == 201)
    assert ("main", 1000) in other.heard
    assert ("tenant 3", 803) in other.heard


async def test_two_stores_of_one_server_do_not_hear_each_other(
    postgres: str, postgres_server: Server
) -> None:
    elsewhere = await postgres_server.make("elsewhere")
    async with listening(postgres) as me, listening(postgres) as other:
        async with listening(elsewhere) as stranger:
            me.wakeups.notify("main", 1)
            await until(lambda: bool(other.heard))
        assert stranger.heard == []


async def test_after_a_cut_it_looks_and_says_what_it_owed(
    postgres: str, postgres_server: Server
) -> None:
    async with listening(postgres) as me, listening(postgres) as other:
        looks = other.looks
        await cut(postgres_server, postgres)
        me.wakeups.notify("main", 3)
        await until(lambda: not other.wakeups.connected)
        await until(lambda: other.wakeups.connected and other.looks > looks)
        if not other.heard:  # said while the other one was away: that is what the look is for
            me.wakeups.notify("main", 4)
            await until(lambda: bool(other.heard))


async def test_without_a_server_it_looks_every_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ear = Ear(parse("postgres://u:secret@127.0.0.1:1/d"))
    task = asyncio.create_task(ear.wakeups.run())
    await until(lambda: ear.looks >= 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [record.message for record in caplog.records] == ["no wake-ups from the store"]
    assert "secret" not in str(caplog.records[0].__dict__)


async def test_a_wake_up_that_was_lost_is_made_up_for(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "LOOK_S", 0.05)
    async with listening(postgres) as ear:
        await until(lambda: ear.looks >= 4)
        assert ear.wakeups.connected


async def test_what_is_owed_at_the_end_is_said_and_nothing_is_left(postgres: str) -> None:
    async with listening(postgres) as other:
        async with listening(postgres) as me:
            assert len(await backends(postgres)) == 2
            me.wakeups.notify("main", 9)
        await until(lambda: other.heard == [("main", 9)])
    async with asyncio.timeout(PATIENCE_S):
        while await backends(postgres):  # noqa: ASYNC110 - the server notices in a moment
            await asyncio.sleep(0.01)


async def test_a_file_has_nobody_to_wake(tmp_path: Path) -> None:
    ear = Ear(Sqlite(tmp_path / "agent.db"))
    ear.wakeups.notify("main", 1)
    await ear.wakeups.run()
    assert (ear.heard, ear.looks) == ([], 0)
