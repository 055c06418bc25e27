"""Processes that share a store wake each other: LISTEN and NOTIFY of PostgreSQL, beside Askar.

A wake-up is a hint: it may come twice, late, or not at all (its sender was killed after the commit,
the connection broke). So whoever is woken reads the log, and is woken without a reason now and then.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from keep_agent.errors import UnavailableError
from keep_agent.store.location import Location, Postgres
from keep_agent.store.provision import connect

if TYPE_CHECKING:
    from asyncpg import Connection

log = logging.getLogger(__name__)

CHANNEL = "indykeep"
POLL_S = 1.5
"""How often to look without being told while the connection is down."""
LOOK_S = 15.0
"""The same while it is up; the connection is tried then, too."""
FIRST_PAUSE_S = 0.1
ANSWER_S = 5.0
CLOSE_S = 1.0
MOST_BYTES = 7000  # the server takes 8000

OnWake = Callable[[str | None, int], None]
"""Told that a profile's log has reached a number; None: any profile's may have moved on."""


class Wakeups:
    """What one process tells the others that share its store, and hears from them.

    On SQLite, which nobody shares, it does nothing.

    Args:
        on_wake: must return at once; called for what others say, never for our own.
        poll_s: see `POLL_S`.
    """

    def __init__(self, location: Location, on_wake: OnWake, *, poll_s: float = POLL_S) -> None:
        self._location = location
        self._on_wake = on_wake
        self._poll_s = poll_s
        self._connected = False
        self._owed: dict[str, int] = {}
        self._owing = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether wake-ups are heard now; else the store is looked at every `poll_s`."""
        return self._connected

    def notify(self, profile: str, number: int) -> None:
        """Tell the others that a profile's log has reached a number; costs nothing and never waits.

        What is said while an earlier one is on its way goes with the next: the highest of a profile.
        """
        if isinstance(self._location, Postgres):
            self._owed[profile] = max(number, self._owed.get(profile, 0))
            self._owing.set()

    async def run(self) -> None:
        """Listen and tell until cancelled; what is owed then is still told, if that takes no second."""
        if not isinstance(self._location, Postgres):
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._poll(), name="store poll")
            tasks.create_task(self._stay_connected(self._location), name="store wake-ups")

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            if not self._connected:
                self._on_wake(None, 0)

    async def _stay_connected(self, location: Postgres) -> None:
        import asyncpg  # noqa: PLC0415 - an extra

        pause, told = FIRST_PAUSE_S, False
        while True:
            try:
                connection = await connect(location)
                try:
                    await self._listen_and_tell(connection)
                finally:
                    connection.terminate()
            except (
                OSError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                UnavailableError,
            ) as error:
                if self._connected:
                    pause, told = FIRST_PAUSE_S, False
                if not told:
                    log.warning("no wake-ups from the store", extra={"why": str(error)})
                self._connected, told = False, True
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._poll_s)

    async def _listen_and_tell(self, connection: Connection) -> None:
        own = connection.get_server_pid()

        def heard(_connection: Connection, sender: int, _channel: str, payload: str) -> None:
            if sender != own:
                for profile, number in json.loads(payload).items():
                    self._on_wake(profile, number)

        connection.add_termination_listener(lambda _connection: self._owing.set())
        await connection.add_listener(CHANNEL, heard)
        # a wake-up that nobody gets after a power cut is not worth waiting for the disk
        await connection.execute("SET synchronous_commit = off", timeout=ANSWER_S)
        self._connected = True
        self._on_wake(None, 0)  # what was said while we did not listen
        try:
            while not connection.is_closed():
                await self._tell(connection)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._owing.wait()
                        continue
                await connection.execute("SELECT 1", timeout=ANSWER_S)
                self._on_wake(None, 0)
            raise ConnectionError("the connection was closed")
        finally:
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await self._tell(connection)
                    await connection.close()

    async def _tell(self, connection: Connection) -> None:
        self._owing.clear()
        while self._owed:
            some = self._some_owed()
            try:
                query = "SELECT pg_notify($1, $2)"
                await connection.execute(query, CHANNEL, json.dumps(some), timeout=ANSWER_S)
            except BaseException:
                for profile, number in some.items():
                    self.notify(profile, number)
                raise

    def _some_owed(self) -> dict[str, int]:
        some: dict[str, int] = {}
        size = 0
        while self._owed and size < MOST_BYTES - 300:
            profile, number = self._owed.popitem()
            some[profile] = number
            size += len(json.dumps({profile: number}))
        return some
