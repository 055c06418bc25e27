"""Makes one group of checked commits: numbers them, and writes their row of the log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from keep_agent.core.machine import STATELESS, Exchange, PutKey
from keep_agent.core.message import Json, new_id
from keep_agent.store.cache import Row
from keep_agent.store.log import EVENTS_A_ROW
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit, Group, write_outgoing


def group(profile: Profile, commits: Sequence[Commit]) -> Group:
    """Return the group of these commits, with the next number of the log."""
    number, turns = profile.number + 1, count()
    numbered = [_numbered(profile, commit, number, turns) for commit in commits]
    return Group(number, numbered, _log(profile, numbered, number))


def _numbered(profile: Profile, commit: Commit, number: int, turns: Iterator[int]) -> Commit:
    """Set the number and the process of what a commit leaves to be done."""
    by = profile.process
    outbox = tuple(
        replace(row, number=number, turn=next(turns), by=by) for row in commit.outbox
    )
    kept: dict[str, list[Json]] = {}
    for row in outbox:
        if row.exchange is not None:
            kept.setdefault(row.exchange, []).append(write_outgoing(row))
    exchanges = tuple(
        replace(
            x,
            number=x.number or number,
            out=(*(o for o in x.out if _keeps(profile, x, o)), *kept.get(x.id, ())),
        )
        for x in commit.exchanges
    )
    waiting = tuple(replace(row, by=by) for row in commit.waiting)
    return replace(commit, exchanges=exchanges, outbox=outbox, waiting=waiting)


def _keeps(profile: Profile, x: Exchange[Any], out: Json) -> bool:
    """Tell whether an exchange must go on keeping a message: it is not delivered yet, or not known to be."""
    if out["connection"] is None and out["target"] is None:
        return x.connection is None  # held for an invitation
    if out["by"] == profile.process:
        return profile.deliveries.is_fresh(out["name"])
    done: int = profile.log.done_by.get(out["by"], 0)
    return bool(out["number"] > done)


def _log(profile: Profile, commits: Sequence[Commit], number: int) -> Json | None:
    """Return the log row of a group; None: it needs none."""
    changed = _changed(commits) if profile.shared else []
    if not (changed or any(c.events or c.outbox or c.waiting or c.mark for c in commits)):
        return None
    now = time.time()
    events = [event for commit in commits for event in commit.events]
    kept = {x.id for c in commits for x in c.exchanges if x.state != STATELESS}
    loose = [
        write_outgoing(row) for c in commits for row in c.outbox if row.exchange not in kept
    ]
    first = number * EVENTS_A_ROW + 1
    return {
        "id": new_id(),
        "at": now,
        "by": profile.process,
        "done": profile.deliveries.done(number - 1),
        "events": [{"n": n, "at": now, **e} for n, e in enumerate(events, first)],
        "out": loose,
        "rows": changed,
        "over": [commit.takes_over for commit in commits if commit.takes_over],
    }


def _changed(commits: Sequence[Commit]) -> list[Row]:
    """Return the rows that other processes must read again if they have them in their cache."""
    found: dict[Row, None] = {}
    for commit in commits:
        kept = [x for x in commit.exchanges if x.state != STATELESS]
        found |= {("exchange", x.id): None for x in kept}
        found |= {(c, record["name"]): None for x in kept for c, record in x.records.items()}
        found |= {
            (w.category, w.name): None for w in commit.writes if not isinstance(w, PutKey)
        }
    return list(found)
