"""What the verbs of `manage` do to a network: prepare, start, stop, remove, look at."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keep_network import (
    addresses,
    cut,
    genesis,
    ledger,
    mend,
    ports,
    processes,
    record,
    seeds,
    supervisor,
    website,
)
from keep_network.addresses import Place
from keep_network.errors import BadInputError, NetworkError, NoWriteError
from keep_network.processes import Identity, NodeProcess
from keep_network.record import Network

NETWORKS = Path(__file__).parents[2] / ".indykeep" / "networks"
_WATCH = Path(__file__).parent / "watch.py"
_ROOM_BYTES = 50 << 20
_OURS = (*genesis.MADE, "etc", "log", "backup", "plugins", "cli", "clinet", "snapshots", "web")
_OUR_FILES = (record.FILE, processes.FILE, supervisor.FILE, cut.FILE, seeds.FILE)
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)

Say = Callable[[str], None]
Again = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user asks of a network; None where an existing network keeps what it has.

    Attributes:
        first_port: Node1's first port; None: 9701 for a new network, or any range (`auto`).
        separate: one process per node; False: all in one.
        die_with: the nodes end when this process is gone.
        web_port: of the web server; 0: none; None: 9000 for a new network, or any (`auto`).
        place: where others reach it; None: loopback for a new network.
        own_seeds: random seeds; False: those that everybody knows, as in a new network with None.
        first_write_s: how long the first write may take.
    """

    nodes: int | None
    first_port: int | None
    auto: bool
    separate: bool | None = None
    die_with: Identity | None = None
    web_port: int | None = None
    own_seeds: bool | None = None
    place: Place | None = None
    first_write_s: float = 120.0


AS_BEFORE = Wish(nodes=None, first_port=None, auto=False)


def start(folder: Path, name: str, wish: Wish, say: Say) -> Network:
    """Start a network, or the dead nodes of one that runs; return when it has taken a write.

    Raises:
        NetworkError: it could not be started; nothing that this call started is left running.
    """
    begun = time.monotonic()
    with _prepared(folder, name, wish) as network:
        _warn(network, say)
        if word := ports.warning([*network.ports, network.web_port]):
            say(word)
        bring_up(network, wish, say)
    say(f"{name} takes writes, {time.monotonic() - begun:.1f} s after the start")
    return record.load(folder)


def bring_up(network: Network, wish: Wish, say: Say) -> None:
    """Start what does not run of a network that the caller holds, and wait for a write."""
    running = processes.load(network.folder)
    groups = _missing(network, running)
    serve = bool(network.web_port) and not any(one.module == website.MODULE for one in running)
    addresses.check(network.hosts)
    wanted = [port for group in groups for n in group for port in _ports(network, n)]
    ports.check([*wanted, *([network.web_port] if serve else [])], network.hosts)
    if serve:
        website.check(network)
    for number in [] if any(one.nodes for one in running) else mend.mend(network):
        say(f"Node{number} gets the data of another node: the nodes were killed the last time")
    started: list[NodeProcess] = []
    try:
        _launch(network, groups, running, started=started, wish=wish, say=say)
        say("waiting for the first write")
        watch = _watcher(network.folder, running, started)
        asyncio.run(ledger.first_write(network, watch, wish.first_write_s))
        if serve:
            _serve(network, running, started, wish.die_with)
        _supervise(network.folder, [*running, *started], wish.die_with)
    except BaseException:
        with _undisturbed():
            processes.end(started)
            processes.save(network.folder, running)
        raise


def restart(folder: Path, wish: Wish, say: Say) -> Network:
    """Stop a network and start it again; it belongs to whom it belonged before.

    Raises:
        NetworkError: as `start`.
    """
    owner = next((one.die_with for one in processes.load(folder)), None)
    stop(folder)
    return start(folder, find(folder).name, replace(wish, die_with=owner), say)


def make_genesis(folder: Path, name: str, wish: Wish, say: Say) -> Network:
    """Make keys and genesis of a network without starting it; one that has them keeps them."""
    with _prepared(folder, name, wish) as network:
        if not network.made:
            _make(network, say)
    return record.load(folder)


def stop(folder: Path) -> list[NodeProcess]:
    """End all processes of a network and return which; the data stays."""
    record.load(folder)
    with record.held(folder):
        return end_all(folder)


def stay_down() -> None:
    """Be the `Again` of a network that did not run."""


def end_all(folder: Path) -> list[NodeProcess]:
    """End all processes of a network that the caller holds, and return which."""
    running = processes.load(folder)
    processes.end(sorted(running, key=lambda one: bool(one.nodes)))  # supervisor first
    processes.save(folder, [])
    supervisor.forget(folder)
    cut.save(folder, [])
    return running


def down(folder: Path) -> None:
    """End all processes of a network and delete its data; what is not ours stays."""
    stop(folder)
    _delete(folder)
    (folder / "lock").unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _delete(folder: Path) -> None:
    for name in _OURS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in _OUR_FILES:
        (folder / name).unlink(missing_ok=True)


def describe(network: Network) -> dict[str, Any]:
    """Say what a network is and which of its nodes run; no seed and no key is in there."""
    running = processes.load(network.folder)
    pids = {n: one.who.pid for one in running for n in one.nodes}
    names = {n: f"Node{n}" for n in network.numbers}
    return {
        "name": network.name,
        "dir": str(network.folder),
        "genesis": str(network.genesis),
        "hosts": list(network.hosts),
        "ports": {name: list(_ports(network, n)) for n, name in names.items()},
        "pids": {name: pids[n] for n, name in names.items() if n in pids},
        "web": website.url(network),
        "trustee_seed": str(network.folder / seeds.FILE) if network.own_seeds else None,
        "processes": network.separate,
        "frozen": [names[n] for one in running if one.frozen() for n in one.nodes],
        "cut": cut.groups(network.folder),
        "restarts": [
            {"nodes": [names[n] for n in one.nodes], "at": one.at, "why": one.why}
            for one in supervisor.restarts(network.folder)
        ],
    }


def find(folder: Path) -> Network:
    """Return the network in a folder.

    Raises:
        NetworkError: there is none; it names those that exist beside it.
    """
    try:
        return record.load(folder)
    except NetworkError as error:
        known = sorted(path.parent.name for path in folder.parent.glob(f"*/{record.FILE}"))
        hint = f"; there are: {', '.join(known)}" if known else ""
        raise NetworkError(f"{error}{hint}") from error


@contextmanager
def _prepared(folder: Path, name: str, wish: Wish) -> Generator[Network]:
    """Yield the network of a folder, new or known, and keep other commands off meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < _ROOM_BYTES:
        raise NetworkError(f"less than {_ROOM_BYTES >> 20} MB are free in {folder}")
    if not (folder / record.FILE).exists() and {p.name for p in folder.iterdir()} - {"lock"}:
        raise BadInputError(f"{folder} has other things in it; give a new or empty folder")
    with record.held(folder):
        known = record.load(folder) if (folder / record.FILE).exists() else None
        if known is not None and known.made:
            _refuse_change(known, wish)
            known = known.run_separately(wish.separate).serve(wish.web_port)
            known = known.called(wish.place.names if wish.place else None)
            record.save(known)
            yield known
            return
        first = None if wish.auto else wish.first_port or ports.FIRST
        nodes = wish.nodes or 4
        spare = 1 if wish.auto else 0  # of the web server
        place = wish.place or Place((addresses.LOOPBACK,), ())
        if len(place.hosts) not in {1, nodes}:
            raise BadInputError(
                f"{len(place.hosts)} addresses for {nodes} nodes: one, or {nodes}"
            )
        avoid = neighbours(folder)
        with ports.claimed(first, 2 * nodes + spare, place.hosts, avoid) as first_port:
            network = Network(
                folder,
                name,
                nodes,
                first_port,
                own_seeds=bool(wish.own_seeds),
                hosts=place.hosts,
                names=place.names,
            )
            network = network.run_separately(wish.separate)
            network = network.serve(first_port + 2 * nodes if wish.auto else website.PORT)
            network = network.serve(wish.web_port)
            record.save(network)
            if network.own_seeds:
                seeds.choose(network)
            try:
                yield network
            except BaseException:
                if not record.made(folder):  # nothing of it is worth keeping
                    _delete(folder)
                raise


def neighbours(folder: Path) -> set[int]:
    """Return the ports of the networks beside this one, running or not."""
    found: set[int] = set()
    for path in folder.parent.glob(f"*/{record.FILE}"):
        if path.parent != folder:
            other = record.load(path.parent)
            found.update([*other.ports, other.web_port])
    return found


def _refuse_change(network: Network, wish: Wish) -> None:
    together = any(len(one.nodes) > 1 for one in processes.load(network.folder))
    if wish.separate and together:
        raise BadInputError(f"{network.name} runs in one process; stop it first")
    if wish.nodes not in {None, network.nodes}:
        raise BadInputError(
            f"{network.name} has {network.nodes} nodes; remove it first (down) to have another number"
        )
    if wish.place and wish.place.hosts != network.hosts:
        raise BadInputError(
            f"{network.name} is at {', '.join(network.hosts)}, which is written on its ledger; "
            "remove it first (down) to have it elsewhere"
        )
    serves = any(one.module == website.MODULE for one in processes.load(network.folder))
    if wish.place and wish.place.names != network.names and serves:
        raise BadInputError(f"{network.name} runs under other names; stop it first")
    if wish.own_seeds not in {None, network.own_seeds}:
        raise BadInputError(
            f"{network.name} has {'random' if network.own_seeds else 'the known'} seeds, and what "
            "they sign for is on its ledger; remove it first (down) to have others"
        )
    if wish.first_port not in {None, network.first_port}:
        raise BadInputError(
            f"{network.name} is at port {network.first_port}, which is written on its ledger; "
            "remove it first (down) to have another"
        )


def _warn(network: Network, say: Say) -> None:
    """Say what others can do to a network that they reach."""
    reached = addresses.open_to(network.hosts)
    if not reached:
        return
    say(f"open to everybody who reaches {', '.join(reached)}: reading and writing the ledger")
    if not network.own_seeds:
        say(
            "they are trustees by the seeds that everybody knows, whatever the web page asks; "
            "a new network can have seeds of its own: --seeds random"
        )
    if network.web_port:
        say(
            "they register DIDs on the web server, trustees too, unless REGISTER_NEW_DIDS=False "
            "closes that or REGISTER_TOKEN names a token; and they can store tails files"
        )


def _missing(network: Network, running: list[NodeProcess]) -> list[list[int]]:
    """Group the nodes that do not run by the process that each will run in."""
    alive = {number for one in running for number in one.nodes}
    dead = [number for number in network.numbers if number not in alive]
    if network.separate or alive:
        return [[number] for number in dead]
    return [dead]


def _launch(
    network: Network,
    groups: list[list[int]],
    running: list[NodeProcess],
    *,
    started: list[NodeProcess],
    wish: Wish,
    say: Say,
) -> None:
    genesis_too = not network.made
    if genesis_too and len(groups) > 1:
        _make(network, say)
        genesis_too = False
    if groups:
        say(f"starting {sum(map(len, groups))} nodes in {len(groups)} process(es)")
    for group in groups:
        with _undisturbed():
            started.append(
                processes.spawn(
                    network.folder, group, genesis=genesis_too, die_with=wish.die_with
                )
            )
            processes.save(network.folder, [*running, *started])


def _make(network: Network, say: Say) -> None:
    say("making keys and genesis")
    with _undisturbed():
        me = Identity.of(os.getpid())
        maker = processes.spawn(network.folder, [], genesis=True, die_with=me)
    try:
        while maker.who.alive():
            time.sleep(0.05)
    except BaseException:
        with _undisturbed():
            processes.end([maker])
        raise
    if not record.load(network.folder).made:
        why = processes.last_words(network.folder, maker)
        raise NetworkError(f"keys and genesis could not be made: {why}")


def _serve(
    network: Network,
    running: list[NodeProcess],
    started: list[NodeProcess],
    die_with: Identity | None,
) -> None:
    with _undisturbed():
        started.append(website.launch(network, die_with))
        processes.save(network.folder, [*running, *started])
    website.wait(network, started[-1])


def _watcher(
    folder: Path, running: list[NodeProcess], started: list[NodeProcess]
) -> Callable[[], None]:
    def watch() -> None:
        for one in [*started, *running]:
            if one.nodes and not one.who.alive():
                why = processes.last_words(folder, one)
                if one in started:
                    raise NetworkError(f"a node stopped at once: {why}")
                raise NoWriteError(f"{one.names} died before there was a write: {why}")

    return watch


def _supervise(folder: Path, running: list[NodeProcess], die_with: Identity | None) -> None:
    """Let a process of its own start again what dies, unless one does so already."""
    if any(one.module == "supervisor" for one in running):
        return
    with _undisturbed():
        out = folder / "log" / "supervisor.out"
        words = ["-S", "-P", str(_WATCH), str(folder)]
        who = processes.run_python(folder, words, out, die_with)
        processes.save(folder, [*running, NodeProcess(who, (), die_with, "supervisor")])


def _ports(network: Network, number: int) -> tuple[int, int]:
    return network.node_port(number), network.client_port(number)


@contextmanager
def _undisturbed() -> Generator[None]:
    """Let SIGINT and SIGTERM wait; a child that starts meanwhile lets them in again itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
