"""Values in requests: each has one reading, and holds nothing by which a request could be another."""

from __future__ import annotations

import re
from typing import Annotated, Any

import base58
from pydantic import AfterValidator, Field, TypeAdapter

_MAX_TEXT = 1 << 20
MAX_NAME = 256
_VISIBLE = re.compile(
    r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*"
)


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


def _visible(text: str) -> str:
    if text != text.strip() or not _VISIBLE.fullmatch(text):
        raise ValueError("has blanks around it or characters that cannot be seen")
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
    AfterValidator(_visible),
    without("|,:\n\t", "a name"),
]
"""A short text: no separator at all."""
Prose = Annotated[
    str, Field(max_length=_MAX_TEXT), AfterValidator(_visible), without("|", "a text")
]
"""A long text that stands where a ledger takes nothing but text, so that `,` and `:` are harmless."""
ObjectId = Annotated[
    str,
    Field(min_length=1, max_length=600),
    AfterValidator(_visible),
    without("|,\n\t", "an id"),
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seconds = Annotated[int, Field(ge=0, lt=1 << 53)]
SeqNo = Annotated[int, Field(ge=1, lt=1 << 31)]
Port = Annotated[int, Field(ge=1, le=65535)]
Ip = Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$")]
Big = Annotated[str, Field(max_length=5000, pattern="^[0-9]+$")]
Hexes = Annotated[str, Field(max_length=8192, pattern="^[0-9A-Fa-f]+( [0-9A-Fa-f]+)*$")]
MOMENT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d:\d\d$"
