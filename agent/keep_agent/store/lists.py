"""Lists of exchanges, in pages, the newest first."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from keep_agent.core.machine import Exchange
from keep_agent.store.profile import Profile
from keep_agent.store.rows import BUCKET

WIDEST = 64
"""How many buckets of a list are read at once, at the most."""


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """The end of a page of exchanges: the next one goes on from here.

    Attributes:
        number, id: of its last exchange.
    """

    number: int
    id: str


async def listed(
    profile: Profile,
    tag: str,
    values: str | Collection[str],
    limit: int,
    *,
    after: Cursor | None = None,
    keep: Callable[[Exchange[Any]], bool] = lambda _: True,
) -> list[Exchange[Any]]:
    """Return a page of exchanges, newest first.

    Args:
        tag: which list: `~protocol`, `~state` (`"<protocol> <role> <state>"`) or `~peer`.
        values: exchanges with one of these values are listed.
        limit: the most that are returned; fewer only at the end of the list.
        after: the end of the page before; None: from the newest on.
        keep: tells whether an exchange belongs to the page.

    Raises:
        UnavailableError: the store does not answer.
    """
    found: list[Exchange[Any]] = []
    wanted = [values] if isinstance(values, str) else list(values)
    newest = min(after.number if after else profile.number + 1, profile.number + 1) // BUCKET
    wide = 1
    while wanted and newest >= 0 and len(found) < limit:
        oldest = max(newest - wide + 1, 0)
        names = [f"{value}.{n}" for value in wanted for n in range(oldest, newest + 1)]
        some = await profile.reader.exchanges({tag: {"$in": names}})
        some.sort(key=_position, reverse=True)
        found += [x for x in some if (after is None or _position(x) < after) and keep(x)]
        newest = oldest - 1
        wide = min(2 * wide, WIDEST) if len(some) < limit else wide
    return found[:limit]


async def of_thread(
    profile: Profile,
    thid: str,
    connection: str | None,
    limit: int,
    *,
    after: Cursor | None = None,
    keep: Callable[[Exchange[Any]], bool] = lambda _: True,
) -> list[Exchange[Any]]:
    """Return a page of the exchanges of a thread, like `listed`: there are few."""
    found = [
        x
        for x in await profile.exchanges("thid", thid)
        if (connection is None or (x.connection or x.peer) == connection)
        and (after is None or _position(x) < after)
        and keep(x)
    ]
    return sorted(found, key=_position, reverse=True)[:limit]


def _position(x: Exchange[Any]) -> Cursor:
    return Cursor(x.number, x.id)
