"""An indy-vdr pool that is closed when `close` is called, and never otherwise.

`indy_vdr.Pool` closes itself when its last reference goes, in whatever thread that happens. In the pool's
own thread, which calls back, it would wait for its own end: indy-vdr panics, and its lock is poisoned, so
that no pool of the process can be asked any more. Closing also waits for the requests that are on their
way while it holds that lock; therefore it begins when there are none left.
"""

from __future__ import annotations

import json
import time
from asyncio import Future
from collections.abc import Awaitable, Sequence
from threading import Thread
from typing import Any, TypeVar

from indy_vdr import Request, VdrError, VdrErrorCode, bindings

from keep_ledger.json_object import Json

Answer = TypeVar("Answer")

_LOOK_S = 0.02


class NativePool:
    """One native pool. Whoever makes it closes it; what is forgotten stays open and harms nobody."""

    def __init__(self, transactions: str) -> None:
        """Make it; no node is contacted.

        Args:
            transactions: those of the genesis or newer ones, one in a line.

        Raises:
            VdrError: they are something else.
        """
        self._handle = bindings.pool_create({"transactions": transactions})
        self._asked: list[Future[Any]] = []
        self._closing: Thread | None = None

    async def refresh(self) -> Json:
        """Ask the nodes for newer pool transactions; returns the status.

        Raises:
            VdrError: as everything here: the nodes refuse or do not answer, or the pool is closed.
        """
        await self._answer(bindings.pool_refresh(self._open()))
        return await self.status()

    async def status(self) -> Json:
        """What is known without asking: the names of the validators as `nodes`, how many sign as `signers`."""
        text = await self._answer(bindings.pool_get_status(self._open()))
        status: Json = json.loads(text)
        text = await self._answer(bindings.pool_get_verifiers(self._open()))
        verifiers: Json = json.loads(text)
        status["signers"] = sum(bool(one.get("bls_key")) for one in verifiers.values())
        return status

    async def get_transactions(self) -> str:
        """The pool transactions as they are known now."""
        return await self._answer(bindings.pool_get_transactions(self._open()))

    async def submit_request(self, request: Request) -> Json:
        """Read or write; the request is used up, and the answer is the result that the nodes agree on."""
        pool, asked = self._open(), _taken(request)
        text = await self._answer(bindings.pool_submit_request(pool, asked))
        result: Json = json.loads(text)["result"]
        return result

    async def submit_action(
        self,
        request: Request,
        node_aliases: Sequence[str] | None = None,
        timeout: int | None = None,  # noqa: ASYNC109 - the library's own, in seconds
    ) -> dict[str, str]:
        """Ask these nodes, or all: what each one says, or `timeout`. The request is used up."""
        pool, asked = self._open(), _taken(request)
        text = await self._answer(
            bindings.pool_submit_action(pool, asked, node_aliases, timeout)
        )
        answers: dict[str, str] = json.loads(text)
        return answers

    def close(self) -> Thread:
        """Begin to close it, in the thread that is returned; a second call changes nothing."""
        if self._closing is None:
            self._closing = Thread(target=self._close, name="close pool", daemon=True)
            self._closing.start()
        return self._closing

    def _close(self) -> None:
        while self._on_their_way():
            time.sleep(_LOOK_S)
        bindings.pool_close(self._handle)

    def _on_their_way(self) -> list[Future[Any]]:
        """What will still be called back for; a future that is cancelled changes nothing in that."""
        return [future for future in self._asked if future in bindings.CALLBACKS]

    def _answer(self, future: Future[Answer]) -> Awaitable[Answer]:
        self._asked = [*self._on_their_way(), future]
        return future

    def _open(self) -> bindings.PoolHandle:
        if self._closing is not None:
            raise VdrError(VdrErrorCode.WRAPPER, "the pool is closed")
        return self._handle


def _taken(request: Request) -> bindings.RequestHandle:
    """Take the handle of a request: the request no longer frees it."""
    handle, request.handle = request.handle, None
    if handle is None:
        raise VdrError(VdrErrorCode.WRAPPER, "the request was sent already")
    return handle
