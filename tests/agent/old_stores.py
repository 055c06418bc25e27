"""Stores of version 1 (see `store/version_1`), and what is in any store, read past the agent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aries_askar import Store as Askar
from wallets import STORE_KEY

from keep_agent.core.catalog import load_catalog
from keep_agent.store.location import Sqlite
from keep_agent.store.profile import Profile
from keep_agent.store.store import Store

MADE = Path(__file__).parent / "store" / "version_1"
STOPPED = 1795787936.34
"""When the agents of the stores in `version_1` were stopped."""

PROTOCOLS = load_catalog().protocols
MODELS = {p.name: p.data for p in PROTOCOLS.values()}

Rows = dict[tuple[str, str], tuple[Any, dict[str, Any]]]
"""Value and tags, by category and name, in the order of their making."""


async def askar(path: Path) -> Askar:
    return await Askar.open(f"sqlite://{path}", "raw", STORE_KEY)


async def rows_of(path: Path) -> Rows:
    """Read all that a tenant has, past the agent."""
    store = await askar(path)
    entries = await store.scan(profile="main", order_by="id").fetch_all()
    found = {(e.category, e.name): (json.loads(e.value), e.tags) for e in entries}
    await store.close()
    return found


def of(rows: Rows, category: str) -> dict[str, Any]:
    return {name: value for (cat, name), (value, _) in rows.items() if cat == category}


async def migrate(path: Path) -> None:
    await (await Store.open(Sqlite(path), STORE_KEY, MODELS)).close()


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[Profile]:
    store = await Store.open(Sqlite(path), STORE_KEY, MODELS)
    writer = asyncio.create_task(store.run())
    try:
        yield await store.profile("main")
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await store.close()
