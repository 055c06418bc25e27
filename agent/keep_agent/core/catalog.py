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
from keep_agent.errors import BadCommandError, KeepError

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
        try:
            protocol = _checked(entry.load(), OUR_PORTS.union(ports))
        except (KeepError, ValueError, ImportError, AttributeError, TypeError) as error:
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
    """Return a protocol by any spelling of its name: that of events, paths or files.

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


def _port(entry: EntryPoint) -> PortFactory:
    try:
        factory = entry.load()
    except (ValueError, ImportError, AttributeError) as error:
        raise BadCommandError(f"port {entry.name} ({entry.value}): {error}") from error
    if not callable(factory):
        raise BadCommandError(f"port {entry.name} ({entry.value}): it cannot be called")
    return cast("PortFactory", factory)


def _checked(protocol: object, ports: frozenset[str]) -> Protocol[Any]:
    """Return a protocol that can work.

    Raises:
        ValueError: it cannot; the text says why.
    """
    if not isinstance(protocol, Protocol):
        raise ValueError("it is not a Protocol")  # noqa: TRY004 - reported like every other reason
    known = cast("Protocol[Any]", protocol)  # type: ignore[redundant-cast]  # pyright wants it
    if known.port is not None and known.port not in ports:
        raise ValueError(
            f"it asks for the port {known.port!r}, which is not installed; "
            f"a package adds one by an entry point in the group {PORTS}"
        )
    try:
        known.data()
    except ValueError as error:
        raise ValueError(
            "its data model needs values at the start; give its fields defaults"
        ) from error
    return known
