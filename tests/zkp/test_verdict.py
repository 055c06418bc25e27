"""The verdict binds a presentation to the question that was asked.

`desk.refuse` judges without the cryptography: what it refuses is refused by our own comparison.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from zkp.kit import ADULT, Case, Desk, ask, cred_def_id, held, over_18, proved, rules, source

from keep_zkp.encode import encode
from keep_zkp.holder import Chosen
from keep_zkp.requests import (
    Attribute,
    Interval,
    Predicate,
    PresentationRequest,
    reveal,
)
from keep_zkp.restrictions import read
from keep_zkp.verdict import How, Reason, Verdict

Spoil = Callable[[Any], object]


async def test_sec_p28_the_verdict_lists_each_referent_and_where_it_comes_from(
    desk: Desk, bar: Case
) -> None:
    verdict = await desk.verify(bar.request, bar.presentation)
    assert (verdict.ok, verdict.reasons, verdict.notices) == (True, (), ())
    found = {each.referent: each for each in verdict.answers}
    assert found["category"].values == {"category": "B"}
    assert found["person"].values == {"name": "Alice Ärmel", "number": "L-77 123"}
    assert (found["adult"].how, found["adult"].values) == (How.PROVEN, {})
    assert found["adult"].predicate == f"birthdate_dateint <= {ADULT}"
    for answer in verdict.answers:
        assert answer.source is not None
        assert answer.source.cred_def_id == cred_def_id("licence")
    assert "19990512" not in json.dumps(verdict.wire())


async def test_two_credentials_of_one_holder_are_one_answer(desk: Desk, two: Case) -> None:
    verdict = await desk.verify(two.request, two.presentation)
    assert verdict.ok
    sources = {each.referent: each.source for each in verdict.answers}
    assert {key: found and found.cred_def_id for key, found in sources.items()} == {
        "level": cred_def_id("card"),
        "category": cred_def_id("licence"),
        "adult": cred_def_id("licence"),
    }


async def test_a_refused_presentation_shows_no_values(desk: Desk, bar: Case) -> None:
    other = bar.request.model_copy(update={"nonce": "1"})
    verdict = await desk.verify(other, bar.presentation)
    assert not verdict.ok
    assert "Alice" not in json.dumps(verdict.wire(), ensure_ascii=False)
    assert {each.how for each in verdict.answers} == {How.MISSING}


async def test_sec_p01_a_predicate_that_the_proof_does_not_hold_is_refused(
    desk: Desk, shown: Case
) -> None:
    request = shown.request.model_copy(update={"requested_predicates": {"adult": over_18()}})
    presentation = shown.presentation
    presentation["requested_proof"]["predicates"] = {"adult": {"sub_proof_index": 0}}
    assert rules(await desk.refuse(request, presentation)) == {"SEC-P01"}


@pytest.mark.parametrize(
    "other",
    [
        {"p_value": ADULT - 1},
        {"p_value": ADULT + 1},
        {"p_type": "<"},
        {"p_type": ">="},
        {"name": "number"},
    ],
)
async def test_sec_p01_another_predicate_than_asked_is_refused(
    desk: Desk, bar: Case, other: dict[str, Any]
) -> None:
    predicate = Predicate.model_validate({**over_18().model_dump(), **other})
    request = bar.request.model_copy(update={"requested_predicates": {"adult": predicate}})
    assert "SEC-P01" in rules(await desk.refuse(request, bar.presentation))


@pytest.mark.parametrize(
    "change", [{"value": ADULT + 10_000}, {"p_type": "GE"}, {"attr_name": "number"}]
)
async def test_sec_p01_a_predicate_rewritten_in_the_proof_is_refused(
    desk: Desk, bar: Case, change: dict[str, Any]
) -> None:
    presentation = bar.presentation
    proved(presentation)["ge_proofs"][0]["predicate"].update(change)
    assert "SEC-P01" in rules(await desk.refuse(bar.request, presentation))


async def test_sec_p01_a_predicate_dropped_or_doubled_in_the_proof_is_refused(
    desk: Desk, bar: Case
) -> None:
    for times in (0, 2):
        presentation = bar.presentation
        proved(presentation)["ge_proofs"] *= times
        assert "SEC-P01" in rules(await desk.refuse(bar.request, presentation))


async def test_sec_p01_a_predicate_that_nobody_asked_for_is_refused(
    desk: Desk, bar: Case
) -> None:
    request = bar.request.model_copy(update={"requested_predicates": {}})
    presentation = bar.presentation
    presentation["requested_proof"]["predicates"] = {}
    assert "SEC-P01" in rules(await desk.refuse(request, presentation))


@pytest.mark.parametrize("raw", ["A", "b", " B", "B\u200b", ""])
async def test_sec_p02_a_shown_value_that_was_not_signed_is_refused(
    desk: Desk, bar: Case, raw: str
) -> None:
    presentation = bar.presentation
    presentation["requested_proof"]["revealed_attrs"]["category"]["raw"] = raw
    assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P02"}


@pytest.mark.parametrize("raw", ["-3", "13", "٣", "3 ", "3.0", "4294967299"])
async def test_sec_p02_what_does_not_read_as_the_signed_number_is_refused(
    desk: Desk, two: Case, raw: str
) -> None:
    presentation = two.presentation
    presentation["requested_proof"]["revealed_attrs"]["level"]["raw"] = raw
    assert rules(await desk.refuse(two.request, presentation)) == {"SEC-P02"}


async def test_sec_p02_a_value_encoded_to_fit_itself_but_not_the_proof_is_refused(
    desk: Desk, bar: Case
) -> None:
    presentation = bar.presentation
    other = {"raw": "A", "encoded": encode("A")}
    presentation["requested_proof"]["revealed_attrs"]["category"].update(other)
    assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P02"}
    proved(presentation)["eq_proof"]["revealed_attrs"]["category"] = other["encoded"]
    assert rules(await desk.verify(bar.request, presentation)) == {"SEC-P29"}


async def test_sec_p02_two_values_of_a_group_cannot_change_places(
    desk: Desk, bar: Case
) -> None:
    presentation = bar.presentation
    values = presentation["requested_proof"]["revealed_attr_groups"]["person"]["values"]
    values["name"], values["number"] = values["number"], values["name"]
    assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P02"}


async def test_sec_p24_an_unrevealed_answer_satisfies_nothing(desk: Desk, bar: Case) -> None:
    wanted = read({"cred_def_id": cred_def_id("licence"), "attr::category::value": "A"})
    attribute = Attribute(name="category", restrictions=wanted)
    asked = {**bar.request.requested_attributes, "category": attribute}
    request = bar.request.model_copy(update={"requested_attributes": asked})
    presentation = bar.presentation
    del presentation["requested_proof"]["revealed_attrs"]["category"]
    presentation["requested_proof"]["unrevealed_attrs"]["category"] = {"sub_proof_index": 0}
    assert rules(await desk.refuse(request, presentation)) == {"SEC-P24"}


@pytest.mark.parametrize("whole_request", [True, False])
async def test_sec_p05_non_revocation_that_was_asked_is_not_proven_yet(
    desk: Desk, *, whole_request: bool
) -> None:
    interval = Interval(from_=1_700_000_000, to=1_700_000_000)
    attribute = reveal("category", source=source("revocable"))
    plain = ask({"category": attribute})
    presentation = await desk.present(plain, {"alice_revocable": (("category",), ())})
    assert (await desk.verify(plain, presentation)).ok
    if whole_request:
        request = plain.model_copy(update={"non_revoked": interval})
    else:
        asked = attribute.model_copy(update={"non_revoked": interval})
        request = plain.model_copy(update={"requested_attributes": {"category": asked}})
    assert rules(await desk.refuse(request, presentation)) == {"SEC-P05"}


async def test_sec_p33_a_credential_that_may_be_revoked_is_said_where_nobody_asked(
    desk: Desk, bar: Case
) -> None:
    request = ask({"category": reveal("category", source=source("revocable"))})
    presentation = await desk.present(request, {"alice_revocable": (("category",), ())})
    verdict = await desk.verify(request, presentation)
    assert verdict.ok
    (notice,) = verdict.notices
    assert notice.rule == "SEC-P33"
    assert cred_def_id("revocable") in notice.words
    assert "can be revoked, and whether it is was not asked" in notice.words
    assert (await desk.verify(bar.request, bar.presentation)).notices == ()


@pytest.mark.parametrize("operators", [(">=",), (">",), (">=", "<="), (">", "<"), ("<=",)])
async def test_sec_p38_what_is_only_bounded_from_below_may_be_a_text(
    desk: Desk, operators: tuple[str, ...]
) -> None:
    """Any text is signed as a number of 256 bits: `>= 18` holds of "unknown", `<= 2147483647` does not."""
    bounds = {">=": 19000101, ">": 19000101, "<=": 20990101, "<": 20990101}
    licence = source("licence")
    asked = {
        each: Predicate(
            name="birthdate_dateint", p_type=each, p_value=bounds[each], restrictions=licence
        )
        for each in operators
    }
    request = ask({}, asked)
    verdict = await desk.verify(
        request, await desk.present(request, {"alice": ((), operators)})
    )
    assert verdict.ok
    expected = ["SEC-P38"] if len(operators) == 1 and operators[0].startswith(">") else []
    assert [each.rule for each in verdict.notices] == expected


async def test_sec_p05_an_interval_asks_nothing_of_what_cannot_be_revoked(
    desk: Desk, bar: Case
) -> None:
    interval = Interval(from_=1_700_000_000, to=1_700_000_000)
    request = bar.request.model_copy(update={"non_revoked": interval})
    assert (await desk.verify(request, bar.presentation)).ok


@pytest.mark.parametrize(
    ("identifier", "rule"),
    [({"timestamp": 1_700_000_000}, "SEC-P23"), ({"rev_reg_id": "x:4:y"}, "SEC-P05")],
)
async def test_sec_p23_a_time_or_registry_without_a_reason_is_refused(
    desk: Desk, bar: Case, identifier: dict[str, Any], rule: str
) -> None:
    presentation = bar.presentation
    presentation["identifiers"][0].update(identifier)
    assert rules(await desk.refuse(bar.request, presentation)) == {rule}


async def test_sec_p07_a_referent_in_two_sections_is_refused(desk: Desk, bar: Case) -> None:
    for section, answer in (
        ("self_attested_attrs", "A"),
        ("unrevealed_attrs", {"sub_proof_index": 0}),
    ):
        presentation = bar.presentation
        presentation["requested_proof"][section]["category"] = answer
        assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P07"}


async def test_sec_p07_a_group_answered_one_by_one_is_refused(desk: Desk, bar: Case) -> None:
    presentation = bar.presentation
    proof = presentation["requested_proof"]
    group = proof["revealed_attr_groups"].pop("person")
    proof["revealed_attrs"]["person"] = {"sub_proof_index": 0, **group["values"]["name"]}
    assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P11"}


async def test_sec_p07_an_answer_or_proof_that_belongs_to_nothing_is_refused(
    desk: Desk, bar: Case
) -> None:
    spoils: list[Spoil] = [
        lambda p: p["identifiers"].append(p["identifiers"][0]),
        lambda p: p["proof"]["proofs"].append(copy.deepcopy(p["proof"]["proofs"][0])),
        lambda p: p["identifiers"].clear(),
        lambda p: p["proof"]["proofs"].clear(),
        lambda p: p["requested_proof"]["predicates"]["adult"].update(sub_proof_index=1),
        lambda p: p["requested_proof"]["predicates"].update(more={"sub_proof_index": 0}),
        lambda p: p["requested_proof"]["self_attested_attrs"].update(more="x"),
    ]
    for spoil in spoils:
        presentation = bar.presentation
        spoil(presentation)
        assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P07"}


async def test_sec_p09_our_own_word_is_told_apart_from_proof(desk: Desk) -> None:
    request = ask(
        {
            "nick": Attribute(name="nickname"),
            "category": reveal("category", source=source("licence")),
        },
        accept_any_issuer=True,
    )
    using = {"alice": (("category",), ())}
    presentation = await desk.present(request, using, self_attested={"nick": "Ali"})
    assert rules(await desk.refuse(request, presentation)) == {"SEC-P10"}
    verdict = await desk.verify(request, presentation, accept_any_issuer=True)
    answer = next(each for each in verdict.answers if each.referent == "nick")
    assert (answer.how, answer.said, answer.values, answer.source) == (
        How.SELF_ATTESTED,
        "Ali",
        {},
        None,
    )
    assert [each.rule for each in verdict.notices] == ["SEC-P09"]


async def test_sec_p09_our_own_word_never_answers_a_restricted_attribute(
    desk: Desk, bar: Case
) -> None:
    presentation = bar.presentation
    del presentation["requested_proof"]["revealed_attrs"]["category"]
    presentation["requested_proof"]["self_attested_attrs"]["category"] = "A"
    assert "SEC-P09" in rules(await desk.refuse(bar.request, presentation))


async def test_sec_p11_answers_from_two_credentials_of_one_kind_are_said(desk: Desk) -> None:
    request = ask({"c": reveal("category", source=source("licence"))}, {"adult": over_18()})
    values = {name: value["raw"] for name, value in held("alice")["values"].items()}
    second = await desk.issue("licence", {**values, "category": "C"})
    chosen = [Chosen(held("alice"), (), ("adult",)), Chosen(second, ("c",), ())]
    presentation = await desk.present_chosen(request, chosen)
    verdict = await desk.verify(request, presentation)
    assert verdict.ok
    assert [each.rule for each in verdict.notices] == ["SEC-P11"]


async def test_sec_p13_a_proof_made_for_another_nonce_is_refused(desk: Desk, bar: Case) -> None:
    request = bar.request.model_copy(update={"nonce": ask({}, {"a": over_18()}).nonce})
    assert rules(await desk.verify(request, bar.presentation)) == {"SEC-P29"}


async def test_sec_p18_names_are_compared_as_they_are_signed(desk: Desk) -> None:
    request = ask({"n": reveal("FIRST name", source=source("card"))})
    presentation = await desk.present(request, {"alice_card": (("n",), ())})
    verdict = await desk.verify(request, presentation)
    assert verdict.ok
    assert verdict.answers[0].values == {"FIRST name": "Alice"}


async def test_sec_p18_a_name_that_is_not_canonical_in_the_proof_is_refused(
    desk: Desk, bar: Case
) -> None:
    presentation = bar.presentation
    revealed = proved(presentation)["eq_proof"]["revealed_attrs"]
    revealed["Category"] = revealed.pop("category")
    assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P02"}


async def test_sec_p22_a_value_shown_and_compared_at_once_is_refused(
    desk: Desk, bar: Case
) -> None:
    presentation = bar.presentation
    equality = proved(presentation)["eq_proof"]
    del equality["m"]["birthdate_dateint"]
    equality["revealed_attrs"]["birthdate_dateint"] = "19990512"
    assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P02"}


async def test_sec_p26_two_holders_cannot_present_together(desk: Desk) -> None:
    request = ask(
        {
            "level": reveal("level", source=source("card")),
            "category": reveal("category", source=source("licence")),
        }
    )
    using = {"alice": (("category",), ()), "bob_card": (("level",), ())}
    presentation = await desk.present(request, using)
    assert not (await desk.verify(request, presentation)).ok
    # Glued from two honest halves, the secrets differ in sight.
    one = await desk.present(
        request, {"alice": (("category",), ()), "alice_card": (("level",), ())}
    )
    other = await desk.present(
        request, {"child": (("category",), ()), "bob_card": (("level",), ())}, person="bob"
    )
    one["proof"]["proofs"][0] = other["proof"]["proofs"][0]
    assert "SEC-P26" in rules(await desk.refuse(request, one))


async def test_sec_p01_a_predicate_answered_among_the_attributes_is_refused(
    desk: Desk, bar: Case
) -> None:
    presentation = bar.presentation
    sections = presentation["requested_proof"]
    sections["unrevealed_attrs"]["adult"] = sections["predicates"].pop("adult")
    assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P01"}


async def test_sec_p02_one_attribute_has_one_value(desk: Desk) -> None:
    one, other = (reveal(name, source=source("card")) for name in ("First Name", "firstname"))
    request = ask({"one": one, "other": other})
    honest = await desk.present(request, {"alice_card": (("one", "other"), ())})
    assert (await desk.verify(request, honest)).ok
    for referent in ("one", "other"):
        presentation = copy.deepcopy(honest)
        eve = {"raw": "Eve", "encoded": encode("Eve")}
        presentation["requested_proof"]["revealed_attrs"][referent].update(eve)
        assert rules(await desk.refuse(request, presentation)) == {"SEC-P02"}


async def test_sec_p11_a_group_shows_the_names_asked_in_their_spelling(
    desk: Desk, bar: Case
) -> None:
    presentation = bar.presentation
    values = presentation["requested_proof"]["revealed_attr_groups"]["person"]["values"]
    values["Name"] = values.pop("name")
    assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P11"}


async def test_sec_p09_our_own_word_never_answers_a_group(desk: Desk) -> None:
    group = Attribute(names=("category",))
    request = ask(
        {"g": group, "c": reveal("category", source=source("licence"))}, accept_any_issuer=True
    )
    presentation = await desk.present(request, {"alice": (("g", "c"), ())})
    del presentation["requested_proof"]["revealed_attr_groups"]["g"]
    presentation["requested_proof"]["self_attested_attrs"]["g"] = "A"
    verdict = await desk.refuse(request, presentation, accept_any_issuer=True)
    assert rules(verdict) == {"SEC-P09"}


async def test_a_verdict_without_proof_or_with_a_reason_is_not_ok(
    desk: Desk, bar: Case
) -> None:
    good = await desk.verify(bar.request, bar.presentation)
    assert good.ok
    assert not replace(good, proved=False).ok
    assert not replace(good, reasons=(Reason("SEC-P01", "x"),)).ok
    missing = replace(good.answers[0], how=How.MISSING)
    assert not replace(good, answers=(*good.answers, missing)).ok


async def test_an_empty_verdict_is_not_ok(bar: Case) -> None:
    assert not Verdict(proved=True, reasons=(), notices=(), answers=()).ok


def test_the_request_is_what_was_stored(bar: Case) -> None:
    again = PresentationRequest.model_validate_json(json.dumps(bar.request.wire()))
    assert again == bar.request


def _of(section: str, presentation: Any) -> Any:
    return presentation["requested_proof"][section]


ADULT_ASKED = f"'birthdate_dateint <= {ADULT}' (asked as 'adult')"
SAID: list[tuple[Spoil, str]] = [
    (
        lambda p: _of("revealed_attrs", p).clear(),
        "'category' (asked as 'category') is not answered",
    ),
    (
        lambda p: _of("self_attested_attrs", p).update(category="A"),
        "'category' (asked as 'category') is answered more than once",
    ),
    (
        lambda p: _of("self_attested_attrs", p).update(shoes="44"),
        "'shoes' is answered, and was not asked",
    ),
    (
        lambda p: _of("self_attested_attrs", p).update(
            category=_of("revealed_attrs", p).pop("category")["raw"]
        ),
        "'category' (asked as 'category') is the holder's own word, and no credential's",
    ),
    (
        lambda p: _of("unrevealed_attrs", p).update(
            category={"sub_proof_index": _of("revealed_attrs", p).pop("category") and 0}
        ),
        "'category' (asked as 'category') was asked to be shown, and is not",
    ),
    (
        lambda p: _of("revealed_attrs", p)["category"].update(raw="A"),
        "the value shown of 'category' is not the one signed",
    ),
    (
        lambda p: proved(p)["ge_proofs"].clear(),
        f"the credential of {cred_def_id('licence')!r} does not prove " + ADULT_ASKED,
    ),
    (
        lambda p: p["identifiers"][0].update(timestamp=5),
        f"the credential of '{cred_def_id('licence')}' comes with a time that nobody asked for",
    ),
    (
        lambda p: p["identifiers"][0].update(cred_def_id="x:3:CL:1:y"),
        "the credential of 'x:3:CL:1:y': no ledger that we read has this definition",
    ),
    (
        lambda p: p["proof"].update(proofs="none"),
        "the presentation is not formed as one: proof.proofs must be a list",
    ),
    (
        lambda p: p.pop("identifiers"),
        "the presentation names no credentials, or more than could be asked for",
    ),
]


@pytest.mark.parametrize(("spoil", "words"), SAID)
async def test_sec_p35_a_verdict_says_which_item_is_wrong_and_how(
    desk: Desk, bar: Case, spoil: Spoil, words: str
) -> None:
    presentation = bar.presentation
    spoil(presentation)
    verdict = await desk.refuse(bar.request, presentation)
    assert words in [each.words for each in verdict.reasons]
    for each in verdict.wire()["reasons"]:
        assert each["rule"].startswith("SEC-P")
        assert "SEC-" not in each["words"]


async def test_sec_p35_long_names_do_not_drown_the_words(desk: Desk, bar: Case) -> None:
    presentation = bar.presentation
    _of("self_attested_attrs", presentation)["x\u202e" * 120] = "1"
    verdict = await desk.refuse(bar.request, presentation)
    assert all(len(each.words) < 2000 for each in verdict.reasons)
    assert all(each.words.isprintable() for each in verdict.reasons)
