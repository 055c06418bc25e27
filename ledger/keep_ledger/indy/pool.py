"""The connection to the validators of one network: opened when needed, with time limits and a status."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import indy_vdr
from indy_vdr import VdrError, VdrErrorCode
from indy_vdr.ledger import build_custom_request

from keep_ledger.errors import GenesisError, LedgerError, LedgerUnavailableError
from keep_ledger.indy import replies, requests
from keep_ledger.indy.cache_files import read_text, write_text
from keep_ledger.indy.genesis import Genesis
from keep_ledger.indy.native_pool import NativePool
from keep_ledger.interface import LedgerStatus
from keep_ledger.json_object import Json

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_READ_S = 15.0
_WRITE_S = 45.0
_SILENT_S = 2
_EACH_S = (2, 10)
_SPREAD_S = 5.0
_SPREAD_PAUSE_S = 0.05
_CLOSE_S = 1.0
_CLOSE_LOOKS = 20
_REFRESH_S = 10.0
_OPEN_S = 5.0
_SETTINGS = {
    "freshness_threshold": replies.FRESH_S,
    "ack_timeout": 5,
    "reply_timeout": 30,
}
_TRANSACTIONS = "pool.jsonl"


_SILENT = "timeout"


class RequestRefusedError(LedgerError):
    """The validators refused a request; the text is a node's message, JSON."""


@dataclass(slots=True)
class _Health:
    answers: bool | None = None
    nodes: int = 0
    since: datetime | None = None
    last_error: str | None = None

    def now(self, *, answers: bool) -> None:
        if self.answers is not answers:
            self.answers, self.since = answers, datetime.now(UTC)


class Pool:
    """The validators of one network.

    Args:
        namespace: its name, for the status.
        genesis: reads the genesis transactions; called until it succeeds once.
        folder: cache of newer pool transactions, so that a changed set of validators is known
            at the next start even if those of the genesis are gone; None caches nothing.
    """

    def __init__(
        self, namespace: str, genesis: Callable[[], Awaitable[Genesis]], folder: Path | None
    ) -> None:
        self._namespace = namespace
        self._genesis = genesis
        self._folder = folder
        self._opening = asyncio.Lock()
        self._pool: NativePool | None = None
        self._asks = 0
        self._proofs_count = True
        self._refreshed = False
        self._health = _Health()
        self._names: tuple[str, ...] = ()

    def status(self) -> LedgerStatus:
        """Whether the network answered when it was last asked."""
        h = self._health
        return LedgerStatus(self._namespace, h.answers, h.nodes, h.since, h.last_error)

    async def ask(self, operation: Json, ledger_id: int) -> Json:
        """Read an answer to this question that has a fresh proof, or on which f + 1 nodes agree.

        Raises:
            LedgerUnavailableError: there was no such answer in time.
        """
        question = requests.request(operation)
        text = json.dumps(question)
        reply = await self._read(lambda pool: pool.submit_request(build_custom_request(text)))
        replies.check_answers(question, reply)
        proved = self._proofs_count and replies.proved(reply, ledger_id, time.time())
        if proved and replies.covered(reply):
            return reply
        texts = await self._each(text)
        return replies.agreed(question, texts.values(), self._health.nodes)

    async def hint(self, operation: Json) -> Json:
        """Read an answer without any proof; the caller must not rely on it.

        Raises:
            LedgerUnavailableError: no answer in time.
        """
        text = json.dumps(requests.request(operation))
        return await self._read(lambda pool: pool.submit_request(build_custom_request(text)))

    async def each(self, operation: Json) -> tuple[Json, dict[str, str]]:
        """Ask every node the same question; each answer is unproved.

        Returns:
            The question, and the answers by the names of their nodes.

        Raises:
            LedgerUnavailableError: there was no answer in time.
        """
        question = requests.request(operation)
        return question, await self._each(json.dumps(question))

    async def _each(self, text: str) -> dict[str, str]:
        """Ask all nodes; silent ones are waited for only while too few others have answered."""
        texts: dict[str, str] = {}
        for seconds in _EACH_S:
            texts = await self._read(
                partial(_submit_to_all, request=build_custom_request(text), seconds=seconds)
            )
            if sum(one != _SILENT for one in texts.values()) > replies.faulty(len(texts)):
                break
        return texts

    async def one(self, operation: Json, node: str, seconds: int) -> Json:
        """Ask one node; the answer is not proved, and decides nothing by itself.

        Raises:
            LedgerUnavailableError: it gave no answer to this question in time.
        """
        question = requests.request(operation)
        text = json.dumps(question)
        texts = await self._read(
            lambda pool: pool.submit_action(build_custom_request(text), [node], seconds)
        )
        try:
            result: Json = json.loads(texts[node])["result"]
            replies.check_answers(question, result)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LedgerUnavailableError(f"{node} did not answer") from error
        return result

    async def spread(self, ledger_id: int, number: int) -> None:
        """Wait, but not long, until all nodes that answer have a transaction.

        A write is believed when more than f nodes answered; a read may ask another one, which
        proves what was a moment ago.
        """
        question, end = requests.get_txn(number, ledger_id), time.monotonic() + _SPREAD_S

        async def has(node: str) -> None:
            with suppress(LedgerUnavailableError):
                while (await self.one(question, node, _SILENT_S)).get("data") is None:
                    if time.monotonic() > end:
                        return
                    await asyncio.sleep(_SPREAD_PAUSE_S)

        with suppress(LedgerUnavailableError):
            await asyncio.gather(*map(has, await self.nodes()))

    async def nodes(self) -> tuple[str, ...]:
        """The names of the validators.

        Raises:
            LedgerUnavailableError: none of them answers.
        """
        await self._opened()
        return self._names

    async def write(self, request: indy_vdr.Request) -> Json:
        """Send a signed request, and return the reply on which f + 1 nodes agree.

        Raises:
            RequestRefusedError: they refused it.
            LedgerUnavailableError: there was no answer in time; it may still be written.
        """
        return await self._call(lambda pool: pool.submit_request(request), _WRITE_S)

    async def _read(self, call: Callable[[NativePool], Awaitable[Answer]]) -> Answer:
        try:
            return await self._call(call, _READ_S)
        except RequestRefusedError as error:
            raise LedgerUnavailableError(f"the nodes refuse to answer: {error}") from error

    async def _call(
        self, call: Callable[[NativePool], Awaitable[Answer]], seconds: float
    ) -> Answer:
        pool = await self._opened()
        try:
            async with asyncio.timeout(seconds):
                answer = await call(pool)
        except VdrError as error:
            if error.code is VdrErrorCode.POOL_REQUEST_FAILED:
                self._health.now(answers=True)
                raise RequestRefusedError(error.extra or str(error)) from error
            raise self._down(str(error)) from error
        except TimeoutError as error:
            raise self._down(f"no answer within {seconds:g} s") from error
        self._health.now(answers=True)
        return answer

    def _down(self, reason: str) -> LedgerUnavailableError:
        """Note the failure; the list of validators is read again before the next request."""
        self._refreshed = False
        self._health.now(answers=False)
        self._health.last_error = reason
        log.warning("ledger unavailable", extra={"ledger": self._namespace, "why": reason})
        return LedgerUnavailableError(f"{self._namespace}: {reason}")

    async def _opened(self) -> NativePool:
        if self._pool is not None and self._refreshed:
            return self._pool
        async with self._opening:
            if self._pool is None:
                self._pool = await self._open()
            if not self._refreshed:
                await self._refresh(self._pool)
            return self._pool

    async def _open(self) -> NativePool:
        try:
            genesis = await self._genesis()
            kept = await asyncio.to_thread(self._kept, genesis)
            newest = kept or genesis
            pool = self._native(newest.text, len(newest.validators))
            if kept is None:
                await _check_complete(pool, genesis)
        except LedgerUnavailableError as error:
            raise self._down(str(error)) from error
        except VdrError as error:
            raise self._down(f"the genesis is not usable: {error}") from error
        return pool

    def _native(self, transactions: str, nodes: int) -> NativePool:
        """Make a native pool that asks so many nodes at once that one of them lives if f + 1 do.

        indy-vdr gives a read up when none of those that it asked first answers.
        """
        self._asks = _at_once(nodes)
        # of the process; read when a pool is made
        indy_vdr.set_config(_SETTINGS | {"request_read_nodes": self._asks})
        return NativePool(transactions)

    def _kept(self, genesis: Genesis) -> Genesis | None:
        text = self._folder and read_text(self._folder / _TRANSACTIONS)
        try:
            kept = Genesis.parse(text) if text else None
        except GenesisError:
            return None
        return kept if kept and genesis.begins(kept) else None

    async def _refresh(self, pool: NativePool) -> None:
        try:
            async with asyncio.timeout(_REFRESH_S):
                status = await pool.refresh()
                transactions = await pool.get_transactions()
        except VdrError as error:
            if error.code is not VdrErrorCode.POOL_TIMEOUT:
                await self._forget()
            raise self._down(str(error)) from error
        except TimeoutError as error:
            raise self._down(f"no validator answers within {_REFRESH_S:g} s") from error
        self._refreshed = True
        self._names = tuple(sorted(status["nodes"]))
        self._health.nodes = len(self._names)
        self._proofs_count = replies.enough_sign(len(self._names), status["signers"])
        self._health.now(answers=True)
        if self._asks != _at_once(len(self._names)):
            self._pool = self._native(transactions, len(self._names))
            pool.close()
        if self._folder:
            await asyncio.to_thread(self._keep, self._folder, transactions)

    def _keep(self, folder: Path, transactions: str) -> None:
        path = folder / _TRANSACTIONS
        if read_text(path) != transactions:
            try:
                write_text(path, transactions)
            except OSError as error:
                log.warning("pool transactions not cached", extra={"why": str(error)})

    async def _forget(self) -> None:
        """Start from the genesis next time: the cached transactions may be wrong."""
        if self._folder:
            path = self._folder / _TRANSACTIONS
            await asyncio.to_thread(path.unlink, missing_ok=True)
        await self._close()

    async def refresh(self) -> LedgerStatus:
        """Read the list of validators now."""
        self._refreshed = False
        try:
            await self._opened()
        except LedgerUnavailableError:
            log.debug("refresh failed", extra={"ledger": self._namespace})
        return self.status()

    async def _close(self) -> None:
        """Close, and wait a moment for that; a request on its way would take longer."""
        pool, self._pool = self._pool, None
        self._refreshed = False
        if pool is None:
            return
        closing = pool.close()
        for _ in range(_CLOSE_LOOKS):
            if not closing.is_alive():
                return
            await asyncio.sleep(_CLOSE_S / _CLOSE_LOOKS)

    async def close(self) -> None:
        """Close the connections; another request would open them again."""
        async with self._opening:
            await self._close()


async def _submit_to_all(
    pool: NativePool, request: indy_vdr.Request, seconds: int
) -> dict[str, str]:
    return await pool.submit_action(request, None, seconds)


def _at_once(nodes: int) -> int:
    return 2 * replies.faulty(nodes) + 1


async def _check_complete(pool: NativePool, genesis: Genesis) -> None:
    """Check that indy-vdr leaves no validator out, as it does with unusable keys: that lowers f.

    Raises:
        GenesisError: names those that are left out.
    """
    try:
        async with asyncio.timeout(_OPEN_S):
            left_out = set(genesis.validators) - set((await pool.status())["nodes"])
    except TimeoutError as error:
        raise GenesisError("the genesis is not usable: indy-vdr cannot open it") from error
    if left_out:
        pool.close()
        raise GenesisError(
            f"the genesis has validators whose keys are no keys: {', '.join(sorted(left_out))};"
            " ask those who run the network for its pool transactions"
        )
