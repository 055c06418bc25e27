"""The nodes of a network as this server sees them (indy-vdr)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Protocol, Self

import indy_vdr
from indy_vdr import VdrError, VdrErrorCode
from indy_vdr.ledger import build_custom_request

from keep_network.json_shape import Json, is_object
from keep_network.native_pool import NativePool
from keep_network.web.errors import RefusedError, UnavailableError
from keep_network.web.keys import Key

DOMAIN, POOL, CONFIG = 1, 0, 2
LEDGERS = {"domain": DOMAIN, "pool": POOL, "config": CONFIG}
_NOBODY = "LibindyDid111111111111"
_PROTOCOL = 2
_OPEN_S = 30
_TIMEOUTS = {"ack_timeout": 4, "reply_timeout": 15, "freshness_threshold": 300}


class Nodes(Protocol):
    """What the server needs of a network."""

    @property
    def names(self) -> Sequence[str]:
        """The nodes that the pool ledger has now."""
        ...

    @property
    def bls_keys(self) -> Mapping[str, str]:
        """Their BLS keys, base58."""
        ...

    async def read(self, operation: Json) -> Json:
        """Read; the answer has a proof, or enough nodes agree on it.

        Raises:
            UnavailableError: too few nodes answer.
            RefusedError: the nodes do not take the request.
        """
        ...

    async def write(self, operation: Json, key: Key, extra: Json) -> int:
        """Write as a DID, and return the number of the transaction.

        Args:
            operation: the request's operation.
            key: who signs.
            extra: further fields of the request, `taaAcceptance` for one.

        Raises:
            UnavailableError, RefusedError: as `read`; unavailable may still mean written.
        """
        ...

    async def ask(
        self, operation: Json, names: Sequence[str], timeout_s: int, key: Key | None = None
    ) -> dict[str, Json | None]:
        """Ask single nodes, unproved; None for one that does not answer or refuses."""
        ...

    async def refresh(self) -> bool:
        """Follow the pool ledger to the nodes of today; False when that did not work."""
        ...

    def close(self) -> None:
        """Let go of the connections."""
        ...


class VdrNodes:
    """The nodes through indy-vdr."""

    def __init__(self, pool: NativePool) -> None:
        self._pool = pool
        self._verifiers: dict[str, Json] = {}
        self._last_id = 0

    @classmethod
    async def open(cls, genesis: str) -> Self:
        """Connect; the genesis is the text of its file.

        Raises:
            UnavailableError: it is not a genesis, or its nodes do not answer.
        """
        indy_vdr.set_config(_TIMEOUTS)
        try:
            nodes = cls(NativePool(genesis))
            try:
                async with asyncio.timeout(_OPEN_S):
                    await nodes._pool.refresh()
                    await nodes._look()
            except BaseException:
                nodes.close()
                raise
        except TimeoutError as error:  # silence is not an answer
            raise UnavailableError("the nodes do not answer") from error
        except VdrError as error:
            raise UnavailableError(_words(error)) from error
        return nodes

    @property
    def names(self) -> Sequence[str]:
        """As `Nodes`."""
        return sorted(self._verifiers)

    @property
    def bls_keys(self) -> Mapping[str, str]:
        """As `Nodes`."""
        return {name: str(told.get("bls_key")) for name, told in self._verifiers.items()}

    async def read(self, operation: Json) -> Json:
        """As `Nodes`; indy-vdr checks the proof, or asks more nodes."""
        return await self._submit(self._request(operation, _NOBODY))

    async def write(self, operation: Json, key: Key, extra: Json) -> int:
        """As `Nodes`."""
        request = self._request(operation, key.did, extra)
        request.set_signature(key.sign(_bytes(request.signature_input)))
        return int((await self._submit(request))["txnMetadata"]["seqNo"])

    async def ask(
        self, operation: Json, names: Sequence[str], timeout_s: int, key: Key | None = None
    ) -> dict[str, Json | None]:
        """As `Nodes`."""
        request = self._request(operation, key.did if key else _NOBODY)
        if key:
            request.set_signature(key.sign(_bytes(request.signature_input)))
        try:
            told = await self._pool.submit_action(request, list(names), timeout_s)
        except VdrError:
            told = {}
        return {name: _result(told.get(name)) for name in names}

    async def refresh(self) -> bool:
        """As `Nodes`."""
        try:
            await self._pool.refresh()
            await self._look()
        except VdrError:
            return False
        return True

    def close(self) -> None:
        """As `Nodes`."""
        self._pool.close()

    async def _look(self) -> None:
        self._verifiers = await self._pool.get_verifiers()

    def _request(
        self, operation: Json, identifier: str, extra: Json | None = None
    ) -> indy_vdr.Request:
        self._last_id = max(self._last_id + 1, time.time_ns())
        told = {
            "identifier": identifier,
            "reqId": self._last_id,
            "protocolVersion": _PROTOCOL,
            "operation": operation,
            **(extra or {}),
        }
        try:
            return build_custom_request(json.dumps(told))
        except VdrError as error:
            raise RefusedError(_words(error)) from error

    async def _submit(self, request: indy_vdr.Request) -> Json:
        try:
            return await self._pool.submit_request(request)
        except VdrError as error:
            if error.code == VdrErrorCode.POOL_REQUEST_FAILED:
                raise RefusedError(f"the nodes refused it: {_reason(error)}") from error
            raise UnavailableError(_words(error)) from error


def get_transaction(ledger: int, number: int) -> Json:
    """Return the operation that reads one transaction."""
    return {"type": "3", "ledgerId": ledger, "data": number}


def _words(error: VdrError) -> str:
    if error.code == VdrErrorCode.POOL_TIMEOUT:
        return "the nodes do not answer"
    if error.code == VdrErrorCode.POOL_NO_CONSENSUS:
        return "the nodes do not agree on an answer"
    return f"the nodes cannot be asked: {error}"


def _reason(error: VdrError) -> str:
    try:
        return str(json.loads(error.extra or "")["reason"])
    except (ValueError, KeyError, TypeError):
        return str(error.extra or error)


def _result(answer: str | None) -> Json | None:
    try:
        told = json.loads(answer or "")
    except ValueError:  # "timeout"
        return None
    if not is_object(told) or told.get("op") != "REPLY":
        return None
    result = told.get("result")
    return result if is_object(result) else None


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
