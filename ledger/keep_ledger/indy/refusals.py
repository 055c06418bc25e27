"""What a node's refusal (REQNACK, REJECT) means for the write (indy-node 1.13, its own words)."""

from __future__ import annotations

import json
import re
from typing import Any

from keep_ledger.interface import Failed, NeedsSignatures, Why

_INNER = re.compile(r"""\w+\('[^']*', \d+, (['"])(?P<text>.*)\1(, \d+)?\)""", re.DOTALL)
_SHOWN = 1000
_TAA_CODES = range(200, 210)

_WANTS_SIGNERS = (
    "Rule for this action is",
    "Not enough ",
    "must sign the request",
    "'Endorser' field must be explicitly set",
    "is not contained in signatures",
)
_MALFORMED = ("insufficient number of valid signatures", "validation error")


def outcome(refusal: str) -> Failed | NeedsSignatures:
    """Tell what a refusal means.

    Args:
        refusal: the node's message, JSON with `reason` and perhaps `code`.
    """
    code, reason = _parse(refusal)
    words = _words(reason)
    if code in _TAA_CODES or "TaaAcceptance" in reason:
        return Failed(Why.AGREEMENT, words)
    if any(mark in reason for mark in _WANTS_SIGNERS):
        return NeedsSignatures(words, ())
    if any(mark in reason for mark in _MALFORMED):
        return Failed(Why.MALFORMED, words)
    return Failed(Why.REFUSED, words)


def _parse(refusal: str) -> tuple[Any, str]:
    try:
        body: Any = json.loads(refusal)
        return body.get("code"), str(body["reason"]).replace("\\'", "'")
    except (ValueError, KeyError, AttributeError):
        return None, refusal


def _words(reason: str) -> str:
    """The sentence inside the node's exception text; rules without the list of failed checks."""
    found = _INNER.search(reason)
    text = found["text"] if found else reason.removeprefix("client request invalid: ")
    text = text.replace("\\n", "\n")
    rule, _, checks = text.partition("\nFailed checks:")
    absent = re.search(r"sender's DID \S+ is not found in the Ledger", checks)
    return (f"{rule}; {absent[0]}" if absent else rule)[:_SHOWN]
