"""Migration of a store from version 1 to 2, where unfinished work and lists are found by tags.

In version 1 an exchange had no number and no deadline of its own; each message to send had a row until it was
delivered; connections, invitations, and first messages to be attached to an invitation (`attached`) had rows of their
own; and to find old rows, all rows of a category were read.

This module describes rows and protocols as they were in both versions, so it must not change when they do. An
exchange of a protocol that is not in its tables gets a deadline, and a day until which it is kept, at its next step.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aries_askar import Entry

from keep_agent.core.message import Json, new_id, write_json
from keep_agent.store.old_rows import Change, OldRows, Row
from keep_agent.store.rows import DAY_S, bucket, day, hour

Changes = AsyncGenerator[Change | None, None]
"""For each row that was read, what becomes of it; None: it is of the new version already."""

MOST_OF_A_NUMBER = 8
"""How many exchanges get the same number at the most, if the log has fewer rows than there are exchanges."""


@dataclass(frozen=True, slots=True)
class _Table:
    """What the table of a protocol said in version 1.

    Attributes:
        expires_s: how long an exchange may stay in a state of `waits`.
        keep_days: how long a finished exchange is kept.
        waits: roles and states with a deadline.
        stays: roles and states without a deadline in which an exchange is not finished.
    """

    expires_s: float
    keep_days: int
    waits: frozenset[str] = frozenset()
    stays: frozenset[str] = frozenset()


_MINUTE_S, _WEEK_S = 60, 7 * DAY_S
_TABLES = {
    "basicmessage/1": _Table(0, 30, stays=frozenset({"receiver received"})),
    "didexchange/1": _Table(
        DAY_S,
        30,
        waits=frozenset({"requester request-sent", "responder request-received"}),
        stays=frozenset({"responder response-sent"}),
    ),
    "discover-features/1": _Table(_MINUTE_S, 1, waits=frozenset({"requester query-sent"})),
    "discover-features/2": _Table(_MINUTE_S, 1, waits=frozenset({"requester queries-sent"})),
    "issue-credential/2": _Table(
        _WEEK_S,
        30,
        waits=frozenset(
            {
                "holder proposal-sent",
                "holder offer-received",
                "holder request-sent",
                "holder credential-received",
                "issuer proposal-received",
                "issuer offer-sent",
                "issuer request-received",
                "issuer credential-issued",
            }
        ),
    ),
    "out-of-band/1": _Table(
        _MINUTE_S,
        30,
        waits=frozenset({"receiver await-response"}),
        stays=frozenset({"receiver prepare-response"}),
    ),
    "present-proof/2": _Table(
        DAY_S,
        30,
        waits=frozenset(
            {
                "prover proposal-sent",
                "prover request-received",
                "prover presentation-sent",
                "verifier proposal-received",
                "verifier request-sent",
                "verifier presentation-received",
            }
        ),
    ),
    "trust_ping/1": _Table(_MINUTE_S, 1, waits=frozenset({"sender waiting"})),
}


async def _exchanges(rows: OldRows) -> Changes:
    count = await rows.count("exchange")
    share, last = await _numbers(rows, count)
    left = count
    async for entry in rows.all("exchange"):
        left -= 1
        x = json.loads(entry.value)
        if "number" in x:
            yield None
            continue
        new: Json = {"out": [], "by": "", "records": {}, "number": last - left // share}
        x |= {**new, **_times(x)}
        yield Change(changed=(_exchange(entry.name, x),))


async def _numbers(rows: OldRows, exchanges: int) -> tuple[int, int]:
    """Return how many exchanges get the same number, and the last number.

    Lists are read from the newest row of the log downwards, so the newest exchange gets the number of that row.
    """
    log = await _last_log_row(rows)
    share = min(-(-exchanges // max(log, 1)), MOST_OF_A_NUMBER) or 1
    return share, max(log, -(-exchanges // share))


def _times(x: Json) -> Json:
    table = _TABLES.get(x["protocol"])
    here = f"{x['role']} {x['state']}"
    due = until = None
    if table and here in table.waits:
        due = x["updated"] + table.expires_s
    elif table and here not in table.stays:
        until = x["updated"] + table.keep_days * DAY_S
    return {"due": due, "until": until}


def _exchange(name: str, x: Json) -> Row:
    lists = {
        "~protocol": x["protocol"],
        "~state": f"{x['protocol']} {x['role']} {x['state']}",  # as in version 3
        "~peer": x["connection"] or x["peer"],
    }
    tags: dict[str, Any] = {tag: bucket(value, x["number"]) for tag, value in lists.items()}
    tags["thid"] = x["thid"]
    if x["then"]:
        tags["then"] = x["by"]
    if x["sent"]:
        tags["sent"] = set(x["sent"])
    if x["due"] is not None:
        tags["~due"] = hour(x["due"])
    for category, record in x["records"].items():
        tags[category] = record["name"]
        tags |= {f"{category}.{tag}": value for tag, value in record["tags"].items()}
    if x["records"]:
        tags["keeps"] = set(x["records"])
    if x["until"] is not None and not x["then"] and not x["records"]:
        tags["~until"] = day(x["until"])
    if x["out"]:
        tags["~out"] = {bucket(out["by"], out["number"]) for out in x["out"]}
    return Row("exchange", name, write_json(x), tags)


async def _attached(rows: OldRows) -> Changes:
    """Put a first message to be attached to an invitation into its exchange, unless that has a peer already."""
    names = [entry.name async for entry in rows.all("attached")]
    for name in names:
        x = await rows.find("exchange", name)
        changed: tuple[Row, ...] = ()
        if x is not None and x["connection"] is None:
            attached = await rows.find("attached", name) or {}
            body = attached["message"]
            held = {
                "name": f"{name}.{body['@id']}",
                "lane": f"{x['peer']} {x['thid']}",
                "thid": x["thid"],
                "body": body,
                "exchange": name,
                "connection": None,
                "target": None,
                "by": "",
                "number": x["number"],
            }
            changed = (_exchange(name, {**x, "out": [held]}),)
        yield Change(gone=(("attached", name),), changed=changed)


def _keeping(name: str, x: Json, entry: Entry, record: Json) -> Row:
    """Return the row of an exchange with a record added that had a row of its own."""
    kept = {"name": record.get("name") or entry.name, "value": record, "tags": entry.tags}
    return _exchange(name, {**x, "records": {**x["records"], entry.category: kept}})


async def _connections(rows: OldRows) -> Changes:
    """Put a connection into the exchange that made it; if that is removed, it stays a row of its own."""
    for name in [entry.name async for entry in rows.all("connection")]:
        entry = await rows.get("connection", name)
        x = await rows.find("exchange", name)
        if x is None:
            yield None
            continue
        kept = _keeping(name, x, entry, json.loads(entry.value))
        yield Change(gone=(("connection", name),), changed=(kept,))


async def _invitations(rows: OldRows) -> Changes:
    """Put our own invitation into the exchange that made it, and copies of a received one into exchanges that wait.

    A received one also stays a row of its own, as the DID exchanges that answer it name it by its id.
    """
    keepers: dict[str, list[str]] = {}
    async for entry in rows.all("exchange"):
        x = json.loads(entry.value)
        if x["protocol"] == "out-of-band/1" and (_made(x) or _waits(x)):
            keepers.setdefault(x["data"]["invitation"], []).append(entry.name)
    for name in [entry.name async for entry in rows.all("invitation")]:
        entry = await rows.get("invitation", name)
        record = json.loads(entry.value)
        ours = record["direction"] == "ours"
        changed: list[Row] = []
        for keeper in keepers.get(name, ()):
            x = await rows.find("exchange", keeper) or {}
            if "invitation" not in x["records"]:
                own = record if ours else {**record, "name": keeper}
                changed.append(_keeping(keeper, x, entry, own))
        gone = (("invitation", name),) if ours and changed else ()
        yield Change(gone=gone, changed=tuple(changed)) if changed else None


def _made(x: Json) -> bool:
    return bool(x["role"] == "sender" and x["data"].get("invitation") == x["thid"])


def _waits(x: Json) -> bool:
    return x["role"] == "receiver" and x["state"] in {"prepare-response", "await-response"}


async def _outbox(rows: OldRows) -> Changes:
    """Replace the rows in the order of their commits: rows of one transaction were not in order."""
    left: list[tuple[int, str]] = []
    async for entry in rows.all("outbox"):
        row = json.loads(entry.value)
        if "by" in row:
            yield None
        else:
            left.append((row["order"], entry.name))
    for _, name in sorted(left):
        row = await rows.find("outbox", name) or {}
        del row["order"]
        exchange, dot, _ = name.partition(".")
        row |= {"exchange": exchange if dot else None, "by": "", "number": 0}
        yield Change(
            gone=(("outbox", name),),
            new=(Row("outbox", name, write_json(row), {"by": ""}),),
        )


async def _inbox(rows: OldRows) -> Changes:
    async for entry in rows.all("inbox"):
        row = json.loads(entry.value)
        if "by" in row:
            yield None
            continue
        value = write_json({**row, "by": ""})
        yield Change(changed=(Row("inbox", entry.name, value, {"by": ""}),))


async def _jobs(rows: OldRows) -> Changes:
    async for entry in rows.all("job"):
        if "open" not in entry.tags:
            yield None
            continue
        yield Change(changed=(Row("job", entry.name, entry.value, {"by": ""}),))


def _dated(category: str) -> Callable[[OldRows], Changes]:
    async def changes(rows: OldRows) -> Changes:
        async for entry in rows.all(category):
            if "~day" in entry.tags:
                yield None
                continue
            made = {"~day": day(json.loads(entry.value)["at"])}
            yield Change(changed=(Row(category, entry.name, entry.value, made),))

    return changes


async def _log(rows: OldRows) -> Changes:
    _, last = await _numbers(rows, await rows.count("exchange"))
    async for entry in rows.all("log"):
        row = json.loads(entry.value)
        if "done" in row:
            yield None
            continue
        yield Change(changed=(_log_row(int(entry.name), row["events"]),))
    if last > await _last_log_row(rows):  # new exchanges must get higher numbers
        yield Change(new=(_log_row(last, []),))


async def _last_log_row(rows: OldRows) -> int:
    newest = await rows.newest("log")
    return int(newest.name) if newest else 0


def _log_row(number: int, events: list[Json]) -> Row:
    at = events[-1]["at"] if events else time.time()
    row = {
        "id": new_id(),
        "at": at,
        "by": "",
        "done": number,
        "events": events,
        "out": [],
        "rows": [],
    }
    return Row("log", str(number), write_json(row), {"~day": day(at), "by": ""})


STAGES: Mapping[str, Callable[[OldRows], Changes]] = {
    "exchange": _exchanges,
    "attached": _attached,
    "connection": _connections,
    "invitation": _invitations,
    "outbox": _outbox,
    "inbox": _inbox,
    "job": _jobs,
    "seen": _dated("seen"),
    "dead-letter": _dated("dead-letter"),
    "log": _log,
}
"""By category, in this order: each one reads what those before it have written."""
