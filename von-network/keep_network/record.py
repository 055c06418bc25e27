"""What a network folder says about its network: `network.json`."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import IO, Self

from keep_network.addresses import LOOPBACK
from keep_network.errors import NetworkError
from keep_network.settings import POOL

FILE = "network.json"
_MOMENT_S = 2.0  # what the supervisor needs to start a node again


@dataclass(frozen=True, slots=True)
class Network:
    """One network on this machine.

    Attributes:
        nodes: how many it was made with.
        first_port: Node1's port for nodes; node i uses `first_port + 2i - 2` and the next.
        made: keys and genesis are all there; False after an interrupted first start.
        separate: one process per node.
        added: the first of two ports of each node that joined later.
        web_port: where its web server listens; 0: it has none.
        hosts: the addresses of its nodes: one for all, or one for each.
        names: what others call its web server, beside addresses and localhost.
        own_seeds: its seeds are random, and not those that everybody knows.
    """

    folder: Path
    name: str
    nodes: int
    first_port: int
    made: bool = False
    separate: bool = False
    added: tuple[int, ...] = ()
    web_port: int = 0
    own_seeds: bool = False
    hosts: tuple[str, ...] = (LOOPBACK,)
    names: tuple[str, ...] = ()

    @property
    def genesis(self) -> Path:
        """The pool transactions that a client needs."""
        return self.folder / "genesis" / POOL / "pool_transactions_genesis"

    @property
    def numbers(self) -> range:
        """1 to the number of nodes, those that joined later included."""
        return range(1, self.nodes + len(self.added) + 1)

    @property
    def ports(self) -> list[int]:
        """All ports, in the order of the nodes."""
        return [p for n in self.numbers for p in (self.node_port(n), self.client_port(n))]

    def host(self, number: int) -> str:
        """The address that a node is at; one that joined later is at that of Node1."""
        return self.hosts[number - 1 if number <= len(self.hosts) else 0]

    def node_port(self, number: int) -> int:
        """Where a node listens for the other nodes."""
        if number > self.nodes:
            return self.added[number - self.nodes - 1]
        return self.first_port + 2 * number - 2

    def client_port(self, number: int) -> int:
        """Where a node listens for clients."""
        return self.node_port(number) + 1

    def complete(self) -> Self:
        """Say that keys and genesis are made."""
        return replace(self, made=True)

    def run_separately(self, separate: bool | None) -> Self:  # noqa: FBT001 - None: as before
        """Say whether each node has a process of its own from now on."""
        return self if separate is None else replace(self, separate=separate)

    def serve(self, web_port: int | None) -> Self:
        """Say where its web server listens from now on; None: as before."""
        return self if web_port is None else replace(self, web_port=web_port)

    def called(self, names: tuple[str, ...] | None) -> Self:
        """Say what others call its web server from now on; None: as before."""
        return self if names is None else replace(self, names=names)

    def join(self, port: int) -> Self:
        """Say that one more node has joined; it has this port and the next."""
        return replace(self, added=(*self.added, port))


def load(folder: Path) -> Network:
    """Read the record of a network.

    Raises:
        NetworkError: there is none, or it cannot be understood.
    """
    try:
        told = json.loads((folder / FILE).read_text())
        return Network(
            folder,
            str(told["name"]),
            int(told["nodes"]),
            int(told["first_port"]),
            told["made"],
            told["separate"],
            tuple(told["added"]),
            int(told.get("web_port", 0)),
            bool(told.get("own_seeds", False)),
            tuple(told.get("hosts", (LOOPBACK,))),
            tuple(told.get("names", ())),
        )
    except (FileNotFoundError, NotADirectoryError):
        raise NetworkError(f"there is no network in {folder}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise NetworkError(f"{folder / FILE} is damaged: {error!r}") from error


def made(folder: Path) -> bool:
    """Say whether a folder has a network whose keys and genesis are made."""
    return (folder / FILE).exists() and load(folder).made


def save(network: Network) -> None:
    """Write the record whole or not at all."""
    told = {name: value for name, value in asdict(network).items() if name != "folder"}
    draft = network.folder / f"{FILE}.new"
    draft.write_text(json.dumps(told, indent=2) + "\n")
    draft.replace(network.folder / FILE)


@contextmanager
def held(folder: Path) -> Generator[None]:
    """Keep other commands off this network meanwhile.

    Raises:
        NetworkError: another command is using it, and not just for a moment.
    """
    deadline = time.monotonic() + _MOMENT_S
    with (folder / "lock").open("w") as file:
        while not _locked(file):
            if time.monotonic() > deadline:
                raise NetworkError(f"another command is using {folder}")
            time.sleep(0.02)
        yield


@contextmanager
def held_if_free(folder: Path) -> Generator[bool]:
    """As `held`, but say False when another command is at work, or the network is gone."""
    try:
        file = (folder / "lock").open("r+")  # a folder that is being removed gets no new file
    except FileNotFoundError:
        yield False
        return
    with file:
        yield _locked(file)


def _locked(file: IO[str]) -> bool:
    try:
        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True
