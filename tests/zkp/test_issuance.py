"""Issuer and holder: what is offered is what is issued is what is stored."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from zkp.kit import Desk, cred_def, cred_def_id, link_secret

from keep_zkp import holder, issuer
from keep_zkp.encode import encode
from keep_zkp.errors import InvalidError, LibraryError, RefusedError
from keep_zkp.issuer import check_values, make_schema

CARD = {"First Name": "Zoë", "Points": "-3", "level": "1"}
LICENCE = {"name": "A", "birthdate_dateint": "19990512", "category": "B", "number": "x 1"}


async def test_a_credential_is_offered_requested_issued_and_stored(desk: Desk) -> None:
    stored = await desk.issue("card", CARD)
    assert stored["cred_def_id"] == cred_def_id("card")
    raws = {name: value["raw"] for name, value in stored["values"].items()}
    assert sorted(raws.values()) == sorted(CARD.values())


async def test_qualified_ids_are_kept_exactly_as_they_are(desk: Desk) -> None:
    stored = await desk.issue("city", LICENCE)
    assert stored["cred_def_id"] == cred_def_id("city")
    assert stored["schema_id"] == cred_def("city")["schema_id"]


async def test_a_request_names_nobody(desk: Desk) -> None:
    for name in ("card", "city"):
        offer = await desk.offer(name)
        one = (await desk.answer(name, offer)).request
        other = (await desk.answer(name, offer)).request
        for key in ("prover_did", "entropy"):
            assert one.get(key) is None or one[key] != other[key]


async def test_sec_i01_a_request_for_another_definition_is_refused(desk: Desk) -> None:
    offer = await desk.offer("licence")
    other = await desk.answer("learner", await desk.offer("learner"))
    with pytest.raises(RefusedError, match="SEC-I01"):
        await desk.sign("licence", offer, other.request, LICENCE)
    relabelled = {**other.request, "cred_def_id": cred_def_id("licence")}
    with pytest.raises(LibraryError):
        await desk.sign("licence", offer, relabelled, LICENCE)


async def test_sec_i01_a_request_for_another_offer_is_refused(desk: Desk) -> None:
    first, second = await desk.offer("licence"), await desk.offer("licence")
    asked = await desk.answer("licence", first)
    with pytest.raises(LibraryError):
        await desk.sign("licence", second, asked.request, LICENCE)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"First Name": "A", "Points": "1"},
        {**CARD, "more": "1"},
        {**CARD, "firstname": "B"},
        {"First Name": "A", "Points": "1", "Level2": "1"},
        {**CARD, "master_secret": "1"},
    ],
)
def test_sec_i03_values_are_exactly_the_attributes_of_the_schema(
    values: dict[str, str],
) -> None:
    with pytest.raises(InvalidError, match="exactly"):
        check_values(cred_def("card")["public"], values)


@pytest.mark.parametrize(
    "raw",
    [
        "19990512.0",
        "1999-05-12",
        "",
        "2147483648",
        "١٩٩٩",
        "019990512",
        "+19990512",
        "-0",
        "None",
    ],
)
def test_sec_p20_what_is_meant_for_predicates_is_a_32_bit_integer(raw: str) -> None:
    with pytest.raises(InvalidError, match="SEC-P20"):
        check_values(cred_def("licence")["public"], {**LICENCE, "birthdate_dateint": raw})
    with pytest.raises(InvalidError, match="SEC-P20"):
        check_values(cred_def("card")["public"], {**CARD, "Points": raw}, ["points"])


def test_sec_p20_an_attribute_meant_for_predicates_exists() -> None:
    with pytest.raises(InvalidError, match="SEC-P20"):
        check_values(cred_def("card")["public"], CARD, ["age"])


@pytest.mark.parametrize(
    "names", [[], ["First Name", "FIRSTNAME"], [""], [f"a{i}" for i in range(126)]]
)
def test_sec_p18_a_schema_with_colliding_names_is_not_made(names: list[str]) -> None:
    with pytest.raises(InvalidError):
        make_schema("n", "1.0", "V4SGRU86Z58d6TV7PBUe6f", names)


async def test_sec_p18_a_definition_over_colliding_names_is_not_made(desk: Desk) -> None:
    schema = {"issuerId": "x", "name": "n", "version": "1", "attrNames": ["a", "A "]}
    with pytest.raises(InvalidError, match="SEC-P18"):
        await issuer.create_cred_def(
            desk.scope, schema_id="x", schema=schema, issuer_id="x", tag="t", revocable=False
        )


SPOILS: list[Callable[[Any], object]] = [
    lambda c: c.update(cred_def_id=cred_def_id("learner")),
    lambda c: c.update(schema_id=cred_def("card")["schema_id"]),
    lambda c: c.update(cred_def_id=None),
    lambda c: c["values"]["category"].update(raw="A"),
    lambda c: c["values"]["category"].update(raw="A", encoded=encode("A")),
    lambda c: c["values"]["category"].update(encoded="5"),
    lambda c: c["values"]["category"].update(raw=5),
    lambda c: c["values"].pop("category"),
    lambda c: c["values"].update(more={"raw": "1", "encoded": "1"}),
    lambda c: c["values"].update({"Category": c["values"]["category"]}),
    lambda c: c.update(values=[]),
    lambda c: c.pop("values"),
]


@pytest.mark.parametrize("spoil", SPOILS)
async def test_sec_i04_a_credential_that_is_not_what_was_accepted_is_refused(
    desk: Desk, spoil: Callable[[Any], object]
) -> None:
    offer = await desk.offer("licence")
    asked = await desk.answer("licence", offer)
    credential = await desk.sign("licence", offer, asked.request, LICENCE)
    spoiled = copy.deepcopy(credential)
    spoil(spoiled)
    with pytest.raises(RefusedError, match="SEC-I04"):
        await desk.store("licence", offer, asked, spoiled, LICENCE)
    assert await desk.store("licence", offer, asked, credential, LICENCE)


async def test_sec_i04_other_values_honestly_signed_are_refused(desk: Desk) -> None:
    offer = await desk.offer("licence")
    asked = await desk.answer("licence", offer)
    credential = await desk.sign("licence", offer, asked.request, {**LICENCE, "category": "X"})
    with pytest.raises(RefusedError, match="SEC-I04"):
        await desk.store("licence", offer, asked, credential, LICENCE)


async def test_sec_i04_an_offer_for_another_definition_is_not_answered(desk: Desk) -> None:
    offer = await desk.offer("learner")
    with pytest.raises(RefusedError, match="SEC-I04"):
        await desk.answer("licence", offer)


async def test_sec_i05_a_wrong_proof_of_the_issuers_key_is_refused(desk: Desk) -> None:
    offer = await desk.offer("licence")
    stranger = await desk.offer("learner")
    offer["key_correctness_proof"] = stranger["key_correctness_proof"]
    with pytest.raises(LibraryError):
        await desk.answer("licence", offer)


@pytest.mark.parametrize("part", ["a", "v", "e", "m_2"])
async def test_sec_i05_a_wrong_signature_is_refused(desk: Desk, part: str) -> None:
    offer = await desk.offer("licence")
    asked = await desk.answer("licence", offer)
    credential = await desk.sign("licence", offer, asked.request, LICENCE)
    signature = credential["signature"]["p_credential"]
    signature[part] = str(int(signature[part]) + 1)
    with pytest.raises(LibraryError):
        await desk.store("licence", offer, asked, credential, LICENCE)


async def test_sec_i05_a_credential_for_somebody_else_is_refused(desk: Desk) -> None:
    offer = await desk.offer("licence")
    asked, other = await desk.answer("licence", offer), await desk.answer("licence", offer)
    credential = await desk.sign("licence", offer, asked.request, LICENCE)
    with pytest.raises(LibraryError):
        await desk.store("licence", offer, other, credential, LICENCE)


async def test_sec_i08_link_secrets_are_random_and_in_no_message(desk: Desk) -> None:
    made = [await holder.create_link_secret(desk.scope) for _ in range(2)]
    assert made[0] != made[1]
    assert all(int(each).bit_length() > 200 for each in made)
    asked = await desk.answer("card", await desk.offer("card"))
    assert link_secret("alice") not in str(asked.request)
    assert link_secret("alice") not in str(asked.metadata)
