"""Attribute names and values as the library signs them."""

from __future__ import annotations

import anoncreds
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zkp.kit import cred_def, held, link_secret

from keep_zkp.encode import (
    canonical,
    check_names,
    common_name,
    encode,
    for_predicates,
    signed_number,
)
from keep_zkp.errors import InvalidError

VECTORS = [
    "0", "-0", "+0", "1", "+1", "-1", "007", "-007", " 1", "1 ", "1_0", "1.0", "1e3", "",
    "None", "True", "٣", "१२", "²", "\uff11",
    "2147483647", "2147483648", "-2147483648", "-2147483649", "0" * 40 + "7",
    "0" * 5000, "9" * 5000, "+", "-", "+-1", "--1", "\t1", "1\n", "🦆", "Ärmel", "a" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("raw", VECTORS)
def test_sec_p19_python_encodes_as_the_library_does(raw: str) -> None:
    assert encode(raw) == anoncreds.encode_credential_attributes({"x": raw})["x"]


@given(st.one_of(st.from_regex(r"[+\-]?0*[0-9]{1,12}", fullmatch=True), st.text()))
def test_sec_p19_python_agrees_on_any_text(raw: str) -> None:
    if "\x00" not in raw:
        assert encode(raw) == anoncreds.encode_credential_attributes({"x": raw})["x"]


def test_sec_p19_an_issued_credential_holds_our_encoding() -> None:
    keys = cred_def("card")
    public = anoncreds.CredentialDefinition.load(keys["public"])
    offer = anoncreds.CredentialOffer.create(
        keys["schema_id"], keys["id"], anoncreds.KeyCorrectnessProof.load(keys["key_proof"])
    )
    request, _ = anoncreds.CredentialRequest.create(
        "entropy", None, public, link_secret("alice"), "default", offer
    )
    private = anoncreds.CredentialDefinitionPrivate.load(keys["TEST_ONLY_private"])
    values = {"First Name": "🦆", "Points": "+007", "level": "-0"}
    issued = anoncreds.Credential.create(public, private, offer, request, values).to_dict()
    found = {name: value["encoded"] for name, value in issued["values"].items()}
    assert found == {name: encode(raw) for name, raw in values.items()}


@pytest.mark.parametrize(
    ("raw", "number"), [("+1", 1), ("007", 7), ("-0", 0), ("00", 0), ("+0", 0), ("-05", -5)]
)
def test_sec_p02_another_spelling_of_a_number_stands_for_the_number(
    raw: str, number: int
) -> None:
    assert signed_number(raw) == number
    assert canonical(raw) == str(number)


_TEXTS = st.one_of(st.from_regex(r"[+\-]?0*[0-9]{1,3}", fullmatch=True), st.text())


@given(_TEXTS, _TEXTS)
def test_sec_p02_texts_are_signed_as_one_if_they_have_one_canonical_text(
    one: str, other: str
) -> None:
    assert (encode(one) == encode(other)) is (canonical(one) == canonical(other))
    assert encode(canonical(one)) == encode(one)


def test_only_32_bit_integers_are_numbers() -> None:
    found = [signed_number(raw) for raw in ("-2147483648", "2147483648", "19990512", " 1", "٣")]
    assert found == [-(2**31), None, 19990512, None, None]


@pytest.mark.parametrize("names", [["First Name", "firstname"], ["a", " A"], [""], ["a", "  "]])
def test_sec_p18_names_that_are_signed_as_one_are_refused(names: list[str]) -> None:
    with pytest.raises(InvalidError, match="SEC-P18"):
        check_names(names)


@pytest.mark.parametrize("name", ["a\ufdd0", "\ufdd0"])
def test_sec_p18_a_name_with_a_character_of_unknown_case_is_refused(name: str) -> None:
    with pytest.raises(InvalidError, match="SEC-P18"):
        check_names(["a", name])


def test_sec_p18_pictures_of_a_newer_unicode_have_no_case() -> None:
    check_names(["\U0001fae9", "\U0001faff", "\U000323b0"])


def test_sec_p18_the_library_signs_canonical_names() -> None:
    signed = cred_def("card")["public"]["value"]["primary"]["r"]
    assert {common_name(name) for name in held("alice_card")["values"]} <= signed.keys()


def test_dates_and_named_attributes_are_meant_for_predicates() -> None:
    names = ["name", "Birthdate_dateint", "Points"]
    assert for_predicates(names, ["points"]) == {"birthdate_dateint", "points"}
