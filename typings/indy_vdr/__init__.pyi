# What this project uses of indy-vdr 0.4.2, read off its sources.
# A pool consumes a request: read `body` before.

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from indy_vdr.bindings import RequestHandle

class VdrErrorCode(IntEnum):
    SUCCESS = 0
    CONFIG = 1
    CONNECTION = 2
    FILESYSTEM = 3
    INPUT = 4
    RESOURCE = 5
    UNAVAILABLE = 6
    UNEXPECTED = 7
    RESOLVER = 9
    POOL_NO_CONSENSUS = 30
    POOL_REQUEST_FAILED = 31
    POOL_TIMEOUT = 32
    WRAPPER = 99

class VdrError(Exception):
    code: VdrErrorCode
    extra: str | None
    def __init__(self, code: VdrErrorCode, message: str, extra: str | None = None) -> None: ...

class Request:
    handle: RequestHandle | None
    @property
    def body(self) -> str: ...
    @property
    def signature_input(self) -> bytes: ...
    def set_signature(self, signature: bytes) -> None: ...
    def set_txn_author_agreement_acceptance(self, acceptance: dict[str, Any]) -> None: ...
    def set_multi_signature(self, identifier: str, signature: bytes) -> None: ...

def set_config(config: Mapping[str, int]) -> None: ...
