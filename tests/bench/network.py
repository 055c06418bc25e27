"""`./manage bench-network`: what the local network does on this machine, from one client."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil
from bench.figures import Figure, table, write_json
from indy_client import Client
from pool import Network

from usage import reader

IDLE_S = 20
ALONE, PARALLEL, AT_ONCE, READS, READS_AT_ONCE = 50, 1000, 50, 1000, 20
STEP = 2000


class Watched:
    """The processes of a network: its nodes and its supervisor."""

    def __init__(self, network: Network) -> None:
        folder = str(network.folder)
        self.nodes = [psutil.Process(pid) for pid in set(network.pids.values())]
        self.supervisor = [
            process
            for process in psutil.process_iter()
            if "keep_network/watch.py" in (line := _command(process)) and folder in line
        ]

    def mb(self) -> float:
        """Resident memory of the nodes."""
        return _mb(self.nodes)

    def all_mb(self) -> float:
        """Resident memory of the nodes and their supervisor."""
        return _mb(self.nodes + self.supervisor)

    def all_pss_mb(self) -> float:
        """The same, what processes share counted once; Linux tells it."""
        return sum(
            float(process.memory_full_info().pss) for process in self.nodes + self.supervisor
        ) / (1 << 20)

    def cpu_s(self) -> float:
        """CPU time so far."""
        times = [process.cpu_times() for process in self.nodes + self.supervisor]
        return sum(float(one.user + one.system) for one in times)


async def measure(network: Network, started_s: float, writes: int) -> list[Figure]:
    """Measure a network that was just started and is written to by nobody else."""
    watched = Watched(network)
    client = await Client.open(network.genesis)
    await asyncio.sleep(5)  # what the start left behind
    idle_mb, idle_pss_mb, before = watched.all_mb(), watched.all_pss_mb(), watched.cpu_s()
    await asyncio.sleep(IDLE_S)
    idle_cpu = 100 * (watched.cpu_s() - before) / IDLE_S

    await client.write_many(ALONE, 1)
    alone_ms = 1000 * median(client.times)
    before, begun = watched.cpu_s(), time.monotonic()
    await client.write_many(PARALLEL, AT_ONCE)
    writes_s = PARALLEL / (time.monotonic() - begun)
    cpu_ms = 1000 * (watched.cpu_s() - before) / PARALLEL
    reads_s = await _reads(client)
    full_mb = await _fill(client, watched, writes)
    return [
        Figure("start_s", "start to the first write, s", started_s, at_most=6),
        Figure("idle_rss_mb", "memory after the start, MB (RSS)", idle_mb, at_most=100),
        Figure("idle_pss_mb", "the same without what is shared, MB (PSS)", idle_pss_mb),
        Figure("supervisor_mb", "of that the supervisor, MB", _mb(watched.supervisor)),
        Figure("idle_cpu", "CPU of all when idle, % of a core", idle_cpu, at_most=4),
        Figure("write_p50_ms", "one write at a time, ms", alone_ms, at_most=200),
        Figure("writes_per_s", f"writes/s, {AT_ONCE} at once", writes_s, at_least=60),
        Figure("write_cpu_ms", "CPU of all nodes per write, ms", cpu_ms),
        Figure("reads_per_s", "reads/s, proofs checked", reads_s, at_least=120),
        Figure("writes", "written in all", float(len(client.written))),
        Figure("rss_mb", "memory after them, MB", full_mb, at_most=200),
    ]


async def _reads(client: Client) -> float:
    dids = iter((client.written * READS)[:READS])

    async def worker() -> None:
        for did in dids:
            await client.read(did)

    begun = time.monotonic()
    await asyncio.gather(*(worker() for _ in range(READS_AT_ONCE)))
    return READS / (time.monotonic() - begun)


async def _fill(client: Client, watched: Watched, writes: int) -> float:
    """Write so many more, tell how the memory goes, and return what it is at the end."""
    for at in range(0, writes, STEP):
        await client.write_many(min(STEP, writes - at), AT_ONCE)
        sys.stderr.write(f"{len(client.written)} writes: {watched.mb():.0f} MB\n")
    return watched.mb()


def _mb(processes: list[psutil.Process]) -> float:
    return sum(float(process.memory_info().rss) for process in processes) / 2**20


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def main(words: list[str]) -> int:
    """Start a network, measure it, end it; return 1 if a target was missed."""
    args = reader("bench-network").parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        network = Network(Path(folder) / "bench")
        started_s = time.monotonic() - begun
        try:
            figures = asyncio.run(measure(network, started_s, args.writes))
        finally:
            network.stop()
    sys.stdout.write(table(figures) + "\n")
    if args.json:
        write_json(args.json, figures)
    return 1 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # a native thread that calls back while Python shuts down aborts it
