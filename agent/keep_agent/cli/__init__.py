"""The command `indykeep`."""
