"""Commands for control shared by several people: each command of `indykeep` is one module.

It has `main(words) -> int` and its own parser, and imports heavy modules only when it needs them. All
decisions are made in `keep_ledger.multisig`, which is pure; the commands add files, keys, people and the
ledger.
"""
