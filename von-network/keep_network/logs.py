"""What the processes of a network have printed and logged."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from pathlib import Path

from keep_network import arguments, control
from keep_network.arguments import Verbs, folder_of
from keep_network.errors import BadInputError

_LOOK_S = 0.3
_NUMBER = re.compile(r"\d+")


def add_verbs(verbs: Verbs) -> None:
    """Add `logs`."""
    logs = arguments.verb(verbs, "logs", _logs, "print the logs of nodes")
    logs.add_argument("node", type=arguments.node, metavar="NODE", nargs="?")
    logs.add_argument("-f", "--follow", action="store_true", help="continue until Ctrl-C")


class Reader:
    """New lines of the log files of one node, or of all processes."""

    def __init__(self, folder: Path, node: int | None) -> None:
        self._folder = folder / "log"
        self._node = node
        self._read: dict[Path, int] = {}

    def lines(self) -> Iterator[str]:
        """Yield whole lines that were written since the last call, each with its file's name."""
        for file in sorted([*self._folder.rglob("*.out"), *self._folder.rglob("*.log")]):
            if self._node is None or str(self._node) in _NUMBER.findall(file.stem):
                for line in self._new(file):
                    yield f"{file.stem} | {line}"

    def _new(self, file: Path) -> list[str]:
        at = self._read.get(file, 0)
        with file.open("rb") as opened:
            if file.stat().st_size < at:  # begun anew
                at = 0
            opened.seek(at)
            text = opened.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read[file] = at + len(whole)
        return whole.decode(errors="replace").splitlines()


def _logs(args: argparse.Namespace) -> None:
    network = control.find(folder_of(args))
    if args.node and args.node not in network.numbers:
        raise BadInputError(f"there is no Node{args.node}")
    reader = Reader(network.folder, args.node)
    while True:
        for line in reader.lines():
            print(line, flush=True)
        if not args.follow:
            return
        time.sleep(_LOOK_S)
