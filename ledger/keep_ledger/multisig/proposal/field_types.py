"""Values in requests: each can be read in one way only, and cannot turn a request into another one."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any

import base58
from pydantic import AfterValidator, Field, TypeAdapter

_MAX_TEXT = 1 << 20
MAX_NAME = 256
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that are invisible although Unicode counts them as printable."""


def base58_of(size: int) -> Any:
    """A check: this many bytes in canonical base58."""

    def check(text: str) -> str:
        try:
            raw = base58.b58decode(text) if text.isascii() else b""
        except ValueError:
            raw = b""
        if len(raw) != size or base58.b58encode(raw).decode() != text:
            raise ValueError(f"is not {size} bytes in base58")
        return text

    return AfterValidator(check)


def _verkey(text: str) -> str:
    if not text.startswith("~"):
        return _WHOLE_KEY.validate_python(text)
    _DID.validate_python(text[1:])
    return text


def visible(text: str) -> str:
    """A check: every character is visible, and the text is in Unicode normal form."""
    seen = text.replace("\n", "").replace("\t", "")
    if text != text.strip() or not seen.isprintable() or _BLANK.search(text):
        raise ValueError("has spaces around it or invisible characters")
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError("is not in Unicode normal form NFC")
    return text


def without(separators: str, where: str) -> Any:
    """A check: the text has none of these characters."""

    def check(text: str) -> str:
        for mark in separators:
            if mark in text:
                raise ValueError(
                    f"has {mark!r}, which in {where} can hide another request under the same signature"
                )
        return text

    return AfterValidator(check)


DidText = Annotated[str, base58_of(16)]
_DID = TypeAdapter[str](DidText)
_WHOLE_KEY = TypeAdapter[str](Annotated[str, base58_of(32)])
Verkey = Annotated[str, AfterValidator(_verkey)]
Name = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME),
    AfterValidator(visible),
    without("|,:\n\t", "a name"),
]
"""A short text without any separator."""
Prose = Annotated[
    str, Field(max_length=_MAX_TEXT), AfterValidator(visible), without("|", "a text")
]
"""A long text in a place where a ledger accepts only text, so that `,` and `:` are harmless."""
ObjectId = Annotated[
    str,
    Field(min_length=1, max_length=600),
    AfterValidator(visible),
    without("|,\n\t", "an id"),
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seconds = Annotated[int, Field(ge=0, lt=253402300800)]
"""Unix seconds, up to the year 9999."""
SeqNo = Annotated[int, Field(ge=1, lt=1 << 31)]
Port = Annotated[int, Field(ge=1, le=65535)]
Ip = Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$")]
Big = Annotated[str, Field(max_length=5000, pattern="^[0-9]+$")]
Hexes = Annotated[str, Field(max_length=8192, pattern="^[0-9A-Fa-f]+( [0-9A-Fa-f]+)*$")]
MOMENT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d:\d\d$"
