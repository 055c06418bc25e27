"""Removing a profile from an SQLite store so that its bytes are gone from the file.

Askar's own removal leaves them in free pages and in the write-ahead log until something else is written there: rows,
which are encrypted, their plaintext tags, and the key of the profile, which the store key opens.

This is a program of its own: two copies of SQLite in one process must not open one file, as closing it in one
gives up the locks of the other. Usage: `python erase.py FILE PROFILE`.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing

WAIT_S = 30.0


def erase(path: str, profile: str) -> None:
    """Overwrite a profile's rows, tags and key; without one of that name, only what is left of its key.

    Raises:
        sqlite3.Error: the file cannot be written now; nothing was removed, or bytes are left in the log.
    """
    with closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as db:
        db.execute("PRAGMA secure_delete = ON")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM profiles WHERE name = ?", (profile,))
        db.execute("COMMIT")
        # pages of the table that were split keep old copies of keys: write all of it anew
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TEMP TABLE kept AS SELECT * FROM profiles")
        db.execute("DELETE FROM profiles")
        db.execute("INSERT INTO profiles SELECT * FROM kept")
        db.execute("COMMIT")
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("the write-ahead log is in use")


if __name__ == "__main__":
    erase(*sys.argv[1:])
