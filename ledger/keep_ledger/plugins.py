"""Several ledgers at once: opened by entry point (`indykeep.ledgers`), chosen by DID namespace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, Self, TypeVar

from keep_ledger.errors import BadIdError, LedgerError
from keep_ledger.identifiers import Did, check_namespace, parse
from keep_ledger.interface import (
    CredDef,
    Failed,
    Finished,
    LedgerStatus,
    Nym,
    Prepared,
    Registry,
    Resolved,
    Result,
    Schema,
    TaaAcceptance,
)
from keep_ledger.json_object import Json
from keep_ledger.writes import Write, target

GROUP = "indykeep.ledgers"

Fetch = Callable[[str], Awaitable[bytes]]
"""Download a URL. Given by the caller, who decides what may be fetched; raises OSError on failure."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    """One network, as configured.

    Attributes:
        plugin: name of the entry point, for example `indy`.
        namespace: its did:indy namespace, for example `bcovrin:test`.
        genesis: path or URL of the pool's genesis transactions; None where none is needed.
        cache: folder for cached objects (made if needed); None caches nothing.
    """

    plugin: str
    namespace: str
    genesis: str | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        check_namespace(self.namespace)


class OpenLedger(Protocol):
    """What an entry point of `indykeep.ledgers` must be: it opens a registry without connecting."""

    def __call__(self, config: LedgerConfig, fetch: Fetch) -> Registry:
        """Make a registry; it downloads only with `fetch`."""
        ...


class Ledgers:
    """The configured networks, in order.

    An id that names its network is read there. One that does not is read from each network in turn until
    it is found; a network that does not answer ends the search, since the object may be there. An
    unqualified write goes to the first network.
    """

    def __init__(self, registries: Sequence[Registry]) -> None:
        if len({registry.namespace for registry in registries}) != len(registries):
            raise LedgerError("two ledgers are configured under one namespace")
        self._registries = tuple(registries)

    @classmethod
    def open(cls, configs: Sequence[LedgerConfig], fetch: Fetch) -> Self:
        """Open every configured network, without contacting any.

        Raises:
                    LedgerError: no such plugin, a namespace twice, or a genesis file that is not one.
        """
        plugins = {entry.name: entry for entry in entry_points(group=GROUP)}
        opened: list[Registry] = []
        for config in configs:
            if config.plugin not in plugins:
                known = ", ".join(sorted(plugins)) or "none"
                raise LedgerError(
                    f"there is no ledger plugin {config.plugin!r}; there are: {known}"
                )
            opener: OpenLedger = plugins[config.plugin].load()
            opened.append(opener(config, fetch))
        return cls(opened)

    def of(self, identifier: str) -> tuple[Registry, ...]:
        """The networks that may have this id, in order; never empty.

        Raises:
            BadIdError: it is not an id of Indy, or its network is not configured.
        """
        found = parse(identifier)
        namespace = found.namespace if isinstance(found, Did) else found.did.namespace
        fitting = tuple(r for r in self._registries if namespace in (None, r.namespace))
        if not fitting:
            raise BadIdError(f"{identifier} is of no configured network")
        return fitting

    async def _first(
        self, identifier: str, read: Callable[[Registry], Awaitable[Found | None]]
    ) -> Found | None:
        for registry in self.of(identifier):
            found = await read(registry)
            if found is not None:
                return found
        return None

    async def get_nym(self, did: str) -> Nym | None:
        """See `Registry`."""
        return await self._first(did, lambda registry: registry.get_nym(did))

    async def get_attrib(self, did: str, name: str) -> Json | None:
        """See `Registry`."""
        return await self._first(did, lambda registry: registry.get_attrib(did, name))

    async def get_schema(self, schema_id: str) -> Schema | None:
        """See `Registry`."""
        return await self._first(schema_id, lambda registry: registry.get_schema(schema_id))

    async def get_cred_def(self, cred_def_id: str) -> CredDef | None:
        """See `Registry`."""
        return await self._first(
            cred_def_id, lambda registry: registry.get_cred_def(cred_def_id)
        )

    async def resolve(self, did: str) -> Resolved | None:
        """See `Registry`."""
        return await self._first(did, lambda registry: registry.resolve(did))

    async def locate(self, did: str) -> tuple[str, Resolved] | None:
        """As `resolve`, with the namespace of the network that has the DID."""
        for registry in self.of(did):
            found = await registry.resolve(did)
            if found is not None:
                return registry.namespace, found
        return None

    async def prepare(
        self,
        write: Write,
        submitter: str,
        *,
        endorser: str | None = None,
        taa: TaaAcceptance | None = None,
    ) -> Prepared:
        """See `Registry`."""
        registry = self.of(target(write))[0]
        return await registry.prepare(write, submitter, endorser=endorser, taa=taa)

    async def submit(self, prepared: Prepared, signatures: Mapping[str, bytes]) -> Result:
        """See `Registry`; sent to the network for which it was prepared."""
        return await self.network(prepared.namespace).submit(prepared, signatures)

    async def find(self, write: Write) -> Finished | Failed | None:
        """See `Registry`."""
        return await self.of(target(write))[0].find(write)

    async def confirm(self, write: Write) -> Finished | Failed:
        """See `Registry`."""
        return await self.of(target(write))[0].confirm(write)

    def network(self, namespace: str) -> Registry:
        """The network of that name: for its agreement, its status.

        Raises:
            BadIdError: it is not configured.
        """
        for registry in self._registries:
            if registry.namespace == namespace:
                return registry
        known = ", ".join(each.namespace for each in self._registries) or "none"
        raise BadIdError(f"the network {namespace!r} is not configured; there are: {known}")

    def status(self) -> tuple[LedgerStatus, ...]:
        """The status of each network, in the configured order."""
        return tuple(registry.status() for registry in self._registries)

    async def close(self) -> None:
        """Close all networks."""
        for registry in self._registries:
            await registry.close()
