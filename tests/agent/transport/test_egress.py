"""The client for everything outbound, against real sockets."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from keep_agent.errors import RefusedError, UnavailableError
from keep_agent.transport import egress as module
from keep_agent.transport.egress import (
    MAX_REPLY,
    MAX_RETRY_AFTER,
    Blocked,
    Delivered,
    Egress,
    Redirect,
    Refused,
    Retry,
    Unclear,
)
from keep_agent.transport.guard import Guard

STRICT = Guard(allow_private=False, own_ports=frozenset())
LOCAL = Guard(allow_private=True, own_ports=frozenset())
WIRE = "application/ssi-agent-wire"
JSON = ("application/json",)


class Peer:
    """A server that answers every request with the same bytes, and remembers requests."""

    def __init__(self) -> None:
        self.answer: bytes | None = answer(202)
        self.then: Callable[[asyncio.StreamWriter], Awaitable[None]] | None = None
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/d/alice"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length")
                    ),
                    0,
                )
                self.requests.append(head + await reader.readexactly(length))
                if self.answer is None:
                    return
                writer.write(self.answer)
                if self.then is not None:
                    await self.then(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Names(AbstractResolver):
    """Answers look-ups from a list, the last one for ever."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)
        self.calls = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.calls += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Nothing is open."""


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def peer_at() -> AsyncGenerator[Peer, None]:
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with peer_at() as found:
        yield found


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(LOCAL, timeout_s=10) as made:
        yield made


@pytest.fixture
async def hasty() -> AsyncIterator[Egress]:
    async with Egress(LOCAL, timeout_s=0.3) as made:
        yield made


async def fetch(
    egress: Egress, url: str, *, redirects: int = 0, max_bytes: int = 1000
) -> bytes:
    return await egress.get(
        url, max_bytes=max_bytes, content_types=JSON, redirects=redirects, https_only=False
    )


# deliveries


async def test_a_202_is_delivered(peer: Peer, egress: Egress) -> None:
    assert await egress.post(peer.url, b"\x00packed", WIRE, hurry=False) == Delivered(None)
    head, body = peer.requests[0].split(b"\r\n\r\n")
    assert head.startswith(b"POST /d/alice HTTP/1.1")
    assert b"Content-Type: application/ssi-agent-wire" in head
    assert body == b"\x00packed"


@pytest.mark.parametrize("kind", [WIRE, "application/json", "application/octet-stream"])
async def test_a_200_brings_a_packed_reply(peer: Peer, egress: Egress, kind: str) -> None:
    peer.answer = answer(200, b'{"protected":""}', Content_Type=kind)
    reply = await egress.post(peer.url, b"x", WIRE, hurry=False)
    assert reply == Delivered(b'{"protected":""}')


async def test_a_200_with_a_page_brings_no_reply(peer: Peer, egress: Egress) -> None:
    peer.answer = answer(200, b"<h1>thanks</h1>", Content_Type="text/html")
    assert await egress.post(peer.url, b"x", WIRE, hurry=False) == Delivered(None)


async def test_sec_s_reply_that_is_too_long_is_dropped(peer: Peer, egress: Egress) -> None:
    peer.answer = answer(200, b"x" * (MAX_REPLY + 1), Content_Type=WIRE)
    assert await egress.post(peer.url, b"x", WIRE, hurry=False) == Delivered(None)


async def test_sec_s_compressed_reply_is_dropped(peer: Peer, egress: Egress) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    peer.answer = answer(200, bomb, Content_Type=WIRE, Content_Encoding="gzip")
    assert await egress.post(peer.url, b"x", WIRE, hurry=False) == Delivered(None)


@pytest.mark.parametrize("status", [301, 307, 400, 404, 410, 413, 415])
async def test_a_no_is_refused(peer: Peer, egress: Egress, status: int) -> None:
    peer.answer = answer(status, Location="/elsewhere")
    assert await egress.post(peer.url, b"x", WIRE, hurry=False) == Refused(status)
    assert len(peer.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504])
async def test_a_passing_trouble_is_a_retry(peer: Peer, egress: Egress, status: int) -> None:
    peer.answer = answer(status)
    assert await egress.post(peer.url, b"x", WIRE, hurry=False) == Retry(f"HTTP {status}", None)


@pytest.mark.parametrize("status", [500, 501, 599])
async def test_a_500_may_mean_handled(peer: Peer, egress: Egress, status: int) -> None:
    peer.answer = answer(status)
    assert await egress.post(peer.url, b"x", WIRE, hurry=False) == Unclear(f"HTTP {status}")


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("999999999", MAX_RETRY_AFTER),
        ("inf", MAX_RETRY_AFTER),
        ("nan", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Thu, 31 Dec 2099 23:59:59 GMT", MAX_RETRY_AFTER),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        (f"Wed, 21 Oct {10**20} 07:28:00 GMT", None),
        (f"21 Oct 2015 {10**20}:28 GMT", None),
        (f"Wed, 21 Oct 2015 07:28:00 +{10**14}", None),
    ],
)
async def test_retry_after_is_honoured_and_bounded(
    peer: Peer, egress: Egress, text: str, after: float | None
) -> None:
    peer.answer = answer(503, Retry_After=text)
    assert await egress.post(peer.url, b"x", WIRE, hurry=False) == Retry("HTTP 503", after)


async def test_nobody_there_is_a_retry(egress: Egress) -> None:
    async with peer_at() as gone:
        url = gone.url
    assert isinstance(await egress.post(url, b"x", WIRE, hurry=False), Retry)


async def test_a_reset_after_the_body_is_perhaps(peer: Peer, egress: Egress) -> None:
    peer.answer = None
    assert isinstance(await egress.post(peer.url, b"x", WIRE, hurry=False), Unclear)


async def test_a_reset_before_the_whole_body_is_a_retry(egress: Egress) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        outcome = await egress.post(url, b"x" * 8_000_000, WIRE, hurry=False)
    assert isinstance(outcome, Retry)


async def test_a_time_out_after_the_body_is_perhaps(peer: Peer, hasty: Egress) -> None:
    peer.answer = b""
    assert await hasty.post(peer.url, b"x", WIRE, hurry=False) == Unclear("TimeoutError")


async def test_a_time_out_before_the_body_is_a_retry(peer: Peer) -> None:
    class Slow(Names):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            await asyncio.sleep(0.5)
            return await super().resolve(host, port, family)

    async with Egress(LOCAL, timeout_s=0.1, resolver=Slow(("127.0.0.1",))) as egress:
        outcome = await egress.post(
            f"http://slow.example:{peer.port}/", b"x", WIRE, hurry=False
        )
    assert outcome == Retry("TimeoutError", None)
    assert peer.connections == 0


async def test_garbage_for_an_answer_is_perhaps(peer: Peer, egress: Egress) -> None:
    peer.answer = b"SSH-2.0-OpenSSH_9.6\r\n\r\n"
    assert isinstance(await egress.post(peer.url, b"x", WIRE, hurry=False), Unclear)


async def test_one_connection_serves_many_posts(peer: Peer, egress: Egress) -> None:
    for status in (202, 200, 202):
        peer.answer = answer(status)
        assert await egress.post(peer.url, b"x", WIRE, hurry=False) == Delivered(None)
    assert peer.connections == 1


async def test_a_slow_peer_delays_no_other(peer: Peer) -> None:
    async with peer_at() as slow, Egress(LOCAL, timeout_s=30) as egress:
        slow.answer = b""
        waiting = [
            asyncio.create_task(egress.post(slow.url, b"x", WIRE, hurry=False))
            for _ in range(200)
        ]
        assert await egress.post(peer.url, b"x", WIRE, hurry=False) == Delivered(None)
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_whoever_is_in_a_hurry_waits_for_a_shorter_time(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HURRY_S", 0.1)
    peer.answer = b""
    async with Egress(LOCAL, timeout_s=30) as egress:
        outcome = await egress.post(peer.url, b"x", WIRE, hurry=True)
    assert outcome == Unclear("TimeoutError")


# the guard


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"])
async def test_sec_s_post_to_loopback_is_blocked(peer: Peer, host: str) -> None:
    async with Egress(STRICT, timeout_s=10) as egress:
        outcome = await egress.post(f"http://{host}:{peer.port}/", b"x", WIRE, hurry=False)
    assert isinstance(outcome, Blocked)
    assert peer.connections == 0


@pytest.mark.parametrize(
    "found",
    [("127.0.0.1",), ("10.1.2.3",), ("8.8.8.8", "127.0.0.1"), ("::1",), ("169.254.169.254",)],
)
async def test_sec_s_name_that_leads_to_a_denied_address_is_blocked(
    peer: Peer, found: tuple[str, ...]
) -> None:
    async with Egress(STRICT, timeout_s=10, resolver=Names(found)) as egress:
        url = f"http://harmless.example:{peer.port}/"
        assert isinstance(await egress.post(url, b"x", WIRE, hurry=False), Blocked)
        with pytest.raises(RefusedError):
            await fetch(egress, url)
    assert peer.connections == 0


async def test_sec_s_rebinding_finds_no_second_look_up(peer: Peer) -> None:
    """The address that was checked is the one connected to; the next look-up is checked anew."""
    names = Names(("127.0.0.1",), ("169.254.169.254",))
    peer.answer = answer(202, Connection="close")
    async with Egress(LOCAL, timeout_s=10, resolver=names) as egress:
        url = f"http://rebind.example:{peer.port}/"
        assert await egress.post(url, b"x", WIRE, hurry=False) == Delivered(None)
        assert names.calls == 1
        connector = egress._session.connector
        assert connector is not None
        connector.clear_dns_cache()  # type: ignore[attr-defined]  # a TCPConnector
        assert await egress.post(url, b"x", WIRE, hurry=False) == Blocked(
            "address is link-local"
        )
    assert (names.calls, peer.connections) == (2, 1)


async def test_sec_s_own_port_is_blocked_on_a_local_network(peer: Peer) -> None:
    guard = Guard(allow_private=True, own_ports=frozenset({peer.port}))
    async with Egress(guard, timeout_s=10) as egress:
        for host in ("127.0.0.1", "localhost"):
            outcome = await egress.post(f"http://{host}:{peer.port}/", b"x", WIRE, hurry=False)
            assert outcome == Blocked("address is our own")
    assert peer.connections == 0


async def test_sec_s_off_switch_is_loud(caplog: pytest.LogCaptureFixture) -> None:
    async with Egress(LOCAL, timeout_s=10):
        assert "private networks is allowed" in caplog.text


async def test_sec_s_environment_proxy_is_ignored(
    peer: Peer, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    assert await egress.post(peer.url, b"x", WIRE, hurry=False) == Delivered(None)


async def test_sec_s_cookies_are_not_kept(peer: Peer, egress: Egress) -> None:
    peer.answer = answer(202, Set_Cookie="id=7")
    await egress.post(peer.url, b"x", WIRE, hurry=False)
    await egress.post(peer.url, b"x", WIRE, hurry=False)
    assert b"cookie" not in peer.requests[1].lower()


# fetches


async def test_a_fetch_returns_the_bytes(peer: Peer, egress: Egress) -> None:
    peer.answer = answer(200, b"{}", Content_Type="application/json; charset=utf-8")
    assert await fetch(egress, peer.url) == b"{}"
    assert b"Accept: application/json" in peer.requests[0]
    assert b"Accept-Encoding: identity" in peer.requests[0]


async def test_sec_s_o05_fetch_of_another_type_is_refused(peer: Peer, egress: Egress) -> None:
    peer.answer = answer(200, b"{}", Content_Type="text/html")
    with pytest.raises(RefusedError, match="type"):
        await fetch(egress, peer.url)


@pytest.mark.parametrize("declared", [True, False])
async def test_sec_s_o05_fetch_stops_at_the_byte_cap(
    peer: Peer, egress: Egress, *, declared: bool
) -> None:
    sent = 0

    async def for_ever(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            sent += 1000
            await writer.drain()

    if declared:
        peer.answer = answer(200, b"x" * 1001, Content_Type="application/json")
    else:
        peer.answer = (
            b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        peer.then = for_ever
    with pytest.raises(RefusedError, match="too long"):
        await fetch(egress, peer.url)


async def test_sec_s_gzip_bomb_is_refused_unopened(peer: Peer, egress: Egress) -> None:
    bomb = gzip.compress(b"0" * 500_000)
    assert len(bomb) < 1000
    peer.answer = answer(200, bomb, Content_Type="application/json", Content_Encoding="gzip")
    with pytest.raises(RefusedError, match="compressed"):
        await fetch(egress, peer.url)


async def test_sec_s_dripping_server_meets_the_time_cap(peer: Peer, hasty: Egress) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        for _ in range(100):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    peer.answer = b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n"
    peer.then = drip
    with pytest.raises(UnavailableError):
        await fetch(hasty, peer.url)


async def test_sec_s_time_cap_is_for_all_hops_together(peer: Peer, hasty: Egress) -> None:
    async def dawdle(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(answer(302, Location="/again"))

    peer.answer, peer.then = b"", dawdle
    with pytest.raises(UnavailableError):
        await fetch(hasty, peer.url, redirects=1000)
    assert len(peer.requests) < 50


async def test_sec_s_redirects_are_off_unless_asked_for(peer: Peer, egress: Egress) -> None:
    peer.answer = answer(302, Location="/b")
    with pytest.raises(RefusedError, match="redirects"):
        await fetch(egress, peer.url)
    assert len(peer.requests) == 1


async def test_sec_s_o05_one_redirect_is_followed_a_second_is_not(
    peer: Peer, egress: Egress
) -> None:
    async with peer_at() as other:
        peer.answer = answer(302, Location=other.url)
        other.answer = answer(200, b"{}", Content_Type="application/json")
        assert await fetch(egress, peer.url, redirects=1) == b"{}"
        other.answer = answer(302, Location="/c")
        with pytest.raises(RefusedError, match="too often"):
            await fetch(egress, peer.url, redirects=1)


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://0x7f.1/",
        "http://metadata.google.internal/",
        "file:///etc/passwd",
        "//169.254.169.254/",
        "http://a:b@127.0.0.1/",
        "http://[",
    ],
)
async def test_sec_s_redirect_to_a_denied_place_is_refused(
    peer: Peer, egress: Egress, location: str
) -> None:
    peer.answer = answer(302, Location=location)
    with pytest.raises(RefusedError):
        await fetch(egress, peer.url, redirects=1)


async def test_sec_s_redirect_without_location_is_refused(peer: Peer, egress: Egress) -> None:
    peer.answer = answer(302)
    with pytest.raises(RefusedError, match="no usable Location"):
        await fetch(egress, peer.url, redirects=1)


async def test_one_hop_shows_where_it_leads(peer: Peer, egress: Egress) -> None:
    peer.answer = answer(302, Location="https://wallet.example/?oob=e30")
    found = await egress.fetch(peer.url, max_bytes=9, content_types=JSON, https_only=False)
    assert found == Redirect("https://wallet.example/?oob=e30")


@pytest.mark.parametrize("status", [204, 400, 403, 404])
async def test_nothing_there_is_refused(peer: Peer, egress: Egress, status: int) -> None:
    peer.answer = answer(status)
    with pytest.raises(RefusedError, match=str(status)):
        await fetch(egress, peer.url)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_in_trouble_is_unavailable(
    peer: Peer, egress: Egress, status: int
) -> None:
    peer.answer = answer(status)
    with pytest.raises(UnavailableError):
        await fetch(egress, peer.url)
