"""The inbound edge, against real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from keep_agent.errors import (
    BadEnvelopeError,
    BadMessageError,
    ConflictError,
    NotFoundError,
    OutOfTurnError,
    RefusedError,
    UnavailableError,
)
from keep_agent.transport.http import Limits, Receive, inbound_app, listening

WIRE = "application/ssi-agent-wire"
SMALL = Limits(body_bytes=1000, body_s=0.2, idle_s=0.1, linger_s=0.1, shutdown_s=1)
ROOMY = Limits(body_bytes=1000, linger_s=0.1, shutdown_s=5)


class Inbox:
    """Stands for dispatch: keeps what it got, answers or raises what it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.reply: bytes | None = None
        self.error: BaseException | None = None

    async def receive(self, tenant: str, body: bytes) -> bytes | None:
        self.got.append((tenant, body))
        if self.error is not None:
            raise self.error
        return self.reply


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Agent:
    """An inbound server on a free port, and clients to talk to it."""

    def __init__(self, port: int, inbox: Inbox, session: aiohttp.ClientSession) -> None:
        self.port, self.inbox, self.session = port, inbox, session

    async def post(
        self, body: object = b"x", content_type: str = WIRE, path: str = "/d/alice", **more: str
    ) -> Answer:
        url = f"http://127.0.0.1:{self.port}{path}"
        headers = {"Content-Type": content_type, **more}
        async with self.session.post(url, data=body, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())

    async def raw(self, data: bytes, *, end: bool = True) -> bytes:
        """Write bytes and return all that comes back until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        if end:
            writer.write_eof()
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def agent_with(
    limits: Limits, receive: Receive | None = None
) -> AsyncGenerator[Agent, None]:
    inbox = Inbox()
    app = inbound_app(receive or inbox.receive, limits)
    async with (
        listening(app, "127.0.0.1", 0, limits) as port,
        aiohttp.ClientSession() as session,
    ):
        yield Agent(port, inbox, session)


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    async with agent_with(ROOMY) as found:
        yield found


@pytest.fixture
async def strict() -> AsyncIterator[Agent]:
    async with agent_with(SMALL) as found:
        yield found


@pytest.mark.parametrize(
    "content_type",
    [
        WIRE,
        "application/didcomm-envelope-enc",
        "Application/SSI-Agent-Wire; charset=utf-8",
        'application/didcomm-envelope-enc; flavor="x"',
    ],
)
async def test_a_committed_message_is_answered_202(agent: Agent, content_type: str) -> None:
    response = await agent.post(b"\x00packed", content_type)
    assert (response.status, response.body) == (202, b"")
    assert agent.inbox.got == [("alice", b"\x00packed")]


async def test_a_reply_comes_back_with_200(agent: Agent) -> None:
    agent.inbox.reply = b"packed reply"
    response = await agent.post()
    assert (response.status, response.headers["Content-Type"]) == (200, WIRE)
    assert response.body == b"packed reply"


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/octet-stream", "text/plain", "", "x", "/;/"],
)
async def test_the_content_type_of_a_body_does_not_matter(
    agent: Agent, content_type: str
) -> None:
    """What opens as an envelope is one; what does not is refused when it is opened."""
    assert (await agent.post(b"packed", content_type)).status == 202
    assert agent.inbox.got == [("alice", b"packed")]


async def test_sec_e06_compressed_body_is_refused_unopened(agent: Agent) -> None:
    bomb = gzip.compress(b"0" * 500_000)
    response = await agent.post(bomb, **{"Content-Encoding": "gzip"})
    assert response.status == 415
    assert agent.inbox.got == []


async def test_a_browser_gets_a_friendly_sentence(agent: Agent) -> None:
    async with agent.session.get(f"http://127.0.0.1:{agent.port}/d/alice") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert "DIDComm endpoint" in await response.text()


@pytest.mark.parametrize("path", ["/", "/d/", "/d/a/b", "/d/a%2Fb", "/d/a.b", "/d/" + "a" * 65])
async def test_a_path_that_names_no_tenant_is_404(agent: Agent, path: str) -> None:
    assert (await agent.post(path=path)).status == 404
    assert agent.inbox.got == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadEnvelopeError("hush"), 400),
        (BadMessageError("hush"), 400),
        (OutOfTurnError("hush"), 400),
        (RefusedError("hush"), 400),
        (NotFoundError("hush"), 404),
        (UnavailableError("hush"), 503),
        (ConflictError("hush"), 503),
        (ZeroDivisionError("hush"), 503),
        (TimeoutError("hush"), 503),
        (web.HTTPInternalServerError(reason="hush"), 503),
    ],
)
async def test_an_error_is_answered_with_its_status_and_tells_nothing(
    agent: Agent, error: Exception, status: int
) -> None:
    agent.inbox.error = error
    response = await agent.post()
    assert response.status == status
    assert b"hush" not in response.body
    assert ("Retry-After" in response.headers) == (status == 503)


async def test_an_unexpected_error_is_logged_with_traceback(
    agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    agent.inbox.error = ZeroDivisionError()
    await agent.post()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "Traceback" in caplog.text


async def test_sec_e06_declared_oversize_is_refused_before_any_of_it_came(
    strict: Agent,
) -> None:
    head = (
        f"POST /d/alice HTTP/1.1\r\nHost: x\r\nContent-Type: {WIRE}\r\n"
        "Content-Length: 1001\r\n\r\n"
    )
    assert (await strict.raw(head.encode(), end=False)).startswith(b"HTTP/1.1 413")
    assert strict.inbox.got == []


async def test_sec_e06_endless_chunks_are_refused_at_the_cap(strict: Agent) -> None:
    async def for_ever() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 500
            await asyncio.sleep(0)

    with contextlib.suppress(
        aiohttp.ClientError
    ):  # the server hung up while we were still writing
        assert (await strict.post(for_ever())).status == 413
    assert strict.inbox.got == []
    head = f"POST /d/alice HTTP/1.1\r\nHost: x\r\nContent-Type: {WIRE}\r\n"
    chunks = "Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + "x" * 1000 + "\r\n1\r\nx\r\n"
    answer = await strict.raw((head + chunks).encode(), end=False)
    assert answer.startswith(b"HTTP/1.1 413")


async def test_sec_e06_body_of_exactly_the_cap_is_taken(agent: Agent) -> None:
    assert (await agent.post(b"x" * 1000)).status == 202


async def test_sec_e06_slow_body_is_refused(strict: Agent) -> None:
    head = (
        f"POST /d/a HTTP/1.1\r\nHost: x\r\nContent-Type: {WIRE}\r\nContent-Length: 9\r\n\r\nx"
    )
    assert (await strict.raw(head.encode(), end=False)).startswith(b"HTTP/1.1 408")
    assert strict.inbox.got == []


@pytest.mark.parametrize("data", [b"", b"P", b"POST /d/alice HTTP/1.1\r\nHost: x\r\nX: "])
async def test_sec_e06_head_that_never_ends_is_hung_up_on(strict: Agent, data: bytes) -> None:
    assert await strict.raw(data, end=False) == b""


async def test_sec_e06_idle_connection_is_closed(strict: Agent) -> None:
    head = (
        f"POST /d/a HTTP/1.1\r\nHost: x\r\nContent-Type: {WIRE}\r\nContent-Length: 1\r\n\r\nx"
    )
    assert (await strict.raw(head.encode(), end=False)).startswith(b"HTTP/1.1 202")


async def test_sec_e06_bodies_held_together_are_bounded() -> None:
    gate, both = asyncio.Event(), asyncio.Barrier(3)

    async def wait(_tenant: str, body: bytes) -> None:
        if len(body) == 1000 and not gate.is_set():
            await both.wait()
        await gate.wait()

    limits = Limits(body_bytes=1000, held_bytes=2500)
    async with agent_with(limits, wait) as agent:
        held = [asyncio.create_task(agent.post(b"x" * 1000)) for _ in range(2)]
        await both.wait()
        refused = await agent.post(b"x" * 501)
        assert refused.status == 503
        assert refused.headers["Retry-After"] == "5"
        small = asyncio.create_task(agent.post(b"x" * 100))
        gate.set()
        assert [(await task).status for task in [*held, small]] == [202, 202, 202]
        assert (await agent.post(b"x" * 1000)).status == 202


async def test_a_peer_that_hangs_up_half_way_changes_nothing(agent: Agent) -> None:
    head = (
        f"POST /d/a HTTP/1.1\r\nHost: x\r\nContent-Type: {WIRE}\r\nContent-Length: 9\r\n\r\nx"
    )
    await agent.raw(head.encode())
    assert agent.inbox.got == []
    assert (await agent.post()).status == 202


async def test_a_commit_outlives_its_client() -> None:
    started, gate, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def commit(_tenant: str, _body: bytes) -> None:
        started.set()
        await gate.wait()
        done.set()

    async with agent_with(ROOMY, commit) as agent:
        post = asyncio.create_task(agent.post())
        await started.wait()
        post.cancel()
        await asyncio.gather(post, return_exceptions=True)
        gate.set()
        await done.wait()


async def test_requests_under_way_finish_at_the_end() -> None:
    started, gate = asyncio.Event(), asyncio.Event()

    async def commit(_tenant: str, _body: bytes) -> None:
        started.set()
        await gate.wait()

    async with aiohttp.ClientSession() as session:
        app = inbound_app(commit, ROOMY)
        async with listening(app, "127.0.0.1", 0, ROOMY) as port:
            post = asyncio.create_task(Agent(port, Inbox(), session).post())
            await started.wait()
            asyncio.get_running_loop().call_later(0.05, gate.set)
        assert (await post).status == 202


async def test_a_request_that_hangs_does_not_hang_the_end() -> None:
    started = asyncio.Event()

    async def hang(_tenant: str, _body: bytes) -> None:
        started.set()
        await asyncio.Event().wait()

    limits = Limits(shutdown_s=0.1)
    async with aiohttp.ClientSession() as session:
        async with listening(inbound_app(hang, limits), "127.0.0.1", 0, limits) as port:
            post = asyncio.create_task(Agent(port, Inbox(), session).post())
            await started.wait()
        with pytest.raises(aiohttp.ClientError):
            await post


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS hello\r\n\r\n",
        b"\x00" * 20000,
        b"A" * 20000,
        b"POST /d/a HTTP/9.9\r\n\r\n",
        b"POST /d/a HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /d/a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /d/a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nxx",
        b"POST /d/a HTTP/1.1\r\nHost: x\r\nContent-Type: "
        + WIRE.encode()
        + b"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /d/a HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nContent-Length: 0\r\n\r\n",
        b"POST /d/a HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"POST /d/\xff HTTP/1.1\r\nHost: \xff\r\nContent-Type: \xff\r\n\r\n",
        b"POST http://[ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST http://x:99999999/d/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_garbage_is_no_500_and_not_in_the_log(
    strict: Agent, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await strict.raw(data)
    assert not answer.startswith(b"HTTP/1.1 5"), answer
    ours = [record for record in caplog.records if record.name.startswith("keep_agent")]
    assert [record for record in ours if record.levelno >= logging.WARNING] == []
    assert strict.inbox.got == []


def test_any_bytes_never_give_a_500() -> None:
    """On the socket: raw, as a path, as headers, as chunks and as a body."""
    head = f"POST /d/a HTTP/1.1\r\nHost: x\r\nContent-Type: {WIRE}\r\n".encode()
    inbox = Inbox()
    inbox.error = BadEnvelopeError("never opens")

    async def ask(data: bytes) -> tuple[bytes, ...]:
        async with listening(inbound_app(inbox.receive, SMALL), "127.0.0.1", 0, SMALL) as port:
            agent = Agent(port, inbox, session=None)  # type: ignore[arg-type]  # raw only
            async with asyncio.timeout(10):
                return await asyncio.gather(
                    agent.raw(data),
                    agent.raw(b"POST /d/a" + data + b"\r\n\r\n"),
                    agent.raw(head + data + b"\r\n\r\n"),
                    agent.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + data),
                    agent.raw(head + b"Content-Length: %d\r\n\r\n" % len(data) + data),
                )

    with asyncio.Runner() as runner:

        @settings(max_examples=60)
        @given(st.binary(max_size=1200))
        def never_500(data: bytes) -> None:
            for answer in runner.run(ask(data)):
                assert not answer.startswith(b"HTTP/1.1 5"), answer

        never_500()
    assert inbox.got
