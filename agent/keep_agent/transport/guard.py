"""The rules for URLs and addresses of all outbound requests (SEC-S).

URLs come from peers, issuers and invitations. A server that fetches them can be made to call
machines that only it can reach, so a URL is checked as it will be used: the parsed host here,
and each address that the host resolves to right before the connection to that very address.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from yarl import URL

from keep_agent.errors import RefusedError

MAX_URL = 8192

_Address = IPv4Address | IPv6Address
_Networks = tuple[tuple[IPv4Network | IPv6Network, str], ...]


def _networks(*rows: tuple[str, str]) -> _Networks:
    return tuple((ip_network(network), name) for network, name in rows)


_NEVER = _networks(
    ("0.0.0.0/8", "unspecified"),
    ("100.100.100.200/32", "cloud metadata"),
    ("169.254.0.0/16", "link-local"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "6to4"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("2001::/23", "Teredo or reserved"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("3fff::/20", "documentation"),
    ("fd00:ec2::/32", "cloud metadata"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
)
_PRIVATE = _networks(
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "carrier-private"),
    ("127.0.0.0/8", "loopback"),
    ("172.16.0.0/12", "private"),
    ("192.168.0.0/16", "private"),
    ("::1/128", "loopback"),
    ("fc00::/7", "private"),
)
_PUBLIC_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_METADATA_NAMES = frozenset(
    {
        "metadata",
        "metadata.goog",
        "metadata.google.internal",
        "instance-data",
        "instance-data.ec2.internal",
    }
)
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules for one agent.

    Attributes:
        allow_private: let through loopback and private networks (a local network of agents);
            link-local, metadata, multicast and reserved addresses stay refused.
        own_ports: ports that this process listens on and must not be made to call, as the
            admin API; refused on every address of this machine, whatever else is allowed.
    """

    allow_private: bool
    own_ports: frozenset[int]

    def url(self, text: str, *, https_only: bool = False) -> URL:
        """Parse a URL from outside.

        Raises:
            RefusedError: its scheme, user-info, host spelling, port or literal address is
                not one that we may call. The reason does not repeat the URL.
        """
        url = _parse(text)
        if url.scheme not in ({"https"} if https_only else {"http", "https"}):
            raise RefusedError(f"URL is not {'https' if https_only else 'http or https'}")
        if url.raw_user is not None or url.raw_password is not None:
            raise RefusedError("URL carries user-info")
        if not url.port:
            raise RefusedError("URL has no usable port")
        host = url.raw_host or ""
        if ":" in host or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            self.address(host, url.port)
        elif not _HOST.fullmatch(host):
            raise RefusedError("URL has no usable host")
        elif host.rstrip(".").lower() in _METADATA_NAMES:
            raise RefusedError("URL names a cloud metadata service")
        return url

    def address(self, text: str, port: int) -> None:
        """Check one address that we are about to connect to.

        Args:
            text: the address in its one canonical spelling; octal, hex, decimal and short
                forms are refused, since other software reads them as other addresses.
            port: the port; our own ports are refused.

        Raises:
            RefusedError: we may not connect to it.
        """
        address = _inner(_read(text))
        _refuse(address, _NEVER)
        if not self.allow_private:
            _refuse(address, _PRIVATE, "; the setting allow_private_egress allows peers there")
        if isinstance(address, IPv6Address) and not (
            address in _PUBLIC_V6 or _within(address, _PRIVATE)
        ):
            raise RefusedError("address is reserved")
        if port in self.own_ports and _is_of_this_machine(address):
            raise RefusedError("address is our own")


def _parse(text: str) -> URL:
    if len(text) > MAX_URL or _UNSAFE.search(text):
        raise RefusedError("URL is too long or has unsafe characters")
    try:
        url = URL(text)
        _ = url.port  # parsed only now; a bad one raises here
    except ValueError as error:
        raise RefusedError("URL does not parse") from error
    return url


def _read(text: str) -> _Address:
    try:
        address = ip_address(text)
    except ValueError as error:
        raise RefusedError("address is not in its canonical form") from error
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise RefusedError("address has a zone")
    return address


def _inner(address: _Address) -> _Address:
    """Return the IPv4 address in IPv4-mapped and NAT64 addresses (RFC 4291, 6052)."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _within(address: _Address, networks: _Networks) -> str | None:
    return next((name for network, name in networks if address in network), None)


def _refuse(address: _Address, networks: _Networks, hint: str = "") -> None:
    name = _within(address, networks)
    if name is not None:
        raise RefusedError(f"address is {name}{hint}")


def _is_of_this_machine(address: _Address) -> bool:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))  # only an address of ours can be bound
    except OSError:
        return False
    return True
