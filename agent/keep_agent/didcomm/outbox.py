"""From committed to delivered: lanes, backoff, dead letters, and replies that come back.

Messages of one lane leave one after the other; lanes do not wait for each other. Every message is
delivered at least once under an @id that never changes. Delivered ones are forgotten in batches, so a
crash may send the last few again, which peers that keep message ids drop.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol as Port
from weakref import WeakValueDictionary

from keep_agent.core.machine import Put, Target
from keep_agent.core.message import Json, write_json
from keep_agent.didcomm.envelope import seal
from keep_agent.errors import ConflictError, KeepError, UnavailableError
from keep_agent.identity.connections import CONNECTION, Connection
from keep_agent.identity.keys import Keys
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit, Outgoing, day
from keep_agent.transport.egress import (
    Blocked,
    Delivered,
    Delivery,
    Perhaps,
    Refused,
    Retry,
)

log = logging.getLogger(__name__)

AT_ONCE, AT_ONCE_TO_ONE = 128, 16
"""How many deliveries are under way, in all and to one host: a slow one must not stop the others."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
GIVE_UP_AFTER_S = 3 * 24 * 3600.0
SILENCE_S = 60.0
PERHAPS_TRIES = 3
CONTENT_TYPE = "application/ssi-agent-wire"
DEAD = "dead-letter"


Conversation = tuple[str | None, str]
"""Connection and thread."""


class Carrier(Port):
    """Takes packed bytes to a URL; see `transport.egress`."""

    async def post(self, url: str, body: bytes, content_type: str) -> Delivery:
        """Deliver one packed message; every outcome is a value."""
        ...


@dataclass(slots=True)
class _Lane:
    rows: deque[Outgoing] = field(default_factory=deque[Outgoing])
    running: bool = False


class Outbox:
    """Delivers what one tenant has committed."""

    def __init__(
        self,
        profile: Profile,
        keys: Keys,
        carrier: Carrier,
        take_reply: Callable[[bytes], Awaitable[object]],
    ) -> None:
        self._profile = profile
        self._keys = keys
        self._carrier = carrier
        self._take_reply = take_reply
        self._lanes: dict[str, _Lane] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._hosts: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._tasks: asyncio.TaskGroup | None = None
        self._fresh: list[Outgoing] = []
        self._doubts: dict[Conversation, set[str]] = {}

    async def run(self) -> None:
        """Deliver until cancelled, first of all what an earlier process left."""
        async with asyncio.TaskGroup() as tasks:
            left = self._profile.left
            names = {row.name for row in left}
            self._tasks = tasks
            try:
                self.take([*left, *(row for row in self._fresh if row.name not in names)])
                self._fresh.clear()
                await asyncio.Event().wait()
            finally:
                self._tasks = (
                    None  # a commit may still come; its messages leave after the start
                )

    @property
    def waiting(self) -> int:
        """How many messages are not delivered yet."""
        doubtful = sum(len(names) for names in self._doubts.values())
        return doubtful + sum(len(lane.rows) for lane in self._lanes.values())

    def take(self, rows: Iterable[Outgoing]) -> None:
        """Send these, committed just now; their lanes start at once."""
        if self._tasks is None:
            self._fresh += rows  # `run` sends them after those that it reads from the store
            return
        for row in rows:
            lane = self._lanes.setdefault(row.lane, _Lane())
            lane.rows.append(row)
            if not lane.running:
                lane.running = True
                self._tasks.create_task(self._drain(row.lane, lane), name=f"lane {row.lane}")

    def heard(self, connection: str | None, thid: str) -> None:
        """Note that something new came in on a thread: what was perhaps delivered was."""
        self._profile.delivered(list(self._doubts.pop((connection, thid), ())))

    async def _drain(self, name: str, lane: _Lane) -> None:
        while lane.rows:
            await self._deliver(lane.rows[0])
            lane.rows.popleft()
        lane.running = False
        self._lanes.pop(name, None)

    async def _deliver(self, row: Outgoing) -> None:
        """Send one message until it is delivered, refused, or too old."""
        pause, started = FIRST_PAUSE_S, time.monotonic()
        while True:
            outcome = await self._attempt(row)
            if not isinstance(outcome, Retry):
                return await self._settle(row, outcome)
            if time.monotonic() - started > GIVE_UP_AFTER_S:
                return await self._bury(row, f"not reachable for long: {outcome.reason}")
            log.warning("not delivered yet", extra={"thid": row.thid, "reason": outcome.reason})
            await asyncio.sleep(max(outcome.after or 0.0, pause * random.uniform(0.5, 1.0)))  # noqa: S311
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _settle(
        self, row: Outgoing, outcome: Delivered | Perhaps | Refused | Blocked
    ) -> None:
        match outcome:
            case Delivered(reply=reply):
                self._profile.delivered([row.name])
                if reply is not None:
                    await self._reply(reply)
            case Perhaps():
                self._doubt(row)
            case Refused(status=status):
                await self._bury(row, f"the peer answered {status}")
            case Blocked(reason=reason):
                await self._bury(row, reason)

    async def _attempt(self, row: Outgoing) -> Delivery:
        try:
            return await self._try(row)
        except Exception:  # the top of the pump: this message is tried again, others go on
            log.exception("delivery failed", extra={"thid": row.thid})
            return Retry("our own side failed", None)

    async def _try(self, row: Outgoing) -> Delivery:
        target, message = await self._way(row)
        if target is None:
            return Retry("the peer has no endpoint; its messages wait for it", LONGEST_PAUSE_S)
        sender = await self._keys.load(target.sender)
        if sender is None:
            return Blocked("the key that must seal it is gone")
        body = write_json(message)
        try:
            packed = seal(body, target.recipients, sender, target.routing)
        except KeepError as error:
            return Blocked(str(error))
        async with self._host(target.endpoint), self._at_once:
            return await self._carrier.post(target.endpoint, packed, CONTENT_TYPE)

    def _host(self, endpoint: str) -> asyncio.Semaphore:
        host = "/".join(endpoint.lower().split("/", 3)[:3])
        return self._hosts.setdefault(host, asyncio.Semaphore(AT_ONCE_TO_ONE))

    async def _way(self, row: Outgoing) -> tuple[Target | None, Json]:
        """Return where a message goes, and the message as it goes there."""
        record = (
            await self._profile.fetch(CONNECTION, row.connection) if row.connection else None
        )
        if record is None:
            return row.target, row.body
        connection = Connection.model_validate(record)
        return connection.target, connection.dressed(row.body)

    async def _reply(self, packed: bytes) -> None:
        try:
            await self._take_reply(packed)
        except KeepError as error:
            log.warning("reply on our own request refused", extra={"reason": str(error)})
        except Exception:  # ours was delivered, whatever became of what came back
            log.exception("reply on our own request failed")

    def _doubt(self, row: Outgoing) -> None:
        """Perhaps delivered: the lane goes on, and silence on the thread sends it again."""
        assert self._tasks is not None
        self._doubts.setdefault((row.connection, row.thid), set()).add(row.name)
        self._tasks.create_task(self._again_after_silence(row), name=f"doubt {row.name}")

    async def _again_after_silence(self, row: Outgoing) -> None:
        """Send again what the peer does not react to, until a clear answer or three unclear ones.

        A peer that is away for a while is no unclear answer: what surely was not handled waits on.
        """
        tries = 0
        while tries < PERHAPS_TRIES:
            await asyncio.sleep(SILENCE_S)
            if row.name not in self._doubts.get((row.connection, row.thid), ()):
                return
            outcome = await self._attempt(row)
            if isinstance(outcome, Perhaps):
                tries += 1
            elif not isinstance(outcome, Retry):
                self._trust(row)
                await self._settle(row, outcome)
                return
        self._trust(row)
        await self._bury(row, "perhaps delivered: sent again and again without a clear answer")

    def _trust(self, row: Outgoing) -> None:
        names = self._doubts.pop((row.connection, row.thid), set())
        names.discard(row.name)
        if names:
            self._doubts[row.connection, row.thid] = names

    async def _bury(self, row: Outgoing, reason: str) -> None:
        """Keep what cannot be delivered as a dead letter; its exchange and an event say why."""
        log.warning("message is undeliverable", extra={"thid": row.thid, "reason": reason})
        kind = str(row.body.get("@type"))
        letter: Json = {
            "message": row.body,
            "connection": row.connection,
            "reason": reason,
            "at": time.time(),
        }
        event = {"type": DEAD, "thid": row.thid, "message": kind, "reason": reason}
        while True:
            x = await self._profile.exchange(row.exchange) if row.exchange else None
            told = (replace(x, error=f"a message cannot be delivered: {reason}"),) if x else ()
            burial = Commit(
                exchanges=told,
                delivered=(row.name,),
                writes=(Put(DEAD, row.name, letter, {"~day": day(time.time())}),),
                events=(event,),
            )
            try:
                await self._profile.commit(burial)
            except ConflictError:
                continue
            except UnavailableError:
                await asyncio.sleep(FIRST_PAUSE_S)
            else:
                return
