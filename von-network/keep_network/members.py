"""Let one more node join a network."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from dataclasses import replace
from pathlib import Path

from keep_network import arguments, control, ledger, ports, processes, record
from keep_network.arguments import Verbs, folder_of, say
from keep_network.control import AS_BEFORE
from keep_network.errors import NetworkError
from keep_network.processes import Identity
from keep_network.record import Network


def add_verbs(verbs: Verbs) -> None:
    """Add `add-node`."""
    arguments.verb(verbs, "add-node", _add_node, "add a node and its steward")


def add_node(folder: Path) -> int:
    """Register a steward and a node, start it, and return its number once it has a write.

    Its seed is that of its name, as for the others; its ports are the next ones, or any two
    if those are taken.

    Raises:
        NetworkError: the network does not run, or did not take the transactions.
    """
    with record.held(folder):
        network = control.find(folder)
        running = processes.load(folder)
        if not running:
            raise NetworkError(f"{network.name} does not run; start it first")
        number = network.numbers[-1] + 1
        avoid = control.neighbours(folder)
        with ports.claimed(_next_port(network, avoid), 2, network.hosts, avoid) as port:
            say(f"making the keys of Node{number}")
            keys = _keys(network, number)
            asyncio.run(ledger.add_node(network, number, port, keys))
            grown = network.join(port)
            record.save(grown)
            control.bring_up(grown, replace(AS_BEFORE, die_with=running[0].die_with), say)
    return number


def _next_port(network: Network, avoid: set[int]) -> int | None:
    first = network.ports[-1] + 1
    good = all(
        port not in avoid and ports.free(port, network.hosts) for port in (first, first + 1)
    )
    return first if good else None


def _keys(network: Network, number: int) -> dict[str, str]:
    """Let a process make the keys, as plenum does not come into this one."""
    me = Identity.of(os.getpid())
    out = processes.output(network.folder, ())
    words = ["none", "--keys", str(number)]
    maker = processes.NodeProcess(processes.run(network.folder, "node", words, out, me), ())
    while maker.who.alive():
        time.sleep(0.05)
    try:
        return dict(json.loads(out.read_text().splitlines()[-1]))
    except (IndexError, ValueError):
        why = processes.last_words(network.folder, maker)
        raise NetworkError(f"the keys could not be made: {why}") from None


def _add_node(args: argparse.Namespace) -> None:
    number = add_node(folder_of(args))
    say(f"Node{number} has joined")
