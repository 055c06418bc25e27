"""People at their desks, who type `indykeep ...` as anybody would, before whoever looks on.

Everybody works in one folder, with an environment of their own, on one network. A line is told as it
is typed, run as the real command, and held to how it must end.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from keep_agent.cli.main import REFUSED, main
from keep_agent.cli.multisig.ledger_view import GENESIS
from keep_agent.cli.multisig.secret_input import KEY_FILE
from screen import Screen
from story import ClaimError, claim

NAMES = "names.sh"
LINE = 90
SAYS = "indykeep: "


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def reason(self) -> str:
        """Why it refused, as it said it."""
        found = [
            line.removeprefix(SAYS) for line in self.err.splitlines() if line.startswith(SAYS)
        ]
        return " ".join(found)


@dataclass(slots=True)
class Desk:
    """The folder that is everybody's current one, and what stands for what in a typed line.

    Attributes:
        names: `$NAME` in a line: DIDs, keys, groups of options.
        rows: what happened, for the table at the end.
        typed: how many commands were run.
    """

    screen: Screen
    folder: Path
    genesis: Path
    names: dict[str, str] = field(default_factory=dict[str, str])
    rows: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    typed: int = 0

    async def types(self, who: str, line: str, *, stdin: str = "", told: bool = True) -> str:
        """Let somebody type a line, which must go well; gives what it printed.

        Args:
            who: in small letters; the key of their store is in `{who}.key`.
            line: after `indykeep`, as for a shell.
            told: show the line.
        """
        ran = await self._run(who, line, stdin, told=told)
        if ran.code:
            raise ClaimError(f"`indykeep {line}` by {who} ended with {ran.code}: {ran.reason}")
        return ran.out

    async def refused(self, who: str, line: str, *, says: str, told: bool = True) -> str:
        """Let somebody type a line, which must be refused for that reason; gives the reason."""
        ran = await self._run(who, line, "", told=told)
        claim(ran.code == REFUSED, f"`indykeep {line}` by {who} is refused, not {ran.code}")
        claim(says in ran.reason, f"it is refused for {says!r}, not: {ran.reason}")
        return ran.reason

    def happened(self, what: str, how: str) -> None:
        """Note a row of the table."""
        self.rows.append((what, how))

    def write_names(self) -> None:
        """Leave the names for a shell, so that typed lines can be repeated there."""
        found = {GENESIS: str(self.genesis), **self.names}
        for name in ("SOFTHSM2_CONF", "INDYKEEP_PIN_FILE"):
            if name in os.environ:
                found[name] = os.environ[name]
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in found.items()]
        (self.folder / NAMES).write_text("".join(lines), "utf-8")

    async def _run(self, who: str, line: str, stdin: str, *, told: bool) -> Ran:
        if told:
            self._show(who, line)
        self.typed += 1
        words = shlex.split(Template(line).substitute(self.names))
        env = {GENESIS: str(self.genesis), KEY_FILE: f"{who}.key"}
        at_work = asyncio.ensure_future(asyncio.to_thread(_run, words, env, stdin))
        try:
            return await asyncio.shield(at_work)
        except asyncio.CancelledError:
            await asyncio.wait([at_work])  # it works in a folder that goes away
            raise

    def _show(self, who: str, line: str) -> None:
        lines = [f"{who.capitalize()}$ indykeep"]
        for part in re.split(r" (?=--)", line):  # an option stays with its value
            if len(lines[-1]) + len(part) > LINE:
                lines.append("   ")
            lines[-1] += f" {part}"
        self.screen.plain("    " + " \\\n    ".join(lines))


def _run(words: list[str], env: Mapping[str, str], stdin: str) -> Ran:
    """Run the command in this process, which is quicker than in one of its own."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.stdin
    os.environ.update(env)
    sys.stdin = io.StringIO(stdin)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    except SystemExit as error:  # argparse
        code = int(error.code or 0)
    finally:
        sys.stdin = before
    return Ran(code, out.getvalue(), err.getvalue())
