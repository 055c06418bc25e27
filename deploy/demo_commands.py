"""Commands `indykeep ...` of several people: shown as typed, run for real, and checked.

Everybody works in one folder and on one network, with an environment of their own.
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

from demo_claims import ClaimError, claim
from demo_terminal import Terminal
from keep_agent.cli.main import REFUSED, main
from keep_agent.cli.multisig.ledger_view import GENESIS
from keep_agent.cli.multisig.secret_input import KEY_FILE

NAMES_FILE = "names.sh"
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
        """Why it refused, in its own words."""
        found = [
            line.removeprefix(SAYS) for line in self.err.splitlines() if line.startswith(SAYS)
        ]
        return " ".join(found)


@dataclass(slots=True)
class Commands:
    """Runs commands in the folder that everybody shares.

    Attributes:
        names: `$NAME` in a line: DIDs, keys, groups of options.
        results: rows of the table at the end: what was tried, and what came of it.
        count: how many commands were run.
    """

    terminal: Terminal
    folder: Path
    genesis: Path
    names: dict[str, str] = field(default_factory=dict[str, str])
    results: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    count: int = 0

    async def run(self, who: str, line: str, *, stdin: str = "", shown: bool = True) -> str:
        """Run a command that must succeed, and return what it printed.

        Args:
            who: name in small letters; the key of their store is in `{who}.key`.
            line: what follows `indykeep`, as for a shell.
            told: show the line.
        """
        ran = await self._run(who, line, stdin, shown=shown)
        if ran.code:
            raise ClaimError(f"`indykeep {line}` by {who} ended with {ran.code}: {ran.reason}")
        return ran.out

    async def run_refused(
        self, who: str, line: str, *, because: str, shown: bool = True
    ) -> str:
        """Run a command that must be refused for this reason, and return the reason."""
        ran = await self._run(who, line, "", shown=shown)
        claim(ran.code == REFUSED, f"`indykeep {line}` by {who} is refused, not {ran.code}")
        claim(because in ran.reason, f"it is refused for {because!r}, not: {ran.reason}")
        return ran.reason

    def note_result(self, what: str, result: str) -> None:
        """Add a row to the table."""
        self.results.append((what, result))

    def write_names(self) -> None:
        """Write the names to a file for a shell, so that commands can be repeated there."""
        found = {GENESIS: str(self.genesis), **self.names}
        for name in ("SOFTHSM2_CONF", "INDYKEEP_PIN_FILE"):
            if name in os.environ:
                found[name] = os.environ[name]
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in found.items()]
        (self.folder / NAMES_FILE).write_text("".join(lines), "utf-8")

    async def _run(self, who: str, line: str, stdin: str, *, shown: bool) -> Ran:
        if shown:
            self._show(who, line)
        self.count += 1
        words = shlex.split(Template(line).substitute(self.names))
        env = {GENESIS: str(self.genesis), KEY_FILE: f"{who}.key"}
        at_work = asyncio.ensure_future(asyncio.to_thread(_run, words, env, stdin))
        try:
            return await asyncio.shield(at_work)
        except asyncio.CancelledError:
            await asyncio.wait([at_work])  # it works in a folder that is removed afterwards
            raise

    def _show(self, who: str, line: str) -> None:
        lines = [f"{who.capitalize()}$ indykeep"]
        for part in re.split(r" (?=--)", line):  # an option stays with its value
            if len(lines[-1]) + len(part) > LINE:
                lines.append("   ")
            lines[-1] += f" {part}"
        self.terminal.plain("    " + " \\\n    ".join(lines))


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
