"""What the demos print: plain words, as wide as the window, with colours only on a terminal."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import textwrap
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

WIDEST = 92
NARROWEST = 40
LEFT = 28
ROOM = 12  # for mark and time
LIVE_S = 0.1
FIRST_WORD_S, NEXT_WORD_S = 2.0, 5.0
SHOWN_S = 0.5
_BOLD, _DIM, _RED, _GREEN = "1", "2", "31", "32"

Note = Callable[[str], None]
"""Takes what a step has found out; it is shown when the step is done."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a demo prints.

    Attributes:
        live: a line can be overwritten, so a step shows how long it has taken so far.
        colour: marks may have a colour; words say the same without.
        fancy: the encoding has more than ASCII.
    """

    out: TextIO
    live: bool
    colour: bool
    fancy: bool

    @classmethod
    def of(cls, out: TextIO) -> Terminal:
        """Look at what we write to; `NO_COLOR` and `TERM=dumb` are respected."""
        live = out.isatty() and os.environ.get("TERM") != "dumb"
        fancy = "utf" in (out.encoding or "").lower()
        return cls(out, live, live and not os.environ.get("NO_COLOR"), fancy)

    def heading(self, title: str) -> None:
        """Print the heading of a part."""
        self._line("")
        self._line(self._in(_BOLD, title))

    def say(self, text: str) -> None:
        """Print a paragraph."""
        self._line(
            textwrap.fill(text, self._width, initial_indent="  ", subsequent_indent="  ")
        )

    def quote(self, who: str, text: str) -> None:
        """Print what somebody says."""
        words = f'{who}: "{text}"'
        self._line(
            textwrap.fill(words, self._width, initial_indent="    ", subsequent_indent="      ")
        )

    def done(self, text: str, took: str = "") -> None:
        """Print what is done and was checked, and how long it took."""
        mark = self._in(_GREEN, "\u2713" if self.fancy else "+")
        self._marked(mark, text, f"  {self._in(_DIM, took)}" if took else "")

    def failed(self, text: str) -> None:
        """Print what went wrong."""
        self._marked(self._in(_RED, "\u2717" if self.fancy else "x"), text)

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        """Show a table of two columns; a narrow window gets the second one below the first."""
        right = self._width - LEFT - 2
        for head, text in rows:
            if right < LEFT:
                self._line("  " + self._in(_BOLD, head))
                self.say(f"  {text}")
                continue
            lines = textwrap.wrap(text, right) or [""]
            self._line("  " + self._in(_BOLD, f"{head:<{LEFT}}") + lines[0])
            for line in lines[1:]:
                self._line("  " + " " * LEFT + line)

    def plain(self, text: str) -> None:
        """Print something to be copied: neither wrapped nor coloured."""
        self._line(text)

    @asynccontextmanager
    async def step(self, text: str) -> AsyncGenerator[Note]:
        """Show a step while it runs and when it is done, and how long it took if it was long."""
        begun = time.monotonic()
        found: list[str] = []
        ticking = asyncio.create_task(self._tick(text, begun), name="progress")
        try:
            yield found.append
        except BaseException:
            await self._stop(ticking)
            self.failed(text)
            raise
        await self._stop(ticking)
        took = time.monotonic() - begun
        words = ": ".join([text, "; ".join(found)] if found else [text])
        self.done(words, f"{took:.1f} s" if took >= SHOWN_S else "")

    async def _tick(self, text: str, begun: float) -> None:
        waited = 0.0 if self.live else FIRST_WORD_S
        while True:
            await asyncio.sleep(waited)
            waited = LIVE_S if self.live else NEXT_WORD_S
            words = f"  ... {time.monotonic() - begun:.0f} s: {text}"
            if self.live:
                self.out.write(f"\r\x1b[K{words[: self._width]}")
                self.out.flush()
            else:
                self._line(words)

    async def _stop(self, ticking: asyncio.Task[None]) -> None:
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        if self.live:
            self.out.write("\r\x1b[K")

    @property
    def _width(self) -> int:
        return max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns - 1))

    def _marked(self, mark: str, text: str, after: str = "") -> None:
        wrapped = textwrap.wrap(text, self._width - ROOM) or [""]
        wrapped[-1] += after
        self._line(f"  {mark} {wrapped[0]}")
        for line in wrapped[1:]:
            self._line(f"    {line}")

    def _in(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def _line(self, text: str) -> None:
        print(text, file=self.out, flush=True)


def stdout() -> Terminal:
    """Return the terminal of standard output."""
    return Terminal.of(sys.stdout)
