"""Which message leaves next: turns, windows, probes and pauses, without a clock or a network."""

from __future__ import annotations

from keep_agent.didcomm import lanes as module
from keep_agent.didcomm.lanes import Flight, Lane, Lanes, Letter, Peer, Slot


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

    def send(self, peer: Peer, line: str = "", number: int = 1) -> list[Letter]:
        """Let so many letters wait, in one line or each in its own."""
        sent: list[Letter] = []
        for _ in range(number):
            self.names += 1
            name = f"letter {self.names}"
            letter = Letter(name, "thread", line or name, peer, 10, self.now)
            self.lanes.keep(letter)
            self.lanes.push(letter, self.now)
            sent.append(letter)
        return sent

    def start(self, lane: Lane | None, *, more: bool = True) -> list[Flight]:
        """Start all attempts that may start now."""
        assert lane is not None
        found: list[Flight] = []
        while (flight := self.lanes.next(lane, self.now, more=more)) is not None:
            found.append(flight)
        return found

    def deliver(self, flight: Flight) -> None:
        self.lanes.worked(flight, self.now)
        self.lanes.settle(flight.letter)
        self.lanes.land(flight, self.now, again=False)

    def fail(self, flight: Flight, pause: float = 10.0, *, hold: bool = False) -> None:
        self.now += 1
        self.lanes.failed(flight, "away", self.now)
        self.lanes.pause(flight.letter.peer, self.now, self.now + pause, 0.0)
        self.lanes.land(flight, self.now, again=True, hold=hold)

    def warm(self, peer: Peer) -> Lane:
        """Let a lane deliver so much that it may have as many attempts at once as there are."""
        self.send(peer, number=100)
        lane = peer.lane
        assert lane is not None
        while flights := self.start(lane):
            for flight in flights:
                self.deliver(flight)
        return lane


def test_a_lane_that_answers_may_have_ever_more_attempts_at_once_up_to_a_bound() -> None:
    office = Office()
    alice = office.peer("alice")
    office.send(alice, number=100)
    at_once: list[int] = []
    while alice.letters:
        flights = office.start(alice.lane)
        at_once.append(len(flights))
        for flight in flights:
            office.deliver(flight)
    assert at_once[:5] == [1, 2, 8, module.AT_ONCE_TO_ONE_PEER, module.AT_ONCE_TO_ONE_PEER]


def test_letters_of_one_line_leave_one_after_the_other() -> None:
    office = Office()
    alice = office.peer("alice")
    lane = office.warm(alice)
    alice = office.peer("alice")
    first, second = office.send(alice, "in order", 2)
    (other,) = office.send(alice)
    flights = office.start(lane)
    assert [flight.letter for flight in flights] == [first, other]
    office.deliver(flights[0])
    assert [flight.letter for flight in office.start(lane)] == [second]


def test_what_failed_keeps_its_place_and_others_go_first() -> None:
    office = Office()
    alice = office.peer("alice")
    first, second = office.send(alice, "in order", 2)
    (other,) = office.send(alice)
    (flight,) = office.start(alice.lane)
    assert flight.letter is first
    office.fail(flight)
    assert office.start(alice.lane) == []
    office.now += 10
    lane = alice.lane
    (flight,) = office.start(lane)
    assert (flight.letter, flight.slot) == (other, Slot.PROBE)
    office.deliver(flight)
    (flight,) = office.start(lane)
    assert flight.letter is first
    office.deliver(flight)
    (flight,) = office.start(lane)
    assert flight.letter is second


def test_one_letter_that_always_fails_leaves_the_others_alone() -> None:
    office = Office()
    alice = office.peer("alice")
    bad, *others = office.send(alice, number=4)
    lane = alice.lane
    (flight,) = office.start(lane)
    office.fail(flight, hold=True)
    office.now += 10
    left: list[Letter] = []
    while flights := office.start(lane):
        for flight in flights:
            left.append(flight.letter)
            office.deliver(flight)
    assert left == others
    office.lanes.resume(bad, office.now)
    (flight,) = office.start(lane)
    assert flight.letter is bad


def test_something_from_a_peer_lets_its_held_letters_go_too() -> None:
    office = Office()
    alice = office.peer("alice")
    (bad,) = office.send(alice)
    (flight,) = office.start(alice.lane)
    office.fail(flight, hold=True)
    office.now += 10
    assert office.start(alice.lane) == []
    office.lanes.wake(alice, office.now)
    (flight,) = office.start(alice.lane)
    assert flight.letter is bad


def test_peers_of_one_endpoint_take_turns() -> None:
    office = Office()
    lane = office.warm(office.peer("alice"))
    lane.window = 4
    alice, bob = office.peer("alice"), office.peer("bob")
    office.send(alice, number=50)
    office.send(bob, number=2)
    flying = [flight.letter.peer.key for flight in office.start(lane)]
    assert flying == ["alice", "bob", "alice", "bob"]


def test_sec_r_03_a_peer_that_fails_costs_its_neighbours_nothing() -> None:
    """Behind a mediator, one whose messages are not taken keeps nobody else waiting."""
    office = Office()
    lane = office.warm(office.peer("alice"))
    mallory, alice = office.peer("mallory"), office.peer("alice")
    office.send(mallory, number=50)
    flights = office.start(lane)
    assert len(flights) == module.AT_ONCE_TO_ONE_PEER
    for flight in flights:
        office.fail(flight)
    assert mallory.failures == 1, "attempts at once count as one"
    office.now += 10
    (probe,) = office.start(lane)
    assert probe.slot is Slot.PROBE
    office.send(alice)
    (flight,) = office.start(lane)
    assert (flight.letter.peer, flight.slot) == (alice, Slot.FIRST)


def test_sec_r_03_a_dead_endpoint_has_one_probe_however_many_wait_for_it() -> None:
    office = Office()
    peers = [office.peer(f"peer {i}") for i in range(100)]
    for peer in peers:
        office.send(peer, number=3)
    lane = peers[0].lane
    for _ in peers:
        (flight,) = office.start(lane)
        office.fail(flight, pause=1000)
    office.now += 1000
    assert [flight.slot for flight in office.start(lane)] == [Slot.PROBE]


def test_an_endpoint_that_comes_back_wakes_all_who_wait_for_it() -> None:
    office = Office()
    alice, bob = office.peer("alice"), office.peer("bob")
    office.send(alice)
    office.send(bob)
    for _ in range(2):
        office.fail(office.start(alice.lane)[0], pause=1000)
    office.send(office.peer("carol"))
    (flight,) = office.start(alice.lane)
    office.deliver(flight)
    (flight,) = office.start(alice.lane)
    assert flight.letter.peer in (alice, bob)


def test_without_spare_slots_an_endpoint_has_its_own_one() -> None:
    office = Office()
    lane = office.warm(office.peer("alice"))
    office.send(office.peer("alice"), number=5)
    (first,) = office.start(lane, more=False)
    assert first.slot is Slot.FIRST
    assert [flight.slot for flight in office.start(lane)] == [Slot.MORE] * 4


def test_something_from_a_peer_ends_its_pause_but_not_the_one_that_it_asked_for() -> None:
    office = Office()
    alice = office.peer("alice")
    office.send(alice)
    (flight,) = office.start(alice.lane)
    office.fail(flight, pause=1000)
    office.lanes.wake(alice, office.now)
    (flight,) = office.start(alice.lane)
    office.lanes.pause(alice, office.now, office.now + 1, office.now + 60)
    office.fail(flight)
    office.lanes.wake(alice, office.now)
    assert office.start(alice.lane) == []
    office.now += 60
    assert len(office.start(alice.lane)) == 1


def test_who_moves_takes_its_letters_along_and_begins_anew() -> None:
    office = Office()
    alice = office.peer("alice", None)
    letters = office.send(alice, number=3)
    lane = office.lanes.place(alice, "http://old/", office.now)
    office.fail(office.start(lane)[0], pause=1000)
    lane = office.lanes.place(alice, "http://new/", office.now)
    flights = office.start(lane)
    while more := office.start(lane):
        flights += more
    for flight in flights:
        office.deliver(flight)
    while flights := office.start(lane):
        for flight in flights:
            office.deliver(flight)
    assert all(letter.settled for letter in letters)


def test_a_letter_that_is_settled_while_it_waits_does_not_leave() -> None:
    office = Office()
    alice = office.peer("alice")
    first, second, third = office.send(alice, number=3)
    (flight,) = office.start(alice.lane)
    assert flight.letter is first
    office.lanes.settle(second)
    office.deliver(flight)
    assert [flight.letter for flight in office.start(alice.lane)] == [third]


def test_nothing_is_remembered_of_peers_without_letters_and_of_few_lanes() -> None:
    office = Office()
    for i in range(module.IDLE_LANES + 10):
        peer = office.peer(f"peer {i}", f"http://{i}/")
        office.send(peer)
        office.deliver(office.start(peer.lane)[0])
    assert office.lanes.peers == {}
    assert len(office.lanes._lanes) == module.IDLE_LANES
