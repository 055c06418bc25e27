"""`indykeep` on a ledger in memory that has the published test keys, the same in each process."""

from __future__ import annotations

import sys

import wallets

import keep_ledger.memory
from keep_agent.cli import main as cli
from keep_ledger.memory import MemoryRegistry
from keep_ledger.plugins import Fetch, LedgerConfig


def open_ledger(config: LedgerConfig, fetch: Fetch) -> MemoryRegistry:
    """Open such a ledger, as a plugin does."""
    del fetch
    return wallets.ledger(config.namespace)


def main() -> int:
    """Run the command line on it."""
    keep_ledger.memory.open_ledger = open_ledger
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
