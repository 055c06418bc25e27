"""What every protocol is: a table that leads from an event to a `Step`.

A protocol is a table. A row says: *this role, in this state, on this event, may go to these
states, and this function decides how*. The function is given the exchange, the event and a
narrow port; it returns a `Step` and changes nothing else. Only the dispatcher stores and sends.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from keep_agent.core.message import PREFIX, Json, Message, ProblemReport, TypeUri, is_report
from keep_agent.errors import BadMessageError, OutOfTurnError, RefusedError

START = "start"
"""The state of an exchange that does not exist yet."""

DAY_S = 24 * 3600.0

ABANDONED = "abandoned"
"""The state of an exchange that one side has ended, or that waited too long (RFC 0453 and others)."""

STATELESS = "stateless"
"""The state of an exchange that is not kept: only the id of its message is, to know a repetition."""


class Role(StrEnum):
    """Base for the roles that a protocol names, in the RFC's words."""


class Command(BaseModel):
    """Base of the commands of our own side; the name of one is its class name in kebab-case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def title(cls) -> str:
        """Return the name on the API: `SendOffer` is `send-offer`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def peer(self) -> str | None:
        """Return the peer of a new exchange, if the command names it and there is no connection."""
        return None

    def not_by_policy(self) -> str | None:
        """Return why a policy may not run the command with these arguments; None: it may."""
        return None


class Data(BaseModel):
    """Base of what a protocol remembers between two events; stored as JSON.

    Attributes:
        HIDDEN: fields that the API and the log never show: secrets, and data for the next step.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset()

    model_config = ConfigDict(frozen=True, extra="forbid")

    def shown(self) -> Json:
        """Return what the API and the log may show."""
        return self.model_dump(mode="json", exclude=set(self.HIDDEN), exclude_defaults=True)

    def but(self, **changes: object) -> Self:
        """Return a copy with these fields changed, validated again."""
        return type(self).model_validate({**self.__dict__, **changes})


class NoData(Data):
    """For protocols that remember nothing but their state."""


class Expired(Command):
    """The exchange has waited longer than its protocol allows."""


class ReportProblem(Command):
    """End the exchange with a problem report to the peer (RFC 0035)."""

    code: str = "abandoned"
    comment: str | None = None


class Refused(Command):
    """A check refused what the peer sent; what follows is a row of the table.

    Attributes:
        code: of the problem report.
        reason: what was wrong, in words.
    """

    code: str
    reason: str


NOT_FOR_CALLERS = (Expired, Refused)
"""Events of deadlines and of our own checks; callers cannot send them as commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Via:
    """How an event reached us: all that a handler knows of the envelope.

    Attributes:
        sender: base58 key that authenticated the message; None for a command of our own side, and
            for a message that was attached to an invitation.
        recipient: base58 key of ours that it was encrypted to.
        invitation: id of our invitation, when `recipient` is the key of one.
        did: public DID of ours, when `recipient` is its key.
    """

    sender: str | None = None
    recipient: str | None = None
    invitation: str | None = None
    did: str | None = None


D = TypeVar("D", bound=Data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange(Generic[D]):
    """One run of one protocol with one peer: all that is kept between two events.

    Attributes:
        id: digest that names it, see `exchange_id`.
        protocol: `family/major`.
        minor: the minor version that both sides speak.
        peer: id of the connection, or of the invitation until a connection exists.
        connection: where messages go; None before there is one.
        parent: thread that our messages name as their parent (RFC 0008): of an exchange that an invitation
            began, until the peer writes again; without a connection, to the end.
        their_key: the key that authenticated the first message on an invitation; later ones must have it too.
        seen: id of each message handled, with the digests of the bodies that came with it, separated by blanks.
        sent: ids of the messages that we sent, other than the thread's own.
        then: pending commands: committed with a step and not run yet.
        out: messages that may not be delivered yet, in the store's own form.
        records: records that its row keeps, by category: see `Put.within`.
        by: the process that runs `then`; empty: there is only one.
        number: of the log row of its first commit: the order in which exchanges are listed.
        due: POSIX time at which it has waited too long; None: it has no deadline.
        until: POSIX time until which it is kept; None: it is not finished.
        error: why it was abandoned, or why its last command failed, in words.
        revision: how often it was committed; compared in every commit.
    """

    id: str
    protocol: str
    minor: int
    role: str
    thid: str
    peer: str
    data: D
    pthid: str | None = None
    parent: str | None = None
    connection: str | None = None
    their_key: str | None = None
    state: str = START
    seen: dict[str, str] = field(default_factory=dict[str, str])
    sent: tuple[str, ...] = ()
    then: tuple[Json, ...] = ()
    out: tuple[Json, ...] = ()
    records: dict[str, Json] = field(default_factory=dict[str, Json])
    by: str = ""
    number: int = 0
    due: float | None = None
    until: float | None = None
    error: str | None = None
    revision: int = 0
    created: float = 0.0
    updated: float = 0.0
    via: Via = Via()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who sent a message, as far as its envelope proves it.

    Attributes:
        ids: ids by which exchanges with this peer may be named, the preferred one first.
        connection: id of the connection, if there is one.
        others: ids of further connections between the same two keys.
        known: the sender's key is the one that the connection is bound to.
        answers: id of an invitation of ours that the message answers without a handshake.
        closed: why that invitation cannot be answered any more; None: it can.
        connectionless: they are the two sides of an exchange without a handshake.
    """

    ids: tuple[str, ...]
    connection: str | None
    known: bool
    via: Via
    answers: str | None = None
    closed: str | None = None
    connectionless: bool = False
    others: tuple[str, ...] = ()

    def owns(self, x: Exchange[Any]) -> bool:
        """Tell whether this peer is the one that the exchange is bound to, or may become it.

        Raises:
            RefusedError: it could, but the invitation is expired or used up (SEC-O11).
        """
        if x.their_key is not None:
            return x.their_key == self.via.sender
        if x.connection is not None:
            return x.connection == self.connection or x.connection in self.others
        if self.takes(x) and self.closed is not None:
            raise RefusedError(f"SEC-O11: {self.closed}", "e.p.msg.invitation")
        return x.peer in self.ids

    def takes(self, x: Exchange[Any]) -> bool:
        """Tell whether the exchange has no peer yet and the message answers its invitation."""
        free = x.their_key is None and x.connection is None
        return free and self.answers is not None and x.peer == self.answers


def exchange_id(protocol: str, role: str, thid: str, peer: str) -> str:
    """Return the id of an exchange: two first messages of one thread have the same, so one is stored."""
    parts = f"{protocol}\0{role}\0{thid}\0{peer}"
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


# -- what a step may write, besides the exchange itself ----------------------------------------


@dataclass(frozen=True, slots=True)
class Put:
    """Write a record; with `new`, refuse to overwrite one.

    Attributes:
        tags: by which it is found; one with several values is found by each of them.
        within: id of the exchange whose row keeps it, at most one record of a category: what is written
            and read together with the exchange does not need a row of its own.
    """

    category: str
    name: str
    value: Json
    tags: Mapping[str, str | list[str]] = field(default_factory=dict[str, str | list[str]])
    new: bool = False
    within: str | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a record, if it is there."""

    category: str
    name: str


@dataclass(frozen=True, slots=True)
class PutKey:
    """Store a key that was made for this step; `key` is opaque outside `keys` and `store`."""

    verkey: str
    key: Any = field(repr=False)
    metadata: Json


@dataclass(frozen=True, slots=True)
class Consume:
    """Mark a record as used; if it is used already, the whole step is rejected."""

    category: str
    name: str


Write = Put | Delete | PutKey | Consume


@dataclass(frozen=True, slots=True)
class Then:
    """A pending command: committed with the step and run after it.

    Attributes:
        protocol: the protocol of the command, `family/major`; None: this exchange's own.
        connection: the connection of the exchange that it starts; None: this exchange's own peer.
    """

    command: Command
    protocol: str | None = None
    connection: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send without a connection.

    Attributes:
        endpoint: URL.
        recipients: base58 keys to encrypt to.
        routing: base58 keys of mediators, outermost last.
        sender: base58 key of ours to encrypt with.
    """

    endpoint: str
    recipients: tuple[str, ...]
    routing: tuple[str, ...] = ()
    sender: str


@dataclass(frozen=True, slots=True)
class Step(Generic[D]):
    """The decision on an event.

    Attributes:
        to: the next state.
        data: what to remember; None leaves it as it is.
        send: messages to the peer, in order; their thread is filled in.
        writes: applied in the same transaction; one that fails rejects the whole step.
        then: commands to run after the commit.
        connection: binds the exchange to this connection from now on.
        target: where `send` goes when the exchange has no connection.
        deliver: a message that was attached to an invitation, as `body`, `sender`, `recipient`: goes to the
            inbox and is handled like any message of that sender.
        minor: the minor version to speak from now on, where the peer asked for an older one.
        error: kept with the exchange, for people.
    """

    to: str
    data: D | None = None
    send: tuple[Message, ...] = ()
    writes: tuple[Write, ...] = ()
    then: tuple[Then, ...] = ()
    connection: str | None = None
    target: Target | None = None
    deliver: Json | None = None
    minor: int | None = None
    error: str | None = None


E = TypeVar("E")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Rule(Generic[S]):
    """One row of a table."""

    role: str
    at: str
    on: type[Any]
    to: frozenset[str]
    do: Callable[[Any, Any, S], Awaitable[Step[Any]]]


def rule(
    role: str,
    at: str,
    on: type[E],
    to: str | Iterable[str],
    do: Callable[[Exchange[D], E, S], Awaitable[Step[D]]],
) -> Rule[S]:
    """Return one row; the type checker matches `do` against `on` and against the port."""
    return Rule(role, at, on, frozenset([to] if isinstance(to, str) else to), do)


def abandoning(role: str, states: Iterable[str]) -> tuple[Rule[Any], ...]:
    """Return rows by which either side, a failed check or a deadline ends an exchange in these states."""
    rows: list[Rule[Any]] = []
    for at in states:
        rows += (
            rule(role, at, ProblemReport, ABANDONED, their_problem),
            rule(role, at, ReportProblem, ABANDONED, _our_problem),
            rule(role, at, Refused, ABANDONED, _refuse),
            rule(role, at, Expired, ABANDONED, _expire),
        )
    return tuple(rows)


async def their_problem(_x: Exchange[Any], report: ProblemReport, _: Any) -> Step[Any]:
    """End the exchange as the peer did, and keep its words."""
    return Step(ABANDONED, error=f"peer reports: {report.words}")


async def _our_problem(_x: Exchange[Any], cmd: ReportProblem, _: Any) -> Step[Any]:
    report = ProblemReport.of(cmd.code, cmd.comment)
    return Step(ABANDONED, send=(report,), error=cmd.comment or cmd.code)


async def _refuse(_x: Exchange[Any], cmd: Refused, _: Any) -> Step[Any]:
    return Step(ABANDONED, send=(ProblemReport.of(cmd.code, cmd.reason),), error=cmd.reason)


async def _expire(_x: Exchange[Any], _cmd: Expired, _: Any) -> Step[Any]:
    words = "the exchange waited too long"
    return Step(ABANDONED, send=(ProblemReport.of("expired", words),), error=words)


@dataclass(frozen=True, kw_only=True)
class Protocol(Generic[S]):
    """A protocol: its name, its data, its table.

    Attributes:
        uri: newest version spoken, `https://didcomm.org/{family}/{major}.{minor}`.
        data: model of what an exchange remembers, made with no argument at the start.
        rules: the whole state machine; a triple (role, at, on) occurs once.
        port: name of the port that handlers use; None: they use none.
        problem_report: name of its problem report message.
        strangers: a peer that has an invitation of ours may start it without a connection.
        in_order: messages of one connection are sent one after the other, across threads.
        expires_s: how long an exchange waits in a state that has an `Expired` row; None: without limit.
        keep_days: how long a finished exchange is kept.
    """

    uri: str
    data: type[Data] = NoData
    rules: tuple[Rule[S], ...]
    port: str | None = None
    problem_report: str = "problem-report"
    strangers: bool = False
    in_order: bool = False
    expires_s: float | None = None
    keep_days: int = 30

    def __post_init__(self) -> None:
        keys = [(r.role, r.at, r.on) for r in self.rules]
        twice = {k for k in keys if keys.count(k) > 1}
        if twice:
            raise ValueError(f"{self.uri}: two rows for one event: {twice}")
        try:
            type_uri = TypeUri.parse(f"{self.uri}/x")
        except BadMessageError:
            form = f"{PREFIX}{{family}}/{{major}}.{{minor}}"
            raise ValueError(f"{self.uri}: the URI of a protocol is {form}") from None
        cells = {(r.role, r.at, r.on): r for r in self.rules}
        wire = {
            getattr(r.on, "TYPE", "").rpartition("/")[2]: r.on
            for r in self.rules
            if issubclass(r.on, Message)
        }
        commands = {r.on.title(): r.on for r in self.rules if issubclass(r.on, Command)}
        for name, value in (
            ("name", type_uri.protocol),
            ("minor", type_uri.minor),
            ("cells", cells),
            ("messages", wire),
            ("commands", commands),
            ("roles", tuple(dict.fromkeys(r.role for r in self.rules))),
        ):
            object.__setattr__(self, name, value)

    name: str = field(init=False)
    minor: int = field(init=False)
    cells: dict[tuple[str, str, type[Any]], Rule[S]] = field(init=False, repr=False)
    messages: dict[str, type[Message]] = field(init=False, repr=False)
    commands: dict[str, type[Command]] = field(init=False, repr=False)
    roles: tuple[str, ...] = field(init=False)

    def message(self, name: str) -> type[Message] | None:
        """Return the model of a message by the last part of its type, or None."""
        if is_report(name):
            return ProblemReport
        return self.messages.get(name)

    def starts(self, on: type[Any]) -> str | None:
        """Return our role in an exchange that this event starts, or None: it does not start one."""
        return next((r.role for r in self.rules if r.at == START and r.on is on), None)

    def receiving(self, on: type[Any]) -> tuple[str, ...]:
        """Return the roles that have a row for this event."""
        return tuple(dict.fromkeys(r.role for r in self.rules if r.on is on))

    def final(self, role: str, state: str) -> bool:
        """Tell whether the table has no row for this state."""
        return not any(r.role == role and r.at == state for r in self.rules)

    def allowed(self, role: str, state: str) -> tuple[str, ...]:
        """Return the commands that the table allows now, by name."""
        return tuple(
            sorted(
                r.on.title()
                for r in self.rules
                if (r.role, r.at) == (role, state)
                and issubclass(r.on, Command)
                and r.on not in NOT_FOR_CALLERS
            )
        )

    def awaited(self, role: str, state: str) -> tuple[str, ...]:
        """Return the messages that the table expects now, by name."""
        return tuple(
            sorted(
                r.on.TYPE.rpartition("/")[2]
                for r in self.rules
                if (r.role, r.at) == (role, state)
                and issubclass(r.on, Message)
                and r.on is not ProblemReport
            )
        )

    def ahead(self, role: str, state: str) -> Iterator[Rule[S]]:
        """Yield every row that can be reached from this state, the nearest first."""
        reached, frontier = {state}, deque([state])
        while frontier:
            here = frontier.popleft()
            for r in self.rules:
                if (r.role, r.at) == (role, here):
                    yield r
                    frontier += r.to - reached
                    reached |= r.to

    def may_come(self, role: str, state: str, on: type[Any]) -> bool:
        """Tell whether the table leads from this state to one that expects this event."""
        return any(r.on is on for r in self.ahead(role, state))

    async def step(
        self, x: Exchange[Any], event: object, port: S
    ) -> tuple[Exchange[Any], Step[Any]]:
        """Decide one event. Stores and sends nothing.

        Raises:
            OutOfTurnError: the table has no row for this event; the exchange is unchanged.
        """
        found = self.cells.get((x.role, x.state, type(event)))
        if found is None:
            raise OutOfTurnError(
                f"{self.name}: {x.role} in {x.state} does not expect {_title(event)}"
            )
        step = await found.do(x, event, port)
        if step.to not in found.to:
            raise AssertionError(
                f"{self.name}: {found.do.__name__} went to {step.to}, not {found.to}"
            )
        after = replace(
            x,
            state=step.to,
            data=x.data if step.data is None else step.data,
            connection=step.connection or x.connection,
            minor=x.minor if step.minor is None else step.minor,
            error=step.error,
            then=(),
            due=self._due(x.role, step.to),
            until=self._until(x.role, step.to),
        )
        return after, step

    def _due(self, role: str, state: str) -> float | None:
        if self.expires_s is None or (role, state, Expired) not in self.cells:
            return None
        return time.time() + self.expires_s

    def _until(self, role: str, state: str) -> float | None:
        return time.time() + self.keep_days * DAY_S if self.final(role, state) else None

    def mermaid(self, role: str) -> str:
        """Return the rows of one role as a Mermaid diagram, where ids of states have no hyphens."""
        rows = [
            (r.at, to, _title_of(r.on))
            for r in self.rules
            if r.role == role
            for to in sorted(r.to)
        ]
        states = dict.fromkeys(state for at, to, _ in rows for state in (at, to))
        ids = {state: state.replace("-", "_") for state in states}
        named = [f'  state "{state}" as {name}' for state, name in ids.items() if state != name]
        drawn = [f"  {ids[at]} --> {ids[to]}: {on}" for at, to, on in rows]
        return "\n".join(["stateDiagram-v2", *named, *drawn])


def _title(event: object) -> str:
    return _title_of(type(event))


def _title_of(on: type[Any]) -> str:
    return on.title() if issubclass(on, Command) else on.TYPE.rpartition("/")[2]
