"""What becomes of messages whose peer is slow, dead, hostile or unclear, or that we cannot send."""

from __future__ import annotations

import asyncio
import re
import time

import pytest
from agent.didcomm.conftest import AWAY, BODY, TAKEN, UNCLEAR, Post
from toy_protocol import TOY, Memory, Side, State

from keep_agent.core.machine import Exchange
from keep_agent.core.message import Json
from keep_agent.didcomm import lanes
from keep_agent.didcomm import outbox as module
from keep_agent.errors import UnavailableError
from keep_agent.store.rows import DEAD, Commit
from keep_agent.transport.egress import (
    Delivered,
    Delivery,
    Refused,
    Retry,
)


async def test_what_was_perhaps_delivered_is_sent_again_after_silence(post: Post) -> None:
    await post.send(UNCLEAR)
    await post.gone()
    assert post.peer.posts == 2


async def test_a_peer_that_is_away_uses_up_no_try(post: Post) -> None:
    await post.send(UNCLEAR, *[AWAY] * 10)
    await post.gone()
    assert post.peer.posts == 12
    assert await post.profile.find(DEAD) == []


async def test_what_never_gets_a_clear_answer_becomes_a_dead_letter(post: Post) -> None:
    await post.send(*[UNCLEAR] * 20)
    await post.gone()
    assert post.peer.posts == 4
    [(_, letter)] = await post.profile.find(DEAD)
    assert "perhaps delivered" in letter["reason"]


async def test_the_exchange_of_a_dead_letter_says_so(post: Post) -> None:
    x = Exchange(
        id="x", protocol=TOY.name, minor=2, role=Side.GUEST, thid="thread", peer="c",
        data=Memory(), state=State.KNOCKED,
    )  # fmt: skip
    await post.profile.commit(Commit(exchanges=(x,)))
    await post.send(Refused(410))
    await post.gone()
    told = await post.profile.exchange("x")
    assert told is not None
    assert told.error == "a message cannot be delivered: the peer answered 410"
    assert told.state == State.KNOCKED


async def test_something_new_on_the_thread_ends_the_doubt(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE_S", 60)
    await post.send(UNCLEAR)
    await post.posted(1)
    await asyncio.sleep(0.01)
    assert post.outbox.waiting == 1
    post.outbox.note_received(None, "another thread")
    post.outbox.note_received("another connection", "thread")
    assert post.outbox.waiting == 1
    post.outbox.note_received(None, "thread")
    await post.gone()
    assert post.peer.posts == 1


async def test_a_store_that_fails_for_a_while_buries_later(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = post.profile.commit, 0

    async def failing(commit: Commit) -> Commit:
        nonlocal failures
        if commit.delivered and failures < 3:
            failures += 1
            raise UnavailableError("no disk")
        return await real(commit)

    monkeypatch.setattr(post.profile, "commit", failing)
    await post.send(Refused(400))
    await post.gone()
    assert (failures, post.peer.posts) == (3, 1)
    assert len(await post.profile.find(DEAD)) == 1


async def test_a_reply_that_we_cannot_handle_sends_nothing_again(post: Post) -> None:
    """The fake that takes replies has a bug."""
    await post.send(Delivered(b"reply"))
    await post.gone()
    assert post.peer.posts == 1


# -- lanes -----------------------------------------------------------------------------------------


async def test_threads_of_one_peer_leave_at_once_and_one_line_in_order(post: Post) -> None:
    await post.connect("alice", "http://alice/")
    await post.write("alice", 40)
    await post.gone()
    assert post.peer.most_open > 1
    post.peer.held = True
    await post.write("alice", 40)
    await post.posted(40 + lanes.AT_ONCE_TO_ONE_PEER)
    await asyncio.sleep(0.02)
    assert post.peer.open == lanes.AT_ONCE_TO_ONE_PEER
    post.peer.held = False
    await post.gone()
    post.peer.most_open = 0
    await post.write("alice", 10, line="in order")
    await post.gone()
    assert (post.peer.posts, post.peer.most_open) == (90, 1)


async def test_messages_of_one_line_leave_in_order_whatever_fails(post: Post) -> None:
    await post.connect("alice", "http://alice/")
    post.peer.answers = [AWAY, AWAY, TAKEN, AWAY]
    for i in range(4):
        await post.write("alice", line="in order", body={**BODY, "pad": "x" * 300 * i})
    await post.gone()
    sizes = post.peer.sizes["http://alice/"]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4


async def test_a_message_that_always_fails_is_tried_ever_more_seldom_and_holds_up_no_other(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 600)
    real, bad = post.peer.post, 0

    async def one_fails(url: str, body: bytes, content_type: str, *, hurry: bool) -> Delivery:
        nonlocal bad
        outcome = await real(url, body, content_type, hurry=hurry)
        if len(body) < 5000:
            return outcome
        bad += 1
        return AWAY

    monkeypatch.setattr(post.peer, "post", one_fails)
    await post.connect("alice", "http://alice/")
    await post.write("alice", body={**BODY, "pad": "x" * 5000})
    for _ in range(20):
        await post.write("alice", 10)
    async with asyncio.timeout(10):
        while post.outbox.waiting > 1:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0.002)
    assert 1 <= bad < 12
    assert post.peer.posts == 200 + bad


async def test_after_a_failure_we_wait_for_a_short_time_only(post: Post) -> None:
    await post.connect("alice", "http://alice/")
    post.peer.answers = [AWAY, AWAY, TAKEN]
    await post.write("alice")
    await post.gone()
    assert post.peer.hurried == [False, True, True]


async def test_the_pause_that_a_peer_asks_for_is_kept(post: Post) -> None:
    await post.connect("alice", "http://alice/")
    post.peer.answers = [Retry("HTTP 503", 0.2)]
    began = time.monotonic()
    await post.write("alice")
    await post.posted(1)
    await asyncio.sleep(0.01)
    post.outbox.note_received("alice", "another thread")
    await post.gone()
    assert time.monotonic() - began >= 0.2


async def test_something_from_a_peer_that_was_away_ends_the_wait(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 600)
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 600)
    await post.connect("alice", "http://alice/")
    post.peer.answers = [AWAY]
    await post.write("alice")
    await post.posted(1)
    await asyncio.sleep(0.01)
    [waits] = post.outbox.waiting_for()
    assert (waits["connection"], waits["endpoint"]) == ("alice", "http://alice/")
    assert (waits["messages"], waits["reason"]) == (1, "ClientConnectorError")
    assert waits["next_attempt_s"] > 200
    post.outbox.note_received("alice", "another thread")
    await post.gone()
    assert post.outbox.waiting_for() == []


async def test_messages_for_a_peer_without_endpoint_wait_until_it_has_one(post: Post) -> None:
    connection = await post.connect("alice", None)
    await post.write("alice", 3)
    await asyncio.sleep(0.05)
    assert post.peer.posts == 0
    [waits] = post.outbox.waiting_for()
    assert (waits["messages"], waits["reason"]) == (3, "the peer has no endpoint")
    await post.profile.commit(Commit(writes=(connection.but(endpoint="http://a/").put(),)))
    await post.gone()
    assert len(post.peer.sizes["http://a/"]) == 3


async def test_what_waits_for_a_peer_that_moves_goes_where_it_is_now(post: Post) -> None:
    connection = await post.connect("alice", "http://old/")
    post.peer.answers = [Retry("gone", 600)]
    await post.write("alice", 2)
    await post.posted(1)
    await asyncio.sleep(0.01)
    await post.profile.commit(Commit(writes=(connection.but(endpoint="http://new/").put(),)))
    await post.gone()
    assert {url: len(sizes) for url, sizes in post.peer.sizes.items()} == {
        "http://old/": 1,
        "http://new/": 2,
    }


async def test_413_ends_the_exchange_on_our_side_too(post: Post) -> None:
    ended: list[tuple[str, str]] = []

    async def end(exchange: str, reason: str) -> None:
        ended.append((exchange, reason))

    post.outbox.on_too_long = end
    await post.send(Refused(413))
    await post.gone()
    [why] = await post.dead()
    assert re.fullmatch(r"the peer answered 413 to a message of \d+ bytes: too long", why)
    assert ended == [("x", why)]


async def test_a_store_that_does_not_answer_uses_up_no_try(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post.connect("alice", "http://alice/")
    real, failures = post.profile.fetch, 0

    async def failing(category: str, name: str) -> Json | None:
        nonlocal failures
        failures += 1
        if failures <= 5:
            raise UnavailableError("no disk")
        return await real(category, name)

    monkeypatch.setattr(post.profile, "fetch", failing)
    await post.write("alice")
    await post.gone()
    assert (failures, post.peer.posts, await post.dead()) == (6, 1, [])
