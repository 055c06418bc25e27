"""What is written to the store: commits, and the rows that they become.

| category | a row is |
|---|---|
| `exchange` | one exchange, with the ids of the messages that it received, its pending commands, its messages that are not known to be delivered, and the connection or invitation that it made |
| `log` | what one group of commits changed: its events, and the messages to send that no exchange keeps |
| `outbox` | a message to send that was not delivered within a few seconds |
| `inbox` | a message that was received and cannot be handled yet |
| `seen` | the id of a received message that no exchange keeps |

Rows of other categories are records of the modules that use the store.

**Which messages are delivered** is in the log: each row has a number `done`; the messages of its process are
delivered or parked (moved to `outbox`) up to the row of that number. So a delivery needs no transaction of its own.

**Lists** have one unencrypted tag for each filter. Its value ends in the number of a bucket
(`"<value>.<number // 128>"`), so that a page reads the newest buckets instead of all rows. `number` is that of the log
row with which the exchange was made.

**Tags of an exchange**: `~protocol`, `~state`, `~peer` (lists), `thid`, `then` (the process with commands to run),
`sent` (ids of messages that we sent), `~due` (hour of its deadline), `~until` (day until which it is kept), `~out`
(processes with messages to send), `keeps` (categories of its records), and the names and tags of its records.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aries_askar import AskarError, AskarErrorCode, Session

from keep_agent.core.machine import (
    STATELESS,
    Consume,
    Data,
    Delete,
    Exchange,
    Put,
    PutKey,
    Target,
    Write,
)
from keep_agent.core.message import Json, write_json

SEEN, DEAD = "seen", "dead-letter"

KEPT_WITHIN = frozenset({"connection", "invitation"})
"""The categories of records that may be kept in the row of an exchange."""

BUCKET = 128
"""How many log rows share a bucket of the list tags."""

HOUR_S = 3600
DAY_S = 24 * HOUR_S

Models = Mapping[str, type[Data]]
"""The `Data` model of each protocol, by `family/major`."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send, kept in the store until it is delivered.

    Attributes:
        name: unique; the name of its row if it is parked.
        line: messages of one line are sent one after the other.
        exchange: id of the exchange that keeps it; None: the log keeps it.
        connection: id of the connection that it is for; None: it is for `target`; neither: it is held until an
            invitation takes it along.
        by: name of the process that delivers it; empty: the only one.
        number: of the log row with which it was committed; 0: it is not committed yet, or parked by an earlier version.
        turn: its place among the messages of that row.
    """

    name: str
    line: str
    thid: str
    body: Json = field(repr=False)
    exchange: str | None = None
    connection: str | None = None
    target: Target | None = None
    by: str = ""
    number: int = 0
    turn: int = 0

    @property
    def held(self) -> bool:
        """Whether it is not sent by itself, but held for an invitation."""
        return self.connection is None and self.target is None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that was received and cannot be handled yet.

    Attributes:
        name: of its row.
        sender, recipient: base58 verkeys, as in `Received`.
        arrived: POSIX time.
        by: name of the process that handles it; empty: the only one.
    """

    name: str
    body: Json = field(repr=False)
    sender: str | None
    recipient: str
    arrived: float
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What one or several decisions change: all of it is written, or nothing.

    Attributes:
        exchanges: in their new state, each with the revision of the exchange that was decided on.
        waiting: received messages to handle later.
        handled: names of rows of the inbox that are handled by this.
        writes: to records and keys.
        outbox: messages to send.
        delivered: names of rows of the outbox to remove.
        parked: messages that get a row of their own, as they were not delivered soon.
        events: for the log, without number and time.
        mark: write a row of the log even if nothing else changed, so that `done` is written.
        takes_over: a process whose work is taken over; it writes nothing after this row of the log.
    """

    exchanges: tuple[Exchange[Any], ...] = ()
    waiting: tuple[Waiting, ...] = ()
    handled: tuple[str, ...] = ()
    writes: tuple[Write, ...] = ()
    outbox: tuple[Outgoing, ...] = ()
    delivered: tuple[str, ...] = ()
    parked: tuple[Outgoing, ...] = ()
    events: tuple[Json, ...] = ()
    mark: bool = False
    takes_over: str | None = None

    def exchange(self, name: str) -> Exchange[Any]:
        """Return the exchange of this id as it was committed."""
        return next(x for x in self.exchanges if x.id == name)


@dataclass(frozen=True, slots=True)
class Group:
    """Commits that are written as one transaction.

    Attributes:
        number: of their row of the log.
        log: that row; None: they need none.
        sizes: bytes of each written row, by category and name; filled while they are written.
    """

    number: int
    commits: Sequence[Commit]
    log: Json | None
    sizes: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])


@dataclass(frozen=True, slots=True)
class TakenOver:
    """Work that this process has taken over from one that is gone.

    Attributes:
        outgoing: messages to send, in the order of their commits.
        waiting: received messages to handle.
        pending: exchanges with commands to run.
    """

    outgoing: Sequence[Outgoing]
    waiting: Sequence[Waiting]
    pending: Sequence[Exchange[Any]]


def operations(
    tx: Session, commit: Commit, sizes: dict[tuple[str, str], int]
) -> Iterator[Awaitable[object]]:
    """Yield the operations that write a commit, one for each row; they may run in any order.

    Args:
        sizes: filled with the bytes of each row that may be cached, by category and name.
    """
    for x in commit.exchanges:
        if x.state != STATELESS:
            save = tx.insert if x.revision == 1 else tx.replace
            row = _exchange_row(x)
            sizes["exchange", x.id] = len(row)
            yield save("exchange", x.id, row, _exchange_tags(x))
    for waiting in commit.waiting:
        inbox = write_json(_fields(waiting))
        yield tx.insert("inbox", waiting.name, inbox, {"by": waiting.by})
    for out in commit.parked:
        yield tx.insert("outbox", out.name, write_json(outbox_value(out)), {"by": out.by})
    for name in commit.handled:
        yield remove(tx, "inbox", name)
    for name in commit.delivered:
        yield remove(tx, "outbox", name)
    for write in commit.writes:
        yield _write(tx, write, sizes)


async def _write(tx: Session, write: Write, sizes: dict[tuple[str, str], int]) -> None:
    match write:
        case Put(category=category, name=name, value=value, tags=tags, new=new):
            text = write_json(value)
            sizes[category, name] = len(text)
            await _put(tx, category, name, text, tags, new=new)
        case Delete(category=category, name=name):
            await remove(tx, category, name)
        case PutKey(verkey=verkey, key=key, metadata=metadata):
            await tx.insert_key(verkey, key, metadata=json.dumps(metadata))
        case Consume(category=category, name=name):
            entry = await tx.fetch(category, name)
            if entry is not None:
                value = {**json.loads(entry.value), "used": True}
                await tx.replace(category, name, write_json(value), entry.tags)


async def _put(
    tx: Session,
    category: str,
    name: str,
    value: bytes,
    tags: Mapping[str, str | list[str]],
    *,
    new: bool,
) -> None:
    if new or await tx.fetch(category, name) is None:
        await tx.insert(category, name, value, _in_askar(tags))
    else:
        await tx.replace(category, name, value, _in_askar(tags))


def _in_askar(tags: Mapping[str, str | list[str]]) -> dict[str, Any]:
    return {name: set(v) if isinstance(v, list) else v for name, v in tags.items()}


async def remove(tx: Session, category: str, name: str) -> None:
    """Remove a row, if it is there."""
    try:
        await tx.remove(category, name)
    except AskarError as error:
        if error.code != AskarErrorCode.NOT_FOUND:
            raise


def write_outgoing(out: Outgoing) -> Json:
    """Return a message to send as an exchange or the log keeps it; the body is not copied.

    There, and in the outbox, `line` has the name `lane`.
    """
    return {"name": out.name, **outbox_value(out)}


def outbox_value(out: Outgoing) -> Json:
    """Return a message to send as its row in the outbox keeps it; the body is not copied."""
    value = _fields(out)
    value["lane"] = value.pop("line")
    value["target"] = asdict(out.target) if out.target else None
    return value


def read_outgoing(value: Json) -> Outgoing:
    """Read a message to send that an exchange, the log or the outbox keeps."""
    fields: dict[str, Any] = dict(value)
    fields["line"] = fields.pop("lane")
    if target := fields.pop("target"):
        fields["target"] = Target(
            endpoint=target["endpoint"],
            recipients=tuple(target["recipients"]),
            routing=tuple(target["routing"]),
            sender=target["sender"],
        )
    return Outgoing(**fields)


def _fields(row: Outgoing | Waiting) -> Json:
    """Return what a row holds besides its name; not copied, as a body can be long."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__ if name != "name"}


def _exchange_row(x: Exchange[Any]) -> bytes:
    row = {name: getattr(x, name) for name in _EXCHANGE_FIELDS}
    row["data"] = x.data.model_dump(mode="json", exclude_defaults=True)
    return write_json(row)


_EXCHANGE_FIELDS = tuple(n for n in Exchange.__dataclass_fields__ if n not in {"via", "data"})


def bucket(value: str, number: int) -> str:
    """Return the value of a list tag for a row with this number."""
    return f"{value}.{number // BUCKET}"


def hour(at: float) -> str:
    """Return the value of the tag `~due` for a POSIX time: a text that sorts by time."""
    return f"{int(at) // HOUR_S:08}"


def day(at: float) -> str:
    """Return the value of the tags `~day` (when a row was made) and `~until` (how long it is kept); see `hour`."""
    return f"{int(at) // DAY_S:08}"


def lists_of(x: Exchange[Any]) -> dict[str, str]:
    """Return the lists that an exchange is in: the value of each list tag, without its bucket."""
    return {
        "~protocol": x.protocol,
        "~state": f"{x.protocol} {x.role} {x.state}",
        "~peer": x.connection or x.peer,
    }


def _exchange_tags(x: Exchange[Any]) -> dict[str, Any]:
    tags: dict[str, Any] = {name: bucket(v, x.number) for name, v in lists_of(x).items()}
    tags["thid"] = x.thid
    if x.then:
        tags["then"] = x.by
    if x.sent:
        tags["sent"] = set(x.sent)
    if x.due is not None:
        tags["~due"] = hour(x.due)
    for category, record in x.records.items():
        tags[category] = record["name"]
        tags |= {f"{category}.{name}": v for name, v in _in_askar(record["tags"]).items()}
    if x.records:
        tags["keeps"] = set(x.records)
    if x.until is not None and not x.then and not x.records:
        tags["~until"] = day(x.until)
    if x.out:
        tags["~out"] = {bucket(out["by"], out["number"]) for out in x.out}
    return tags


def read_exchange(value: bytes, models: Models) -> Exchange[Any]:
    """Read the row of an exchange with the `Data` model of its protocol."""
    row = json.loads(value)
    row["data"] = models[row["protocol"]].model_validate(row["data"])
    for name in ("sent", "then", "out"):
        row[name] = tuple(row[name])
    return Exchange(**row)
