"""What the supervisor does about dead nodes, without any node."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from keep_network import processes, record, supervisor
from keep_network.processes import Identity, NodeProcess

GONE = Identity(2**22 - 1, 1.0)


@pytest.fixture(autouse=True)
def recorded(tmp_path: Path) -> None:
    record.save(record.Network(tmp_path, "net", 4, 9701))


@pytest.fixture
def sleepers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Identity]]:
    """Every process that is started is a sleep."""
    started: list[Identity] = []

    def run(*_: object, **__: object) -> Identity:
        child = psutil.Popen([sys.executable, "-c", "input()"], stdin=-1)
        children.append(child)
        started.append(Identity.of(child.pid))
        return started[-1]

    children: list[psutil.Popen] = []
    monkeypatch.setattr(processes, "run", run)
    yield started
    for child in children:
        child.communicate(b"\n")


def test_a_dead_process_is_started_again_with_its_nodes_and_owner(
    tmp_path: Path, sleepers: list[Identity]
) -> None:
    owner = Identity.of(1)
    dead = NodeProcess(GONE, (2, 3), owner)
    place = processes.output(tmp_path, dead.nodes)
    place.write_text("hello\nTraceback (most recent call last):\n  File\nValueError: no\n")
    supervisor.revive(tmp_path, [dead])
    assert processes.load(tmp_path) == [NodeProcess(sleepers[0], (2, 3), owner)]
    (told,) = supervisor.restarts(tmp_path)
    assert told.nodes == (2, 3)
    assert told.why == f"ValueError: no ({place})"


def test_what_dies_at_once_is_not_tried_again_at_once(
    tmp_path: Path, sleepers: list[Identity]
) -> None:
    for _ in range(3):
        supervisor.revive(tmp_path, [NodeProcess(GONE, (1,))])
    assert len(sleepers) == 1
    supervisor.forget(tmp_path)
    supervisor.revive(tmp_path, [NodeProcess(GONE, (1,))])
    assert len(sleepers) == 2


def test_the_living_and_the_supervisor_are_left_alone(
    tmp_path: Path, sleepers: list[Identity]
) -> None:
    itself = NodeProcess(GONE, (), None, "supervisor")
    alive = NodeProcess(Identity.of(1), (1,))
    supervisor.revive(tmp_path, [itself, alive])
    assert sleepers == []
    assert supervisor.restarts(tmp_path) == []
