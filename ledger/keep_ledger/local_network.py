"""A real Indy network on this machine, for tests and drills.

The nodes are not in this package but in a checkout of Indykeep. It is found when the package is
installed from it in editable mode; otherwise INDYKEEP_CHECKOUT names it. The nodes' environment
is made there on first use.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = "INDYKEEP_CHECKOUT"
_VENV = "INDYKEEP_NODE_VENV"
_LONGEST_S = 600  # the first use downloads the nodes


class IndyNetworkError(Exception):
    """The network refused or failed; the message is that of `manage`."""


@dataclass(frozen=True, slots=True)
class Trustee:
    """The DID that may write anything on a local network; its seed is well known."""

    did: str = "V4SGRU86Z58d6TV7PBUe6f"
    verkey: str = "GJ1SzoWzavQYfNL9XkaJdrQejfztN4XqdsiV4ct3LXKL"
    seed: str = field(default="000000000000000000000000Trustee1", repr=False)


class IndyNetwork:
    """A running network in a folder of its own; it ends with the process of the tests.

    Nodes are numbered from 1. The first fault restarts the network with one process for each node,
    which takes about 10 s. Faults last until `heal`, also after the test that made them.

    Attributes:
        folder: where its data is.
        trustee: who may write.
    """

    def __init__(self, folder: Path, *, processes: bool = False) -> None:
        """Start it; it has accepted a write when this returns.

        Args:
            folder: new or empty, or that of a stopped network.
            processes: begin with one process for each node.

        Raises:
            IndyNetworkError: it did not start.
        """
        self.folder = folder
        self.trustee = Trustee()
        self._mode = ["--processes"] if processes else []
        self.start()

    @property
    def genesis(self) -> Path:
        """The file with the pool transactions, for clients."""
        return Path(self._told["genesis"])

    @property
    def ports(self) -> dict[str, tuple[int, int]]:
        """The ports of each node by its name: for other nodes, and for clients."""
        return {name: (pair[0], pair[1]) for name, pair in self._told["ports"].items()}

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each running node, by its name."""
        return dict(self.status()["pids"])

    def status(self) -> dict[str, Any]:
        """Return what `manage status --json` says."""
        return dict(json.loads(self.manage("status", "--json")))

    async def register(self, did: str, verkey: str, role: str = "ENDORSER") -> None:
        """Write a DID as trustee; every node that answers has it when this returns.

        Args:
            did: 16 bytes in base58, without prefix.
            verkey: 32 bytes in base58.
            role: ENDORSER, TRUSTEE, STEWARD or none.

        Raises:
            IndyNetworkError: it is registered with something else, or malformed.
        """
        words = (f"--did={did}", f"--verkey={verkey}", f"--role={role}")
        await asyncio.to_thread(self.manage, "register", *words)

    def start(self) -> None:
        """Start it, or its dead nodes; every node has a write when this returns."""
        words = ["--json", "--die-with", str(os.getpid()), *self._mode]
        if not (self.folder / "network.json").exists():
            words += ["--port-base", "auto", "--web-port", "none", "--host", "127.0.0.1"]
        self._told: dict[str, Any] = json.loads(self.manage("start", *words))

    def stop(self) -> None:
        """Stop it; `start` starts it again with its data."""
        self.manage("stop")

    def kill(self, *nodes: int) -> None:
        """Kill nodes, as a power cut of their machines would."""
        self.manage("kill", _comma(nodes))

    def freeze(self, *nodes: int) -> None:
        """Let nodes hang: their connections stay open, and they send nothing."""
        self.manage("freeze", _comma(nodes))

    def partition(self, *sides: tuple[int, ...]) -> None:
        """Separate nodes into sides that cannot reach each other; unnamed nodes are one more side."""
        self.manage("partition", *map(_comma, sides))

    def heal(self) -> None:
        """Undo all faults; every node has a write when this returns."""
        self.manage("heal")

    def snapshot(self, name: str) -> None:
        """Save the state of the ledgers under a name; the network stops for a moment."""
        self.manage("snapshot", name)

    def restore(self, name: str) -> None:
        """Go back to a snapshot; the network stops for a moment."""
        self.manage("restore", name)

    def reset(self) -> None:
        """Empty the ledgers; addresses and snapshots stay."""
        self.manage("reset")

    def manage(self, verb: str, *words: str) -> str:
        """Run a command of `manage` on this network, and return what it printed.

        Raises:
            IndyNetworkError: it failed; the message is its error output.
        """
        result = run(verb, "--dir", str(self.folder), *words)
        if result.returncode:
            raise IndyNetworkError(result.stderr.strip())
        return result.stdout


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a checkout's `manage` to its end.

    Raises:
        IndyNetworkError: there is no checkout.
    """
    return subprocess.run(  # noqa: S603 - our own program
        [*_manage_program(), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST_S,
    )


def _manage_program() -> list[str]:
    checkout = Path(os.environ.get(CHECKOUT) or Path(__file__).parents[2])
    inner = checkout / "von-network" / "manage"
    if not inner.exists():
        raise IndyNetworkError(
            f"{checkout} is not a checkout of Indykeep: the nodes of indy_network are not in the "
            f"package; set {CHECKOUT} to a checkout"
        )
    if os.environ.get(_VENV):
        return [str(inner)]
    return [str(checkout / "manage"), "network"]  # makes the nodes' environment if needed


def _comma(nodes: tuple[int, ...]) -> str:
    return ",".join(map(str, nodes))
