"""The store: all of a decision or nothing, one writer, nothing lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import base58
import pytest
from aries_askar import AskarError, AskarErrorCode, Session

from keep_agent.core.machine import (
    STATELESS,
    Consume,
    Data,
    Delete,
    Exchange,
    Put,
    PutKey,
    Target,
    Write,
)
from keep_agent.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from keep_agent.identity.keys import NewKey
from keep_agent.store.location import Sqlite
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit, Outgoing, Waiting, read_outgoing, write_outgoing
from keep_agent.store.store import Store

KEY = base58.b58encode(b"k" * 32).decode()


class Noted(Data):
    text: str = ""


MODELS = {"toy/1": Noted}


def exchange(name: str = "x", **changes: Any) -> Exchange[Noted]:
    fields: dict[str, Any] = {
        "id": name,
        "protocol": "toy/1",
        "minor": 0,
        "role": "sender",
        "thid": f"thread of {name}",
        "peer": "c1",
        "data": Noted(text="hello"),
        "state": "sent",
    }
    return Exchange(**{**fields, **changes})


@asynccontextmanager
async def opened(path: Path, key: str = KEY) -> AsyncGenerator[Store]:
    store = await Store.open(Sqlite(path), key, MODELS)
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
async def profile(store: Store) -> Profile:
    return await store.profile("main")


async def test_a_commit_returns_what_was_written(profile: Profile) -> None:
    committed = await profile.commit(Commit(exchanges=(exchange(),)))
    assert committed.exchange("x").revision == 1
    assert await profile.exchange("x") == committed.exchange("x")


async def test_everything_is_there_for_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    out = Outgoing(
        "o1",
        "line",
        "t",
        {"@id": "m"},
        target=Target(endpoint="http://p", recipients=("k",), sender="s"),
    )
    waits = Waiting("w1", {"@id": "n"}, "sender", "recipient", 12.5)
    full = exchange(seen={"m": "digest"}, sent=("n",), then=({"command": "go"},), error="late")
    async with opened(path) as store:
        profile = await store.profile("main")
        committed = await profile.commit(
            Commit(
                exchanges=(full,), outbox=(out,), waiting=(waits,), events=({"type": "toy"},)
            )
        )
    async with opened(path) as store:
        profile = await store.profile("main")
        assert await profile.exchange("x") == committed.exchange("x")
        assert profile.left_to_send == list(committed.outbox)
        assert await profile.inbox() == [waits]
        assert [e["type"] for e in await profile.events(0)] == ["toy"]
        assert [x.id for x in await profile.pending()] == ["x"]
        assert [x.id for x in await profile.exchanges("sent", "n")] == ["x"]


async def test_a_decision_on_an_old_state_is_refused_and_writes_nothing(
    profile: Profile,
) -> None:
    first = (await profile.commit(Commit(exchanges=(exchange(),)))).exchange("x")
    await profile.commit(Commit(exchanges=(replace(first, state="answered"),)))
    with pytest.raises(ConflictError):
        await profile.commit(
            Commit(
                exchanges=(replace(first, state="other"),), writes=(Put("note", "n", {"a": 1}),)
            )
        )
    now = await profile.exchange("x")
    assert now is not None
    assert now.state == "answered"
    assert await profile.fetch("note", "n") is None


async def test_two_first_messages_of_one_thread_collide(profile: Profile) -> None:
    results = await asyncio.gather(
        *(
            profile.commit(Commit(exchanges=(exchange(),), events=({"i": i},)))
            for i in range(2)
        ),
        return_exceptions=True,
    )
    assert sorted(type(r).__name__ for r in results) == ["Commit", "ConflictError"]
    assert len(await profile.events(0)) == 1


async def test_one_bad_decision_does_not_hurt_its_group(profile: Profile) -> None:
    await profile.commit(Commit(writes=(Put("note", "taken", {"a": 1}),)))
    good = [profile.commit(Commit(exchanges=(exchange(f"x{i}"),))) for i in range(5)]
    bad = profile.commit(
        Commit(exchanges=(exchange("bad"),), writes=(Put("note", "taken", {}, new=True),))
    )
    results = await asyncio.gather(*good, bad, return_exceptions=True)
    assert isinstance(results[-1], ConflictError)
    assert all(isinstance(r, Commit) for r in results[:-1])
    assert await profile.exchange("bad") is None
    assert await profile.get("note", "taken") == {"a": 1}


async def test_of_two_decisions_on_one_state_one_is_refused_even_in_one_group(
    profile: Profile,
) -> None:
    """The second one would overwrite the first, and both would believe to be committed."""
    first = (await profile.commit(Commit(exchanges=(exchange(),)))).exchange("x")
    both = [
        Commit(exchanges=(replace(first, state=state),), events=({"state": state},))
        for state in ("answered", "other")
    ]
    results = await asyncio.gather(*map(profile.commit, both), return_exceptions=True)
    assert [type(r) for r in results] == [Commit, ConflictError]
    now = await profile.exchange("x")
    assert now is not None
    assert (now.state, now.revision) == ("answered", 2)
    assert [e["state"] for e in await profile.events(0)] == ["answered"]


async def test_a_decision_that_cannot_be_written_at_all_hurts_nobody_else(
    profile: Profile,
) -> None:
    """A bug of the caller: he learns of it, and the writer goes on."""
    bad = profile.commit(Commit(writes=(Put("note", "n", {"a": object()}),)))
    good = profile.commit(Commit(exchanges=(exchange(),)))
    results = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(results[0], ValueError)
    assert isinstance(results[1], Commit)
    await profile.commit(Commit(exchanges=(exchange("y"),)))


async def test_what_was_written_after_all_does_not_block_the_log(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk said no, but it was yes: that is found out, and what was to be sent is sent."""
    real = Session.commit

    async def unsure(self: Session) -> None:
        await real(self)
        raise AskarError(AskarErrorCode.BACKEND, "disk I/O error")

    monkeypatch.setattr(Session, "commit", unsure)
    out = Outgoing("o1", "line", "t", {"@id": "m"}, connection="c")
    await profile.commit(
        Commit(exchanges=(exchange(),), outbox=(out,), events=({"type": "toy"},))
    )
    assert profile.deliveries.is_fresh("o1")
    monkeypatch.setattr(Session, "commit", real)
    await profile.commit(Commit(exchanges=(exchange("y"),), events=({"type": "toy"},)))
    assert await profile.exchange("x") is not None
    assert await profile.exchange("y") is not None


async def test_a_store_that_cannot_be_read_is_unavailable(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise AskarError(AskarErrorCode.BACKEND, "disk I/O error")

    monkeypatch.setattr(Session, "fetch", broken)
    with pytest.raises(UnavailableError, match="does not answer"):
        await profile.fetch("note", "n")


@pytest.mark.parametrize("together", [True, False])
async def test_sec_o_02_an_invitation_is_used_once(profile: Profile, together: bool) -> None:  # noqa: FBT001
    await profile.commit(Commit(writes=(Put("invitation", "i", {"id": "i"}),)))
    uses = [
        Commit(exchanges=(exchange(f"x{i}"),), writes=(Consume("invitation", "i"),))
        for i in range(2)
    ]
    results: list[Commit | BaseException] = []
    for some in [uses] if together else [[use] for use in uses]:
        results += await asyncio.gather(*map(profile.commit, some), return_exceptions=True)
    assert [type(r) for r in results] == [Commit, RefusedError]
    assert (await profile.get("invitation", "i"))["used"] is True
    assert await profile.exchange("x1") is None


async def test_a_use_of_no_invitation_is_refused(profile: Profile) -> None:
    with pytest.raises(NotFoundError):
        await profile.commit(
            Commit(exchanges=(exchange(),), writes=(Consume("invitation", "none"),))
        )


async def test_an_exchange_that_is_gone_is_not_kept(profile: Profile) -> None:
    await profile.commit(
        Commit(exchanges=(exchange(state=STATELESS),), events=({"type": "toy"},))
    )
    assert await profile.exchange("x") is None
    assert len(await profile.events(0)) == 1


async def test_records_are_written_changed_and_removed(profile: Profile) -> None:
    for writes, wanted in (
        ((Put("note", "n", {"a": 1}, {"tag": "t"}),), {"a": 1}),
        ((Put("note", "n", {"a": 2}, {"tag": "t"}),), {"a": 2}),
        ((Delete("note", "n"),), None),
        ((Delete("note", "n"),), None),
    ):
        await profile.commit(Commit(writes=tuple(writes)))
        assert await profile.fetch("note", "n") == wanted
        found = await profile.find("note", {"tag": "t"})
        assert found == ([("n", wanted)] if wanted else [])
    with pytest.raises(NotFoundError):
        await profile.get("note", "n")


async def test_a_key_comes_with_its_commit(profile: Profile) -> None:
    key = NewKey.generate({"connection": "c"})
    await profile.commit(Commit(writes=(PutKey(key.verkey, key.key, key.metadata),)))
    stored = await profile.key(key.verkey)
    assert stored is not None
    assert stored[1] == {"connection": "c"}
    assert stored[0].get_public_bytes() == key.key.get_public_bytes()
    assert await profile.key("unknown") is None


async def test_tenants_do_not_see_each_other(store: Store) -> None:
    """SEC-W: the same names in two profiles are two things."""
    one, two = await store.profile("one"), await store.profile("two")
    await asyncio.gather(
        one.commit(Commit(exchanges=(exchange(),), writes=(Put("note", "n", {"of": 1}),))),
        two.commit(Commit(exchanges=(exchange("y"),), writes=(Put("note", "n", {"of": 2}),))),
    )
    assert await two.exchange("x") is None
    assert await one.get("note", "n") == {"of": 1}
    assert await two.get("note", "n") == {"of": 2}
    assert [len(await p.events(0)) for p in (one, two)] == [0, 0]


def test_a_stored_message_keeps_its_form() -> None:
    stored = {
        "name": "x.1",
        "lane": "c",
        "thid": "t",
        "body": {"@id": "m"},
        "exchange": "x",
        "connection": None,
        "target": {"endpoint": "http://x", "recipients": ["r"], "routing": [], "sender": "s"},
        "by": "",
        "number": 3,
        "turn": 2,
    }
    out = read_outgoing(stored)
    assert (out.line, out.target) == (
        "c",
        Target(endpoint="http://x", recipients=("r",), sender="s"),
    )
    assert json.loads(json.dumps(write_outgoing(out))) == stored


OUT = Outgoing("x.1", "line", "t", {"@id": "m"}, connection="c", exchange="x")
LOOSE = Outgoing("loose", "line", "t", {"@id": "n"}, connection="c")


async def left(path: Path) -> list[str]:
    """Return the names of the messages that the next process finds."""
    async with opened(path) as store:
        return [row.name for row in (await store.profile("main")).left_to_send]


async def test_what_is_delivered_is_told_by_the_log_and_costs_no_write(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    async with opened(path) as store:
        profile = await store.profile("main")
        await profile.commit(Commit(exchanges=(exchange(),), outbox=(OUT, LOOSE)))
        before = replace(store.counts)
        profile.delivered(["x.1", "loose"])
        assert store.counts == before
        await profile.commit(Commit(mark=True))
        assert store.counts.rows == before.rows + 1
    assert await left(path) == []


async def test_an_idle_store_tells_once_and_writes_nothing_more(profile: Profile) -> None:
    counts = profile.counts
    await profile.commit(Commit(exchanges=(exchange(),), outbox=(OUT,)))
    before = counts.transactions
    await profile.write_delivered()
    assert counts.transactions == before  # nothing is delivered
    profile.delivered(["x.1"])
    for _ in range(3):
        await profile.write_delivered()
    assert counts.transactions == before + 1


async def test_a_crash_before_it_is_told_sends_once_more(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    async with opened(path) as store:
        profile = await store.profile("main")
        await profile.commit(Commit(exchanges=(exchange(),), outbox=(OUT, LOOSE)))
        profile.delivered(["x.1", "loose"])
    assert await left(path) == ["x.1", "loose"]


async def test_the_next_decision_drops_what_is_delivered_and_keeps_the_rest(
    profile: Profile,
) -> None:
    other = replace(OUT, name="x.2")
    first = await profile.commit(Commit(exchanges=(exchange(),), outbox=(OUT, other)))
    profile.delivered(["x.1"])
    second = await profile.commit(Commit(exchanges=first.exchanges))
    assert [out["name"] for out in second.exchange("x").out] == ["x.2"]
    profile.delivered(["x.2"])
    third = await profile.commit(Commit(exchanges=second.exchanges))
    assert third.exchange("x").out == ()


async def test_what_waits_long_is_parked_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "agent.db"
    async with opened(path) as store:
        profile = await store.profile("main")
        await profile.commit(Commit(exchanges=(exchange(),), outbox=(OUT,)))
        await profile.commit(Commit(exchanges=(exchange("y"),), outbox=(LOOSE,)))
        profile.delivered(["loose"])
        await profile.commit(Commit(parked=tuple(profile.deliveries.fresh), mark=True))
        await profile.commit(Commit(mark=True))
    assert await left(path) == ["x.1"]
    async with opened(path) as store:
        profile = await store.profile("main")
        profile.delivered(["x.1"])
        await profile.commit(Commit())
        assert await profile.find("outbox") == []
    assert await left(path) == []


async def test_what_is_delivered_while_it_is_parked_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    async with opened(path) as store:
        profile = await store.profile("main")
        await profile.commit(Commit(outbox=(LOOSE,)))
        parking = asyncio.create_task(profile.commit(Commit(parked=(LOOSE,), mark=True)))
        await asyncio.sleep(0)
        profile.delivered(["loose"])
        await parking
        await profile.commit(Commit(mark=True))
    assert await left(path) == []


async def test_removals_are_tried_again_beside_a_replay(profile: Profile) -> None:
    """A group that fails because of one decision must not remember them for ever."""
    await profile.commit(Commit(outbox=(LOOSE,), writes=(Put("note", "taken", {}),)))
    await profile.commit(Commit(parked=(LOOSE,)))
    profile.delivered(["loose"])
    replay = Commit(writes=(Put("note", "taken", {}, new=True),))
    with pytest.raises(ConflictError):
        await profile.commit(replay)
    assert [name for name, _ in await profile.find("outbox")] == ["loose"]
    await profile.commit(Commit())
    assert await profile.find("outbox") == []


async def test_what_was_not_sent_comes_back_in_the_order_of_commits(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    rows = [Outgoing(f"o{i}", "line", "t", {"i": i}, connection="c") for i in range(40)]
    for half in (rows[:20], rows[20:]):
        async with opened(path) as store:
            profile = await store.profile("main")
            await asyncio.gather(*(profile.commit(Commit(outbox=(row,))) for row in half))
    async with opened(path) as store:
        found = (await store.profile("main")).left_to_send
    assert [row.body["i"] for row in found] == list(range(40))


@pytest.mark.parametrize("kept", [False, True])
async def test_what_was_parked_comes_back_in_the_order_of_commits(
    tmp_path: Path,
    kept: bool,  # noqa: FBT001
) -> None:
    """Rows that are written at once lie in any order: each says where it stands."""
    path, many = tmp_path / "agent.db", 60
    commits = [
        Commit(
            exchanges=(exchange(f"x{n}"),) if kept else (),
            outbox=(
                Outgoing(
                    f"x{n}.1",
                    "lane",
                    "t",
                    {"n": n, "long": "-" * (2000 if n % 3 else 1)},
                    exchange=f"x{n}" if kept else None,
                    connection="c",
                ),
            ),
        )
        for n in range(many)
    ]
    async with opened(path) as store:
        profile = await store.profile("main")
        await asyncio.gather(*map(profile.commit, commits))
        assert [row.body["n"] for row in profile.deliveries.fresh] == list(range(many))
        await profile.write_delivered(profile.deliveries.slow(-1, many * 2 // 3))
    async with opened(path) as store:
        found = (await store.profile("main")).left_to_send
    assert [row.body["n"] for row in found] == list(range(many))


async def test_a_message_without_a_way_is_held_until_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    held = replace(OUT, connection=None)
    async with opened(path) as store:
        profile = await store.profile("main")
        first = await profile.commit(Commit(exchanges=(exchange(),), outbox=(held,)))
        second = await profile.commit(Commit(exchanges=first.exchanges))
        assert [out["name"] for out in second.exchange("x").out] == ["x.1"]
    assert await left(path) == []
    async with opened(path) as store:
        profile = await store.profile("main")
        x = await profile.exchange("x")
        assert x is not None
        bound = await profile.commit(Commit(exchanges=(replace(x, connection="c"),)))
        assert bound.exchange("x").out == ()


async def test_event_numbers_grow_with_commits_and_survive(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    for start in (0, 10):
        async with opened(path) as store:
            profile = await store.profile("main")
            for i in range(start, start + 10):
                await profile.commit(Commit(events=({"i": i}, {"i": i})))
    async with opened(path) as store:
        profile = await store.profile("main")
        events = await profile.events(0)
        numbers = [e["n"] for e in events]
        assert [e["i"] for e in events] == [i for i in range(20) for _ in range(2)]
        assert numbers == sorted(set(numbers))
        assert await profile.events(numbers[14]) == events[15:]
        assert await profile.events(numbers[-1]) == []
        reader = asyncio.create_task(profile.wait_event(profile.last_event))
        await profile.commit(Commit(events=({"i": 99},)))
        await reader
        assert [e["i"] for e in await profile.events(numbers[-1])] == [99]


async def test_a_second_process_is_told_who_holds_the_store(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    async with opened(path):
        with pytest.raises(UnavailableError, match=r"is held by process \d+"):
            await Store.open(Sqlite(path), KEY, MODELS)
    async with opened(path):
        pass


async def test_a_wrong_key_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    async with opened(path):
        pass
    with pytest.raises(UnavailableError, match="key does not open"):
        await Store.open(Sqlite(path), base58.b58encode(b"q" * 32).decode(), MODELS)
    async with opened(path):
        pass


async def test_a_failing_disk_fails_the_decision_and_the_next_one_works(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Session.commit

    async def full(_: Session) -> None:
        raise AskarError(AskarErrorCode.BACKEND, "database or disk is full")

    monkeypatch.setattr(Session, "commit", full)
    with pytest.raises(UnavailableError, match="cannot write"):
        await profile.commit(Commit(exchanges=(exchange(),), events=({"type": "toy"},)))
    monkeypatch.setattr(Session, "commit", real)
    assert await profile.exchange("x") is None
    assert await profile.events(0) == []
    await profile.commit(Commit(exchanges=(exchange(),)))
    assert await profile.exchange("x") is not None


async def test_a_cancelled_caller_leaves_a_whole_decision(profile: Profile) -> None:
    """Whoever waits may go: the writer finishes, all of it or nothing."""
    writes: tuple[Write, ...] = (Put("note", "n", {"a": 1}),)
    caller = asyncio.create_task(profile.commit(Commit(exchanges=(exchange(),), writes=writes)))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await profile.commit(Commit(events=({"type": "after"},)))
    there = await profile.exchange("x") is not None
    assert (await profile.fetch("note", "n") is not None) == there


async def test_waiting_decisions_learn_that_the_store_closes(tmp_path: Path) -> None:
    store = await Store.open(Sqlite(tmp_path / "agent.db"), KEY, MODELS)
    profile = await store.profile("main")
    begun = asyncio.create_task(profile.commit(Commit(exchanges=(exchange(),))))
    await asyncio.sleep(0)
    writer = asyncio.create_task(store.run())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(profile.commit(Commit(exchanges=(exchange("y"),))))
    await asyncio.sleep(0)
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    with pytest.raises(UnavailableError, match="closing"):
        await waiting
    await begun  # a transaction is never cut in two
    await store.close()


async def test_a_writer_that_is_cancelled_again_and_again_still_finishes(
    tmp_path: Path,
) -> None:
    store = await Store.open(Sqlite(tmp_path / "agent.db"), KEY, MODELS)
    profile = await store.profile("main")
    begun = asyncio.create_task(profile.commit(Commit(exchanges=(exchange(),))))
    await asyncio.sleep(0)
    writer = asyncio.create_task(store.run())
    while not writer.done():
        await asyncio.sleep(0)
        writer.cancel()
    assert writer.cancelled()
    assert (await begun).exchange("x").revision == 1
    assert await profile.exchange("x") is not None
    await store.close()


async def test_a_cancelled_reader_is_cancelled_and_nothing_else(profile: Profile) -> None:
    """Askar answers an error of its own to a session that is left half-way."""
    await profile.commit(Commit(exchanges=(exchange(),)))
    profile.forget_all()
    reads = (
        lambda: profile.exchange("x"),
        lambda: profile.find("exchange"),
        lambda: profile.reader.page("exchange", None, 0, 10),
        lambda: profile.key("none"),
    )
    for read in reads:
        for turns in range(6):
            reader = asyncio.create_task(read())
            for _ in range(turns):
                await asyncio.sleep(0)
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader
    assert await profile.exchange("x") is not None


async def test_what_is_stored_is_not_readable_on_disk(tmp_path: Path) -> None:
    """SEC-W: the file holds nothing in the clear."""
    path = tmp_path / "agent.db"
    secret = "the birthdate is 1990-01-01"
    async with opened(path) as store:
        profile = await store.profile("main")
        await profile.commit(
            Commit(exchanges=(exchange(data=Noted(text=secret)),), events=({"s": secret},))
        )
        assert secret in json.dumps((await profile.events(0))[0])
    assert secret.encode() not in _all_bytes(tmp_path)


def _all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())
