"""The verdict accepts answers from no other credential than asked for (P03, P04, P10, P17).

`desk.refuse` judges without the cryptography: what it refuses is refused by our own comparison.
"""

from __future__ import annotations

from typing import Any

import pytest
from zkp.kit import Case, Desk, ask, cred_def, cred_def_id, rules, source

from keep_zkp.native import MAX_TEXT
from keep_zkp.requests import (
    Attribute,
    from_issuer,
    reveal,
)
from keep_zkp.restrictions import read


async def test_sec_p03_a_value_restriction_is_evaluated_on_the_checked_value(
    desk: Desk, shown: Case
) -> None:
    for value, ok in (("B", True), ("A", False)):
        wanted = read({"cred_def_id": cred_def_id("licence"), "attr::category::value": value})
        attribute = Attribute(name="category", restrictions=wanted)
        request = shown.request.model_copy(
            update={"requested_attributes": {"category": attribute}}
        )
        assert (await desk.verify(request, shown.presentation)).ok is ok


async def test_sec_p03_a_false_raw_value_does_not_satisfy_a_value_restriction(
    desk: Desk, shown: Case
) -> None:
    wanted = read({"cred_def_id": cred_def_id("licence"), "attr::category::value": "A"})
    attribute = Attribute(name="category", restrictions=wanted)
    request = shown.request.model_copy(update={"requested_attributes": {"category": attribute}})
    presentation = shown.presentation
    presentation["requested_proof"]["revealed_attrs"]["category"]["raw"] = "A"
    assert rules(await desk.refuse(request, presentation)) == {"SEC-P02"}


async def test_sec_p03_a_marker_names_an_attribute_that_is_really_there(
    desk: Desk, shown: Case
) -> None:
    for name, broken in (("number", set[str]()), ("nothing", {"SEC-P03"})):
        wanted = read({"cred_def_id": cred_def_id("licence"), f"attr::{name}::marker": "1"})
        attribute = Attribute(name="category", restrictions=wanted)
        request = shown.request.model_copy(
            update={"requested_attributes": {"category": attribute}}
        )
        assert rules(await desk.verify(request, shown.presentation)) == broken


@pytest.mark.parametrize(
    "wanted",
    [
        {"attr::number::value": "anything"},
        {"$not": {"attr::number::value": "anything"}},
        {"attr::number::value": {"$neq": "anything"}},
    ],
)
async def test_sec_p04_nothing_holds_of_a_value_that_was_not_shown(
    desk: Desk, shown: Case, wanted: dict[str, Any]
) -> None:
    restrictions = read({"cred_def_id": cred_def_id("licence"), **wanted})
    attribute = Attribute(name="category", restrictions=restrictions)
    request = shown.request.model_copy(update={"requested_attributes": {"category": attribute}})
    assert "SEC-P03" in rules(await desk.refuse(request, shown.presentation))


async def test_sec_p10_an_issuer_that_is_not_pinned_is_said(desk: Desk) -> None:
    restrictions = read({"schema_name": "licence"})
    attribute = Attribute(name="name", restrictions=restrictions)
    request = ask({"name": attribute}, accept_any_issuer=True)
    presentation = await desk.present(request, {"alice_city": (("name",), ())})
    assert rules(await desk.refuse(request, presentation)) == {"SEC-P10"}
    verdict = await desk.verify(request, presentation, accept_any_issuer=True)
    assert verdict.ok
    assert "issuer not pinned" in verdict.notices[0].words
    assert "did:indy:sovrin:7Tqg6BwSSWapxgUDm9KKgg" in verdict.notices[0].words


@pytest.mark.parametrize("other", ["learner", "city"])
async def test_sec_p10_another_definition_or_issuer_does_not_answer(
    desk: Desk, other: str
) -> None:
    asked = ask({"category": reveal("category", source=source("licence"))})
    presentation = await desk.present(asked, {f"alice_{other}": (("category",), ())})
    assert rules(await desk.refuse(asked, presentation)) == {"SEC-P03"}


async def test_sec_p10_an_issuer_can_be_named_in_either_word(desk: Desk) -> None:
    for name, issuer in (
        ("alice", "V4SGRU86Z58d6TV7PBUe6f"),
        ("alice_city", "did:indy:sovrin:7Tqg6BwSSWapxgUDm9KKgg"),
    ):
        request = ask({"category": reveal("category", source=from_issuer(issuer))})
        presentation = await desk.present(request, {name: (("category",), ())})
        assert (await desk.verify(request, presentation)).ok


async def test_an_id_without_its_network_is_not_the_one_with_it(desk: Desk) -> None:
    """Two networks can have one DID; whoever has both forms writes one before asking."""
    qualified = "did:indy:sovrin:V4SGRU86Z58d6TV7PBUe6f/anoncreds/v0/CLAIM_DEF/12/default"
    asked = Attribute(name="category", restrictions=read({"cred_def_id": qualified}))
    request = ask({"c": asked})
    presentation = await desk.present(request, {"alice": (("c",), ())})
    assert rules(await desk.refuse(request, presentation)) == {"SEC-P03"}
    names = {qualified: cred_def_id("licence")}
    meant = request.respelled(lambda text: names.get(text, text))
    assert (await desk.verify(meant, presentation)).ok


async def test_sec_p17_a_schema_that_is_not_the_definitions_own_is_refused(
    desk: Desk, shown: Case
) -> None:
    """Otherwise `schema_name: passport` is satisfied by naming somebody else's schema."""
    city = cred_def("city")["schema_id"]
    presentation = shown.presentation
    presentation["identifiers"][0]["schema_id"] = city
    assert rules(await desk.refuse(shown.request, presentation)) == {"SEC-P17"}


async def test_sec_p17_only_what_the_ledger_gave_counts(desk: Desk, bar: Case) -> None:
    assert rules(await desk.refuse(bar.request, bar.presentation, cred_defs={})) == {"SEC-P17"}
    assert rules(await desk.refuse(bar.request, bar.presentation, schemas={})) == {"SEC-P17"}
    changes: list[dict[str, Any]] = [
        {"issuerId": "7Tqg6BwSSWapxgUDm9KKgg"},
        {"schemaId": "x"},
        {"value": {}},
    ]
    for change in changes:
        changed = {key: {**value, **change} for key, value in desk.cred_defs.items()}
        verdict = await desk.verify(bar.request, bar.presentation, cred_defs=changed)
        assert rules(verdict) == {"SEC-P17"}


@pytest.mark.parametrize(
    "change",
    [
        {"issuerId": "7Tqg6BwSSWapxgUDm9KKgg"},
        {"attrNames": ["name", "birthdate_dateint", "category", "number", "more"]},
        {"attrNames": ["name", "birthdate_dateint", "category"]},
        {"attrNames": ["name", "Name", "birthdate_dateint", "category", "number"]},
    ],
)
async def test_sec_p17_a_schema_of_another_author_or_of_other_attributes_is_refused(
    desk: Desk, bar: Case, change: dict[str, Any]
) -> None:
    schemas = {key: {**value, **change} for key, value in desk.schemas.items()}
    verdict = await desk.refuse(bar.request, bar.presentation, schemas=schemas)
    assert rules(verdict) == {"SEC-P17"}


NUMBERS: list[Any] = ["abc", "", "0", "-5", "1" * 5000, 5, None, ["1"]]


@pytest.mark.parametrize("number", NUMBERS)
async def test_sec_p17_a_definition_whose_key_is_no_number_is_refused(
    desk: Desk, bar: Case, number: Any
) -> None:
    id_ = cred_def_id("licence")
    changed = cred_def("licence")["public"]
    changed["value"]["primary"]["n"] = number
    verdict = await desk.refuse(bar.request, bar.presentation, cred_defs={id_: changed})
    assert rules(verdict) == {"SEC-P17"}


async def test_sec_p17_ledger_objects_that_cannot_be_read_give_a_verdict(
    desk: Desk, bar: Case
) -> None:
    """Anybody may write what he likes to a ledger that lets him."""
    changes: list[dict[str, Any]] = [{"tag": "\ud800"}, {"tag": "x" * MAX_TEXT}, {"tag": 5}]
    for change in changes:
        spoiled = {key: {**value, **change} for key, value in desk.cred_defs.items()}
        verdict = await desk.verify(bar.request, bar.presentation, cred_defs=spoiled)
        assert rules(verdict) == {"SEC-P17"}
    for name in ("\ud800", 5, None):
        schemas = {key: {**value, "name": name} for key, value in desk.schemas.items()}
        verdict = await desk.verify(bar.request, bar.presentation, schemas=schemas)
        assert rules(verdict) == {"SEC-P17"}
    for names in ([5], ["name", None], [], "name", ["\ud800"]):
        schemas = {key: {**value, "attrNames": names} for key, value in desk.schemas.items()}
        verdict = await desk.refuse(bar.request, bar.presentation, schemas=schemas)
        assert rules(verdict) == {"SEC-P17"}


async def test_sec_p17_another_issuers_key_under_the_same_id_verifies_nothing(
    desk: Desk, bar: Case
) -> None:
    """Here the resolver itself is wrong: the cryptography still says no."""
    id_, mine = cred_def_id("licence"), desk.cred_defs[cred_def_id("licence")]
    learner = {**desk.cred_defs[cred_def_id("learner")], "tag": mine["tag"]}
    verdict = await desk.verify(bar.request, bar.presentation, cred_defs={id_: learner})
    assert rules(verdict) == {"SEC-P29"}
