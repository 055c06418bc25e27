"""Our shares on paper restore the key elsewhere, and shares made elsewhere restore it here."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

import pytest

from keep_ledger.multisig.recovery.slip39 import Circle, Plan, restore, split

other: Any = pytest.importorskip("bip39_slip39.slip39", reason="bip39-slip39 is not installed")
KEY = secrets.token_bytes(32)


def test_our_shares_restore_the_key_elsewhere() -> None:
    me = Circle(name="me", need=1, guardians=("Me",))
    family = Circle(name="family", need=2, guardians=("Ana", "Bo", "Cy"))
    plan = Plan(need=2, circles=(me, family))
    _, shares = split(KEY, plan, datetime(2026, 11, 22, tzinfo=UTC), "correct horse")
    words = [shares[i].words for i in (0, 1, 3)]
    assert other.master_secret_from_mnemonics(words, "correct horse") == KEY


def test_shares_made_elsewhere_restore_the_key_here() -> None:
    circles = other.mnemonics_from_master_secret(KEY, groups=((2, 3),), passphrase="p")
    assert restore(None, circles[0][1:], "p") == KEY
