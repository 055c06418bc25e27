"""Run some nodes of a network in this process: `python -m keep_network.node`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from keep_network import compat, cut, genesis, processes, record, settings

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
        genesis.create(network.folder, network.nodes, network.first_port)
        record.save(network.complete())
    if args.keys:
        print(json.dumps(genesis.create_keys(network.folder, args.keys)))
    if args.numbers != "none":
        run(network, [int(number) for number in args.numbers.split(",")])


def run(network: record.Network, numbers: list[int]) -> None:
    """Run these nodes until SIGTERM or SIGINT."""
    config = settings.load(network.folder)
    helper = importlib.import_module("indy_common.config_helper").NodeConfigHelper
    looper = importlib.import_module("keep_network.looper").SocketLooper
    helpers = {number: helper(f"Node{number}", config, chroot=None) for number in numbers}
    _prepare_logs(config, helpers)
    with looper(debug=False) as loop:
        for number in numbers:
            loop.add(_node(network, number, helpers[number]))
        loop.run()


def _prepare_logs(config: Any, helpers: dict[int, Any]) -> None:
    log = importlib.import_module("stp_core.common.log")
    for helper in helpers.values():
        Path(helper.log_dir).mkdir(parents=True, exist_ok=True)
        Path(helper.node_info_dir).mkdir(parents=True, exist_ok=True)
    first = next(iter(helpers.values()))
    name = "-".join(helper.name for helper in helpers.values())
    log.Logger().enableFileLogging(str(Path(first.log_dir) / f"{name}.log"))
    log.getlogger().setLevel(config.logLevel)


def _node(network: record.Network, number: int, helper: Any) -> Any:
    address = importlib.import_module("stp_core.types").HA
    node = importlib.import_module("keep_network.stack").LocalNode(
        helper.name,
        config_helper=helper,
        bootstrap_cls=importlib.import_module("keep_network.recovery").RecoveringBootstrap,
        ha=address(genesis.HOST, network.node_port(number)),
        cliha=address(genesis.HOST, network.client_port(number)),
    )
    node.nodestack.cut = cut.Cut(network.folder, helper.name)
    return node


def _watch(parent: processes.Identity) -> None:
    """End this process soon after another one is gone."""
    while parent.alive():
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_RESORT_S)
    os._exit(1)


if __name__ == "__main__":
    main()
