"""How a decision becomes rows of the store, and back.

One row each: `exchange` (with the ids that it has seen and the commands that it still has to run),
`outbox` (a message until it is delivered), `inbox` (a message that cannot be handled yet), `seen`
(a message id, where no exchange keeps it), and the records of the rooms above.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping
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

Models = Mapping[str, type[Data]]
"""The `Data` model of each protocol, by `family/major`."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way out: committed, and kept until it is delivered.

    Attributes:
        name: of its row; from the exchange, its revision and a count, so the same decision made
            twice names the same row.
        lane: messages of one lane leave one after the other.
        connection: says where it goes; None: `target` says it.
    """

    name: str
    lane: str
    thid: str
    body: Json = field(repr=False)
    connection: str | None = None
    target: Target | None = None
    order: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that came in and cannot be handled yet (see `inbox`)."""

    name: str
    body: Json = field(repr=False)
    sender: str | None
    recipient: str
    arrived: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One decision: all of it is written, or nothing.

    Attributes:
        after: the exchange as it is to be; its revision is that of the one it was decided on.
        waiting: a message to keep for later.
        handled: names of inbox rows that this decision settles.
        events: for the log, without number and time.
    """

    after: Exchange[Any] | None = None
    waiting: Waiting | None = None
    handled: tuple[str, ...] = ()
    writes: tuple[Write, ...] = ()
    outbox: tuple[Outgoing, ...] = ()
    delivered: tuple[str, ...] = ()
    events: tuple[Json, ...] = ()


def operations(
    tx: Session, commit: Commit, sizes: dict[tuple[str, str], int]
) -> list[Awaitable[object]]:
    """Return all that writes this decision; the order among them does not matter.

    Args:
        sizes: told how long the rows are that a cache may keep, by category and name.
    """
    work: list[Awaitable[object]] = []
    after = commit.after
    if after is not None and after.state != STATELESS:
        save = tx.insert if after.revision == 1 else tx.replace
        row = _exchange_row(after)
        sizes["exchange", after.id] = len(row)
        work.append(save("exchange", after.id, row, _exchange_tags(after)))
    if commit.waiting is not None:
        inbox = _fields(commit.waiting)
        work.append(tx.insert("inbox", commit.waiting.name, write_json(inbox)))
    work += [remove(tx, "inbox", name) for name in commit.handled]
    work += [remove(tx, "outbox", name) for name in commit.delivered]
    work += [_write(tx, write, sizes) for write in commit.writes]
    for out in commit.outbox:
        target = asdict(out.target) if out.target else None
        outbox = {**_fields(out), "target": target}
        work.append(tx.insert("outbox", out.name, write_json(outbox)))
    return work


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
        case Consume(invitation=name):
            entry = await tx.fetch("invitation", name)
            if entry is not None:
                value = {**json.loads(entry.value), "used": True}
                await tx.replace("invitation", name, write_json(value), entry.tags)


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


def _fields(row: Outgoing | Waiting) -> Json:
    """Return what a row holds besides its name; not copied, a body can be long."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__ if name != "name"}


def _exchange_row(x: Exchange[Any]) -> bytes:
    row = {name: getattr(x, name) for name in _EXCHANGE_FIELDS}
    row["data"] = x.data.model_dump(mode="json", exclude_defaults=True)
    return write_json(row)


_EXCHANGE_FIELDS = tuple(n for n in Exchange.__dataclass_fields__ if n not in {"via", "data"})


def _exchange_tags(x: Exchange[Any]) -> dict[str, Any]:
    tags: dict[str, Any] = {"protocol": x.protocol, "peer": x.connection or x.peer}
    if x.then:
        tags["then"] = "1"
    if x.sent:
        tags["sent"] = set(x.sent)
    return tags


def read_outgoing(name: str, value: Json) -> Outgoing:
    """Read a row of the outbox."""
    target = value.pop("target")
    if target:
        target["recipients"] = tuple(target["recipients"])
        target["routing"] = tuple(target["routing"])
    return Outgoing(name=name, target=Target(**target) if target else None, **value)


def read_exchange(value: bytes, models: Models) -> Exchange[Any]:
    """Read a row of the exchanges with the `Data` model of its protocol."""
    row = json.loads(value)
    row["data"] = models[row["protocol"]].model_validate(row["data"])
    row["sent"], row["then"] = tuple(row["sent"]), tuple(row["then"])
    return Exchange(**row)
