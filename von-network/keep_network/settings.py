"""Settings of nodes on one machine, used by one developer."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any

POOL = "sandbox"
"""Plenum's name for the network inside its folders; the user never sees it."""

LOCAL: dict[str, object] = {
    "NETWORK_NAME": POOL,
    "Max3PCBatchWait": 0.05,  # 3 s upstream; most of the latency of a single write
    "Max3PCBatchSize": 100,
    "CHK_FREQ": 10,  # 100 upstream: requests are kept in memory until the third checkpoint
    "LOG_SIZE": 30,  # batches that may be in flight; plenum wants 3 checkpoints
    "ToleratePrimaryDisconnection": 4,  # 60 s upstream: clients give up before that
    "TolerateBackupPrimaryDisconnection": 60,
    "PerfCheckFreq": 2,  # 10 s upstream; see stack.LocalNode
    "LedgerStatusTimeout": 2,  # each is 5 s or 6 s upstream, times the other nodes: a catch-up
    "ConsistencyProofsTimeout": 2,  # that began when nobody answered would take 15 s more
    "CatchupTransactionsTimeout": 3,
    "INITIAL_PROPOSE_VIEW_CHANGE_TIMEOUT": 20,
    "NEW_VIEW_TIMEOUT": 10,
    "CLIENT_STACK_RESTART_ENABLED": False,  # upstream drops all clients after 400 of them
    "MAX_CONNECTED_CLIENTS_NUM": 10000,
    "enableStdOutLogging": False,  # megabytes
    "logLevel": logging.WARNING,
    "logRotationBackupCount": 2,
    "logRotationMaxBytes": 5 << 20,
    "logRotationCompression": None,
    "METRICS_COLLECTOR_TYPE": None,
    "UPGRADE_ENTRY": "indy-node",
}
FOLDERS = {
    "LEDGER_DIR": "data",
    "LOG_DIR": "log",
    "KEYS_DIR": "keys",
    "GENESIS_DIR": "genesis",
    "BACKUP_DIR": "backup",
    "PLUGINS_DIR": "plugins",
    "NODE_INFO_DIR": "info",
    "CLI_BASE_DIR": "cli",
    "CLI_NETWORK_DIR": "clinet",
}


def load(folder: Path) -> Any:
    """Return plenum's settings object for a network folder, and log as it says from now on.

    `etc/indy_config.py` in the folder (plain Python) wins over everything here.
    """
    # Modules that read the settings when they are imported also reset them: import all first.
    importlib.import_module("indy_node.server.node")
    from indy_common.config_util import getConfig
    from stp_core.common.log import Logger

    own = folder / "etc" / "indy_config.py"
    if not own.exists():  # plenum insists on the file and on this name in it
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(f"NETWORK_NAME = {POOL!r}\n")
    settings = getConfig(general_config_dir=str(own.parent))
    theirs: dict[str, object] = {}
    exec(compile(own.read_text(), str(own), "exec"), theirs)  # noqa: S102 - plenum's file format
    values = LOCAL | {name: str(folder / place) for name, place in FOLDERS.items()}
    values |= {name: value for name, value in theirs.items() if not name.startswith("__")}
    settings.__dict__.update(values)
    Logger().apply_config(settings)
    return settings
