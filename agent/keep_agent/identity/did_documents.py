"""What DIDComm v1 reads of a DID document, in all forms that occur (DID Core; Aries RFC 0067, 0360)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, cast
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from keep_agent.core.message import Json, read_base64
from keep_agent.errors import BadMessageError
from keep_agent.identity.dids import Did, short_form
from keep_agent.identity.keys import (
    KEY_BYTES,
    base58_key,
    read_ed25519,
    to_verkey,
)

MAX_ITEMS = 32
MAX_ENDPOINTS = 8
"""How many endpoints of one service are looked at."""
MAX_ENDPOINT = 2048
NO_ENDPOINT = "didcomm:transport/queue"
"""The endpoint of an agent that fetches its messages."""

_V1 = frozenset({"didcomm/aip1", "didcomm/aip2;env=rfc19"})
_FOR_V2 = "DIDCommMessaging"
_DIDCOMM = frozenset({"did-communication", "IndyAgent", _FOR_V2})
_SCHEMES = frozenset({"http", "https"})


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


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


def as_list(value: object) -> list[object]:
    """Return a list as it is, and anything else as the only item of one."""
    return cast("list[object]", value) if isinstance(value, list) else [value]


def _objects(value: object) -> list[Json]:
    return [cast("Json", item) for item in as_list(value) if isinstance(item, dict)]


def _only_methods(value: object) -> list[Json]:
    """Keep the keys that have an id; DIDComm v1 does not need the references."""
    return [item for item in _objects(value) if isinstance(item.get("id"), str)]


def _texts(value: object) -> object:
    return as_list(value) if value else ()


class Method(_Part):
    """A public key in a document (`verificationMethod`)."""

    id: str
    type: str | None = None
    public_key_base58: str | None = Field(default=None, alias="publicKeyBase58")
    public_key_hex: str | None = None
    public_key_multibase: str | None = None
    public_key_jwk: Json | None = None

    @property
    def verkey(self) -> str:
        """The base58 Ed25519 key.

        Raises:
            BadMessageError: it is another kind of key, or not the kind that its type says.
        """
        kind = self.type or ""
        if kind.startswith("X25519"):
            raise BadMessageError("a key is for X25519 where Ed25519 is needed")
        if self.public_key_multibase is not None:
            return base58_key(read_ed25519(self.public_key_multibase))
        if self.public_key_jwk is not None:
            return _jwk_verkey(self.public_key_jwk)
        if not kind.startswith("Ed25519"):
            raise BadMessageError("a key is of a type that we do not know")
        if self.public_key_hex is not None:
            return _hex_verkey(self.public_key_hex)
        return to_verkey(self.public_key_base58)

    @property
    def spellings(self) -> tuple[str, ...]:
        """The fragments that are the key itself, with or without its `z`, as in older did:peer:2."""
        key = self.public_key_multibase
        return () if key is None else (key, key[1:])


Methods = Annotated[
    tuple[Method, ...], BeforeValidator(_only_methods), Field(max_length=MAX_ITEMS)
]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts), Field(max_length=MAX_ITEMS)]


class Endpoint(_Part):
    """A `serviceEndpoint` as DIDComm v2 writes it."""

    uri: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_ENDPOINT)]
    routing_keys: Texts = ()
    accept: Texts = ()


class Entry(_Part):
    """What the service of a document says beside its type, its endpoints and its priority."""

    recipient_keys: Texts = ()
    routing_keys: Texts = ()
    accept: Texts = ()


def _only_didcomm(value: object) -> list[Json]:
    """Keep the services for DIDComm; their other members are read when they are used."""
    return [item for item in _objects(value) if _types(item) & _DIDCOMM]


def _types(service: Json) -> set[str]:
    return {each for each in as_list(service.get("type")) if isinstance(each, str)}


def _rank(service: Json) -> tuple[bool, float]:
    """Return what orders services: made for v1 first, then the lowest priority (RFC 0067)."""
    return _types(service) & _DIDCOMM == {_FOR_V2}, priority(service)


def priority(service: Json) -> float:
    """Return the priority of a service; 0, the highest, where it does not say a number."""
    value = service.get("priority")
    return value if isinstance(value, int | float) else 0


class DidDocument(_Part):
    """What DIDComm v1 reads of a DID document.

    Lists may be null or missing, and hold what we cannot read: that is passed over.

    Attributes:
        public_key: the name of `verificationMethod` in connections/1.0.
        service: those for DIDComm, as they are written.
    """

    id: str
    also_known_as: Texts = ()
    verification_method: Methods = ()
    public_key: Methods = ()
    authentication: Methods = ()
    key_agreement: Methods = ()
    service: Annotated[
        tuple[Json, ...], BeforeValidator(_only_didcomm), Field(max_length=MAX_ITEMS)
    ] = ()

    @property
    def methods(self) -> tuple[Method, ...]:
        """Every key that the document holds."""
        listed = self.verification_method + self.public_key
        return listed + self.authentication + self.key_agreement

    @property
    def didcomm(self) -> Service:
        """How to reach the subject by DIDComm v1: the first service that can be used, by priority.

        One that speaks only DIDComm v2, whose endpoint is not for http, or whose keys cannot be
        read does not count. An agent that fetches its messages is the last choice.

        Raises:
            BadMessageError: there is none; the text says what is wrong with the first.
        """
        keys = _Keys(self)
        last: Service | None = None
        why: BadMessageError | None = None
        for service in sorted(self.service, key=_rank):
            try:
                for each in _usable(service, keys):
                    if each.endpoint not in _QUEUE:
                        return each
                    last = last or each
            except BadMessageError as error:
                why = why or error
        if last is None:
            raise why or BadMessageError("DID document has no service for DIDComm v1")
        return last

    def verkey(self, reference: str) -> str:
        """Return the base58 Ed25519 key that a key reference means.

        Raises:
            BadMessageError: it is not a key, or refers to another document.
        """
        return _Keys(self).read(reference)


class _Keys:
    """The keys of a document; each is looked up and decoded once, however often services name it (SEC-R01)."""

    def __init__(self, document: DidDocument) -> None:
        self._subjects = {"", *map(_bare, (document.id, *document.also_known_as))}
        self._methods = document.methods
        self._by_id: dict[str, Method] = {}
        self._by_fragment: dict[str, Method] = {}
        self._by_spelling: dict[str, Method] = {}
        self._read: dict[str, str] = {}
        for method in document.methods:
            self._by_id.setdefault(method.id, method)
            self._by_fragment.setdefault(method.id.rpartition("#")[2], method)
            for spelling in method.spellings:
                self._by_spelling.setdefault(spelling, method)

    def read(self, reference: str) -> str:
        """Return the base58 Ed25519 key that a key reference means; raises BadMessageError."""
        found = self._read.get(reference)
        if found is None:
            found = self._read[reference] = self._find(reference)
        return found

    def _find(self, reference: str) -> str:
        if reference in self._by_id:
            return self._by_id[reference].verkey
        subject, hash_, fragment = reference.partition("#")
        if not hash_ or subject.startswith("did:key:"):
            return to_verkey(reference)
        method = self._by_fragment.get(fragment) or self._by_spelling.get(fragment)
        if method is None or _bare(subject) not in self._subjects:
            raise BadMessageError("a key reference names no key of the document")
        return method.verkey

    @cached_property
    def signing(self) -> str | None:
        """The first Ed25519 key, for a service without keys, such as DIDCommMessaging."""
        for method in self._methods:
            with suppress(BadMessageError):
                return method.verkey
        return None


def _usable(service: Json, keys: _Keys) -> Iterator[Service]:
    """Yield what a service offers that we can use: it may have several endpoints.

    Raises:
        BadMessageError: there is nothing; says what is wrong with the last endpoint.
    """
    entry, endpoints = _read_service(service)
    recipients = tuple(dict.fromkeys(map(keys.read, entry.recipient_keys)))
    why = BadMessageError("a service has no endpoint")
    found = False
    for endpoint in endpoints:
        try:
            _check_endpoint(entry, endpoint)
            routing = tuple(map(keys.read, entry.routing_keys or endpoint.routing_keys))
        except BadMessageError as error:
            why = error
            continue
        if not recipients and keys.signing is None:
            raise BadMessageError("DID document has no key for DIDComm v1")
        found = True
        yield Service(endpoint.uri, recipients or (str(keys.signing),), routing)
    if not found:
        raise why


_QUEUE = frozenset({"", NO_ENDPOINT})


def _read_service(service: Json) -> tuple[Entry, list[Endpoint]]:
    given = as_list(service.get("serviceEndpoint"))[:MAX_ENDPOINTS]
    written = [{"uri": each} if isinstance(each, str) else each for each in given]
    try:
        return Entry.model_validate(service), [Endpoint.model_validate(e) for e in written]
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise BadMessageError(
            f"a service is malformed at {where or 'serviceEndpoint'}"
        ) from error


def _check_endpoint(entry: Entry, endpoint: Endpoint) -> None:
    accept = entry.accept or endpoint.accept
    if accept and _V1.isdisjoint(accept):
        raise BadMessageError("a service does not accept DIDComm v1, which is what we speak")
    if endpoint.uri not in _QUEUE and not _is_http(endpoint.uri):
        raise BadMessageError("the endpoint of a service is not an http or https URL")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    plain = url.isprintable() and " " not in url and "\\" not in url
    return plain and parts.scheme in _SCHEMES and bool(parts.hostname)


def _bare(did: str) -> str:
    """Return a DID without `did:sov:`: older agents write it both ways in one document."""
    return did.removeprefix("did:sov:")


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
    if did is not None and _bare(document.id) not in {_bare(did), short_form(did)}:
        raise BadMessageError("DID document is about another DID")
    return document


def inline_service(value: object) -> Service:
    """Read a service of an invitation, or of the decorator `~service` (RFC 0434, 0056).

    Raises:
        BadMessageError: it is not a service for DIDComm v1.
    """
    return read_document({"id": "", "service": [value]}).didcomm


def _jwk_verkey(jwk: Json) -> str:
    x = jwk.get("x")
    raw = read_base64(x) if isinstance(x, str) else b""
    if (jwk.get("kty"), jwk.get("crv"), len(raw)) != ("OKP", "Ed25519", KEY_BYTES):
        raise BadMessageError("a JWK is not an Ed25519 key")
    return base58_key(raw)


def _hex_verkey(text: str) -> str:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES:
        raise BadMessageError("publicKeyHex is not 32 bytes in hexadecimal")
    return base58_key(raw)
