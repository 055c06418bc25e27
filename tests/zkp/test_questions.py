"""Questions at their edges: each is answered by an honest wallet and by nothing that is near."""

from __future__ import annotations

from typing import Any

import pytest
from zkp.kit import (
    ADULT,
    Desk,
    ask,
    cred_def_id,
    held,
    new_request,
    over_18,
    proved,
    rules,
    source,
)

from keep_zkp.encode import INT32_MAX, INT32_MIN
from keep_zkp.holder import Chosen
from keep_zkp.requests import Attribute, Predicate, PresentationRequest, reveal
from keep_zkp.restrictions import read

OFFICE = "V4SGRU86Z58d6TV7PBUe6f"
CITY = "7Tqg6BwSSWapxgUDm9KKgg"


def only(name: str, **more: Any) -> Any:
    """Restrict to one kind of credential and more."""
    return read({"cred_def_id": cred_def_id(name), **more})


def compare(name: str, kind: str, value: int, cred: str) -> Predicate:
    """Ask for a comparison."""
    return Predicate.model_validate(
        {"name": name, "p_type": kind, "p_value": value, "restrictions": source(cred)}
    )


B = {"attr::category::value": "B"}
HONEST: dict[str, tuple[PresentationRequest, dict[str, tuple[tuple[str, ...], ...]]]] = {
    "one predicate in two referents": (
        ask({}, {"a": over_18(), "b": over_18()}),
        {"alice": ((), ("a", "b"))},
    ),
    "one predicate in two spellings": (
        ask({}, {"a": over_18(), "b": compare("Birthdate_ dateint", "<=", ADULT, "licence")}),
        {"alice": ((), ("a", "b"))},
    ),
    "one predicate of two credentials": (
        ask({}, {"a": over_18(), "b": over_18("learner")}),
        {"alice": ((), ("a",)), "alice_learner": ((), ("b",))},
    ),
    "two thresholds for one attribute": (
        ask({}, {"a": over_18(), "b": compare("birthdate_dateint", ">", 19000101, "licence")}),
        {"alice": ((), ("a", "b"))},
    ),
    "a group of one": (
        ask({"g": Attribute(names=("category",), restrictions=source("licence"))}),
        {"alice": (("g",), ())},
    ),
    "a group in other spelling": (
        ask({"g": reveal("FIRST name", "Level", source=source("card"))}),
        {"alice_card": (("g",), ())},
    ),
    "one attribute in two spellings": (
        ask(
            {
                "a": reveal("fIRSTname", source=source("card")),
                "b": reveal("First Name", source=source("card")),
            }
        ),
        {"alice_card": (("a", "b"), ())},
    ),
    "a value that is asked for": (
        ask({"c": Attribute(name="category", restrictions=only("licence", **B))}),
        {"alice": (("c",), ())},
    ),
    "a value of a group": (
        ask({"g": Attribute(names=("name", "category"), restrictions=only("licence", **B))}),
        {"alice": (("g",), ())},
    ),
    "a value that a predicate depends on": (
        ask(
            {"c": reveal("category", source=source("licence"))},
            {"a": over_18().model_copy(update={"restrictions": only("licence", **B)})},
        ),
        {"alice": (("c",), ("a",))},
    ),
    "another value than one": (
        ask(
            {
                "c": Attribute(
                    name="category",
                    restrictions=only("licence", **{"attr::category::value": {"$neq": "A"}}),
                )
            }
        ),
        {"alice": (("c",), ())},
    ),
    "one of several kinds": (
        ask(
            {
                "c": Attribute(
                    name="category",
                    restrictions=read(
                        {
                            "$or": [
                                {"cred_def_id": {"$in": ["x", cred_def_id("licence")]}},
                                {"issuer_id": CITY, "schema_name": "licence"},
                            ]
                        }
                    ),
                )
            }
        ),
        {"alice": (("c",), ())},
    ),
    "an author of the schema": (
        ask(
            {
                "c": Attribute(
                    name="category", restrictions=only("licence", schema_issuer_did=OFFICE)
                )
            }
        ),
        {"alice": (("c",), ())},
    ),
    "the lowest threshold": (
        ask({}, {"a": compare("points", ">=", INT32_MIN, "card")}),
        {"alice_card": ((), ("a",))},
    ),
    "the highest threshold": (
        ask({}, {"a": compare("birthdate_dateint", "<=", INT32_MAX, "licence")}),
        {"alice": ((), ("a",))},
    ),
    "above the lowest": (
        ask({}, {"a": compare("points", ">", INT32_MIN, "card")}),
        {"alice_card": ((), ("a",))},
    ),
    "below the highest": (
        ask({}, {"a": compare("birthdate_dateint", "<", INT32_MAX, "licence")}),
        {"alice": ((), ("a",))},
    ),
}


@pytest.mark.parametrize("question", HONEST)
async def test_an_honest_answer_is_proved(desk: Desk, question: str) -> None:
    request, using = HONEST[question]
    chosen = [Chosen(held(name), *referents) for name, referents in using.items()]
    verdict = await desk.verify(request, await desk.present_chosen(request, chosen))
    assert verdict.ok, verdict.reasons
    above = question in {"the lowest threshold", "above the lowest"}
    assert [each.rule for each in verdict.notices] == (["SEC-P38"] if above else [])


async def test_one_credential_shown_as_two_is_said(desk: Desk) -> None:
    request = ask({"c": reveal("category", source=source("licence"))}, {"adult": over_18()})
    again = dict(reversed(held("alice").items()))
    chosen = [Chosen(held("alice"), ("c",), ()), Chosen(again, (), ("adult",))]
    presentation = await desk.present_chosen(request, chosen)
    assert len(presentation["identifiers"]) == 2
    verdict = await desk.verify(request, presentation)
    assert verdict.ok
    assert [each.rule for each in verdict.notices] == ["SEC-P11"]


async def test_sec_p01_two_predicates_do_not_exchange_their_credentials(desk: Desk) -> None:
    """Even where either credential would do."""
    office = read({"issuer_did": OFFICE})
    one = over_18().model_copy(update={"restrictions": office})
    other = one.model_copy(update={"p_value": 20000101})
    request = ask({}, {"a": one, "b": other})
    using = {"alice": ((), ("a",)), "alice_learner": ((), ("b",))}
    presentation = await desk.present(request, using)
    assert (await desk.verify(request, presentation)).ok
    places = presentation["requested_proof"]["predicates"]
    places["a"], places["b"] = places["b"], places["a"]
    assert rules(await desk.refuse(request, presentation)) == {"SEC-P01"}


async def test_sec_p01_one_of_two_predicates_is_not_enough(desk: Desk) -> None:
    later = compare("birthdate_dateint", ">=", 19900101, "licence")
    request = ask({}, {"a": over_18(), "b": later})
    presentation = await desk.present(request, {"alice": ((), ("a", "b"))})
    for keep in (0, 1):
        spoiled = await desk.present(request, {"alice": ((), ("a", "b"))})
        proofs = proved(spoiled)["ge_proofs"]
        proofs[:] = [proofs[keep]]
        assert "SEC-P01" in rules(await desk.refuse(request, spoiled))
    proofs = proved(presentation)["ge_proofs"]
    proofs[0]["predicate"], proofs[1]["predicate"] = (
        proofs[1]["predicate"],
        proofs[0]["predicate"],
    )
    assert rules(await desk.verify(request, presentation)) == {"SEC-P29"}


async def test_sec_p01_the_other_operator_with_the_next_threshold_is_not_what_was_asked(
    desk: Desk,
) -> None:
    """The same numbers satisfy both; the answer is to be to the question as it was put."""
    asked = ask({}, {"a": compare("birthdate_dateint", "<", ADULT + 1, "licence")})
    told = asked.model_copy(update={"requested_predicates": {"a": over_18()}})
    presentation = await desk.present(told, {"alice": ((), ("a",))})
    assert (await desk.verify(told, presentation)).ok
    assert rules(await desk.refuse(asked, presentation)) == {"SEC-P01"}


async def test_sec_p03_a_predicate_of_another_credential_than_asked_is_refused(
    desk: Desk,
) -> None:
    request = ask({}, {"a": over_18(), "b": over_18("learner")})
    presentation = await desk.present(request, {"alice": ((), ("a", "b"))})
    assert rules(await desk.refuse(request, presentation)) == {"SEC-P03"}


async def test_sec_p03_a_value_shown_from_another_credential_satisfies_nothing(
    desk: Desk,
) -> None:
    """Category B is in the learner's licence of nobody here, but in the city's."""
    request = ask(
        {"c": Attribute(name="category", restrictions=read({"issuer_id": f"did:indy:sovrin:{CITY}"}))},
        {"a": over_18("learner").model_copy(update={"restrictions": only("learner", **B)})},
    )  # fmt: skip
    using = {"alice_learner": ((), ("a",)), "alice_city": (("c",), ())}
    presentation = await desk.present(request, using)
    assert rules(await desk.refuse(request, presentation)) == {"SEC-P03"}


async def test_sec_p03_another_author_of_the_schema_is_refused(desk: Desk) -> None:
    wanted = only("licence", schema_issuer_did=CITY)
    request = ask({"c": Attribute(name="category", restrictions=wanted)})
    presentation = await desk.present(request, {"alice": (("c",), ())})
    assert rules(await desk.refuse(request, presentation)) == {"SEC-P03"}


@pytest.mark.parametrize(
    "restrictions",
    [
        None,
        [],
        [{"cred_def_id": cred_def_id("licence")}, {"schema_name": "licence"}],
        {"$or": [{"cred_def_id": cred_def_id("licence")}, {"attr::category::marker": "1"}]},
        {"$not": {"cred_def_id": "x"}},
    ],
)
async def test_sec_p10_a_stored_question_that_binds_no_issuer_is_not_judged_true(
    desk: Desk, restrictions: Any
) -> None:
    request = new_request({"c": Attribute(name="category", restrictions=restrictions)})
    presentation = await desk.present(request, {"alice": (("c",), ())})
    assert rules(await desk.refuse(request, presentation)) == {"SEC-P10"}
    assert (await desk.verify(request, presentation, accept_any_issuer=True)).ok


async def test_sec_p22_a_value_and_a_comparison_of_it_come_from_two_credentials_and_are_said(
    desk: Desk,
) -> None:
    request = new_request(
        {"b": Attribute(name="birthdate_dateint", restrictions=only("learner"))},
        {"a": over_18()},
    )
    using = {"alice_learner": (("b",), ()), "alice": ((), ("a",))}
    verdict = await desk.verify(request, await desk.present(request, using))
    assert verdict.ok
    sources = {each.referent: each.source for each in verdict.answers}
    assert {key: found and found.cred_def_id for key, found in sources.items()} == {
        "b": cred_def_id("learner"),
        "a": cred_def_id("licence"),
    }
