"""Brings a store that an earlier version wrote to the version of this program, when it is opened.

The version is in the row `version` of the category `meta`, in the profile that Askar makes itself, which no tenant
uses. A store without this row is of version 1, or it is new and has no tenant yet.

The file is copied first. Then a step leads from each version to the next: it changes the rows of each tenant in
transactions of bounded size. Each row shows whether it is changed already, so a step that was interrupted
is started again and changes only the rest. The version is written last.

**For the next version:** raise `NEWEST`, write a module like `version_2`, add it to `STEPS`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, closing, suppress
from pathlib import Path

from aries_askar import AskarError
from aries_askar import Store as Askar

from keep_agent.core.message import Json, write_json
from keep_agent.errors import UnavailableError
from keep_agent.store import version_2, version_3
from keep_agent.store.old_rows import Change, OldRows
from keep_agent.store.uncancelled import uncancelled
from keep_agent.store.version_2 import Changes
from keep_ledger.private_files import sync_folder

log = logging.getLogger(__name__)

NEWEST = 3

Stages = Mapping[str, Callable[[OldRows], Changes]]
STEPS: Mapping[int, Stages] = {1: version_2.STAGES, 2: version_3.STAGES}
"""The step from each version to the next: for each category, the function that changes its rows."""

ROWS, BYTES = 500, 4 << 20
"""A transaction ends with the row that reaches one of these limits."""
TELL_S = 2.0

_ROW = ("meta", "version")


class NewerStoreError(UnavailableError):
    """A newer program wrote the store, or is migrating it."""


async def open_newest(
    opening: Callable[[], Awaitable[Askar]],
    file: Path | None,
    others_stop: Callable[[Askar], Awaitable[None]],
) -> Askar:
    """Open a store and bring it to the newest version; no other process may have it open.

    Args:
        opening: opens it, or makes it.
        file: is copied before anything is changed; None: it is a database, which its owner backs up.
        others_stop: returns when older programs that have the database open have stopped writing: they
            have seen to which version the store is brought.

    Raises:
        UnavailableError: it cannot be opened, copied or written, or a newer program wrote it.
    """
    askar = await opening()
    try:
        state = await uncancelled(_read_state(askar))
        _refuse_newer(state)
        if state["version"] < NEWEST:
            if file is not None and "copy" not in state:
                # Askar's copy of SQLite and Python's do not respect each other's locks
                await askar.close()
                state["copy"] = str(await asyncio.to_thread(_copy, file))
                askar = await opening()
            await _migrate(askar, state, others_stop)
    except AskarError as error:
        await askar.close()
        raise UnavailableError(f"cannot migrate the store: {error}") from error
    except BaseException:
        await askar.close()
        raise
    return askar


async def check_version(askar: Askar) -> None:
    """Look whether a store that is open is still one for this program.

    Raises:
        NewerStoreError: it is not.
    """
    async with askar.session() as session:
        entry = await session.fetch(*_ROW)
    if entry is not None:
        _refuse_newer(json.loads(entry.value))


def _refuse_newer(state: Json) -> None:
    version = max(state["version"], state.get("to", 0))
    if version > NEWEST:
        raise NewerStoreError(
            f"a newer indykeep wrote this store (version {version}; this one knows versions up to "
            f"{NEWEST}): install that version, or restore a copy of the store that this one can read"
        )


async def _read_state(askar: Askar) -> Json:
    """Return the version of a store and, if its migration was begun, the path of its copy."""
    async with askar.session() as session:
        entry = await session.fetch(*_ROW)
    if entry is not None:
        state: Json = json.loads(entry.value)
        return state
    if len(await askar.list_profiles()) > 1:
        return {"version": 1}
    new: Json = {"version": NEWEST}
    await _write_state(askar, new)
    return new


async def _write_state(askar: Askar, state: Json) -> None:
    async with askar.transaction() as tx:
        save = tx.replace if await tx.fetch(*_ROW) else tx.insert
        await save(*_ROW, write_json(state))
        await tx.commit()


def _copy(file: Path) -> Path:
    """Copy a store that is not open: durably, completely or not at all, and readable by its owner only."""
    copy = file.with_name(f"{file.name}.before-{NEWEST}")
    aside = copy.with_name(f"{copy.name}.new")
    log.info("copying the store before it is migrated", extra={"copy": str(copy)})
    try:
        aside.unlink(missing_ok=True)
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        with (
            closing(sqlite3.connect(file)) as source,
            closing(sqlite3.connect(aside)) as target,
        ):
            source.backup(target)
        aside.replace(copy)
        sync_folder(copy.parent)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        why = f"cannot copy the store to {copy} before it is migrated: {error}"
        raise UnavailableError(why) from error
    return copy


async def _migrate(
    askar: Askar, state: Json, others_stop: Callable[[Askar], Awaitable[None]]
) -> None:
    """Take the steps that are left; in the state, `copy` shows that the file is copied already, `to` where they lead."""
    state["to"] = NEWEST
    await uncancelled(_write_state(askar, state))
    if "copy" not in state:
        log.warning("migrating the store without a copy: it is a database")
        await others_stop(askar)
    while state["version"] < NEWEST:
        await _take_step(askar, STEPS[state["version"]])
        state["version"] += 1
        last = state["version"] == NEWEST
        await uncancelled(_write_state(askar, {"version": NEWEST} if last else state))
    log.info("migrated the store", extra={"version": NEWEST})


async def _take_step(askar: Askar, stages: Stages) -> None:
    tenants = [OldRows(askar, name) for name in await askar.list_profiles()]
    progress = _Progress(sum([await t.count(c) for t in tenants for c in stages]))
    for rows in tenants:
        for stage in stages.values():
            async with aclosing(stage(rows)) as changes:
                while some := await uncancelled(_next(changes, progress)):
                    await uncancelled(rows.write(some))


class _Progress:
    """Logs how many rows of a step are done, every few seconds."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._seen = 0
        self._told = time.monotonic()

    def add(self) -> None:
        """Count a row."""
        self._seen += 1
        if time.monotonic() - self._told > TELL_S:
            self._told = time.monotonic()
            done = f"{min(self._seen, self._rows):,} of {self._rows:,}"
            log.info("migrating the store: %s rows", done)


async def _next(changes: Changes, progress: _Progress) -> list[Change]:
    """Return the changes of the next transaction; an empty list: there is nothing left."""
    found: list[Change] = []
    size = 0
    async for change in changes:
        progress.add()
        if change is None:
            continue
        found.append(change)
        size += change.size
        if len(found) == ROWS or size >= BYTES:
            break
    return found
