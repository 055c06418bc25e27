"""Dispatch: one way for every event, what is refused, what is early, what runs later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy_protocol import (
    TOY,
    Close,
    Knock,
    Likes,
    Open,
    SendKnock,
    SendOpen,
    Side,
    State,
    ToyAck,
    Whisper,
    opened,
)

from keep_agent.core.commit import MOST_MESSAGES
from keep_agent.core.dispatch import Context, Dispatcher
from keep_agent.core.machine import ABANDONED, Exchange, Expired, Peer, Then, Via, exchange_id
from keep_agent.core.message import Json, ProblemReport, Received
from keep_agent.core.scheduler import EARLY_S, Scheduler
from keep_agent.errors import (
    BadCommandError,
    BadEnvelopeError,
    ConflictError,
    LocalError,
    NotFoundError,
    NotNowError,
    PeerError,
    UnavailableError,
)
from keep_agent.identity.connections import Connection
from keep_agent.identity.identify import identify
from keep_agent.identity.introductions import bind
from keep_agent.store.lists import listed
from keep_agent.store.profile import Profile
from keep_agent.store.rows import DEAD, Commit, Waiting

BOB = "bobs key"
MALLORY = "mallorys key"


class Door:
    """One tenant with one connection (`c`, to Bob) and another (`m`, to Mallory)."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.store = profile._store
        self.port = Likes()
        self.auto: tuple[Then, ...] = ()
        self.room = True
        context = Context(
            profile=profile,
            protocols={TOY.name: TOY},
            ports={"door": self.port},
            identify=lambda received: identify(received, self.metadata, profile),
            bind=bind,
            auto=lambda x: self.auto if x.state == State.HEARD else (),
            has_room=lambda: self.room,
        )
        self.dispatcher = Dispatcher(context)
        self.scheduler = Scheduler(self.dispatcher)
        self.dispatcher.on_change = self.scheduler.follow

    async def metadata(self, verkey: str) -> Json | None:
        return {"connection": verkey.removeprefix("key of ")}

    async def get(self, body: Json, sender: str | None = BOB, connection: str = "c") -> None:
        await self.dispatcher.receive(Received(body, sender, f"key of {connection}"))

    async def sent(self) -> list[Json]:
        return [row.body for row in self.profile.deliveries.fresh]

    async def until(self, holds: Callable[[Exchange[Any]], bool]) -> Exchange[Any]:
        """Return the exchange as soon as something holds of it."""
        while not holds(x := await self.only()):
            seen = self.profile.last_event
            if not holds(await self.only()):
                await self.profile.wait_event(seen)
        return x

    async def emptied(self) -> None:
        """Wait until nothing waits in the inbox, and what emptied it is applied."""
        async with asyncio.timeout(10):
            while await self.profile.inbox():  # noqa: ASYNC110 - it sets no event
                await asyncio.sleep(0)
            async with self.profile.lock:  # the writer holds it until it has applied its commit
                pass

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        async with asyncio.timeout(10):
            while self.scheduler.busy:  # noqa: ASYNC110 - it sets no event
                await asyncio.sleep(0)

    async def only(self) -> Exchange[Any]:
        (x,) = await listed(self.profile, "~protocol", TOY.name, 1000)
        return x


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path / "agent.db") as store:
        profile = await store.profile("main")
        for name, key in (("c", BOB), ("m", MALLORY)):
            connection = Connection(
                id=name, state="completed", role="x", my_key="mine", their_key=key,
                endpoint="http://peer", recipients=(key,), created=0,
            )  # fmt: skip
            await profile.commit(Commit(writes=(connection.put(),)))
        door = Door(profile)
        running = asyncio.create_task(door.scheduler.run())
        while not door.scheduler._ahead_until:  # noqa: ASYNC110 - it reads the inbox before
            await asyncio.sleep(0)
        yield door
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


KNOCK = Knock(id="k1", word="please").wire()


async def test_a_message_makes_an_exchange_and_an_event(door: Door) -> None:
    await door.get(KNOCK)
    x = await door.only()
    assert (x.state, x.role, x.thid, x.connection) == (State.HEARD, Side.HOST, "k1", "c")
    (event,) = await door.profile.events(0)
    assert (event["type"], event["state"], event["id"]) == ("exchange", "heard", x.id)
    assert await door.profile.fetch("guest", "please") == {}


async def test_a_conversation_goes_to_its_end(door: Door) -> None:
    await door.get(KNOCK)
    x = await door.dispatcher.command((await door.only()).id, SendOpen())
    assert x.state == State.OPENED
    (open_,) = await door.sent()
    assert open_["~thread"] == {"thid": "k1"}
    await door.get(ToyAck.model_validate({"@id": "a1", "~thread": {"thid": "k1"}}).wire())
    assert (await door.only()).state == State.DONE


async def test_our_command_starts_a_thread(door: Door) -> None:
    x = await door.dispatcher.start(TOY.name, SendKnock(), "c")
    (knock,) = await door.sent()
    assert (knock["@id"], knock.get("~thread")) == (x.thid, None)
    await door.get(Open.model_validate({"~thread": {"thid": x.thid}}).wire())
    assert (await door.only()).state == State.DONE


async def test_sec_e_03_a_replayed_message_has_no_effect(door: Door) -> None:
    for _ in range(3):
        await door.get(KNOCK)
    assert door.port.asked == ["please"]
    assert len(await door.profile.events(0)) == 1


async def test_sec_e_03_a_replay_after_a_restart_has_no_effect(door: Door) -> None:
    await door.get(KNOCK)
    door.profile.forget_all()
    await door.get(KNOCK)
    assert len(await door.profile.events(0)) == 1


async def test_sec_e_03_a_replayed_question_is_answered_once(door: Door) -> None:
    whisper = Whisper(id="w").wire()
    for _ in range(3):
        await door.get(whisper)
    assert len(await door.sent()) == 1


async def test_sec_e_03_a_replay_costs_no_transaction(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or whoever recorded a ping could keep the disk busy with it."""
    await door.get(KNOCK)
    whisper = Whisper(id="w").wire()
    await door.get(whisper)

    async def written(_: Commit) -> Commit:
        raise AssertionError

    monkeypatch.setattr(door.profile, "commit", written)
    await door.get(whisper)
    await door.get(KNOCK)


def knock(name: str, word: str) -> Json:
    body = {"@id": name, "~thread": {"thid": "k1"}, "word": word}
    return Knock.model_validate(body).wire()


async def test_another_content_under_a_known_id_is_refused(door: Door) -> None:
    await door.get(KNOCK)
    await door.get(knock("k2", "and"))
    await door.get(knock("k2", "thanks"))
    assert door.port.asked == ["please", "and"]
    (report,) = await door.sent()
    assert report["@type"].endswith("toy/1.2/problem-report")
    assert "give each message its own" in report["description"]["en"]


async def test_the_id_of_the_thread_may_come_again_with_another_content(door: Door) -> None:
    """As Credo sends its proposals; each of them counts once, also after a restart."""
    await door.get(KNOCK)
    for word in ("and", "thanks"):
        await door.get(knock("k1", word))
        await door.get(knock("k1", word))
    assert door.port.asked == ["please", "and", "thanks"]
    door.profile.forget_all()
    for body in (KNOCK, knock("k1", "and"), knock("k1", "thanks")):
        await door.get(body)
    assert (await door.only()).revision == 3
    assert await door.sent() == []


async def test_the_id_of_the_thread_may_come_again_only_where_the_table_expects_it(
    door: Door,
) -> None:
    await door.get(KNOCK)
    await door.dispatcher.command((await door.only()).id, SendOpen())
    await door.get(knock("k1", "again"))
    assert (await door.only()).state == State.OPENED
    assert (await door.sent())[-1]["@type"].endswith("problem-report")
    assert not door.dispatcher.early


async def test_a_thread_takes_a_bounded_number_of_messages_under_its_id(door: Door) -> None:
    await door.get(KNOCK)
    for i in range(MOST_MESSAGES + 5):
        await door.get(knock("k1", f"word {i}"))
    seen = (await door.only()).seen["k1"].split()
    assert len(set(seen)) == len(seen) == MOST_MESSAGES


async def test_sec_e_01_a_key_that_is_not_the_peers_is_refused(door: Door) -> None:
    with pytest.raises(BadEnvelopeError):
        await door.get(KNOCK, sender=MALLORY)
    assert await listed(door.profile, "~protocol", TOY.name, 1000) == []


async def test_sec_e_02_an_anonymous_message_is_refused(door: Door) -> None:
    with pytest.raises(BadEnvelopeError):
        await door.get(KNOCK, sender=None)
    assert await listed(door.profile, "~protocol", TOY.name, 1000) == []


async def test_sec_e_09_a_thread_of_somebody_else_is_not_reached(door: Door) -> None:
    x = await door.dispatcher.start(TOY.name, SendKnock(), "c")
    stolen = Open.model_validate({"~thread": {"thid": x.thid}}).wire()
    await door.get(stolen, MALLORY, "m")
    assert (await door.only()).state == State.KNOCKED


@pytest.mark.parametrize("kind", ["toy/1.2", "notification/1.0", "report-problem/1.0"])
async def test_sec_e_10_a_problem_report_of_a_third_party_ends_nothing(
    door: Door, kind: str
) -> None:
    x = await door.dispatcher.start(TOY.name, SendKnock(), "c")
    report: Json = {
        "@type": f"https://didcomm.org/{kind}/problem-report",
        "@id": "p1",
        "~thread": {"thid": x.thid},
        "description": {"code": "stop"},
    }
    with pytest.raises(PeerError):
        await door.get(report, MALLORY, "m")
    assert (await door.only()).state == State.KNOCKED
    await door.get({**report, "@id": "p2"})
    assert (await door.only()).state == ABANDONED


async def test_sec_e_09_an_exchange_without_a_connection_belongs_to_its_invitation() -> None:
    x = Exchange(
        id="x", protocol=TOY.name, minor=0, role=Side.GUEST, thid="t", peer="i", data=TOY.data()
    )
    holder, other = (
        Peer(ids=ids, connection="c", known=True, via=Via(sender=BOB))
        for ids in (("c", "i"), ("c",))
    )
    assert holder.owns(x)
    assert not other.owns(x)
    assert other.owns(replace(x, connection="c"))
    assert not holder.owns(replace(x, connection="m"))
    assert not holder.owns(replace(x, their_key=MALLORY))


async def test_an_ack_of_another_family_finds_its_thread(door: Door) -> None:
    await door.get(KNOCK)
    await door.dispatcher.command((await door.only()).id, SendOpen())
    ack = {
        "@type": "https://didcomm.org/notification/1.0/ack",
        "@id": "a",
        "~thread": {"thid": "k1"},
    }
    await door.get(ack)
    assert (await door.only()).state == State.DONE


async def test_a_reply_to_the_id_of_a_later_message_finds_its_thread(door: Door) -> None:
    await door.get(KNOCK)
    await door.dispatcher.command((await door.only()).id, SendOpen())
    (open_,) = await door.sent()
    await door.get(ToyAck.model_validate({"~thread": {"thid": open_["@id"]}}).wire())
    assert (await door.only()).state == State.DONE


async def test_the_older_minor_version_is_answered_in_kind(door: Door) -> None:
    body = {**KNOCK, "@type": "did:sov:BzCbsNYhMrjHiqZDTUASHg;spec/toy/1.0/knock"}
    await door.get(body)
    await door.dispatcher.command((await door.only()).id, SendOpen())
    assert (await door.sent())[0]["@type"] == "https://didcomm.org/toy/1.0/open"


async def test_a_newer_minor_version_is_answered_in_ours(door: Door) -> None:
    await door.get({**KNOCK, "@type": "https://didcomm.org/toy/1.9/knock", "new": {"a": 1}})
    await door.dispatcher.command((await door.only()).id, SendOpen())
    assert (await door.sent())[0]["@type"] == "https://didcomm.org/toy/1.2/open"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"@type": "https://didcomm.org/toy/2.0/knock"}, "e.p.msg.unsupported"),
        ({"@type": "https://didcomm.org/toy/1.0/kick"}, "e.p.msg.unsupported"),
        ({"@type": "https://didcomm.org/other/1.0/knock"}, "e.p.msg.unsupported"),
        ({"word": 7}, "e.p.msg.bad"),
        ({"word": None}, "e.p.msg.bad"),
        ({"word": "now!"}, "e.p.rude"),
    ],
)
async def test_what_breaks_a_rule_is_reported_and_changes_nothing(
    door: Door, change: Json, code: str
) -> None:
    await door.get({**KNOCK, **change})
    (report,) = await door.sent()
    assert report["description"]["code"] == code
    assert report["~thread"] == {"thid": "k1"}
    assert await listed(door.profile, "~protocol", TOY.name, 1000) == []


@pytest.mark.parametrize(
    "change", [{"@type": 7}, {"@type": "nonsense"}, {"@id": None}, {"@id": ["x"]}]
)
async def test_what_cannot_be_answered_is_an_error_to_the_sender(
    door: Door, change: Json
) -> None:
    with pytest.raises(PeerError):
        await door.get({**KNOCK, **change})
    assert await door.sent() == []


async def test_sec_e_15_junk_is_not_amplified(door: Door) -> None:
    refused = 0
    for i in range(50):
        try:
            await door.get({"@type": "https://didcomm.org/junk/1.0/x", "@id": f"j{i}"})
        except PeerError:
            refused += 1
    assert len(await door.sent()) <= 12
    assert refused >= 38


async def test_a_problem_report_is_never_answered(door: Door) -> None:
    report = ProblemReport.of("x").wire("https://didcomm.org/toy/1.2/problem-report")
    with pytest.raises(PeerError):
        await door.get(report)
    assert await door.sent() == []


async def test_a_refusal_in_the_middle_ends_the_exchange_and_tells_the_peer(door: Door) -> None:
    await door.get(KNOCK)
    x = await door.dispatcher.command((await door.only()).id, SendOpen(fail="peer"))
    assert (x.state, x.error) == (ABANDONED, "not you")
    (report,) = await door.sent()
    assert report["description"]["code"] == "e.p.not-you"


async def test_our_own_refusal_of_a_message_is_told_to_its_sender(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not left to him as something to send again and again."""

    async def broken(_word: str) -> bool:
        raise NotFoundError("our own record is gone: shelf 4711")

    monkeypatch.setattr(door.port, "likes", broken)
    await door.get(KNOCK)
    (report,) = await door.sent()
    assert "shelf" not in str(report)
    assert await listed(door.profile, "~protocol", TOY.name, 1000) == []


async def test_commands_that_cannot_be_say_why(door: Door) -> None:
    await door.get(KNOCK)
    x = await door.only()
    with pytest.raises(NotFoundError):
        await door.dispatcher.command("nobody", SendOpen())
    with pytest.raises(NotNowError, match=r"host is in heard.*report-problem, send-open"):
        await door.dispatcher.command(x.id, SendKnock())
    with pytest.raises(LocalError, match="stuck"):
        await door.dispatcher.command(x.id, SendOpen(fail="local"))
    with pytest.raises(BadCommandError):
        await door.dispatcher.start(TOY.name, SendOpen(), "c")
    with pytest.raises(NotFoundError):
        await door.dispatcher.start(TOY.name, SendKnock(), "nobody")
    assert await door.only() == x


async def test_a_command_that_comes_early_waits(door: Door) -> None:
    await door.get(KNOCK)
    x = await door.only()
    early = asyncio.create_task(door.dispatcher.command(x.id, Close(), wait_s=5))
    await asyncio.sleep(0.02)
    assert not early.done()
    await door.dispatcher.command(x.id, SendOpen())
    assert (await early).state == State.DONE


async def test_a_command_that_can_never_come_does_not_wait(door: Door) -> None:
    await door.get(KNOCK)
    x = await door.dispatcher.command((await door.only()).id, SendOpen())
    with pytest.raises(NotNowError):
        await door.dispatcher.command(x.id, SendOpen(), wait_s=600)
    with pytest.raises(NotNowError):
        await door.dispatcher.command(x.id, SendKnock(), wait_s=600)


async def test_a_command_for_a_thread_to_come_waits(door: Door) -> None:
    name = exchange_id(TOY.name, Side.HOST, "k1", "c")
    waiting = asyncio.create_task(door.dispatcher.command(name, SendOpen(), wait_s=5))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await door.get(KNOCK)
    assert (await waiting).state == State.OPENED


async def test_a_policy_runs_after_the_commit(door: Door) -> None:
    door.auto = (Then(SendOpen()),)
    await door.get(KNOCK)
    x = await door.until(lambda x: x.state == State.OPENED)
    assert x.then == ()


async def test_a_policy_runs_again_for_a_second_message_in_one_state(door: Door) -> None:
    door.auto = (Then(SendOpen(fail="local")),)
    await door.get(KNOCK)
    await door.until(lambda x: not x.then and x.error is not None)
    door.auto = (Then(SendOpen()),)
    await door.get(Knock.model_validate({"~thread": {"thid": "k1"}, "word": "again"}).wire())
    await door.until(lambda x: x.state == State.OPENED)


@pytest.mark.parametrize(
    ("fail", "state"), [("local", State.HEARD), ("peer", ABANDONED), ("bug", ABANDONED)]
)
async def test_a_policy_that_fails_says_so(door: Door, fail: str, state: str) -> None:
    door.auto = (Then(SendOpen(fail=fail)),)
    await door.get(KNOCK)
    x = await door.until(lambda x: not x.then and x.error is not None)
    assert x.state == state


async def test_a_message_and_what_a_policy_runs_on_it_are_one_commit(door: Door) -> None:
    door.auto = (Then(SendOpen()),)
    before = replace(door.store.counts)
    await door.get(KNOCK)
    x = await door.only()
    assert (x.state, x.revision, x.then) == (State.OPENED, 1, ())
    assert [e["state"] for e in await door.profile.events(0)] == ["heard", "opened"]
    assert len(await door.sent()) == 1
    assert door.store.counts.transactions == before.transactions + 1
    assert door.store.counts.rows == before.rows + 3  # exchange, guest, log


async def test_what_starts_another_exchange_is_in_the_same_commit(door: Door) -> None:
    door.auto = (Then(SendKnock(), protocol=TOY.name, connection="c"),)
    before = door.store.counts.transactions
    await door.get(KNOCK)
    states = {x.state for x in await listed(door.profile, "~protocol", TOY.name, 9)}
    assert states == {State.HEARD, State.KNOCKED}
    assert door.store.counts.transactions == before + 1


@pytest.mark.parametrize("fail", ["local", "bug"])
async def test_a_command_that_fails_in_the_same_commit_does_not_take_the_message_along(
    door: Door, fail: str
) -> None:
    door.auto = (Then(SendOpen(fail=fail)),)
    await door.get(KNOCK)
    heard, *_ = await door.profile.events(0)
    assert heard["state"] == State.HEARD
    x = await door.until(lambda x: not x.then and x.error is not None)
    assert x.state == (State.HEARD if fail == "local" else ABANDONED)


async def test_a_command_that_takes_long_is_not_waited_for(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keep_agent.core.dispatch.HELD_S", 0.01)
    door.auto = (Then(SendOpen(fail="slow")),)
    await door.get(KNOCK)
    assert (await door.profile.events(0))[0]["state"] == State.HEARD
    x = await door.until(lambda x: x.state == State.OPENED)
    assert x.revision == 2


async def test_a_commit_that_loses_a_race_is_made_again_without_the_commands(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.auto = (Then(SendOpen()),)
    real, tried = door.profile.commit, list[Commit]()

    async def lose_first(commit: Commit) -> Commit:
        tried.append(commit)
        if len(tried) == 1:
            raise ConflictError("lost")
        return await real(commit)

    monkeypatch.setattr(door.profile, "commit", lose_first)
    await door.get(KNOCK)
    assert [len(commit.events) for commit in tried[:2]] == [2, 1]
    await door.until(lambda x: x.state == State.OPENED)


async def test_who_starts_what_another_process_has_just_started_gets_that(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = door.profile.commit

    async def too_late(commit: Commit) -> Commit:
        await real(commit)
        monkeypatch.undo()
        raise ConflictError("the other process was faster")

    monkeypatch.setattr(door.profile, "commit", too_late)
    x = await door.dispatcher.start(TOY.name, SendKnock(), "c", "thread")
    assert x == await door.only()
    assert x.revision == 1


async def test_what_was_pending_at_the_end_runs_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    async with opened(path) as store:
        door = Door(await store.profile("main"))
        door.auto, door.room = (Then(SendOpen()),), False
        await door.profile.commit(Commit(writes=(_bob().put(),)))
        await door.get(KNOCK)  # nothing runs the scheduler here
        assert (await door.only()).then
    async with opened(path) as store:
        door = Door(await store.profile("main"))
        running = asyncio.create_task(door.scheduler.run())
        await door.until(lambda x: x.state == State.OPENED)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert len(await door.sent()) == 1


def _bob() -> Connection:
    return Connection(
        id="c", state="completed", role="x", my_key="mine", their_key=BOB,
        endpoint="http://peer", recipients=(BOB,), created=0,
    )  # fmt: skip


async def test_an_early_message_waits_for_its_turn(door: Door) -> None:
    """The ack overtakes what it acknowledges."""
    await door.get(KNOCK)
    ack = ToyAck.model_validate({"@id": "a1", "~thread": {"thid": "k1"}}).wire()
    await door.get(ack)
    assert len(await door.profile.inbox()) == 1
    await door.dispatcher.command((await door.only()).id, SendOpen())
    await door.until(lambda x: x.state == State.DONE)
    assert await door.profile.inbox() == []


async def test_an_early_message_whose_turn_never_comes_is_reported(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    await door.get(KNOCK)
    await door.get(ToyAck.model_validate({"@id": "a1", "~thread": {"thid": "k1"}}).wire())
    late = time.time() + EARLY_S + 1
    monkeypatch.setattr("keep_agent.core.scheduler.time.time", lambda: late)
    await door.scheduler.tick()
    await door.emptied()
    assert (await door.only()).state == State.HEARD
    assert await door.sent() == []  # nobody answers an ack


async def test_early_messages_are_bounded(door: Door) -> None:
    await door.get(KNOCK)
    kept = 0
    for i in range(40):
        try:
            await door.get(
                ToyAck.model_validate({"@id": f"a{i}", "~thread": {"thid": "k1"}}).wire()
            )
            kept += 1
        except UnavailableError:
            continue
    assert kept == 16
    assert len(await door.profile.inbox()) == 16


async def test_a_long_early_message_is_not_kept(door: Door) -> None:
    """Its sender keeps it, and sends it again."""
    ack = ToyAck.model_validate({"@id": "a1", "~thread": {"thid": "k1"}}).wire()
    with pytest.raises(UnavailableError):
        await door.get({**ack, "comment": "x" * 70_000})
    assert await door.profile.inbox() == []


async def test_an_early_message_that_was_sent_again_in_turn_leaves_the_inbox(
    tmp_path: Path,
) -> None:
    ack = ToyAck.model_validate({"@id": "a1", "~thread": {"thid": "k1"}}).wire()
    async with opened(tmp_path / "agent.db") as store:
        door = Door(await store.profile("main"))
        await door.profile.commit(Commit(writes=(_bob().put(),)))
        await door.get(KNOCK)
        await door.get(ack)
        await door.dispatcher.command((await door.only()).id, SendOpen())
        await door.get(ack)
        assert (await door.only()).state == State.DONE
        assert len(await door.profile.inbox()) == 1
        running = asyncio.create_task(door.scheduler.run())
        await door.emptied()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_same_early_words_of_two_peers_are_both_kept(door: Door) -> None:
    ack = ToyAck.model_validate({"@id": "a1", "~thread": {"thid": "k1"}}).wire()
    await door.get(ack)
    await door.get(ack, MALLORY, "m")
    await door.get(ack)
    assert {row.sender for row in await door.profile.inbox()} == {BOB, MALLORY}


async def test_an_early_message_is_tried_at_once_if_something_came_meanwhile(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it waits for is committed between the decision that it is early and its own commit."""
    delivered: list[str] = []
    door.dispatcher.on_delivery = lambda waiting: delivered.append(waiting.name)
    ack = ToyAck.model_validate({"@id": "a1", "~thread": {"thid": "k1"}}).wire()
    real = door.profile.commit

    async def slow(commit: Commit) -> Commit:
        if commit.waiting:
            monkeypatch.undo()
            await door.get(KNOCK)
        return await real(commit)

    monkeypatch.setattr(door.profile, "commit", slow)
    await door.get(ack)
    assert delivered == list(door.dispatcher.early)


async def test_waiting_for_what_never_comes_leaves_nothing_behind(door: Door) -> None:
    for i in range(50):
        with pytest.raises(NotFoundError):
            await door.dispatcher.command(f"nobody {i}", SendOpen(), wait_s=0.001)
    assert len(door.dispatcher._changes) == 0


async def test_a_store_that_fails_for_a_while_ends_nothing(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inbox, deadlines and pending commands are taken up again when it works."""
    monkeypatch.setattr("keep_agent.core.scheduler.FIRST_PAUSE_S", 0.01)
    await door.get(KNOCK)
    x = await door.only()
    failures = 0

    async def broken(*_: object, **__: object) -> None:
        nonlocal failures
        failures += 1
        raise UnavailableError("no disk")

    with monkeypatch.context() as trouble:
        trouble.setattr(door.profile, "commit", broken)
        trouble.setattr(door.profile, "exchange", broken)
        trouble.setattr(
            "keep_agent.core.scheduler.time.time", lambda: x.updated + 7 * 24 * 3600.0
        )
        unreadable = {"@type": "nonsense", "@id": "n"}
        door.scheduler.deliver(Waiting("w", unreadable, BOB, "key of c", 0.0))
        door.scheduler._start(x.id, {"command": "send-open", "args": {}, "protocol": None})
        await door.scheduler.tick()
        while failures < 6:  # noqa: ASYNC110 - a fake sets no event
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert door.scheduler._tasks is not None
    await door.get({**KNOCK, "@id": "k2"})


async def test_a_bug_in_what_follows_is_noted_and_not_tried_for_ever(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def bug(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise RuntimeError("a bug")

    monkeypatch.setattr(door.dispatcher, "start", bug)
    door.room = False
    door.auto = (Then(SendKnock(), protocol=TOY.name, connection="c"),)
    await door.get(KNOCK)
    x = await door.until(lambda x: not x.then)
    assert (x.state, tries) == (ABANDONED, 1)


async def test_sec_r_04_a_message_that_always_fails_is_put_aside(
    door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A restart is no second attack: it is gone from the inbox, and kept as a dead letter."""

    async def bug(_word: str) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr("keep_agent.core.scheduler.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(door.port, "likes", bug)
    waiting = Waiting("w", KNOCK, BOB, "key of c", time.time())
    await door.profile.commit(Commit(waiting=(waiting,)))
    with caplog.at_level("CRITICAL"):
        for _ in range(3):  # when something of its peer is committed, all of its inbox is tried
            door.scheduler.deliver(waiting)
        await door.idle()
        [(name, letter)] = await door.profile.find(DEAD)
        assert (name, letter["message"]) == ("w", KNOCK)
        await door.profile.commit(Commit(waiting=(waiting,)))  # it is sent again
        door.scheduler.deliver(waiting)
        await door.idle()
    assert await door.profile.inbox() == []
    assert await door.profile.find(DEAD) == [(name, letter)]
    assert [e["type"] for e in await door.profile.events(0)] == [DEAD]


async def test_a_pending_command_that_is_asked_for_again_runs_again(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state that a command led to wants the same command: it is not taken for the first."""
    runs = 0
    real = door.scheduler._once

    async def twice(name: str, pending: Json) -> None:
        nonlocal runs
        runs += 1
        if runs > 1:
            await real(name, pending)

    monkeypatch.setattr(door.scheduler, "_once", twice)
    door.room = False
    door.auto = (Then(SendOpen()),)
    await door.get(KNOCK)
    await door.until(lambda x: x.state == State.OPENED)
    assert runs == 2


async def test_deadlines_that_no_longer_hold_are_thrown_out(door: Door) -> None:
    x = await door.dispatcher.start(TOY.name, SendKnock(), "c")
    for revision in range(5000):
        door.scheduler.follow(replace(x, revision=revision))
    assert len(door.scheduler._deadlines) < 1100
    door.scheduler.follow(replace(x, state=State.DONE, due=None))
    assert x.id not in door.scheduler._awaiting


async def test_a_deadline_that_another_process_set_is_kept_once_that_one_is_gone(
    door: Door,
) -> None:
    ours = Scheduler(door.dispatcher)
    await ours.tick()
    x = await door.dispatcher.start(TOY.name, SendKnock(), "c")  # another scheduler follows it
    await ours.tick()
    assert x.id not in ours._awaiting
    ours.look_again()
    await ours.tick()
    assert x.id in ours._awaiting


async def test_an_exchange_expires(door: Door) -> None:
    x = await door.dispatcher.start(TOY.name, SendKnock(), "c")
    x = await door.dispatcher.command(x.id, Expired())
    assert x.state == ABANDONED
    assert (await door.sent())[-1]["description"]["code"] == "expired"


async def test_events_of_one_thread_are_decided_one_after_the_other(door: Door) -> None:
    bodies = [
        Knock.model_validate({"@id": f"k{i}", "~thread": {"thid": "k0"}, "word": "a"}).wire()
        for i in range(8)
    ]
    await asyncio.gather(*(door.get(body) for body in bodies))
    assert door.port.asked == ["a"] * 8
    x = await door.only()
    assert (x.revision, len(x.seen)) == (8, 8)
