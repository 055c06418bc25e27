"""Child processes of demos, tests and benchmarks: started, waited for, always ended."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

ENDING_S = 8.0
POLL_S = 0.05
PROBE_S = 2.0
PORTS = range(20_000, 26_000)
"""Below what systems hand out to outgoing connections, and apart from what networks choose for themselves."""

# It outlives this process for a moment: end of file on its stdin means that this process was killed.
_WATCH = """read line || { kill -s TERM -- "-$1"; sleep 3; kill -s KILL -- "-$1"; }"""


class StartError(Exception):
    """A child ended or stayed silent before it was ready; the message ends with its log."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running process that leads its own process group.

    Attributes:
        title: its name for people.
        log: file with all that it prints.
        process: the process; its `pid` is the group's id too.
    """

    title: str
    log: Path
    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        """Process id and process group id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """False once it has ended."""
        return self.process.returncode is None

    def signal(self, number: int) -> None:
        """Send a signal to its whole group; one that has ended already is not an error."""
        with suppress(ProcessLookupError, PermissionError):  # macOS refuses for zombies
            os.killpg(self.pid, number)

    async def end(self) -> int:
        """Ask it to end, insist after 8 s, and return its exit status (-N: by signal N)."""
        try:
            self.signal(signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), ENDING_S)
        finally:
            self.signal(signal.SIGKILL)  # also what it left of its group
        return await self.process.wait()

    async def kill(self) -> None:
        """End it as a power cut would: SIGKILL to the group, no time to tidy up."""
        self.signal(signal.SIGKILL)
        await self.process.wait()


@asynccontextmanager
async def running(
    title: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str | None] | None = None,
) -> AsyncGenerator[Child]:
    """Start a program and end it, with all that it started in its group, on the way out.

    It is also ended when this process is killed: a small watcher waits at the other end of a pipe.

    Args:
        title: its name in errors.
        command: program and arguments.
        log: file to append its output to; its folder must exist.
        env: added to our environment; None takes a variable away.
    """
    wanted = {**os.environ, **(env or {})}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={name: value for name, value in wanted.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,  # no session of its own: Linux would share the cores by session then
        )
    child = Child(title, log, process)
    try:
        with _watched(child.pid):
            try:
                yield child
            finally:
                await child.end()
    finally:
        child.signal(signal.SIGKILL)


async def ready(
    child: Child,
    probe: str | Callable[[], Awaitable[bool]],
    *,
    within_s: float,
    waited: Callable[[float], None] | None = None,
) -> None:
    """Wait until a child is ready to work.

    Args:
        child: what to wait for.
        probe: a URL that answers GET with 200 then, or a function that is true then.
        within_s: how long it may take.
        waited: told every 50 ms or so how many seconds have passed.

    Raises:
        StartError: it ended, or was not ready in time.
    """
    start = time.monotonic()
    async with AsyncExitStack() as stack:
        if isinstance(probe, str):
            timeout = aiohttp.ClientTimeout(total=PROBE_S)
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            probe = _answers(session, probe)
        while not await probe():
            passed = time.monotonic() - start
            if not child.alive:
                raise StartError(
                    f"{child.title} ended with {child.process.returncode}: {tail(child.log)}"
                )
            if passed > within_s:
                raise StartError(
                    f"{child.title} not ready in {within_s:.0f} s: {tail(child.log)}"
                )
            if waited:
                waited(passed)
            await asyncio.sleep(POLL_S)


def tail(log: Path, lines: int = 5) -> str:
    """Return the last lines of a log and where it is."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        text = file.read().decode("utf-8", "replace")
    return "\n".join((f"log {log}", *text.splitlines()[-lines:]))


@contextmanager
def free_ports(count: int) -> Generator[range]:
    """Claim neighbouring TCP ports of 127.0.0.1 until the end of the block.

    A claim is the UDP port of the same number: the system frees it when we die, and whoever
    claims in this way (another demo) passes on. TCP stays free for the program that gets it.

    Raises:
        StartError: no such run of ports was found in 200 tries.
    """
    for _ in range(200):
        first = PORTS.start + secrets.randbelow(len(PORTS) - count)
        ports = range(first, first + count)
        with ExitStack() as claims:
            if all(_claimed(port, claims) for port in ports):
                yield ports
                return
    raise StartError(f"no {count} free ports side by side in {PORTS.start}-{PORTS.stop}")


def run(main: Coroutine[object, object, int]) -> int:
    """Run a program to its exit status; SIGINT, SIGTERM and SIGHUP cancel it, 128 + N is returned.

    Context managers (such as `running`) are left in order then; a second signal changes nothing.
    """
    caught: list[int] = []

    async def guarded() -> int:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: int) -> None:
            caught.append(number)
            if task and len(caught) == 1:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, stop, number)
        return await main

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if not caught:
            raise
        return 128 + caught[0]


@contextmanager
def _watched(group: int) -> Generator[None]:
    with subprocess.Popen(
        ["/bin/sh", "-c", _WATCH, "watch", str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as watcher:
        try:
            yield
        finally:
            with suppress(BrokenPipeError):
                watcher.communicate(b"\n")


def _answers(session: aiohttp.ClientSession, url: str) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        try:
            async with session.get(url) as answer:
                return answer.status == 200  # noqa: PLR2004 - HTTP OK
        except (aiohttp.ClientError, TimeoutError):
            return False

    return probe


def _claimed(port: int, claims: ExitStack) -> bool:
    try:
        claim = claims.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        claim.bind(("127.0.0.1", port))
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as test:
            test.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
