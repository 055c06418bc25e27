"""What is to be done after a commit: pending commands, early messages, deadlines."""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Coroutine
from typing import Any

from keep_agent.core.dispatch import Dispatcher, thread_for
from keep_agent.core.machine import Exchange, Expired, Put, ReportProblem
from keep_agent.core.message import Json, Received
from keep_agent.core.policy import parse_command
from keep_agent.errors import ConflictError, KeepError, LocalError, PeerError, UnavailableError
from keep_agent.store.deadlines import due
from keep_agent.store.rows import DEAD, Commit, Waiting, day

log = logging.getLogger(__name__)

AT_ONCE = 16
EARLY_S = 30.0
FIRST_PAUSE_S = 0.5
MOST_FAILURES = 3
"""How often a message of the inbox is tried that fails on our own side."""
LONGEST_PAUSE_S = 30.0
TICK_S = 1.0
HOUR_S = 3600.0
STALE_MOST = 1024
"""How many outdated deadlines are kept in memory before they are removed."""


class Scheduler:
    """Runs the pending commands of the exchanges of one tenant, also those left by a restart."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._profile = dispatcher.profile
        self._protocols = dispatcher.context.protocols
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._tasks: asyncio.TaskGroup | None = None
        self._deadlines: list[tuple[float, str, int]] = []
        self._awaiting: dict[str, int] = {}
        self._ahead_until = 0.0
        self._under_way: set[tuple[str, str]] = set()
        self._failures: dict[str, int] = {}
        self._running: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether commands or early messages are under way."""
        return bool(self._running or self._dispatcher.early)

    async def run(self) -> None:
        """Work until cancelled, first of all on what an earlier process left."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await self._resume()
                while True:
                    await asyncio.sleep(TICK_S)
                    await self.tick()
            finally:
                self._tasks = (
                    None  # a commit may still come; what it leaves runs after the start
                )

    def follow(self, x: Exchange[Any]) -> None:
        """Start the work that a commit of this exchange left; called after each commit."""
        if self._tasks is None:
            return
        for pending in x.then:
            self._start(x.id, pending)
        self._watch(x)
        if not self._dispatcher.early:
            return
        peers = {x.connection, x.peer}
        for waiting, peer in list(self._dispatcher.early.values()):
            if peers.intersection(peer.ids):
                self._spawn(self._retry(waiting), f"early {waiting.name}")

    def try_early(self) -> None:
        """Handle early messages again: what they wait for may have been committed elsewhere."""
        for waiting, _ in list(self._dispatcher.early.values()):
            self.deliver(waiting)

    def deliver(self, waiting: Waiting) -> None:
        """Handle a message that waited in the inbox, now or when its time comes."""
        if self._tasks is not None:
            self._spawn(self._retry(waiting), f"inbox {waiting.name}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        assert self._tasks is not None
        task = self._tasks.create_task(_apart(work, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: work.close())  # cancelled before it began

    # -- pending commands ------------------------------------------------------------------------

    def _start(self, name: str, pending: Json) -> None:
        key = (name, repr(pending))
        if self._tasks is not None and key not in self._under_way:
            self._under_way.add(key)
            self._spawn(self._work(key, name, pending), f"then {name}")

    async def _work(self, key: tuple[str, str], name: str, pending: Json) -> None:
        """Run one pending command until it is settled; a crash here runs it again at start."""
        pause = FIRST_PAUSE_S
        try:
            while True:
                try:
                    async with self._at_once:
                        await self._or_give_up(name, pending)
                    break
                except UnavailableError as error:
                    log.warning("command waits", extra={"id": name, "reason": str(error)})
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
        finally:
            self._under_way.discard(key)
        x = self._profile.cached_exchange(name)
        if x is not None and pending in x.then:  # the same again, in the state it led to
            self._start(name, pending)

    async def _or_give_up(self, name: str, pending: Json) -> None:
        try:
            await self._once(name, pending)
        except UnavailableError:
            raise
        except Exception:  # the top of this command: one exchange fails, the others go on
            log.exception("command failed", extra={"id": name, "command": pending["command"]})
            await self._give_up(name, pending)

    async def _once(self, name: str, pending: Json) -> None:
        x = await self._profile.exchange(name)
        if x is None or pending not in x.then:
            return
        target = pending["protocol"] or x.protocol
        try:
            command = parse_command(
                self._protocols[target], pending["command"], pending["args"]
            )
            if pending["protocol"] is None:
                await self._dispatcher.command(name, command, ran=pending)
                return
            thid = thread_for(x, pending)
            await self._dispatcher.start(target, command, pending["connection"], thid)
            await self._dispatcher.note(name, None, pending)
        except LocalError as error:
            log.info("command not possible", extra={"id": name, "command": pending["command"]})
            await self._dispatcher.note(name, str(error), pending)

    async def _give_up(self, name: str, pending: Json) -> None:
        """Our side failed: end the exchange and tell the peer, rather than leave it waiting."""
        try:
            report = ReportProblem(
                code="internal-error", comment="our side failed; see its log"
            )
            await self._dispatcher.command(name, report)
        except UnavailableError:
            raise
        except KeepError as error:
            log.info("problem report not sent", extra={"id": name, "reason": str(error)})
        await self._dispatcher.note(name, "our side failed; see the log", pending)

    # -- early messages --------------------------------------------------------------------------

    async def _retry(self, waiting: Waiting) -> None:
        """Handle a message of the inbox again; what is still too early stays there."""
        self._dispatcher.early.pop(waiting.name, None)
        age = time.time() - waiting.arrived
        try:
            await self._take(waiting, final=age > EARLY_S)
        except UnavailableError:
            await asyncio.sleep(min(max(FIRST_PAUSE_S, age / 10), LONGEST_PAUSE_S))
            self.deliver(waiting)
        except (
            Exception
        ):  # the top of this message: one that always fails must not run for ever
            log.exception("message failed", extra={"id": waiting.name})
            await self._failed(waiting)

    async def _failed(self, waiting: Waiting) -> None:
        """Try a message again that failed on our own side, and put it aside after a few times (SEC-R04)."""
        tries = self._failures[waiting.name] = self._failures.get(waiting.name, 0) + 1
        if tries < MOST_FAILURES:
            await asyncio.sleep(FIRST_PAUSE_S)
            self.deliver(waiting)
            return
        del self._failures[waiting.name]
        reason = "our own side failed each time"
        letter: Json = {"message": waiting.body, "reason": reason, "at": time.time()}
        event = {"type": DEAD, "message": str(waiting.body.get("@type")), "reason": reason}
        put = Put(DEAD, waiting.name, letter, {"~day": day(time.time())}, new=True)
        aside = Commit(handled=(waiting.name,), writes=(put,), events=(event,))
        try:
            await self._profile.commit(aside)
        except ConflictError:  # said before: it was tried twice at once, or has been sent again
            await self._profile.commit(Commit(handled=(waiting.name,)))

    async def _take(self, waiting: Waiting, *, final: bool) -> None:
        received = Received(waiting.body, waiting.sender, waiting.recipient)
        try:
            await self._dispatcher.receive(received, waiting, final=final)
        except PeerError as error:
            log.warning("inbox message refused", extra={"reason": str(error)})
            await self._profile.commit(Commit(handled=(waiting.name,)))

    # -- time ------------------------------------------------------------------------------------

    async def _resume(self) -> None:
        for x in await self._profile.pending():
            self.follow(x)
        for waiting in await self._profile.inbox():
            self.deliver(waiting)
        await self._look_ahead()

    def look_again(self) -> None:
        """Look for deadlines soon: those of a process that is gone are ours, too."""
        self._ahead_until = 0.0

    async def _look_ahead(self) -> None:
        """Take up the deadlines of this hour and the next one; later ones stay in the store."""
        self._ahead_until = time.time() + HOUR_S
        for x in await due(self._profile, self._ahead_until):
            self._watch(x)

    def _watch(self, x: Exchange[Any]) -> None:
        """Remember the deadline of an exchange; it replaces an earlier one."""
        if x.due is None or x.due > self._ahead_until + HOUR_S:
            self._awaiting.pop(x.id, None)
            return
        self._awaiting[x.id] = x.revision
        heapq.heappush(self._deadlines, (x.due, x.id, x.revision))
        if len(self._deadlines) > 2 * len(self._awaiting) + STALE_MOST:
            self._deadlines = [d for d in self._deadlines if self._awaiting.get(d[1]) == d[2]]
            heapq.heapify(self._deadlines)

    async def tick(self) -> None:
        """Handle what is due: early messages and exchanges that waited too long."""
        now = time.time()
        if now > self._ahead_until:
            await self._look_ahead()
        for waiting, _ in list(self._dispatcher.early.values()):
            if now - waiting.arrived > EARLY_S:
                self.deliver(waiting)
        while self._deadlines and self._deadlines[0][0] <= now:
            _, name, revision = heapq.heappop(self._deadlines)
            if self._awaiting.get(name) == revision:
                await _apart(self._expire(name, revision), f"deadline {name}")

    async def _expire(self, name: str, revision: int) -> None:
        try:
            x = await self._profile.exchange(name)
            if x is not None and x.revision == revision:
                await self._dispatcher.command(name, Expired())
        except UnavailableError:
            again = time.time() + LONGEST_PAUSE_S
            heapq.heappush(self._deadlines, (again, name, revision))
        except LocalError as error:
            log.warning("exchange did not expire", extra={"id": name, "reason": str(error)})


async def _apart(work: Coroutine[Any, Any, None], name: str) -> None:
    """Log an error of one task, so that it does not end the other tasks and the agent."""
    try:
        await work
    except Exception:  # the top of this task
        log.exception("work failed", extra={"task": name})
