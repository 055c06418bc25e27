"""The sweeper: what is old goes, what may still matter stays."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_protocol import TOY, Memory, Side, State, opened

from keep_agent.core.machine import ABANDONED, Exchange, Put
from keep_agent.store.log import Log
from keep_agent.store.profile import Profile
from keep_agent.store.rows import DAY_S, DEAD, SEEN, Commit, day
from keep_agent.store.sweep import sweep

PROTOCOLS = {TOY.name: TOY}
DONE = Exchange(
    id="x",
    protocol=TOY.name,
    minor=2,
    role=Side.HOST,
    thid="t",
    peer="c",
    data=Memory(),
    state=State.DONE,
    until=time.time() + 30 * DAY_S,
)


@pytest.fixture
async def profile(tmp_path: Path) -> AsyncIterator[Profile]:
    async with opened(tmp_path / "agent.db") as store:
        yield await store.profile("main")


async def in_days(days: float, profile: Profile, monkeypatch: pytest.MonkeyPatch) -> int:
    later = time.time() + days * DAY_S
    with monkeypatch.context() as patch:
        patch.setattr("keep_agent.store.sweep.time.time", lambda: later)
        return await sweep(profile, 30)


@pytest.mark.parametrize("state", [State.DONE, ABANDONED])
async def test_a_finished_exchange_is_kept_as_long_as_its_protocol_says(
    profile: Profile, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    await profile.commit(Commit(exchanges=(replace(DONE, state=state),)))
    assert await in_days(29, profile, monkeypatch) == 0
    assert await in_days(32, profile, monkeypatch) == 1
    assert await profile.exchange("x") is None


@pytest.mark.parametrize(
    "open_",
    [
        replace(DONE, state=State.HEARD, until=None),
        replace(DONE, then=({"command": "go", "protocol": "x/1"},)),
    ],
)
async def test_an_exchange_with_something_to_do_is_never_forgotten(
    profile: Profile, monkeypatch: pytest.MonkeyPatch, open_: Exchange[Any]
) -> None:
    await profile.commit(Commit(exchanges=(open_,)))
    assert await in_days(3650, profile, monkeypatch) == 0
    assert await profile.exchange("x") is not None


async def test_ids_letters_and_log_are_kept_as_long_as_is_set(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, tags = {"at": time.time()}, {"~day": day(time.time())}
    writes = (Put(SEEN, "s", now, tags), Put(DEAD, "d", now, tags))
    await profile.commit(Commit(writes=writes, events=({"type": "toy"},)))
    assert await in_days(29, profile, monkeypatch) == 0
    assert await in_days(32, profile, monkeypatch) == 2
    assert await profile.fetch(SEEN, "s") is None
    assert await profile.fetch(DEAD, "d") is None


async def test_the_newest_row_of_the_log_stays(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that was idle for long goes on with its numbers."""
    await profile.commit(Commit(events=({"type": "toy"},)))
    await profile.commit(Commit(events=({"type": "toy"},)))
    before = profile.number
    await in_days(400, profile, monkeypatch)
    assert [name for name, _ in await profile.find("log")] == [str(before)]


async def test_many_are_forgotten_in_steps(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, tags = {"at": time.time()}, {"~day": day(time.time())}
    for start in range(0, 260, 52):
        await profile.commit(
            Commit(writes=tuple(Put(SEEN, f"s{start + i}", old, tags) for i in range(52)))
        )
    young = time.time() + 31 * DAY_S
    write = Put(SEEN, "young", {"at": young}, {"~day": day(young)})
    await profile.commit(Commit(writes=(write,)))
    assert await in_days(32, profile, monkeypatch) == 260
    assert [name for name, _ in await profile.find(SEEN)] == ["young"]


async def test_events_after_what_is_swept_are_found_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that begins at 0 costs no read for each row that is gone."""
    path = tmp_path / "agent.db"
    async with opened(path) as store:
        profile = await store.profile("main")
        for n in range(60):
            await profile.commit(Commit(events=({"type": "toy", "was": n},)))
        assert await in_days(32, profile, monkeypatch) == 59
        for n in range(60, 63):
            await profile.commit(Commit(events=({"type": "toy", "was": n},)))
    reads: list[int] = []
    row = Log.row

    async def counted(self: Log, number: int) -> object:
        reads.append(number)
        return await row(self, number)

    monkeypatch.setattr(Log, "row", counted)
    async with opened(path) as store:
        profile = await store.profile("main")
        for after in (0, 1001, 30_000):
            reads.clear()
            found = await profile.events(after)
            assert [e["was"] for e in found] == [59, 60, 61, 62]
            assert len(reads) <= 5
        assert [e["was"] for e in await profile.events(62_000)] == [61, 62]
