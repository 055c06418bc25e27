"""The words on paper open a real store, and after a new key the old ones do not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import base58
import pytest
from aries_askar import AskarError, Store

from keep_ledger.multisig.recovery.slip39 import (
    Backup,
    Circle,
    PaperShare,
    Plan,
    replace,
    restore,
    split,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FAMILY = Plan(need=1, circles=(Circle(name="family", need=2, guardians=("Ana", "Bo", "Cy")),))


async def test_guardians_restore_a_store_and_one_of_them_is_removed(tmp_path: Path) -> None:
    uri = f"sqlite://{tmp_path / 'store.db'}"
    raw_key = Store.generate_raw_key()
    store = await Store.provision(uri, "raw", raw_key)
    async with store.session() as session:
        await session.insert("note", "a", b"kept")
    old, shares = split(base58.b58decode(raw_key), FAMILY, NOW)
    await store.close()

    restored = restore(old, [shares[2].words, shares[0].words])
    store = await Store.open(uri, "raw", base58.b58encode(restored).decode())
    async with store.session() as session:
        note = await session.fetch("note", "a")
        assert note is not None
        assert bytes(note.value) == b"kept"

    kept: list[PaperShare] = []

    async def keep(backup: Backup, new: tuple[PaperShare, ...]) -> None:
        assert len(backup.keys) == len(new)
        kept.extend(new)

    async def change(new: bytes) -> None:
        await store.rekey("raw", base58.b58encode(new).decode())

    backup = await replace(FAMILY, NOW, keep, change)
    await store.close()

    old_key = base58.b58encode(restore(old, [shares[0].words, shares[1].words])).decode()
    with pytest.raises(AskarError):
        await Store.open(uri, "raw", old_key)
    new_key = base58.b58encode(restore(backup, [kept[1].words, kept[2].words])).decode()
    store = await Store.open(uri, "raw", new_key)
    await store.close()
