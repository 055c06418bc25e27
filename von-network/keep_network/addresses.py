"""Where a network is reached: addresses of this machine, and names for its web server."""

from __future__ import annotations

import argparse
import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

from keep_network.errors import BadInputError

LOOPBACK = "127.0.0.1"
CLASSIC = ("IPS", "IP", "DOCKERHOST")
"""The classic server's variables, the first that is set counts."""

_NAME = re.compile(r"(?=.*[a-z])[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a network is to be reached.

    Attributes:
        hosts: IPv4 addresses of this machine: one for all nodes, or one for each.
        names: what others call the web server; lower case.
    """

    hosts: tuple[str, ...]
    names: tuple[str, ...]


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add `--host`."""
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        help="where others reach a new network: an IPv4 address of this machine (or one for each "
        "node, with commas between), or a name of it; names besides are those by which the web "
        "server is called. Default: IPS, IP or DOCKERHOST of the environment, else 127.0.0.1, "
        "which only this machine reaches",
    )


def wanted(option: str | None, env: Mapping[str, str], *, new: bool) -> Place | None:
    """Return where a network is to be; None: where it is, or on loopback.

    Args:
        new: it has no addresses on its ledger yet; for another one the environment, which may
            have been meant for something else, changes nothing.

    Raises:
        BadInputError: it is no address of this machine; it says what told it.
    """
    if option is not None:
        return read(option, "--host")
    told = next((name for name in CLASSIC if env.get(name)), None)
    return read(env[told], told) if told and new else None


def read(text: str, source: str) -> Place:
    """Read addresses and names with commas between.

    Raises:
        BadInputError: one is neither, or no address of this machine.
    """
    words = [word.strip().lower() for word in text.split(",")]
    hosts = [word for word in words if _is_address(word)]
    names = tuple(word for word in words if word not in hosts)
    for name in names:
        if not _NAME.fullmatch(name):
            raise BadInputError(f"{source}: {name!r} is no IPv4 address and no name of a host")
    hosts = hosts or [_resolved(names[0], source)]
    check(hosts, source)
    return Place(tuple(hosts), names)


def check(hosts: Sequence[str], source: str = "the ledger") -> None:
    """Refuse addresses that nodes here could not listen on.

    Raises:
        BadInputError: it names the addresses that this machine has.
    """
    for host in hosts:
        if not _is_here(host):
            raise BadInputError(
                f"{source}: this machine has no address {host} to be reached at; it has "
                f"{', '.join(_here())}"
            )


def open_to(hosts: Sequence[str]) -> list[str]:
    """Return those of the addresses that other machines or containers may reach."""
    return [host for host in dict.fromkeys(hosts) if not _of(host).is_loopback]


def _of(host: str) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(host)


def _is_address(word: str) -> bool:
    try:
        _of(word)
    except ValueError:
        return False
    return True


def _resolved(name: str, source: str) -> str:
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise BadInputError(
            f"{source}: {name} has no IPv4 address ({error.strerror}); name one beside it: "
            f"--host ADDRESS,{name}"
        ) from error
    return str(found[0][4][0])


def _is_here(host: str) -> bool:
    if not (_of(host).is_loopback or host in _here()):
        return False  # a broadcast address can be listened on, too
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
        return True


def _here() -> list[str]:
    found = psutil.net_if_addrs().values()
    return [one.address for all_of in found for one in all_of if one.family == socket.AF_INET]
