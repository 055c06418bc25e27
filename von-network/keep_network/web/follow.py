"""Keeps the copy of the ledgers current: what is new is read, checked and told to open pages."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Collection
from dataclasses import asdict

from keep_network.json_shape import Json, is_object, object_of
from keep_network.web import merkle, signatures
from keep_network.web.connection import Connection
from keep_network.web.errors import RefusedError, UnavailableError
from keep_network.web.events import Events
from keep_network.web.health import Health
from keep_network.web.nodes import DOMAIN, LEDGERS, POOL, get_transaction
from keep_network.web.settings import Settings
from keep_network.web.store import Row, Store
from keep_network.web.transactions import Transaction

log = logging.getLogger(__name__)

_WATCHED_S = 0.5
_FRESH_S = 0.25
_AT_ONCE = 16
_SELDOM = 4  # the small ledgers hardly ever change
_ASK_S = 1
_WAIT_S = 2.5
_AFTER_TROUBLE_S = 2
_ANY = 1 << 47


class Follower:
    """The copy of the ledgers and the task that keeps it current."""

    def __init__(
        self, settings: Settings, connection: Connection, events: Events, health: Health
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._events = events
        self._health = health
        self._store: Store | None = None
        self._looking = asyncio.Lock()
        self._looked = self._asked = self._outdated = float(-_ANY)
        self._sure: set[int] = set()
        self._turn = 0
        self._looks: set[asyncio.Task[None]] = set()
        self._behind: dict[int, int] = {}

    @property
    def syncing(self) -> bool:
        """True while the nodes have more than the copy."""
        return len(self._behind) < len(LEDGERS) or any(self._behind.values())

    async def run(self) -> None:
        """Follow the network until cancelled."""
        nodes = await self._connection.connect()
        genesis = hashlib.sha256((self._connection.genesis or "").encode()).hexdigest()
        opening = asyncio.create_task(asyncio.to_thread(Store, self._settings.cache, genesis))
        try:
            store = await asyncio.shield(opening)
        except asyncio.CancelledError:  # a thread cannot be: it opens all the same
            (await opening).close()
            raise
        self._store = store
        try:
            await self._health.look(nodes)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._health.run(nodes), name="health")
                if self._settings.display:
                    tasks.create_task(self._follow(), name="follow")
        finally:
            for look in self._looks:
                look.cancel()
            self._store = None
            store.close()

    def copy(self) -> Store:
        """Return the copy as it is.

        Raises:
            UnavailableError: there is none yet.
        """
        if self._store is None:
            raise UnavailableError("Not ready")
        return self._store

    def outdate(self) -> None:
        """Say that something was written just now: what was read before is not fresh."""
        self._outdated = time.monotonic()
        self._events.call()

    async def fresh(self) -> Store:
        """Return the copy with what the nodes had just now, if that is quickly to be had.

        Raises:
            UnavailableError: there is none yet.
        """
        store = self.copy()
        if not self._looks or self._asked < self._outdated:
            self._asked = time.monotonic()
            look = asyncio.create_task(self._look(LEDGERS.values()), name="look")
            self._looks.add(look)  # nobody who stops waiting interrupts it
            look.add_done_callback(self._looked_at)
        await asyncio.wait(self._looks, timeout=_WAIT_S)
        return store

    def _looked_at(self, look: asyncio.Task[None]) -> None:
        self._looks.discard(look)
        if not look.cancelled() and (error := look.exception()):
            log.info("cannot follow the ledgers: %s", error)

    async def _follow(self) -> None:
        while True:
            pause = _WATCHED_S if self._events.watched else self._settings.resync_s
            try:
                some = self.syncing or self._turn % _SELDOM == 0
                await self._look(LEDGERS.values() if some else [DOMAIN])
            except (UnavailableError, RefusedError) as error:
                log.info("cannot follow the ledgers: %s", error)
                pause = _AFTER_TROUBLE_S
            else:
                pause = 0 if self.syncing else pause
            await self._events.wait(pause)

    async def _look(self, ledgers: Collection[int]) -> None:
        """Ask one node how long these ledgers are, and read what is new."""
        async with self._looking:
            begun = time.monotonic()
            recent = self._looked > max(begun - _FRESH_S, self._outdated)
            if recent and not self.syncing:
                return
            self._turn += 1
            name = self._health.pick(self._connection.nodes, self._turn)
            for ledger in ledgers:
                size = await self._size(name, ledger)
                if size is not None:
                    await self._take(ledger, size)
                    self._sure.add(ledger)
            if len(ledgers) == len(LEDGERS):
                self._looked = begun

    async def _size(self, name: str, ledger: int) -> int | None:
        """Return the length of a ledger at a node, None if the node does not say."""
        told = await self._connection.nodes.ask(get_transaction(ledger, 1), [name], _ASK_S)
        answer = told[name]
        if answer is None:
            return None
        data = answer.get("data")
        return int(data["ledgerSize"]) if data else 0

    async def _take(self, ledger: int, size: int) -> None:
        store = self.copy()
        have = await asyncio.to_thread(store.size, ledger)
        if (
            have
            and (size < have or ledger not in self._sure)
            and await self._is_other(ledger, have)
        ):
            log.warning("this is a new network; its ledgers are read again")
            await asyncio.to_thread(store.clear)
            have = 0
        end = max(have, min(size, have + self._settings.fetch))
        new = end > have
        while have < end:
            upto = min(end, have + _AT_ONCE)
            found = await asyncio.gather(
                *(self._read(ledger, n) for n in range(have + 1, upto + 1))
            )
            await asyncio.to_thread(self._keep, ledger, found)
            have = upto
            self._events.tell("ledger", {"ledger": ledger, "size": have})
        self._behind[ledger] = max(0, size - have)
        if new and ledger == POOL:
            await self._connection.nodes.refresh()

    async def _is_other(self, ledger: int, last: int) -> bool:
        """Say whether our last transaction is not the ledger's: the network was made anew."""
        answer = await self._connection.nodes.read(get_transaction(ledger, last))
        mine = await asyncio.to_thread(self.copy().get, ledger, str(last))
        theirs = object_of(answer.get("data"))
        return mine is None or theirs.get("txn") != mine.transaction().get("txn")

    async def _read(self, ledger: int, number: int) -> Json:
        answer = await self._connection.nodes.read(get_transaction(ledger, number))
        data = answer.get("data")
        if not is_object(data):
            raise UnavailableError(f"transaction {number} of ledger {ledger} is not there yet")
        return data

    def _keep(self, ledger: int, found: list[Json]) -> None:
        store = self.copy()
        now = int(time.time())
        for number, data in enumerate(found, store.size(ledger) + 1):
            row = _row(store, ledger, data, now)
            if row.seq == number:
                store.add([row])


def _row(store: Store, ledger: int, data: Json, now: int) -> Row:
    txn = Transaction(data)
    before, until = (txn.seq, _ANY) if ledger == DOMAIN else (_ANY, txn.time)
    signed = signatures.check(data, lambda did: store.verkey(did, before, until))
    checks = {
        "first": not store.about(txn.subject, txn.type, 1),
        "path": merkle.fits(data),
        "signed": [asdict(one) for one in signed],
    }
    return Row(
        ledger=ledger,
        seq=txn.seq,
        id=txn.id,
        type=txn.type,
        time=txn.time,
        added=now,
        author=txn.author,
        endorser=txn.endorser,
        subject=txn.subject,
        body=json.dumps(data, ensure_ascii=False),
        checks=json.dumps(checks),
        words=txn.words,
    )
