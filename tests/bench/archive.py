"""An agent with 100,000 finished exchanges: how it starts, and how long a page of them takes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from bench.scene import Scene, follow, start
from two_agents import automate, connect

from keep_agent.client import Client
from keep_agent.core.catalog import load_catalog
from keep_agent.core.machine import ABANDONED, Exchange
from keep_agent.core.message import new_id
from keep_agent.store.lists import listed
from keep_agent.store.location import Sqlite
from keep_agent.store.profile import Profile
from keep_agent.store.rows import Commit
from keep_agent.store.store import Store
from keep_agent.tenants.tenant import MAIN
from processes import free_ports

PROTOCOL = "didexchange/1"
AT_ONCE = 500
RARE = 10
"""One exchange of so many is in the state that the page asks for."""
PAGES = 20
KEPT_S = 30 * 24 * 3600.0


async def archive(on: Scene, many: int, starts: int) -> dict[str, float]:
    """Fill the store of an agent, and return the figures by their keys."""
    home = on.folder / "archive"
    home.mkdir(mode=0o700)
    cpu: list[float] = []
    pages: list[float] = []
    with free_ports(2) as ports:
        async with start("archive", on.folder, on.genesis, ports) as agent:
            await automate(agent.client)
            await connect(on.office.client, agent.client)
        await _fill(home, many)
        for _ in range(starts):
            async with (
                start("archive", on.folder, on.genesis, ports) as agent,
                follow(agent) as party,
            ):
                cpu.append(party.cpu_s())
                pages.append(await _page_ms(agent.client))
    return {"start_100k_cpu_s": median(cpu), "page_100k_ms": median(pages)}


async def _page_ms(client: Client) -> float:
    """Return how long the newest 100 in a rare state take, over the API."""
    times: list[float] = []
    for _ in range(PAGES):
        began = time.monotonic()
        found = await client.list("did-exchange", state=ABANDONED, limit=100)
        times.append(1000 * (time.monotonic() - began))
        assert found
    return median(times)


async def _fill(home: Path, many: int) -> None:
    """Copy the connection of a stopped agent until it has that many."""
    models = {name: protocol.data for name, protocol in load_catalog().protocols.items()}
    key = (home / "store.key").read_text().strip()
    store = await Store.open(Sqlite(home / "agent.db"), key, models)
    writer = asyncio.create_task(store.run())
    await _copy(await store.profile(MAIN), many)
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    await store.close()


async def _copy(profile: Profile, many: int) -> None:
    [one] = await listed(profile, "~protocol", PROTOCOL, 1)
    for first in range(0, many, AT_ONCE):
        copies = tuple(_copy_of(one, n) for n in range(first, min(first + AT_ONCE, many)))
        profile.log.number = copies[-1].number  # as if each had a row of the log of its own
        await profile.commit(Commit(exchanges=copies, mark=True))


def _copy_of(one: Exchange[Any], number: int) -> Exchange[Any]:
    return replace(
        one,
        id=new_id(),
        thid=new_id(),
        peer=new_id(),
        connection=new_id(),
        sent=tuple(new_id() for _ in one.sent),
        state=ABANDONED if number % RARE == 0 else one.state,
        out=(),
        records={},  # it made no connection: that would be kept for ever
        until=one.updated + KEPT_S,
        revision=0,
        number=one.number + number,
    )
