"""Kill two agents again and again while they issue, prove and talk; then look whether all is well.

`./manage campaign --kills 300 --seed 7` is the long form; the tests run a short one.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wallets
from bench.raw import question
from bench.scene import publish
from campaigns.lives import Agent, Mortal, agent, shared_agent
from campaigns.mortal import PLACES, SILENT_S, At, Fuse
from pool import Network
from postgres import MISSING, Server, programs, running
from two_agents import AUTOMATIC, automate, connect

from keep_agent.client import Client, Exchanges
from keep_agent.core.message import new_id
from keep_agent.errors import KeepError, UnavailableError
from processes import free_ports, run
from usage import reader

AT_ONCE = 3
AWAY = 0.2
"""How often a process that shares its store stays away until others have taken over its work."""
PATIENCE_S = 90.0
"""An exchange that has not ended so long after the last kill is lost."""

ISSUE, PROVE, SAY = "issue-credential", "present-proof", "basic-message"


@dataclass
class Report:
    """What a campaign did and found.

    Attributes:
        kills: by the place where the fuse was; `outside`: while it was somewhere.
        failures: what is wrong, in words; empty is what we want.
    """

    seed: int
    kills: Counter[str] = field(default_factory=Counter[str])
    exchanges: Counter[str] = field(default_factory=Counter[str])
    failures: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    def __str__(self) -> str:
        """Tell it in a few lines."""
        places = ", ".join(f"{at} {n}" for at, n in self.kills.most_common())
        done = ", ".join(f"{n} {what}" for what, n in self.exchanges.items())
        return "\n".join(
            (
                f"seed {self.seed}: {self.kills.total()} kills in {self.seconds:.0f} s ({places})",
                f"exchanges: {done}; failures: {len(self.failures)}",
                *self.failures[:20],
            )
        )


def draw(chance: random.Random) -> Fuse:
    """Draw a point to die at; half of them are steps of the event loop, the other half places."""
    at: At = "step"
    if chance.random() < 0.5:
        at = chance.choice(list(PLACES))
    most = {"step": 300, "native": 4}.get(at, 8)
    delay = {"native": 0.040, "commit": 0.003, "receive": 0.004, "send": 0.004}.get(at, 0.0)
    return Fuse(at, chance.randint(1, most), chance.uniform(0, delay) if delay else 0.0)


@dataclass
class Campaign:
    """One run: who there is, what was begun, and what came of it."""

    office: Agent
    alice: Agent
    kills: int
    report: Report
    pool: Network | None = None
    cred_def_id: str = wallets.LICENCE_INDY
    peers: dict[str, str] = field(default_factory=dict[str, str])
    begun: dict[str, list[str]] = field(default_factory=lambda: {ISSUE: [], PROVE: [], SAY: []})
    numbers: list[str] = field(default_factory=list[str])
    over: bool = False

    async def run(self) -> None:
        """Kill and work; then wait until all has come to its end, and look."""
        began = time.monotonic()
        for each in self._processes:
            await each.begin(None)
            await each.answers()
        for side in self._both:
            await automate(side.client)
            await _know_policies(side)
        ours, theirs = await connect(self.office.client, self.alice.client)
        self.peers = {self.office.title: ours, self.alice.title: theirs}
        if self.pool is not None:
            self.cred_def_id = await publish(self.pool, self.office.client)
        await self._issue("first")
        chance = random.Random(self.report.seed)
        async with asyncio.TaskGroup() as tasks:
            numbers = itertools.count()
            work = [tasks.create_task(self._work(numbers, chance)) for _ in range(AT_ONCE)]
            await asyncio.gather(
                *(self._kill(each, random.Random(chance.random())) for each in self._processes),
                self._kill_pool(random.Random(chance.random())),
            )
            self.over = True
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await asyncio.gather(*work)
                    await self._settled()
            except TimeoutError:
                self.report.failures.append("not all had ended when patience did")
                for task in work:
                    task.cancel()
        await self._look()
        self.report.seconds = time.monotonic() - began

    @property
    def _both(self) -> tuple[Agent, Agent]:
        return self.office, self.alice

    @property
    def _processes(self) -> tuple[Mortal, ...]:
        return (*self.office.processes, *self.alice.processes)

    @property
    def _crowd(self) -> int:
        """How many processes an agent has."""
        return len(self.office.processes)

    # -- killing ---------------------------------------------------------------------------------

    async def _kill(self, victim: Mortal, chance: random.Random) -> None:
        """End life after life of one process, until all together have died often enough."""
        await victim.end(chance.uniform(0.1, 0.5))
        self.report.kills["outside"] += 1
        while self.report.kills.total() < self.kills:
            fuse = draw(chance)
            await victim.begin(fuse)
            burnt = await victim.end(chance.uniform(1.0, 2.0) * self._crowd)
            self.report.kills[fuse.at if burnt else "outside"] += 1
            if self._crowd > 1 and chance.random() < AWAY:
                await asyncio.sleep(chance.uniform(1, 2) * SILENT_S)  # its work is taken over
        await victim.begin(None)
        await victim.answers()

    async def _kill_pool(self, chance: random.Random) -> None:
        """Kill all nodes of the network now and then, and start them again after a while."""
        pool = self.pool
        while pool is not None and self.report.kills.total() < self.kills:
            await asyncio.sleep(chance.uniform(1, 5))
            for pid in set((await asyncio.to_thread(lambda: pool.pids)).values()):
                os.kill(pid, signal.SIGKILL)
            self.report.kills["pool"] += 1
            await asyncio.sleep(chance.uniform(0, 3))
            await asyncio.to_thread(pool.start)

    # -- working ---------------------------------------------------------------------------------

    async def _work(self, numbers: Iterator[int], chance: random.Random) -> None:
        while not self.over:
            number = f"{next(numbers)}"
            await chance.choice((self._issue, self._issue, self._prove, self._say))(number)

    async def _issue(self, number: str) -> None:
        self.numbers.append(number)
        values = {**wallets.ALICE, "number": number}
        await self._run(
            self.office, ISSUE, "send-offer", cred_def_id=self.cred_def_id, values=values
        )

    async def _prove(self, _number: str) -> None:
        asked = question(self.cred_def_id)
        await self._run(self.office, PROVE, "send-request", request=asked)

    async def _say(self, number: str) -> None:
        speaker = self.alice if int(number) % 2 else self.office
        thid = new_id()
        self.begun[SAY].append(thid)
        await self._start(speaker, SAY, "send-message", thid, content=number)

    async def _run(self, by: Agent, family: str, command: str, **args: Any) -> None:
        thid = new_id()
        self.begun[family].append(thid)
        name = await self._start(by, family, command, thid, **args)
        try:
            await _insist(lambda: by.client.wait(family, name, "done", timeout=PATIENCE_S))
        except (KeepError, TimeoutError) as error:
            self._fail(f"{family} {thid} at {by.title}: {error}")

    async def _start(self, by: Agent, family: str, command: str, thid: str, **args: Any) -> str:
        """Give a command until it is taken: under one thread, it counts once."""
        x = await _insist(
            lambda: by.client.start(family, command, self.peers[by.title], thid=thid, **args)
        )
        return str(x["id"])

    async def _settled(self) -> None:
        """Wait until nothing is on its way any more."""
        for process in self._processes:
            while (await process.client.status())["outbox"]:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.1)
        for each in self._both:
            while len(await _every(each.client, SAY)) < len(self.begun[SAY]):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    # -- looking ---------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Compare what both sides have with what was begun."""
        for family, thids in self.begun.items():
            self.report.exchanges[family] = len(thids)
            for each in self._both:
                there = await _every(each.client, family)
                self._compare(
                    f"{family} at {each.title}", Counter(x["thid"] for x in there), thids
                )
                good = {"done"} if family != SAY else {"sent", "received"}
                self.report.failures += [
                    f"{family} {x['id']} is {x['state']} at {each.title}: {x['error']}"
                    for x in there
                    if x["state"] not in good
                ]
        await self._look_at_records()
        for each in self._both:
            self._look_at_log(each.title, [e async for e in _log(each.client)])

    async def _look_at_records(self) -> None:
        held = await _held(self.alice.client)
        numbers = Counter(str(c["values"]["number"]) for c in held)
        self._compare("credentials", numbers, self.numbers)
        for each in self._processes:
            if left := (await each.client.status())["outbox"]:
                self._fail(f"{left} messages are left in the outbox of {each.title}")

    def _look_at_log(self, title: str, events: list[dict[str, Any]]) -> None:
        """No exchange enters a state twice, and nothing was given up."""
        entered = Counter((e["id"], e["state"]) for e in events if e["type"] == "exchange")
        for (name, state), count in entered.items():
            if count != 1:
                self._fail(f"{name} entered {state} {count} times at {title}")
        for event in events:
            if event["type"] == "dead-letter" or event.get("error"):
                self._fail(f"{title} logged {event}")

    def _compare(self, what: str, found: Counter[str], wanted: Sequence[str]) -> None:
        """Each that was begun must be there once, and nothing else."""
        for each in found.keys() | set(wanted):
            if (count := found[each]) != wanted.count(each):
                self._fail(f"{what}: {each} is there {count} times")

    def _fail(self, words: str) -> None:
        self.report.failures.append(words)


async def campaign(
    folder: Path,
    kills: int,
    seed: int,
    *,
    pool: Network | None = None,
    postgres: Server | None = None,
) -> Report:
    """Run a campaign in an empty folder.

    Args:
        pool: a network to use, and to kill too; None: ledgers in memory.
        postgres: where each agent has a database that two processes share; None: each has a file.
    """
    report = Report(seed)
    async with AsyncExitStack() as stack:
        if postgres is None:
            ports = stack.enter_context(free_ports(4))
            office = await stack.enter_async_context(agent("office", folder, ports[:2]))
            alice = await stack.enter_async_context(agent("alice", folder, ports[2:]))
        else:
            ports = stack.enter_context(free_ports(12))
            office, alice = [
                await stack.enter_async_context(
                    shared_agent(title, folder, some, await postgres.make(f"{title}_{seed}"))
                )
                for title, some in (("office", ports[:6]), ("alice", ports[6:]))
            ]
        if pool is None:
            await wallets.give_issuer_keys(office.store, office.processes[0].folder)
        else:
            for each in (*office.processes, *alice.processes):
                each.genesis = pool.genesis
        await Campaign(office, alice, kills, report, pool).run()
    return report


async def _know_policies(side: Agent) -> None:
    """Wait until every process has read what one of them was told."""
    for process in side.processes:
        known: Sequence[object] = ()
        while len(known) < len(AUTOMATIC):
            known = (await process.client.call("GET", "/v1/policies"))["results"]


async def _insist(call: Callable[[], Awaitable[Any]]) -> Any:
    """Repeat a call until somebody lives to answer it."""
    while True:
        try:
            return await call()
        except UnavailableError:
            await asyncio.sleep(0.05)


async def _every(client: Client, family: str) -> Exchanges:
    return [x async for x in client.every(family, limit=1000)]


async def _held(client: Client) -> list[dict[str, Any]]:
    """Return the credentials that an agent holds."""
    found: list[dict[str, Any]] = []
    while True:
        query = {"limit": 1000, "offset": len(found)}
        page = await client.call("GET", "/v1/credentials", query=query)
        found += page["results"]
        if len(page["results"]) < 1000:
            return found


async def _log(client: Client) -> AsyncGenerator[dict[str, Any]]:
    after = 0
    while page := (await client.call("GET", "/v1/events", query={"after": after}))["results"]:
        for event in page:
            yield event
        after = page[-1]["n"]


async def _main(args: argparse.Namespace) -> int:
    seed = args.seed if args.seed is not None else secrets.randbelow(10**6)
    print(f"seed {seed}", flush=True)  # noqa: T201
    folder = Path(tempfile.mkdtemp(prefix="indykeep-campaign-"))
    with ExitStack() as stack:
        pool = postgres = None
        if args.pool:
            pool = Network(folder / "network")
            stack.callback(pool.stop)
        if args.postgres:
            found = programs()
            if found is None:
                print(MISSING)  # noqa: T201
                return 1
            postgres = stack.enter_context(running(found))
        report = await campaign(folder, args.kills, seed, pool=pool, postgres=postgres)
    print(report)  # noqa: T201
    if report.failures:
        print(f"stores and logs are in {folder}")  # noqa: T201
    else:
        shutil.rmtree(folder)
    return 1 if report.failures else 0


def main() -> int:
    """Read the command line."""
    return run(_main(reader("campaign").parse_args()))


if __name__ == "__main__":
    sys.exit(main())
