"""From a decision to its commit: threads, messages to send, pending commands, log."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from keep_agent.core.machine import (
    START,
    STATELESS,
    Command,
    Exchange,
    Protocol,
    Put,
    Step,
    Then,
    Write,
)
from keep_agent.core.message import PREFIX, Json, Message, ProblemReport, Thread, TypeUri
from keep_agent.errors import RefusedError
from keep_agent.store.rows import SEEN, Commit, Outgoing, Waiting, day

MOST_MESSAGES = 100
"""How many messages of a peer one exchange takes."""


@dataclass(frozen=True, slots=True)
class Event:
    """What is to be decided: the event itself, and where it came from.

    Attributes:
        what: a message or a command.
        digest: of the message's body; None for commands.
        ran: the pending command that it is, as it was committed; None: it is not one.
        waited: name of the inbox row that held the message.
        writes: writes that come with the event, whatever is decided.
    """

    what: Message | Command
    digest: str | None = None
    ran: Json | None = None
    waited: str | None = None
    writes: tuple[Write, ...] = ()


def body_digest(body: Json) -> str:
    """Return a digest of a message that does not depend on the order of its keys."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]


def outcome(
    protocol: Protocol[Any],
    before: Exchange[Any],
    after: Exchange[Any],
    step: Step[Any],
    event: Event,
    auto: tuple[Then, ...] = (),
) -> Commit:
    """Return all that one step changes.

    A message without a connection or target stays in its exchange, to be attached to an invitation.

    Args:
        auto: commands that policies of the tenant run in the new state.

    Raises:
        RefusedError: the peer sent more messages than one exchange takes.
    """
    first = before.state == START and isinstance(event.what, Command)
    bodies = [
        _on_wire(protocol, after, m, first=first and not i) for i, m in enumerate(step.send)
    ]
    after = replace(
        after,
        seen=_seen(before, event),
        sent=(*after.sent, *(str(b["@id"]) for b in bodies if b["@id"] != after.thid)),
        then=(*_left(before, event), *(_pending(t) for t in (*step.then, *auto))),
    )
    outbox = tuple(
        Outgoing(
            name=f"{after.id}.{body['@id']}",
            line=_line(protocol, after),
            thid=after.thid,
            body=body,
            exchange=after.id,
            connection=after.connection,
            target=step.target,
        )
        for body in bodies
    )
    return Commit(
        exchanges=(after,),
        waiting=_delivery(after, step),
        handled=(event.waited,) if event.waited else (),
        writes=(*event.writes, *step.writes, *_seen_apart(after, event)),
        outbox=outbox,
        events=(logged(after),),
    )


def joined(first: Commit, second: Commit) -> Commit:
    """Return one commit that does what two do, the second decided on the outcome of the first.

    An exchange that both change keeps the revision that the first was decided on.
    """
    exchanges = {x.id: x for x in first.exchanges}
    for x in second.exchanges:
        known = exchanges.get(x.id)
        exchanges[x.id] = replace(x, revision=known.revision) if known else x
    return Commit(
        exchanges=tuple(exchanges.values()),
        waiting=(*first.waiting, *second.waiting),
        handled=(*first.handled, *second.handled),
        writes=(*first.writes, *second.writes),
        outbox=(*first.outbox, *second.outbox),
        delivered=(*first.delivered, *second.delivered),
        events=(*first.events, *second.events),
    )


def _delivery(x: Exchange[Any], step: Step[Any]) -> tuple[Waiting, ...]:
    """Put an attached message into the inbox, to be handled like any message of that peer."""
    if step.deliver is None:
        return ()
    return (Waiting(name=f"{x.id}.{x.revision}", arrived=time.time(), **step.deliver),)


def message_type(protocol: Protocol[Any], minor: int, message: Message) -> str:
    """Return the type URI of a message in the version that both sides speak (RFC 0003)."""
    uri = TypeUri.parse(message.TYPE)
    name = protocol.problem_report if isinstance(message, ProblemReport) else uri.name
    if uri.protocol != protocol.name and not isinstance(message, ProblemReport):
        return message.TYPE
    family, major = protocol.name.split("/")
    return f"{PREFIX}{family}/{major}.{minor}/{name}"


def _on_wire(
    protocol: Protocol[Any], x: Exchange[Any], message: Message, *, first: bool
) -> Json:
    if first and message.thread.thid is None:
        message = message.model_copy(update={"id": x.thid})
    elif message.thread.thid is None:
        thread = Thread(thid=x.thid, pthid=message.thread.pthid or x.parent)
        message = message.model_copy(update={"thread": thread})
    return message.wire(message_type(protocol, x.minor, message))


def _seen(x: Exchange[Any], event: Event) -> dict[str, str]:
    if not isinstance(event.what, Message) or event.digest is None:
        return x.seen
    if sum(len(digests.split()) for digests in x.seen.values()) >= MOST_MESSAGES:
        raise RefusedError(
            f"a thread may have {MOST_MESSAGES} messages of a peer at most: begin another"
        )
    before = x.seen.get(event.what.id)
    return {**x.seen, event.what.id: f"{before} {event.digest}" if before else event.digest}


def seen_name(x: Exchange[Any], message_id: str) -> str:
    """Return the name of the row that keeps a message id if no exchange keeps it."""
    return hashlib.sha256(f"{x.id}\0{message_id}".encode()).hexdigest()[:32]


def _seen_apart(x: Exchange[Any], event: Event) -> tuple[Write, ...]:
    """Keep the id of a message whose exchange is not kept."""
    if x.state != STATELESS or not isinstance(event.what, Message):
        return ()
    return (
        Put(
            SEEN,
            seen_name(x, event.what.id),
            {"digest": event.digest, "at": x.created},
            {"~day": day(x.created)},
            new=True,
        ),
    )


def _left(x: Exchange[Any], event: Event) -> tuple[Json, ...]:
    """Return the pending commands that stay: those for the earlier state of this exchange do not."""
    if event.ran is not None:
        return tuple(t for t in x.then if t != event.ran)
    return tuple(t for t in x.then if t["protocol"] is not None)


def _pending(then: Then) -> Json:
    return {
        "command": then.command.title(),
        "args": then.command.model_dump(mode="json", exclude_defaults=True),
        "protocol": then.protocol,
        "connection": then.connection,
    }


def _line(protocol: Protocol[Any], x: Exchange[Any]) -> str:
    peer = x.connection or x.peer
    return peer if protocol.in_order else f"{peer} {x.thid}"


def logged(x: Exchange[Any]) -> Json:
    """Return the log event for the new state of an exchange, without content."""
    fields: Mapping[str, Any] = {
        "type": "exchange",
        "protocol": x.protocol,
        "id": x.id,
        "role": x.role,
        "state": x.state,
        "connection": x.connection,
        "thid": x.thid,
    }
    return {name: value for name, value in fields.items() if value is not None}
