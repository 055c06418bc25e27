"""Run some nodes of a network in this process: `python -m keep_network.node`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
import time
from pathlib import Path

from keep_network import compat, genesis, processes, record

LAST_RESORT_S = 10


def main() -> None:
    """Parse the arguments that `control` gives, and run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="keep_network.node")
    parser.add_argument("folder", type=Path)
    parser.add_argument("numbers", help="1,2,3,4; none: only make what the options ask for")
    parser.add_argument("--genesis", action="store_true", help="make keys and genesis first")
    parser.add_argument(
        "--keys", type=int, help="make the keys of a node that joins, and print"
    )
    parser.add_argument("--die-with", type=processes.Identity.parse, default=None)
    args = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # `control` starts us with signals held back
    if args.die_with is not None:
        threading.Thread(target=_watch, args=(args.die_with,), daemon=True).start()
    compat.install()
    network = record.load(args.folder)
    if args.genesis:
        genesis.create(network)
        record.save(network.complete())
    if args.keys:
        print(json.dumps(genesis.create_keys(network, args.keys)))
    if args.numbers != "none":
        from keep_network.run_nodes import run  # plenum can be imported only now

        run(network, [int(number) for number in args.numbers.split(",")])


def _watch(parent: processes.Identity) -> None:
    """End this process soon after another one is gone."""
    while parent.alive():
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_RESORT_S)
    os._exit(1)


if __name__ == "__main__":
    main()
