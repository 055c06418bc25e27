"""Agents as processes of their own, as users run them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keep_agent.client import Client

PATIENCE_S = 60.0


def environment(folder: Path, **more: str) -> dict[str, str]:
    given = {
        "DATA_DIR": str(folder / "data"),
        "PORT": "0",
        "ADMIN_PORT": "0",
        "ALLOW_PRIVATE_EGRESS": "1",
        "LEDGERS": '[{"plugin": "memory", "namespace": "local"}]',
        "NATIVE_THREADS": "1",
        **more,
    }
    return {**os.environ, **{f"INDYKEEP_{name}": value for name, value in given.items()}}


INDYKEEP = ("-m", "keep_agent")


async def launch(
    folder: Path, *args: str, program: Sequence[str] = INDYKEEP, **more: str
) -> Process:
    """Start `indykeep run` with this folder for its data; its log is `log` there."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - nobody waits for it
    paths = (more.pop("PYTHONPATH", ""), os.environ.get("PYTHONPATH", ""))
    path = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with (folder / "log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, *program, "run", *args),
            env={**environment(folder, **more), **path},
            stdout=PIPE,
            stderr=log,
        )


async def output(process: Process) -> str:
    """Return the next line that a process prints; empty when it has ended."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        return (await process.stdout.readline()).decode()


async def ended(process: Process) -> int:
    """Return the exit code of a process that has been told to end."""
    async with asyncio.timeout(PATIENCE_S):
        await process.communicate()
    assert process.returncode is not None
    return process.returncode


@dataclass(frozen=True, slots=True)
class Spawned:
    """An agent process that is ready, where it said that it is, and a client for it."""

    process: Process
    places: dict[str, Any]
    key: str
    client: Client


@asynccontextmanager
async def spawned(
    folder: Path, program: Sequence[str] = INDYKEEP, **more: str
) -> AsyncGenerator[Spawned, None]:
    """Run an agent until the block ends; it must end cleanly then, if nobody killed it."""
    process = await launch(folder, "--json", program=program, **more)
    try:
        places = json.loads(await output(process))
        file = Path(places["admin_key_file"])
        key = file.read_text("utf-8").strip()  # noqa: ASYNC240
        async with Client(places["admin_url"], key) as client:
            yield Spawned(process, places, key, client)
        if process.returncode is None:
            process.terminate()
            assert await ended(process) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def introduce(inviter: Client, invitee: Client) -> tuple[str, str]:
    """Connect two agents step by step; return each one's id of the connection."""
    invitation = await inviter.start("out-of-band", "create-invitation")
    url = invitation["data"]["url"]
    x = await invitee.start("out-of-band", "receive-invitation", url=url)
    await invitee.command("out-of-band", x["id"], "accept")
    query = {"invitation": invitation["thid"], "state": "request-received", "wait": PATIENCE_S}
    found = await inviter.call("GET", "/v1/connections", query=query, wait=PATIENCE_S)
    name = found["results"][0]["id"]
    await inviter.command("did-exchange", name, "send-response")
    theirs = await invitee.connected(invitation["thid"], timeout=PATIENCE_S)
    await inviter.connected(invitation["thid"], timeout=PATIENCE_S)
    return name, theirs["id"]
