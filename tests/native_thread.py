"""A Python of its own in which all garbage is collected in the threads of a native library."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVarTuple

Arguments = TypeVarTuple("Arguments")


class Loop(asyncio.SelectorEventLoop):
    """Before another thread calls into it, that thread collects the garbage: any thread may."""

    def call_soon_threadsafe(
        self,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """As the loop, later."""
        if threading.current_thread() is not threading.main_thread():
            gc.collect()
        return super().call_soon_threadsafe(callback, *args, context=context)


def lose(thing: object) -> None:
    """Make it garbage that only the collector finds."""
    cycle = [thing]
    cycle.append(cycle)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run to the end of the process; no thread that is left is waited for."""
    gc.disable()
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
        sys.stdout.flush()
        os._exit(0)


def said(program: str, *words: str) -> tuple[list[str], str]:
    """Run a program, 30 s at most, and return its lines and what stands on stderr."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RUST_LOG": "off"}
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.splitlines(), done.stderr
