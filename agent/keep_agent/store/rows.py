"""How a decision becomes rows of the store, and back.

| category | a row is |
|---|---|
| `exchange` | one exchange: with the ids that it has seen, the commands that it still has to run, the messages that it sent last, and the connection or invitation that it made |
| `log` | what one group of decisions changed: its events, and the messages to send that no exchange keeps |
| `outbox` | a message that waits for its peer longer than a moment |
| `inbox` | a message that came in and cannot be handled yet |
| `seen` | a message id, where no exchange keeps it |

The other categories are the records of the rooms above.

**Which messages are delivered** is told by the log: each row says up to which row of its own process everything
is delivered (`done`). So a delivery costs no write of its own. What is not delivered soon moves to `outbox`.

**Lists** have one plain tag for each filter, with a bucket in it: `"<value>.<number // 128>"`, so that a page reads
the newest buckets and not all rows. `number` is that of the log row with which an exchange was made.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Iterator, Mapping
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
    """A message on its way out: committed, and kept until it is delivered.

    Attributes:
        name: unique; of its row, where it has one.
        lane: messages of one lane leave one after the other.
        exchange: id of the exchange that keeps it; None: the log does.
        connection: says where it goes; None: `target` says it; neither: it is held for an invitation.
        by: the process that delivers it; empty: the only one.
        number: of the log row with which it was committed; 0: not yet, or by a version before.
        turn: its place among the messages of that row.
    """

    name: str
    lane: str
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
        """Whether it goes nowhere by itself."""
        return self.connection is None and self.target is None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that came in and cannot be handled yet.

    Attributes:
        by: the process that handles it; empty: the only one.
    """

    name: str
    body: Json = field(repr=False)
    sender: str | None
    recipient: str
    arrived: float
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What one or several decisions lead to: all of it is written, or nothing.

    Attributes:
        exchanges: as they are to be; the revision of each is that of the one it was decided on.
        waiting: messages to keep for later.
        handled: names of inbox rows that this settles.
        outbox: messages to send.
        delivered: names of outbox rows that are not needed any more.
        parked: messages that have waited a while, and get a row of their own.
        events: for the log, without number and time.
        mark: write a row of the log though nothing happened: it tells what is delivered.
        over: the process whose work is taken over: from this row of the log on it writes nothing.
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
    over: str | None = None

    def exchange(self, name: str) -> Exchange[Any]:
        """Return the exchange of this id as it was committed."""
        return next(x for x in self.exchanges if x.id == name)


def operations(
    tx: Session, commit: Commit, sizes: dict[tuple[str, str], int]
) -> Iterator[Awaitable[object]]:
    """Yield all that writes this commit, one row each; the order among them does not matter.

    Args:
        sizes: told how long the rows are that a cache may keep, by category and name.
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
        yield tx.insert("outbox", out.name, write_json(_fields(out)), {"by": out.by})
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
    tx: Session, category: str, name: str, value: bytes, tags: dict[str, str], *, new: bool
) -> None:
    if new or await tx.fetch(category, name) is None:
        await tx.insert(category, name, value, tags)
    else:
        await tx.replace(category, name, value, tags)


async def remove(tx: Session, category: str, name: str) -> None:
    """Remove a row, if it is there."""
    try:
        await tx.remove(category, name)
    except AskarError as error:
        if error.code != AskarErrorCode.NOT_FOUND:
            raise


def item(out: Outgoing) -> Json:
    """Return what an exchange or the log keeps of a message to send; the body is not copied."""
    target = asdict(out.target) if out.target else None
    return {**_fields(out), "name": out.name, "target": target}


def read_item(value: Json) -> Outgoing:
    """Read a message to send as an exchange, the log or the outbox keeps it."""
    fields: dict[str, Any] = dict(value)
    if target := fields.pop("target"):
        fields["target"] = Target(
            endpoint=target["endpoint"],
            recipients=tuple(target["recipients"]),
            routing=tuple(target["routing"]),
            sender=target["sender"],
        )
    return Outgoing(**fields)


def _fields(row: Outgoing | Waiting) -> Json:
    """Return what a row holds besides its name; not copied, a body can be long."""
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
    """Return the value of the tag `~due`: texts of one length, in the order of time."""
    return f"{int(at) // HOUR_S:08}"


def day(at: float) -> str:
    """Return the value of the tags `~day` (made then) and `~until` (kept until then), like `hour`."""
    return f"{int(at) // DAY_S:08}"


def lists_of(x: Exchange[Any]) -> dict[str, str]:
    """Return by which values people page through exchanges, by the name of the tag."""
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
        tags |= {f"{category}.{name}": value for name, value in record["tags"].items()}
    if x.records:
        tags["keeps"] = set(x.records)
    if x.until is not None and not x.then and not x.records:
        tags["~until"] = day(x.until)
    if x.out:
        tags["~out"] = {bucket(out["by"], out["number"]) for out in x.out}
    return tags


def read_exchange(value: bytes, models: Models) -> Exchange[Any]:
    """Read a row of the exchanges with the `Data` model of its protocol."""
    row = json.loads(value)
    row["data"] = models[row["protocol"]].model_validate(row["data"])
    for name in ("sent", "then", "out"):
        row[name] = tuple(row[name])
    return Exchange(**row)
