"""The document of a DID on an Indy ledger (did:indy method; Aries RFC 0067 for the attribute `endpoint`).

Its base is the key of the NYM. What `diddocContent` of the NYM says is added. Where that names no
services, they are those of the attribute, which has had several shapes over the years.
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from keep_ledger.interface import Registry, Resolved
from keep_ledger.json_object import Json

_FOR_V1 = "did-communication"
_FOR_V2 = "DIDCommMessaging"
_DIDCOMM = frozenset({_FOR_V1, "IndyAgent", _FOR_V2})
_ACCEPT_V1 = frozenset({"didcomm/aip1", "didcomm/aip2;env=rfc19"})
_SCHEMES = ("http", "https", "ws", "wss")
_TYPES_OF_V2 = frozenset({"DIDComm", _FOR_V2})


async def resolved(registry: Registry, did: str) -> Resolved | None:
    """Implement `Registry.resolve` with the registry's own reads.

    Raises:
        LedgerUnavailableError: a read got no trustworthy answer.
    """
    nym = await registry.get_nym(did)
    if nym is None or nym.verkey is None:
        return None
    content = nym.diddoc_content or {}
    services = _objects(content.get("service"))
    if "service" not in content:
        services = attrib_services(await registry.get_attrib(did, "endpoint"))
    document = _base(did, nym.verkey)
    for name, value in content.items():
        if name not in document:
            document[name] = value
        elif name != "id":
            document[name] = [*document[name], *_items(value)]
    document["service"] = services
    url, routing_keys = _didcomm(services)
    return Resolved(did, nym.verkey, url, routing_keys, document)


def _base(did: str, verkey: str) -> Json:
    key = f"{did}#verkey"
    method = {
        "id": key,
        "type": "Ed25519VerificationKey2018",
        "controller": did,
        "publicKeyBase58": verkey,
    }
    return {"id": did, "verificationMethod": [method], "authentication": [key]}


def attrib_services(attrib: Json | None) -> list[Json]:
    """The services that the attribute `endpoint` stands for.

    The owner may have written anything here: what has another shape counts as absent.
    """
    value = (attrib or {}).get("endpoint")
    while isinstance(value, dict) and isinstance(cast("Json", value).get("endpoint"), dict):
        value = cast("Json", value)["endpoint"]
    if not isinstance(value, dict):
        return []
    found = cast("Json", value)
    url = found.get("endpoint") or found.get("agent")
    if not isinstance(url, str):
        return []
    service: Json = {
        "id": "#didcomm",
        "type": _FOR_V1,
        "serviceEndpoint": url,
        "recipientKeys": ["#verkey"],
        "routingKeys": _texts(found.get("routingKeys")),
    }
    types = set(_texts(found.get("types")))
    if types & _TYPES_OF_V2 and _FOR_V1 not in types:
        service |= {"type": _FOR_V2, "accept": ["didcomm/v2"]}
    return [service]


def _didcomm(services: list[Json]) -> tuple[str | None, tuple[str, ...]]:
    """Endpoint and routing keys of the first service for DIDComm v1 that has a URL, by priority."""
    for service in sorted(services, key=_rank):
        if not set(_texts(service.get("type"))) & _DIDCOMM:
            continue
        for endpoint in _endpoints(service):
            accept = _texts(service.get("accept")) or _texts(endpoint.get("accept"))
            if accept and _ACCEPT_V1.isdisjoint(accept):
                continue
            if _is_url(endpoint.get("uri")):
                keys = _texts(service.get("routingKeys")) or _texts(endpoint.get("routingKeys"))
                return str(endpoint["uri"]), tuple(keys)
    return None, ()


def _rank(service: Json) -> tuple[bool, float]:
    priority: Any = service.get("priority")
    number = priority if isinstance(priority, int | float) else 0
    return _FOR_V2 in _texts(service.get("type")), number


def _endpoints(service: Json) -> list[Json]:
    """The endpoints of a service, which is a text, an object with `uri`, or a list of these."""
    given = _listed(service.get("serviceEndpoint"))
    return _objects([{"uri": one} if isinstance(one, str) else one for one in given])


def _is_url(text: object) -> bool:
    try:
        parts = urlsplit(text) if isinstance(text, str) else None
    except ValueError:
        return False
    return parts is not None and parts.scheme in _SCHEMES and bool(parts.netloc)


def _items(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _objects(value: object) -> list[Json]:
    return [cast("Json", one) for one in _listed(value) if isinstance(one, dict)]


def _texts(value: object) -> list[str]:
    return [one for one in _listed(value) if isinstance(one, str)]


def _listed(value: object) -> list[object]:
    """The value if it is a list, else a list of it alone."""
    return cast("list[object]", value) if isinstance(value, list) else [value]
