"""All transactions of a ledger, and the proof that none is missing, changed or added.

More than f of n nodes, at least one of them honest, must agree on the number of transactions and on the
root hash. The transactions themselves may come from any node: the root is computed from them.

Why not use the root in a state proof: where enough nodes give the same answer, indy-vdr accepts that as
proof and returns the reply with the newest signature, which it has not verified.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import base58

from keep_ledger import codes
from keep_ledger.errors import LedgerUnavailableError
from keep_ledger.indy import merkle, replies, requests
from keep_ledger.indy.cache_files import read_text, write_text
from keep_ledger.indy.pool import Pool
from keep_ledger.indy.replies import UntrustedReplyError
from keep_ledger.json_object import Json

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with how many transactions have been read, and how many there are."""

_ONE_S = 10
_AT_ONCE = 20
_BLOCK = 200
_HEAD_LOOKS = 6
_HEAD_PAUSE_S = 0.3


@dataclass(frozen=True, slots=True)
class Head:
    """The length of a ledger, and its Merkle root."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class History:
    """A whole ledger as it was at some moment, proved to be complete and unchanged.

    Attributes:
        transactions: all, in order; number n is at index n - 1.
        root: their Merkle root, on which more than f nodes agree.
        read_at: Unix seconds of that moment.
    """

    ledger_id: int
    transactions: tuple[Json, ...]
    root: bytes
    read_at: float


def quiet(_done: int, _size: int) -> None:
    """A `Progress` that does nothing."""


async def head(pool: Pool, ledger_id: int) -> Head:
    """The length and root on which more than f nodes agree; of several, the longest.

    Raises:
        UntrustedReplyError: they do not agree.
    """
    nodes = len(await pool.nodes())
    for look in range(_HEAD_LOOKS):
        await asyncio.sleep(look * _HEAD_PAUSE_S)
        question, texts = await pool.each(requests.get_txn(1, ledger_id))
        if found := agreed_head(question, texts.values(), nodes):
            return found
    raise UntrustedReplyError(
        f"the nodes do not agree on the {codes.LEDGER_NAMES[ledger_id]} ledger's length"
    )


def agreed_head(question: Json, texts: Iterable[str], nodes: int) -> Head | None:
    """The length and root on which more than f of n nodes agree; None if they do not.

    Args:
        question: a GET_TXN for the first transaction.
        texts: the answers, one per node.
        nodes: n.
    """
    votes = Counter(claim for text in texts if (claim := _claim(question, text)))
    sure = [claim for claim, count in votes.items() if count > replies.faulty(nodes)]
    return max(sure, key=lambda claim: claim.size, default=None)


def _claim(question: Json, text: str) -> Head | None:
    try:
        result: Json = json.loads(text)["result"]
        replies.check_answers(question, result)
        data = result["data"]
        if data is None:
            return Head(0, merkle.EMPTY)
        size, root = data["ledgerSize"], base58.b58decode(data["rootHash"])
    except (ValueError, KeyError, TypeError, AttributeError, UntrustedReplyError):
        return None
    sound = type(size) is int and size > 0 and merkle.number_of(data) == 1
    return Head(size, root) if sound else None


class LedgerReader:
    """Reads one ledger: all of it the first time, later only what is new.

    Args:
        file: cache of what was read, one transaction per line; None caches nothing. It is not trusted:
            the root is computed from it as from the nodes' answers.
    """

    def __init__(self, pool: Pool, ledger_id: int, file: Path | None) -> None:
        self._pool = pool
        self._ledger_id = ledger_id
        self._file = file
        self._known: list[Json] | None = None
        self._leaves: list[bytes] = []
        self._order: list[str] = []
        self._reading = asyncio.Lock()

    @property
    def has_read(self) -> bool:
        """Whether the ledger was read before, so that only new transactions are read now."""
        return self._known is not None

    async def read(self, progress: Progress = quiet) -> History:
        """Read the whole ledger.

        Raises:
            UntrustedReplyError: no node gives transactions that have the agreed root.
            LedgerUnavailableError: there was no answer in time; what was read is cached.
        """
        async with self._reading:
            at = await head(self._pool, self._ledger_id)
            self._order = list(await self._pool.nodes())
            known = await self._load()
            for _ in range(replies.faulty(len(self._order)) + 2):
                await self._fill(known, at.size, progress)
                if merkle.root(self._leaves[: at.size]) == at.root:
                    found = tuple(known[: at.size])
                    return History(self._ledger_id, found, at.root, time.time())
                await self._drop(known)
            name = codes.LEDGER_NAMES[self._ledger_id]
            raise UntrustedReplyError(
                f"no node gives the transactions of the {name} ledger that the nodes agree on"
            )

    async def _load(self) -> list[Json]:
        if self._known is not None:
            return self._known
        known, self._leaves = await asyncio.to_thread(_kept, self._file)
        self._known = known
        return known

    async def _drop(self, known: list[Json]) -> None:
        """Start again with another node: what was read or cached is not the ledger."""
        ledger, node = codes.LEDGER_NAMES[self._ledger_id], self._order[0]
        log.warning("a node gave a wrong ledger", extra={"ledger": ledger, "read_from": node})
        self._order.append(self._order.pop(0))
        known.clear()
        self._leaves.clear()
        if self._file:
            await asyncio.to_thread(self._file.unlink, missing_ok=True)

    async def _fill(self, known: list[Json], size: int, progress: Progress) -> None:
        while len(known) < size:
            numbers = range(len(known) + 1, min(len(known) + _BLOCK, size) + 1)
            block = await self._block(numbers)
            self._leaves += map(merkle.leaf, block)
            known += block
            if self._file:
                await asyncio.to_thread(_append, self._file, block)
            progress(len(known), size)

    async def _block(self, numbers: Iterable[int]) -> list[Json]:
        slots = asyncio.Semaphore(_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(self._get(n, slots)) for n in numbers]
        except* LedgerUnavailableError as group:
            raise _first(group) from group
        return [task.result() for task in asked]

    async def _get(self, number: int, slots: asyncio.Semaphore) -> Json:
        """One transaction, from the first node that gives it completely."""
        async with slots:
            for node in tuple(self._order):
                try:
                    found = await self._ask(number, node)
                except LedgerUnavailableError:
                    self._order.remove(node)
                    self._order.append(node)
                    continue
                if found is not None:
                    return found
        name = codes.LEDGER_NAMES[self._ledger_id]
        raise LedgerUnavailableError(f"no node shows transaction {number} of the {name} ledger")

    async def _ask(self, number: int, node: str) -> Json | None:
        reply = await self._pool.one(requests.get_txn(number, self._ledger_id), node, _ONE_S)
        data: Any = reply.get("data")
        if not isinstance(data, dict) or merkle.number_of(data) != number:
            return None
        return lasting(cast("Json", data))


def _first(group: BaseExceptionGroup[LedgerUnavailableError]) -> LedgerUnavailableError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def lasting(transaction: Json) -> Json | None:
    """The part of a transaction to cache; None if its audit path does not lead to its root.

    Nodes that joined late do not have the values of attributes, and give an incomplete transaction.
    """
    try:
        likely = list(merkle.leaves(transaction))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not any(merkle.fits(one, transaction) for one in likely):
        return None
    return transaction if len(likely) > 1 else merkle.stored(transaction)


def _kept(file: Path | None) -> tuple[list[Json], list[bytes]]:
    """Transactions and leaves in a file, up to the first bad line."""
    lines = ((file and read_text(file)) or "").splitlines()
    found: list[Json] = []
    leaves: list[bytes] = []
    for number, line in enumerate(lines, 1):
        try:
            transaction = json.loads(line)
            if merkle.number_of(transaction) != number:
                break
            leaves.append(merkle.leaf(transaction))
        except (ValueError, KeyError, TypeError, AttributeError):
            break
        found.append(transaction)
    if file and len(found) < len(lines):
        write_text(file, "".join(f"{line}\n" for line in lines[: len(found)]))
    return found, leaves


def _append(file: Path, block: list[Json]) -> None:
    text = "".join(f"{json.dumps(one)}\n" for one in block)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as end:
            end.write(text)
    except OSError as error:
        log.warning("ledger not cached", extra={"why": str(error)})
