"""An agent that can be told at which point to die: `python mortal.py`, driven by `lives.py`.

This process loads everything once and then forks one agent after the other, so that a life costs a
fork and not an import. The agent is the real one; only here are its functions and its event loop
wrapped, so the product has no switch for faults. Each line of stdin is a `Life`; each line of stdout
says what became of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import wraps
from threading import Thread
from typing import Any, Literal

from aries_askar import Session
from known_ledger import open_ledger

import keep_ledger.memory
from keep_agent.api.app import admin_app
from keep_agent.app import running
from keep_agent.core.dispatch import Dispatcher
from keep_agent.core.scheduler import Scheduler
from keep_agent.didcomm import outbox
from keep_agent.logs import set_up
from keep_agent.settings import Settings
from keep_agent.store import processes
from keep_agent.store.profile import Profile
from keep_agent.tenants.tenant import Tenant
from keep_agent.transport.egress import Egress
from keep_zkp.native import Lane

SILENT_S = 3.0
"""After so long without a beat, another process takes over the work of one."""

At = Literal["step", "receive", "decide", "native", "commit", "committed", "send"]

PLACES: Mapping[At, tuple[type[Any], str]] = {
    "receive": (Tenant, "receive"),  # a peer's message came in
    "decide": (Dispatcher, "_decide"),  # a message or command meets its table
    "native": (Lane, "run"),  # cryptography
    "commit": (Session, "commit"),  # the database writes
    "committed": (Profile, "written"),  # durable, and nobody was told yet
    "send": (Egress, "post"),  # a message leaves
}
"""Each place of a message's way. `step` is every await besides: each turn that a task gets."""


@dataclass(frozen=True, slots=True)
class Fuse:
    """The point to die at: some time after the count-th passing of a place."""

    at: At
    count: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class Life:
    """One agent, from its start to its death.

    Attributes:
        env: its settings.
        fuse: when it dies; None: when somebody else ends it.
    """

    env: dict[str, str]
    fuse: Fuse | None

    def line(self) -> str:
        """Return it as a line of our stdin."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def read(cls, line: str) -> Life:
        """Read such a line."""
        told = json.loads(line)
        return cls(told["env"], Fuse(**told["fuse"]) if told["fuse"] else None)


def main() -> None:
    """Live, die, and live again until stdin ends."""
    keep_ledger.memory.open_ledger = open_ledger
    outbox.SILENCE_S, outbox.FIRST_PAUSE_S, outbox.LONGEST_PAUSE_S = 1.0, 0.05, 0.5
    processes.BEAT_S, processes.SILENT_S = 0.5, SILENT_S
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            _live(Life.read(line))
        _say("pid", pid)
        _, status = os.waitpid(pid, 0)
        _say("ended", os.waitstatus_to_exitcode(status))


def _say(what: str, number: int) -> None:
    sys.stdout.write(json.dumps({what: number}) + "\n")
    sys.stdout.flush()


def _live(life: Life) -> None:
    """Be one agent; never returns to the loop of `main`."""
    set_up("WARNING", "text")
    if life.fuse is not None:
        light(life.fuse)
    try:
        asyncio.run(_serve(Settings.load(life.env, None)))
    except BaseException:
        logging.getLogger(__name__).exception("the agent failed")
        os._exit(1)
    os._exit(0)


async def _serve(settings: Settings) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with running(settings, admin_app):
        await ended.wait()


# -- dying -------------------------------------------------------------------------------------


def light(fuse: Fuse) -> None:
    """Arm this process: counting begins with the first message or command that it handles."""
    passed = _countdown(fuse)
    if fuse.at == "step":
        _before_each_step(passed)
    else:
        owner, name = PLACES[fuse.at]
        _before(owner, name, passed)


def _countdown(fuse: Fuse) -> Callable[[], None]:
    left = fuse.count

    def passed() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            die(fuse.delay_s)

    return passed


def die(delay_s: float) -> None:
    """Kill this process as a power cut of its machine would, at once or in a moment."""
    if delay_s:
        Thread(target=_later, args=(delay_s,), daemon=True).start()
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def _later(delay_s: float) -> None:
    time.sleep(delay_s)
    die(0)


def _before(owner: type[Any], name: str, call: Callable[[], None]) -> None:
    """Call something before each call of a method."""
    whole = getattr(owner, name)

    @wraps(whole)
    def watched(*args: Any, **kwargs: Any) -> Any:
        call()
        return whole(*args, **kwargs)

    setattr(owner, name, watched)


def _before_each_step(call: Callable[[], None]) -> None:
    """Call something before each callback of the event loop, once there is work to interrupt."""
    armed = False

    def arm() -> None:
        nonlocal armed
        armed = True

    _before(Tenant, "receive", arm)
    _before(Dispatcher, "start", arm)
    _before(Scheduler, "_work", arm)
    run = asyncio.Handle._run

    def counted(self: asyncio.Handle) -> None:
        if armed:
            call()
        run(self)

    setattr(asyncio.Handle, "_run", counted)  # noqa: B010 - private to the type checkers


if __name__ == "__main__":
    main()
