"""Characters that a reader does not see: where they stand in a text, and the text with marks in their place.

Texts of real networks contain them: a byte order mark inside an agreement, zero-width and no-break spaces, the
line ends of another system. A cosigner must see what is signed, so they are shown.
"""

from __future__ import annotations

import re
import unicodedata

_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that are invisible although Unicode counts them as printable."""
_MOST_PLACES = 5


def is_invisible(c: str) -> bool:
    """Whether a reader does not see this character; a plain space, a tab and a line feed count as seen."""
    return c not in "\n\t" and (not c.isprintable() or _BLANK.match(c) is not None)


def code(c: str) -> str:
    """The name of a character: `U+FEFF`."""
    return f"U+{ord(c):04X}"


def place(text: str, at: int) -> str:
    """Where a character stands, for people: `line 2, character 7`; both are counted from 1."""
    before = text[:at]
    return f"line {before.count(chr(10)) + 1}, character {at - before.rfind(chr(10))}"


def find_invisible(text: str) -> int | None:
    """The index of the first character that a reader does not see."""
    return next((at for at, c in enumerate(text) if is_invisible(c)), None)


def with_marks(text: str) -> str:
    """The text with `<U+FEFF>` in the place of each character that a reader does not see."""
    return "".join(f"<{code(c)}>" if is_invisible(c) else c for c in text)


def marks(text: str) -> list[str]:
    """What a reader does not see of a text, in words: `U+FEFF at line 12`.

    Also blank space around it, and letters that are not in Unicode normal form NFC.
    """
    lines: dict[str, dict[int, None]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        for c in line:
            if is_invisible(c):
                lines.setdefault(code(c), {})[number] = None
    found = [f"{name} at {_lines(list(where))}" for name, where in lines.items()]
    found += ["blank space at its beginning"] if text[:1].isspace() else []
    found += ["blank space at its end"] if text[-1:].isspace() else []
    if not unicodedata.is_normalized("NFC", text):
        found.append(f"not in Unicode normal form NFC at {_lines(_unnormalized(text))}")
    return found


def _lines(numbers: list[int]) -> str:
    first = ", ".join(map(str, numbers[:_MOST_PLACES]))
    if len(numbers) == 1:
        return f"line {first}"
    more = len(numbers) - _MOST_PLACES
    return f"lines {first}" + (f" and {more} more" if more > 0 else "")


def _unnormalized(text: str) -> list[int]:
    """The lines that are not in normal form; 1, if only the whole is not."""
    lines = enumerate(text.split("\n"), 1)
    return [n for n, line in lines if not unicodedata.is_normalized("NFC", line)] or [1]
