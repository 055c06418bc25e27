"""Search all that an agent has stored: its store, opened with its key, and its files."""

from __future__ import annotations

import asyncio
import base64
import re
import sqlite3
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from aries_askar import Store as Askar

from keep_agent.core.catalog import load_catalog
from keep_agent.settings import STORE_FILE, STORE_KEY_FILE
from keep_agent.store.location import Sqlite
from keep_agent.store.profile import Profile
from keep_agent.store.store import Store
from keep_zkp.encode import encode
from network_and_agents import Agent

MAIN = "main"
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}")


async def search(agent: Agent, texts: Iterable[str]) -> tuple[int, set[str]]:
    """Look for texts in everything that an agent has stored or logged.

    Every record is decrypted, and what is base64 in it decoded. A text counts as found in its
    encoded form too: that is the number which a credential holds for it.

    Returns:
        How many records there are, and the texts that are in one of them or in a file.
    """
    async with copied(agent) as folder:
        records = await _records(folder / STORE_FILE, _key(agent))
    files = [path.read_bytes() for path in agent.data.rglob("*") if path.is_file()]
    files.append(agent.child.log.read_bytes())
    haystack = "\n".join(decoded(raw.decode("utf-8", "replace")) for raw in [*records, *files])
    return len(records), {text for text in texts if _occurs(text, haystack)}


@asynccontextmanager
async def opened(agent: Agent) -> AsyncGenerator[Profile]:
    """Open a copy of an agent's store with its key, and remove the copy afterwards."""
    async with copied(agent) as folder:
        store = await Store.open(
            Sqlite(folder / STORE_FILE), _key(agent), load_catalog().models
        )
        try:
            yield await store.profile(MAIN)
        finally:
            await store.close()


@asynccontextmanager
async def copied(agent: Agent) -> AsyncGenerator[Path]:
    """Copy an agent's store, whole and consistent while the agent goes on, and remove it again."""

    def copy(folder: str) -> None:
        source = agent.data / STORE_FILE
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as ours,
            closing(sqlite3.connect(Path(folder) / STORE_FILE)) as theirs,
        ):
            ours.backup(theirs)

    with TemporaryDirectory(dir=agent.data.parent) as folder:
        await asyncio.to_thread(copy, folder)
        yield Path(folder)


def decoded(text: str) -> str:
    """Return a text together with what is base64 in it."""
    found = [text]
    for match in _BASE64.findall(text):
        with suppress(ValueError):
            padded = match.replace("-", "+").replace("_", "/") + "=" * (-len(match) % 4)
            found.append(base64.b64decode(padded).decode("utf-8", "ignore"))
    return "\n".join(found)


def _occurs(text: str, haystack: str) -> bool:
    return any(
        re.search(rf"(?<!\w){re.escape(form)}(?!\w)", haystack) for form in {text, encode(text)}
    )


async def _records(path: Path, key: str) -> list[bytes]:
    store = await Askar.open(f"sqlite://{path}", "raw", key)
    try:
        found = [
            await store.scan(profile=profile).fetch_all()
            for profile in await store.list_profiles()
        ]
        return [entry.value for entries in found for entry in entries]
    finally:
        await store.close()


def _key(agent: Agent) -> str:
    return (agent.data / STORE_KEY_FILE).read_text("ascii").strip()
