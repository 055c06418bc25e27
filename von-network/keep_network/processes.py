"""Node processes: start them, recognise them later, end them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

FILE = "processes.json"
PATIENCE_S = 10
_ROOM = Path(__file__).parent.parent


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
    """A process of ours and the numbers of the nodes that run in it."""

    who: Identity
    nodes: tuple[int, ...]


def load(folder: Path) -> list[NodeProcess]:
    """Return the processes of a network that run now."""
    try:
        told = json.loads((folder / FILE).read_text())
    except (FileNotFoundError, ValueError):  # a torn file is of a killed start
        return []
    known = [NodeProcess(Identity(**one["who"]), tuple(one["nodes"])) for one in told]
    return [one for one in known if one.who.alive()]


def save(folder: Path, running: Iterable[NodeProcess]) -> None:
    """Write down which processes are ours."""
    draft = folder / f"{FILE}.new"
    draft.write_text(json.dumps([asdict(one) for one in running]))
    draft.replace(folder / FILE)


def spawn(
    folder: Path, numbers: Iterable[int], *, genesis: bool, die_with: Identity | None
) -> NodeProcess:
    """Start one process in a session of its own; its output goes to `log/`."""
    nodes = tuple(numbers)
    told = ",".join(map(str, nodes)) or "none"
    command = [sys.executable, "-P", "-m", "keep_network.node", str(folder), told]
    command += ["--genesis"] if genesis else []
    command += ["--die-with", str(die_with)] if die_with else []
    with output(folder, nodes).open("wb") as out:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(_ROOM), "PYTHONWARNINGS": "ignore"},
        )
    return NodeProcess(Identity.of(started.pid), nodes)


def output(folder: Path, nodes: Iterable[int]) -> Path:
    """The file with what a process printed; its last line says why it ended."""
    place = folder / "log"
    place.mkdir(exist_ok=True)
    return place / f"nodes-{'-'.join(map(str, nodes)) or 'genesis'}.out"


def end(running: Iterable[NodeProcess]) -> None:
    """End processes: SIGTERM, then SIGKILL for what is left after 10 s; wait for all."""
    left = list(running)
    for send in (psutil.Process.terminate, psutil.Process.kill):
        for one in left:
            process = one.who.process()
            if process is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    send(process)
        left = _left(left)


def _left(running: list[NodeProcess]) -> list[NodeProcess]:
    """Wait for processes to end, not for somebody to reap them, and return the stubborn ones."""
    deadline = time.monotonic() + PATIENCE_S
    while running and time.monotonic() < deadline:
        time.sleep(0.02)
        running = [one for one in running if one.who.alive()]
    return running
