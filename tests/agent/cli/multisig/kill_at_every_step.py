"""Commands killed at every step: each file opened, renamed, removed, made, and around each sync."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_PROGRAM = """
import json, os, shutil, signal, sys
from pathlib import Path
import keep_agent.cli.multisig.group, keep_agent.cli.multisig.member_folder, keep_agent.cli.multisig.sign, keep_agent.cli.main

place, jobs = Path(sys.argv[1]), json.loads(sys.argv[2])
def command(words, last):
    left = [last]
    def step():
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    def watch(event, arguments):
        watched = ("open", "os.rename", "os.remove", "os.mkdir")
        if event in watched and str(place) in str(arguments[0]):
            step()
    def synced(descriptor):
        step()  # before and after; a kill, unlike a power cut, does not ask for the sync itself
        step()
    os.fsync = synced
    if last:
        sys.addaudithook(watch)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    os._exit(keep_agent.cli.main.main(words))

def forked(words, last):
    child = os.fork()
    if child == 0:
        command(words, last)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

kept = place.with_name("kept")
for words in jobs:
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(place, kept)
    for last in range(1, 200):
        shutil.rmtree(place)
        shutil.copytree(kept, place)
        ended = forked(words, last)
        if ended == 0:
            break
        if ended != -signal.SIGKILL:
            sys.exit(f"{words} ended with {ended} at step {last}")
        again = forked(words, 0)
        if again != 0:
            sys.exit(f"{words} does not go on after a kill at step {last}: {again}")
        left = sorted(p.name for p in place.rglob("*.new"))
        if left:
            sys.exit(f"{words}: {left} is left after a kill at step {last}")
    print(last - 1, flush=True)
    shutil.rmtree(place)  # what comes next goes on from a command that was killed half way
    shutil.copytree(kept, place)
    forked(words, max(1, last // 2))
    forked(words, 0)
"""


def killed_at_every_step(place: Path, commands: Sequence[Sequence[str]]) -> list[int]:
    """Run each command from the same start, killed at each of its steps, then given again.

    What lies in `place` afterwards comes from commands that were killed half way.

    Returns:
        How many steps each command has.

    Raises:
        AssertionError: a command does not go on after a kill, or leaves half a file.
    """
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(place), json.dumps(commands)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    shutil.rmtree(place.with_name("kept"), ignore_errors=True)
    assert ended.returncode == 0, ended.stderr
    return [int(line) for line in ended.stdout.split()]
