"""Processes of one store: real ones, stopped and killed; nobody's work is lost or done by two."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import base58
import pytest
from agent.store.beating import Opened
from postgres import Server

from keep_agent.errors import UnavailableError
from keep_agent.store.location import Sqlite
from keep_agent.store.migrations import check_version
from keep_agent.store.processes import Processes
from keep_agent.store.provision import open_or_provision

KEY = base58.b58encode(b"k" * 32).decode()
PATIENCE_S = 60.0
BEAT_S, SILENT_S = 0.2, 2.0
NEVER_S = 600.0
PROGRAM = Path(__file__).with_name("beating.py")


@dataclass
class Beating:
    """A process that beats."""

    process: Process
    name: str = ""
    adopted: tuple[str, ...] = ()

    async def next(self) -> list[str]:
        """Return what happens next: a word and names; nothing when it ended."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            line = await self.process.stdout.readline()
        found: list[str] = json.loads(line) if line else []
        return found

    async def quiet_for(self, seconds: float) -> None:
        """Make sure that nothing happens."""
        assert self.process.stdout is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                assert await self.process.stdout.readline() == b"nothing"

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def tell(self, command: str) -> list[str]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        return await self.next()

    async def end(self) -> None:
        assert await self.tell("end") == ["ended"]
        assert await self.process.wait() == 0


@asynccontextmanager
async def beating(
    url: str, folder: Path, silent_s: float = SILENT_S
) -> AsyncGenerator[Beating]:
    """Start a process in a folder of its host; killed at the end of the block, if it still lives."""
    given = (url, KEY, str(folder), str(BEAT_S), str(silent_s))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), *given, stdin=PIPE, stdout=PIPE
    )
    found = Beating(process)
    try:
        word, found.name, *adopted = await found.next()
        assert word == "started"
        found.adopted = tuple(adopted)
        yield found
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_one_of_the_others_adopts_who_was_killed(postgres: str, tmp_path: Path) -> None:
    async with (
        beating(postgres, tmp_path / "a") as a,
        beating(postgres, tmp_path / "b") as b,
        beating(postgres, tmp_path / "c") as c,
    ):
        await a.kill()
        heard = [asyncio.create_task(each.next()) for each in (b, c)]
        done, waiting = await asyncio.wait(heard, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [["adopted", a.name]]
        await asyncio.wait(waiting, timeout=SILENT_S)
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_one_that_was_stopped_too_long_learns_it_and_goes_on_anew(
    postgres: str, tmp_path: Path
) -> None:
    async with beating(postgres, tmp_path / "a") as a, beating(postgres, tmp_path / "b") as b:
        assert await a.tell("sure") == ["sure", "True"]
        a.signal(signal.SIGSTOP)
        assert await b.next() == ["adopted", a.name]
        a.signal(signal.SIGCONT)
        word, new = await a.next()
        assert word == "lost"
        assert new not in {a.name, b.name}
        await b.quiet_for(SILENT_S * 1.3)  # it beats again, under its new name
        await b.kill()
        assert await a.next() == ["adopted", *sorted((a.name, b.name))]


async def test_one_that_was_stopped_for_a_moment_keeps_its_work(
    postgres: str, tmp_path: Path
) -> None:
    async with beating(postgres, tmp_path / "a") as a, beating(postgres, tmp_path / "b") as b:
        a.signal(signal.SIGSTOP)
        await b.quiet_for(SILENT_S / 3)
        a.signal(signal.SIGCONT)
        await b.quiet_for(SILENT_S * 1.3)
        await a.end()


async def test_who_cannot_beat_is_not_sure(postgres: str, tmp_path: Path) -> None:
    async with beating(postgres, tmp_path / "a") as a:
        admin = await asyncpg.connect(postgres)
        try:
            await admin.execute("BEGIN; LOCK TABLE items")
            await asyncio.sleep(SILENT_S)
            assert await a.tell("sure") == ["sure", "False"]
            await admin.execute("COMMIT")
        finally:
            await admin.close()
        async with asyncio.timeout(PATIENCE_S):
            while await a.tell("sure") != ["sure", "True"]:  # noqa: ASYNC110 - another process
                await asyncio.sleep(BEAT_S)


async def test_when_nobody_could_beat_nobody_is_silent(postgres: str, tmp_path: Path) -> None:
    async with beating(postgres, tmp_path / "a") as a, beating(postgres, tmp_path / "b") as b:
        admin = await asyncpg.connect(postgres)
        try:
            await admin.execute("BEGIN; LOCK TABLE items")
            await asyncio.sleep(SILENT_S * 1.3)
            await admin.execute("COMMIT")
        finally:
            await admin.close()
        await asyncio.gather(a.quiet_for(SILENT_S * 1.3), b.quiet_for(SILENT_S * 1.3))


async def test_broken_connections_make_nobody_silent(
    postgres: str, postgres_server: Server, tmp_path: Path
) -> None:
    async with beating(postgres, tmp_path / "a") as a, beating(postgres, tmp_path / "b") as b:
        database = postgres.rpartition("/")[2]
        for _ in range(5):
            await postgres_server.run(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname='{database}'"
            )
            await asyncio.sleep(BEAT_S)
        await asyncio.gather(a.quiet_for(SILENT_S * 1.3), b.quiet_for(SILENT_S * 1.3))


async def test_one_that_is_started_again_adopts_at_once_what_died_in_its_folder(
    postgres: str, tmp_path: Path
) -> None:
    async with beating(postgres, tmp_path / "b", NEVER_S) as b:
        async with beating(postgres, tmp_path / "a", NEVER_S) as a:
            pass
        async with (
            beating(postgres, tmp_path / "a", NEVER_S) as again,
            beating(postgres, tmp_path / "a", NEVER_S) as beside,
        ):
            assert again.adopted == (a.name,)
            assert beside.adopted == ()  # `again` lives in the same folder
            names = {path.stem for path in (tmp_path / "a").iterdir()}
            assert names == {again.name, beside.name}
        await b.quiet_for(1)


async def test_who_ends_in_order_leaves_its_work_at_once(postgres: str, tmp_path: Path) -> None:
    async with (
        beating(postgres, tmp_path / "a", NEVER_S) as a,
        beating(postgres, tmp_path / "b", NEVER_S) as b,
    ):
        await a.end()
        assert list((tmp_path / "a").iterdir()) == []
        assert await b.next() == ["adopted", a.name]


async def test_what_was_adopted_goes_along_unless_it_is_settled(
    postgres: str, tmp_path: Path
) -> None:
    async with (
        beating(postgres, tmp_path / "d", NEVER_S) as d,
        beating(postgres, tmp_path / "a") as a,
    ):
        await d.end()
        assert await a.next() == ["adopted", d.name]
        async with beating(postgres, tmp_path / "b") as b:
            await a.kill()
            assert await b.next() == ["adopted", *sorted((a.name, d.name))]
            assert await b.tell(f"settle {a.name} somebody-else") == [
                "settled",
                *sorted((b.name, d.name)),
            ]
            async with beating(postgres, tmp_path / "c") as c:
                await b.kill()
                assert await c.next() == ["adopted", *sorted((b.name, d.name))]


async def test_on_a_file_all_that_came_before_are_gone(tmp_path: Path) -> None:
    askar = await open_or_provision(Sqlite(tmp_path / "agent.db"), KEY)

    def processes(folder: str) -> Processes:
        return Processes(
            Opened(askar),
            tmp_path / folder,
            shared=False,
            on_taken_over=lambda _names: None,
            on_lost=lambda: None,
            check_version=lambda: check_version(askar),
            beat_s=BEAT_S,
            silent_s=SILENT_S,
        )

    first, second, third = (processes(folder) for folder in "abb")
    await first.start()
    assert await second.start() not in first.names
    assert second.names == {first.name, second.name}
    assert second.may_write
    await second.run()  # nobody needs to know that it lives
    await second.end()
    await third.start()
    assert third.names == {first.name, second.name, third.name}
    await askar.close()
    with pytest.raises(UnavailableError, match="does not answer"):
        await third.forget([first.name])
