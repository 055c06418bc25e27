"""The PostgreSQL of the tests: as durable as one in production, and nothing of it is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import psutil
import pytest
from postgres import MISSING, Server, programs

_RUN = """
import sys
sys.path[:0] = sys.argv[1:]
from postgres import programs, running
with running(programs()) as server:
    print(server.place, flush=True)
    sys.stdin.read()
"""
PATIENCE_S = 30.0


async def test_what_is_committed_is_on_the_disk(postgres: str) -> None:
    connection = await asyncpg.connect(postgres)
    try:
        shown = {
            name: await connection.fetchval(f"SHOW {name}")
            for name in ("fsync", "synchronous_commit", "full_page_writes")
        }
    finally:
        await connection.close()
    assert set(shown.values()) == {"on"}


async def test_its_user_may_make_databases_and_nothing_more(postgres: str) -> None:
    connection = await asyncpg.connect(postgres)
    try:
        rights = await connection.fetchrow(
            "SELECT rolcreatedb, rolcreaterole, rolsuper FROM pg_roles WHERE rolname = user"
        )
    finally:
        await connection.close()
    assert rights is not None
    assert tuple(rights) == (True, False, False)


async def test_nobody_comes_in_without_the_password(postgres_server: Server) -> None:
    url = postgres_server.url("postgres").replace(postgres_server.password, "guess")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url)


def test_nothing_is_left_when_the_tests_are_killed() -> None:
    if programs() is None:
        pytest.skip(MISSING)
    here = Path(__file__).parent
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, str(here), str(here.parent / "deploy")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        place = Path(run.stdout.readline().strip())
        pid_file = place / "data" / "postmaster.pid"
        server = int(pid_file.read_text().split()[0])
        run.send_signal(signal.SIGKILL)
    end = time.monotonic() + PATIENCE_S
    while place.exists() or _alive(server):
        assert time.monotonic() < end
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
