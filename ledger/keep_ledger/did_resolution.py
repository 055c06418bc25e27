"""What a DID document needs, read from NYM and the attribute `endpoint` (did:indy; Aries RFC 0067)."""

from __future__ import annotations

from typing import Any, cast

from keep_ledger.interface import Registry, Resolved
from keep_ledger.json_object import Json


async def resolved(registry: Registry, did: str) -> Resolved | None:
    """Implement `Registry.resolve` with the registry's own reads.

    Raises:
        LedgerUnavailableError: a read got no trustworthy answer.
    """
    nym = await registry.get_nym(did)
    if nym is None or nym.verkey is None:
        return None
    url, routing_keys = _endpoint(await registry.get_attrib(did, "endpoint"))
    return Resolved(did, nym.verkey, url, routing_keys)


def _endpoint(attrib: Json | None) -> tuple[str | None, tuple[str, ...]]:
    """The owner may have written anything here: what has another shape counts as absent."""
    found: Any = (attrib or {}).get("endpoint")
    if not isinstance(found, dict):
        return None, ()
    value = cast("Json", found)
    url, keys = value.get("endpoint") or value.get("agent"), value.get("routingKeys")
    if not isinstance(url, str):
        return None, ()
    listed = cast("list[object]", keys) if isinstance(keys, list) else []
    return url, tuple(key for key in listed if isinstance(key, str))
