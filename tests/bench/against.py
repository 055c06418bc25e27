"""This checkout against an older one: a machine that others use varies by a third, so both run in turns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.figures import Figure
from bench.load import Load, Spent, connections, messages
from bench.scene import Scene, pair

from processes import StartError

ENVIRONMENT = Path(".indykeep", "test-venv")
"""Where `./manage check` puts it."""
ORDER = ("old", "new", "new", "old")


@dataclass
class Turns:
    """What one kind of item cost, turn by turn, on either side."""

    spent: dict[str, list[Spent]] = field(default_factory=lambda: {"old": [], "new": []})

    def cpu_ms(self, side: str) -> float:
        """Return the median of the CPU of an item over both agents."""
        return median(each.cpu_ms for each in self.spent[side])

    def per_s(self, side: str) -> float:
        """Return the median of the items per second."""
        return median(each.per_s for each in self.spent[side])


async def against(
    folder: Path, checkout: Path, rounds: int, *, said: int, met: int
) -> tuple[list[Figure], Sequence[str]]:
    """Run so many messages and connections a turn, `rounds` times old, new, new, old.

    The agents of both are up all the time; those that it is not the turn of are idle.

    Returns:
        the figures, and what went wrong.

    Raises:
        StartError: the other checkout has no environment, or its agents do not start.
    """
    talk, meet = Turns(), Turns()
    async with AsyncExitStack() as stack:
        sides: dict[str, tuple[Scene, Load]] = {}
        for side, program in (("old", _python(checkout)), ("new", sys.executable)):
            (folder / side).mkdir()
            on = await stack.enter_async_context(pair(folder / side, None, program))
            sides[side] = on, Load((on.office, on.holder))
        for turn, side in enumerate(ORDER[:2] + ORDER * rounds):
            on, load = sides[side]
            talked = await load.run(said, 16, messages(on.office, on.holder))
            connected = await load.run(met, 4, connections(on.office, on.holder))
            if turn >= len(sides):  # the first turn of each counts for nothing
                talk.spent[side].append(talked)
                meet.spent[side].append(connected)
    lost = sum(load.lost for _, load in sides.values())
    return (
        [
            *_figures("message", talk, cpu=0.7, speed=1.3),
            *_figures("connection", meet, cpu=0.65, speed=None),
            Figure("lost", "items that got lost or failed", lost, at_most=0),
        ],
        [error for _, load in sides.values() for error in load.errors],
    )


def _python(checkout: Path) -> str:
    python = checkout.absolute() / ENVIRONMENT / "bin" / "python"
    if not python.exists():
        raise StartError(f"no {python}: ./manage check makes it there")
    return str(python)


def _figures(what: str, turns: Turns, *, cpu: float, speed: float | None) -> list[Figure]:
    old, new = turns.cpu_ms("old"), turns.cpu_ms("new")
    before, now = turns.per_s("old"), turns.per_s("new")
    return [
        Figure(f"{what}_cpu_ms_old", f"{what}: CPU ms, old", old),
        Figure(f"{what}_cpu_ms_new", f"{what}: CPU ms, new", new),
        Figure(f"{what}_cpu_by_old", f"{what}: CPU, new by old", new / old, at_most=cpu),
        Figure(f"{what}s_per_s_old", f"{what}s per second, old", before),
        Figure(f"{what}s_per_s_new", f"{what}s per second, new", now),
        Figure(
            f"{what}s_per_s_by_old",
            f"{what}s per second, new by old",
            now / before,
            at_least=speed,
        ),
    ]
