"""What the outbox does where it is not clear whether a message was delivered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import wallets

from keep_agent import outbox as module
from keep_agent.keys import Keys, NewKey
from keep_agent.machine import PutKey, Target
from keep_agent.outbox import DEAD, Outbox
from keep_agent.rows import Commit, Outgoing
from keep_agent.store import Profile, Store
from keep_agent.transport.egress import Delivered, Delivery, Perhaps, Retry

PERHAPS, AWAY, TAKEN = Perhaps("HTTP 500"), Retry("ClientConnectorError", None), Delivered(None)


@dataclass
class Peer:
    """Answers as it is told to; what it was not told, it takes."""

    answers: list[Delivery] = field(default_factory=list[Delivery])
    posts: int = 0

    async def post(self, url: str, body: bytes, content_type: str) -> Delivery:
        self.posts += 1
        return self.answers.pop(0) if self.answers else TAKEN


@dataclass
class Post:
    """An outbox over a real store, and one message on its way."""

    profile: Profile
    outbox: Outbox
    peer: Peer

    async def send(self, *answers: Delivery) -> None:
        """Commit one message for a peer who answers like this."""
        self.peer.answers = list(answers)
        key = NewKey.generate({})
        target = Target(endpoint="http://peer", recipients=(key.verkey,), sender=key.verkey)
        row = Outgoing(
            "row", "lane", "thread", {"@id": "1", "@type": "x/y/1.0/z"}, target=target
        )
        write = PutKey(key.verkey, key.key, key.metadata)
        await self.profile.commit(Commit(writes=(write,), outbox=(row,)))

    async def posted(self, times: int) -> None:
        """Wait until the peer was asked so often."""
        async with asyncio.timeout(10):
            while self.peer.posts < times:  # noqa: ASYNC110 - the fake sets no events
                await asyncio.sleep(0.002)

    async def gone(self) -> None:
        """Wait until no message is left."""
        async with asyncio.timeout(10):
            while self.outbox.waiting or await self.profile.outbox():  # noqa: ASYNC110
                await asyncio.sleep(0.002)


@pytest.fixture
async def post(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Post]:
    monkeypatch.setattr(module, "SILENCE_S", 0.02)
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.005)
    store = await Store.open(tmp_path / "store.db", wallets.STORE_KEY, {})
    writer = asyncio.create_task(store.run())
    profile = await store.profile("main")
    peer = Peer()

    async def no_reply(_packed: bytes) -> None:
        raise AssertionError

    outbox = Outbox(profile, Keys(profile.key), peer, no_reply)
    profile.on_commit = lambda commit: outbox.take(commit.outbox)
    pump = asyncio.create_task(outbox.run())
    await asyncio.sleep(0)
    yield Post(profile, outbox, peer)
    for task in (pump, writer):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await store.close()


async def test_what_was_perhaps_delivered_is_sent_again_after_silence(post: Post) -> None:
    await post.send(PERHAPS)
    await post.gone()
    assert post.peer.posts == 2


async def test_a_peer_that_is_away_uses_up_no_try(post: Post) -> None:
    await post.send(PERHAPS, *[AWAY] * 10)
    await post.gone()
    assert post.peer.posts == 12
    assert await post.profile.find(DEAD) == []


async def test_what_never_gets_a_clear_answer_becomes_a_dead_letter(post: Post) -> None:
    await post.send(*[PERHAPS] * 20)
    await post.gone()
    assert post.peer.posts == 4
    [(_, letter)] = await post.profile.find(DEAD)
    assert "perhaps delivered" in letter["reason"]


async def test_something_new_on_the_thread_ends_the_doubt(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE_S", 60)
    await post.send(PERHAPS)
    await post.posted(1)
    await asyncio.sleep(0.01)
    assert post.outbox.waiting == 1
    post.outbox.heard("another thread")
    assert post.outbox.waiting == 1
    post.outbox.heard("thread")
    await post.gone()
    assert post.peer.posts == 1
