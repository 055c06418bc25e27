"""Two processes on one store in PostgreSQL: nothing is overwritten, seen late for long, or left undone."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent.store.test_store import KEY, LOOSE, MODELS, OUT, exchange
from aries_askar import AskarError, AskarErrorCode, Session
from postgres import MISSING, Server, programs, running

from keep_agent.core.machine import Consume, Put
from keep_agent.errors import ConflictError, RefusedError, UnavailableError
from keep_agent.store import store as store_module
from keep_agent.store.lists import listed
from keep_agent.store.location import parse
from keep_agent.store.migrations import NEWEST, NewerStoreError
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit, TakenOver, Waiting
from keep_agent.store.store import Store
from keep_agent.store.takeover import take_over

PATIENCE_S = 20.0


@asynccontextmanager
async def opened(url: str, folder: Path) -> AsyncGenerator[Profile]:
    """A store as one process has it: its names and locks are apart, so two fit into one test."""
    store = await Store.open(parse(url), KEY, MODELS, folder)
    running = asyncio.create_task(store.run())
    try:
        yield await store.profile("main")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()


@pytest.fixture
async def two(postgres: str, tmp_path: Path) -> AsyncIterator[tuple[Profile, Profile]]:
    async with opened(postgres, tmp_path / "a") as a, opened(postgres, tmp_path / "b") as b:
        yield a, b


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - the other process sets no event of ours
            await asyncio.sleep(0.01)


async def test_a_decision_on_what_the_other_has_changed_is_refused(
    two: tuple[Profile, Profile],
) -> None:
    a, b = two
    first = (await a.commit(Commit(exchanges=(exchange(),)))).exchange("x")
    seen = await b.exchange("x")
    assert seen == first
    await a.commit(Commit(exchanges=(replace(first, state="answered"),)))
    with pytest.raises(ConflictError):
        await b.commit(Commit(exchanges=(replace(first, state="other"),)))
    now = await b.exchange("x")
    assert now is not None
    assert now.state == "answered"


async def test_of_two_first_messages_one_is_taken(two: tuple[Profile, Profile]) -> None:
    results = await asyncio.gather(
        *(p.commit(Commit(exchanges=(exchange(),))) for p in two), return_exceptions=True
    )
    assert sorted(type(r).__name__ for r in results) == ["Commit", "ConflictError"]


async def test_sec_o_02_an_invitation_is_used_once_by_whichever_process(
    two: tuple[Profile, Profile],
) -> None:
    await two[0].commit(Commit(writes=(Put("invitation", "i", {"id": "i"}),)))
    assert await two[1].get("invitation", "i") == {"id": "i"}  # it is in the other's cache now
    uses = [
        p.commit(Commit(exchanges=(exchange(f"x{i}"),), writes=(Consume("invitation", "i"),)))
        for i, p in enumerate(two)
    ]
    results = await asyncio.gather(*uses, return_exceptions=True)
    assert {type(r) for r in results} == {Commit, RefusedError}


async def test_many_decisions_of_both_are_all_written_in_one_order(
    two: tuple[Profile, Profile],
) -> None:
    work = [
        p.commit(Commit(exchanges=(exchange(f"x{n}-{i}"),), events=({"x": f"x{n}-{i}"},)))
        for i in range(40)
        for n, p in enumerate(two)
    ]
    await asyncio.gather(*work)
    for p in two:
        await p.refresh()
    logs = [[e["x"] for e in await p.events(0)] for p in two]
    assert logs[0] == logs[1]
    assert sorted(logs[0]) == sorted(f"x{n}-{i}" for i in range(40) for n in range(2))
    found = await listed(two[0], "~protocol", "toy/1", 100)
    assert len({x.id for x in found}) == 80


async def test_what_one_commits_wakes_who_waits_at_the_other(
    two: tuple[Profile, Profile],
) -> None:
    a, b = two
    waiting = asyncio.create_task(b.wait_event(b.last_event))
    await asyncio.sleep(0.05)
    await a.commit(Commit(exchanges=(exchange(),), events=({"type": "toy"},)))
    async with asyncio.timeout(PATIENCE_S):
        await waiting
    assert [e["type"] for e in await b.events(0)] == ["toy"]


async def test_who_has_an_old_row_at_hand_is_told_of_the_new_one(
    two: tuple[Profile, Profile],
) -> None:
    a, b = two
    first = (await a.commit(Commit(exchanges=(exchange(),)))).exchange("x")
    assert await b.exchange("x") == first
    changed: list[tuple[str, str]] = []
    b.on_others_commit = changed.extend
    await a.commit(Commit(exchanges=(replace(first, state="answered"),)))
    await until(lambda: ("exchange", "x") in changed)
    now = await b.exchange("x")
    assert now is not None
    assert now.state == "answered"


async def test_what_another_process_still_sends_stays_with_the_exchange(
    two: tuple[Profile, Profile],
) -> None:
    a, b = two
    await a.commit(Commit(exchanges=(exchange(),), outbox=(OUT,)))
    seen = await b.exchange("x")
    assert seen is not None
    by_b = (await b.commit(Commit(exchanges=(seen,)))).exchange("x")
    assert [out["name"] for out in by_b.out] == ["x.1"]
    a.delivered(["x.1"])
    await a.write_delivered()
    await b.refresh()
    assert (await b.commit(Commit(exchanges=(by_b,)))).exchange("x").out == ()


async def test_the_work_of_a_process_that_ends_is_taken_over(
    postgres: str, tmp_path: Path
) -> None:
    then = ({"command": "go", "protocol": None},)
    async with opened(postgres, tmp_path / "b") as b:
        taken: list[TakenOver] = []
        b.on_taken_over = taken.append
        async with opened(postgres, tmp_path / "a") as a:
            x = exchange(then=then)
            await a.commit(Commit(exchanges=(x,), outbox=(OUT,)))
            await a.commit(
                Commit(outbox=(LOOSE,), waiting=(Waiting("w", {}, "s", "r", 1.0, a.process),))
            )
            await a.commit(
                Commit(
                    exchanges=(exchange("y"),), outbox=(replace(OUT, name="y.1", exchange="y"),)
                )
            )
            a.delivered(["y.1"])
        await until(lambda: bool(taken))
        (left,) = taken
        assert [row.name for row in left.outgoing] == ["x.1", "loose", "y.1"]
        assert [w.name for w in left.waiting] == ["w"]
        assert [(x.id, x.by) for x in left.pending] == [("x", b.process)]
        assert [w.name for w in await b.inbox()] == ["w"]
        b.delivered([row.name for row in left.outgoing])
        await b.commit(Commit())
        assert await b.find("outbox") == []


async def test_what_was_taken_over_and_not_done_is_taken_over_again(
    postgres: str, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        async with opened(postgres, tmp_path / name) as profile:
            if name == "a":
                await profile.commit(Commit(outbox=(LOOSE,)))
                continue
            await until(lambda: bool(profile.deliveries.parked))
            assert profile.deliveries.parked == {"loose"}


async def test_what_is_taken_over_again_and_again_keeps_its_order(
    postgres: str, tmp_path: Path
) -> None:
    rows = [
        replace(LOOSE, name=f"m{n}", body={"long": "-" * (n % 3 * 1000)}) for n in range(40)
    ]
    for name in ("a", "b", "c"):
        async with opened(postgres, tmp_path / name) as profile:
            if name == "a":
                await asyncio.gather(*(profile.commit(Commit(outbox=(row,))) for row in rows))
                await profile.write_delivered(profile.deliveries.slow(-1, 25))
            else:
                await until(lambda: len(profile.left_to_send) == len(rows))
                assert [row.name for row in profile.left_to_send] == [row.name for row in rows]


async def test_a_process_that_was_away_writes_nothing(
    two: tuple[Profile, Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = two
    store = a._store
    assert store._processes is not None
    monkeypatch.setattr(store._processes, "_last_beat", 0.0)
    with pytest.raises(UnavailableError, match="no heartbeat"):
        await a.commit(Commit(exchanges=(exchange(),)))
    assert await two[1].exchange("x") is None


async def test_a_process_that_is_only_slow_loses_nothing_and_writes_nothing_more(
    two: tuple[Profile, Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes over says so in the log: no clock has to be right."""
    a, b = two
    old, slow = a.process, asyncio.Event()
    beat = a._store._processes._beat_with_retries  # type: ignore[union-attr] # it is shared

    async def later() -> frozenset[str]:
        await slow.wait()
        return await beat()

    monkeypatch.setattr(a._store._processes, "_beat_with_retries", later)
    await a.commit(Commit(outbox=(LOOSE,)))
    await take_over(b, [old])
    assert b.deliveries.parked == {"loose"}
    with pytest.raises(UnavailableError, match="no heartbeat"):
        await a.commit(Commit(exchanges=(exchange(),)))
    assert await b.exchange("x") is None
    slow.set()
    await until(lambda: a.process != old)
    await until(lambda: _sure(a))
    await a.commit(Commit(exchanges=(exchange(),)))
    assert a.deliveries.fresh == []
    assert await b.exchange("x") is not None


def _sure(profile: Profile) -> bool:
    try:
        profile._store.check_alive()
    except UnavailableError:
        return False
    return True


async def test_a_message_that_came_early_belongs_to_the_process_that_took_it(
    two: tuple[Profile, Profile],
) -> None:
    a, b = two
    await a.commit(Commit(waiting=(Waiting("w", {}, "s", "r", 1.0),)))
    assert [w.name for w in await a.inbox()] == ["w"]
    assert await b.inbox() == []


class Silent:
    """Lets a transaction commit, and then its answer be lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        commit = Session.commit

        async def lost(session: Session) -> None:
            await commit(session)
            monkeypatch.undo()
            self.after()
            raise AskarError(AskarErrorCode.BACKEND, "Error closing transaction")

        self.after: Callable[[], None] = lambda: None
        monkeypatch.setattr(Session, "commit", lost)


async def test_a_commit_whose_answer_is_lost_is_found(
    two: tuple[Profile, Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = two
    Silent(monkeypatch)
    await a.commit(Commit(exchanges=(exchange(),), events=({"type": "toy"},)))
    await b.refresh()
    assert [e["type"] for e in await b.events(0)] == ["toy"]
    assert [e["type"] for e in await a.events(0)] == ["toy"]


async def test_what_nobody_knows_whether_it_is_written_is_taken_over_by_its_own_process(
    two: tuple[Profile, Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is lost, and the store cannot be asked: the message in it is sent all the same."""
    a, _ = two
    old, taken = a.process, list[TakenOver]()
    a.on_taken_over = taken.append
    has = a.has

    async def mute(_group: object) -> bool:
        monkeypatch.setattr(a, "has", has)
        raise UnavailableError("no answer")

    silent = Silent(monkeypatch)
    silent.after = lambda: monkeypatch.setattr(a, "has", mute)
    with pytest.raises(UnavailableError):
        await a.commit(Commit(outbox=(LOOSE,)))
    await until(lambda: bool(taken))
    assert [row.name for row in taken[0].outgoing] == ["loose"]
    assert a.process != old


async def test_what_is_written_later_than_it_was_looked_for_is_sent_all_the_same(
    two: tuple[Profile, Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks while the server still commits: a look finds nothing, and then it is there."""
    a, _ = two
    old, taken = a.process, list[TakenOver]()
    a.on_taken_over = taken.append
    has = a.has

    async def too_early(_group: object) -> bool:
        monkeypatch.setattr(a, "has", has)
        return False

    silent = Silent(monkeypatch)
    silent.after = lambda: monkeypatch.setattr(a, "has", too_early)
    with pytest.raises(UnavailableError):
        await a.commit(Commit(exchanges=(exchange(),), outbox=(OUT,)))
    await until(lambda: bool(taken))
    assert [row.name for row in taken[0].outgoing] == ["x.1"]
    assert a.process != old


async def test_a_process_that_is_older_than_the_store_stops(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer program begins to migrate the store: who has it open writes nothing more and says why."""
    monkeypatch.setattr("keep_agent.store.processes.BEAT_S", 0.1)
    store = await Store.open(parse(postgres), KEY, MODELS, tmp_path)
    running = asyncio.create_task(store.run())
    a = await store.profile("main")
    await a.commit(Commit(exchanges=(exchange(),)))
    async with store.askar.transaction() as tx:
        state = json.dumps({"version": NEWEST, "to": NEWEST + 1})
        await tx.replace("meta", "version", state)
        await tx.commit()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.wait([running])
    with pytest.raises(ExceptionGroup) as caught:
        running.result()
    assert caught.group_contains(NewerStoreError)
    with pytest.raises(UnavailableError):
        await a.commit(Commit(exchanges=(exchange("y"),)))
    assert await a.exchange("y") is None
    await store.close()


async def test_more_tenants_than_connections_write_at_once(
    postgres: str, tmp_path: Path
) -> None:
    """Each writer reads while it writes; if all connections were taken, all would wait for ever."""
    async with opened(postgres, tmp_path / "a") as a:
        profiles = [await a._store.profile(f"tenant-{n}") for n in range(24)]
        async with asyncio.timeout(PATIENCE_S):
            xs = [
                (await p.commit(Commit(exchanges=(exchange(),)))).exchange("x")
                for p in profiles
            ]
            for p in profiles:
                p.forget_all()
            await asyncio.gather(
                *(
                    p.commit(Commit(exchanges=(replace(x, state="answered"),)))
                    for p, x in zip(profiles, xs, strict=True)
                )
            )


async def test_connections_that_died_in_the_pool_are_not_noticed(
    postgres: str, postgres_server: Server, tmp_path: Path
) -> None:
    async with opened(postgres, tmp_path / "a") as a:
        await a.commit(Commit(exchanges=(exchange(),)))
        await asyncio.gather(*(a.inbox() for _ in range(20)))
        mine = f"datname = '{postgres.rsplit('/', 1)[1]}'"
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"
        await postgres_server.run(end)
        assert await a.inbox() == []
        await postgres_server.run(end)
        await a.commit(Commit(exchanges=(exchange("y"),)))
        assert await a.exchange("y") is not None


async def test_a_take_over_that_fails_is_tried_again(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "AGAIN_S", 0.05)
    async with opened(postgres, tmp_path / "b") as b:
        find, failures = b.find, ["first"]

        async def broken(*args: Any) -> list[tuple[str, Any]]:
            if failures:
                raise UnavailableError(failures.pop())
            return await find(*args)

        async with opened(postgres, tmp_path / "a") as a:
            await a.commit(Commit(outbox=(LOOSE,)))
            monkeypatch.setattr(b, "find", broken)
        await until(lambda: bool(b.left_to_send))
        assert [row.name for row in b.left_to_send] == ["loose"]
        assert not failures


async def test_what_was_not_delivered_is_there_when_a_profile_is_opened_again(
    two: tuple[Profile, Profile],
) -> None:
    """The newest row of the log is the other process's, which has delivered all of its own."""
    a, b = two
    await a.commit(Commit(outbox=(LOOSE,)))
    await b.commit(Commit(exchanges=(exchange(),)))
    store = a._store
    await store.release("main")
    assert [row.name for row in (await store.open_profile("main")).left_to_send] == ["loose"]


async def test_a_restart_of_the_server_loses_nothing(tmp_path: Path) -> None:
    folder = programs()
    if folder is None:
        pytest.skip(MISSING)
    with running(folder) as server:
        url = server.url("restarted")
        async with opened(url, tmp_path / "a") as a, opened(url, tmp_path / "b") as b:
            written: list[str] = []
            over = asyncio.Event()
            task = asyncio.create_task(_write(a, written, over))
            await until(lambda: len(written) > 5)
            await asyncio.to_thread(server.restart)
            before = len(written)
            await until(lambda: len(written) > before + 5)
            over.set()
            await task
            await b.refresh()
            there = [e["x"] for e in await b.events(0)]
            assert set(written) <= set(there)
            assert len(there) == len(set(there))
            assert [e["x"] for e in await a.events(0)] == there


async def _write(profile: Profile, written: list[str], over: asyncio.Event) -> None:
    """Commit one exchange after the other; note those of which the store said that it has them."""
    numbers = itertools.count()
    while not over.is_set():
        name = f"x{next(numbers)}"
        try:
            await profile.commit(Commit(exchanges=(exchange(name),), events=({"x": name},)))
        except UnavailableError:
            await asyncio.sleep(0.05)
        else:
            written.append(name)


async def test_what_was_taken_over_twice_is_sent_once(postgres: str, tmp_path: Path) -> None:
    """A process took over from another one and ended before it could forget that one."""
    async with opened(postgres, tmp_path / "b") as b, opened(postgres, tmp_path / "c") as c:
        taken: list[TakenOver] = []
        b.on_taken_over = taken.append
        async with opened(postgres, tmp_path / "a") as a:
            await a.commit(Commit(exchanges=(exchange(),), outbox=(OUT,)))
            first, second = a.process, c.process
            await take_over(c, [first])
            await take_over(b, [second, first])
    assert [row.name for each in taken for row in each.outgoing] == ["x.1"]
