"""From committed to delivered: attempts, backoff, dead letters, and replies that come back.

Every message is delivered at least once under an @id that never changes. `lanes` says which of them
leaves next, `attempt` makes one attempt, and here its outcome is acted upon. Delivered ones are
forgotten in batches, so a crash may send the last few again, which peers that keep message ids drop.
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
    Elsewhere,
    Outcome,
    TooLong,
)
from keep_agent.didcomm.lanes import Flight, Lane, Lanes, Letter, Peer, Slot
from keep_agent.didcomm.slots import Slots
from keep_agent.didcomm.undelivered import Undelivered, exchange_of
from keep_agent.errors import KeepError, UnavailableError
from keep_agent.identity.connections import CONNECTION
from keep_agent.identity.keys import Keys
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Outgoing
from keep_agent.transport.egress import Blocked, Delivered, Perhaps, Refused, Retry

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
TICK_S = 0.001
"""A timer may come too early by less than this."""
GIVE_UP_AFTER_S = 3 * 24 * 3600.0
SILENCE_S = 60.0
PERHAPS_TRIES = 3
MOST_IN_MEMORY = 16 << 20
"""Bytes of messages; others are read from the store when it is their turn."""

TOO_LARGE_STATUS = 413
FULL = "as many messages as may wait for a peer that is not reachable wait already"

Conversation = tuple[str | None, str]
"""Connection and thread."""


async def _nothing_to_end(_exchange: str, _reason: str) -> None:
    """For an outbox whose messages belong to no exchange."""


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
        self._doubts: dict[Conversation, set[Letter]] = {}
        self._in_memory = 0

    async def run(self) -> None:
        """Deliver until cancelled, first of all what an earlier process left."""
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
                self._tasks = (
                    None  # a commit may still come; its messages leave after the start
                )

    # -- what others tell it ---------------------------------------------------------------------

    def take(self, rows: Iterable[Outgoing], *, new: bool = True) -> None:
        """Send these, committed just now.

        Args:
            new: False: they are left by another process, and so are not too many.
        """
        if self._tasks is None:
            self._fresh += rows  # `run` sends them after those that it reads from the store
            return
        for row in rows:
            self._take(row, new=new)

    def drop(self) -> None:
        """Send nothing of what waits: another process does."""
        self._fresh.clear()
        for peer in tuple(self._lanes.peers.values()):
            for letter in tuple(peer.letters.values()):
                self._trust(letter)
                self._forget(letter)

    def came(self, thid: str, size: int) -> None:
        """Note how many bytes came in on a thread: what leaves on it is measured by that."""
        self._attempts.came(thid, size)

    def heard(self, connection: str | None, thid: str) -> None:
        """Note that something new came in on a thread: what was perhaps delivered was."""
        for letter in self._doubts.pop((connection, thid), ()):
            self._delivered(letter)
        peer = self._lanes.peers.get(connection) if connection else None
        if peer is not None and peer.failures:
            self._lanes.wake(peer, _now())
            self._fill(peer.lane)

    def moved(self, connection: str) -> None:
        """Note that a connection changed: its peer may have another endpoint."""
        if connection in self._lanes.peers:
            self._chores.put_nowait(partial(self._find, self._lanes.peers[connection]))

    # -- what it tells others --------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many messages are not delivered yet."""
        return len(self._fresh) + sum(len(p.letters) for p in self._lanes.peers.values())

    def waiting_for(self) -> list[Json]:
        """Return for whom messages wait, since when and why; who waits for longest comes first."""
        now = _now()
        found = [peer.shown(now) for peer in self._lanes.peers.values() if peer.letters]
        return sorted(found, key=lambda each: -each["oldest_s"])

    # -- letters and peers -----------------------------------------------------------------------

    def _take(self, row: Outgoing, *, new: bool) -> None:
        peer = self._peer_of(row)
        size, now = len(write_json(row.body)), _now()
        letter = Letter(row.name, row.thid, row.lane, peer, size, now)
        full = new and peer.full(size, now)
        if self._in_memory + size <= MOST_IN_MEMORY:
            letter.row = row
            self._in_memory += size
        self._lanes.keep(letter)
        if full:
            self._chores.put_nowait(partial(self._dead, letter, FULL))
            return
        self._lanes.push(letter, now)
        self._fill(peer.lane)

    def _forget(self, letter: Letter) -> None:
        if letter.row is not None:
            self._in_memory -= letter.size
            letter.row = None
        self._lanes.settle(letter)

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
            elif not peer.letters:
                self._chores.put_nowait(partial(self._find, peer))
        return peer

    def _delivered(self, letter: Letter) -> None:
        self._forget(letter)
        self._undelivered.delivered(letter.name)

    async def _dead(self, letter: Letter, reason: str) -> None:
        await self._undelivered.dead(letter, reason)
        self._forget(letter)

    async def _find(self, peer: Peer) -> None:
        """Look up where a peer listens."""
        record = await self._records.fetch(CONNECTION, peer.key)
        endpoint = record["endpoint"] if record else await self._target(peer)
        lane = self._lanes.place(peer, endpoint, _now())
        self._lanes.wake(peer, _now())
        self._fill(lane)

    async def _target(self, peer: Peer) -> str | None:
        """Return the endpoint that a message brings along."""
        for letter in peer.letters.values():
            row = letter.row or await self._undelivered.load(letter.name)
            return row.target.endpoint if row is not None and row.target is not None else None
        return None

    async def _do(self, chore: Callable[[], Awaitable[None]]) -> None:
        try:
            await chore()
        except UnavailableError:
            await asyncio.sleep(FIRST_PAUSE_S)
            self._chores.put_nowait(chore)
        except Exception:  # the top of the pump: others go on
            log.exception("delivery failed")

    # -- attempts --------------------------------------------------------------------------------

    def _fill(self, lane: Lane | None) -> None:
        """Start as many attempts of a lane as may be under way."""
        while lane is not None and self._tasks is not None:
            flight = self._lanes.next(lane, _now(), more=self._slots.more > 0)
            if flight is None:
                return
            name = f"deliver {flight.letter.name}"
            task = self._tasks.create_task(self._fly(flight), name=name)
            if flight.slot is Slot.MORE:
                self._slots.more -= 1
                task.add_done_callback(self._give_back)

    def _give_back(self, _task: asyncio.Task[None]) -> None:
        self._slots.more += 1

    async def _fly(self, flight: Flight) -> None:
        """Make one attempt and act upon its outcome."""
        letter, again = flight.letter, True
        try:
            again = await self._settle(flight, await self._try(flight))
        except (
            Exception
        ):  # the top of the pump: others go on, this one is tried some times more
            log.exception("delivery failed", extra={"thid": letter.thid})
            again = self._fault(flight)
        finally:
            again = again and not letter.settled
            stays = letter.peer.lane is flight.lane
            self._lanes.land(flight, _now(), again=again, hold=again and stays)
        self._fill(flight.lane)
        if letter.peer.lane is not flight.lane:
            self._fill(letter.peer.lane)

    async def _try(self, flight: Flight) -> Outcome:
        letter = flight.letter
        hurry = flight.slot is Slot.PROBE or flight.lane.troubled
        async with self._slots.held(flight.slot):
            try:
                row = letter.row or await self._undelivered.load(letter.name)
            except UnavailableError as error:
                return Retry(str(error), None)
            if row is None:
                return Delivered(None)  # somebody else has dealt with it
            return await self._attempts.make(letter, row, flight.lane.endpoint, hurry=hurry)

    def _fault(self, flight: Flight) -> bool:
        """Put aside what fails on our own side each time, and tell whether it is tried again."""
        letter = flight.letter
        letter.faults += 1
        if letter.faults < OUR_TRIES:
            self._pause(flight, Retry("our own side failed", None))
            return True
        why = "our own side failed each time; see the log"
        self._chores.put_nowait(partial(self._dead, letter, why))
        return False

    # -- outcomes --------------------------------------------------------------------------------

    async def _settle(self, flight: Flight, outcome: Outcome) -> bool:
        """Act upon an outcome; tell whether the letter keeps its place in its line."""
        letter = flight.letter
        if isinstance(outcome, Delivered):
            await self._arrived(flight, outcome.reply)
            return False
        if letter.settled:
            return False
        match outcome:
            case Perhaps(reason=reason):
                self._lanes.failed(flight, reason, _now())
                await self._doubt(letter)
            case Retry():
                return await self._later(flight, outcome)
            case Elsewhere(endpoint=endpoint):
                self._lanes.place(letter.peer, endpoint, _now())
                return True
            case Refused(status=status):
                self._lanes.worked(flight, _now())
                why = f"the peer answered {status}"
                await self._bury(letter, why, ends=status == TOO_LARGE_STATUS)
            case Blocked(reason=reason) | TooLong(reason=reason):
                await self._bury(letter, reason, ends=isinstance(outcome, TooLong))
        return False

    async def _arrived(self, flight: Flight, reply: bytes | None) -> None:
        self._lanes.worked(flight, _now())
        self._trust(flight.letter)
        self._delivered(flight.letter)
        if reply is not None:
            await self._reply(reply)

    async def _later(self, flight: Flight, outcome: Retry) -> bool:
        letter = flight.letter
        if _now() - letter.since > GIVE_UP_AFTER_S:
            await self._bury(letter, f"not reachable for long: {outcome.reason}", ends=False)
            return False
        log.warning("not delivered yet", extra={"thid": letter.thid, "reason": outcome.reason})
        self._pause(flight, outcome)
        return True

    def _pause(self, flight: Flight, outcome: Retry) -> None:
        """Let the peer wait, and this letter, which may be the only one that fails, for longer."""
        now, letter = _now(), flight.letter
        peer, loop = letter.peer, asyncio.get_running_loop()
        self._lanes.failed(flight, outcome.reason, now)
        letter.failures += 1
        loop.call_later(_pause_s(letter.failures), self._resume, letter)
        if peer.lane is flight.lane:
            until = now + _pause_s(peer.failures)
            self._lanes.pause(peer, now, until, now + (outcome.after or 0.0))
            loop.call_at(peer.paused_until + TICK_S, self._fill, peer.lane)

    def _resume(self, letter: Letter) -> None:
        self._lanes.resume(letter, _now())
        self._fill(letter.peer.lane)

    async def _bury(self, letter: Letter, reason: str, *, ends: bool) -> None:
        self._trust(letter)
        if ends:
            await self.on_too_long(exchange_of(letter.name), reason)
        await self._dead(letter, reason)

    async def _reply(self, packed: bytes) -> None:
        try:
            await self._take_reply(packed)
        except KeepError as error:
            log.warning("reply on our own request refused", extra={"reason": str(error)})
        except Exception:  # ours was delivered, whatever became of what came back
            log.exception("reply on our own request failed")

    # -- perhaps delivered -----------------------------------------------------------------------

    async def _doubt(self, letter: Letter) -> None:
        """Let the lane go on, and send it again after silence, until a clear answer comes."""
        letter.unclear += 1
        if letter.unclear > PERHAPS_TRIES:
            why = "perhaps delivered: sent again and again without a clear answer"
            return await self._bury(letter, why, ends=False)
        key = (letter.peer.connection, letter.thid)
        self._doubts.setdefault(key, set()).add(letter)
        asyncio.get_running_loop().call_later(SILENCE_S, self._again, letter)
        return None

    def _again(self, letter: Letter) -> None:
        """Send a letter again, apart from its line, unless something has come on its thread."""
        if not letter.settled:
            letter.line = f"again {letter.name}"
            self._lanes.push(letter, _now())
            self._fill(letter.peer.lane)

    def _trust(self, letter: Letter) -> None:
        key = (letter.peer.connection, letter.thid)
        doubts = self._doubts.get(key, set())
        doubts.discard(letter)
        if not doubts:
            self._doubts.pop(key, None)


def _pause_s(failures: int) -> float:
    pause = min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE_S)
    return pause * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load and hides nothing


def _now() -> float:
    return asyncio.get_running_loop().time()
