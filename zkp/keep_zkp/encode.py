"""Attribute names and values as AnonCreds signs them (AnonCreds specification 1.0, encoding).

A value that is a decimal 32-bit integer is signed as that integer; everything else as the
SHA-256 of its UTF-8 bytes, read as one big-endian integer. A predicate can only be proved over
the former. Issuers in the field also spell integers otherwise (`007`, `+112`, `-0`): the signature
then binds the number and not the spelling (SEC-P02). The canonical text stands for what is signed.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from keep_zkp.errors import InvalidError

INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1
_PICTURES = 0x1F000
"""From here on Unicode has emoji and ideographs, which have no case, also those that are yet to come."""
_INTEGER = re.compile(r"[+-]?[0-9]+")


def encode(raw: str) -> str:
    """Return the decimal integer that a signature holds for `raw`.

    A lone surrogate, which is not text, is encoded differently from every text.
    """
    number = signed_number(raw)
    if number is not None:
        return str(number)
    raw_bytes = raw.encode(errors="surrogatepass")
    return str(int.from_bytes(hashlib.sha256(raw_bytes).digest(), "big"))


def canonical(raw: str) -> str:
    """Return the one text that stands for what is signed for `raw` (SEC-P02).

    Of a 32-bit integer, however it is spelt, the shortest spelling; any other text as it is. Two raw
    values are signed as one exactly when their canonical texts are equal.
    """
    number = signed_number(raw)
    return raw if number is None else str(number)


def common_name(name: str) -> str:
    """Return the attribute name as it is signed: no spaces, lower case (SEC-P18)."""
    return name.replace(" ", "").lower()


def check_names(names: Iterable[str]) -> None:
    """Refuse names of a schema that would be signed as one attribute (SEC-P18).

    Raises:
        InvalidError: an empty name, two that differ only by case and spaces, or one with a character whose
            case is not known: newer than the Unicode of this Python, and the library may know a newer one.
    """
    seen: dict[str, str] = {}
    for name in names:
        common = common_name(name)
        if not common:
            raise InvalidError("SEC-P18: an attribute has no name")
        if any(unicodedata.category(each) == "Cn" and each < chr(_PICTURES) for each in name):
            raise InvalidError(f"SEC-P18: {name!r} has a character that is not known")
        if common in seen:
            raise InvalidError(f"SEC-P18: {seen[common]!r} and {name!r} are the same attribute")
        seen[common] = name


def for_predicates(names: Iterable[str], also: Iterable[str]) -> frozenset[str]:
    """Return which of `names` are meant for predicates, as common names.

    Those that the issuer names (`also`), and every name that ends in `_dateint`: RFC 0441 gives
    that ending to dates which are to be compared. Ledger objects carry no such marks.
    """
    dates = (name for name in map(common_name, names) if name.endswith("_dateint"))
    return frozenset([*dates, *map(common_name, also)])


def signed_number(raw: str) -> int | None:
    """Return the number that is signed for `raw`, over which predicates can be proved; None: a hash is."""
    if _INTEGER.fullmatch(raw) is None:
        return None
    number = int(raw.lstrip("+-").lstrip("0")[:11] or "0") * (-1 if raw[0] == "-" else 1)
    return number if INT32_MIN <= number <= INT32_MAX else None
