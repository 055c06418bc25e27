"""What a node's refusal (REQNACK, REJECT) means for a write (texts of indy-node 1.13)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from keep_ledger.interface import Failed, NeedsSignatures, Why

_INNER = re.compile(r"""\w+\('[^']*', \d+, (['"])(?P<text>.*)\1(, \d+)?\)""", re.DOTALL)
_UNKNOWN = re.compile(r"(verkey for|sender's DID) (?P<did>\S+) (cannot be|is not) found")
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
    """Return what a refusal means for the write.

    Args:
        refusal: the node's message, JSON with `reason` and perhaps `code`.
    """
    code, reason = _parse(refusal)
    words = _with_advice(_words(reason))
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


def _with_advice(words: str) -> str:
    """Add what to do about a signer that the ledger does not know."""
    found = _UNKNOWN.search(words)
    return f"{words}: {_register(found['did'])}" if found else words


def _register(did: str) -> str:
    return (
        f"register {did} on this ledger first, that is, let a trustee or endorser write its NYM (on a local"
        " network: ./manage network register)"
    )


def sentence(refusal: str) -> str:
    """Say what is wrong and what to do, for people who sign together; the node's words at the end.

    Args:
        refusal: the node's message, JSON with `reason` and perhaps `code`.
    """
    code, reason = _parse(refusal)
    return f"{_explained(code, reason)} (The ledger's words: {_words(reason)})"


def already_written(refusal: str) -> bool:
    """Whether the same payload is on the ledger already, with other signatures."""
    return "already ordered" in refusal


def _explained(code: Any, reason: str) -> str:
    if code in _TAA_SENTENCES:
        return _TAA_SENTENCES[code]
    for pattern, told in _SENTENCES:
        if found := pattern.search(reason):
            return told(found)
    return "The ledger refused the request."


def _bad_signatures(found: re.Match[str]) -> str:
    dids = ", ".join(re.findall(r"did=([1-9A-HJ-NP-Za-km-z]+)", found[0])) or "somebody"
    return (
        f"The signature of {dids} does not verify: it is on something else, or the key has changed"
        " since. The ledger refuses a request with one such signature: leave it out, or let them"
        " sign again."
    )


_TAA_SENTENCES = {
    200: "Only the domain ledger accepts an acceptance of the author agreement: propose it without one.",
    201: "The author agreement in force must be accepted in the request: propose it with an acceptance.",
    202: "The request accepts an author agreement that this ledger does not know.",
    203: "The accepted author agreement was retired, or the time of acceptance is finer than a day:"
    " propose it with a new acceptance.",
    205: "The day of acceptance is outside the range that the ledger accepts: propose it with a new one.",
    206: "The ledger's list does not have this way of accepting the author agreement.",
}

_SENTENCES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile("insufficient number of valid signatures.*", re.DOTALL), _bad_signatures),
    (
        _UNKNOWN,
        lambda found: (
            f"{found['did']} signed, but is not on this ledger: {_register(found['did'])}."
        ),
    ),
    (
        re.compile("identifier is not contained in signatures"),
        lambda _: "The author must be among those who sign.",
    ),
    (
        re.compile("'Endorser' field must be explicitly set"),
        lambda _: (
            "An endorser signed, but is not named in the request: propose it with an endorser."
        ),
    ),
    (
        re.compile("Endorser must have one of the following roles"),
        lambda _: "Only a DID with the role ENDORSER can endorse.",
    ),
    (
        re.compile("(Author|Endorser) must sign the request"),
        lambda found: f"The {found[1].lower()} named in the request has not signed it.",
    ),
    (
        re.compile(r"Not enough (\S+) signatures"),
        lambda found: (
            "Too few signed with the role that the rule asks for"
            f" ({'any' if found[1] == '*' else found[1]}); the roles that count are those of now."
        ),
    ),
    (
        re.compile("only the owner can modify it"),
        lambda _: "Only the owner may change this, as the author of the request.",
    ),
    (
        re.compile("action is forbidden"),
        lambda _: "The ledger's rules forbid this to everybody.",
    ),
    (
        re.compile("already ordered with different signatures"),
        lambda _: "The same request is on the ledger already, with other signatures.",
    ),
)
