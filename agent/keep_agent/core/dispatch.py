"""From an event to its committed outcome: only here a protocol's decision reaches the store.

An event is a message of a peer, a command of our own side, or a command that an earlier step left
(see `scheduler`). For each: find the exchange, lock its thread, let the table decide, commit.
Errors of peers become problem reports here and nowhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

from keep_agent.core.commit import Event, body_digest, joined, logged, outcome
from keep_agent.core.find_exchange import EarlyError, find_exchange, was_handled
from keep_agent.core.machine import (
    Command,
    Exchange,
    Expired,
    Peer,
    Protocol,
    Refused,
    Step,
    Then,
    Write,
    exchange_id,
)
from keep_agent.core.message import Json, Message, ProblemReport, Received, TypeUri, new_id
from keep_agent.core.policy import parse_command
from keep_agent.core.problem_reports import (
    Reports,
    ReturnAddress,
    not_now,
    nowhere,
)
from keep_agent.errors import (
    BadCommandError,
    BadMessageError,
    ConflictError,
    KeepError,
    LocalError,
    OutOfTurnError,
    PeerError,
    RefusedError,
    UnavailableError,
)
from keep_agent.store.profile import Profile
from keep_agent.store.reading import drafted
from keep_agent.store.rows import Commit, Waiting

log = logging.getLogger(__name__)

TRIES = 3
EARLY_MOST = 256
EARLY_MOST_OF_A_PEER = 16
EARLY_BYTES = 64 << 10
HELD_S = 1.0
"""How long a commit waits at the most for the commands that may run in it."""
MOST_IN_ONE = 4
"""How many pending commands may run in the commit of the decision that led to them."""


@dataclass(slots=True, kw_only=True)
class Context:
    """All that dispatch needs to know of one tenant.

    Attributes:
        protocols: by `family/major`.
        ports: by the name in `Protocol.port`.
        identify: finds out who sent a message; raises BadEnvelopeError if the sender may not send it.
        bind: binds an exchange to the peer that wrote first; returns it, and the writes for that.
        return_address: where the sender of a message is reached without a connection, or None.
        auto: the policies: which commands to run in the state that an exchange has reached.
        has_room: whether a command that a decision leads to may run in the same commit now.
    """

    profile: Profile
    protocols: Mapping[str, Protocol[Any]]
    ports: Mapping[str, object]
    identify: Callable[[Received], Awaitable[Peer]]
    bind: Callable[[Exchange[Any], Peer, Message], tuple[Exchange[Any], tuple[Write, ...]]]
    return_address: ReturnAddress = nowhere
    auto: Callable[[Exchange[Any]], tuple[Then, ...]] = lambda _: ()
    has_room: Callable[[], bool] = lambda: True


class Dispatcher:
    """Handles the events of every protocol of one tenant; knows no protocol by name."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.profile = context.profile
        self.on_message: Callable[[str | None, str], None] = lambda _connection, _thid: None
        self.on_change: Callable[[Exchange[Any]], None] = lambda _: None
        self.on_delivery: Callable[[Waiting], None] = lambda _: None
        self.early: dict[str, tuple[Waiting, Peer]] = {}
        self._threads: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._changes: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._reports = Reports(context.protocols, context.return_address)

    # -- messages --------------------------------------------------------------------------------

    async def receive(
        self, received: Received, waited: Waiting | None = None, *, final: bool = False
    ) -> None:
        """Handle one opened message; when this returns, its outcome is committed.

        Args:
            waited: the inbox row that it waited in.
            final: it has waited long enough: the message that it waits for counts as missing.

        Raises:
            BadEnvelopeError: its sender may not send it; nothing is changed or answered.
            PeerError: it breaks a rule, and no problem report can be sent.
            UnavailableError: it cannot be handled now; the sender should send it again.
        """
        newest = self.profile.last_event
        peer = await self.context.identify(received)
        try:
            await self._message(peer, received, waited)
        except EarlyError as error:
            if final:
                late = OutOfTurnError("an earlier message of this thread never came")
                await self._refuse(peer, received, late, waited)
            elif waited is not None:
                self.early[waited.name] = (waited, peer)
            else:
                await self._keep_early(peer, received, error, newest)
        except PeerError as error:
            await self._refuse(peer, received, error, waited)

    async def _message(self, peer: Peer, received: Received, waited: Waiting | None) -> None:
        uri = TypeUri.parse(received.body.get("@type"))
        row = waited.name if waited else None
        digest = await _digest(received)
        async with self.thread(Message.thread_of(received.body)):
            for attempt in range(TRIES):
                protocol, message, x = await find_exchange(
                    self.profile,
                    self.context.protocols,
                    peer,
                    uri,
                    received.body,
                    fresh=attempt > 0,
                )
                if await was_handled(self.profile, protocol, x, message, digest, attempt):
                    await self._forget(waited)
                    return
                x, writes = self.context.bind(x, peer, message)
                event = Event(message, digest, waited=row, writes=writes)
                try:
                    await self._decide(protocol, x, event)
                except ConflictError:
                    continue
                except PeerError as error:
                    if attempt + 1 < TRIES and await self.profile.others_committed():
                        continue  # another process had changed what this was decided on
                    early = isinstance(error, OutOfTurnError)
                    if early and protocol.may_come(x.role, x.state, type(message)):
                        raise EarlyError from error
                    raise
                self.on_message(peer.connection, Message.thread_of(received.body))
                return
        raise UnavailableError("this thread is too busy; send it again")

    # -- commands --------------------------------------------------------------------------------

    async def start(
        self, protocol: str, command: Command, connection: str | None, thid: str | None = None
    ) -> Exchange[Any]:
        """Start an exchange with a command and return it as committed.

        Args:
            protocol: `family/major`.
            connection: id of the connection; None if the command names its peer itself, or if the
                message is to be attached to an invitation.
            thid: names the thread; the same one again returns the exchange that is there.

        Raises:
            LocalError: the command does not start an exchange, or its protocol refuses it.
            UnavailableError: nothing was changed; try again.
        """
        spoken = self.context.protocols[protocol]
        role = spoken.starts(type(command))
        if role is None:
            raise BadCommandError(f"{command.title()} does not start {protocol}")
        x = await self._first(spoken, role, command, connection, thid or new_id())
        async with self.thread(x.thid):
            for _ in range(TRIES):
                known = await self.profile.exchange(x.id) if thid else None
                try:
                    return known or await self._decide(spoken, x, Event(command))
                except ConflictError:
                    continue  # another process was faster
        raise UnavailableError("this thread is too busy; try again")

    async def _first(
        self,
        spoken: Protocol[Any],
        role: str,
        command: Command,
        connection: str | None,
        thid: str,
    ) -> Exchange[Any]:
        """Return an exchange as it is before its first command."""
        record = await self.profile.get("connection", connection) if connection else None
        peer = connection or command.peer() or new_id()
        return Exchange(
            id=exchange_id(spoken.name, role, thid, peer),
            protocol=spoken.name,
            minor=spoken.minor,
            role=role,
            thid=thid,
            pthid=record["invitation"] if record else None,
            peer=peer,
            connection=connection,
            data=spoken.data(),
            created=time.time(),
        )

    async def command(
        self, name: str, command: Command, wait_s: float = 0, ran: Json | None = None
    ) -> Exchange[Any]:
        """Run a command on an exchange and return it as committed.

        A command that the table does not allow now, but may later, waits up to `wait_s` seconds.

        Raises:
            NotFoundError: no such exchange.
            NotNowError: the state does not allow it; the text says what is awaited and allowed.
            LocalError, UnavailableError: as of `start`.
        """
        deadline = time.monotonic() + wait_s
        looked = False
        while True:
            changed = self.changed(name)
            x = await self.profile.exchange(name)
            if x is not None:
                async with self.thread(x.thid):
                    done = await self._try(name, command, ran)
                if done is not None:
                    return done
            if not looked:
                looked = True
                if await self.profile.others_committed():
                    continue
            left = deadline - time.monotonic()
            if left <= 0 or (x is not None and not self._may_come(x, command)):
                raise not_now(self.context.protocols, name, x, command)
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                continue

    async def _try(self, name: str, command: Command, ran: Json | None) -> Exchange[Any] | None:
        for attempt in range(TRIES):
            x = await self.profile.exchange(name)
            if x is None or (ran is not None and ran not in x.then):
                return x
            protocol = self.context.protocols[x.protocol]
            if (
                attempt
                and isinstance(command, Expired)
                and (x.due is None or x.due > time.time())
            ):
                return x  # it has moved on, and waits for something else
            if (x.role, x.state, type(command)) not in protocol.cells:
                return None
            try:
                return await self._decide(protocol, x, Event(command, ran=ran))
            except ConflictError:
                continue
        raise UnavailableError("this exchange is too busy; try again")

    def _may_come(self, x: Exchange[Any], command: Command) -> bool:
        return self.context.protocols[x.protocol].may_come(x.role, x.state, type(command))

    def changed(self, name: str) -> asyncio.Event:
        """Return an event that is set at the next commit of this exchange."""
        return self._changes.setdefault(name, asyncio.Event())

    def wake(self, name: str) -> None:
        """Wake those who wait for an exchange: it was committed, here or by another process."""
        changed = self._changes.pop(name, None)
        if changed is not None:
            changed.set()

    async def note(self, name: str, error: str | None, ran: Json) -> None:
        """Remove a pending command from an exchange, and keep in words why it failed."""
        for _ in range(TRIES):
            x = await self.profile.exchange(name)
            if x is None or ran not in x.then:
                return
            left = tuple(t for t in x.then if t != ran)
            after = replace(x, then=left, error=error if error is not None else x.error)
            try:
                await self._commit(
                    Commit(exchanges=(after,), events=(logged(after),) if error else ())
                )
            except ConflictError:
                continue
            return
        raise UnavailableError("this exchange is too busy; try again")

    # -- deciding and committing -----------------------------------------------------------------

    async def _decide(
        self, protocol: Protocol[Any], x: Exchange[Any], event: Event
    ) -> Exchange[Any]:
        """Decide an event, run the commands that follow while there is room, and commit all at once."""
        first = await self._decided(protocol, x, event)
        whole = await self._with_commands(first)
        if whole is not first:
            try:
                return (await self._commit(whole)).exchange(x.id)
            except (ConflictError, PeerError):
                log.info(
                    "commands run in commits of their own", extra={"id": x.id}
                )  # they are still pending
        return (await self._commit(first)).exchange(x.id)

    async def _decided(self, protocol: Protocol[Any], x: Exchange[Any], event: Event) -> Commit:
        port = self.context.ports[protocol.port] if protocol.port else None
        try:
            after, step = await protocol.step(x, event.what, port)
        except OutOfTurnError:
            raise
        except PeerError as error:
            after, step = await self._refused(protocol, x, error, event, port)
        except LocalError as error:
            if isinstance(event.what, Command):
                raise
            log.warning("exchange cannot go on", extra={"id": x.id, "reason": str(error)})
            refusal = RefusedError("our side cannot go on")
            after, step = await self._refused(protocol, x, refusal, event, port)
        moved = after.state != x.state or isinstance(event.what, Message)
        auto = self.context.auto(after) if moved else ()
        return outcome(protocol, x, after, step, event, auto)

    async def _refused(
        self,
        protocol: Protocol[Any],
        x: Exchange[Any],
        error: PeerError,
        event: Event,
        port: object,
    ) -> tuple[Exchange[Any], Step[Any]]:
        """Let the table decide what follows a failed check; without a row, raise the error.

        What follows sends a problem report, and a problem report is never answered with one.
        """
        no_row = (x.role, x.state, Refused) not in protocol.cells
        if no_row or isinstance(event.what, ProblemReport):
            raise error
        log.warning(
            "exchange refused", extra={"code": error.code, "id": x.id, "reason": str(error)}
        )
        return await protocol.step(x, Refused(code=error.code, reason=str(error)), port)

    async def _with_commands(self, commit: Commit) -> Commit:
        """Run pending commands in a commit that is not made yet; one that fails stays pending."""
        try:
            async with asyncio.timeout(HELD_S):
                for _ in range(MOST_IN_ONE):
                    found = _runnable(commit)
                    if found is None or not self.context.has_room():
                        break
                    with drafted(commit):
                        commit = joined(commit, await self._run(*found))
        except TimeoutError:
            log.info("a command takes long", extra={"id": commit.exchanges[0].id})
        except KeepError as error:
            log.info("a command runs in a commit of its own", extra={"reason": str(error)})
        except (
            Exception
        ):  # it is still pending: the scheduler runs it again and handles the error
            log.exception("a command failed")
        return commit

    async def _run(self, x: Exchange[Any], pending: Json) -> Commit:
        """Decide a pending command of an exchange that is not committed yet."""
        protocol = self.context.protocols[pending["protocol"] or x.protocol]
        command = parse_command(protocol, pending["command"], pending["args"])
        if pending["protocol"] is None:
            return await self._decided(protocol, x, Event(command, ran=pending))
        role = protocol.starts(type(command))
        if role is None:
            raise BadCommandError(f"{command.title()} does not start {protocol.name}")
        thid = thread_for(x, pending)
        new = await self._first(protocol, role, command, pending["connection"], thid)
        started = await self._decided(protocol, new, Event(command))
        left = replace(x, then=tuple(t for t in x.then if t != pending))
        return joined(started, Commit(exchanges=(left,)))

    async def _commit(self, commit: Commit) -> Commit:
        committed = await self.profile.commit(commit)
        for x in committed.exchanges:
            self.wake(x.id)
            self.on_change(x)
        for waiting in committed.waiting:
            self.on_delivery(waiting)
        return committed

    def thread(self, thid: str) -> asyncio.Lock:
        """Return the lock of a thread: its events are decided one after the other."""
        return self._threads.setdefault(thid, asyncio.Lock())

    # -- what goes wrong -------------------------------------------------------------------------

    async def _forget(self, waited: Waiting | None) -> None:
        """Remove a message from the inbox that its sender sent again and that was handled then."""
        if waited is not None:
            await self.profile.commit(Commit(handled=(waited.name,)))

    async def _keep_early(
        self, peer: Peer, received: Received, why: EarlyError, newest: int
    ) -> None:
        mine = sum(1 for _, p in self.early.values() if p.connection == peer.connection)
        if len(self.early) >= EARLY_MOST or mine >= EARLY_MOST_OF_A_PEER:
            raise UnavailableError("too many messages came too early") from why
        if len(json.dumps(received.body)) > EARLY_BYTES:
            raise UnavailableError("a long message came too early") from why
        waiting = Waiting(
            name=body_digest(
                {"": received.body, "from": received.sender, "to": received.recipient}
            ),
            body=received.body,
            sender=received.sender,
            recipient=received.recipient,
            arrived=time.time(),
        )
        if waiting.name in self.early:
            return
        await self.profile.commit(Commit(waiting=(waiting,)))
        self.early[waiting.name] = (waiting, peer)
        if self.profile.last_event != newest:  # what it waits for may have come meanwhile
            self.on_delivery(waiting)

    async def _refuse(
        self, peer: Peer, received: Received, error: PeerError, waited: Waiting | None
    ) -> None:
        """Send a problem report to whom it can be sent; for others the transport answers."""
        log.warning(
            "message refused",
            extra={"code": error.code, "reason": str(error), "connection": peer.connection},
        )
        handled = (waited.name,) if waited else ()
        answer = await self._reports.answer(peer, received, error)
        if answer is not None:
            commit = Commit(outbox=(answer,), handled=handled)
            await self._commit_refusal(commit, peer, received.body, error)
        elif handled:
            await self.profile.commit(Commit(handled=handled))
        else:
            raise error

    async def _commit_refusal(
        self, commit: Commit, peer: Peer, body: Json, error: PeerError
    ) -> None:
        """Commit the answer to a refused message; an exchange that waited for it says so, too."""
        async with self.thread(Message.thread_of(body)):
            x = await self._waiting(peer, body) if type(error) is BadMessageError else None
            if x is not None:
                noted = replace(x, error=f"a message of the peer was refused: {error}")
                whole = replace(commit, exchanges=(noted,), events=(logged(noted),))
                with suppress(ConflictError):  # another process was faster: only answer then
                    await self._commit(whole)
                    return
            await self.profile.commit(commit)

    async def _waiting(self, peer: Peer, body: Json) -> Exchange[Any] | None:
        """Return the exchange of a message that cannot be read, if it has not ended."""
        name, thid = TypeUri.parse(body.get("@type")).protocol, Message.thread_of(body)
        spoken = self.context.protocols.get(name)
        for role in spoken.roles if spoken and peer.known else ():
            for pid in peer.ids:
                x = await self.profile.exchange(exchange_id(name, role, thid, pid))
                if x is not None and x.until is None and peer.closed is None and peer.owns(x):
                    return x
        return None


async def _digest(received: Received) -> str:
    """Return the digest of a message; of a long one it is computed outside the event loop (SEC-R01)."""
    if received.large:
        return await asyncio.to_thread(body_digest, received.body)
    return body_digest(received.body)


def _runnable(commit: Commit) -> tuple[Exchange[Any], Json] | None:
    return next(((x, x.then[0]) for x in commit.exchanges if x.then), None)


def thread_for(x: Exchange[Any], pending: Json) -> str:
    """Return the thread id of an exchange that a pending command starts, the same at each try."""
    return hashlib.sha256(f"{x.id}\0{pending}".encode()).hexdigest()[:32]
