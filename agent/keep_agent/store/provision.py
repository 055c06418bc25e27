"""Opens a store or makes it, in a file or a database.

What Askar 0.5.0 does on PostgreSQL 15, as measured:

- `transaction(profile)` begins with a lock on the profile's row (`SELECT ... FOR NO KEY UPDATE`), so
  transactions of one profile run one after the other, in whichever process; those of different
  profiles do not wait for each other. A `session()` takes no lock, and reads and writes during transactions. Only
  a process's first use of a profile waits for a transaction on it, as it reads the profile's key with the same lock.
- The next transaction begins as soon as the one before commits, or its process dies. If a process is stopped
  inside a transaction, the server ends its connection after `location.IDLE_MS`.
- Every error of a connection has the code BACKEND. The text says where it happened.
  "Error starting transaction": nothing is written. In an operation ("Backend error"): nothing is written.
  **"Error closing transaction", from `commit()`: it is not known.** The text is the same whether the request
  or the answer was lost; only reading what should have been written shows it.
- A dead connection in the pool is noticed when it is used: after a restart of the server each
  of them costs one failed start (8 idle connections: 8 failures, 0.3 ms each; the ninth works). So
  a failed start is tried again up to `location.SESSIONS` times, or the store is closed and opened.
- After DUPLICATE (insert) and NOT_FOUND (replace) the transaction can go on and commit.
- A profile that another process made is found; one that another process removed gives NOT_FOUND ("Session
  profile has been removed").

On both backends: `$in` is fast on unencrypted tags only (64 values among 100,000 tags: encrypted 300 ms,
unencrypted 1), as the index of encrypted tags is by their first 12 bytes, which `$in` does not use; a
scan without a tag, ordered by id, reads its whole profile (100,000 rows on SQLite: the newest row of another
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
"""Number of the advisory lock: arbitrary, but the same in every process."""


@asynccontextmanager
async def exclusively(location: Location) -> AsyncGenerator[None, None]:
    """Within this block no other process makes or migrates the store; the database is made if there is none.

    For a file this does nothing: the lock file beside it (`lock_file`) is held already.

    Raises:
        UnavailableError: the database does not answer or refuses the connection, or another process has been
            making or migrating it for a minute.
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
    """Open the store with a raw key, or make it; only within `exclusively`, as two processes at once fail.

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
    """Connect to a database with a connection of its own, beside those of Askar.

    Args:
        dsn: where to, if not to the database of the location.

    Raises:
        UnavailableError: it does not answer or refuses the connection.
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
        raise UnavailableError(f"cannot make the database {location}: {error}") from error
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
