"""Delivery of committed messages: attempts, backoff, dead letters, and replies.

Every message is delivered at least once under an @id that never changes. `lanes` says which of them
is sent next, `attempt` makes one attempt, and this module acts on its outcome. Delivered messages are
removed in batches, so the last few may be sent again after a crash; peers that keep message ids drop them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from keep_agent.core.message import Json, write_json
from keep_agent.didcomm.attempt import (
    OUR_TRIES,
    Attempts,
    Carrier,
    EndpointChanged,
    Outcome,
    TooLong,
)
from keep_agent.didcomm.lanes import Attempt, Lane, Lanes, Peer, QueuedMessage, Slot
from keep_agent.didcomm.slots import Slots
from keep_agent.didcomm.undelivered import Undelivered, exchange_of
from keep_agent.errors import KeepError, UnavailableError
from keep_agent.identity.connections import CONNECTION
from keep_agent.identity.keys import Keys
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Outgoing
from keep_agent.transport.egress import Blocked, Delivered, Refused, Retry, Unclear

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
TICK_S = 0.001
"""A timer may be early by less than this."""
GIVE_UP_AFTER_S = 3 * 24 * 3600.0
SILENCE_S = 60.0
PERHAPS_TRIES = 3
MOST_IN_MEMORY = 16 << 20
"""Bytes of messages kept in memory; others are read from the store when they are sent."""

TOO_LARGE_STATUS = 413
FULL = "too many messages wait for a peer that is not reachable"

Conversation = tuple[str | None, str]
"""Connection and thread."""


async def _nothing_to_end(_exchange: str, _reason: str) -> None:
    """For an outbox without exchanges."""


class Outbox:
    """Delivers what one tenant has committed.

    Attributes:
        on_too_long: called with the exchange of a message that is too long for its peer, and why.
    """

    def __init__(
        self,
        profile: Profile,
        keys: Keys,
        carrier: Carrier,
        take_reply: Callable[[bytes], Awaitable[object]],
        slots: Slots,
    ) -> None:
        self.on_too_long: Callable[[str, str], Awaitable[None]] = _nothing_to_end
        self._records = profile
        self._undelivered = Undelivered(profile)
        self._attempts = Attempts(profile, keys, carrier)
        self._take_reply = take_reply
        self._slots = slots
        self._lanes = Lanes()
        self._tasks: asyncio.TaskGroup | None = None
        self._fresh: list[Outgoing] = []
        self._chores: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._unclear: dict[Conversation, set[QueuedMessage]] = {}
        self._in_memory = 0

    async def run(self) -> None:
        """Deliver until cancelled, first what an earlier process left."""
        async with asyncio.TaskGroup() as tasks:
            left = self._undelivered.left()
            names = {row.name for row in left}
            self._tasks = tasks
            try:
                for row in left:
                    self._take(row, new=False)
                self.take(row for row in self._fresh if row.name not in names)
                self._fresh.clear()
                while True:
                    await self._do(await self._chores.get())
            finally:
                self._tasks = None  # messages of a later commit are sent after the next start

    # -- input -----------------------------------------------------------------------------------

    def take(self, rows: Iterable[Outgoing], *, new: bool = True) -> None:
        """Send these messages, which were committed just now.

        Args:
            new: False: another process left them, and they do not count towards the limit.
        """
        if self._tasks is None:
            self._fresh += rows  # `run` sends them after those that it reads from the store
            return
        for row in rows:
            self._take(row, new=new)

    def drop(self) -> None:
        """Forget what waits: another process sends it."""
        self._fresh.clear()
        for peer in tuple(self._lanes.peers.values()):
            for message in tuple(peer.messages.values()):
                self._unmark(message)
                self._forget(message)

    def note_size(self, thid: str, size: int) -> None:
        """Note how many bytes were received on a thread: they limit what is sent on it."""
        self._attempts.note_size(thid, size)

    def note_received(self, connection: str | None, thid: str) -> None:
        """Note that a new message was received on a thread: so unclear messages on it were delivered."""
        for message in self._unclear.pop((connection, thid), ()):
            self._delivered(message)
        peer = self._lanes.peers.get(connection) if connection else None
        if peer is not None and peer.failures:
            self._lanes.wake(peer, _now())
            self._fill(peer.lane)

    def note_changed(self, connection: str) -> None:
        """Note that a connection has changed: its peer may have another endpoint."""
        if connection in self._lanes.peers:
            self._chores.put_nowait(partial(self._find, self._lanes.peers[connection]))

    # -- status ----------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many messages are not delivered yet."""
        return len(self._fresh) + sum(len(p.messages) for p in self._lanes.peers.values())

    def waiting_for(self) -> list[Json]:
        """Return the peers for whom messages wait, since when and why; the longest wait comes first."""
        now = _now()
        found = [peer.shown(now) for peer in self._lanes.peers.values() if peer.messages]
        return sorted(found, key=lambda each: -each["oldest_s"])

    # -- messages and peers -----------------------------------------------------------------------

    def _take(self, row: Outgoing, *, new: bool) -> None:
        peer = self._peer_of(row)
        size, now = len(write_json(row.body)), _now()
        message = QueuedMessage(row.name, row.thid, row.line, peer, size, now)
        full = new and peer.full(size, now)
        if self._in_memory + size <= MOST_IN_MEMORY:
            message.row = row
            self._in_memory += size
        self._lanes.keep(message)
        if full:
            self._chores.put_nowait(partial(self._dead, message, FULL))
            return
        self._lanes.push(message, now)
        self._fill(peer.lane)

    def _forget(self, message: QueuedMessage) -> None:
        if message.row is not None:
            self._in_memory -= message.size
            message.row = None
        self._lanes.settle(message)

    def _peer_of(self, row: Outgoing) -> Peer:
        if row.connection is None and row.target is not None:
            key = f"{row.target.endpoint} {row.target.recipients[0]}"
            peer = self._lanes.peer(key, None)
            self._lanes.place(peer, row.target.endpoint, _now())
            return peer
        key = row.connection or ""
        peer = self._lanes.peer(key, row.connection)
        if not peer.placed:
            record = self._records.cached(CONNECTION, key)
            if record is not None:
                self._lanes.place(peer, record["endpoint"], _now())
            elif not peer.messages:
                self._chores.put_nowait(partial(self._find, peer))
        return peer

    def _delivered(self, message: QueuedMessage) -> None:
        self._forget(message)
        self._undelivered.delivered(message.name)

    async def _dead(self, message: QueuedMessage, reason: str) -> None:
        await self._undelivered.dead(message, reason)
        self._forget(message)

    async def _find(self, peer: Peer) -> None:
        """Look up the endpoint of a peer."""
        record = await self._records.fetch(CONNECTION, peer.key)
        endpoint = record["endpoint"] if record else await self._target(peer)
        lane = self._lanes.place(peer, endpoint, _now())
        self._lanes.wake(peer, _now())
        self._fill(lane)

    async def _target(self, peer: Peer) -> str | None:
        """Return the endpoint in a peer's message."""
        for message in peer.messages.values():
            row = message.row or await self._undelivered.load(message.name)
            return row.target.endpoint if row is not None and row.target is not None else None
        return None

    async def _do(self, chore: Callable[[], Awaitable[None]]) -> None:
        try:
            await chore()
        except UnavailableError:
            await asyncio.sleep(FIRST_PAUSE_S)
            self._chores.put_nowait(chore)
        except Exception:  # the top of the outbox: others go on
            log.exception("delivery failed")

    # -- attempts --------------------------------------------------------------------------------

    def _fill(self, lane: Lane | None) -> None:
        """Start as many attempts of a lane as may be under way."""
        while lane is not None and self._tasks is not None:
            attempt = self._lanes.next(lane, _now(), more=self._slots.more > 0)
            if attempt is None:
                return
            name = f"deliver {attempt.message.name}"
            task = self._tasks.create_task(self._attempt(attempt), name=name)
            if attempt.slot is Slot.MORE:
                self._slots.more -= 1
                task.add_done_callback(self._give_back)

    def _give_back(self, _task: asyncio.Task[None]) -> None:
        self._slots.more += 1

    async def _attempt(self, attempt: Attempt) -> None:
        """Make one attempt and act on its outcome."""
        message, again = attempt.message, True
        try:
            again = await self._settle(attempt, await self._try(attempt))
        except (
            Exception
        ):  # the top of the outbox: others go on, this one is tried some times more
            log.exception("delivery failed", extra={"thid": message.thid})
            again = self._fault(attempt)
        finally:
            again = again and not message.settled
            stays = message.peer.lane is attempt.lane
            self._lanes.end(attempt, _now(), again=again, hold=again and stays)
        self._fill(attempt.lane)
        if message.peer.lane is not attempt.lane:
            self._fill(message.peer.lane)

    async def _try(self, attempt: Attempt) -> Outcome:
        message = attempt.message
        hurry = attempt.slot is Slot.PROBE or attempt.lane.troubled
        async with self._slots.held(attempt.slot):
            try:
                row = message.row or await self._undelivered.load(message.name)
            except UnavailableError as error:
                return Retry(str(error), None)
            if row is None:
                return Delivered(None)  # another process has dealt with it
            return await self._attempts.make(message, row, attempt.lane.endpoint, hurry=hurry)

    def _fault(self, attempt: Attempt) -> bool:
        """Give up a message that always fails on our own side; tell whether it is tried again."""
        message = attempt.message
        message.faults += 1
        if message.faults < OUR_TRIES:
            self._pause(attempt, Retry("our side failed", None))
            return True
        why = "our side failed each time; see the log"
        self._chores.put_nowait(partial(self._dead, message, why))
        return False

    # -- outcomes --------------------------------------------------------------------------------

    async def _settle(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Act on an outcome; tell whether the message keeps its place in its line."""
        message = attempt.message
        if isinstance(outcome, Delivered):
            await self._arrived(attempt, outcome.reply)
            return False
        if message.settled:
            return False
        match outcome:
            case Unclear(reason=reason):
                self._lanes.failed(attempt, reason, _now())
                await self._mark_unclear(message)
            case Retry():
                return await self._later(attempt, outcome)
            case EndpointChanged(endpoint=endpoint):
                self._lanes.place(message.peer, endpoint, _now())
                return True
            case Refused(status=status):
                self._lanes.worked(attempt, _now())
                ends = status == TOO_LARGE_STATUS
                long = f" to a message of {message.size} bytes: too long" if ends else ""
                why = f"the peer answered {status}{long}"
                await self._give_up(message, why, ends=ends)
            case Blocked(reason=reason) | TooLong(reason=reason):
                await self._give_up(message, reason, ends=isinstance(outcome, TooLong))
        return False

    async def _arrived(self, attempt: Attempt, reply: bytes | None) -> None:
        self._lanes.worked(attempt, _now())
        self._unmark(attempt.message)
        self._delivered(attempt.message)
        if reply is not None:
            await self._reply(reply)

    async def _later(self, attempt: Attempt, outcome: Retry) -> bool:
        message = attempt.message
        if _now() - message.since > GIVE_UP_AFTER_S:
            await self._give_up(
                message, f"not reachable for too long: {outcome.reason}", ends=False
            )
            return False
        log.warning("not delivered yet", extra={"thid": message.thid, "reason": outcome.reason})
        self._pause(attempt, outcome)
        return True

    def _pause(self, attempt: Attempt, outcome: Retry) -> None:
        """Pause the peer, and this message, which may be the only one that fails, for longer."""
        now, message = _now(), attempt.message
        peer, loop = message.peer, asyncio.get_running_loop()
        self._lanes.failed(attempt, outcome.reason, now)
        message.failures += 1
        loop.call_later(_pause_s(message.failures), self._resume, message)
        if peer.lane is attempt.lane:
            until = now + _pause_s(peer.failures)
            self._lanes.pause(peer, now, until, now + (outcome.after or 0.0))
            loop.call_at(peer.paused_until + TICK_S, self._fill, peer.lane)

    def _resume(self, message: QueuedMessage) -> None:
        self._lanes.resume(message, _now())
        self._fill(message.peer.lane)

    async def _give_up(self, message: QueuedMessage, reason: str, *, ends: bool) -> None:
        self._unmark(message)
        if ends:
            await self.on_too_long(exchange_of(message.name), reason)
        await self._dead(message, reason)

    async def _reply(self, packed: bytes) -> None:
        try:
            await self._take_reply(packed)
        except KeepError as error:
            log.warning("reply to our own request refused", extra={"reason": str(error)})
        except Exception:  # our message is delivered, even if its reply fails
            log.exception("reply to our own request failed")

    # -- unclear attempts ------------------------------------------------------------------------

    async def _mark_unclear(self, message: QueuedMessage) -> None:
        """Let the lane go on, and send the message again later, unless something comes on its thread."""
        message.unclear += 1
        if message.unclear > PERHAPS_TRIES:
            why = "perhaps delivered: sent several times without a clear answer"
            return await self._give_up(message, why, ends=False)
        key = (message.peer.connection, message.thid)
        self._unclear.setdefault(key, set()).add(message)
        asyncio.get_running_loop().call_later(SILENCE_S, self._again, message)
        return None

    def _again(self, message: QueuedMessage) -> None:
        """Send a message again, in a line of its own, unless something has come on its thread."""
        if not message.settled:
            message.line = f"again {message.name}"
            self._lanes.push(message, _now())
            self._fill(message.peer.lane)

    def _unmark(self, message: QueuedMessage) -> None:
        key = (message.peer.connection, message.thid)
        unclear = self._unclear.get(key, set())
        unclear.discard(message)
        if not unclear:
            self._unclear.pop(key, None)


def _pause_s(failures: int) -> float:
    pause = min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE_S)
    return pause * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load and hides nothing


def _now() -> float:
    return asyncio.get_running_loop().time()
