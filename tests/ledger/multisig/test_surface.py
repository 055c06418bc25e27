"""The package says what is public, and that is what there is."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import keep_ledger.multisig

ROW = re.compile(r"^\| `([\w.]+)` \| (.*) \|$", re.MULTILINE)
ROWS = {
    module: set(re.findall(r"`(\w+)`", text))
    for module, text in ROW.findall(keep_ledger.multisig.__doc__ or "")
}
WITHIN = {
    "threshold.shares": {"Wire", "reason"},
    "errors": {"named", "refuse"},
    "rules.lints": {"asks"},
    "proposal.field_types": {"object_in"},
    "rules.reachability": {
        "by_anybody",
        "by_itself",
        "by_others",
        "by_owner",
        "counts",
        "one",
        "plus",
        "signers",
        "turn_key",
        "within",
    },
}


def test_every_public_name_is_listed_and_exists() -> None:
    folder = Path(keep_ledger.multisig.__path__[0])
    modules = {
        ".".join(file.relative_to(folder).with_suffix("").parts)
        for file in folder.rglob("*.py")
        if file.stem != "__init__"
    }
    assert set(ROWS) == modules - {
        "threshold.curve",
        "audit.transaction_words",
        "rules.rule_words",
    }
    for module, listed in ROWS.items():
        found = importlib.import_module(f"keep_ledger.multisig.{module}")
        defined = {
            name
            for name, value in vars(found).items()
            if (inspect.isclass(value) or inspect.isfunction(value))
            and value.__module__ == found.__name__
            and not name.startswith("_")
        }
        foreign = listed - defined
        assert defined - WITHIN.get(module, set()) == listed - foreign
        assert foreign <= {"Vault", "Constraint", "DEFAULTS"}


def test_signing_loads_neither_paper_nor_store_nor_network() -> None:
    program = (
        "import sys, keep_ledger.multisig.threshold.frost, keep_ledger.multisig.threshold.nonce_files, "
        "keep_ledger.multisig.threshold.dkg; "
        "print({m.partition('.')[0] for m in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    for unwanted in ("aries_askar", "indy_vdr", "aiohttp", "shamir_mnemonic", "segno"):
        assert f"'{unwanted}'" not in loaded
    assert "'nacl'" in loaded
