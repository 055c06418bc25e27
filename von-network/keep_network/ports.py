"""Ports on the addresses of a network: who holds one, and ranges that nobody else is about to take."""

from __future__ import annotations

import json
import os
import random
import socket
import tempfile
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import IO, Any

import psutil

from keep_network.addresses import LOOPBACK
from keep_network.errors import NetworkError
from keep_network.processes import Identity

FIRST = 9701
AUTO = range(26000, 32000)
"""Where `auto` looks: above what demos and tests give to agents, below ports of outgoing connections."""


_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True, slots=True)
class Claim:
    """Ports that a command is about to use; void when that command is gone."""

    who: Identity
    first: int
    count: int

    @property
    def ports(self) -> range:
        """The claimed ports."""
        return range(self.first, self.first + self.count)


@contextmanager
def claimed(
    first: int | None, count: int, hosts: Collection[str], avoid: Collection[int] = ()
) -> Generator[int]:
    """Reserve a range until the block ends, and return its first port.

    Two commands of one user never get overlapping ranges, as both write their claim under one
    lock. Other users' programs are seen when they listen.

    With None as first port any free range is chosen, but none of the ports to avoid, which
    may be free now.

    Raises:
        NetworkError: a port is taken; it says by whom.
    """
    me = Identity.of(os.getpid())
    with _claims() as claims:
        claims[:] = [claim for claim in claims if claim.who.alive()]
        if first is None:
            first = _free_range(count, hosts, {*avoid, *(p for c in claims for p in c.ports)})
        else:
            check(range(first, first + count), hosts, claims)
        mine = Claim(me, first, count)
        claims.append(mine)
    try:
        yield first
    finally:
        with _claims() as claims:
            claims[:] = [claim for claim in claims if claim != mine]


def check(
    ports: Collection[int], hosts: Collection[str], claims: Collection[Claim] = ()
) -> None:
    """Make sure that all ports are free, on loopback and on these addresses.

    Raises:
        NetworkError: one is not; it names the process where the system tells.
    """
    for port in ports:
        starting = next((claim for claim in claims if port in claim.ports), None)
        if starting or not free(port, hosts):
            who = (
                f"a network that is starting (process {starting.who.pid})" if starting else None
            )
            raise NetworkError(
                f"port {port} is taken by {who or holder(port)}; "
                "stop that process, or let a new network choose its ports: --port-base auto"
            )


def free(port: int, hosts: Collection[str]) -> bool:
    """Say whether we could listen on a port, on loopback and on these addresses."""
    return all(_free(port, host) for host in {LOOPBACK, *hosts})


def _free(port: int, host: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def warning(ports: Collection[int]) -> str:
    """Say what is risky about some ports; empty if nothing is."""
    outgoing = _outgoing()
    if not any(port in outgoing for port in ports):
        return ""
    return (
        f"ports from {outgoing.start} to {outgoing.stop - 1} are those of outgoing connections here: "
        "another program may have one of ours when the network starts again; take lower ones"
    )


def _outgoing() -> range:
    """Return the ports that the system gives to outgoing connections (Linux; else the standard's)."""
    try:
        first, last = map(int, _OUTGOING.read_text().split())
    except (OSError, ValueError):
        return range(49152, 65536)
    return range(first, last + 1)


def answers(port: int, host: str) -> bool:
    """Say whether somebody accepts connections on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def holder(port: int) -> str:
    """Describe the process that listens on a port, as far as the system tells us."""
    try:
        found = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS tells only root
        found = []
    pids = [c.pid for c in found if c.laddr and c.laddr.port == port and c.pid]
    try:
        process = psutil.Process(pids[0])
        return f"process {process.pid} ({process.name()})"
    except (IndexError, psutil.Error):
        return "a process of another user"


def _free_range(count: int, hosts: Collection[str], avoid: Collection[int]) -> int:
    starts = list(range(AUTO.start, AUTO.stop - count, count))
    random.shuffle(starts)
    for first in starts:
        ports = range(first, first + count)
        if not any(port in avoid for port in ports) and all(
            free(port, hosts) for port in ports
        ):
            return first
    raise NetworkError(f"no {count} free ports in a row between {AUTO.start} and {AUTO.stop}")


@contextmanager
def _claims() -> Generator[list[Claim]]:
    """Read the claims of all commands of this user, and write them back changed."""
    folder = Path(tempfile.gettempdir()) / f"indykeep-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.geteuid():
        raise NetworkError(f"{folder} belongs to somebody else")
    with (folder / "ports.json").open("a+") as file:
        flock(file, LOCK_EX)
        claims = _read(file)
        yield claims
        file.seek(0)
        file.truncate()
        json.dump([asdict(claim) for claim in claims], file)


def _read(file: IO[str]) -> list[Claim]:
    file.seek(0)
    try:
        told: list[dict[str, Any]] = json.loads(file.read())
    except ValueError:  # new, or torn by a command that was killed
        return []
    return [Claim(Identity(**one["who"]), one["first"], one["count"]) for one in told]
