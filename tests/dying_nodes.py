"""Nodes that die at one of their writes: what a power cut may leave, place by place."""

from __future__ import annotations

from pathlib import Path

STORES = (
    "domain_transactions",
    "domain_merkleLeaves",
    "domain_merkleNodes",
    "domain_state",
    "idr_cache_db",
    "audit_transactions",
    "audit_merkleLeaves",
    "state_ts_db",
    "seq_no_db",
)
"""What a node writes of a batch, in this order."""

_SETTINGS = """
NETWORK_NAME = "sandbox"

def __deadly():
    import os, sys
    from pathlib import Path
    from keep_network.compat.rocksdb import DB

    opened, put, write = DB.__init__, DB.put, DB.write
    wish, begun, left = Path(%r), set(), []

    def open_(self, path, *args, **options):
        self.name = Path(path).name
        opened(self, path, *args, **options)

    def count(self):
        if sys.argv[2] != %r or not wish.exists():
            return
        store, times = wish.read_text().split()
        begun.update({self.name} & {"domain_transactions"})
        left.extend([self.name] * (bool(begun) and self.name == store))
        if len(left) == int(times):
            wish.unlink()
            os.kill(os.getpid(), 9)

    def put_(self, *args):
        put(self, *args)
        count(self)

    def write_(self, *args, **options):
        write(self, *args, **options)
        count(self)

    DB.__init__, DB.put, DB.write = open_, put_, write_

__deadly()
"""


def prepare(folder: Path, nodes: str) -> Path:
    """Let a process of nodes, once it is started anew, die by a wish; return the wish's file.

    Who writes "STORE N" into it wishes that the process dies at its N-th write to this store,
    counted from the beginning of the next batch.

    Args:
        nodes: the numbers of the process's nodes, with commas.
    """
    wish = folder / "die"
    (folder / "etc" / "indy_config.py").write_text(_SETTINGS % (str(wish), nodes))
    return wish
