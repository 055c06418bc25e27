"""The copy of the ledgers: SQLite with full-text search, one row per transaction."""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_VERSION = 2
_SHIFT = 48  # the row's number is the ledger's, then the transaction's
_TERM = re.compile(r"[^\s\"]{1,200}")
_MAX_TERMS = 16
_FIELDS = {"sender": "author", "ident": "subject", "txnid": "id"}
_SCHEMA = """
CREATE TABLE about (genesis TEXT, version INT);
CREATE TABLE txn (
    row INTEGER PRIMARY KEY, ledger INT, seq INT, id TEXT, type TEXT, time INT, added INT,
    author TEXT, endorser TEXT, subject TEXT, body TEXT, checks TEXT
);
CREATE INDEX by_type ON txn (ledger, type, seq);
CREATE INDEX by_id ON txn (id);
CREATE INDEX by_author ON txn (author, seq);
CREATE INDEX by_endorser ON txn (endorser, seq);
CREATE INDEX by_subject ON txn (subject, type, seq);
CREATE VIRTUAL TABLE words USING fts5 (
    text, content='', columnsize=0, prefix='3 6', tokenize="unicode61"
);
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One transaction.

    Attributes:
        id: the nodes' digest of it, or empty for a NYM of the genesis.
        time: when the nodes ordered it, 0 in a genesis; seconds since the epoch.
        added: when we saw it first.
        subject: what it is about: a DID, or the id of a schema, cred def or registry.
        body: GET_TXN's `data`, JSON.
        checks: what we found when we checked it, JSON.
        words: what a search may find it by.
    """

    ledger: int
    seq: int
    id: str
    type: str
    time: int
    added: int
    author: str
    endorser: str
    subject: str
    body: str
    checks: str
    words: str = ""

    def transaction(self) -> dict[str, Any]:
        """Return GET_TXN's `data`."""
        found: dict[str, Any] = json.loads(self.body)
        return found


_COLUMNS = "ledger, seq, id, type, time, added, author, endorser, subject, body, checks"


class Store:
    """The copy; safe to use from any thread, one call at a time.

    Args:
        path: its file; None for a temporary one that nobody else sees.
        genesis: fingerprint of the network's genesis; a copy of another network is deleted.
    """

    def __init__(self, path: Path | None, genesis: str) -> None:
        self._lock = threading.Lock()
        self._folder = None if path else tempfile.TemporaryDirectory(prefix="ledger-")
        self._path = path or Path(self._folder.name if self._folder else "") / "ledger.db"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._db = self._open(genesis)

    def close(self) -> None:
        """Close it; a temporary one is gone."""
        with self._lock:
            self._db.close()
        if self._folder:
            self._folder.cleanup()

    def size(self, ledger: int) -> int:
        """Return the number of the last transaction that we have, with none missing before."""
        found = self._one("SELECT max(seq) FROM txn WHERE ledger = ?", ledger)
        return int(found or 0)

    def add(self, rows: Iterable[Row]) -> None:
        """Add transactions, all or none."""
        with self._lock, self._db:
            for row in rows:
                number = (row.ledger << _SHIFT) + row.seq
                values = [getattr(row, name) for name in _COLUMNS.split(", ")]
                marks = ", ".join("?" * (len(values) + 1))
                self._db.execute(f"INSERT INTO txn VALUES ({marks})", [number, *values])  # noqa: S608 - marks only
                self._db.execute(
                    "INSERT INTO words (rowid, text) VALUES (?, ?)", [number, row.words]
                )

    def clear(self) -> None:
        """Forget everything: the network was made anew."""
        with self._lock, self._db:
            self._db.execute("DELETE FROM txn")
            self._db.execute("INSERT INTO words (words) VALUES ('delete-all')")

    def get(self, ledger: int, ident: str) -> Row | None:
        """Find a transaction by its number or its id."""
        if ident.isascii() and ident.isdecimal() and len(ident) < 16:  # noqa: PLR2004 - SQLite's range
            found = self._rows("ledger = ? AND seq = ?", [ledger, int(ident)], "LIMIT 1")
        else:
            found = self._rows("ledger = ? AND id = ?", [ledger, ident.lower()], "LIMIT 1")
        return found[0] if found else None

    def range(self, ledger: int, first: int, last: int) -> list[Row]:
        """Return the transactions from one number to another."""
        return self._rows(
            "ledger = ? AND seq BETWEEN ? AND ?", [ledger, first, last], "ORDER BY seq"
        )

    def search(
        self, ledger: int, query: str, kind: str, *, start: int, count: int, newest: bool
    ) -> tuple[list[Row], int]:
        """Search one ledger; returns a page and how many there are in all.

        Args:
            query: words; a transaction has to have all, the beginning of a word is enough;
                `sender:DID`, `ident:SUBJECT` and `txnid:ID` are about one field alone, and whole.
            kind: the number of a transaction type, or empty for any.
            newest: newest first.
        """
        where: list[str] = ["ledger = ?"]
        values: list[Any] = [ledger]
        if kind:
            where, values = [*where, "type = ?"], [*values, kind]
        words: list[str] = []
        for word in query.split()[:_MAX_TERMS]:
            field, colon, value = word.partition(":")
            if colon and field in _FIELDS:
                where.append(f"{_FIELDS[field]} = ?")
                values.append(value)
            else:
                words.append(word)
        if words:
            match = _match(" ".join(words))
            if not match:
                return [], 0
            where.append("row IN (SELECT rowid FROM words WHERE words MATCH ?)")
            values = [*values, match]
        condition = " AND ".join(where)
        total = self._one(f"SELECT count(*) FROM txn WHERE {condition}", *values)  # noqa: S608 - fixed parts
        order = f"ORDER BY seq {'DESC' if newest else 'ASC'} LIMIT ? OFFSET ?"
        return self._rows(condition, [*values, count, start], order), int(total)

    def about(self, subject: str, kind: str, count: int) -> list[Row]:
        """Return the first transactions of one type about one thing, in order."""
        where = "subject = ? AND type = ?"
        return self._rows(where, [subject, kind, count], "ORDER BY seq LIMIT ?")

    def find(self, subject: str) -> list[Row]:
        """Return the last few transactions about one thing, newest first."""
        return self._rows("subject = ?", [subject], "ORDER BY seq DESC LIMIT 20")

    def by(self, did: str, count: int) -> tuple[list[Row], int]:
        """Return what a DID wrote or endorsed for others, newest first, and how much in all."""
        where = "ledger = 1 AND (author = ? OR endorser = ?)"
        total = self._one(f"SELECT count(*) FROM txn WHERE {where}", did, did)  # noqa: S608 - fixed parts
        return self._rows(where, [did, did, count], "ORDER BY seq DESC LIMIT ?"), int(total)

    def verkey(self, did: str, before: int, until: int) -> str | None:
        """Return the verkey that a DID had before a number of the domain ledger and a time."""
        history = self._rows(
            "subject = ? AND type = '1' AND ledger = 1 AND seq < ? AND time <= ?",
            [did, before, until],
            "ORDER BY seq DESC",
        )
        for row in history:
            verkey = row.transaction()["txn"]["data"].get("verkey")
            if isinstance(verkey, str):
                return verkey
        return None

    def _open(self, genesis: str) -> sqlite3.Connection:
        db = self._connect()
        try:
            found = db.execute("SELECT genesis, version FROM about").fetchone()
        except sqlite3.DatabaseError:  # empty, or no database at all
            found = None
        if found == (genesis, _VERSION):
            return db
        db.close()
        for name in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + name).unlink(missing_ok=True)
        db = self._connect()
        db.executescript(_SCHEMA)
        with db:
            db.execute("INSERT INTO about VALUES (?, ?)", [genesis, _VERSION])
        return db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")  # a lost copy is read again
            db.execute("PRAGMA cache_size = -4096")
        except sqlite3.DatabaseError:
            pass  # no database; `_open` finds out
        return db

    def _rows(self, where: str, values: Sequence[Any], rest: str) -> list[Row]:
        sql = f"SELECT {_COLUMNS} FROM txn WHERE {where} {rest}"  # noqa: S608 - fixed parts
        with self._lock:
            return [Row(*found) for found in self._db.execute(sql, values)]

    def _one(self, sql: str, *values: Any) -> Any:
        with self._lock:
            return self._db.execute(sql, values).fetchone()[0]


def _match(query: str) -> str:
    """Write words as an FTS5 query: each in quotes, each as a beginning."""
    terms = [term.replace("\0", "") for term in _TERM.findall(query)[:_MAX_TERMS]]
    return " ".join(f'"{term}"*' for term in terms if term)
