"""Stores are opened or made: once, by whoever comes first, and so that look-ups are quick."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from pathlib import Path

import base58
import pytest
from aries_askar import AskarError, AskarErrorCode
from aries_askar import Store as Askar
from postgres import Server

from keep_agent.errors import UnavailableError
from keep_agent.store import location, provision
from keep_agent.store.location import Location, Sqlite, parse
from keep_agent.store.provision import exclusively, open_or_provision
from keep_agent.store.statistics import ROWS, write_statistics

KEY = base58.b58encode(b"k" * 32).decode()
OTHER_KEY = base58.b58encode(b"o" * 32).decode()

_BY_TAG = """
EXPLAIN QUERY PLAN SELECT i.id, i.value FROM items i
WHERE i.profile_id = ?1 AND (i.kind = ?2 OR ?2 IS NULL) AND (i.category = ?3 OR ?3 IS NULL)
AND i.id IN (SELECT item_id FROM items_tags WHERE name = ?4 AND value = ?5
             AND SUBSTR(value, 1, 12) = ?6 AND plaintext = 0)
"""

_PROCESS = """
import asyncio, sys
from keep_agent.store.location import parse
from keep_agent.store.provision import exclusively, open_or_provision

async def main():
    location = parse(sys.argv[1])
    async with exclusively(location):
        print("in", flush=True)
        store = await open_or_provision(location, sys.argv[2])
        sys.stdin.readline()
    await store.close()
    print("out", flush=True)

asyncio.run(main())
"""


async def opened(place: Location, key: str = KEY) -> Askar:
    async with exclusively(place):
        return await open_or_provision(place, key)


async def process(url: str) -> Process:
    command = (sys.executable, "-c", _PROCESS, url, KEY)
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)


async def said(process: Process) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return await process.stdout.readline()


async def test_a_store_is_made_once_and_then_opened(tmp_path: Path) -> None:
    await made_and_opened(Sqlite(tmp_path / "agent.db"))


async def test_a_database_is_made_too(postgres_server: Server) -> None:
    await made_and_opened(parse(postgres_server.url("nobody_made_it")))


async def made_and_opened(place: Location) -> None:
    first = await opened(place)
    async with first.transaction() as tx:
        await tx.insert("note", "a", b"kept")
        await tx.commit()
    await first.close()
    second = await opened(place)
    async with second.session() as session:
        entry = await session.fetch("note", "a")
        assert entry is not None
        assert entry.value == b"kept"
    await second.close()
    with pytest.raises(UnavailableError, match="the key does not open the store"):
        await opened(place, OTHER_KEY)


async def test_a_password_of_every_letter_comes_in(postgres_server: Server) -> None:
    await postgres_server.run("CREATE ROLE odd LOGIN CREATEDB PASSWORD 'p@s/s:%?#& €'")
    quoted = "p%40s%2Fs%3A%25%3F%23%26%20%E2%82%AC"
    store = await opened(parse(f"postgres://odd:{quoted}@127.0.0.1:{postgres_server.port}/odd"))
    await store.close()


async def test_one_who_may_not_make_databases_has_it_made(postgres_server: Server) -> None:
    await postgres_server.run("CREATE ROLE modest LOGIN PASSWORD 'm'")
    url = f"postgres://modest:m@127.0.0.1:{postgres_server.port}/modest"
    with pytest.raises(UnavailableError, match="permission denied to create database"):
        await opened(parse(url))
    admin = f"admin_account=postgres&admin_password={postgres_server.password}"
    await (await opened(parse(f"{url}?{admin}"))).close()
    await (await opened(parse(url))).close()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("127.0.0.1", "192.0.2.1"), "cannot reach"),
        (("indykeep:", "indykeep:wrong-"), "password authentication failed"),
        (("indykeep:", "stranger:"), "password authentication failed"),
    ],
)
async def test_why_a_server_lets_us_not_in_is_told_without_the_password(
    postgres_server: Server, change: tuple[str, str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision, "CONNECT_S", 0.5)
    url = postgres_server.url("agents").replace(*change)
    with pytest.raises(UnavailableError, match=why) as caught:
        await opened(parse(url))
    assert postgres_server.password not in str(caught.value)


async def test_three_processes_that_start_at_once_make_one_store(postgres: str) -> None:
    processes = [await process(postgres) for _ in range(3)]
    firsts = [asyncio.ensure_future(said(each)) for each in processes]
    done, waiting = await asyncio.wait(firsts, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(waiting)) == (1, 2)  # the others wait for their turn
    for each in processes:
        assert each.stdin is not None
        each.stdin.write(b"\n")
    await asyncio.gather(*firsts)
    assert [await said(each) for each in processes] == [b"out\n"] * 3
    assert [await each.wait() for each in processes] == [0, 0, 0]


async def test_who_waits_for_a_turn_too_long_says_so(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision, "TURN_S", 0.2)
    place = parse(postgres)
    async with exclusively(place):
        with pytest.raises(UnavailableError, match="another process has been making"):
            await opened(place)
    await (await opened(place)).close()


async def test_a_turn_ends_with_the_process_that_has_it(postgres: str) -> None:
    first = await process(postgres)
    assert await said(first) == b"in\n"
    first.kill()
    await first.wait()
    await (await opened(parse(postgres))).close()


async def test_who_stops_inside_a_transaction_keeps_the_others_out_for_a_moment_only(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "IDLE_MS", 500)
    stopped, other = await opened(parse(postgres)), await opened(parse(postgres))

    async def written(store: Askar, meanwhile: Callable[[], Awaitable[None]] | None) -> None:
        async with store.transaction() as tx:
            await tx.insert("note", "a")
            if meanwhile is not None:
                await meanwhile()
            await tx.commit()

    began = time.monotonic()
    with pytest.raises(AskarError, match="idle-in-transaction timeout") as caught:
        await written(stopped, lambda: written(other, None))
    assert 0.4 < time.monotonic() - began < 5
    assert caught.value.code == AskarErrorCode.BACKEND
    await stopped.close()
    await other.close()


async def test_without_asyncpg_it_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provision, "find_spec", _missing)
    with pytest.raises(UnavailableError, match=r"pip install .indykeep\[postgres\]"):
        await opened(parse("postgres://u@127.0.0.1:1/d"))


async def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(UnavailableError, match="file is not a database"):
        await opened(Sqlite(path))


async def test_a_store_that_was_begun_is_made(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    path.touch()
    await (await opened(Sqlite(path))).close()


def plan(path: Path) -> list[str]:
    database = sqlite3.connect(path)
    try:
        return [row[3] for row in database.execute(_BY_TAG, [1] * 6)]
    finally:
        database.close()


async def test_a_tag_is_looked_up_in_the_index_of_tags(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    await (await opened(Sqlite(path))).close()
    items, _, tags = plan(path)
    assert items == "SEARCH i USING INTEGER PRIMARY KEY (rowid=?)"
    assert "ix_items_tags_name_enc (name=? AND <expr>=?)" in tags


async def test_a_store_of_before_gets_its_statistics_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    await (await Askar.provision(f"sqlite://{path}", "raw", KEY)).close()
    assert "ix_items_uniq" in plan(path)[0]
    await (await opened(Sqlite(path))).close()
    assert "PRIMARY KEY" in plan(path)[0]


async def test_statistics_are_written_once(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    await (await opened(Sqlite(path))).close()
    before = path.stat().st_mtime_ns
    assert write_statistics(path)
    assert path.stat().st_mtime_ns == before
    database = sqlite3.connect(path)
    assert tuple(database.execute("SELECT tbl, idx, stat FROM sqlite_stat1")) == ROWS
    database.close()


def _missing(_name: str) -> None:
    return None
