"""Profiles come and go: a closed one takes nothing more, a removed one leaves nothing behind."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import base58
import pytest

from keep_agent.core.machine import Put
from keep_agent.errors import UnavailableError
from keep_agent.store.erase import erase
from keep_agent.store.location import Sqlite
from keep_agent.store.rows import Commit
from keep_agent.store.store import Store

KEY = base58.b58encode(b"k" * 32).decode()


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[Store]:
    store = await Store.open(Sqlite(path), KEY, {})
    writer = asyncio.create_task(store.run())
    try:
        yield store
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await store.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(tmp_path / "agent.db") as store:
        yield store


@pytest.fixture
def file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(tmp_path / "other.db", isolation_level=None)
    yield db
    db.close()


def thing(name: str) -> Commit:
    return Commit(writes=(Put("thing", name, {"of": name}),), events=({"type": "thing"},))


async def test_making_a_profile_twice_is_the_same_as_once(store: Store) -> None:
    await asyncio.gather(*(store.make_profile("one") for _ in range(5)))
    assert (await store.askar.list_profiles()).count("one") == 1


async def test_a_profile_that_was_not_made_is_not_opened(store: Store) -> None:
    with pytest.raises(UnavailableError):
        await store.open_profile("nobody")
    assert "nobody" not in await store.askar.list_profiles()


async def test_whoever_still_works_with_a_closed_profile_can_write_nothing(
    store: Store,
) -> None:
    profile = await store.profile("one")
    before = asyncio.create_task(profile.commit(thing("before")))
    await asyncio.sleep(0)
    await store.release("one")
    await before  # it was handed to the writer in time
    with pytest.raises(UnavailableError, match="closed"):
        await profile.commit(thing("late"))
    again = await store.profile("one")
    assert again is not profile
    assert await again.fetch("thing", "before") == {"of": "before"}
    assert await again.fetch("thing", "late") is None
    await again.commit(thing("after"))


async def test_whoever_waits_for_an_event_learns_that_the_profile_is_closed(
    store: Store,
) -> None:
    profile = await store.profile("one")
    waiting = asyncio.create_task(profile.wait_event(profile.last_event))
    await asyncio.sleep(0)
    await store.release("one")
    with pytest.raises(UnavailableError, match="closed"):
        await waiting


async def test_removing_a_profile_harms_no_other_that_is_at_work(store: Store) -> None:
    stays = await store.profile("stays")
    gone = await store.profile("gone")
    await gone.commit(thing("1"))

    async def work() -> None:
        for n in range(40):
            await stays.commit(thing(str(n)))
            assert await stays.fetch("thing", str(n)) is not None

    await asyncio.gather(work(), store.remove_profile("gone"))
    assert len(await stays.find("thing")) == 40
    assert "gone" not in await store.askar.list_profiles()
    await store.remove_profile("gone")  # once more is no harm


async def test_after_the_end_of_the_writer_nobody_waits_for_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "agent.db") as store:
        profile = await store.profile("one")
        await profile.commit(thing("1"))
    with pytest.raises(UnavailableError, match="closing"):
        await profile.commit(thing("2"))
    with pytest.raises(UnavailableError, match="closing"):
        await store.release("one")


def test_erasing_leaves_no_copy_of_a_key_in_pages_that_were_split(
    tmp_path: Path, file: sqlite3.Connection
) -> None:
    """A table that grows is split; the pages that it is split into keep what they had."""
    file.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA secure_delete = OFF;"
        "CREATE TABLE profiles (id INTEGER PRIMARY KEY, name TEXT UNIQUE, profile_key BLOB);"
        "CREATE TABLE items (id INTEGER PRIMARY KEY, value BLOB,"
        " profile_id INTEGER REFERENCES profiles (id) ON DELETE CASCADE);"
    )
    for n in range(200):
        key = f"key of profile {n:03}.".encode() * 12
        file.execute("INSERT INTO profiles VALUES (?, ?, ?)", (n, f"profile {n:03}", key))
        file.execute("INSERT INTO items (value, profile_id) VALUES (?, ?)", (f"row {n:03}.", n))
    path = str(tmp_path / "other.db")
    for n in (7, 150):
        erase(path, f"profile {n:03}")
    left = b"".join(each.read_bytes() for each in tmp_path.glob("other.db*"))
    for planted in (b"key of profile %03d.", b"row %03d.", b"profile %03d"):
        assert planted % 7 not in left
        assert planted % 150 not in left
        assert planted % 8 in left
    assert file.execute("SELECT count(*) FROM profiles").fetchone() == (198,)
    assert file.execute("SELECT count(*) FROM items").fetchone() == (198,)
