"""What the outbox does where it is not clear whether a message was delivered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import wallets
from toy import TOY, Memory, Side, State

from keep_agent.core.machine import Exchange, PutKey, Target
from keep_agent.didcomm import outbox as module
from keep_agent.didcomm.outbox import DEAD, Outbox
from keep_agent.errors import UnavailableError
from keep_agent.identity.keys import Keys, NewKey
from keep_agent.store.location import Sqlite
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit, Outgoing
from keep_agent.store.store import Store
from keep_agent.transport.egress import Delivered, Delivery, Perhaps, Refused, Retry

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
            "x.1", "lane", "thread", {"@id": "1", "@type": "x/y/1.0/z"}, "x", target=target
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
            while self.outbox.waiting or self.profile.deliveries.fresh:  # noqa: ASYNC110
                await asyncio.sleep(0.002)


@pytest.fixture
async def post(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Post]:
    monkeypatch.setattr(module, "SILENCE_S", 0.02)
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.005)
    store = await Store.open(
        Sqlite(tmp_path / "store.db"), wallets.STORE_KEY, {TOY.name: Memory}
    )
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
    await post.send(PERHAPS)
    await post.posted(1)
    await asyncio.sleep(0.01)
    assert post.outbox.waiting == 1
    post.outbox.heard(None, "another thread")
    post.outbox.heard("another connection", "thread")
    assert post.outbox.waiting == 1
    post.outbox.heard(None, "thread")
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


async def test_a_slow_host_does_not_keep_the_others_waiting(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many threads somebody opens who never answers."""
    ends = asyncio.Event()
    taken: list[str] = []

    async def slow(url: str, body: bytes, content_type: str) -> Delivery:
        taken.append(url)
        if "slow" in url:
            await ends.wait()
        return TAKEN

    monkeypatch.setattr(post.peer, "post", slow)
    key = NewKey.generate({})
    hosts = ["http://slow:1/a", "HTTP://slow:1/b"] * module.AT_ONCE + ["http://quick/"]
    rows = tuple(
        Outgoing(
            f"row {i}", f"lane {i}", f"thread {i}", {"@id": str(i)},
            target=Target(endpoint=host, recipients=(key.verkey,), sender=key.verkey),
        )
        for i, host in enumerate(hosts)
    )  # fmt: skip
    write = PutKey(key.verkey, key.key, key.metadata)
    await post.profile.commit(Commit(writes=(write,), outbox=rows))
    async with asyncio.timeout(10):
        while "http://quick/" not in taken:  # noqa: ASYNC110 - the fake sets no events
            await asyncio.sleep(0.002)
    assert len(taken) == module.AT_ONCE_TO_ONE + 1
    ends.set()
    await post.gone()
    assert len(taken) == len(rows)
