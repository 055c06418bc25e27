"""Break a network on purpose: freeze, kill and cut off nodes, and heal it again."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from keep_network import arguments, control, cut, ledger, processes, record
from keep_network.arguments import Verbs, folder_of, say
from keep_network.control import AS_BEFORE
from keep_network.errors import BadInputError, NetworkError, NoWriteError
from keep_network.processes import NodeProcess
from keep_network.record import Network

BY_THEMSELVES_S = 90.0  # a busy machine needs 40 s to start a node
RESTARTED_S = 300.0


def add_verbs(verbs: Verbs) -> None:
    """Add `freeze`, `thaw`, `kill`, `partition` and `heal`."""
    freeze = arguments.verb(
        verbs, "freeze", _freeze, "stop a node as if it hangs: its connections stay open"
    )
    freeze.add_argument("nodes", type=arguments.nodes, metavar="NODE[,NODE]")
    thaw = arguments.verb(verbs, "thaw", _thaw, "continue frozen nodes")
    thaw.add_argument("nodes", type=arguments.nodes, metavar="NODE[,NODE]", nargs="?")
    kill = arguments.verb(verbs, "kill", _kill, "kill a node; it is not restarted until heal")
    kill.add_argument("nodes", type=arguments.nodes, metavar="NODE[,NODE]")
    partition = arguments.verb(
        verbs,
        "partition",
        _partition,
        "let nodes reach only their own side; all others form one more side",
    )
    partition.add_argument("sides", type=arguments.nodes, metavar="NODE,NODE", nargs="+")
    arguments.verb(verbs, "heal", _heal, "thaw, connect and start all nodes; wait for a write")


def freeze(folder: Path, numbers: Sequence[int]) -> None:
    """Stop nodes where they are; their connections stay open."""
    network = separated(folder)
    for one in _running(network, numbers):
        processes.signal(one, psutil.Process.suspend)


def thaw(folder: Path, numbers: Sequence[int] | None) -> list[NodeProcess]:
    """Let frozen nodes go on, all of them by default, and return which."""
    network = control.find(folder)
    those = _running(network, numbers) if numbers else processes.load(folder)
    frozen = [one for one in those if one.frozen()]
    for one in frozen:
        processes.signal(one, psutil.Process.resume)
    return frozen


def kill(folder: Path, numbers: Sequence[int]) -> None:
    """End nodes as a power cut would; the supervisor leaves them dead."""
    network = separated(folder)
    with record.held(folder):
        victims = _running(network, numbers)
        left = [one for one in processes.load(folder) if one not in victims]
        processes.save(folder, left)
        for one in victims:
            processes.signal(one, psutil.Process.kill)
        processes.end(victims)


def partition(folder: Path, sides: Sequence[Sequence[int]]) -> list[list[str]]:
    """Cut the network into sides and return them; nodes that are not named are one more.

    Raises:
        BadInputError: a node does not exist or is on two sides.
    """
    named = [number for side in sides for number in side]
    if len(named) != len(set(named)):
        raise BadInputError("a node can be on one side only")
    network = separated(folder, named)
    rest = [number for number in network.numbers if number not in named]
    told = [[f"Node{number}" for number in side] for side in (*sides, rest) if side]
    with record.held(folder):
        cut.save(folder, told)
    return told


def heal(folder: Path) -> None:
    """Undo all faults; every node has a write of ours when this returns.

    What the nodes do not make good by themselves, a restart does.

    Raises:
        NetworkError: it does not run, or a restart did not help.
    """
    network = control.find(folder)
    running = processes.load(folder)
    if not running:
        raise NetworkError(f"{network.name} does not run; start it first")
    thaw(folder, None)
    largest = max(map(len, cut.groups(folder)), default=len(network.numbers))
    if largest < ledger.quorum(network):
        say(
            "no side could write: restarting the nodes, because their unfinished view changes can hang"
        )
        control.restart(folder, AS_BEFORE, say)
        return
    with record.held(folder):
        cut.save(folder, [])
    owner = next(one.die_with for one in running)
    wish = replace(AS_BEFORE, die_with=owner, first_write_s=BY_THEMSELVES_S)
    try:
        control.start(folder, network.name, wish, say)
    except NoWriteError as error:
        say(f"{error}; restarting all nodes")
        control.restart(folder, replace(AS_BEFORE, first_write_s=RESTARTED_S), say)


def separated(folder: Path, numbers: Sequence[int] = ()) -> Network:
    """Return a network with a process per node; one that runs in one process is restarted.

    Raises:
        BadInputError: it has no such nodes.
        NetworkError: it does not run.
    """
    network = control.find(folder)
    _check(network, numbers)
    running = processes.load(folder)
    if not running:
        raise NetworkError(f"{network.name} does not run; start it first")
    if not any(len(one.nodes) > 1 for one in running):
        return network
    say(
        f"{network.name} runs in one process: restarting it with one process per node "
        "(restart --one-process undoes this)"
    )
    return control.restart(folder, replace(AS_BEFORE, separate=True), say)


def _check(network: Network, numbers: Sequence[int]) -> None:
    unknown = [number for number in numbers if number not in network.numbers]
    if unknown:
        raise BadInputError(
            f"there is no Node{unknown[0]}; {network.name} has Node1 to "
            f"Node{network.numbers[-1]}"
        )


def _running(network: Network, numbers: Sequence[int]) -> list[NodeProcess]:
    _check(network, numbers)
    found = {number: one for one in processes.load(network.folder) for number in one.nodes}
    dead = [number for number in numbers if number not in found]
    if dead:
        raise NetworkError(f"Node{dead[0]} does not run")
    return [found[number] for number in dict.fromkeys(numbers)]


def _freeze(args: argparse.Namespace) -> None:
    _each(args, freeze, "frozen; thaw or heal lets it go on")


def _kill(args: argparse.Namespace) -> None:
    _each(args, kill, "killed; heal or start brings it back")


def _each(
    args: argparse.Namespace, do: Callable[[Path, Sequence[int]], None], told: str
) -> None:
    _check(control.find(folder_of(args)), args.nodes)
    do(folder_of(args), args.nodes)
    for number in args.nodes:
        say(f"Node{number} is {told}")


def _thaw(args: argparse.Namespace) -> None:
    thawed = thaw(folder_of(args), args.nodes)
    say(f"{', '.join(one.names for one in thawed) or 'nothing was frozen:'} goes on")


def _partition(args: argparse.Namespace) -> None:
    sides = partition(folder_of(args), args.sides)
    say(" | ".join(",".join(side) for side in sides) + "; heal connects them")


def _heal(args: argparse.Namespace) -> None:
    heal(folder_of(args))
