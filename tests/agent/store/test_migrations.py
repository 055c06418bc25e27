"""Stores of an earlier version: copied, migrated in small steps, cut off anywhere, never twice."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agent.old_stores import MODELS, STOPPED, Rows, askar, migrate, of, opened, rows_of
from aries_askar import Store as Askar
from postgres import Server
from wallets import STORE_KEY

from keep_agent.errors import UnavailableError
from keep_agent.store import migrations
from keep_agent.store.lists import listed
from keep_agent.store.location import parse
from keep_agent.store.migrations import NEWEST
from keep_agent.store.old_rows import Change, OldRows
from keep_agent.store.processes import SILENT_S, SYSTEM
from keep_agent.store.provision import exclusively, open_or_provision
from keep_agent.store.rows import BUCKET
from keep_agent.store.store import Store

COPY = f"alice.db.before-{NEWEST}"


class KilledError(Exception):
    """Stands for a kill."""


def but_chance(rows: Rows) -> Rows:
    """Leave out what differs each time: the ids of the log's rows."""
    return {row: ({**value, "id": 0}, tags) for row, (value, tags) in rows.items()}


# -- cut off, and once more ------------------------------------------------------------------------


@dataclass
class Writes:
    """Counts transactions, and ends the process at one of them.

    Attributes:
        sizes: how many changes each one had.
        after: the next one is committed, and then it ends; before: it ends first.
    """

    sizes: list[int]
    kill: str = ""


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    counted = Writes([])
    write = OldRows.write

    async def instead(self: OldRows, changes: Iterable[Change]) -> None:
        some = list(changes)
        if counted.kill == "before":
            raise KilledError
        await write(self, some)
        counted.sizes.append(len(some))
        if counted.kill == "after":
            raise KilledError

    monkeypatch.setattr(OldRows, "write", instead)
    return counted


@pytest.mark.parametrize("rows", [1, 7])
async def test_killed_at_every_transaction_it_comes_to_the_same(
    path: Path, tmp_path: Path, writes: Writes, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    other = Path(shutil.copy(path, tmp_path / "other.db"))
    await migrate(other)
    expected = but_chance(await rows_of(other))
    monkeypatch.setattr(migrations, "ROWS", rows)
    writes.sizes.clear()
    writes.kill = "after"
    killed = 0
    while killed < 1000:
        try:
            await migrate(path)
            break
        except KilledError:
            killed += 1
    assert killed == len(writes.sizes) > 100 / rows
    assert set(writes.sizes) <= set(range(1, rows + 1))
    assert but_chance(await rows_of(path)) == expected


async def test_killed_before_its_first_transaction_it_goes_on(
    path: Path, before: Rows, writes: Writes
) -> None:
    writes.kill = "before"
    with pytest.raises(KilledError):
        await migrate(path)
    assert await rows_of(path) == before
    writes.kill = ""
    await migrate(path)
    assert len(of(await rows_of(path), "exchange")) == len(of(before, "exchange"))


async def test_cut_off_by_its_user_it_ends_between_two_transactions(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "ROWS", 5)
    write = OldRows.write
    opening: asyncio.Task[None]
    written = 0

    async def instead(self: OldRows, changes: Iterable[Change]) -> None:
        nonlocal written
        if written == 3:
            opening.cancel()
        await write(self, changes)
        written += 1

    monkeypatch.setattr(OldRows, "write", instead)
    opening = asyncio.create_task(migrate(path))
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert written == 4
    done = [x for x in of(await rows_of(path), "exchange").values() if "number" in x]
    assert len(done) == 20
    await migrate(path)
    assert all("number" in x for x in of(await rows_of(path), "exchange").values())


async def test_a_second_opening_changes_and_copies_nothing(path: Path, writes: Writes) -> None:
    await migrate(path)
    done, copy = len(writes.sizes), path.with_name(COPY)
    made, rows = copy.stat(), await rows_of(path)
    await migrate(path)
    assert len(writes.sizes) == done
    assert copy.stat() == made
    assert await rows_of(path) == rows


# -- the copy --------------------------------------------------------------------------------------


async def test_the_copy_is_the_store_as_it_was(
    path: Path, before: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await migrate(path)
    copy = path.with_name(COPY)
    assert await rows_of(copy) == before
    assert copy.stat().st_mode & 0o777 == 0o600
    (told,) = [r for r in caplog.records if r.message.startswith("copying the store")]
    assert vars(told)["copy"] == str(copy)
    names = {p.name for p in path.parent.iterdir() if p.name.startswith("alice")}
    assert names - {"alice.db-wal", "alice.db-shm", f"{copy.name}-wal", f"{copy.name}-shm"} == {
        "alice.db",
        "alice.db.lock",
        copy.name,
    }


async def test_the_copy_holds_what_lay_in_the_write_ahead_log(path: Path) -> None:
    store = await askar(path)
    async with store.transaction("main") as tx:
        await tx.insert("note", "late", b"{}")
        await tx.commit()
    stopped = path.parent / "stopped"
    stopped.mkdir()
    for end in ("", "-wal"):  # as a kill leaves them
        shutil.copy(f"{path}{end}", stopped)
    await store.close()
    with closing(sqlite3.connect(f"file:{stopped / path.name}?immutable=1", uri=True)) as file:
        without = file.execute("SELECT count(*) FROM items").fetchone()
    await migrate(stopped / path.name)
    copy = stopped / COPY
    assert ("note", "late") in await rows_of(copy)
    with closing(sqlite3.connect(copy)) as file:
        assert file.execute("SELECT count(*) FROM items").fetchone() == (without[0] + 1,)


async def test_a_copy_is_not_made_again_while_it_goes_on(
    path: Path, before: Rows, writes: Writes
) -> None:
    writes.kill = "after"
    copy = path.with_name(COPY)
    made: set[tuple[int, int]] = set()
    for _ in range(3):
        with pytest.raises(KilledError):
            await migrate(path)
        made.add((copy.stat().st_ino, copy.stat().st_mtime_ns))
    assert len(made) == 1
    assert await rows_of(copy) == before


async def test_a_store_that_was_put_back_and_used_is_copied_anew(path: Path) -> None:
    await migrate(path)
    shutil.copy(path.with_name(COPY), path)
    store = await askar(path)
    async with store.transaction("main") as tx:
        await tx.insert("note", "of the old program", b"{}")
        await tx.commit()
    await store.close()
    await migrate(path)
    assert ("note", "of the old program") in await rows_of(path.with_name(COPY))


async def test_without_a_copy_nothing_is_changed(path: Path, before: Rows) -> None:
    path.with_name(f"{COPY}.new").mkdir()  # where the copy is written
    with pytest.raises(UnavailableError, match=rf"cannot copy the store to .*before-{NEWEST}"):
        await migrate(path)
    assert await rows_of(path) == before
    path.with_name(f"{COPY}.new").rmdir()
    await migrate(path)


async def test_a_database_is_migrated_without_a_copy_and_that_is_said(
    tmp_path: Path, postgres_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    location = parse(postgres_server.url("of_version_1"))
    async with exclusively(location):
        await fill(await open_or_provision(location, STORE_KEY), 30, 30)
    store = await Store.open(location, STORE_KEY, MODELS, tmp_path)
    writer = asyncio.create_task(store.run())
    profile = await store.profile("main")
    assert [x.number for x in await listed(profile, "~peer", "c", 100)] == list(
        range(30, 0, -1)
    )
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    await store.close()
    assert caplog.text.count("migrating the store without a copy") == 1
    assert not list(tmp_path.glob("*before*"))  # noqa: ASYNC240


# -- versions --------------------------------------------------------------------------------------


async def version_of(path: Path) -> Any:
    store = await askar(path)
    async with store.session() as session:
        entry = await session.fetch("meta", "version")
    await store.close()
    return json.loads(entry.value) if entry else None


async def test_a_new_store_is_of_the_newest_version(tmp_path: Path) -> None:
    await migrate(tmp_path / "agent.db")
    assert await version_of(tmp_path / "agent.db") == {"version": NEWEST}
    assert not (tmp_path / f"agent.db.before-{NEWEST}").exists()


async def test_the_version_is_written_last(path: Path, writes: Writes) -> None:
    writes.kill = "after"
    with pytest.raises(KilledError):
        await migrate(path)
    copy = path.with_name(COPY)
    assert await version_of(path) == {"version": 1, "copy": str(copy), "to": NEWEST}
    writes.kill = ""
    await migrate(path)
    assert await version_of(path) == {"version": NEWEST}


@pytest.mark.parametrize(
    "state", [{"version": NEWEST + 1}, {"version": NEWEST, "to": NEWEST + 1}]
)
async def test_a_store_of_a_newer_program_is_refused_and_left_alone(
    path: Path, state: dict[str, int]
) -> None:
    """Also one that it is bringing to its version now, or was when it was cut off."""
    await migrate(path)
    store = await askar(path)
    async with store.transaction() as tx:
        await tx.replace("meta", "version", json.dumps(state))
        await tx.commit()
    await store.close()
    before = await rows_of(path)
    for _ in range(2):  # it holds no lock afterwards
        with pytest.raises(UnavailableError, match="a newer indykeep wrote this store"):
            await migrate(path)
    assert await rows_of(path) == before


@pytest.mark.parametrize("ended", [False, True])
async def test_a_database_is_migrated_when_other_processes_have_stopped(
    postgres: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ended: bool,  # noqa: FBT001
) -> None:
    """A process that lives has seen the version before a row is changed; one that ended needs no wait."""
    location = parse(postgres)
    async with exclusively(location):
        old = await open_or_provision(location, STORE_KEY)
        await old.create_profile(SYSTEM)
        async with old.transaction(SYSTEM) as tx:
            record = {"host": "here", "pid": 1, "ended": ended}
            await tx.insert("process", "a", json.dumps(record))
            await tx.commit()
        await fill(old, 3, 3)
    slept: list[tuple[float, object, list[str]]] = []

    async def sleep(seconds: float) -> None:
        askar = await open_or_provision(location, STORE_KEY)
        async with askar.session() as session:
            state = await session.fetch("meta", "version")
        async with askar.session("main") as session:
            values = [json.loads(x.value) for x in await session.fetch_all("exchange")]
        await askar.close()
        assert state is not None
        changed = [str(x["thid"]) for x in values if "number" in x]
        slept.append((seconds, json.loads(state.value), changed))

    with monkeypatch.context() as patch:
        patch.setattr("keep_agent.store.processes.asyncio.sleep", sleep)
        store = await Store.open(location, STORE_KEY, MODELS, tmp_path)
    await store.close()
    assert slept == ([] if ended else [(SILENT_S, {"version": 1, "to": NEWEST}, [])])


async def test_every_version_has_a_step() -> None:
    assert set(migrations.STEPS) == set(range(1, NEWEST))


# -- many ------------------------------------------------------------------------------------------


async def many(path: Path, exchanges: int, log_rows: int) -> None:
    """Make a store of version 1 with a tenant that has a lot."""
    await fill(await Askar.provision(f"sqlite://{path}", "raw", STORE_KEY), exchanges, log_rows)


async def fill(store: Askar, exchanges: int, log_rows: int) -> None:
    await store.create_profile("main")
    for start in range(0, exchanges, 1000):
        async with store.transaction("main") as tx:
            rows = (old_exchange(n) for n in range(start, min(start + 1000, exchanges)))
            await asyncio.gather(*(tx.insert("exchange", x["id"], json.dumps(x)) for x in rows))
            await tx.commit()
    async with store.transaction("main") as tx:
        for n in range(1, log_rows + 1):
            events = [{"n": n * 1000 + 1, "at": STOPPED, "type": "exchange"}]
            await tx.insert("log", str(n), json.dumps({"events": events}))
        await tx.commit()
    await store.close()


def old_exchange(number: int, protocol: str = "basicmessage/1") -> dict[str, Any]:
    return {
        "id": f"x{number}",
        "protocol": protocol,
        "minor": 0,
        "role": "sender",
        "thid": f"t{number}",
        "peer": "c",
        "pthid": None,
        "connection": "c",
        "their_key": None,
        "state": "sent",
        "seen": {},
        "sent": [],
        "then": [],
        "error": None,
        "revision": 1,
        "created": STOPPED,
        "updated": STOPPED,
        "data": {},
    }


async def test_five_thousand_rows_take_few_bounded_transactions(
    tmp_path: Path,
    writes: Writes,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exchanges share numbers where the log has fewer rows, and every page is still short."""
    path = tmp_path / "agent.db"
    await many(path, 4_800, 200)
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(migrations, "TELL_S", 0.05)
    async with opened(path) as profile:
        assert max(writes.sizes) == migrations.ROWS
        assert len(writes.sizes) <= 5_000 / migrations.ROWS + 2
        newest = await listed(profile, "~peer", "c", 100)
        assert profile.number == 4_800 / 8
    rows = list(of(await rows_of(path), "exchange").values())  # in the order they were added
    assert {x.id for x in newest} <= {x["id"] for x in rows[-100 - 8 :]}
    numbers = [x["number"] for x in rows]
    assert numbers == sorted(numbers)
    buckets = Counter(number // BUCKET for number in numbers)
    assert max(buckets.values()) == 8 * BUCKET
    told = [r.message for r in caplog.records if r.name == migrations.log.name]
    progress = [text for text in told if "rows" in text]
    assert progress
    assert all(text.startswith("migrating the store: ") for text in progress)
    first, *_ = totals = [text.rpartition(" of ")[2] for text in progress]
    assert first == "5,000 rows"
    # the next step looks at the exchanges alone
    assert set(totals) <= {"5,000 rows", "4,800 rows"}


async def test_long_rows_make_short_transactions(
    tmp_path: Path, writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await many(tmp_path / "agent.db", 50, 50)
    monkeypatch.setattr(migrations, "BYTES", 2000)
    await migrate(tmp_path / "agent.db")
    assert max(writes.sizes) <= 2000 / 150


async def test_the_newest_exchanges_have_the_newest_numbers(tmp_path: Path) -> None:
    """A log that is much longer than what is left of the exchanges leaves no gap before them."""
    path = tmp_path / "agent.db"
    await many(path, 5, 300)
    async with opened(path) as profile:
        assert [x.number for x in await listed(profile, "~peer", "c", 9)] == [
            300,
            299,
            298,
            297,
            296,
        ]
        assert profile.number == 300


async def test_an_exchange_of_a_protocol_that_is_not_ours_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    await many(path, 0, 0)
    store = await askar(path)
    async with store.transaction("main") as tx:
        await tx.insert("exchange", "x", json.dumps(old_exchange(1, "elsewhere/7")))
        await tx.commit()
    await store.close()
    await migrate(path)
    x = of(await rows_of(path), "exchange")["x"]
    assert (x["due"], x["until"], x["number"]) == (None, None, 1)
