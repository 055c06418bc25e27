"""`./manage demo`: the story "over 18" on a real local Indy network."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import cast

from keep_agent.errors import KeepError
from keep_ledger.errors import LedgerError
from processes import StartError, free_ports, run
from screen import Screen, stdout
from stage import ROOT, Agent, agent, genesis_of, look, network, watch
from story import ClaimError, Scene, claim, tell
from usage import reader

HOME = ROOT / ".indykeep"
NEEDED_MB = 200
LOG_LINES = 4
LEVELS = (" WARNING ", " ERROR ", " CRITICAL ")
ORDINARY = "egress to private networks is allowed"
LOCK = "lock"
SETTLE_S = 0.3
CAST = {"office": "Licence office", "alice": "Alice", "bar": "Bar", "tim": "Tim"}
KEPT = """
All of it is running. Ctrl-C here ends it and removes its data.

  network      {genesis}
               read it with any Indy client; more DIDs: von-network/manage register --dir {network} ...
{agents}

Try, in another terminal:
  KEY=$(cat {key})
  curl -s -H "X-API-Key: $KEY" {admin}/v1/credentials
  curl -s -H "X-API-Key: $KEY" {admin}/v1/present-proof
  curl -s -H "X-API-Key: $KEY" {admin}/v1/protocols/present-proof
"""


def main() -> int:
    """Read the command line and play."""
    keep: bool = reader("demo").parse_args().keep
    screen = stdout()
    try:
        return run(demo(screen, keep=keep))
    except BrokenPipeError:  # ./manage demo | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def demo(screen: Screen, *, keep: bool) -> int:
    """Play, clean up, and return the exit code."""
    with room() as folder:
        try:
            await play(screen, folder, keep=keep)
        except asyncio.CancelledError:
            screen.say("Stopped; everything that was started is ended.")
            raise
        except (
            StartError,
            ClaimError,
            KeepError,
            LedgerError,
            OSError,
            ExceptionGroup,
        ) as error:
            explain(screen, folder, error)
            return 1
    return 0


async def play(screen: Screen, folder: Path, *, keep: bool) -> None:
    """Set the scene, tell the story, and end everything."""
    begun = time.monotonic()
    screen.plain('"Over 18", proved on a real Indy network')
    async with AsyncExitStack() as ground, AsyncExitStack() as stack:
        scene = await set_scene(ground, stack, screen, folder)
        agents = (scene.office, scene.alice, scene.bar, scene.tim)
        async with asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(watch(scene.network, agents))
            try:
                await tell(scene)
            except (KeepError, StartError, OSError):  # perhaps because somebody is gone
                await asyncio.sleep(SETTLE_S)
                await look(scene.network, agents)
                raise
            if keep:
                screen.plain(kept(scene))
                await told_to_end()
            watcher.cancel()
        screen.act("The end")
        async with screen.doing("processes are ended, data is removed"):
            await stack.aclose()
            await ground.aclose()
            shutil.rmtree(folder, ignore_errors=True)
        claim(not any(one.child.alive for one in agents), "every agent has ended")
    screen.say(f"All claims were checked. It took {time.monotonic() - begun:.0f} s.")


async def set_scene(
    ground: AsyncExitStack, stack: AsyncExitStack, screen: Screen, folder: Path
) -> Scene:
    """Start the network, on the ground, and agents, on the stack, side by side."""
    ports = ground.enter_context(free_ports(2 * len(CAST)))
    where = folder / "network"
    async with asyncio.TaskGroup() as tasks:

        async def begin(title: str, name: str, ports: Sequence[int]) -> Agent:
            genesis = await genesis_of(where)
            one = agent(title, folder / name, genesis=genesis, ports=ports, settings={})
            return await stack.enter_async_context(one)

        net = tasks.create_task(ground.enter_async_context(network(where)))
        cast = [
            tasks.create_task(begin(title, name, ports[2 * i : 2 * i + 2]))
            for i, (name, title) in enumerate(CAST.items())
        ]
        screen.act("1. A network and four agents")
        async with screen.doing("4 Indy validator nodes start and agree on a first write"):
            await net
        text = "the office, Alice, the bar and Tim start: a process and an encrypted store each"
        async with screen.doing(text):
            office, alice, bar, tim = await asyncio.gather(*cast)
    for one in (
        office,
        alice,
        bar,
        tim,
    ):  # in the end all are told at once; then each is awaited
        stack.callback(one.child.signal, signal.SIGTERM)
    return Scene(screen, net.result(), office, alice, bar, tim, date.today())  # noqa: DTZ011 - here


async def told_to_end() -> None:
    """Wait for Ctrl-C: here it is the ordinary way to go on."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()


def kept(scene: Scene) -> str:
    """Return where everything is, and what to try."""
    agents = "\n".join(
        f"  {one.title:<16} {one.endpoint}\n{'':19}admin {one.admin}, key in {one.admin_key}"
        for one in (scene.office, scene.alice, scene.bar, scene.tim)
    )
    return KEPT.format(
        genesis=scene.network.genesis,
        network=scene.network.folder,
        agents=agents,
        key=scene.alice.admin_key,
        admin=scene.alice.admin,
    )


# -- when it goes wrong ----------------------------------------------------------------------------


def explain(screen: Screen, folder: Path, error: Exception) -> None:
    """Say what failed, what the logs say last, and where they are kept."""
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    logs = HOME / f"failed-{folder.name}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        words = f"the disk of {HOME} is full"
    else:
        words = str(error) or type(error).__name__
    screen.act("It did not work")
    screen.plain(words.replace(str(folder), str(logs)))
    if not isinstance(error, StartError):
        for log in sorted(folder.glob("*.log")):
            for line in warnings(log):
                screen.plain(f"  {log.stem}: {line}")
    logs.mkdir()
    for log in (*folder.glob("*.log"), *folder.glob("network/log/*.*")):
        with suppress(OSError):  # a full disk
            shutil.copy(log, logs)
    screen.plain(f"Everything that was started is ended. The logs are kept in {logs}")


def warnings(log: Path) -> list[str]:
    """Return the last lines of an agent's log that tell of trouble."""
    lines = log.read_text("utf-8", "replace").splitlines()
    telling = [line for line in lines if any(level in line for level in LEVELS)]
    return [line for line in telling if ORDINARY not in line][-LOG_LINES:]


# -- where it happens ------------------------------------------------------------------------------


@contextmanager
def room() -> Generator[Path]:
    """Make a folder for one run and remove it in the end, also those of runs that were killed.

    Raises:
        StartError: there is not enough room on the disk.
    """
    HOME.mkdir(exist_ok=True)
    home = os.open(HOME, os.O_RDONLY)
    with ExitStack() as stack:
        try:
            fcntl.flock(
                home, fcntl.LOCK_EX
            )  # nobody takes a folder without lock for a dead one
            for old in HOME.glob("demo-*"):
                remove_dead(old)
            if shutil.disk_usage(HOME).free < NEEDED_MB << 20:
                raise StartError(f"less than {NEEDED_MB} MB are free in {HOME}")
            folder = Path(tempfile.mkdtemp(prefix="demo-", dir=HOME))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            fcntl.flock(stack.enter_context((folder / LOCK).open("w")), fcntl.LOCK_EX)
        finally:
            os.close(home)
        yield folder


def remove_dead(folder: Path) -> None:
    """Remove the folder of a run, if nobody holds its lock."""
    with suppress(OSError), (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
