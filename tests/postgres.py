"""A PostgreSQL server of the machine's own packages: real, durable, and gone after the tests.

It is no cluster of the system: it has a folder, a port and a password of its own.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest

from processes import free_ports

MISSING = "PostgreSQL is not on this machine (apt install postgresql)"
USER = "indykeep"
PLACES = (
    "usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "usr/pgsql-*/bin",  # Fedora, Red Hat
    "opt/homebrew/opt/postgresql*/bin",  # macOS
    "usr/local/opt/postgresql*/bin",
)
PACKAGE_USER = "postgres"

# Ends the server and removes its folder when told, or when whoever tells it is gone (end of file).
# Settings are those of production: fsync and synchronous_commit stay on.
_KEEPER = """
cd "$DIR" && chmod 700 . || exit 1
trap '"$BIN"/pg_ctl -D data -m immediate -w stop >&2; cd / && rm -rf -- "$DIR"' EXIT
"$BIN"/initdb -D data -U "$ADMIN" --pwfile=password -A scram-sha-256 --no-sync --no-locale -E UTF8 \
    >&2 || exit 1
echo "CREATE ROLE $MEMBER LOGIN CREATEDB PASSWORD '$(cat password)'" |
    "$BIN"/postgres --single -D data postgres >&2 || exit 1
"$BIN"/pg_ctl -D data -w -t 60 -l log start >&2 \
    -o "-p $PORT -c listen_addresses=127.0.0.1 -c unix_socket_directories=" || exit 1
echo ready
read -r line
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        place: its folder.
        password: of both users: `USER`, who may make databases, and the superuser.
    """

    place: Path
    port: int
    password: str = field(repr=False)

    def url(self, database: str, user: str = USER) -> str:
        """Where a database is, with the password; the database need not be there yet."""
        return f"postgres://{user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def restart(self) -> None:
        """Cut everybody off, as a crash of the server does, and start it again."""
        found = programs()
        assert found is not None
        words = (
            str(found / "pg_ctl"),
            "-D",
            "data",
            "-m",
            "immediate",
            "-w",
            "-l",
            "log",
            "restart",
        )
        subprocess.run(
            [*_as_package_user(), *words], cwd=self.place, check=True, stdout=subprocess.DEVNULL
        )

    async def make(self, database: str) -> str:
        """Make an empty database; return its URL."""
        await self.run(f"CREATE DATABASE {database} OWNER {USER}")
        return self.url(database)

    async def run(self, statement: str) -> None:
        """Carry out a statement as the superuser."""
        admin = await asyncpg.connect(self.url("postgres", PACKAGE_USER))
        try:
            await admin.execute(statement)
        finally:
            await admin.close()


def programs() -> Path | None:
    """Find the folder with initdb and pg_ctl: the newest, or what the path names."""
    on_path = shutil.which("pg_ctl")
    found = [place for pattern in PLACES for place in sorted(Path("/").glob(pattern))]
    found += [Path(on_path).resolve().parent] if on_path else []
    usable = [place for place in found if (place / "initdb").exists()]
    return usable[-1] if usable else None


@contextmanager
def running(folder: Path) -> Generator[Server]:
    """Start a server and end it on the way out, also when this process is killed.

    Args:
        folder: with the programs.
    """
    with tempfile.TemporaryFile() as log, free_ports(1) as ports:
        password = secrets.token_urlsafe(16)
        server = Server(_own_place(password), ports[0], password)
        environment = {
            "PATH": os.environ["PATH"],
            "BIN": str(folder),
            "DIR": str(server.place),
            "PORT": str(server.port),
            "ADMIN": PACKAGE_USER,
            "MEMBER": USER,
        }
        with subprocess.Popen(
            [*_as_package_user(), "/bin/sh", "-c", _KEEPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,
        ) as keeper:
            try:
                assert keeper.stdout is not None
                if keeper.stdout.readline() != b"ready\n":
                    log.seek(0)
                    raise OSError(f"PostgreSQL does not start: {log.read().decode()[-2000:]}")
                yield server
            finally:
                with suppress(BrokenPipeError):
                    keeper.communicate(b"\n")


def _own_place(password: str) -> Path:
    """Make a folder that the server's user can reach: pytest's own is closed to others."""
    place = Path(tempfile.mkdtemp(prefix="indykeep-postgres-", dir="/tmp"))
    (place / "password").write_text(password)
    if os.geteuid() == 0:
        account = pwd.getpwnam(PACKAGE_USER)
        for path in (place, place / "password"):
            os.chown(path, account.pw_uid, account.pw_gid)
    return place


def _as_package_user() -> list[str]:
    """Return the command that becomes the package's user: the server refuses root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={PACKAGE_USER}", f"--regid={PACKAGE_USER}", "--init-groups"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """One server for the whole run, started by the first test that asks for it."""
    folder = programs()
    if folder is None:
        pytest.skip(MISSING)
    with running(folder) as server:
        yield server


@pytest.fixture
async def postgres(postgres_server: Server) -> str:
    """Return the URL of an empty database of the test's own."""
    return await postgres_server.make(f"test_{secrets.token_hex(6)}")
