"""What a text tells of a secret that is made of words."""

from __future__ import annotations

import re

RUN = 3
"""One word of a share may stand in any sentence by chance, three in a row hardly ever do."""


def told(share: str, text: str) -> list[str]:
    """Return the parts of a share, three words each, that a text holds in their order.

    Args:
        share: the words of a SLIP-39 share.
    """
    shown = f" {' '.join(re.findall('[a-z]+', text.lower()))} "
    words = share.split()
    runs = [" ".join(words[at : at + RUN]) for at in range(len(words) - RUN + 1)]
    return [run for run in runs if f" {run} " in shown]
