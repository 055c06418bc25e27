"""Ledger objects for AnonCreds, by ids in either form (did:indy and the older one).

An id without a network is looked up in every configured network, in order, and from then on names the
network that had it: two networks can have the same DID, and a request about one of them must not be
answered with a credential of the other.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol as Port
from typing import TypeVar

from keep_agent.core.message import Json
from keep_agent.credentials.formats import Ids
from keep_agent.credentials.spelling import unqualified
from keep_agent.errors import UnavailableError
from keep_ledger.errors import BadIdError, LedgerUnavailableError
from keep_ledger.identifiers import CredDefId, SchemaId, parse, qualify
from keep_ledger.interface import CredDef, Registry, Schema

KEPT = 256
RETRY_PAUSES_S = (0.3, 0.7, 2.0)
"""How long to wait before an object that is not found is read again: a node may be a little behind."""

Found = TypeVar("Found")


class Networks(Port):
    """The configured networks; see `keep_ledger.plugins.Ledgers`."""

    def of(self, identifier: str, /) -> Sequence[Registry]:
        """Return the networks that may have this id; raises BadIdError."""
        ...


class LedgerObjects:
    """Reads what AnonCreds needs from the networks. Every read may raise UnavailableError."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._values: OrderedDict[str, Json] = OrderedDict()

    async def cred_def(self, cred_def_id: str) -> CredDef | None:
        """Return a credential definition, with ids that name its network; None: there is none."""
        return await self._find_with_retries(
            cred_def_id, lambda network, text: network.get_cred_def(text)
        )

    async def schema(self, schema_id: str) -> Schema | None:
        """Return a schema, with ids that name its network; None: there is none."""
        return await self._find_with_retries(
            schema_id, lambda network, text: network.get_schema(text)
        )

    def names(self, text: str) -> list[str]:
        """Return an id with each network that may have it, in order; empty: there is none."""
        try:
            return [qualify(text, network.namespace) for network in self._networks.of(text)]
        except BadIdError:
            return []

    async def named(self, texts: Iterable[str]) -> dict[str, str]:
        """Return each id in the form that names its network, if a network has it."""
        return {text: await self._named(text) for text in set(texts)}

    def cred_def_json(self, found: CredDef, ids: Ids) -> Json:
        """Return a credential definition for the library, with ids in either form."""
        value = self._values.get(found.id)
        if value is None:
            value = self._values[found.id] = json.loads(found.value)
            if len(self._values) > KEPT:
                self._values.popitem(last=False)
        spell = unqualified if ids == "unqualified" else str
        return {
            "issuerId": spell(found.issuer_id),
            "schemaId": spell(found.schema_id),
            "type": "CL",
            "tag": found.tag,
            "value": value,
        }

    def schema_json(self, found: Schema, ids: Ids) -> Json:
        """Return a schema for the library, with ids in either form."""
        return {
            "issuerId": unqualified(found.issuer_id)
            if ids == "unqualified"
            else found.issuer_id,
            "name": found.name,
            "version": found.version,
            "attrNames": list(found.attr_names),
        }

    async def _named(self, text: str) -> str:
        try:
            networks, kind = self._networks.of(text), parse(text)
        except BadIdError:
            return text
        if len(networks) == 1:
            return qualify(text, networks[0].namespace)
        read = _did_of
        if isinstance(kind, CredDefId):
            read = _cred_def_of
        elif isinstance(kind, SchemaId):
            read = _schema_of
        return await self._find(text, read) or text

    async def _find_with_retries(
        self, text: str, read: Callable[[Registry, str], Awaitable[Found | None]]
    ) -> Found | None:
        found = await self._find(text, read)
        for pause in RETRY_PAUSES_S:
            if found is not None:
                break
            await asyncio.sleep(pause)
            found = await self._find(text, read)
        return found

    async def _find(
        self, text: str, read: Callable[[Registry, str], Awaitable[Found | None]]
    ) -> Found | None:
        try:
            for network in self._networks.of(text):
                found = await read(network, qualify(text, network.namespace))
                if found is not None:
                    return found
        except BadIdError:
            return None
        except LedgerUnavailableError as error:
            raise UnavailableError(str(error)) from error
        return None


async def _cred_def_of(network: Registry, text: str) -> str | None:
    return text if await network.get_cred_def(text) is not None else None


async def _schema_of(network: Registry, text: str) -> str | None:
    return text if await network.get_schema(text) is not None else None


async def _did_of(network: Registry, text: str) -> str | None:
    return text if await network.get_nym(text) is not None else None
