from __future__ import annotations

from typing import Any

import pytest
from fake_network import RECORDED, key, recorded, stored
from hypothesis import given

from keep_network.web import signatures

DOMAIN = RECORDED["ledgers"]["domain"]
SIGNED = [
    (name, number)
    for name in ("domain", "config")
    for number, txn in enumerate(RECORDED["ledgers"][name], 1)
    if txn["reqSignature"]
]


def key_of(before: int) -> signatures.KeyOf:
    """Look the key up in the recorded domain ledger, as it was before a transaction."""

    def find(did: str) -> str | None:
        found = [t["txn"]["data"] for t in DOMAIN[: before - 1] if t["txn"]["type"] == "1"]
        known = [d["verkey"] for d in found if d["dest"] == did and "verkey" in d]
        return known[-1] if known else None

    return find


def check(txn: dict[str, Any], before: int = 10**6) -> list[bool | None]:
    return [one.good for one in signatures.check(txn, key_of(before))]


@pytest.mark.parametrize(("name", "number"), SIGNED)
def test_every_signature_of_a_real_pool_verifies(name: str, number: int) -> None:
    verdicts = check(recorded(name, number), number if name == "domain" else 10**6)
    assert verdicts
    assert all(verdict is True for verdict in verdicts)


def test_both_signatures_of_an_endorsed_transaction_are_checked() -> None:
    assert [one.by for one in signatures.check(recorded("domain", 28), key_of(28))] == [
        key("a1").did,
        key("my_seed_").did,
    ]


def test_a_genesis_transaction_has_no_signature() -> None:
    assert check(recorded("domain", 1)) == []


def test_a_signature_of_somebody_else_is_found_out() -> None:
    txn = recorded("domain", 28)
    first, second = txn["reqSignature"]["values"]
    first["value"], second["value"] = second["value"], first["value"]
    assert check(txn, 28) == [False, False]


def test_a_changed_payload_is_not_blamed_on_the_signer() -> None:
    txn = recorded("domain", 26)
    txn["txn"]["data"]["data"]["name"] = "Diploma"
    [told] = signatures.check(txn, key_of(26))
    assert told.good is None
    assert told.why == signatures.ALTERED


def test_a_rotated_key_counts_from_the_next_transaction_on() -> None:
    assert check(recorded("domain", 34), 34) == [True]
    assert check(recorded("domain", 34), 35) == [False]  # with the key that it sets


def test_a_signer_without_a_key_is_said() -> None:
    [told] = signatures.check(recorded("domain", 26), lambda _did: None)
    assert (told.good, told.why) == (None, signatures.NO_KEY)


def test_the_signing_text_is_that_of_plenum() -> None:
    told: Any = {"b": [1, {"y": None, "x": "é"}], "a": True, "c": {}}
    assert signatures.signing_text(told) == "a:True|b:1,x:é|y:|c:".encode()


@pytest.mark.parametrize("part", ["reqSignature", "txn"])
@pytest.mark.parametrize("value", [None, [], "x", {"values": 5}, {"values": [None, 5]}])
def test_nonsense_is_never_verified(part: str, value: Any) -> None:
    txn = stored(recorded("domain", 26)) | {part: value}
    assert True not in check(txn)


@given(...)
def test_any_text_can_be_signed_over(told: dict[str, list[str] | int | None]) -> None:
    assert isinstance(signatures.signing_text(told), bytes)
