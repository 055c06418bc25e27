"""Start nodes again that died, and remember it: `python -m keep_network.supervisor FOLDER`.

It looks once; `watch.py` calls it when something is dead.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from keep_network import mend, processes, record, website
from keep_network.processes import NodeProcess

FILE = "restarts.json"
_LONGEST_PAUSE_S = 60.0
_MANY = 100


@dataclass(frozen=True, slots=True)
class Restart:
    """A process of nodes that died and was restarted.

    Attributes:
        at: seconds since the epoch.
        why: the last line that it had printed.
    """

    nodes: tuple[int, ...]
    at: float
    why: str


def main() -> None:
    """Start again what is dead now, unless a command is at work on the network."""
    folder = Path(sys.argv[1])
    with record.held_if_free(folder) as free:
        if free:
            revive(folder, processes.wanted(folder))


def restarts(folder: Path) -> list[Restart]:
    """Return what was started again since the network was started, oldest first."""
    try:
        told = json.loads((folder / FILE).read_text())
    except (FileNotFoundError, ValueError):
        return []
    return [Restart(tuple(one["nodes"]), one["at"], one["why"]) for one in told]


def forget(folder: Path) -> None:
    """Begin anew: the network is stopped."""
    (folder / FILE).unlink(missing_ok=True)


def revive(folder: Path, ours: list[NodeProcess]) -> None:
    """Start again what died; the caller holds the network."""
    before = restarts(folder)
    for place, one in enumerate(ours):
        if one.module == "supervisor" or one.who.alive() or _too_soon(before, one):
            continue
        if not one.nodes:
            ours[place] = _serve_again(folder, one)
            processes.save(folder, ours)
            continue
        why = processes.last_words(folder, one)
        _mend(folder, ours)
        ours[place] = processes.spawn(folder, one.nodes, genesis=False, die_with=one.die_with)
        before.append(Restart(one.nodes, time.time(), why))
        processes.save(folder, ours)
        draft = folder / f"{FILE}.new"
        draft.write_text(json.dumps([asdict(restart) for restart in before[-_MANY:]]))
        draft.replace(folder / FILE)
        print(f"started {one.names} again: {why}", file=sys.stderr, flush=True)


def _serve_again(folder: Path, one: NodeProcess) -> NodeProcess:
    return website.launch(record.load(folder), one.die_with)


def _mend(folder: Path, ours: list[NodeProcess]) -> None:
    """Do what a start does when all nodes were dead."""
    if any(one.nodes and one.who.alive() for one in ours):
        return
    mend.mend(record.load(folder))


def _too_soon(before: list[Restart], one: NodeProcess) -> bool:
    """A node that dies again and again is tried after 1, 2, 4... 60 s."""
    times = [restart.at for restart in before if restart.nodes == one.nodes]
    recent = [at for at in times if time.time() - at < 2 * _LONGEST_PAUSE_S]
    if not recent:
        return False
    return time.time() - recent[-1] < min(_LONGEST_PAUSE_S, 2.0 ** (len(recent) - 1))


if __name__ == "__main__":
    main()
