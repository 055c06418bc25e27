"""Opening a store, or making it: the same for a file and for a database.

What Askar 0.5.0 does on PostgreSQL 15, as measured:

- `transaction(profile)` begins with a lock on the profile's row (`SELECT ... FOR NO KEY UPDATE`), so
  transactions of one profile run one after the other, whichever process has them; those of other
  profiles do not wait. A bare `session()` takes no lock: it reads and writes meanwhile. Only a process's
  first use of a profile waits for a transaction on it, as it reads the profile's key with the same lock.
- Whoever waits is let in as soon as the other one commits, or its process dies. One that is stopped
  inside a transaction is thrown out by the server after `location.IDLE_MS`.
- Whatever goes wrong with a connection has the code BACKEND. The text says where:
  "Error starting transaction": nothing is written. An operation ("Backend error"): nothing is written.
  **"Error closing transaction", out of `commit()`: nobody knows.** It is the same text whether the request
  or the answer was lost; only reading what should have been written tells.
- A connection that died in the pool is found out when it is used: after a restart of the server each
  of them costs one failed start (8 idle connections: 8 failures, 0.3 ms each; the ninth works). So
  a failed start is tried again up to `location.SESSIONS` times, or the store is closed and opened.
- DUPLICATE (insert) and NOT_FOUND (replace) do not spoil the transaction: it goes on and may commit.
- A profile that another process made is found; one that another process removed gives NOT_FOUND ("Session
  profile has been removed").

And on both backends: `$in` is quick on plaintext tags only (64 values among 100,000 tags: encrypted 300 ms,
plaintext 1), as the index of encrypted tags is by the first 12 bytes and `$in` does not name these; a
scan without a tag, ordered by id, reads its whole profile (100,000 rows on SQLite: newest row of another
category 16 ms, a page 320).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from aries_askar import AskarError, AskarErrorCode
from aries_askar import Store as Askar

from keep_agent.errors import UnavailableError
from keep_agent.store.location import Location, Postgres, Sqlite
from keep_agent.store.statistics import write_statistics

if TYPE_CHECKING:
    from asyncpg import Connection

CONNECT_S = 10.0
TURN_S = 60.0
_LOCK = 0x696E64796B656570
"""Number of the advisory lock: any that nobody else takes."""


@asynccontextmanager
async def alone(location: Location) -> AsyncGenerator[None, None]:
    """Make or migrate the store while no other process does; makes the database if there is none.

    For a file the lock beside it (`lock_file`) has done that already.

    Raises:
        UnavailableError: the database does not answer or lets us not in, or another process has been
            at it for a minute.
    """
    if isinstance(location, Sqlite):
        yield
        return
    connection = await _connect_or_make(location)
    try:
        await _take_turn(connection, location)
        yield
    finally:
        await connection.close()  # gives the lock up


async def open_or_provision(location: Location, key: str) -> Askar:
    """Open the store with a raw key, or make it; inside of `alone`, as two at once fail.

    Raises:
        UnavailableError: the key is wrong, or the store cannot be read or made.
    """
    try:
        if isinstance(location, Sqlite) and not await asyncio.to_thread(
            write_statistics, location.path
        ):
            await (await Askar.provision(location.uri, "raw", key)).close()
            await asyncio.to_thread(write_statistics, location.path)
        return await Askar.provision(location.uri, "raw", key)
    except sqlite3.Error as error:
        raise UnavailableError(f"cannot open the store {location}: {error}") from error
    except AskarError as error:
        if error.code == AskarErrorCode.ENCRYPTION:
            why = f"the key does not open the store {location}; check the store key"
        else:
            why = f"cannot open the store {location}: {error}"
        raise UnavailableError(why) from error


async def connect(location: Postgres, dsn: str | None = None) -> Connection:
    """Connect to a database beside Askar.

    Args:
        dsn: another one than the location's own.

    Raises:
        UnavailableError: it does not answer or lets us not in.
    """
    import asyncpg  # noqa: PLC0415 - an extra

    try:
        return await asyncpg.connect(dsn or location.dsn, timeout=CONNECT_S)
    except asyncpg.InvalidCatalogNameError:
        raise
    except TimeoutError as error:
        raise UnavailableError(f"cannot reach {location}: no answer") from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise UnavailableError(f"cannot reach {location}: {error}") from error


async def _connect_or_make(location: Postgres) -> Connection:
    if find_spec("asyncpg") is None:
        raise UnavailableError(
            'stores in PostgreSQL need asyncpg: pip install "indykeep[postgres]"'
        )
    import asyncpg  # noqa: PLC0415 - an extra

    try:
        return await connect(location)
    except asyncpg.InvalidCatalogNameError:
        admin = await connect(location, location.admin_dsn)
    try:
        await admin.execute(f'CREATE DATABASE "{location.database}" OWNER "{location.user}"')
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        pass  # another process was first
    except asyncpg.PostgresError as error:
        raise UnavailableError(f"cannot make the database of {location}: {error}") from error
    finally:
        await admin.close()
    return await connect(location)


async def _take_turn(connection: Connection, location: Postgres) -> None:
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=TURN_S)
    except TimeoutError as error:
        raise UnavailableError(
            f"another process has been making or migrating {location} for {TURN_S:.0f} s"
        ) from error
