"""Work for two agents: started over their APIs, waited for on one event stream each.

The driver shares the cores with the agents, so it never polls: the end of an exchange comes to it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import aiohttp
import psutil

from keep_agent.client import Client
from keep_agent.errors import KeepError

LATE_S = 120.0
"""An exchange that has not ended by then counts as lost."""


class FailedError(Exception):
    """An exchange ended otherwise than it should."""


class Ends:
    """Tells when exchanges of one agent reach a state, from its stream of events."""

    def __init__(self) -> None:
        self._reached: set[tuple[str, str]] = set()
        self._failed: dict[str, str] = {}
        self._wanted: dict[str, list[tuple[str, asyncio.Future[None]]]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    async def at(self, thid: str, state: str) -> None:
        """Return when the exchange on this thread reaches that state.

        Raises:
            FailedError: it went wrong.
        """
        if thid in self._failed:
            raise FailedError(self._failed[thid])
        if (thid, state) not in self._reached:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wanted.setdefault(thid, []).append((state, future))
            await future

    def count(self, protocol: str, state: str) -> int:
        """Return how many exchanges of a protocol have reached a state so far."""
        return self._counts[protocol, state]

    async def nth(self, protocol: str, state: str, number: int) -> None:
        """Return when that many exchanges of a protocol have reached a state."""
        if self.count(protocol, state) < number:
            await self.at(f"{protocol} {number}", state)

    def take(self, event: dict[str, str]) -> None:
        """Take in one event of the stream."""
        if event["type"] != "exchange":
            return
        protocol, thid, state = event["protocol"], event["thid"], event["state"]
        self._counts[protocol, state] += 1
        self._settle(thid, state, event.get("error"))
        self._settle(f"{protocol} {self._counts[protocol, state]}", state, None)

    def _settle(self, thid: str, state: str, error: str | None) -> None:
        self._reached.add((thid, state))
        if error is not None:
            self._failed[thid] = error
        waiting = self._wanted.pop(thid, [])
        for wanted, future in waiting:
            if future.done():
                continue
            if error is not None:
                future.set_exception(FailedError(error))
            elif wanted == state:
                future.set_result(None)
            else:
                self._wanted.setdefault(thid, []).append((wanted, future))


@dataclass
class Party:
    """One agent as the driver sees it.

    Attributes:
        peer: what it calls its connection with the other one.
    """

    name: str
    client: Client
    process: psutil.Process
    ends: Ends
    peer: str = ""

    def connected(self, peer: str) -> Party:
        """Return the same agent on another connection."""
        return replace(self, peer=peer)

    def cpu_s(self) -> float:
        """Return the CPU that its process has used, user and system, all threads."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def rss_mb(self) -> float:
        """Return the memory that it holds, in MB of 10^6 bytes."""
        return float(self.process.memory_info().rss) / 1e6


@asynccontextmanager
async def party(
    name: str, admin: str, key: str, client: Client, pid: int
) -> AsyncGenerator[Party]:
    """Follow an agent's events until the end of the block."""
    ends = Ends()
    async with asyncio.TaskGroup() as tasks:
        ready = asyncio.Event()
        task = tasks.create_task(_follow(admin, key, ends, ready), name=f"events of {name}")
        await ready.wait()
        yield Party(name, client, psutil.Process(pid), ends)
        task.cancel()


async def _follow(admin: str, key: str, ends: Ends, ready: asyncio.Event) -> None:
    headers = {"X-API-Key": key, "Accept": "text/event-stream"}
    endless = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(headers=headers, timeout=endless) as session,
        session.get(f"{admin}/v1/events?after=latest") as stream,
    ):
        stream.raise_for_status()
        ready.set()
        async for line in stream.content:
            if line.startswith(b"data: "):
                ends.take(json.loads(line[6:]))


@dataclass(frozen=True, slots=True)
class Spent:
    """What some items cost.

    Attributes:
        cpu_s: by party, for all items.
        lost: items that did not end well in time.
    """

    items: int
    wall_s: float
    cpu_s: dict[str, float]
    lost: int

    @property
    def per_s(self) -> float:
        """Items per second of the clock."""
        return self.items / self.wall_s

    @property
    def cpu_ms(self) -> float:
        """CPU of one item over all parties, in ms."""
        return 1000 * sum(self.cpu_s.values()) / self.items

    def cpu_ms_of(self, name: str) -> float:
        """CPU of one item at one party, in ms."""
        return 1000 * self.cpu_s[name] / self.items


@dataclass
class Load:
    """Runs items against the parties; counts all that get lost over the whole run."""

    parties: tuple[Party, ...]
    lost: int = 0
    errors: list[str] = field(default_factory=list[str])

    async def run(
        self, items: int, at_once: int, item: Callable[[int], Awaitable[None]]
    ) -> Spent:
        """Run `item` for 0, 1, 2 ..., so many at once, and measure."""
        numbers = iter(range(items))
        lost_before = self.lost
        before = {each.name: each.cpu_s() for each in self.parties}
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(at_once, items)):
                tasks.create_task(self._worker(numbers, item))
        wall_s = time.monotonic() - began
        cpu = {each.name: each.cpu_s() - before[each.name] for each in self.parties}
        return Spent(items, wall_s, cpu, self.lost - lost_before)

    async def _worker(
        self, numbers: Iterator[int], item: Callable[[int], Awaitable[None]]
    ) -> None:
        for number in numbers:
            await self.run_one(number, item)

    async def run_one(self, number: int, item: Callable[[int], Awaitable[None]]) -> None:
        """Run one item to its end; what goes wrong is noted."""
        try:
            async with asyncio.timeout(LATE_S):
                await item(number)
        except (KeepError, FailedError, TimeoutError) as error:
            self.lost += 1
            self.errors.append(f"{type(error).__name__}: {error}")


def credentials(
    issuer: Party, holder: Party, cred_def_id: str, values: dict[str, str]
) -> Callable[[int], Awaitable[None]]:
    """Return the item: a credential, from the offer to done on both sides."""

    async def issue(_number: int) -> None:
        x = await issuer.client.start(
            "issue-credential",
            "send-offer",
            issuer.peer,
            cred_def_id=cred_def_id,
            values=values,
        )
        await holder.ends.at(x["thid"], "done")
        await issuer.ends.at(x["thid"], "done")

    return issue


def presentations(
    verifier: Party, prover: Party, question: Callable[[], dict[str, object]]
) -> Callable[[int], Awaitable[None]]:
    """Return the item: a proof, from the request to verified and done on both sides."""

    async def prove(_number: int) -> None:
        x = await verifier.client.start(
            "present-proof", "send-request", verifier.peer, request=question()
        )
        await verifier.ends.at(x["thid"], "done")
        await prover.ends.at(x["thid"], "done")

    return prove


def messages(sender: Party, receiver: Party) -> Callable[[int], Awaitable[None]]:
    """Return the item: a basic message, from the command to kept by the receiver."""

    async def say(number: int) -> None:
        x = await sender.client.start(
            "basic-message", "send-message", sender.peer, content=f"number {number}"
        )
        await receiver.ends.at(x["thid"], "received")

    return say


def connections(inviter: Party, invitee: Party) -> Callable[[int], Awaitable[None]]:
    """Return the item: a connection, from the invitation to completed on both sides."""
    done = "didexchange/1", "completed"
    before = inviter.ends.count(*done), invitee.ends.count(*done)

    async def connect(number: int) -> None:
        x = await inviter.client.start("out-of-band", "create-invitation")
        url = x["data"]["url"]
        await invitee.client.start("out-of-band", "receive-invitation", url=url)
        await inviter.ends.nth(*done, before[0] + number + 1)
        await invitee.ends.nth(*done, before[1] + number + 1)

    return connect
