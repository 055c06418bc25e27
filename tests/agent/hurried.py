"""`indykeep` whose processes miss each other sooner."""

import sys

import known_ledger

from keep_agent.store import processes

if __name__ == "__main__":
    processes.BEAT_S, processes.SILENT_S = 0.5, 4.0
    sys.exit(known_ledger.main())
