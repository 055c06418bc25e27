"""Nodes in this process; imported when plenum can be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from indy_common.config_helper import NodeConfigHelper
from stp_core.common.log import Logger, getlogger
from stp_core.types import HA

from keep_network import cut, record, settings
from keep_network.looper import SocketLooper
from keep_network.recovery import RecoveringBootstrap
from keep_network.stack import LocalNode


def run(network: record.Network, numbers: list[int]) -> None:
    """Run these nodes until SIGTERM or SIGINT."""
    config = settings.load(network.folder)
    helpers = {
        number: NodeConfigHelper(f"Node{number}", config, chroot=None) for number in numbers
    }
    _prepare_logs(config, helpers)
    with SocketLooper(debug=False) as loop:
        for number in numbers:
            loop.add(_node(network, number, helpers[number]))
        loop.run()


def _prepare_logs(config: Any, helpers: Mapping[int, NodeConfigHelper]) -> None:
    for helper in helpers.values():
        Path(helper.log_dir).mkdir(parents=True, exist_ok=True)
        Path(helper.node_info_dir).mkdir(parents=True, exist_ok=True)
    first = next(iter(helpers.values()))
    name = "-".join(helper.name for helper in helpers.values())
    Logger().enableFileLogging(str(Path(first.log_dir) / f"{name}.log"))
    getlogger().setLevel(config.logLevel)


def _node(network: record.Network, number: int, helper: NodeConfigHelper) -> LocalNode:
    node = LocalNode(
        helper.name,
        config_helper=helper,
        bootstrap_cls=RecoveringBootstrap,
        ha=HA(network.host(number), network.node_port(number)),
        cliha=HA(network.host(number), network.client_port(number)),
    )
    node.links.cut = cut.Cut(network.folder, helper.name)
    return node
