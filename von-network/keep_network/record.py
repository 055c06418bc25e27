"""What a network folder says about its network: `network.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Self

from keep_network.errors import NetworkError
from keep_network.settings import POOL

FILE = "network.json"


@dataclass(frozen=True, slots=True)
class Network:
    """One network on this machine.

    Attributes:
        first_port: Node1's port for nodes; node i uses `first_port + 2i - 2` and the next.
        made: keys and genesis are all there; False after an interrupted first start.
    """

    folder: Path
    name: str
    nodes: int
    first_port: int
    made: bool = False

    @property
    def genesis(self) -> Path:
        """The pool transactions that a client needs."""
        return self.folder / "genesis" / POOL / "pool_transactions_genesis"

    @property
    def numbers(self) -> range:
        """1 to the number of nodes."""
        return range(1, self.nodes + 1)

    @property
    def ports(self) -> range:
        """All ports, in order."""
        return range(self.first_port, self.first_port + 2 * self.nodes)

    def node_port(self, number: int) -> int:
        """Where a node listens for the other nodes."""
        return self.first_port + 2 * number - 2

    def client_port(self, number: int) -> int:
        """Where a node listens for clients."""
        return self.first_port + 2 * number - 1

    def complete(self) -> Self:
        """Say that keys and genesis are made."""
        return replace(self, made=True)


def load(folder: Path) -> Network:
    """Read the record of a network.

    Raises:
        NetworkError: there is none, or it cannot be understood.
    """
    try:
        told = json.loads((folder / FILE).read_text())
        return Network(
            folder, str(told["name"]), int(told["nodes"]), int(told["first_port"]), told["made"]
        )
    except (FileNotFoundError, NotADirectoryError):
        raise NetworkError(f"there is no network in {folder}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise NetworkError(f"{folder / FILE} is damaged: {error!r}") from error


def save(network: Network) -> None:
    """Write the record whole or not at all."""
    told = {name: value for name, value in asdict(network).items() if name != "folder"}
    draft = network.folder / f"{FILE}.new"
    draft.write_text(json.dumps(told, indent=2) + "\n")
    draft.replace(network.folder / FILE)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other commands off this network meanwhile.

    Raises:
        NetworkError: another command is at work on it.
    """
    with (folder / "lock").open("w") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise NetworkError(f"another command is at work on {folder}") from None
        yield
