"""Where a store is: an SQLite file, or a PostgreSQL database that several processes share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

SQLITE = "sqlite://"
POSTGRES = ("postgres://", "postgresql://")
SHAPE = "postgres://user:password@host:port/database"
PORT = 5432
IDLE_MS = 5000
"""After this time the server ends a transaction whose process does nothing: it keeps others from the profile."""

CONNECTIONS = "max_connections"
SESSIONS = 20
"""How many sessions Askar opens at once; more of them wait."""
LEAST_SESSIONS = 8
"""More than `store.WRITERS`: each writer also reads while it writes."""

_ADMIN = ("admin_account", "admin_password")
_TLS = ("sslmode", "sslrootcert")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class Sqlite:
    """A file, opened by one process at a time."""

    path: Path
    shared: ClassVar = False

    def __str__(self) -> str:
        return f"{SQLITE}{self.path}"

    @property
    def uri(self) -> str:
        """The address in the form that Askar takes."""
        return f"{self}?{CONNECTIONS}={SESSIONS}&synchronous=FULL"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A database, opened by any number of processes.

    Attributes:
        query: the other settings of the address, by name; it may hold the password of an administrator.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    query: dict[str, str] = field(repr=False)
    shared: ClassVar = True

    def __str__(self) -> str:
        return f"postgres://{self.user}@{self.host}:{self.port}/{self.database}"

    @property
    def uri(self) -> str:
        """The address in the form that Askar takes; it holds the password."""
        ours = {"options": f"-c idle_in_transaction_session_timeout={IDLE_MS}"}
        query = {CONNECTIONS: str(SESSIONS), **self.query, **ours}
        return self._address(self.user, self.password, self.database, query)

    @property
    def dsn(self) -> str:
        """The address in the form that other PostgreSQL clients take; it holds the password."""
        return self._address(self.user, self.password, self.database, self._tls)

    @property
    def admin_dsn(self) -> str:
        """The same, of the user who may make the database."""
        user, password = (self.query.get(name) for name in _ADMIN)
        return self._address(
            user or self.user, password or self.password, "postgres", self._tls
        )

    @property
    def _tls(self) -> dict[str, str]:
        return {name: value for name, value in self.query.items() if name in _TLS}

    def _address(self, user: str, password: str, database: str, query: dict[str, str]) -> str:
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        address = f"postgres://{login}@{self.host}:{self.port}/{database}"
        return f"{address}?{urlencode(query, quote_via=quote)}" if query else address


Location = Sqlite | Postgres


def parse(uri: str) -> Location:
    """Read the address of a store.

    Raises:
        ValueError: it is not one; the text says why, and repeats nothing of it, as it may hold a password.
    """
    if uri.startswith(SQLITE):
        path = uri.removeprefix(SQLITE)
        if not path or set(path) & set("?#%"):
            raise ValueError("must name a file after sqlite://, without ? # % in its path")
        return Sqlite(Path(path))
    if not uri.startswith(POSTGRES):
        raise ValueError(f"must be sqlite://PATH or {SHAPE}")
    return _postgres(uri)


def _postgres(uri: str) -> Postgres:
    wrong = ValueError(f"must be {SHAPE}; write : / ? # @ % in a password as %3A and so on")
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:  # the library's text repeats what was given
        raise wrong from None
    database = parts.path.removeprefix("/")
    if not host or not parts.username or not _NAME.fullmatch(database) or parts.fragment:
        raise wrong
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = (*_TLS, CONNECTIONS, *_ADMIN)
    if not query.keys() <= set(known):
        raise ValueError(f"may have only these settings after its ?: {', '.join(known)}")
    most = query.get(CONNECTIONS, str(SESSIONS))
    if not most.isdecimal() or int(most) < LEAST_SESSIONS:
        raise ValueError(f"must have a number of at least {LEAST_SESSIONS} as {CONNECTIONS}")
    return Postgres(
        host=f"[{host}]" if ":" in host else host,
        port=port or PORT,
        user=unquote(parts.username),
        password=unquote(parts.password or ""),
        database=database,
        query=query,
    )
