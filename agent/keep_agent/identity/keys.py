"""Keys: new ones, ours and our peers', and how they are written (Aries RFC 0019, 0360; did:key)."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Self

import base58
from aries_askar import AskarError, Key, KeyAlg

from keep_agent.core.message import Json
from keep_agent.errors import BadCommandError, BadMessageError

KEY_BYTES = 32
SIGNATURE_BYTES = 64
MAX_MULTIBASE = 4 * 2**10  # decoding base58 is quadratic: 10 ms for this much
MAX_MULTIKEY = 64  # 34 bytes have at most 48 characters; a document may hold many keys
OWN_KEYS_CACHED = 256
PEER_KEYS_CACHED = 2048

_BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")
_MULTIBASE = re.compile(r"z[1-9A-HJ-NP-Za-km-z]+")
_SMALL_ORDER = frozenset(
    bytes.fromhex(u)
    for u in (
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    )
)  # X25519 points whose shared secret everybody knows (RFC 7748, section 6.1)

Fetch = Callable[[str], Awaitable[tuple[Key, Json] | None]]
"""Reads the Ed25519 key of a verkey in one tenant from the store, with its metadata."""


class Codec(Enum):
    """The kinds of public key in a multikey, by their multicodec prefix."""

    ED25519 = b"\xed\x01"
    X25519 = b"\xec\x01"


@dataclass(frozen=True, slots=True, eq=False)
class NewKey:
    """A fresh Ed25519 key that is not stored yet; the commit that needs it inserts it.

    Attributes:
        verkey: base58 of the public key; also the name to store it under.
    """

    verkey: str
    key: Key = field(repr=False)
    metadata: Json = field(repr=False)

    @classmethod
    def generate(cls, metadata: Json, seed: bytes | None = None) -> Self:
        """Make a key, random unless `seed` says which.

        Args:
            metadata: stored beside the key; no secrets.
            seed: 32 bytes, the Ed25519 secret itself, as Indy's tools take it.

        Raises:
            BadCommandError: the seed is not 32 bytes.
        """
        if seed is None:
            key = Key.generate(KeyAlg.ED25519)
        elif len(seed) == KEY_BYTES:
            key = Key.from_secret_bytes(KeyAlg.ED25519, seed)
        else:
            raise BadCommandError("a seed is 32 bytes")
        return cls(base58_key(key.get_public_bytes()), key, metadata)


@dataclass(frozen=True, slots=True, eq=False)
class LocalKey:
    """A stored key of ours, ready to sign and to open envelopes.

    Attributes:
        exchange: the same key on X25519; converting costs more than using it, so it is done once.
    """

    verkey: str
    metadata: Json = field(repr=False)
    key: Key = field(repr=False)
    exchange: Key = field(repr=False)

    @classmethod
    def of(cls, verkey: str, key: Key, metadata: Json) -> Self:
        """Return a key as read from the store."""
        return cls(verkey, metadata, key, key.convert_key(KeyAlg.X25519))

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature, 64 bytes."""
        return self.key.sign_message(data)


class Keys:
    """The keys of one tenant, read through `fetch`; those used last are cached."""

    def __init__(self, fetch: Fetch, size: int = OWN_KEYS_CACHED) -> None:
        self._fetch = fetch
        self._size = size
        self._loaded: OrderedDict[str, LocalKey] = OrderedDict()
        self._forgotten = 0

    async def load(self, verkey: str) -> LocalKey | None:
        """Return our key of this name; None: it is not there, and is looked up again next time."""
        found = self._loaded.get(verkey)
        if found is not None:
            self._loaded.move_to_end(verkey)
            return found
        before = self._forgotten
        stored = await self._fetch(verkey)
        if stored is None:
            return None
        loaded = LocalKey.of(verkey, *stored)
        if before == self._forgotten:  # else it may have been removed while we read
            self._remember(loaded)
        return loaded

    def forget(self, verkey: str) -> None:
        """Remove a key from the cache after a commit that removed it or changed its metadata."""
        self._forgotten += 1
        self._loaded.pop(verkey, None)

    def _remember(self, loaded: LocalKey) -> None:
        self._loaded[loaded.verkey] = loaded
        self._loaded.move_to_end(loaded.verkey)
        if len(self._loaded) > self._size:
            self._loaded.popitem(last=False)


def base58_key(raw: bytes) -> str:
    """Return a public key as Indy writes it."""
    return base58.b58encode(raw).decode()


def looks_like_key(text: object) -> bool:
    """Whether it has the characters and length of a base58 key: enough to look one up."""
    return isinstance(text, str) and _BASE58.fullmatch(text) is not None


def raw_key(verkey: object) -> bytes:
    """Return the 32 bytes of a base58 public key.

    Raises:
        BadMessageError: it is not such a text.
    """
    if isinstance(verkey, str) and _BASE58.fullmatch(verkey):
        raw = _decoded(verkey)
        if len(raw) == KEY_BYTES:
            return raw
    raise BadMessageError("a key is not base58 of 32 bytes")


@lru_cache(maxsize=1024)
def _decoded(key: str) -> bytes:
    return base58.b58decode(key)


def did_key(verkey: str) -> str:
    """Return the did:key of a base58 Ed25519 key."""
    return f"did:key:{multikey(Codec.ED25519, raw_key(verkey))}"


def did_key_url(verkey: str) -> str:
    """Return the did:key with its fragment, as RFC 0360 wants keys to be referred to."""
    key = multikey(Codec.ED25519, raw_key(verkey))
    return f"did:key:{key}#{key}"


def to_verkey(text: object) -> str:
    """Return the base58 key of a base58 key, a did:key or a did:key with its fragment.

    Raises:
        BadMessageError: it is none of these, or not an Ed25519 key.
    """
    if not isinstance(text, str) or not text.startswith("did:key:"):
        return base58_key(raw_key(text))
    key, hash_, fragment = text.removeprefix("did:key:").partition("#")
    if hash_ and fragment != key:
        raise BadMessageError("a did:key names another key in its fragment")
    return base58_key(read_ed25519(key))


def multikey(codec: Codec, raw: bytes) -> str:
    """Return a public key as multibase base58 with its codec."""
    return multibase(codec.value + raw)


def read_multikey(text: str) -> tuple[Codec, bytes]:
    """Return kind and 32 bytes of a multikey.

    Raises:
        BadMessageError: it is not an Ed25519 or X25519 key.
    """
    if len(text) > MAX_MULTIKEY:
        raise BadMessageError("a multikey is too long")
    raw = read_multibase(text)
    for codec in Codec:
        if raw.startswith(codec.value) and len(raw) == len(codec.value) + KEY_BYTES:
            return codec, raw.removeprefix(codec.value)
    raise BadMessageError("a multikey is neither Ed25519 nor X25519")


def read_ed25519(text: str) -> bytes:
    """Return the 32 bytes of a multikey that has to be an Ed25519 key.

    Raises:
        BadMessageError: it is another kind of key, or not a key.
    """
    codec, raw = read_multikey(text)
    if codec is not Codec.ED25519:
        raise BadMessageError("a key is for X25519 where Ed25519 is needed")
    return raw


def multibase(raw: bytes) -> str:
    """Return bytes as multibase base58."""
    return "z" + base58.b58encode(raw).decode()


def read_multibase(text: str) -> bytes:
    """Return the bytes of a multibase base58 text of at most 4 KiB.

    Raises:
        BadMessageError: it is not one.
    """
    if len(text) > MAX_MULTIBASE or not _MULTIBASE.fullmatch(text):
        raise BadMessageError("not multibase of base58")
    return base58.b58decode(text[1:])


def exchange_key(verkey: str) -> Key:
    """Return a peer's Ed25519 key converted to X25519.

    Raises:
        BadMessageError: it is not a base58 key, not on the curve, or so weak that anybody could
            read what is encrypted to it.
    """
    return _public(verkey)[1]


def verify(verkey: str, data: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is the Ed25519 signature of `data` by `verkey`; bad input is False."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        return _public(verkey)[0].verify_signature(data, signature)
    except (AskarError, BadMessageError):
        return False


@lru_cache(maxsize=PEER_KEYS_CACHED)  # tenants share it: it holds only public keys
def _public(verkey: str) -> tuple[Key, Key]:
    try:
        key = Key.from_public_bytes(KeyAlg.ED25519, raw_key(verkey))
        exchange = key.convert_key(KeyAlg.X25519)
    except AskarError as error:
        raise BadMessageError("a key is not on the Ed25519 curve") from error
    if exchange.get_public_bytes() in _SMALL_ORDER:
        raise BadMessageError("a key has small order")
    return key, exchange
