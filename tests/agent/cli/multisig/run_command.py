"""The command line in this process, as somebody types it."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keep_agent.cli.main import main


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def run(*words: str | Path, stdin: str = "") -> Ran:
    """Run `indykeep WORDS`; standard input is not a terminal."""
    out, err = io.StringIO(), io.StringIO()
    with _typing(stdin), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Ran(code, out.getvalue(), err.getvalue())


def done(*words: str | Path, stdin: str = "") -> str:
    """Run what must go well; gives what it printed."""
    ran = run(*words, stdin=stdin)
    assert ran.code == 0, ran.err
    return ran.out


def refused(*words: str | Path, stdin: str = "") -> str:
    """Run what must be refused with a sentence; gives the sentence."""
    ran = run(*words, stdin=stdin)
    assert ran.code == 2, ran.out
    sentence = ran.err.strip().splitlines()[-1]
    assert sentence.startswith("indykeep: ")
    assert "Traceback" not in ran.err
    return sentence.removeprefix("indykeep: ")


@contextmanager
def _typing(text: str) -> Generator[None]:
    before, sys.stdin = sys.stdin, io.StringIO(text)
    try:
        yield
    finally:
        sys.stdin = before
