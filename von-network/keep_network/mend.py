"""What a sudden end of all nodes can leave: a torn batch, or a batch that one node alone has."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keep_network.record import Network
from keep_network.settings import POOL

_OWN = ("node_info", "node_status_db")  # what a node notes about itself
_LEDGERS = {0: "pool", 1: "domain", 2: "config"}


@dataclass(frozen=True, slots=True)
class _Level:
    """How far a node is.

    Attributes:
        batches: entries of its audit ledger, which a batch reaches last.
        whole: no other ledger is ahead of what the audit ledger says of it.
    """

    batches: int
    whole: bool


def mend(network: Network) -> list[int]:
    """Make good what the nodes' own catch-up cannot; return the nodes that were changed.

    A node that was killed inside a batch has transactions that it does not count; it would be at
    odds with the others for ever, and gets the data of the best whole one. And three nodes agree
    on a batch in memory only: if one alone has stored it, nobody else can learn it any more, as
    plenum believes two nodes and not one; so a second node gets its data. No node may run.
    """
    levels = {number: _level(_folder(network, number)) for number in network.numbers}
    sound = {number: level.batches for number, level in levels.items() if level.whole}
    if not sound:
        return []
    best = max(sound, key=sound.__getitem__)
    changed = [number for number in levels if number not in sound]
    ahead = [number for number, batches in sound.items() if batches == sound[best]]
    if not changed and len(ahead) == 1:
        others = {number: batches for number, batches in sound.items() if number != best}
        changed = [max(others, key=others.__getitem__)]
    for number in changed:
        _copy(_folder(network, best), _folder(network, number))
    return changed


def _copy(source: Path, target: Path) -> None:
    draft = target.with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(source, draft, ignore=shutil.ignore_patterns(*_OWN))
    for name in _OWN:
        if (target / name).exists():
            (target / name).rename(draft / name)
    shutil.rmtree(target, ignore_errors=True)
    draft.replace(target)


def _folder(network: Network, number: int) -> Path:
    return network.folder / "data" / POOL / "data" / f"Node{number}"


def _level(node: Path) -> _Level:
    batches, entry = _last(node, "audit")
    if entry is None:  # it has never run
        return _Level(0, whole=True)
    read = importlib.import_module("msgpack").unpackb
    sizes = read(entry, strict_map_key=False)["txn"]["data"]["ledgerSize"]
    whole = all(_last(node, name)[0] <= sizes.get(n, 0) for n, name in _LEDGERS.items())
    return _Level(batches, whole)


def _last(node: Path, ledger: str) -> tuple[int, Any]:
    """Return the number and the bytes of a ledger's last transaction."""
    place = node / f"{ledger}_transactions"
    if not (place / "CURRENT").exists():
        return 0, None
    rocksdb = importlib.import_module("keep_network.compat.rocksdb")  # the node venv has it
    options = rocksdb.Options()
    options.comparator = rocksdb.IComparator()
    log = rocksdb.DB(str(place), options, read_only=True)
    try:
        rows = log.iteritems()
        rows.seek_to_last()
        number, entry = next(rows, (0, None))
        return int(number), entry
    finally:
        log.close()
