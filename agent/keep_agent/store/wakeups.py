"""Wake-ups: processes that share a store tell each other what they committed, by LISTEN and NOTIFY of PostgreSQL.

A wake-up is only a hint: it may come twice, late, or not at all (its sender was killed after the commit,
or the connection broke). So a process that is woken reads the log, and reads it now and then without a wake-up.
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
"""How often to read the log without a wake-up while the connection is down."""
LOOK_S = 15.0
"""The same while the connection is up; it is checked then, too."""
FIRST_PAUSE_S = 0.1
ANSWER_S = 5.0
CLOSE_S = 1.0
MOST_BYTES = 7000  # the server takes 8000

OnWake = Callable[[str | None, int], None]
"""Called when the log of a profile has a row of this number; None: the log of any profile may have grown."""


class Wakeups:
    """Sends wake-ups to the other processes that share a store, and receives theirs.

    For SQLite, where one process has the store, it does nothing.

    Args:
        on_wake: must return at once; called for the wake-ups of other processes only.
        poll_s: see `POLL_S`.
    """

    def __init__(self, location: Location, on_wake: OnWake, *, poll_s: float = POLL_S) -> None:
        self._location = location
        self._on_wake = on_wake
        self._poll_s = poll_s
        self._connected = False
        self._unsent: dict[str, int] = {}
        self._has_unsent = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether wake-ups are received now; if not, the log is read every `poll_s`."""
        return self._connected

    def notify(self, profile: str, number: int) -> None:
        """Send the number of the newest row of a profile's log to the other processes, soon; does not wait.

        While an earlier wake-up is being sent, the highest number of each profile is collected for the next.
        """
        if isinstance(self._location, Postgres):
            self._unsent[profile] = max(number, self._unsent.get(profile, 0))
            self._has_unsent.set()

    async def run(self) -> None:
        """Send and receive until cancelled; what is still to be sent then gets a second."""
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

        pause, warned = FIRST_PAUSE_S, False
        while True:
            try:
                connection = await connect(location)
                try:
                    await self._listen_and_send(connection)
                finally:
                    connection.terminate()
            except (
                OSError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                UnavailableError,
            ) as error:
                if self._connected:
                    pause, warned = FIRST_PAUSE_S, False
                if not warned:
                    log.warning("no wake-ups from the store", extra={"why": str(error)})
                self._connected, warned = False, True
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._poll_s)

    async def _listen_and_send(self, connection: Connection) -> None:
        own = connection.get_server_pid()

        def received(_connection: Connection, sender: int, _channel: str, payload: str) -> None:
            if sender != own:
                for profile, number in json.loads(payload).items():
                    self._on_wake(profile, number)

        connection.add_termination_listener(lambda _connection: self._has_unsent.set())
        await connection.add_listener(CHANNEL, received)
        # a wake-up need not survive a power cut, so it does not wait for the disk
        await connection.execute("SET synchronous_commit = off", timeout=ANSWER_S)
        self._connected = True
        self._on_wake(None, 0)  # there may have been wake-ups before
        try:
            while not connection.is_closed():
                await self._send(connection)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._has_unsent.wait()
                        continue
                await connection.execute("SELECT 1", timeout=ANSWER_S)
                self._on_wake(None, 0)
            raise ConnectionError("the connection was closed")
        finally:
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await self._send(connection)
                    await connection.close()

    async def _send(self, connection: Connection) -> None:
        self._has_unsent.clear()
        while self._unsent:
            some = self._some_unsent()
            try:
                query = "SELECT pg_notify($1, $2)"
                await connection.execute(query, CHANNEL, json.dumps(some), timeout=ANSWER_S)
            except BaseException:
                for profile, number in some.items():
                    self.notify(profile, number)
                raise

    def _some_unsent(self) -> dict[str, int]:
        some: dict[str, int] = {}
        size = 0
        while self._unsent and size < MOST_BYTES - 300:
            profile, number = self._unsent.popitem()
            some[profile] = number
            size += len(json.dumps({profile: number}))
        return some
