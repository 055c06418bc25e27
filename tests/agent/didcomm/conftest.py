"""An outbox over a real store, and peers who answer as they are told to."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import wallets
from toy_protocol import TOY, Memory

from keep_agent.core.machine import Put, PutKey, Target
from keep_agent.core.message import Json
from keep_agent.didcomm import outbox as module
from keep_agent.didcomm import undelivered
from keep_agent.didcomm.attempt import Carrier
from keep_agent.didcomm.outbox import Outbox
from keep_agent.didcomm.slots import Slots
from keep_agent.identity.connections import CONNECTION, Connection
from keep_agent.identity.keys import Keys, NewKey
from keep_agent.store.location import Sqlite
from keep_agent.store.profile import Profile
from keep_agent.store.rows import DEAD, Commit, Outgoing
from keep_agent.store.store import Store
from keep_agent.transport.egress import (
    Delivered,
    Delivery,
    Retry,
    Unclear,
)

BODY: Json = {"@id": "1", "@type": "x/y/1.0/z"}
UNCLEAR, AWAY, TAKEN = Unclear("HTTP 500"), Retry("ClientConnectorError", None), Delivered(None)


@dataclass
class Peer:
    """Answers as it is told to; what it was not told, it takes.

    Attributes:
        held: while this is set, nobody gets an answer.
        sizes: of what was posted, by URL.
    """

    answers: list[Delivery] = field(default_factory=list[Delivery])
    posts: int = 0
    held: bool = False
    open: int = 0
    most_open: int = 0
    hurried: list[bool] = field(default_factory=list[bool])
    sizes: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    async def post(self, url: str, body: bytes, content_type: str, *, hurry: bool) -> Delivery:
        self.posts += 1
        self.hurried.append(hurry)
        self.sizes.setdefault(url, []).append(len(body))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await asyncio.sleep(0.001)
            while self.held:  # noqa: ASYNC110 - a test sets no event
                await asyncio.sleep(0.002)
        finally:
            self.open -= 1
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
        row = Outgoing("x.1.0", "line", "thread", BODY, target=target)
        write = PutKey(key.verkey, key.key, key.metadata)
        await self.profile.commit(Commit(writes=(write,), outbox=(row,)))

    async def connect(
        self, name: str, endpoint: str | None, routing: tuple[str, ...] = ()
    ) -> Connection:
        """Store a connection with somebody who listens there."""
        key = NewKey.generate({})
        connection = Connection(
            id=name, state="completed", role="requester", my_key=key.verkey, created=0.0,
            endpoint=endpoint, recipients=(key.verkey,), routing=routing,
        )  # fmt: skip
        write = PutKey(key.verkey, key.key, key.metadata)
        await self.profile.commit(Commit(writes=(write, connection.put())))
        return connection

    async def write(
        self, connection: str, number: int = 1, line: str = "", body: Json | None = None
    ) -> None:
        """Commit so many messages to a connection, each in its own line or all in one."""
        rows = [
            Outgoing(
                f"{fresh()}.1.0", line or fresh(), "thread", body or BODY, connection=connection
            )
            for _ in range(number)
        ]
        await self.profile.commit(Commit(outbox=tuple(rows)))

    async def dead(self) -> list[str]:
        """Return why messages became dead letters."""
        return [letter["reason"] for _, letter in await self.profile.find(DEAD)]

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


@asynccontextmanager
async def opened(folder: Path, carrier: Carrier | None = None) -> AsyncGenerator[Post]:
    """Run an outbox over the store in this folder."""
    store = await Store.open(Sqlite(folder / "store.db"), wallets.STORE_KEY, {TOY.name: Memory})
    writer = asyncio.create_task(store.run())
    profile = await store.profile("main")
    peer = Peer()

    async def no_reply(_packed: bytes) -> None:
        raise AssertionError

    outbox = Outbox(profile, Keys(profile.key), carrier or peer, no_reply, Slots())

    def committed(commit: Commit) -> None:
        for write in commit.writes:
            if isinstance(write, Put) and write.category == CONNECTION:
                outbox.note_changed(write.name)
        outbox.take(commit.outbox)

    profile.on_commit = committed
    pump = asyncio.create_task(outbox.run())
    while outbox._tasks is None:  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0.001)
    try:
        yield Post(profile, outbox, peer)
    finally:
        await _end(pump)
        await profile.commit(Commit())  # what was handed to the writer is written
        await _end(writer)
        await store.close()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for seconds."""
    monkeypatch.setattr(module, "SILENCE_S", 0.02)
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.005)
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(undelivered, "AGAIN_S", 0.005)


@pytest.fixture
async def post(hasty: None, tmp_path: Path) -> AsyncIterator[Post]:
    async with opened(tmp_path) as post:
        yield post


def fresh() -> str:
    return secrets.token_hex(8)
