"""Two processes on one store in PostgreSQL: nothing is overwritten, seen late for long, or left undone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from agent.store.test_store import KEY, LOOSE, MODELS, OUT, exchange

from keep_agent.core.machine import Consume, Put
from keep_agent.errors import ConflictError, RefusedError, UnavailableError
from keep_agent.store.location import parse
from keep_agent.store.profile import Profile, TakenOver
from keep_agent.store.rows import Commit, Waiting
from keep_agent.store.store import Store

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
    listed = await two[0].listed("~protocol", "toy/1", 100)
    assert len({x.id for x in listed}) == 80


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
    b.on_others = changed.extend
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
    await a.settle()
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


async def test_a_process_that_was_away_writes_nothing(
    two: tuple[Profile, Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = two
    store = a._store
    assert store._processes is not None
    monkeypatch.setattr(store._processes, "_beaten", 0.0)
    with pytest.raises(UnavailableError, match="was away"):
        await a.commit(Commit(exchanges=(exchange(),)))
    assert await two[1].exchange("x") is None
