"""Which message is sent next: the lanes of endpoints, their peers, and the order of messages.

A lane is one endpoint. Its peers (connections) take turns. A peer that fails is paused for longer and
longer, and all failing peers of a lane together get one attempt at a time. A lane that answers may
have more and more attempts at once, a lane that does not may have fewer. Messages of one line are
sent one after the other; lines do not wait for each other. This module does no I/O.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count

from keep_agent.core.message import Json
from keep_agent.store.rows import Outgoing

AT_ONCE_TO_ONE_LANE, AT_ONCE_TO_ONE_PEER = 32, 16
DEAD_AFTER_S = 30.0
"""After so many seconds of failures, or without an endpoint, no more than this may wait for a peer:"""
MOST_WAITING, MOST_WAITING_BYTES = 500, 8 << 20
IDLE_LANES = 1024
"""How many lanes without a message are remembered, with their number of attempts at once."""


class Slot(Enum):
    """What an attempt occupies.

    `FIRST` is the lane's own slot, `MORE` is one of the common pool, `PROBE` is for a peer that failed.
    """

    FIRST = auto()
    MORE = auto()
    PROBE = auto()


@dataclass(slots=True, eq=False)
class QueuedMessage:
    """A message that is not delivered yet.

    Attributes:
        line: messages of one line are sent one after the other.
        size: bytes of the message before it is encrypted.
        since: when it was taken, on the clock of the event loop.
        row: the message; None: there was no room in memory, so it is read from the store.
        failures: attempts in which it was not delivered.
        faults: attempts that failed on our own side.
        unclear: attempts without a clear answer: the message may be delivered.
        sent: bytes sent in these.
        settled: it is delivered or given up.
    """

    name: str
    thid: str
    line: str
    peer: Peer
    size: int
    since: float
    row: Outgoing | None = field(default=None, repr=False)
    failures: int = 0
    faults: int = 0
    unclear: int = 0
    sent: int = 0
    settled: bool = False


@dataclass(slots=True, eq=False)
class Peer:
    """The receiver of messages: a connection, or the key of a peer without one.

    Attributes:
        lane: of its endpoint; None: it has none, or it was not looked up yet.
        placed: its endpoint was looked up.
        messages: all that are not settled, the oldest first.
        failures: attempts that failed in a row; those under way at once count as one.
        failing_since, failed_at: when the first of them failed, and the last.
        paused_until: no attempt is made before this time; see `not_before`.
        not_before: the time that the peer asked for (Retry-After).
        reason: why the last attempt failed.
        lines: messages by line; `ready`: lines whose first message may be sent; `held`: those whose first
            message failed and waits, while the others go on.
        ticket: counts its entries in queues of the lane; only the newest entry is valid.
        listed: it is in a queue of the lane.
    """

    key: str
    connection: str | None
    lane: Lane | None = None
    placed: bool = False
    messages: dict[str, QueuedMessage] = field(default_factory=dict[str, QueuedMessage])
    bytes: int = 0
    failures: int = 0
    failing_since: float | None = None
    failed_at: float = -1.0
    paused_until: float = 0.0
    not_before: float = 0.0
    reason: str | None = None
    lines: dict[str, deque[QueuedMessage]] = field(
        default_factory=dict[str, "deque[QueuedMessage]"]
    )
    ready: deque[str] = field(default_factory=deque[str])
    held: set[str] = field(default_factory=set[str])
    under_way: int = 0
    ticket: int = 0
    listed: bool = False

    def full(self, size: int, now: float) -> bool:
        """Tell whether no other message of this size may wait for it."""
        nowhere = self.placed and self.lane is None
        failing = self.failing_since is not None and now - self.failing_since > DEAD_AFTER_S
        many = len(self.messages) >= MOST_WAITING or self.bytes + size > MOST_WAITING_BYTES
        return many and (nowhere or failing)

    def shown(self, now: float) -> Json:
        """Return what the API shows of the messages that wait for it."""
        lane, oldest = self.lane, next(iter(self.messages.values()))
        nowhere = self.placed and lane is None
        return {
            "connection": self.connection,
            "endpoint": lane.endpoint if lane else None,
            "messages": len(self.messages),
            "bytes": self.bytes,
            "oldest_s": round(now - oldest.since, 3),
            "failures": self.failures,
            "failing_s": round(now - self.failing_since, 3) if self.failing_since else None,
            "next_attempt_s": round(max(self.paused_until - now, 0.0), 3) if lane else None,
            "reason": "the peer has no endpoint" if nowhere else self.reason,
        }


@dataclass(slots=True, eq=False)
class Lane:
    """One endpoint.

    Attributes:
        window: how many attempts may be under way at once, without those of failing peers.
        troubled: the last attempt failed.
        first, probing: the slots of these kinds are taken; `under_way`: how many attempts are under way,
            those of failing peers aside.
        fit, suspect, paused: peers with messages: those that may have an attempt, those that failed and
            may have one again, those that may not before some time.
    """

    endpoint: str
    window: int = 1
    troubled: bool = False
    peers: set[str] = field(default_factory=set[str])
    under_way: int = 0
    first: bool = False
    probing: bool = False
    fit: deque[tuple[int, Peer]] = field(default_factory=deque[tuple[int, Peer]])
    suspect: deque[tuple[int, Peer]] = field(default_factory=deque[tuple[int, Peer]])
    paused: list[tuple[float, int, int, Peer]] = field(
        default_factory=list[tuple[float, int, int, Peer]]
    )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to deliver a message, started `at`."""

    message: QueuedMessage
    lane: Lane
    slot: Slot
    at: float


class Lanes:
    """The messages to send of one tenant, by peer and lane."""

    def __init__(self) -> None:
        self.peers: dict[str, Peer] = {}
        self._lanes: dict[str, Lane] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._count = count()

    # -- messages come and go ---------------------------------------------------------------------

    def peer(self, key: str, connection: str | None) -> Peer:
        """Return the peer with this key."""
        return self.peers.setdefault(key, Peer(key, connection))

    def keep(self, message: QueuedMessage) -> None:
        """Count a message among those of its peer; `push` lets it be sent."""
        message.peer.messages[message.name] = message
        message.peer.bytes += message.size

    def push(self, message: QueuedMessage, now: float) -> None:
        """Put a message at the end of its line."""
        peer = message.peer
        line = peer.lines.setdefault(message.line, deque())
        line.append(message)
        if len(line) == 1:
            peer.ready.append(message.line)
        if not peer.listed:
            self._list(peer, now)

    def place(self, peer: Peer, endpoint: str | None, now: float) -> Lane | None:
        """Set the endpoint of a peer; failures at another endpoint no longer count."""
        peer.placed = True
        if peer.lane is None or peer.lane.endpoint != endpoint:
            self._leave(peer)
            peer.failures, peer.failing_since, peer.reason = 0, None, None
            peer.paused_until = peer.not_before = 0.0
            _release(peer)
            if endpoint is not None:
                peer.lane = self._lanes.setdefault(endpoint, Lane(endpoint))
                peer.lane.peers.add(peer.key)
                self._idle.pop(endpoint, None)
            self._list(peer, now)
        return peer.lane

    def settle(self, message: QueuedMessage) -> None:
        """Remove a message that is delivered or given up."""
        peer = message.peer
        if message.settled:
            return
        message.settled = True
        del peer.messages[message.name]
        peer.bytes -= message.size
        self._forget(peer)

    # -- flights ---------------------------------------------------------------------------------

    def next(self, lane: Lane, now: float, *, more: bool) -> Attempt | None:
        """Start the next attempt of a lane, if one may start now.

        Args:
            more: there is a free slot of the kind `MORE`.
        """
        while lane.paused and lane.paused[0][0] <= now:
            _, _, ticket, peer = heapq.heappop(lane.paused)
            if ticket == peer.ticket:
                self._list(peer, now)
        if lane.under_way < lane.window and (more or not lane.first):
            slot = Slot.MORE if lane.first else Slot.FIRST
            attempt = self._start(lane, lane.fit, slot, now)
            if attempt is not None:
                return attempt
        return None if lane.probing else self._start(lane, lane.suspect, Slot.PROBE, now)

    def end(self, attempt: Attempt, now: float, *, again: bool, hold: bool = False) -> None:
        """End an attempt.

        Args:
            again: the message keeps its place in its line; otherwise it leaves the line.
            hold: its line waits for `resume`, or for `wake` of its peer.
        """
        message, lane, peer = attempt.message, attempt.lane, attempt.message.peer
        peer.under_way -= 1
        match attempt.slot:
            case Slot.PROBE:
                lane.probing = False
            case Slot.FIRST:
                lane.under_way, lane.first = lane.under_way - 1, False
            case Slot.MORE:
                lane.under_way -= 1
        line = peer.lines[message.line]
        if not again:
            line.popleft()
        if line and hold:
            peer.held.add(message.line)
        elif line:
            peer.ready.append(message.line)
        else:
            del peer.lines[message.line]
        if not peer.listed:
            self._list(peer, now)
        self._forget(peer)

    def resume(self, message: QueuedMessage, now: float) -> None:
        """Let the line of a message go on after `hold`."""
        peer = message.peer
        if message.line in peer.held:
            peer.held.discard(message.line)
            peer.ready.append(message.line)
            if not peer.listed:
                self._list(peer, now)

    def worked(self, attempt: Attempt, now: float) -> None:
        """Note that the peer answered: its lane may have more attempts at once."""
        lane, peer = attempt.lane, attempt.message.peer
        if (
            lane.troubled and lane.window == 1
        ):  # the endpoint failed, and other peers wait for it
            for _, _, ticket, other in tuple(lane.paused):
                if ticket == other.ticket:
                    self.wake(other, now)
        lane.troubled = False
        lane.window = min(2 * lane.window, AT_ONCE_TO_ONE_LANE)
        if peer.failures:
            peer.failures, peer.failing_since, peer.reason = 0, None, None
            peer.paused_until = peer.not_before = 0.0
            self._list(peer, now)

    def failed(self, attempt: Attempt, reason: str, now: float) -> None:
        """Note that an attempt failed: its lane may have fewer at once, and its peer is suspect."""
        lane, peer = attempt.lane, attempt.message.peer
        lane.troubled = True
        lane.window = max(lane.window // 2, 1)
        if peer.lane is not lane or attempt.at <= peer.failed_at:
            return  # it has another endpoint now, or another attempt at the same time has failed
        peer.failures += 1
        peer.failing_since = peer.failing_since or now
        peer.failed_at, peer.reason = now, reason
        self._list(peer, now)

    def pause(self, peer: Peer, now: float, until: float, not_before: float) -> None:
        """Make no attempt for a while.

        Args:
            until: earlier only if `wake` is called.
            not_before: never earlier than this.
        """
        peer.not_before = max(peer.not_before, not_before)
        peer.paused_until = max(peer.paused_until, until, peer.not_before)
        self._list(peer, now)

    def wake(self, peer: Peer, now: float) -> None:
        """Try a paused peer again at once, but not before `not_before`."""
        peer.paused_until = min(peer.paused_until, max(peer.not_before, now))
        _release(peer)
        self._list(peer, now)

    # -- inside ----------------------------------------------------------------------------------

    def _start(
        self, lane: Lane, queue: deque[tuple[int, Peer]], slot: Slot, now: float
    ) -> Attempt | None:
        while queue:
            ticket, peer = queue.popleft()
            if ticket != peer.ticket:
                continue
            message = _first_ready(peer)
            if message is not None:
                peer.under_way += 1
                lane.under_way += slot is not Slot.PROBE
                lane.first |= slot is Slot.FIRST
                lane.probing |= slot is Slot.PROBE
                self._list(peer, now)
                return Attempt(message, lane, slot, now)
            self._list(peer, now)
        return None

    def _list(self, peer: Peer, now: float) -> None:
        """Put a peer into the queue where it belongs now; an older entry is not valid any more."""
        lane = peer.lane
        peer.ticket += 1
        peer.listed = False
        if lane is None or not (peer.ready or peer.held):
            return
        if peer.paused_until > now:
            peer.listed = True
            turn = next(self._count)
            heapq.heappush(lane.paused, (peer.paused_until, turn, peer.ticket, peer))
            return
        if not peer.ready or peer.under_way >= AT_ONCE_TO_ONE_PEER:
            return
        peer.listed = True
        if peer.failures:
            lane.suspect.append((peer.ticket, peer))
        else:
            lane.fit.append((peer.ticket, peer))

    def _leave(self, peer: Peer) -> None:
        lane, peer.lane = peer.lane, None
        if lane is None:
            return
        lane.peers.discard(peer.key)
        if not lane.peers:
            self._idle[lane.endpoint] = None
            while len(self._idle) > IDLE_LANES:
                self._lanes.pop(self._idle.popitem(last=False)[0])

    def _forget(self, peer: Peer) -> None:
        if not peer.messages and not peer.under_way and self.peers.get(peer.key) is peer:
            del self.peers[peer.key]
            self._leave(peer)


def _release(peer: Peer) -> None:
    peer.ready.extend(sorted(peer.held))
    peer.held.clear()


def _first_ready(peer: Peer) -> QueuedMessage | None:
    """Return the message that is next, without those that are settled already."""
    while peer.ready:
        name = peer.ready.popleft()
        line = peer.lines[name]
        while line and line[0].settled:
            line.popleft()
        if line:
            return line[0]
        del peer.lines[name]
    return None
