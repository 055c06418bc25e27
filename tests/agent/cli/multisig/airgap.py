"""Run `indykeep` where a socket is death: proof that a command needs no network.

`run_sealed("sign", FILE, ...)` starts the command line in a process of its own under a seccomp filter:
the kernel kills the process, all its threads included, at the first system call that makes or uses a
socket (also by way of io_uring, which could hide it), and Python's own audit events are watched as a
second pair of eyes. Afterwards the modules that were loaded are looked at.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

UNWANTED = ("indy_vdr", "aiohttp", "http.client", "requests", "urllib3", "keep_ledger.indy")
"""Modules that talk to networks. `ssl` comes along with asyncio, which Askar's binding imports."""

# System calls by number: socket, socketpair, connect, bind, listen, accept, accept4, sendto, sendmsg,
# sendmmsg, recvfrom, recvmsg, recvmmsg, io_uring_setup (Linux, asm/unistd_64.h, asm-generic/unistd.h).
_CALLS = {
    "x86_64": (41, 53, 42, 49, 50, 43, 288, 44, 46, 307, 45, 47, 299, 425),
    "aarch64": (198, 199, 203, 200, 201, 202, 242, 206, 211, 269, 207, 212, 243, 425),
}
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_KILL, _ALLOW = 0x80000000, 0x7FFF0000  # SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ALLOW
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF: load word, jump if equal, return
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_X32 = 0x40000000  # the second table of x86_64: everything in it dies, too
_AT_LEAST = 0x35


@dataclass(frozen=True, slots=True)
class Sealed:
    """How a command ended.

    Attributes:
        events: audit events of sockets that Python told of; always empty where the kernel watched.
        modules: what was loaded at the end.
    """

    code: int
    out: str
    err: str
    events: tuple[str, ...]
    modules: frozenset[str]


def can_seal() -> bool:
    """Whether the kernel and this machine know the filter."""
    if sys.platform != "linux" or platform.machine() not in _CALLS:
        return False
    tried = subprocess.run(
        [sys.executable, __file__, os.devnull, "--version"], capture_output=True, check=False
    )
    return tried.returncode == 0


def run_sealed(
    *words: str | Path,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    report: Path,
) -> Sealed:
    """Run `indykeep WORDS` sealed; its exit code is for the caller to judge.

    Args:
        report: a file in a temporary folder, for what the child tells us.

    Raises:
        AssertionError: it touched a socket, loaded what talks to networks, or told nothing.
    """
    report.unlink(missing_ok=True)
    ended = subprocess.run(
        [sys.executable, __file__, str(report), *map(str, words)],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=60,
        check=False,
    )
    assert ended.returncode != -signal.SIGSYS, f"{words[0]} made a system call of sockets"
    assert report.exists(), f"the sealed command told nothing: {ended.stderr}"
    told = json.loads(report.read_text())
    assert not told["events"], f"{words[0]} touched sockets: {told['events']}"
    loaded = frozenset(told["modules"])
    found = sorted(loaded.intersection(UNWANTED))
    assert not found, f"{words[0]} loaded {found}"
    return Sealed(ended.returncode, ended.stdout, ended.stderr, tuple(told["events"]), loaded)


def _seal() -> None:
    """From here on every system call of sockets ends this process."""
    machine = platform.machine()
    calls = _CALLS[machine]
    last = len(calls) + 1
    program = [
        (_LOAD, 0, 0, 4),  # the architecture
        (_EQUAL, 1, 0, _ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # the number of the call
        (_AT_LEAST, last, 0, _X32),
        *((_EQUAL, last - place, 0, call) for place, call in enumerate(calls, start=1)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _KILL),
    ]
    code = b"".join(struct.pack("<HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code)
    header = ctypes.create_string_buffer(
        struct.pack("@HP", len(program), ctypes.addressof(buffer))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    for what, first, second in (
        (_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), zero),
        (_SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.byref(header)),
    ):
        if libc.prctl(what, first, second, zero, zero):
            raise OSError(ctypes.get_errno(), "this machine does not let us seal a process")


def _child(report: str, words: Sequence[str]) -> int:
    _seal()
    events: list[str] = []

    def watch(event: str, _arguments: object) -> None:
        if event.startswith("socket.") and event != "socket.gethostname":
            events.append(event)

    sys.addaudithook(watch)
    from keep_agent.cli.main import main  # noqa: PLC0415  the seal comes first

    try:
        code = main(list(words))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    with open(report, "w") as file:  # noqa: PTH123
        json.dump({"events": events, "modules": sorted(sys.modules)}, file)
    return code


if __name__ == "__main__":
    sys.exit(_child(sys.argv[1], sys.argv[2:]))
