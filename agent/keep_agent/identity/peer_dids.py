"""did:peer, made and read (peer DID method specification, numalgo 0, 1, 2 and 4)."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import cast

from keep_agent.core.message import Json, read_base64, read_json
from keep_agent.errors import BadMessageError
from keep_agent.identity.did_documents import DidDocument, as_list, read_document
from keep_agent.identity.dids import Did, multihash, short_form
from keep_agent.identity.keys import (
    Codec,
    did_key_url,
    exchange_key,
    multibase,
    multikey,
    raw_key,
    read_multibase,
    read_multikey,
)

_JSON = b"\x80\x04"  # multicodec 0x0200 as a varint
_SHORT = {"t": "type", "s": "serviceEndpoint", "r": "routingKeys", "a": "accept"}


def create_peer2(verkey: str, endpoint: str, routing_keys: Sequence[str] = ()) -> Did:
    """Make a did:peer:2 of a key and an address of ours (see `create_peer4`)."""
    entry = {
        "s": endpoint,
        "t": "did-communication",
        "priority": 0,
        "recipientKeys": ["#key-1"],
        "r": [did_key_url(key) for key in routing_keys],
    }
    packed = base64.urlsafe_b64encode(_dump(entry)).decode().rstrip("=")
    signing, exchange = _key_pair(verkey)
    return Did(f"did:peer:2.V{signing}.E{exchange}.S{packed}")


def create_peer4(verkey: str, endpoint: str, routing_keys: Sequence[str] = ()) -> Did:
    """Make a did:peer:4, in its long form, of a key and an address of ours.

    Args:
        verkey: base58 Ed25519 key; its X25519 form is included.
        endpoint: URL, or `didcomm:transport/queue` when only a return route reaches us.
        routing_keys: base58 keys of mediators, the one next to us first (RFC 0067).
    """
    signing, exchange = _key_pair(verkey)
    document = {
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "verificationMethod": [
            {"id": "#key-1", "type": "Multikey", "publicKeyMultibase": signing},
            {"id": "#key-2", "type": "Multikey", "publicKeyMultibase": exchange},
        ],
        "authentication": ["#key-1"],
        "keyAgreement": ["#key-2"],
        "service": [
            {
                "id": "#didcomm-0",
                "type": "did-communication",
                "priority": 0,
                "recipientKeys": ["#key-1"],
                "routingKeys": [did_key_url(key) for key in routing_keys],
                "serviceEndpoint": endpoint,
            }
        ],
    }
    encoded = multibase(_JSON + _dump(document))
    return Did(f"did:peer:4{multihash(encoded)}:{encoded}")


def is_hash_of(did: Did, document: Json) -> bool:
    """Whether a did:peer:1 is the hash of this first document, as peers hash it: without `id`."""
    stored = {key: value for key, value in document.items() if key != "id"}
    text = json.dumps(stored, separators=(",", ":"), ensure_ascii=False)
    return did == f"did:peer:1{multihash(text)}"


def read_within(did: Did) -> DidDocument | None:
    """Read the document that a DID contains, or return None."""
    if did.startswith(("did:key:", "did:peer:0")):
        return _read_key(did, did.removeprefix("did:key:").removeprefix("did:peer:0"))
    if did.startswith("did:peer:2"):
        return _read_peer2(did)
    if did.startswith("did:peer:4") and did != short_form(did):
        return _read_peer4(did)
    return None


def _read_key(did: Did, key: str) -> DidDocument:
    read_multikey(key)
    method = {"id": f"#{key}", "type": "Multikey", "publicKeyMultibase": key}
    return read_document({"id": did, "verificationMethod": [method]})


def _read_peer2(did: Did) -> DidDocument:
    methods: list[Json] = []
    services: list[Json] = []
    for element in did.removeprefix("did:peer:2.").split("."):
        if element[0] == "S":
            held = as_list(read_json(read_base64(element[1:])))
            services += [_spelt_out(service) for service in held]
        else:
            key = {"type": "Multikey", "publicKeyMultibase": element[1:]}
            methods.append({"id": f"#key-{len(methods) + 1}", **key})
    document = {"id": did, "verificationMethod": methods, "service": services}
    return read_document(document | {"alsoKnownAs": [short_form(did)]})


def _spelt_out(service: object) -> Json:
    """Undo the abbreviations of did:peer:2, in the service and in an endpoint object."""
    if not isinstance(service, dict):
        raise BadMessageError("did:peer:2 holds a service that is not an object")
    full = {_SHORT.get(k, k): v for k, v in cast("Json", service).items()}
    if len(full) != len(cast("Json", service)):
        raise BadMessageError("did:peer:2 names a field of a service twice")
    if full.get("type") == "dm":
        full["type"] = "DIDCommMessaging"
    if isinstance(full.get("serviceEndpoint"), dict):
        full["serviceEndpoint"] = _spelt_out(full["serviceEndpoint"])
    return full


def _read_peer4(did: Did) -> DidDocument:
    name, _, encoded = did.removeprefix("did:peer:4").partition(":")
    if name != multihash(encoded):
        raise BadMessageError("did:peer:4 is not the hash of its document")
    raw = read_multibase(encoded)
    document = read_json(raw.removeprefix(_JSON)) if raw.startswith(_JSON) else None
    if not isinstance(document, dict) or "id" in document:
        raise BadMessageError("did:peer:4 does not hold a document without id")
    context = {"id": did, "alsoKnownAs": [short_form(did)]}
    return read_document(cast("Json", document) | context)


def _key_pair(verkey: str) -> tuple[str, str]:
    """Return a key and its X25519 form as multikeys."""
    exchange = exchange_key(verkey).get_public_bytes()
    return multikey(Codec.ED25519, raw_key(verkey)), multikey(Codec.X25519, exchange)


def _dump(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
