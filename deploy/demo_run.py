"""What both demos share: a folder of their own, a clean end in any case, and words for a failure."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import cast

from demo_claims import ClaimError
from demo_terminal import Terminal, stdout
from keep_agent.errors import KeepError
from keep_ledger.errors import LedgerError
from network_and_agents import ROOT
from processes import StartError, run

HOME = ROOT / ".indykeep"
NEEDED_MB = 200
LOG_LINES = 4
LEVELS = (" WARNING ", " ERROR ", " CRITICAL ")
EXPECTED_WARNING = "egress to private networks is allowed"
LOCK = "lock"
REMOVE_TRIES, REMOVE_AGAIN_S = 50, 0.1

Demo = Callable[[Terminal, Path, bool], Awaitable[None]]
"""Runs a demo: where to print, its folder, and whether to keep all running at the end."""


def run_demo(demo: Demo, *, keep: bool) -> int:
    """Run a demo, clean up, and return the exit code."""
    try:
        return run(_run(demo, stdout(), keep=keep))
    except BrokenPipeError:  # ./manage demo | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def _run(demo: Demo, terminal: Terminal, *, keep: bool) -> int:
    with demo_folder() as folder:
        try:
            await demo(terminal, folder, keep)
        except asyncio.CancelledError:
            terminal.say("Stopped; everything that was started has been stopped.")
            raise
        except (
            StartError,
            ClaimError,
            KeepError,
            LedgerError,
            OSError,
            ExceptionGroup,
        ) as error:
            explain(terminal, folder, error)
            return 1
    return 0


async def wait_for_ctrl_c() -> None:
    """Wait for Ctrl-C, which goes on here instead of ending the demo."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()


def explain(terminal: Terminal, folder: Path, error: Exception) -> None:
    """Say what failed, what the logs say last, and where they are kept."""
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    logs = HOME / f"failed-{folder.name}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        words = f"the disk of {HOME} is full"
    else:
        words = str(error) or type(error).__name__
    terminal.heading("It did not work")
    terminal.plain(words.replace(str(folder), str(logs)))
    if not isinstance(error, StartError):
        for log in sorted(folder.glob("*.log")):
            for line in warnings(log):
                terminal.plain(f"  {log.stem}: {line}")
    logs.mkdir()
    for log in (*folder.glob("*.log"), *folder.glob("network/log/*.*")):
        with suppress(OSError):  # a full disk
            shutil.copy(log, logs)
    terminal.plain(f"Everything that was started is ended. The logs are kept in {logs}")


def warnings(log: Path) -> list[str]:
    """Return the last warnings and errors in an agent's log."""
    lines = log.read_text("utf-8", "replace").splitlines()
    found = [line for line in lines if any(level in line for level in LEVELS)]
    return [line for line in found if EXPECTED_WARNING not in line][-LOG_LINES:]


@contextmanager
def demo_folder() -> Generator[Path]:
    """Make a folder for one run, and remove it at the end; also remove those of killed runs.

    Raises:
        StartError: the disk has too little space.
    """
    HOME.mkdir(exist_ok=True)
    home = os.open(HOME, os.O_RDONLY)
    with ExitStack() as stack:
        try:
            fcntl.flock(home, fcntl.LOCK_EX)  # a folder that is not locked yet is not abandoned
            for old in HOME.glob("demo-*"):
                remove_abandoned(old)
            if shutil.disk_usage(HOME).free < NEEDED_MB << 20:
                raise StartError(f"less than {NEEDED_MB} MB are free in {HOME}")
            folder = Path(tempfile.mkdtemp(prefix="demo-", dir=HOME))
            stack.callback(_remove, folder)
            fcntl.flock(stack.enter_context((folder / LOCK).open("w")), fcntl.LOCK_EX)
        finally:
            os.close(home)
        yield folder


def _remove(folder: Path) -> None:
    """Remove a folder in which a process that is just ending may still write its last lines."""
    for _ in range(REMOVE_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(REMOVE_AGAIN_S)


def remove_abandoned(folder: Path) -> None:
    """Remove the folder of a run, if no process holds its lock."""
    with suppress(OSError), (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
