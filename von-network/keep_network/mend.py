"""What a sudden end of all nodes can leave: a batch that too few of them have.

What it leaves inside a node, each node makes good by itself (`recovery.py`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from keep_network.record import Network
from keep_network.settings import POOL

_OWN = ("node_info", "node_status_db")  # what a node notes about itself


def mend(network: Network) -> list[int]:
    """Give a batch that too few have to as many as it takes; return the nodes that were changed.

    Most nodes agree on a batch in memory only. If no more have stored it than may lie (one of
    four, two of seven), nobody else can learn it any more, as plenum does not believe so few. No
    node may run.
    """
    batches = {number: _batches(_folder(network, number)) for number in network.numbers}
    best, *others = sorted(batches, key=batches.__getitem__, reverse=True)
    may_lie = (len(batches) - 1) // 3
    changed = [number for number in others[:may_lie] if batches[number] < batches[best]]
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


def _batches(node: Path) -> int:
    """Return how many batches a node has whole: its audit ledger is written last."""
    place = node / "audit_transactions"
    if not (place / "CURRENT").exists():  # it has never run
        return 0
    from keep_network.compat import rocksdb  # on a package that only the node venv has

    options = rocksdb.Options()
    options.comparator = rocksdb.IComparator()
    log = rocksdb.DB(str(place), options, read_only=True)
    try:
        rows = log.iterkeys()
        rows.seek_to_last()
        return int(next(rows, 0))
    finally:
        log.close()
