"""A child never outlives the block, the program or the machine gun that ends the program."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from processes import Child, StartError, free_ports, ready, running

ROOT = Path(__file__).resolve().parents[2]
FAMILY = ("/bin/sh", "-c", "sleep 300 & echo started; wait")
STUBBORN = ("/bin/sh", "-c", "trap '' TERM; echo started; while :; do sleep 1; done")
PARENT = """
import asyncio, signal, sys
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be ignored, on purpose
sys.path.append(sys.argv[1])
from processes import run, running
async def main():
    async with running("family", ("/bin/sh", "-c", "sleep 300 & wait"), log=Path(sys.argv[2])) as child:
        print(child.pid, flush=True)
        await asyncio.sleep(300)
    return 0
sys.exit(run(main()))
"""


def group(pid: int) -> list[psutil.Process]:
    leader = psutil.Process(pid)
    return [leader, *leader.children(recursive=True)]


def left(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Wait until they end; returns those that do not. A zombie has ended: nobody reaps orphans here."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        processes = [
            p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE
        ]
        if not processes:
            break
        time.sleep(0.02)
    return processes


async def started(log: Path) -> None:
    def wait() -> None:
        while "started" not in log.read_text():
            time.sleep(0.01)

    await asyncio.wait_for(asyncio.to_thread(wait), 20)


async def test_a_child_and_its_children_end_with_the_block(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with running("family", FAMILY, log=log) as child:
        await started(log)
        family = group(child.pid)
        assert child.alive
    assert len(family) == 2
    assert left(family) == []


async def test_a_child_ends_when_the_block_fails(tmp_path: Path) -> None:
    children: list[Child] = []

    async def fail() -> None:
        async with running("sleeper", ("sleep", "300"), log=tmp_path / "log") as child:
            children.append(child)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert children[0].process.returncode == -signal.SIGTERM


async def test_a_child_ends_when_the_task_is_cancelled(tmp_path: Path) -> None:
    up = asyncio.get_running_loop().create_future()

    async def work() -> None:
        async with running("sleeper", ("sleep", "300"), log=tmp_path / "log") as child:
            up.set_result(child)
            await asyncio.sleep(300)

    task = asyncio.create_task(work())
    child = await up
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not child.alive


async def test_a_child_that_will_not_end_is_made_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processes.ENDING_S", 0.1)
    log = tmp_path / "log"
    async with running("stubborn", STUBBORN, log=log) as child:
        await started(log)
    assert child.process.returncode == -signal.SIGKILL


async def test_a_url_that_answers_is_ready(tmp_path: Path) -> None:
    waits: list[float] = []
    with free_ports(1) as ports:
        command = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(ports[0]))
        async with running("web", command, log=tmp_path / "log") as child:
            await ready(
                child, f"http://127.0.0.1:{ports[0]}/", within_s=20, waited=waits.append
            )
    assert waits == sorted(waits)


async def test_a_child_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    command = ("/bin/sh", "-c", "echo wrong genesis; exit 3")
    async with running("node", command, log=tmp_path / "log") as child:
        with pytest.raises(StartError, match=r"(?s)node ended with 3.*wrong genesis"):
            await ready(child, never, within_s=20)


async def test_a_child_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    async with running("sleeper", ("sleep", "300"), log=tmp_path / "log") as child:
        with pytest.raises(StartError, match="sleeper not ready in 0 s"):
            await ready(child, never, within_s=0)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)],
)
def test_children_end_with_their_parent_however_it_ends(
    tmp_path: Path, number: int, code: int
) -> None:
    command = [sys.executable, "-c", PARENT, str(ROOT / "deploy"), str(tmp_path / "log")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        try:
            family = group(int(parent.stdout.readline()))
            parent.send_signal(number)
            assert parent.communicate(timeout=30)[1] == ""
        finally:
            parent.kill()
    assert parent.returncode == code
    assert left(family) == []


def test_ports_claimed_side_by_side_differ() -> None:
    with free_ports(8) as ours, free_ports(8) as theirs:
        assert len(ours) == len(theirs) == 8
        assert not set(ours) & set(theirs)
