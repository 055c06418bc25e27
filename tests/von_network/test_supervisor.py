"""What the supervisor does about dead nodes, without any node."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from keep_network import processes, record, supervisor, watch
from keep_network.processes import Identity, NodeProcess

GONE = Identity(2**22 - 1, 1.0)


@pytest.fixture(autouse=True)
def recorded(tmp_path: Path) -> None:
    record.save(record.Network(tmp_path, "net", 4, 9701))
    (tmp_path / "lock").touch()  # as every command does


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


def test_the_watch_sees_what_processes_see() -> None:
    """It tells a process from a dead one, from a zombie, and from another one of its number."""
    with psutil.Popen([sys.executable, "-c", "input()"], stdin=-1) as child:
        who = Identity.of(child.pid)
        assert watch._alive(who.pid, who.created)
        assert not watch._alive(who.pid, who.created - 60)
        child.kill()
        while child.status() != psutil.STATUS_ZOMBIE:
            pass
        assert not watch._alive(who.pid, who.created)
        assert not who.alive()
    assert not watch._alive(GONE.pid, GONE.created)


def test_the_watch_calls_the_supervisor_for_the_dead_and_ends_with_its_network(
    tmp_path: Path,
) -> None:
    """It finds a dead process of nodes, has it started again, and goes when it is not wanted."""
    (tmp_path / "log").mkdir()
    command = [sys.executable, "-S", "-P", str(Path(watch.__file__)), str(tmp_path)]
    room = str(Path(watch.__file__).parents[1])
    with psutil.Popen(command, env=os.environ | {"PYTHONPATH": room}) as watcher:
        who = Identity.of(watcher.pid)
        ours = NodeProcess(who, (), None, "supervisor")
        processes.save(tmp_path, [NodeProcess(GONE, (1,)), ours])
        deadline = time.monotonic() + 20
        while not supervisor.restarts(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert [one.nodes for one in supervisor.restarts(tmp_path)] == [(1,)]
        assert watcher.memory_info().rss < 13 << 20
        processes.save(tmp_path, [])
        assert watcher.wait(timeout=20) == 0


def test_frozen_processes_go_on_when_the_owner_is_gone(tmp_path: Path) -> None:
    """Only so can they see it, and end."""
    room = str(Path(watch.__file__).parents[1])
    with psutil.Popen([sys.executable, "-c", "input()"], stdin=-1) as node:
        node.suspend()
        processes.save(tmp_path, [NodeProcess(Identity.of(node.pid), (1,))])
        command = [sys.executable, "-S", "-P", str(Path(watch.__file__)), str(tmp_path)]
        command += ["--die-with", str(GONE)]
        with psutil.Popen(command, env=os.environ | {"PYTHONPATH": room}) as watcher:
            assert watcher.wait(timeout=20) == 0
        assert node.status() != psutil.STATUS_STOPPED
        node.communicate(b"\n")


def test_a_folder_that_is_being_removed_gets_no_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever removes it has listed what is there: another file would leave it behind."""
    gone = tmp_path / "gone"
    gone.mkdir()
    assert watch._wanted(str(gone)) == []
    monkeypatch.setattr(sys, "argv", ["supervisor", str(gone)])
    supervisor.main()
    assert list(gone.iterdir()) == []
