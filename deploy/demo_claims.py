"""Claims of a demo: everything that it says is checked, and a wrong claim ends it."""

from __future__ import annotations


class ClaimError(Exception):
    """Something that the demo says is not true."""


def claim(holds: object, words: str) -> None:
    """Check a claim.

    Raises:
        ClaimError: it does not hold.
    """
    if not holds:
        raise ClaimError(f"this turned out wrong: {words}")
