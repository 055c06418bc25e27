"""`indykeep` whose processes miss each other sooner, on a ledger with the published test keys."""

from __future__ import annotations

import sys

import wallets

import keep_ledger.memory
from keep_agent.cli.main import main
from keep_agent.store import processes
from keep_ledger.memory import MemoryRegistry
from keep_ledger.plugins import Fetch, LedgerConfig


def _full_ledger(config: LedgerConfig, fetch: Fetch) -> MemoryRegistry:
    del fetch
    return wallets.ledger(config.namespace)


if __name__ == "__main__":
    processes.BEAT_S, processes.SILENT_S = 0.5, 4.0
    keep_ledger.memory.open_ledger = _full_ledger
    sys.exit(main(sys.argv[1:]))
