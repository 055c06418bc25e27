"""`./manage bench`: what this machine can do, and what the agents make of it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.against import against
from bench.archive import archive
from bench.collector import cost_of_many
from bench.counts import counted
from bench.figures import Figure, table, write_json
from bench.load import Load, Spent, connections, credentials, messages, presentations
from bench.many_keys import tables
from bench.modes import both_by_office
from bench.on_postgres import credentials_ratio
from bench.raw import ISSUING, PROVING, VALUES, Raw, question
from bench.requesting import request_cost
from bench.scene import SAMPLED, Scene, follow, pair, scene, start
from bench.tenants import cost_of_tenants
from bench.verifying import verifier_alone

from network_and_agents import Network
from processes import free_ports, run
from usage import BENCH, reader

CORES = os.cpu_count() or 1


ISSUES = frozenset({"credentials", "presentations"})
"""What needs a credential definition on a ledger."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    Attributes:
        rounds: of the bare library on each core, each time; there are four times.
        items: credentials, and presentations, by how many run at once.
        counted: items of each kind whose transactions and rows are counted.
        burst: exchanges that are started at one moment.
        starts: how often an agent is started.
        held: how many credentials the full wallet holds; 0: it is not measured.
        archived: finished exchanges of the full store.
        tenants: how many are open, in one agent.
        on_both: credentials of one turn on PostgreSQL, and on SQLite.
        turns: rounds of old and new, where two checkouts are compared.
        verified: presentations of one turn of a verifier alone, and requests; there are a quarter as many turns.
        keys: of issuers that are used, and the memory for their tables.
    """

    rounds: int
    items: dict[int, int]
    counted: int
    messages: int
    connections: int
    burst: int
    starts: int
    held: int
    archived: int
    tenants: int
    on_both: int
    turns: int
    verified: int
    keys: tuple[int, int]


_FULL_ITEMS, _FULL_KEYS = {1: 24, 8: 120, 32: 160}, (500, 128 << 20)
FULL = Size(
    8, _FULL_ITEMS, 9, 1500, 60, 64, 3, 1000, 100_000, 200, 60, 5, verified=32, keys=_FULL_KEYS
)
QUICK = Size(1, {1: 2, 8: 8}, 1, 60, 4, 16, 1, 0, 1000, 3, 4, 1, 4, (9, 8 << 20))


Item = Callable[[int], Awaitable[None]]


@dataclass
class Results:
    """What has been measured so far."""

    raw: Raw = field(default_factory=Raw)
    credentials: dict[int, Spent] = field(default_factory=dict[int, Spent])
    presentations: dict[int, Spent] = field(default_factory=dict[int, Spent])
    other: dict[str, float] = field(default_factory=dict[str, float])
    errors: list[str] = field(default_factory=list[str])


async def measure(
    size: Size,
    folder: Path,
    network: Network | None = None,
    only: Collection[str] = BENCH,
    mode: str = SAMPLED,
) -> Results:
    """Measure.

    Args:
        folder: an empty one, for stores and logs.
        network: to use; None: one is started where it is needed.
        only: the groups that are measured.
        mode: who has to accept a proof where credentials are measured.
    """
    results = Results()
    _say("starting agents, and a network with a credential definition where it is needed")
    issues = ISSUES & set(only)
    async with scene(folder, network, mode) if issues else pair(folder, None) as on:
        results.other["idle_rss_mb"] = on.idle_rss_mb
        load = Load((on.office, on.holder))
        for group, work in _GROUPS.items():
            if group in only:
                await work(results, load, on, size)
        if issues == ISSUES:
            await _bursts(results, load, on, size)
        results.other["loaded_rss_mb"] = max(each.rss_mb() for each in load.parties)
        stalls = [(await each.client.status())["loop_stall_ms"] for each in load.parties]
        results.other["loop_stall_ms"] = max(stalls)
        if "presentations" in only:
            _say("presentations in two modes, in turns")
            found, lost = await both_by_office(on, max(size.items.values()) // 4)
            results.other |= found
            load.lost += lost
        if issues == ISSUES and size.held:
            _say(f"a holder with {size.held} credentials")
            ratio, lost = await cost_of_many(on, size.held, proofs=48)
            results.other["full_wallet_ratio"] = ratio
            load.lost += lost
        if "lists" in only:
            _say(f"an agent with {size.archived} finished exchanges")
            results.other |= await archive(on, size.archived, size.starts)
    if "starts" in only:
        await _cold_starts(results, on, size)
    await _agents_of_their_own(results, folder, size, only)
    results.other["lost"] = load.lost
    results.errors = load.errors
    return results


async def _agents_of_their_own(
    results: Results, folder: Path, size: Size, only: Collection[str]
) -> None:
    if "verifier" in only:
        _say(f"a verifier alone, and the tables of {size.keys[0]} keys")
        turns = max(1, size.verified // 4)
        results.other |= await verifier_alone(size.verified, turns)
        results.other |= await asyncio.to_thread(tables, *size.keys)
    if "requests" in only:
        _say(f"{size.verified} credential requests")
        results.other |= await request_cost(size.verified)
    if "tenants" in only:
        _say(f"{size.tenants} tenants of one agent")
        mine = _new(folder / "tenants")
        results.other["tenants_200_mb"] = await cost_of_tenants(mine, size.tenants)
    if "postgres" in only:
        _say(
            f"{size.on_both} credentials a turn on PostgreSQL and on SQLite, if the machine has it"
        )
        by_sqlite = await credentials_ratio(_new(folder / "postgres"), size.on_both, at_once=8)
        if by_sqlite is not None:
            results.other["postgres_credentials_ratio"] = by_sqlite


async def _credentials(results: Results, load: Load, on: Scene, size: Size) -> None:
    issue = credentials(on.office, on.holder, on.cred_def_id, VALUES)
    await _exchanges(results, load, size, "credential", issue, results.credentials)


async def _presentations(results: Results, load: Load, on: Scene, size: Size) -> None:
    prove = presentations(on.office, on.holder, lambda: question(on.cred_def_id))
    await _exchanges(results, load, size, "presentation", prove, results.presentations)


async def _exchanges(
    results: Results, load: Load, size: Size, what: str, item: Item, spent: dict[int, Spent]
) -> None:
    """Issue or prove, with the bare library in between: what the machine does else hits all."""
    for at_once, count in size.items.items():
        _say(f"{count} {what}s, {at_once} at once")
        await asyncio.to_thread(results.raw.round, size.rounds)
        spent[at_once] = await load.run(count, at_once, item)
    await asyncio.to_thread(results.raw.round, size.rounds)
    results.other |= await counted(load, what, size.counted, item)


async def _messages(results: Results, load: Load, on: Scene, size: Size) -> None:
    _say(f"{size.messages} basic messages")
    say = messages(on.office, on.holder)
    said = await load.run(size.messages, 16, say)
    results.other |= {"messages_per_s": said.per_s, "message_cpu_ms": said.cpu_ms}
    results.other |= await counted(load, "message", size.counted, say)


async def _connections(results: Results, load: Load, on: Scene, size: Size) -> None:
    _say(f"{size.connections} connections")
    met = await load.run(size.connections, 4, connections(on.office, on.holder))
    results.other |= {
        "connection_cpu_ms": met.cpu_ms,
        "connection_ms": 1000 * met.wall_s / met.items,
    }
    meet = connections(on.office, on.holder)
    results.other |= await counted(load, "connection", size.counted, meet)


_GROUPS = {
    "credentials": _credentials,
    "presentations": _presentations,
    "messages": _messages,
    "connections": _connections,
}
"""What is measured on office and holder."""


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
    found: list[Figure] = []
    if results.credentials or results.presentations:
        found += (
            Figure(f"raw_{step}_ms", f"bare library, {step}: CPU ms", raw.ms(step))
            for step in (*ISSUING, *PROVING)
        )
    if results.credentials:
        goal = Goal(at_most=0.92, per_s=16, share=0.8)
        found += _pair("credential", raw.credential_ms, results.credentials, goal)
    if results.presentations:
        goal = Goal(at_most=0.82, per_s=12, share=0.83)
        found += _pair("presentation", raw.presentation_ms, results.presentations, goal)
    return [
        *found,
        *(
            Figure(key, about, results.other.get(key), at_most, at_least)
            for key, about, at_most, at_least in OTHERS
        ),
    ]


OTHERS: tuple[tuple[str, str, float | None, float | None], ...] = (
    ("presentation_both_cpu_ms", "presentation in mode both, 8 at once: CPU ms", None, None),
    ("presentation_both_by_mode", "the same by the mode of all others, in turns", None, None),
    ("library_verify_ms", "bare library, verify alone: CPU ms", None, None),
    ("verify_ratio", "our equations, tables ready: CPU by the library's verify", 0.35, None),
    ("verify_cold_ratio", "the same without tables", 0.75, None),
    ("verifier_cpu_ratio", "verifier alone, all but samples: CPU by the library's", None, None),
    ("verifier_bare_per_s", "verified per second on all cores, bare library", None, None),
    ("verifier_library_per_s", "the same, mode library", None, None),
    ("verifier_sampled_per_s", "the same, mode sampled", None, None),
    ("verifier_ours_per_s", "the same, mode sampled without samples", None, None),
    ("verifier_rate_ratio", "verified per second, mode sampled by bare library", None, 2.5),
    ("verifier_ours_rate_ratio", "the same without samples", None, None),
    ("table_make_ms", "tables of a key with 5 bases: CPU ms to make", None, None),
    ("table_mb", "the same: MB", None, None),
    ("tables_500_mb", "tables with 500 keys in use, as counted: MiB", 128, None),
    ("tables_500_rss_mb", "the same, as the process grows: MiB", 144, None),
    ("library_request_ms", "bare library, credential request: CPU ms", None, None),
    ("request_ratio", "our request for a checked key: CPU by the library's", 0.35, None),
    ("transactions_per_credential", "a credential alone: transactions, both agents", 5, None),
    ("rows_per_credential", "the same: rows", 11, None),
    ("transactions_per_presentation", "a presentation alone: transactions", None, None),
    ("rows_per_presentation", "the same: rows", None, None),
    ("messages_per_s", "basic messages per second, 16 at once", None, 200),
    ("message_cpu_ms", "basic message: CPU ms, both agents", 6, None),
    ("transactions_per_message", "a basic message alone: transactions, both agents", 3, None),
    ("rows_per_message", "the same: rows", 3, None),
    ("connection_cpu_ms", "connection (OOB, DID exchange): CPU ms, both agents", 40, None),
    ("connection_ms", "connection: ms of the clock, 4 at once", None, None),
    ("transactions_per_connection", "a connection alone: transactions, both agents", 5, None),
    ("rows_per_connection", "the same: rows", 16, None),
    ("cold_start_cpu_s", "cold start to ready: CPU s", 0.6, None),
    ("cold_start_s", "cold start to ready: s of the clock", None, None),
    ("start_100k_cpu_s", "the same with 100,000 finished exchanges: CPU s", 0.8, None),
    ("page_100k_ms", "a page of 100 of them by state: ms", 60, None),
    ("idle_rss_mb", "memory of an idle agent: MB", 70, None),
    ("loaded_rss_mb", "memory of an agent after all this: MB", None, None),
    ("tenants_200_mb", "200 open tenants: MB more than one", 50, None),
    ("loop_stall_ms", "longest stall of an event loop: ms", 80, None),
    ("full_wallet_ratio", "a proof out of 1000 credentials by one out of 10: CPU", 1.2, None),
    ("postgres_credentials_ratio", "credentials per second: PostgreSQL by SQLite", None, 0.75),
    ("burst_offers_lost", "offers at one moment: lost", 0, None),
    ("burst_proofs_lost", "proof requests at one moment: lost", 0, None),
    ("lost", "exchanges of the whole run that got lost or failed", 0, None),
)
"""Key, meaning, and the target: at most, at least."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What issuing or proving should reach.

    Attributes:
        at_most: CPU of both agents by that of the library.
        per_s: at least so many a second.
        share: at least this part of what the library does a second.
    """

    at_most: float
    per_s: float
    share: float


def _pair(what: str, raw_ms: float, spent: dict[int, Spent], goal: Goal) -> list[Figure]:
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
            at_most=goal.at_most,
        ),
        Figure(
            f"{what}s_per_s",
            f"{what}s per second, 8 or more at once",
            per_s,
            at_least=goal.per_s,
        ),
        Figure(
            f"{what}s_limit_share",
            f"{what}s per second by the library's",
            per_s / limit,
            at_least=goal.share,
        ),
    ]


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _say(words: str) -> None:
    print(f"  {words}", file=sys.stderr, flush=True)  # noqa: T201 - progress


async def bench(args: argparse.Namespace) -> int:
    """Measure, print, write; 1 if something got lost, whatever the times."""
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # an agent that is installed has its bytecode
    size = QUICK if args.quick else FULL
    with tempfile.TemporaryDirectory(prefix="indykeep-bench-") as folder:
        if args.against:
            said, met = size.messages // 5, size.connections // 3
            found, errors = await against(
                Path(folder), args.against, size.turns, said=said, met=met
            )
        else:
            results = await measure(size, Path(folder), only=args.only, mode=args.verify)
            found, errors = figures(results), results.errors
    print(table(found))  # noqa: T201 - the result
    for error in errors[:10]:
        print(f"lost: {error}")  # noqa: T201
    if args.json:
        write_json(args.json, found)
    return 1 if next(f.value for f in found if f.key == "lost") else 0


def main() -> int:
    """Read the command line."""
    return run(bench(reader("bench").parse_args()))


if __name__ == "__main__":
    sys.exit(main())
