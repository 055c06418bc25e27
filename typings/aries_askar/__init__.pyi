# What this project uses of aries-askar 0.5, read off its sources.
# Left out on purpose: `EntryList.__getitem__`, which returns IndexError where it should raise it.
# `KeyEntry.metadata` of a key stored without metadata is the empty string.

from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from enum import Enum, IntEnum
from types import TracebackType
from typing import Any

from aries_askar import crypto_box as crypto_box

def version() -> str: ...

class AskarErrorCode(IntEnum):
    SUCCESS = 0
    BACKEND = 1
    BUSY = 2
    DUPLICATE = 3
    ENCRYPTION = 4
    INPUT = 5
    NOT_FOUND = 6
    UNEXPECTED = 7
    UNSUPPORTED = 8
    WRAPPER = 99
    CUSTOM = 100

class AskarError(Exception):
    code: AskarErrorCode
    extra: str | None
    def __init__(
        self, code: AskarErrorCode, message: str, extra: str | None = None
    ) -> None: ...

class KeyAlg(Enum):
    A128GCM = "a128gcm"
    A256GCM = "a256gcm"
    A128CBC_HS256 = "a128cbchs256"
    A256CBC_HS512 = "a256cbchs512"
    A128KW = "a128kw"
    A256KW = "a256kw"
    BLS12_381_G1 = "bls12381g1"
    BLS12_381_G2 = "bls12381g2"
    C20P = "c20p"
    XC20P = "xc20p"
    ED25519 = "ed25519"
    X25519 = "x25519"
    K256 = "k256"
    P256 = "p256"
    P384 = "p384"

class Encrypted:
    def __bytes__(self) -> bytes: ...
    @property
    def ciphertext_tag(self) -> bytes: ...
    @property
    def ciphertext(self) -> bytes: ...
    @property
    def nonce(self) -> bytes: ...
    @property
    def tag(self) -> bytes: ...
    @property
    def parts(self) -> tuple[bytes, bytes, bytes]: ...

class Key:
    @classmethod
    def generate(cls, alg: str | KeyAlg, *, ephemeral: bool = False) -> Key: ...
    @classmethod
    def from_seed(cls, alg: str | KeyAlg, seed: str | bytes) -> Key: ...
    @classmethod
    def from_secret_bytes(cls, alg: str | KeyAlg, secret: bytes) -> Key: ...
    @classmethod
    def from_public_bytes(cls, alg: str | KeyAlg, public: bytes) -> Key: ...
    @classmethod
    def from_jwk(cls, jwk: dict[str, Any] | str | bytes) -> Key: ...
    @property
    def algorithm(self) -> KeyAlg: ...
    @property
    def ephemeral(self) -> bool: ...
    def convert_key(self, alg: str | KeyAlg) -> Key: ...
    def key_exchange(self, alg: str | KeyAlg, pk: Key) -> Key: ...
    def get_public_bytes(self) -> bytes: ...
    def get_secret_bytes(self) -> bytes: ...
    def get_jwk_public(self, alg: str | KeyAlg | None = None) -> str: ...
    def get_jwk_secret(self) -> bytes: ...
    def get_jwk_thumbprint(self, alg: str | KeyAlg | None = None) -> str: ...
    def aead_random_nonce(self) -> bytes: ...
    def aead_encrypt(
        self, message: str | bytes, *, nonce: bytes | None = None, aad: bytes | None = None
    ) -> Encrypted: ...
    def aead_decrypt(
        self,
        ciphertext: bytes | Encrypted,
        *,
        nonce: bytes,
        tag: bytes | None = None,
        aad: bytes | None = None,
    ) -> bytes: ...
    def sign_message(self, message: str | bytes, sig_type: str | None = None) -> bytes: ...
    def verify_signature(
        self, message: str | bytes, signature: bytes, sig_type: str | None = None
    ) -> bool: ...

class Entry:
    @property
    def category(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> bytes: ...
    @property
    def raw_value(self) -> memoryview: ...
    @property
    def value_json(self) -> Any: ...
    @property
    def tags(self) -> dict[str, str | set[str]]: ...

class EntryList:
    def __iter__(self) -> Iterator[Entry]: ...
    def __len__(self) -> int: ...

class KeyEntry:
    @property
    def algorithm(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def metadata(self) -> str: ...
    @property
    def key(self) -> Key: ...
    @property
    def tags(self) -> dict[str, str | list[str]] | None: ...

class KeyEntryList:
    def __iter__(self) -> Iterator[KeyEntry]: ...
    def __len__(self) -> int: ...

class Scan:
    def __aiter__(self) -> AsyncIterator[Entry]: ...
    async def __anext__(self) -> Entry: ...
    async def fetch_all(self) -> list[Entry]: ...

class Session:
    @property
    def autocommit(self) -> bool: ...
    @autocommit.setter
    def autocommit(self, val: bool) -> None: ...
    @property
    def is_transaction(self) -> bool: ...
    async def count(
        self, category: str | None = None, tag_filter: str | dict[str, Any] | None = None
    ) -> int: ...
    async def fetch(
        self, category: str, name: str, *, for_update: bool = False
    ) -> Entry | None: ...
    async def fetch_all(
        self,
        category: str | None = None,
        tag_filter: str | dict[str, Any] | None = None,
        limit: int | None = None,
        *,
        order_by: str | None = None,
        descending: bool = False,
        for_update: bool = False,
    ) -> EntryList: ...
    async def insert(
        self,
        category: str,
        name: str,
        value: str | bytes | None = None,
        tags: Mapping[str, str | list[str] | set[str]] | None = None,
        expiry_ms: int | None = None,
        value_json: Any = None,
    ) -> None: ...
    async def replace(
        self,
        category: str,
        name: str,
        value: str | bytes | None = None,
        tags: Mapping[str, str | list[str] | set[str]] | None = None,
        expiry_ms: int | None = None,
        value_json: Any = None,
    ) -> None: ...
    async def remove(self, category: str, name: str) -> None: ...
    async def remove_all(
        self, category: str | None = None, tag_filter: str | dict[str, Any] | None = None
    ) -> int: ...
    async def insert_key(
        self,
        name: str,
        key: Key,
        *,
        metadata: str | None = None,
        tags: Mapping[str, str | list[str] | set[str]] | None = None,
        expiry_ms: int | None = None,
    ) -> str: ...
    async def fetch_key(self, name: str, *, for_update: bool = False) -> KeyEntry | None: ...
    async def fetch_all_keys(
        self,
        *,
        alg: str | KeyAlg | None = None,
        thumbprint: str | None = None,
        tag_filter: str | dict[str, Any] | None = None,
        limit: int | None = None,
        for_update: bool = False,
    ) -> KeyEntryList: ...
    async def update_key(
        self,
        name: str,
        *,
        metadata: str | None = None,
        tags: Mapping[str, str | list[str] | set[str]] | None = None,
        expiry_ms: int | None = None,
    ) -> None: ...
    async def remove_key(self, name: str) -> None: ...
    async def commit(self) -> None: ...
    async def rollback(self) -> None: ...
    async def close(self) -> None: ...

class OpenSession:
    @property
    def is_transaction(self) -> bool: ...
    def __await__(self) -> Generator[Any, None, Session]: ...
    async def __aenter__(self) -> Session: ...
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None: ...

class Store:
    @classmethod
    def generate_raw_key(cls, seed: str | bytes | None = None) -> str: ...
    @classmethod
    async def provision(
        cls,
        uri: str,
        key_method: str | None = None,
        pass_key: str | None = None,
        *,
        profile: str | None = None,
        recreate: bool = False,
    ) -> Store: ...
    @classmethod
    async def open(
        cls,
        uri: str,
        key_method: str | None = None,
        pass_key: str | None = None,
        *,
        profile: str | None = None,
    ) -> Store: ...
    @classmethod
    async def remove(cls, uri: str) -> bool: ...
    @property
    def uri(self) -> str: ...
    async def create_profile(self, name: str | None = None) -> str: ...
    async def get_profile_name(self) -> str: ...
    async def get_default_profile(self) -> str: ...
    async def set_default_profile(self, profile: str) -> None: ...
    async def remove_profile(self, name: str) -> bool: ...
    async def list_profiles(self) -> list[str]: ...
    async def rename_profile(self, from_name: str, to_name: str) -> None: ...
    async def rekey(
        self, key_method: str | None = None, pass_key: str | None = None
    ) -> None: ...
    async def copy_to(
        self,
        target_uri: str,
        key_method: str | None = None,
        pass_key: str | None = None,
        *,
        recreate: bool = False,
    ) -> Store: ...
    async def copy_profile_to(
        self, to_store: Store, from_profile: str, to_profile: str | None = None
    ) -> None: ...
    def scan(
        self,
        category: str | None = None,
        tag_filter: str | dict[str, Any] | None = None,
        offset: int | None = None,
        limit: int | None = None,
        profile: str | None = None,
        order_by: str | None = None,
        descending: bool = False,
    ) -> Scan: ...
    def session(self, profile: str | None = None) -> OpenSession: ...
    def transaction(
        self, profile: str | None = None, *, autocommit: bool | None = None
    ) -> OpenSession: ...
    async def close(self, *, remove: bool = False) -> bool: ...
    async def __aenter__(self) -> Session: ...
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None: ...
