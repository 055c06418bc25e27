"""An agent of two processes, real ones, on one store in PostgreSQL behind one address."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import wallets
from agent.processes import Spawned, ended, spawned
from balancer import balancer
from two_agents import AUTOMATIC, automate, connect

from keep_agent.client import Client
from keep_agent.errors import UnavailableError
from keep_agent.store.location import parse
from keep_agent.store.migrations import NEWEST
from keep_agent.store.provision import open_or_provision
from processes import free_ports

PATIENCE_S = 60.0
TESTS = Path(__file__).parents[1]
HURRIED = (str(TESTS / "agent" / "hurried.py"),)
SAY = "basic-message"


@dataclass(frozen=True, slots=True)
class Scene:
    """An office of two processes, and Alice, who is one on SQLite; connected, automatic.

    Attributes:
        to_alice, to_office: each one's id of the connection.
    """

    a: Spawned
    b: Spawned
    alice: Spawned
    to_alice: str
    to_office: str

    async def say(self, by: Spawned, text: str) -> None:
        """Send a text to the other side."""
        to = self.to_office if by is self.alice else self.to_alice
        await by.client.start(SAY, "send-message", to, content=text)

    async def heard(self, by: Spawned, count: int) -> list[str]:
        """Return the texts that came in, the oldest first, once there are so many."""
        found: list[Any] = []

        async def enough() -> bool:
            found[:] = await by.client.list(SAY, state="received", limit=1000)
            return len(found) >= count

        await until(enough)
        return [x["data"]["lines"][0]["content"] for x in reversed(found)]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 - other processes set no event of ours
            await asyncio.sleep(0.05)


async def waiting(process: Spawned) -> int:
    """Return how many messages a process has to send."""
    return int((await process.client.status())["outbox"])


@asynccontextmanager
async def scene(folder: Path, url: str) -> AsyncGenerator[Scene]:
    async with AsyncExitStack() as stack:
        ports = stack.enter_context(free_ports(3))
        await wallets.give_issuer_keys(parse(url), folder)
        common = {"PYTHONPATH": str(TESTS), "STORE_KEY": wallets.STORE_KEY}
        shared = {"STORE_URI": url, "ENDPOINT": f"http://127.0.0.1:{ports[0]}", **common}

        async def start(title: str, **more: str) -> Spawned:
            return await stack.enter_async_context(spawned(folder / title, HURRIED, **more))

        a = await start("a", PORT=str(ports[1]), **shared)
        b = await start("b", PORT=str(ports[2]), **shared)
        alice = await start("alice", **common)
        await stack.enter_async_context(balancer(ports[0], ports[1:]))
        await automate(a.client)
        await automate(alice.client)
        await until(lambda: _knows_policies(b.client))
        yield Scene(a, b, alice, *await connect(a.client, alice.client))


async def _knows_policies(client: Client) -> bool:
    return len((await client.call("GET", "/v1/policies"))["results"]) == len(AUTOMATIC)


@pytest.fixture
async def on(postgres: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path, postgres) as found:
        yield found


async def test_two_processes_are_one_agent(on: Scene) -> None:
    """Messages, credentials, waiting calls and events: what one does the other knows."""
    events = [asyncio.create_task(_ends(p, 8)) for p in (on.a, on.b)]
    for n in range(4):
        await on.say((on.a, on.b)[n % 2], f"to alice {n}")
        await on.say(on.alice, f"to office {n}")
    assert sorted(await on.heard(on.alice, 4)) == [f"to alice {n}" for n in range(4)]
    for process in (on.a, on.b):
        assert sorted(await on.heard(process, 4)) == [f"to office {n}" for n in range(4)]
    begun = [
        await process.client.start(
            "issue-credential",
            "send-offer",
            on.to_alice,
            cred_def_id=wallets.LICENCE_INDY,
            values={**wallets.ALICE, "number": str(n)},
        )
        for n, process in enumerate((on.a, on.b, on.a, on.b))
    ]
    for x, other in zip(begun, (on.b, on.a, on.b, on.a), strict=True):
        await other.client.wait("issue-credential", x["id"], "done", timeout=PATIENCE_S)
    held = (await on.alice.client.call("GET", "/v1/credentials"))["results"]
    assert sorted(c["values"]["number"] for c in held) == list("0123")
    first, second = await asyncio.gather(*events)
    assert first == second
    await _cursor_moves(on)


async def test_a_command_that_is_given_to_both_counts_once(on: Scene) -> None:
    for n in range(5):
        start = [
            p.client.start(SAY, "send-message", on.to_alice, thid=f"once-{n}", content=f"{n}")
            for p in (on.a, on.b)
        ]
        one, other = await asyncio.gather(*start)
        assert one["id"] == other["id"]
    assert sorted(await on.heard(on.alice, 5)) == list("01234")


async def _ends(process: Spawned, count: int) -> list[str]:
    """Return the exchanges whose end a reader of the event stream sees, up to so many."""
    headers = {"X-API-Key": process.key, "Accept": "text/event-stream"}
    url = f"{process.places['admin_url']}/v1/events?after=0"
    found: list[str] = []
    async with (
        asyncio.timeout(PATIENCE_S),
        aiohttp.ClientSession(headers=headers) as session,
        session.get(url) as stream,
    ):
        async for line in stream.content:
            if not line.startswith(b"data: "):
                continue
            event = json.loads(line[6:])
            if event.get("state") in {"sent", "received", "done"}:
                found.append(event["id"])
            if len(found) == count:
                return found
    return found


async def _cursor_moves(on: Scene) -> None:
    """A reader that asks now the one, now the other sees each event once and in order."""
    one: list[int] = []
    for process in (on.a, on.b):
        page = await process.client.call("GET", "/v1/events", query={"limit": 1000})
        whole = [e["n"] for e in page["results"]]
        assert whole == sorted(set(whole))
        assert one in ([], whole)
        one = whole
    seen: list[int] = []
    turn = 0
    while len(seen) < len(one):
        after = seen[-1] if seen else 0
        query = {"after": after, "limit": 3}
        page = await (on.a, on.b)[turn % 2].client.call("GET", "/v1/events", query=query)
        seen += [e["n"] for e in page["results"]]
        turn += 1
    assert seen == one


async def test_what_a_killed_process_left_the_other_one_does(on: Scene) -> None:
    """A is killed with messages that nobody has: they arrive once, and so does all that follows."""
    texts = [f"left {n}" for n in range(5)]
    on.alice.process.send_signal(signal.SIGSTOP)
    for text in texts:
        await on.say(on.a, text)
    on.a.process.kill()
    await on.a.process.wait()
    on.alice.process.send_signal(signal.SIGCONT)
    for n in range(5):
        await on.say(on.alice, f"to whoever lives {n}")
    assert len(await on.heard(on.b, 5)) == 5
    assert await on.heard(on.alice, 5) == texts
    await on.say(on.b, "after")
    assert await on.heard(on.alice, 6) == [*texts, "after"]
    await until(lambda: _nothing_waits(on.b))


async def test_a_process_ends_when_a_newer_version_takes_the_store(
    postgres: str, tmp_path: Path
) -> None:
    more = {"PYTHONPATH": str(TESTS), "STORE_KEY": wallets.STORE_KEY, "STORE_URI": postgres}
    async with spawned(tmp_path / "a", HURRIED, **more) as a:
        askar = await open_or_provision(parse(postgres), wallets.STORE_KEY)
        async with askar.transaction() as tx:
            state = json.dumps({"version": NEWEST, "to": NEWEST + 1})
            await tx.replace("meta", "version", state)
            await tx.commit()
        await askar.close()
        assert await ended(a.process) == 2
    log = (tmp_path / "a" / "log").read_text("utf-8")
    assert "indykeep: a newer indykeep wrote this store" in log
    assert "Traceback" not in log


async def _nothing_waits(process: Spawned) -> bool:
    return not await waiting(process)


async def test_a_process_that_was_away_goes_on_under_a_new_name(
    on: Scene, tmp_path: Path
) -> None:
    """A is stopped until B has its work; when it comes back it writes nothing as the old one."""
    texts = [f"left {n}" for n in range(5)]
    on.alice.process.send_signal(signal.SIGSTOP)
    for text in texts:
        await on.say(on.a, text)
    on.a.process.send_signal(signal.SIGSTOP)

    async def taken_over() -> bool:
        return await waiting(on.b) == len(texts)

    await until(taken_over)
    on.a.process.send_signal(signal.SIGCONT)
    on.alice.process.send_signal(signal.SIGCONT)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await on.say(on.a, "after")
            except UnavailableError:  # it has no new name yet
                await asyncio.sleep(0.05)
            else:
                break
    assert sorted(await on.heard(on.alice, 6)) == sorted([*texts, "after"])
    for process in (on.a, on.b):
        await until(lambda each=process: _nothing_waits(each))  # type: ignore[misc]
        entered = [
            (e["id"], e["state"])
            for e in (await process.client.call("GET", "/v1/events"))["results"]
            if e["type"] == "exchange"
        ]
        assert len(entered) == len(set(entered))
    assert "this process has a new name" in (tmp_path / "a" / "log").read_text("utf-8")
