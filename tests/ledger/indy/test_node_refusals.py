"""Refusals in a node's own words, recorded on a network of indy-node 1.13.2."""

from __future__ import annotations

import json

import pytest

from keep_ledger.indy.node_refusals import already_written, outcome, sentence
from keep_ledger.interface import Failed, NeedsSignatures, Why

ME = "PhtuXGENFaTsWsKLCcGzhT"
THREE = (
    "Rule for this action is: 1 TRUSTEE signature is required OR 1 STEWARD signature is required"
    " OR 1 ENDORSER signature is required"
)
CHECKS = "\\nFailed checks:\\nConstraint: 1 TRUSTEE signature is required, Error: "

REGISTER = (
    f"register {ME} on this ledger first, that is, let a trustee or endorser write its NYM (on a local"
    " network: ./manage network register)"
)


def refusal(kind: str, text: str, *, code: int | None = None, quote: str = "'") -> str:
    tail = "" if code is None else f", {code}"
    inner = f"{kind}('{ME}', 1795350269841041236, {quote}{text}{quote}{tail})"
    return json.dumps(
        {"op": "REJECT", "reason": f"client request invalid: {inner}", "code": code}
    )


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            refusal(
                "UnauthorizedClientRequest", THREE + CHECKS + "Not enough TRUSTEE signatures"
            ),
            THREE,
        ),
        (
            refusal(
                "UnauthorizedClientRequest",
                THREE + CHECKS + f"sender's DID {ME} is not found in the Ledger",
                quote='"',
            ),
            f"{THREE}; sender's DID {ME} is not found in the Ledger: {REGISTER}",
        ),
        (
            refusal("UnauthorizedClientRequest", "Not enough TRUSTEE signatures"),
            "Not enough TRUSTEE signatures",
        ),
        (
            refusal(
                "InvalidClientRequest",
                "validation error [SafeRequest]: Endorser must sign the request",
            ),
            "validation error [SafeRequest]: Endorser must sign the request",
        ),
        (
            refusal(
                "UnauthorizedClientRequest",
                "\\'Endorser\\' field must be explicitly set for the endorsed transaction",
            ),
            "'Endorser' field must be explicitly set for the endorsed transaction",
        ),
    ],
)
def test_a_missing_signature_is_told_in_words(message: str, reason: str) -> None:
    assert outcome(message) == NeedsSignatures(reason, ())


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (
            refusal(
                "UnauthorizedClientRequest",
                "TRUSTEE can not touch verkey field since only the owner can modify it",
            ),
            Why.REFUSED,
        ),
        (refusal("UnauthorizedClientRequest", "The action is forbidden"), Why.REFUSED),
        (
            refusal(
                "InvalidClientRequest",
                "validation error [ClientNYMOperation]: b58 decoded value length 3",
            ),
            Why.MALFORMED,
        ),
        (
            json.dumps(
                {
                    "op": "REQNACK",
                    "reason": "client request invalid: insufficient number of valid signatures, 1 is required",
                }
            ),
            Why.MALFORMED,
        ),
        (
            refusal(
                "InvalidClientTaaAcceptanceError",
                "Txn Author Agreement acceptance is required for ledger with id 1",
                code=201,
            ),
            Why.AGREEMENT,
        ),
        (
            refusal(
                "InvalidClientTaaAcceptanceError", "Incorrect Txn Author Agreement", code=202
            ),
            Why.AGREEMENT,
        ),
    ],
)
def test_a_refusal_has_a_kind_to_act_on(message: str, why: Why) -> None:
    result = outcome(message)
    assert isinstance(result, Failed)
    assert result.why is why
    assert ME not in result.reason
    assert result.reason


def test_a_signer_that_the_ledger_does_not_know_is_told_to_be_registered() -> None:
    words = f"could not authenticate, verkey for {ME} cannot be found"
    told = outcome(refusal("CouldNotAuthenticate", words))
    assert told == Failed(Why.REFUSED, f"{words}: {REGISTER}")


@pytest.mark.parametrize("message", ["", "no JSON", "[]", "{}", "x" * 10_000, '{"reason": 7}'])
def test_whatever_a_node_says_there_is_a_reason(message: str) -> None:
    result = outcome(message)
    assert isinstance(result, Failed)
    assert len(result.reason) <= 1000


INVALID = (
    "insufficient number of valid signatures, 3 is required but 2 valid and 1 invalid have been"
    f" provided. The following signatures are invalid: did={ME}, signature=3FEc3eV1"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (INVALID, f"The signature of {ME} does not verify"),
        (
            f"could not authenticate, verkey for {ME} cannot be found",
            f"{ME} signed, but is not on this ledger: {REGISTER}",
        ),
        (
            "The identifier is not contained in signatures",
            "The author must be among those who sign",
        ),
        (
            "'Endorser' field must be explicitly set for the endorsed transaction",
            "named in the req",
        ),
        (
            "Endorser must have one of the following roles: {'ENDORSER'}",
            "Only a DID with the role",
        ),
        ("Endorser must sign the request", "The endorser named in the request has not signed"),
        (
            "Author must sign the request when sending via Endorser",
            "The author named in the req",
        ),
        ("Not enough TRUSTEE signatures", "that the rule asks for (TRUSTEE)"),
        ("Not enough * signatures", "that the rule asks for (any)"),
        (
            "TRUSTEE can not touch verkey field since only the owner can modify it",
            "Only the owner",
        ),
        ("The action is forbidden", "forbid this to everybody"),
        (
            "Same txn was already ordered with different signatures or pluggable fields",
            "on the ledger already",
        ),
        ("something new", "The ledger refused the request."),
    ],
)
def test_people_who_signed_together_are_told_what_to_do(text: str, said: str) -> None:
    told = sentence(refusal("UnauthorizedClientRequest", text, quote='"'))
    assert said in told
    assert text in told.replace("\\n", "\n")
    assert already_written(text) is ("already ordered" in text)


@pytest.mark.parametrize("code", [200, 201, 202, 203, 205, 206])
def test_what_is_wrong_with_an_acceptance_is_told(code: int) -> None:
    told = sentence(refusal("InvalidClientTaaAcceptanceError", "as it says", code=code))
    assert "ccept" in told.partition(" (The ledger")[0]
    assert "as it says" in told
