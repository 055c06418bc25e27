# What this project uses of it, the parts that it inherits from `stp_zmq` included.

from typing import Any

import zmq
from stp_zmq.remote import Remote

class NodeZStack:
    listener: zmq.Socket | None
    remotesByKeys: dict[bytes, Remote]
    @property
    def remotes(self) -> dict[str, Remote]: ...
    @property
    def connecteds(self) -> set[str]: ...
    def transmit(
        self,
        msg: Any,
        uid: str,
        timeout: float | None = None,
        serialized: bool = False,
        is_batch: bool = False,
    ) -> tuple[bool, str | None]: ...
    def connect(
        self,
        name: str | None = None,
        remoteId: str | None = None,
        ha: tuple[str, int] | None = None,
        verKeyRaw: bytes | None = None,
        publicKeyRaw: bytes | None = None,
    ) -> str: ...
    def reconnectRemote(self, remote: Remote) -> None: ...
    def reconnectRemoteWithName(self, remoteName: str) -> None: ...
    def disconnectByName(self, remoteName: str) -> Remote | None: ...
    def _verifyAndAppend(self, msg: bytes, ident: bytes) -> bool: ...
