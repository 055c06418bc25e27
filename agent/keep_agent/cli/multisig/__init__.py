"""Control shared by several people, at the command line: each module is one command of `indykeep`.

A module has `main(words) -> int`, its own parser, and imports what is heavy when it needs it. What
is decided stands in `keep_ledger.multisig` and is pure; here are files, keys, people and the ledger.
"""
