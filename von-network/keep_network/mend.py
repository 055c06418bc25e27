"""What a sudden end of all nodes can leave: one of them a batch ahead of the others."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

from keep_network.record import Network
from keep_network.settings import POOL

_OWN = ("node_info", "node_status_db")  # what a node notes about itself
_LOG = "audit_transactions"  # one entry for each batch


def mend(network: Network) -> int | None:
    """Give a batch that a single node has stored to a second one; return the first's number.

    Three nodes had agreed on that batch, but only in memory. If all are killed when one has
    stored it and the others have not, nobody can learn it any more: plenum believes two nodes
    and not one, and the node with the batch would be at odds with the others for ever. A batch
    that two nodes have is taken over by the others when they start. No node may run.
    """
    levels = {number: _level(_folder(network, number)) for number in network.numbers}
    ahead = [number for number, level in levels.items() if level == max(levels.values())]
    if len(ahead) > 1:
        return None
    first = ahead[0]
    second = max((number for number in levels if number != first), key=levels.__getitem__)
    whole, draft = _folder(network, second), _folder(network, second).with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(_folder(network, first), draft, ignore=shutil.ignore_patterns(*_OWN))
    for name in _OWN:
        if (whole / name).exists():
            (whole / name).rename(draft / name)
    shutil.rmtree(whole, ignore_errors=True)
    draft.replace(whole)
    return first


def _folder(network: Network, number: int) -> Path:
    return network.folder / "data" / POOL / "data" / f"Node{number}"


def _level(node: Path) -> int:
    """Return how many batches a node has stored; 0 if it has no data yet."""
    if not (node / _LOG / "CURRENT").exists():
        return 0
    rocksdb = importlib.import_module("keep_network.compat.rocksdb")  # the node venv has it
    options = rocksdb.Options()
    options.comparator = rocksdb.IComparator()
    log = rocksdb.DB(str(node / _LOG), options, read_only=True)
    try:
        keys = log.iterkeys()
        keys.seek_to_last()
        return int(next(keys, 0))
    finally:
        log.close()
