"""Fixed statistics for SQLite's query planner, so that a look-up by tag uses the index of the tags.

Without them the planner reads a whole profile for each look-up: 21 ms among 100,000 rows instead of 0.5.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

ROWS = (
    # table, index, then: rows, rows with the same first column, with the same first two columns, ...
    ("items", "ix_items_uniq", "1000000 100000 100000 20000 1"),
    ("items_tags", "ix_items_tags_item_id", "5000000 5"),
    ("items_tags", "ix_items_tags_name_enc", "4000000 400000 2"),
    ("items_tags", "ix_items_tags_name_plain", "1000000 100000 100"),
    ("profiles", "ix_profile_name", "10 1"),
)


def write_statistics(path: Path) -> bool:
    """Write the statistics into a store, unless they are there; return False if there is no store yet.

    Askar must not have the file open in this process: its copy of SQLite and Python's do not respect each
    other's locks. A connection reads the statistics when it opens; the one that made the tables has none.

    Raises:
        sqlite3.Error: it is not an SQLite file, or cannot be written.
    """
    if not path.exists():
        return False
    with closing(sqlite3.connect(path)) as database, database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        if "items" not in tables:
            return False
        if "sqlite_stat1" not in tables:
            database.execute("ANALYZE sqlite_master")  # the only way to make the table
        found = database.execute("SELECT tbl, idx, stat FROM sqlite_stat1 ORDER BY 1, 2")
        if tuple(found) != ROWS:
            database.execute("DELETE FROM sqlite_stat1")
            database.executemany("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", ROWS)
    return True
