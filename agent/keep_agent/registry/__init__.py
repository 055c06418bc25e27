"""Writes to ledgers: commands of our side, and the jobs that carry them out."""
