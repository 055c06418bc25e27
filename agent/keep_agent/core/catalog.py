"""The protocols of this installation: loaded by entry point, checked, and found by name.

| entry-point group | an entry is |
|---|---|
| `indykeep.protocols` | a `Protocol`; the name of the entry is its name in paths of the API |
| `indykeep.ports` | a function that takes a tenant and returns the port of that name (`Protocol.port`) |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from keep_agent.core.machine import Data, Protocol
from keep_agent.core.protocol_checks import checked
from keep_agent.errors import BadCommandError

PROTOCOLS, PORTS = "indykeep.protocols", "indykeep.ports"

OUR_PORTS = frozenset({"out_of_band", "did_exchange", "features", "credentials", "proofs"})
"""The ports that every tenant has."""

_ROUTE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

PortFactory = Callable[[Any], object]
"""Makes a port for a tenant (`tenants.tenant.Tenant`)."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """The protocols and ports of this installation.

    Attributes:
        routes: protocols by their name in paths.
        ports: ports from other packages, by the name in `Protocol.port`.
    """

    routes: Mapping[str, Protocol[Any]]
    ports: Mapping[str, PortFactory]

    @property
    def protocols(self) -> dict[str, Protocol[Any]]:
        """The same protocols by `family/major`."""
        return {protocol.name: protocol for protocol in self.routes.values()}

    @property
    def models(self) -> dict[str, type[Data]]:
        """What exchanges of each protocol remember, by `family/major`."""
        return {name: protocol.data for name, protocol in self.protocols.items()}


def load_catalog() -> Catalog:
    """Load every protocol and port that this installation offers.

    Raises:
        BadCommandError: one cannot be loaded or cannot work; the text names its entry point.
    """
    ports = {entry.name: _port(entry) for entry in entry_points(group=PORTS)}
    if clash := OUR_PORTS.intersection(ports):
        raise BadCommandError(f"port {min(clash)}: the agent itself has a port of that name")
    routes: dict[str, Protocol[Any]] = {}
    for entry in entry_points(group=PROTOCOLS):
        found = _loaded(entry, "protocol")
        try:
            protocol = checked(found, OUR_PORTS.union(ports))
        except Exception as error:  # its models are code of others, too
            raise BadCommandError(f"protocol {entry.name} ({entry.value}): {error}") from error
        twin = next((name for name, p in routes.items() if p.name == protocol.name), None)
        if twin is not None or entry.name in routes or not _ROUTE.fullmatch(entry.name):
            why = (
                f"{protocol.name} is there already, as the entry {twin}"
                if twin
                else "the name of an entry must be unique and have only small letters, digits and hyphens"
            )
            raise BadCommandError(f"protocol {entry.name} ({entry.value}): {why}")
        routes[entry.name] = protocol
    return Catalog(routes, ports)


def find_protocol(protocols: Iterable[Protocol[Any]], text: str) -> Protocol[Any] | None:
    """Return a protocol by any form of its name: that of events, paths or files.

    `trust_ping/1`, `trust-ping`, `trust_ping` and `trust-ping-1` are the same; without a major version the newest
    one is meant.
    """
    wanted = _squeezed(text)
    newest_first = sorted(protocols, key=lambda p: p.name, reverse=True)
    for protocol in newest_first:
        if _squeezed(protocol.name) == wanted:
            return protocol
    for protocol in newest_first:
        if _squeezed(protocol.name.partition("/")[0]) == wanted:
            return protocol
    return None


def _squeezed(text: str) -> str:
    return re.sub(r"[-_/]", "", text.lower())


def _loaded(entry: EntryPoint, what: str) -> Any:
    """Load what another package offers.

    Raises:
        BadCommandError: it cannot be loaded; its module can fail in any way.
    """
    try:
        return entry.load()
    except Exception as error:  # the top of the code of others: whoever installed it learns why
        plain = isinstance(error, (ImportError, AttributeError, ValueError, TypeError))
        why = str(error) if plain else f"{type(error).__name__}: {error}"
        raise BadCommandError(f"{what} {entry.name} ({entry.value}): {why}") from error


def _port(entry: EntryPoint) -> PortFactory:
    factory = _loaded(entry, "port")
    if not callable(factory):
        raise BadCommandError(f"port {entry.name} ({entry.value}): it cannot be called")
    return cast("PortFactory", factory)
