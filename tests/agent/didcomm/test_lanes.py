"""Which message leaves next: turns, windows, probes and pauses, without a clock or a network."""

from __future__ import annotations

from keep_agent.didcomm import lanes as module
from keep_agent.didcomm.lanes import Attempt, Lane, Lanes, Peer, QueuedMessage, Slot


class Office:
    """Lanes with one endpoint, and a clock that a test sets."""

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.now = 100.0
        self.names = 0

    def peer(self, key: str, endpoint: str | None = "http://mediator/") -> Peer:
        peer = self.lanes.peer(key, key)
        self.lanes.place(peer, endpoint, self.now)
        return peer

    def send(self, peer: Peer, line: str = "", number: int = 1) -> list[QueuedMessage]:
        """Let so many messages wait, in one line or each in its own."""
        sent: list[QueuedMessage] = []
        for _ in range(number):
            self.names += 1
            name = f"message {self.names}"
            message = QueuedMessage(name, "thread", line or name, peer, 10, self.now)
            self.lanes.keep(message)
            self.lanes.push(message, self.now)
            sent.append(message)
        return sent

    def start(self, lane: Lane | None, *, more: bool = True) -> list[Attempt]:
        """Start all attempts that may start now."""
        assert lane is not None
        found: list[Attempt] = []
        while (attempt := self.lanes.next(lane, self.now, more=more)) is not None:
            found.append(attempt)
        return found

    def deliver(self, attempt: Attempt) -> None:
        self.lanes.worked(attempt, self.now)
        self.lanes.settle(attempt.message)
        self.lanes.end(attempt, self.now, again=False)

    def fail(self, attempt: Attempt, pause: float = 10.0, *, hold: bool = False) -> None:
        self.now += 1
        self.lanes.failed(attempt, "away", self.now)
        self.lanes.pause(attempt.message.peer, self.now, self.now + pause, 0.0)
        self.lanes.end(attempt, self.now, again=True, hold=hold)

    def warm(self, peer: Peer) -> Lane:
        """Let a lane deliver so much that it may have as many attempts at once as there are."""
        self.send(peer, number=100)
        lane = peer.lane
        assert lane is not None
        while attempts := self.start(lane):
            for attempt in attempts:
                self.deliver(attempt)
        return lane


def test_a_lane_that_answers_may_have_ever_more_attempts_at_once_up_to_a_bound() -> None:
    office = Office()
    alice = office.peer("alice")
    office.send(alice, number=100)
    at_once: list[int] = []
    while alice.messages:
        attempts = office.start(alice.lane)
        at_once.append(len(attempts))
        for attempt in attempts:
            office.deliver(attempt)
    assert at_once[:5] == [1, 2, 8, module.AT_ONCE_TO_ONE_PEER, module.AT_ONCE_TO_ONE_PEER]


def test_messages_of_one_line_leave_one_after_the_other() -> None:
    office = Office()
    alice = office.peer("alice")
    lane = office.warm(alice)
    alice = office.peer("alice")
    first, second = office.send(alice, "in order", 2)
    (other,) = office.send(alice)
    attempts = office.start(lane)
    assert [attempt.message for attempt in attempts] == [first, other]
    office.deliver(attempts[0])
    assert [attempt.message for attempt in office.start(lane)] == [second]


def test_what_failed_keeps_its_place_and_others_go_first() -> None:
    office = Office()
    alice = office.peer("alice")
    first, second = office.send(alice, "in order", 2)
    (other,) = office.send(alice)
    (attempt,) = office.start(alice.lane)
    assert attempt.message is first
    office.fail(attempt)
    assert office.start(alice.lane) == []
    office.now += 10
    lane = alice.lane
    (attempt,) = office.start(lane)
    assert (attempt.message, attempt.slot) == (other, Slot.PROBE)
    office.deliver(attempt)
    (attempt,) = office.start(lane)
    assert attempt.message is first
    office.deliver(attempt)
    (attempt,) = office.start(lane)
    assert attempt.message is second


def test_one_message_that_always_fails_leaves_the_others_alone() -> None:
    office = Office()
    alice = office.peer("alice")
    bad, *others = office.send(alice, number=4)
    lane = alice.lane
    (attempt,) = office.start(lane)
    office.fail(attempt, hold=True)
    office.now += 10
    left: list[QueuedMessage] = []
    while attempts := office.start(lane):
        for attempt in attempts:
            left.append(attempt.message)
            office.deliver(attempt)
    assert left == others
    office.lanes.resume(bad, office.now)
    (attempt,) = office.start(lane)
    assert attempt.message is bad


def test_something_from_a_peer_lets_its_held_messages_go_too() -> None:
    office = Office()
    alice = office.peer("alice")
    (bad,) = office.send(alice)
    (attempt,) = office.start(alice.lane)
    office.fail(attempt, hold=True)
    office.now += 10
    assert office.start(alice.lane) == []
    office.lanes.wake(alice, office.now)
    (attempt,) = office.start(alice.lane)
    assert attempt.message is bad


def test_peers_of_one_endpoint_take_turns() -> None:
    office = Office()
    lane = office.warm(office.peer("alice"))
    lane.window = 4
    alice, bob = office.peer("alice"), office.peer("bob")
    office.send(alice, number=50)
    office.send(bob, number=2)
    under_way = [attempt.message.peer.key for attempt in office.start(lane)]
    assert under_way == ["alice", "bob", "alice", "bob"]


def test_sec_r_03_a_peer_that_fails_costs_its_neighbours_nothing() -> None:
    """Behind a mediator, one whose messages are not taken keeps nobody else waiting."""
    office = Office()
    lane = office.warm(office.peer("alice"))
    mallory, alice = office.peer("mallory"), office.peer("alice")
    office.send(mallory, number=50)
    attempts = office.start(lane)
    assert len(attempts) == module.AT_ONCE_TO_ONE_PEER
    for attempt in attempts:
        office.fail(attempt)
    assert mallory.failures == 1, "attempts at once count as one"
    office.now += 10
    (probe,) = office.start(lane)
    assert probe.slot is Slot.PROBE
    office.send(alice)
    (attempt,) = office.start(lane)
    assert (attempt.message.peer, attempt.slot) == (alice, Slot.FIRST)


def test_sec_r_03_a_dead_endpoint_has_one_probe_however_many_wait_for_it() -> None:
    office = Office()
    peers = [office.peer(f"peer {i}") for i in range(100)]
    for peer in peers:
        office.send(peer, number=3)
    lane = peers[0].lane
    for _ in peers:
        (attempt,) = office.start(lane)
        office.fail(attempt, pause=1000)
    office.now += 1000
    assert [attempt.slot for attempt in office.start(lane)] == [Slot.PROBE]


def test_an_endpoint_that_comes_back_wakes_all_who_wait_for_it() -> None:
    office = Office()
    alice, bob = office.peer("alice"), office.peer("bob")
    office.send(alice)
    office.send(bob)
    for _ in range(2):
        office.fail(office.start(alice.lane)[0], pause=1000)
    office.send(office.peer("carol"))
    (attempt,) = office.start(alice.lane)
    office.deliver(attempt)
    (attempt,) = office.start(alice.lane)
    assert attempt.message.peer in (alice, bob)


def test_without_spare_slots_an_endpoint_has_its_own_one() -> None:
    office = Office()
    lane = office.warm(office.peer("alice"))
    office.send(office.peer("alice"), number=5)
    (first,) = office.start(lane, more=False)
    assert first.slot is Slot.FIRST
    assert [attempt.slot for attempt in office.start(lane)] == [Slot.MORE] * 4


def test_something_from_a_peer_ends_its_pause_but_not_the_one_that_it_asked_for() -> None:
    office = Office()
    alice = office.peer("alice")
    office.send(alice)
    (attempt,) = office.start(alice.lane)
    office.fail(attempt, pause=1000)
    office.lanes.wake(alice, office.now)
    (attempt,) = office.start(alice.lane)
    office.lanes.pause(alice, office.now, office.now + 1, office.now + 60)
    office.fail(attempt)
    office.lanes.wake(alice, office.now)
    assert office.start(alice.lane) == []
    office.now += 60
    assert len(office.start(alice.lane)) == 1


def test_who_moves_takes_its_messages_along_and_begins_anew() -> None:
    office = Office()
    alice = office.peer("alice", None)
    messages = office.send(alice, number=3)
    lane = office.lanes.place(alice, "http://old/", office.now)
    office.fail(office.start(lane)[0], pause=1000)
    lane = office.lanes.place(alice, "http://new/", office.now)
    attempts = office.start(lane)
    while more := office.start(lane):
        attempts += more
    for attempt in attempts:
        office.deliver(attempt)
    while attempts := office.start(lane):
        for attempt in attempts:
            office.deliver(attempt)
    assert all(message.settled for message in messages)


def test_a_message_that_is_settled_while_it_waits_does_not_leave() -> None:
    office = Office()
    alice = office.peer("alice")
    first, second, third = office.send(alice, number=3)
    (attempt,) = office.start(alice.lane)
    assert attempt.message is first
    office.lanes.settle(second)
    office.deliver(attempt)
    assert [attempt.message for attempt in office.start(alice.lane)] == [third]


def test_nothing_is_remembered_of_peers_without_messages_and_of_few_lanes() -> None:
    office = Office()
    for i in range(module.IDLE_LANES + 10):
        peer = office.peer(f"peer {i}", f"http://{i}/")
        office.send(peer)
        office.deliver(office.start(peer.lane)[0])
    assert office.lanes.peers == {}
    assert len(office.lanes._lanes) == module.IDLE_LANES
