"""DIDs and DID documents: did:key, did:peer, did:sov, did:indy (DID Core; Aries RFC 0067, 0360)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, NewType, cast

import base58
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from keep_agent.core.message import Json, read_base64, read_json
from keep_agent.errors import BadMessageError, RefusedError
from keep_agent.identity.keys import (
    KEY_BYTES,
    MAX_MULTIBASE,
    Codec,
    base58_key,
    did_key_url,
    exchange_key,
    multibase,
    multikey,
    raw_key,
    read_ed25519,
    read_multibase,
    read_multikey,
    to_verkey,
)

Did = NewType("Did", str)
"""A DID that `read_did` found well-formed; never a DID URL."""

MAX_DID = MAX_MULTIBASE
INDY_BYTES = 16
MAX_ITEMS = 32
MAX_ENDPOINT = 2048

_B58 = "[1-9A-HJ-NP-Za-km-z]"
_INDY = f"{_B58}{{21,22}}"
_SYNTAX = re.compile(
    rf"{_INDY}"
    rf"|did:sov:{_INDY}"
    rf"|did:indy:[a-z0-9_-]+(?::[a-z0-9_-]+)?:{_INDY}"
    rf"|did:key:z{_B58}+"
    rf"|did:peer:[013]z{_B58}+"
    r"|did:peer:2(?:\.[AEVDIS][A-Za-z0-9=_-]+)+"
    rf"|did:peer:4z{_B58}+(?::z{_B58}+)?"
    r"|did:web:[A-Za-z0-9.%_:-]+"
)
_SHA256 = b"\x12\x20"  # multihash: function and length
_JSON = b"\x80\x04"  # multicodec 0x0200 as a varint
_V1 = frozenset({"didcomm/aip1", "didcomm/aip2;env=rfc19"})
_DIDCOMM = ("did-communication", "IndyAgent", "DIDCommMessaging")
_SHORT = {"t": "type", "s": "serviceEndpoint", "r": "routingKeys", "a": "accept"}


@dataclass(frozen=True, slots=True)
class Service:
    """What DIDComm v1 needs to know to reach a peer.

    Attributes:
        endpoint: URL as the peer wrote it; the transport decides whether it may be called.
        recipient_keys: base58 Ed25519 keys, at least one.
        routing_keys: base58 Ed25519 keys from the recipient's end to ours (RFC 0067).
    """

    endpoint: str
    recipient_keys: tuple[str, ...]
    routing_keys: tuple[str, ...] = ()


def read_did(text: object) -> Did:
    """Read a DID of a known method, or an unqualified Indy DID.

    Raises:
        BadMessageError: it is not one, or longer than 4 KiB.
    """
    if not isinstance(text, str) or len(text) > MAX_DID or not _SYNTAX.fullmatch(text):
        raise BadMessageError("not a DID of a known method")
    indy = not text.startswith("did:") or text.startswith(("did:sov:", "did:indy:"))
    if indy and len(base58.b58decode(text.rpartition(":")[2])) != INDY_BYTES:
        raise BadMessageError("an Indy DID must be 16 bytes")
    return Did(text)


# what a document says


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


def _as_list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else [value]


def _objects(value: object) -> list[Json]:
    return [cast("Json", item) for item in _as_list(value) if isinstance(item, dict)]


def _only_methods(value: object) -> list[Json]:
    """Keep the embedded keys; DIDComm v1 does not need the references."""
    return [item for item in _objects(value) if "id" in item]


class Method(_Part):
    """A public key in a document (`verificationMethod`)."""

    id: str
    type: str
    public_key_base58: str | None = Field(default=None, alias="publicKeyBase58")
    public_key_multibase: str | None = None
    public_key_jwk: Json | None = None

    @property
    def verkey(self) -> str:
        """The base58 Ed25519 key.

        Raises:
            BadMessageError: it is another kind of key, or not the kind that its type says.
        """
        if self.type.startswith("X25519"):
            raise BadMessageError("a key is for X25519 where Ed25519 is needed")
        if self.public_key_multibase is not None:
            return base58_key(read_ed25519(self.public_key_multibase))
        if self.public_key_jwk is not None:
            return _jwk_verkey(self.public_key_jwk)
        if not self.type.startswith("Ed25519"):
            raise BadMessageError("a key is of a type that we do not know")
        return to_verkey(self.public_key_base58)


Methods = Annotated[tuple[Method, ...], Field(max_length=MAX_ITEMS)]
Relation = Annotated[Methods, BeforeValidator(_only_methods)]
Texts = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: value or ()), Field(max_length=MAX_ITEMS)
]


class Endpoint(_Part):
    """A `serviceEndpoint` as DIDComm v2 writes it."""

    uri: Annotated[str, Field(max_length=MAX_ENDPOINT)]
    routing_keys: Texts = ()
    accept: Texts = ()


def _as_endpoint(value: object) -> object:
    first = next(iter(_as_list(value)), None)
    return {"uri": first} if isinstance(first, str) else first


class Entry(_Part):
    """A DIDComm service of a document."""

    type: str
    service_endpoint: Annotated[Endpoint, BeforeValidator(_as_endpoint)]
    recipient_keys: Texts = ()
    routing_keys: Texts = ()
    accept: Texts = ()
    priority: int = 0

    @property
    def accepts_v1(self) -> bool:
        """Whether it accepts DIDComm v1, or does not say what it accepts."""
        accept = self.accept or self.service_endpoint.accept
        return not accept or not _V1.isdisjoint(accept)


def _only_didcomm(value: object) -> list[Json]:
    return [item for item in _objects(value) if item.get("type") in _DIDCOMM]


class DidDocument(_Part):
    """What DIDComm v1 reads of a DID document, in all forms that occur.

    Attributes:
        public_key: the name of `verificationMethod` in connections/1.0.
    """

    id: str
    also_known_as: Texts = ()
    verification_method: Methods = ()
    public_key: Methods = ()
    authentication: Relation = ()
    key_agreement: Relation = ()
    service: Annotated[
        tuple[Entry, ...], BeforeValidator(_only_didcomm), Field(max_length=MAX_ITEMS)
    ] = ()

    @property
    def methods(self) -> tuple[Method, ...]:
        """Every key that the document holds."""
        listed = self.verification_method + self.public_key
        return listed + self.authentication + self.key_agreement

    @property
    def didcomm(self) -> Service:
        """How to reach the subject by DIDComm v1: lowest priority first (RFC 0067).

        Raises:
            BadMessageError: the document has no such service, or keys that do not fit it.
        """
        entries = [entry for entry in self.service if entry.accepts_v1]
        if not entries:
            raise BadMessageError("DID document has no service for DIDComm v1")
        return self._service(min(entries, key=lambda e: (e.type == _DIDCOMM[-1], e.priority)))

    def verkey(self, reference: str) -> str:
        """Return the base58 Ed25519 key that a key reference means.

        Raises:
            BadMessageError: it is not a key, or refers to another document.
        """
        subject, hash_, fragment = reference.partition("#")
        if not hash_ or subject.startswith("did:key:"):
            return to_verkey(reference)
        if subject in ("", self.id, *self.also_known_as):
            for method in self.methods:
                if method.id.rpartition("#")[2] == fragment:
                    return method.verkey
        raise BadMessageError("a key reference names no key of the document")

    def _service(self, entry: Entry) -> Service:
        recipients = [self.verkey(key) for key in entry.recipient_keys]
        routing = entry.routing_keys or entry.service_endpoint.routing_keys
        return Service(
            entry.service_endpoint.uri,
            tuple(dict.fromkeys(recipients)) or (self._signing_key(),),
            tuple(self.verkey(key) for key in routing),
        )

    def _signing_key(self) -> str:
        """Return the first Ed25519 key, for a service without keys, such as DIDCommMessaging."""
        for method in self.methods:
            with suppress(BadMessageError):
                return method.verkey
        raise BadMessageError("DID document has no key for DIDComm v1")


def read_document(value: object, did: Did | None = None) -> DidDocument:
    """Read a DID document.

    Args:
        value: the parsed JSON.
        did: the DID that it must be about, with or without `did:sov:`, or in its short form.

    Raises:
        BadMessageError: it is malformed, or about another DID.
    """
    try:
        document = DidDocument.model_validate(value)
    except ValidationError as error:
        raise BadMessageError("malformed DID document") from error
    about = document.id.removeprefix("did:sov:")
    if did is not None and about not in {did.removeprefix("did:sov:"), short_form(did)}:
        raise BadMessageError("DID document is about another DID")
    return document


def inline_service(value: object) -> Service:
    """Read a service of an invitation (RFC 0434).

    Raises:
        BadMessageError: it is not a service for DIDComm v1.
    """
    return read_document({"id": "", "service": [value]}).didcomm


# did:peer, made and read


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
    return Did(f"did:peer:4{_digest(encoded)}:{encoded}")


def short_form(did: Did) -> Did:
    """Return the short form of a DID: a cut did:peer:4, or the did:peer:3 of a did:peer:2."""
    if did.startswith("did:peer:4"):
        return Did(":".join(did.split(":")[:3]))
    if did.startswith("did:peer:2"):
        return Did("did:peer:3" + _digest(did.removeprefix("did:peer:2")))
    return did


def is_hash_of(did: Did, document: Json) -> bool:
    """Whether a did:peer:1 is the hash of this first document, as peers hash it: without `id`."""
    stored = {key: value for key, value in document.items() if key != "id"}
    text = json.dumps(stored, separators=(",", ":"), ensure_ascii=False)
    return did == f"did:peer:1{_digest(text)}"


def is_made_of(did: Did, verkey: str) -> bool:
    """Whether an Indy DID is the first half of this key, as every new one is."""
    return base58.b58decode(did.rpartition(":")[2]) == raw_key(verkey)[:INDY_BYTES]


def _read_peer2(did: Did) -> DidDocument:
    methods: list[Json] = []
    services: list[Json] = []
    for element in did.removeprefix("did:peer:2.").split("."):
        if element[0] == "S":
            held = _as_list(read_json(read_base64(element[1:])))
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
    if name != _digest(encoded):
        raise BadMessageError("did:peer:4 is not the hash of its document")
    raw = read_multibase(encoded)
    document = read_json(raw.removeprefix(_JSON)) if raw.startswith(_JSON) else None
    if not isinstance(document, dict) or "id" in document:
        raise BadMessageError("did:peer:4 does not hold a document without id")
    context = {"id": did, "alsoKnownAs": [short_form(did)]}
    return read_document(cast("Json", document) | context)


# resolving

Ask = Callable[[Did], Awaitable[DidDocument | None]]
"""Returns the document of a DID, or None if there is no such DID."""


class Resolver:
    """Finds the document of a DID: in the DID itself, or on its ledger (SEC-D01).

    Args:
        ledger: asked for did:sov, did:indy and unqualified DIDs.
    """

    def __init__(self, ledger: Ask) -> None:
        self._ledger = ledger

    async def resolve(self, text: object) -> DidDocument:
        """Return the document of a DID.

        Raises:
            BadMessageError: it is not a DID, or the document in it is malformed.
            RefusedError: the DID is unknown, or its method is not supported.
        """
        found = await self.find(read_did(text))
        if found is None:
            raise RefusedError("a DID cannot be resolved", "e.p.did.unresolvable")
        return found

    async def find(self, did: Did) -> DidDocument | None:
        """Return the document of a DID, or None if it is unknown; raises as `resolve` does."""
        if did.startswith("did:web:"):
            raise RefusedError("did:web is not supported yet", "e.p.did.unsupported")
        within = _read_within(did)
        if within is not None:
            return within
        return None if did.startswith("did:peer:") else await self._ledger(did)


def _read_within(did: Did) -> DidDocument | None:
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


def _key_pair(verkey: str) -> tuple[str, str]:
    """Return a key and its X25519 form as multikeys."""
    exchange = exchange_key(verkey).get_public_bytes()
    return multikey(Codec.ED25519, raw_key(verkey)), multikey(Codec.X25519, exchange)


def _jwk_verkey(jwk: Json) -> str:
    x = jwk.get("x")
    raw = read_base64(x) if isinstance(x, str) else b""
    if (jwk.get("kty"), jwk.get("crv"), len(raw)) != ("OKP", "Ed25519", KEY_BYTES):
        raise BadMessageError("a JWK is not an Ed25519 key")
    return base58_key(raw)


def _digest(text: str) -> str:
    """Return the multibase multihash of a text."""
    return multibase(_SHA256 + hashlib.sha256(text.encode()).digest())


def _dump(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
