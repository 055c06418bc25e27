"""Watch over a network's processes in little memory; `supervisor` starts again what died.

It lives as long as the network, so it is a script for the bare interpreter (`python -S`) and
imports as little as can be: 10 MB instead of 17.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from fcntl import LOCK_EX, LOCK_NB, flock

LOOK_S = 0.5
_LONGEST_PAUSE_S = 8.0
_START_TIME = 19  # in /proc/PID/stat, counted from the state behind the name


def main(folder: str, owner: str | None) -> None:
    """Look until the network is stopped, another watcher takes over, or its owner is gone."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # `control` starts us with signals held back
    pause_s = LOOK_S
    while True:
        if owner is not None and not _alive(*_identity(owner)):
            _thaw(_wanted(folder) or [])
            return
        time.sleep(pause_s)
        wanted = _wanted(folder)
        if wanted is None:  # a command is at work
            continue
        if os.getpid() not in {one["who"]["pid"] for one in wanted}:
            return
        if all(_alive(one["who"]["pid"], one["who"]["created"]) for one in wanted):
            pause_s = LOOK_S
            continue
        words = ["-P", "-m", "keep_network.supervisor", folder]
        os.spawnv(os.P_WAIT, sys.executable, [sys.executable, *words])  # noqa: S606 - no shell  # pyright: ignore[reportDeprecated] - `subprocess` is big
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)  # what dies at once is not tried at once


def _thaw(wanted: list[dict[str, dict[str, float]]]) -> None:
    """Let frozen processes see, too, that the owner is gone; they end by themselves then."""
    for one in wanted:
        if _alive(one["who"]["pid"], one["who"]["created"]):
            os.kill(int(one["who"]["pid"]), signal.SIGCONT)


def _wanted(folder: str) -> list[dict[str, dict[str, float]]] | None:
    """Return what ought to run; None while a command changes that.

    A folder that is being removed gets no new lock.
    """
    try:
        with open(f"{folder}/lock", "r+") as file:  # noqa: PTH123 - pathlib takes 1 MB
            flock(file, LOCK_EX | LOCK_NB)
            with open(f"{folder}/processes.json") as told:  # noqa: PTH123 - as above
                return list(json.load(told))
    except BlockingIOError:
        return None
    except (OSError, ValueError):  # the network is gone
        return []


def _identity(text: str) -> tuple[int, float]:
    pid, _, created = text.partition("@")
    return int(pid), float(created)


def _alive(pid: float, created: float) -> bool:
    """Say the same as `processes.Identity.alive`, without psutil."""
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - as above
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return _answers(int(pid)) if not os.path.exists("/proc/stat") else False  # noqa: PTH110
    started = _boot_s() + int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")
    return fields[0] != "Z" and abs(started - created) < 1


def _answers(pid: int) -> bool:
    """Say whether there is such a process, on systems without /proc."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot_s() -> float:
    with open("/proc/stat") as file:  # noqa: PTH123 - as above
        return float(next(line.split()[1] for line in file if line.startswith("btime")))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3] if len(sys.argv) > 2 else None)  # noqa: PLR2004 - --die-with
