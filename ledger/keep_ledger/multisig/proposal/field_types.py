"""Values in requests: each has one reading, and holds nothing by which a request could be another."""

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
"""What Unicode lets nobody see although it counts as printable."""


def base58_of(size: int) -> Any:
    """A check: so many bytes in base58, in its one spelling."""

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
    """A check: a reader sees every character, and no other text looks the same by its encoding."""
    seen = text.replace("\n", "").replace("\t", "")
    if text != text.strip() or not seen.isprintable() or _BLANK.search(text):
        raise ValueError("has blanks around it or characters that cannot be seen")
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError("has characters in more than one spelling (write it in NFC)")
    return text


def without(separators: str, where: str) -> Any:
    """A check: none of these characters."""

    def check(text: str) -> str:
        for mark in separators:
            if mark in text:
                raise ValueError(
                    f"holds {mark!r}, which in {where} can hide another request under the same signature"
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
"""A short text: no separator at all."""
Prose = Annotated[
    str, Field(max_length=_MAX_TEXT), AfterValidator(visible), without("|", "a text")
]
"""A long text that stands where a ledger takes nothing but text, so that `,` and `:` are harmless."""
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
