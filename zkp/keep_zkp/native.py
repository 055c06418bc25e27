"""Runs the native library: in threads of its own, with bounded queues and checked arguments.

The library releases the GIL, so a thread per core uses every core. Native code does not know Python
types: it only gets text without NUL and JSON objects of bounded size, which the functions of this
file have checked (SEC-P12).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread, get_native_id
from typing import Any, ParamSpec, Protocol, Self, TypeVar, cast

from anoncreds import AnoncredsError, library_version

from keep_zkp.errors import BusyError, InvalidError, LibraryError
from keep_zkp.json_object import Json

_LOADING = Lock()
"""The library is loaded by one thread, before any other calls it."""

MAX_TEXT = 2 << 20
"""Longest text, and longest JSON object as text, that is handed to the library."""

_NICE = 5
"""Cryptography gives way to whoever answers messages: it can wait, they stall everybody.

But it is not SCHED_IDLE: a thread that holds the GIL would wait for a core then, and the event loop for it.
"""

P = ParamSpec("P")
R = TypeVar("R")


SOON = 4
"""How many calls a thread may have before it, running and waiting, so that the next one is still done soon."""


class Loadable(Protocol):
    """A class of the library that reads its objects from JSON."""

    @classmethod
    def load(cls, value: str, /) -> Self:
        """Parse `value`."""
        ...


N = TypeVar("N", bound=Loadable)


class Lane:
    """A few threads with a bounded queue.

    The threads are daemons: minutes of native work in progress do not delay the end of the process.

    Args:
        threads: how many calls run at once; they are started with the first call.
        room: how many calls may run and wait together; one more is refused.
    """

    def __init__(self, *, threads: int, room: int) -> None:
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = Lock()
        self._threads = threads
        self._started = False
        self._room = room
        self._inside = 0

    async def run(
        self, deadline_s: float, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call `fn` in a thread and wait for it.

        Cancelling the caller, or the deadline, ends the wait: a call that is still in the queue is
        dropped; one that runs continues, but its result is dropped.

        Raises:
            BusyError: the queue is full, or the deadline has passed.
        """
        work = self.put(fn, *args, **kwargs)
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.wrap_future(work)
        except TimeoutError as error:
            raise BusyError(f"no answer within {deadline_s:g} s") from error

    def put(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Let a thread call `fn`.

        Raises:
            BusyError: the queue is full.
        """
        work: Future[R] = Future()
        self._enter()
        work.add_done_callback(self._leave)
        self._jobs.put((work, lambda: fn(*args, **kwargs)))
        return work

    def close(self) -> None:
        """Let every thread end after the call that it is in."""
        for _ in range(self._threads):
            self._jobs.put(None)

    @property
    def inside(self) -> int:
        """How many calls run or wait."""
        return self._inside

    def _enter(self) -> None:
        with self._lock:
            if self._inside >= self._room:
                raise BusyError("the queue of native work is full")
            self._inside += 1
            if not self._started:
                self._started = True
                for _ in range(self._threads):
                    Thread(target=self._serve, name="zkp", daemon=True).start()

    def _leave(self, _work: Future[Any]) -> None:
        with self._lock:
            self._inside -= 1

    def _serve(self) -> None:
        if sys.platform == "linux":  # there a thread has a priority of its own
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, get_native_id(), _NICE)
        with _LOADING:
            library_version()
        while (job := self._jobs.get()) is not None:
            work, call = job
            if work.set_running_or_notify_cancel():
                try:
                    work.set_result(call())
                except BaseException as error:  # noqa: BLE001 - it is passed to the caller
                    work.set_exception(error)
            del job, work, call


class Native:
    """The process's threads for native work, shared by every tenant.

    Args:
        threads: for calls of milliseconds; the number of cores.
        room: bound of that queue.
        deadline_s: how long a caller waits for such a call, its time in the queue included.
    """

    def __init__(self, *, threads: int, room: int, deadline_s: float) -> None:
        self._threads = threads
        self._short = Lane(threads=threads, room=room)
        self._long = Lane(threads=1, room=16)
        self._deadline_s = deadline_s

    async def run(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a call of milliseconds; see `Lane.run`.

        Raises:
            BusyError: try again later.
            LibraryError: the library refused.
        """
        return await self._short.run(self._deadline_s, _translated(fn), *args, **kwargs)

    async def run_long(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a call of up to minutes (making keys), one at a time; raises as `run` does."""
        return await self._long.run(3600, _translated(fn), *args, **kwargs)

    def start(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a call of milliseconds that nobody waits for; it is left out if the queue is full."""
        with suppress(BusyError):
            self._short.put(fn, *args, **kwargs)

    @property
    def has_room(self) -> bool:
        """Whether a call that comes now is done soon: few wait before it."""
        return self._short.inside < SOON * self._threads

    def close(self) -> None:
        """End the threads; calls that wait in the queue still run."""
        self._short.close()
        self._long.close()


class Scope:
    """One tenant's way to the library: the shared threads and a cache of its own.

    Keys, credential definitions and schemas are parsed once and kept under a digest of their
    JSON, so that another object never answers for them, whatever id it claims.

    Args:
        keep: how many parsed objects are kept; the one not used for longest is freed first.
    """

    def __init__(self, native: Native, *, keep: int) -> None:
        self.native = native
        self._keep = keep
        self._parsed: OrderedDict[bytes, object] = OrderedDict()
        self._lock = Lock()

    def load(self, kind: type[N], value: Json) -> N:
        """Parse `value` or find it parsed; to be called inside a native thread."""
        text = json_text(value)
        key = hashlib.sha256(f"{kind.__name__} {text}".encode()).digest()
        with self._lock:
            found = self._parsed.get(key)
            if found is not None:
                self._parsed.move_to_end(key)
                return cast("N", found)
        made = kind.load(text)
        with self._lock:
            self._parsed[key] = made
            while len(self._parsed) > self._keep:
                self._parsed.popitem(last=False)
        return made

    def clear(self) -> None:
        """Free every parsed object, for instance when a tenant is deleted."""
        with self._lock:
            self._parsed.clear()


def text(value: object, what: str) -> str:
    """Return `value` if the library can take it as text.

    Raises:
        InvalidError: it is not text, or has a NUL or a lone surrogate, or is too long.
    """
    if not isinstance(value, str):
        raise InvalidError(f"{what} is not text")
    if len(value) > MAX_TEXT:
        raise InvalidError(f"{what} is too long")
    try:
        raw = value.encode()
    except UnicodeEncodeError as error:
        raise InvalidError(f"{what} is not Unicode text") from error
    if b"\x00" in raw:
        raise InvalidError(f"{what} contains a NUL")
    return value


def json_text(value: Json) -> str:
    """Return a JSON object as the text that the library parses.

    Raises:
        InvalidError: it is not a JSON object, no Unicode text, or too long.
    """
    if not isinstance(value, dict):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may pass anything
        raise InvalidError("not a JSON object")
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        written.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidError("not a JSON object") from error
    if len(written) > MAX_TEXT:
        raise InvalidError("the JSON object is too long")
    return written


def fresh(kind: type[N], value: Json) -> N:
    """Parse an object that is used once and freed; to be called inside a native thread."""
    return kind.load(json_text(value))


def _translated(fn: Callable[P, R]) -> Callable[P, R]:
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return fn(*args, **kwargs)
        except AnoncredsError as error:
            raise LibraryError(error.code.name) from None

    return call
