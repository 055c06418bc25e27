"""The processes of a network: start them, recognise them later, end them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

FILE = "processes.json"
PATIENCE_S = 10
_ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).parent.parent),
    "PYTHONWARNINGS": "ignore",
    "MALLOC_ARENA_MAX": "2",  # glibc gives RocksDB's threads heaps of their own that never shrink
}


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that is not mistaken for another one that got its number later.

    Attributes:
        created: seconds since the epoch, as the system tells it.
    """

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """Look at a process that exists.

        Raises:
            psutil.NoSuchProcess: it does not.
        """
        return cls(pid, psutil.Process(pid).create_time())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `PID@CREATED`."""
        pid, _, created = text.partition("@")
        return cls(int(pid), float(created))

    def __str__(self) -> str:
        return f"{self.pid}@{self.created!r}"

    def process(self) -> psutil.Process | None:
        """The process if it still runs (a zombie does not)."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def alive(self) -> bool:
        """Say whether it still runs."""
        return self.process() is not None


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """A process of ours.

    Attributes:
        nodes: the numbers of the nodes that run in it; none if it is not a process of nodes.
        die_with: it ends when this process is gone.
        module: what it runs: `node`, `supervisor` or `web`.
    """

    who: Identity
    nodes: tuple[int, ...]
    die_with: Identity | None = None
    module: str = "node"

    @property
    def names(self) -> str:
        """Its nodes, for people."""
        return ", ".join(f"Node{number}" for number in self.nodes)

    def frozen(self) -> bool:
        """Say whether it exists and is stopped by a signal."""
        process = self.who.process()
        with contextlib.suppress(psutil.NoSuchProcess):
            return process is not None and process.status() == psutil.STATUS_STOPPED
        return False


def wanted(folder: Path) -> list[NodeProcess]:
    """Return the processes that ought to run: those that were started and not ended by us."""
    try:
        told = json.loads((folder / FILE).read_text())
    except (FileNotFoundError, ValueError):  # a torn file is of a killed start
        return []
    return [
        NodeProcess(
            Identity(**one["who"]),
            tuple(one["nodes"]),
            Identity(**one["die_with"]) if one["die_with"] else None,
            one["module"],
        )
        for one in told
    ]


def load(folder: Path) -> list[NodeProcess]:
    """Return those that run now."""
    return [one for one in wanted(folder) if one.who.alive()]


def save(folder: Path, running: Iterable[NodeProcess]) -> None:
    """Write down which processes ought to run."""
    draft = folder / f"{FILE}.new"
    draft.write_text(json.dumps([asdict(one) for one in running]))
    draft.replace(folder / FILE)


def spawn(
    folder: Path, numbers: Iterable[int], *, genesis: bool, die_with: Identity | None
) -> NodeProcess:
    """Start a process for some nodes; its output goes to `log/`."""
    nodes = tuple(numbers)
    told = [",".join(map(str, nodes)) or "none", *(["--genesis"] if genesis else [])]
    who = run(folder, "node", told, output(folder, nodes), die_with)
    return NodeProcess(who, nodes, die_with)


def run(
    folder: Path, module: str, words: Sequence[str], output: Path, die_with: Identity | None
) -> Identity:
    """Start a module of this package in a session of its own, as `MODULE FOLDER WORDS...`."""
    program = ["-P", "-m", f"keep_network.{module}"]
    return run_python(folder, [*program, str(folder), *words], output, die_with)


def run_python(
    folder: Path, words: Sequence[str], output: Path, die_with: Identity | None
) -> Identity:
    """Start an interpreter in a session of its own."""
    command = [sys.executable, *words, *(["--die-with", str(die_with)] if die_with else [])]
    with output.open("wb") as out:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            start_new_session=True,
            env=os.environ | _ENVIRONMENT,
        )
    return Identity.of(started.pid)


def output(folder: Path, nodes: Iterable[int]) -> Path:
    """The file with what a process printed; its last line says why it ended."""
    place = folder / "log"
    place.mkdir(exist_ok=True)
    return place / f"nodes-{'-'.join(map(str, nodes)) or 'genesis'}.out"


def last_words(folder: Path, one: NodeProcess) -> str:
    """Return the error that a process ended with, if it was one of Python's."""
    file = output(folder, one.nodes)
    text = file.read_text(errors="replace") if file.exists() else ""
    _, error, trace = text.rpartition("Traceback (most recent call last)")
    return f"{trace.strip().splitlines()[-1] if error else 'it printed nothing'} ({file})"


def end(running: Iterable[NodeProcess]) -> None:
    """End processes: SIGTERM, then SIGKILL for what is left after 10 s; wait for all."""
    left = list(running)
    for send in (psutil.Process.terminate, psutil.Process.kill):
        for one in left:
            signal(one, send)
            signal(one, psutil.Process.resume)  # a frozen one hears nothing but SIGKILL
        left = _left(left)


def signal(one: NodeProcess, send: Callable[[psutil.Process], None]) -> None:
    """Do something to a process; one that is gone is not an error."""
    process = one.who.process()
    if process is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            send(process)


def _left(running: list[NodeProcess]) -> list[NodeProcess]:
    """Wait for processes to end, not for somebody to reap them, and return the stubborn ones."""
    deadline = time.monotonic() + PATIENCE_S
    while running and time.monotonic() < deadline:
        time.sleep(0.02)
        running = [one for one in running if one.who.alive()]
    return running
