"""What is remembered, in Askar: opened once, one writer, one profile for each tenant.

Durable means: SQLite in WAL mode with `synchronous=FULL`. A commit that returned survives a
SIGKILL of this process and, as far as the disk keeps its word on fsync, a power cut.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from aries_askar import AskarError
from aries_askar import Store as Askar

from keep_agent.core.machine import Exchange
from keep_agent.errors import UnavailableError
from keep_agent.store.lock import lock_file, open_askar
from keep_agent.store.profile import Counts, Profile
from keep_agent.store.rows import Commit, Models, read_exchange
from keep_agent.store.writer import Writer


class Store:
    """One Askar store.

    Attributes:
        process: name of this process among those that share the store; empty: it is the only one.
        shared: whether other processes may write to the store.
    """

    def __init__(self, askar: Askar, lock: int, uri: str, key: str, models: Models) -> None:
        self.askar = askar
        self.reading = asyncio.Semaphore(12)
        self.process = ""
        self.shared = False
        self.counts = Counts()
        self._lock = lock
        self._uri = uri
        self._key = key
        self._models = models
        self._writer = Writer(self)
        self._profiles: dict[str, Profile] = {}

    @classmethod
    async def open(cls, path: Path, key: str, models: Models) -> Self:
        """Open the SQLite store at `path` with a raw key, making it if there is none.

        Raises:
            UnavailableError: another process has it, the key is wrong, or it cannot be written.
        """
        lock = lock_file(path.with_suffix(path.suffix + ".lock"))
        uri = f"sqlite://{path}?max_connections=20&synchronous=FULL"
        try:
            askar = await open_askar(path, uri, key)
        except UnavailableError:
            os.close(lock)
            raise
        return cls(askar, lock, uri, key, models)

    async def profile(self, name: str) -> Profile:
        """Return the profile of a tenant, making it if there is none."""
        if name not in self._profiles:
            if name not in await self.askar.list_profiles():
                await self.askar.create_profile(name)
            profile = Profile(self, name)
            await profile.open()
            self._profiles[name] = profile
        return self._profiles[name]

    async def close(self) -> None:
        """Close the store and let others open it."""
        await self.askar.close()
        os.close(self._lock)

    def read_exchange(self, value: bytes) -> Exchange[Any]:
        """Read a stored exchange."""
        return read_exchange(value, self._models)

    async def write(self, profile: Profile, commit: Commit) -> Commit:
        """Hand a commit to the writer and wait until it is durable."""
        return await self._writer.write(profile, commit)

    def nudge(self, profile: Profile) -> None:
        """Let the writer remove what `Profile.discard` was given."""
        self._writer.nudge(profile)

    async def run(self) -> None:
        """Write, for ever."""
        await self._writer.run()

    def check_alive(self) -> None:
        """Refuse to write once others may take this process for gone."""

    async def reopen(self, profile: Profile) -> None:
        """Give up poisoned connections ("database is locked" leaves one for the store's life)."""
        with suppress(AskarError):
            await self.askar.close()
        with suppress(AskarError, UnavailableError):
            self.askar = await Askar.open(self._uri, "raw", self._key)
            await profile.reopen()
