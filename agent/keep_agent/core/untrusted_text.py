"""Texts of peers, made fit to be shown (SEC-O01)."""

from __future__ import annotations

import unicodedata

MOST_SHOWN = 200
MOST_READ = 4 * MOST_SHOWN
JOINERS = "\u200c\u200d"
"""Invisible, but part of words in Persian and Hindi and of emoji: they stay beside what is visible."""


def sanitize_text(text: str | None) -> str | None:
    """Clean a peer's text for display: no control, format or bidi characters, bounded length.

    It stays untrusted: where it is displayed it must be escaped, as the claim of that peer.
    """
    if text is None:
        return None
    kept = "".join(c for c in text[:MOST_READ] if c in JOINERS or _is_shown(c))
    seen = any(c not in JOINERS and not c.isspace() for c in kept)
    return kept.strip()[:MOST_SHOWN] if seen else None


def _is_shown(c: str) -> bool:
    return unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029"
