"""`./manage bench`: what this machine can do, and what the agents make of it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.collector import cost_of_many
from bench.figures import Figure, table, write_json
from bench.load import Load, Spent, connections, credentials, messages, presentations
from bench.raw import ISSUING, PROVING, VALUES, Raw, question
from bench.scene import Scene, follow, scene, start

from processes import free_ports, run
from stage import Network
from usage import reader

CORES = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    Attributes:
        rounds: of the bare library on each core, each time; there are four times.
        items: credentials, and presentations, by how many run at once.
        burst: exchanges that are started at one moment.
        starts: how often an agent is started.
        held: how many credentials the full wallet holds; 0: it is not measured.
    """

    rounds: int
    items: dict[int, int]
    messages: int
    connections: int
    burst: int
    starts: int
    held: int


FULL = Size(8, {1: 24, 8: 120, 32: 160}, 1500, 60, 64, 3, 1000)
QUICK = Size(1, {1: 2, 8: 8}, 60, 4, 16, 1, 0)


@dataclass
class Results:
    """What has been measured so far."""

    raw: Raw = field(default_factory=Raw)
    credentials: dict[int, Spent] = field(default_factory=dict[int, Spent])
    presentations: dict[int, Spent] = field(default_factory=dict[int, Spent])
    other: dict[str, float] = field(default_factory=dict[str, float])
    errors: list[str] = field(default_factory=list[str])


async def measure(size: Size, folder: Path, network: Network | None = None) -> Results:
    """Measure everything.

    Args:
        folder: an empty one, for stores and logs.
        network: to use; None: one is started.
    """
    results = Results()
    _say("starting a network and two agents; a credential definition takes up to a minute")
    async with scene(folder, network) as on:
        results.other["idle_rss_mb"] = on.idle_rss_mb
        load = Load((on.office, on.holder))
        await _exchanges(results, load, on, size)
        await _small_talk(results, load, on, size)
        await _bursts(results, load, on, size)
        results.other["loaded_rss_mb"] = max(each.rss_mb() for each in load.parties)
        stalls = [(await each.client.status())["loop_stall_ms"] for each in load.parties]
        results.other["loop_stall_ms"] = max(stalls)
        if size.held:
            _say(f"a holder with {size.held} credentials")
            ratio, lost = await cost_of_many(on, size.held, proofs=48)
            results.other["full_wallet_ratio"] = ratio
            load.lost += lost
    await _cold_starts(results, on, size)
    results.other["lost"] = load.lost
    results.errors = load.errors
    return results


async def _exchanges(results: Results, load: Load, on: Scene, size: Size) -> None:
    """Issue and prove, with the bare library in between: what the machine does else hits all."""
    issue = credentials(on.office, on.holder, on.cred_def_id, VALUES)
    prove = presentations(on.office, on.holder, lambda: question(on.cred_def_id))
    for items, what, name in (
        (results.credentials, issue, "credentials"),
        (results.presentations, prove, "presentations"),
    ):
        for at_once, count in size.items.items():
            _say(f"{count} {name}, {at_once} at once")
            await asyncio.to_thread(results.raw.round, size.rounds)
            items[at_once] = await load.run(count, at_once, what)
    await asyncio.to_thread(results.raw.round, size.rounds)


async def _small_talk(results: Results, load: Load, on: Scene, size: Size) -> None:
    _say(f"{size.messages} basic messages, {size.connections} connections")
    said = await load.run(size.messages, 16, messages(on.office, on.holder))
    met = await load.run(size.connections, 4, connections(on.office, on.holder))
    results.other |= {
        "messages_per_s": said.per_s,
        "message_cpu_ms": said.cpu_ms,
        "connection_cpu_ms": met.cpu_ms,
        "connection_ms": 1000 * met.wall_s / met.items,
    }


async def _bursts(results: Results, load: Load, on: Scene, size: Size) -> None:
    _say(f"{size.burst} offers, then {size.burst} proof requests, at one moment")
    issue = credentials(on.office, on.holder, on.cred_def_id, VALUES)
    prove = presentations(on.office, on.holder, lambda: question(on.cred_def_id))
    offers = await load.run(size.burst, size.burst, issue)
    proofs = await load.run(size.burst, size.burst, prove)
    results.other |= {"burst_offers_lost": offers.lost, "burst_proofs_lost": proofs.lost}


async def _cold_starts(results: Results, on: Scene, size: Size) -> None:
    """Start the office on what it has, from nothing to ready."""
    cpu: list[float] = []
    wall: list[float] = []
    for _ in range(size.starts):
        with free_ports(2) as ports:
            began = asyncio.get_running_loop().time()
            async with start("office", on.folder, on.genesis, ports) as agent:
                wall.append(asyncio.get_running_loop().time() - began)
                async with follow(agent) as office:
                    cpu.append(office.cpu_s())
    results.other |= {"cold_start_cpu_s": median(cpu), "cold_start_s": median(wall)}


def figures(results: Results) -> list[Figure]:
    """Put the results beside the targets."""
    raw = results.raw
    return [
        *(
            Figure(f"raw_{step}_ms", f"bare library, {step}: CPU ms", raw.ms(step))
            for step in (*ISSUING, *PROVING)
        ),
        *_pair("credential", raw.credential_ms, results.credentials, most=1.2, least=16),
        *_pair("presentation", raw.presentation_ms, results.presentations, most=1.25, least=12),
        *(
            Figure(key, about, results.other.get(key), at_most, at_least)
            for key, about, at_most, at_least in OTHERS
        ),
    ]


OTHERS: tuple[tuple[str, str, float | None, float | None], ...] = (
    ("messages_per_s", "basic messages per second, 16 at once", None, 200),
    ("message_cpu_ms", "basic message: CPU ms, both agents", 6, None),
    ("connection_cpu_ms", "connection (OOB, DID exchange): CPU ms, both agents", 40, None),
    ("connection_ms", "connection: ms of the clock, 4 at once", None, None),
    ("cold_start_cpu_s", "cold start to ready: CPU s", 0.8, None),
    ("cold_start_s", "cold start to ready: s of the clock", None, None),
    ("idle_rss_mb", "memory of an idle agent: MB", 80, None),
    ("loaded_rss_mb", "memory of an agent after all this: MB", None, None),
    ("loop_stall_ms", "longest stall of an event loop: ms", 100, None),
    ("full_wallet_ratio", "a proof out of 1000 credentials by one out of 10: CPU", 1.2, None),
    ("burst_offers_lost", "offers at one moment: lost", 0, None),
    ("burst_proofs_lost", "proof requests at one moment: lost", 0, None),
    ("lost", "exchanges of the whole run that got lost or failed", 0, None),
)
"""Key, meaning, and the target: at most, at least."""


def _pair(
    what: str, raw_ms: float, spent: dict[int, Spent], *, most: float, least: float
) -> list[Figure]:
    """Return the figures of issuing or proving; the headline is the worse of the busy ones."""
    busy = [each for at_once, each in spent.items() if at_once > 1]
    limit = 1000 * CORES / raw_ms
    per_s = min(each.per_s for each in busy)
    found = [
        Figure(f"raw_{what}_ms", f"bare library, a whole {what}: CPU ms", raw_ms),
        Figure(f"raw_{what}s_per_s", f"bare library, {what}s per second on all cores", limit),
    ]
    for at_once, each in spent.items():
        found += [
            Figure(
                f"{what}_cpu_ms_{at_once}", f"{what}, {at_once} at once: CPU ms", each.cpu_ms
            ),
            Figure(
                f"{what}s_per_s_{at_once}", f"{what}s per second, {at_once} at once", each.per_s
            ),
        ]
    ratio = max(each.cpu_ms for each in busy) / raw_ms
    return [
        *found,
        Figure(
            f"{what}_cpu_ratio",
            f"{what}: CPU of both agents by the library's",
            ratio,
            at_most=most,
        ),
        Figure(
            f"{what}s_per_s", f"{what}s per second, 8 or more at once", per_s, at_least=least
        ),
        Figure(
            f"{what}s_limit_share",
            f"{what}s per second by the library's",
            per_s / limit,
            at_least=0.75,
        ),
    ]


def _say(words: str) -> None:
    print(f"  {words}", file=sys.stderr, flush=True)  # noqa: T201 - progress


async def bench(args: argparse.Namespace) -> int:
    """Measure, print, write; 1 if something got lost, whatever the times."""
    with tempfile.TemporaryDirectory(prefix="indykeep-bench-") as folder:
        results = await measure(QUICK if args.quick else FULL, Path(folder))
    found = figures(results)
    print(table(found))  # noqa: T201 - the result
    for error in results.errors[:10]:
        print(f"lost: {error}")  # noqa: T201
    if args.json:
        write_json(args.json, found)
    return 1 if results.other["lost"] else 0


def main() -> int:
    """Read the command line."""
    return run(bench(reader("bench").parse_args()))


if __name__ == "__main__":
    sys.exit(main())
