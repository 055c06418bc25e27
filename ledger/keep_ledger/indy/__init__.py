"""Indy ledgers through indy-vdr: the only package that imports it."""

from keep_ledger.indy.registry import IndyRegistry, open_ledger

__all__ = ["IndyRegistry", "open_ledger"]
