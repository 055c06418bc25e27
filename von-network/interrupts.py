"""Signals that stop us, and children that never outlive us. Standard library only."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

ENDING_S = 5.0

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_waiting: list[int] = []  # signals that came while a child was being started
_starting = False


class Interrupted(BaseException):
    """A signal asked us to stop; later ones are ignored, so that cleaning up is not disturbed.

    Attributes:
        code: the exit status that a shell expects, 128 + the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


def catch_signals() -> None:
    """Let SIGINT, SIGTERM and SIGHUP (unless under nohup) raise Interrupted from now on."""
    for number in _SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


@contextmanager
def child_process(
    command: Sequence[str], env: Mapping[str, str], keep: int
) -> Generator[subprocess.Popen[str]]:
    """Start a child in a process group of its own and end the group whatever happens.

    Args:
        command: program and arguments.
        env: its whole environment.
        keep: descriptor of a lock that it inherits: should we be killed, the lock holds until
            the child is gone too (its next word meets a closed pipe).
    """
    global _starting  # noqa: PLW0603 - a signal handler has no other way to know
    _starting = True
    try:
        child = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=(keep,),
            start_new_session=True,
        )
    finally:
        _starting = False
    try:
        if _waiting:
            raise Interrupted(_waiting.pop())
        yield child
        child.wait()
    finally:
        _end(child)


def _end(child: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with suppress(subprocess.TimeoutExpired):
                child.wait(ENDING_S)
    if child.stdout:
        child.stdout.close()


def _interrupt(number: int, _frame: FrameType | None) -> None:
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    if _starting:
        _waiting.append(number)
    else:
        raise Interrupted(number)
