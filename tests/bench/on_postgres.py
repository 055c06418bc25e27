"""Credentials per second on PostgreSQL by those on SQLite: the same agents, ledgers and keys."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import wallets
from agent.processes import spawned
from bench.load import Load, Party, credentials, party
from postgres import programs, running
from two_agents import automate, connect

from keep_agent.store.location import parse

PROGRAM = (str(Path(__file__).parents[1] / "known_ledger.py"),)
WARM_UP = 4


async def credentials_ratio(
    folder: Path, items: int, at_once: int, rounds: int = 2
) -> float | None:
    """Issue on both by turns; return PostgreSQL's credentials per second by SQLite's.

    Agents have one process each, ledgers in memory and the published test keys. Each has a database or a
    file of its own.

    Args:
        folder: an empty one.
        items: credentials of one turn; `rounds` of them each.

    Returns:
        None: PostgreSQL is not on this machine.
    """
    found = programs()
    if found is None:
        return None
    with running(found) as server:
        async with AsyncExitStack() as stack:
            pairs: list[tuple[Party, Party]] = []
            for on in ("sqlite", "postgres"):
                uris = [
                    server.url(f"{name}_{secrets.token_hex(4)}")
                    if on == "postgres"
                    else f"sqlite://{folder / on}-{name}.db"
                    for name in ("office", "holder")
                ]
                pairs.append(await stack.enter_async_context(_pair(folder / on, *uris)))
            seconds = [0.0, 0.0]
            for _ in range(rounds):
                for n, (office, holder) in enumerate(pairs):
                    issue = credentials(office, holder, wallets.LICENCE_INDY, wallets.ALICE)
                    spent = await Load((office, holder)).run(items, at_once, issue)
                    assert not spent.lost
                    seconds[n] += spent.wall_s
    return seconds[0] / seconds[1]


@asynccontextmanager
async def _pair(
    folder: Path, office_uri: str, holder_uri: str
) -> AsyncGenerator[tuple[Party, Party]]:
    """Start two agents, connected and automatic, that have issued before."""
    folder.mkdir()  # noqa: ASYNC240 - once, before anything is measured
    await wallets.give_issuer_keys(parse(office_uri), folder / "office")
    async with AsyncExitStack() as stack:
        made: list[Party] = []
        for title, uri in (("office", office_uri), ("holder", holder_uri)):
            one = await stack.enter_async_context(
                spawned(
                    folder / title,
                    PROGRAM,
                    STORE_URI=uri,
                    STORE_KEY=wallets.STORE_KEY,
                    LOG_LEVEL="WARNING",
                    PYTHONPATH=str(Path(__file__).parents[1]),
                )
            )
            await automate(one.client)
            url, pid = str(one.places["admin_url"]), one.process.pid
            made.append(
                await stack.enter_async_context(party(title, url, one.key, one.client, pid))
            )
        office, holder = made
        office.peer, holder.peer = await connect(office.client, holder.client)
        issue = credentials(office, holder, wallets.LICENCE_INDY, wallets.ALICE)
        await Load((office, holder)).run(WARM_UP, 2, issue)
        yield office, holder
