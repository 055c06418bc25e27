"""SEC-R: what peers can make our delivery cost, and what we let it cost."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agent.didcomm.conftest import AWAY, BODY, UNCLEAR, Post, fresh, opened

from keep_agent.core.machine import Put
from keep_agent.didcomm import attempt, lanes
from keep_agent.didcomm import outbox as module
from keep_agent.didcomm.envelope import MAX_PACKED, seal
from keep_agent.identity.connections import CONNECTION, Connection
from keep_agent.identity.keys import NewKey
from keep_agent.store.rows import DEAD, Commit
from keep_agent.transport.egress import (
    Egress,
    Refused,
    Retry,
)
from keep_agent.transport.guard import Guard
from processes import free_ports

# -- SEC-R 03: what hangs or is dead costs others nothing -------------------------------------------


@pytest.fixture(params=["dead", "nowhere"])
async def dead(
    request: pytest.FixtureRequest, post: Post, monkeypatch: pytest.MonkeyPatch
) -> Post:
    """Somebody who cannot be reached, and for whom five messages wait."""
    monkeypatch.setattr(lanes, "DEAD_AFTER_S", 0)
    monkeypatch.setattr(lanes, "MOST_WAITING", 5)
    await post.connect("mallory", None if request.param == "nowhere" else "http://m/")
    post.peer.answers = [Retry("gone", 600)] * 5
    await post.write("mallory", 5)
    if request.param == "dead":
        await post.posted(1)
        await asyncio.sleep(0.01)
    return post


async def test_sec_r_03_what_waits_for_the_dead_is_bounded(dead: Post) -> None:
    await dead.write("mallory", 2)
    async with asyncio.timeout(10):
        while len(await dead.dead()) < 2:  # noqa: ASYNC110 - a store sets no event
            await asyncio.sleep(0.002)
    assert await dead.dead() == [module.FULL] * 2
    assert dead.outbox.waiting == 5
    events = await dead.profile.events(0)
    assert [(e["type"], e["reason"]) for e in events] == [(DEAD, module.FULL)] * 2


async def test_sec_r_03_what_waits_for_the_dead_is_bounded_in_bytes(
    dead: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "MOST_WAITING", 500)
    monkeypatch.setattr(lanes, "MOST_WAITING_BYTES", 1000)
    await dead.write("mallory", body={**BODY, "pad": "x" * 900})
    async with asyncio.timeout(10):
        while not await dead.dead():  # noqa: ASYNC110 - a store sets no event
            await asyncio.sleep(0.002)
    assert dead.outbox.waiting == 5


async def test_sec_r_03_messages_that_wait_do_not_fill_the_memory(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for one of them: the others are read from the store when it is their turn."""
    monkeypatch.setattr(module, "MOST_IN_MEMORY", 500)
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.005)
    await post.connect("alice", "http://alice/")
    post.peer.answers, post.peer.held = [AWAY] * 3, True
    for i in range(5):
        await post.write("alice", line="in order", body={**BODY, "pad": "x" * (400 + 100 * i)})
    peer = post.outbox._lanes.peers["alice"]
    assert [bool(message.row) for message in peer.messages.values()] == [True] + [False] * 4
    post.peer.held = False
    await post.gone()
    sizes = post.peer.sizes["http://alice/"]
    assert len(sizes) == 8
    assert sizes == sorted(sizes)
    assert post.outbox._in_memory == 0


class Server:
    """Takes connections on a real port; answers 202 while it is `kind`, else not at all."""

    def __init__(self) -> None:
        self.kind = False
        self.requests: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = head.partition("content-length: ")[2].partition("\r\n")[0]
                await reader.readexactly(int(length))
                self.requests.append(head.split()[1])
                if self.kind:
                    writer.write(b"HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n")

    async def came(self, requests: int, within_s: float) -> None:
        """Wait until so many requests came."""
        async with asyncio.timeout(within_s):
            while len(self.requests) < requests:  # noqa: ASYNC110 - a fake sets no events
                await asyncio.sleep(0.005)


@asynccontextmanager
async def listening(port: int) -> AsyncGenerator[Server]:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", port, backlog=1000)
    try:
        yield server
    finally:
        listener.close()
        for writer in server.writers:
            writer.close()
        await asyncio.gather(*(w.wait_closed() for w in server.writers), return_exceptions=True)


@dataclass
class Crowd:
    """An outbox that sends for real, one server where 200 peers listen, one where Alice does."""

    post: Post
    theirs: Server
    alices: Server


HOSTILE = 200


@pytest.fixture
async def crowd(hasty: None, tmp_path: Path) -> AsyncIterator[Crowd]:
    guard = Guard(allow_private=True, own_ports=frozenset())
    with free_ports(2) as (there, here):
        async with (
            listening(there) as theirs,
            listening(here) as alices,
            Egress(guard, timeout_s=30) as egress,
            opened(tmp_path, egress) as post,
        ):
            alices.kind = True
            for i in range(HOSTILE):
                await post.connect(f"peer {i}", f"http://127.0.0.1:{there}/{i}")
            await post.connect("alice", f"http://127.0.0.1:{here}/")
            yield Crowd(post, theirs, alices)


async def test_sec_r_03_an_honest_peer_is_served_while_200_hang_from_the_start(
    crowd: Crowd,
) -> None:
    for i in range(HOSTILE):
        await crowd.post.write(f"peer {i}", 5)
    await crowd.theirs.came(HOSTILE, within_s=20)
    await crowd.post.write("alice")
    await crowd.alices.came(1, within_s=1)
    assert len(crowd.theirs.requests) == HOSTILE, "one slot each"


async def test_sec_r_03_an_honest_peer_is_served_while_200_hang_that_answered_before(
    crowd: Crowd,
) -> None:
    """Each of them has earned many attempts at once, and then takes all that it can get."""
    crowd.theirs.kind = True
    for i in range(HOSTILE):
        await crowd.post.write(f"peer {i}", 8)
    await crowd.post.write("alice", 8)
    await crowd.post.gone()
    crowd.theirs.kind = False
    before = len(crowd.theirs.requests)
    for i in range(HOSTILE):
        await crowd.post.write(f"peer {i}", 8)
    await crowd.theirs.came(before + HOSTILE, within_s=20)
    await crowd.post.write("alice", 3)
    await crowd.alices.came(8 + 3, within_s=1)


async def test_sec_r_03_names_that_nobody_answers_for_keep_no_other_waiting(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the server that is asked for their name can let us wait there, too."""
    ends = threading.Event()
    real: Callable[..., Any] = socket.getaddrinfo

    def slow(host: str, *args: Any, **kwargs: Any) -> Any:
        if host.endswith(".example"):
            ends.wait(30)
            raise socket.gaierror
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    for i in range(50):
        await crowd.post.connect(f"slow {i}", f"http://{i}.example/")
        await crowd.post.write(f"slow {i}")
    alice = Connection.model_validate(await crowd.post.profile.get(CONNECTION, "alice"))
    there = (alice.endpoint or "").replace("127.0.0.1", "localhost")
    await crowd.post.profile.commit(Commit(writes=(alice.but(endpoint=there).put(),)))
    try:
        await crowd.post.write("alice")
        await crowd.alices.came(1, within_s=1)
    finally:
        ends.set()


# -- SEC-R 01, 02: what a message costs is bounded before it is paid ---------------------------------


async def test_sec_r_01_a_long_message_is_sealed_in_a_thread(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: list[bool] = []
    real = seal

    def noting(*args: Any) -> bytes:
        where.append(threading.current_thread() is threading.main_thread())
        return real(*args)

    monkeypatch.setattr(attempt, "seal", noting)
    await post.connect("alice", "http://alice/")
    await post.write("alice")
    await post.gone()
    await post.write("alice", body={**BODY, "pad": "x" * 500_000})
    await post.gone()
    assert where == [True, False]


async def test_sec_r_01_what_would_be_too_long_becomes_a_dead_message_and_ends_its_exchange(
    post: Post,
) -> None:
    ended: list[str] = []

    async def end(_exchange: str, reason: str) -> None:
        ended.append(reason)

    post.outbox.on_too_long = end
    keys = tuple(NewKey.generate({}).verkey for _ in range(4))
    await post.connect("alice", "http://alice/", keys)
    await post.write("alice", body={**BODY, "pad": "x" * 1_600_000})
    await post.gone()
    assert post.peer.posts == 0
    [reason] = await post.dead()
    assert f"{MAX_PACKED} is the most" in reason
    assert ended == [reason]


async def test_sec_r_01_too_many_mediators_are_refused(post: Post) -> None:
    keys = tuple(NewKey.generate({}).verkey for _ in range(5))
    await post.connect("alice", "http://alice/", keys)
    await post.write("alice")
    await post.gone()
    assert post.peer.posts == 0
    assert await post.dead() == ["a message may have 4 mediators at most, not 5"]


@pytest.mark.parametrize("mediators", range(5))
async def test_sec_r_02_nothing_leaves_that_is_over_8_times_longer_than_what_came(
    post: Post, mediators: int
) -> None:
    """A short message came from somebody who says that he listens at his victim's."""
    came = 720
    keys = tuple(NewKey.generate({}).verkey for _ in range(mediators))
    await post.connect("mallory", "http://victim/", keys)
    post.outbox.note_size("thread", came)
    post.peer.answers = [UNCLEAR] * 4
    await post.write("mallory", body={**BODY, "~thread": {"thid": fresh()}})
    await post.gone()
    assert sum(post.peer.sizes.get("http://victim/", [])) <= 8 * came
    assert len(await post.dead()) == 1
    assert (post.peer.posts == 0) == (mediators == 4)


async def test_sec_r_02_what_is_noted_of_threads_is_bounded(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "CAUSES", 3)
    for _ in range(5):
        post.outbox.note_size(fresh(), 700)
    post.outbox.note_size("x" * 1000, 700)
    assert len(post.outbox._attempts._causes) == 3
    assert all(len(thid) < 1000 for thid in post.outbox._attempts._causes)


# -- SEC-R 04: what fails the same way each time is put aside ----------------------------------------


async def test_sec_r_04_what_fails_on_our_own_side_each_time_is_put_aside(
    hasty: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A message whose connection nobody can read: others leave, and a restart is no second attack."""
    async with opened(tmp_path) as post:
        await post.connect("alice", "http://alice/")
        broken = {"endpoint": "http://mallory/"}
        await post.profile.commit(Commit(writes=(Put(CONNECTION, "mallory", broken),)))
        with caplog.at_level(logging.CRITICAL):
            await post.write("mallory")
            await post.write("alice")
            await post.gone()
        assert list(post.peer.sizes) == ["http://alice/"]
        assert await post.dead() == ["our side failed each time: ValidationError"]
        [event] = await post.profile.events(0)
        assert event["type"] == DEAD
        await post.profile.write_delivered()
    async with opened(tmp_path) as post:
        await asyncio.sleep(0.05)
        assert (post.outbox.waiting, post.peer.posts) == (0, 0)


async def test_sec_r_04_an_outcome_that_we_cannot_handle_is_put_aside(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_exchange: str, _reason: str) -> None:
        raise AssertionError

    post.outbox.on_too_long = broken
    with caplog.at_level(logging.CRITICAL):
        await post.send(*[Refused(413)] * 3)
        await post.gone()
    assert await post.dead() == ["our side failed each time; see the log"]
