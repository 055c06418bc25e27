"""Values in requests: each can be read in one way only, and cannot turn a request into another one."""

from __future__ import annotations

import json
import unicodedata
from typing import Annotated, Any, cast

import base58
from pydantic import AfterValidator, Field, TypeAdapter

from keep_ledger.json_object import Json, once_each
from keep_ledger.multisig.proposal.invisible import code, find_invisible, place

_MAX_TEXT = 1 << 20
MAX_NAME = 256


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
    if (at := find_invisible(text)) is not None:
        raise ValueError(
            f"has the invisible character {code(text[at])} at {place(text, at)}: take it out"
        )
    if text != text.strip():
        raise ValueError("has spaces around it: take them out")
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError("is not in Unicode normal form NFC")
    return text


def without(separators: str, where: str) -> Any:
    """A check: the text has none of these characters."""

    def check(text: str) -> str:
        for mark in separators:
            if mark in text:
                at = place(text, text.index(mark))
                raise ValueError(
                    f"has {mark!r} at {at}, which in {where} can hide another request under the same"
                    " signature: write it otherwise"
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
Prose = Annotated[str, Field(max_length=_MAX_TEXT), without("|", "a text")]
"""A long text in a place where a ledger accepts only text, so that `,` and `:` are harmless.

It may have characters that a reader does not see: they are shown with marks (`invisible`).
"""


def object_in(text: str, what: str = "") -> Json:
    """Read a JSON object that stands in a text.

    Raises:
        ValueError: it is none, or names a member twice.
    """
    try:
        found: Any = json.loads(text, object_pairs_hook=once_each)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what}is not unambiguous JSON") from error
    if not isinstance(found, dict):
        raise ValueError(f"{what}is not a JSON object")  # noqa: TRY004  pydantic wants ValueError
    return cast("Json", found)


def _is_object(text: str) -> str:
    object_in(text)
    return text


DocumentText = Annotated[Prose, Field(max_length=10 * 1024), AfterValidator(_is_object)]
"""A JSON object in a text: what a DID's document has besides its keys."""
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
