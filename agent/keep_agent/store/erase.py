"""Removes a profile from an SQLite store, so that its bytes are no longer in the file.

Askar's own removal leaves them in free pages and in the write-ahead log until something else is written there:
encrypted rows, their unencrypted tags, and the key of the profile, which can be decrypted with the store key.

This runs as a process of its own: Askar and Python each have a copy of SQLite, and if two copies in one process
open the same file, closing it in one gives up the locks of the other. Usage: `python erase.py FILE PROFILE`.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing

WAIT_S = 30.0


def erase(path: str, profile: str) -> None:
    """Remove and overwrite a profile's rows, tags and key; if it is gone already, the rest of its key.

    Raises:
        sqlite3.Error: the file cannot be written now; nothing was removed, or bytes are left in the file.
    """
    with closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as db:
        db.execute("PRAGMA secure_delete = ON")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM profiles WHERE name = ?", (profile,))
        db.execute("COMMIT")
        # pages that were split may hold old copies of keys: write the whole table again
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
