"""A store that an earlier version wrote is brought to the version of this program when it is opened.

The version is the row `version` of the category `meta`, in the one profile that Askar makes itself and no tenant has.
A store without it is of version 1; or it is new, and has no tenant yet.

The file is copied first. A step then leads from one version to the next: through the rows of each tenant, in
transactions of bounded size. Each row tells by itself whether it is changed already, so a step that was
cut off anywhere is begun again and changes what is left. The version is written last.

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
from keep_agent.store.uncancelled import whole
from keep_agent.store.version_2 import Changes
from keep_ledger.private_files import sync_folder

log = logging.getLogger(__name__)

NEWEST = 3

Stages = Mapping[str, Callable[[OldRows], Changes]]
STEPS: Mapping[int, Stages] = {1: version_2.STAGES, 2: version_3.STAGES}
"""By the version that a step begins with: for each category, what becomes of its rows."""

ROWS, BYTES = 500, 4 << 20
"""How much one transaction changes at the most (and one row more)."""
TELL_S = 2.0

_ROW = ("meta", "version")


async def open_newest(opening: Callable[[], Awaitable[Askar]], file: Path | None) -> Askar:
    """Open a store and bring it to the newest version; nobody else may have it open.

    Args:
        opening: opens it, or makes it.
        file: what is copied before anything is changed; None: it is a database, which its owner backs up.

    Raises:
        UnavailableError: it cannot be opened, copied or written, or a newer program wrote it.
    """
    askar = await opening()
    try:
        state = await whole(_read_state(askar))
        _refuse_newer(state["version"])
        if state["version"] < NEWEST:
            if file is not None and "copy" not in state:
                # SQLite's locks do not hold between Askar's library and Python's
                await askar.close()
                state["copy"] = str(await asyncio.to_thread(_copy, file))
                askar = await opening()
            await _migrate(askar, state)
    except AskarError as error:
        await askar.close()
        raise UnavailableError(f"cannot migrate the store: {error}") from error
    except BaseException:
        await askar.close()
        raise
    return askar


def _refuse_newer(version: int) -> None:
    if version > NEWEST:
        raise UnavailableError(
            f"a newer indykeep wrote this store (version {version}; this one knows versions up to "
            f"{NEWEST}): install that one, or put a copy from before in place"
        )


async def _read_state(askar: Askar) -> Json:
    """Return the version of a store, and where the copy is that was made to migrate it."""
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
    """Copy a store that is not open, durably and at once, for its owner alone."""
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


async def _migrate(askar: Askar, state: Json) -> None:
    """Take the steps that are left; `copy` in the state says that this was begun."""
    await whole(_write_state(askar, state))
    if "copy" not in state:
        log.warning("migrating the store without a copy: it is a database")
    while state["version"] < NEWEST:
        await _take_step(askar, STEPS[state["version"]])
        state["version"] += 1
        last = state["version"] == NEWEST
        await whole(_write_state(askar, {"version": NEWEST} if last else state))
    log.info("migrated the store", extra={"version": NEWEST})


async def _take_step(askar: Askar, stages: Stages) -> None:
    tenants = [OldRows(askar, name) for name in await askar.list_profiles()]
    progress = _Progress(sum([await t.count(c) for t in tenants for c in stages]))
    for rows in tenants:
        for stage in stages.values():
            async with aclosing(stage(rows)) as changes:
                while some := await whole(_next(changes, progress)):
                    await whole(rows.write(some))


class _Progress:
    """Tells the log how far a step is, not too often."""

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
    """Return the changes of one transaction; none: there is nothing left."""
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
