"""The closed and bounded model of a presentation (SEC-P30).

`desk.refuse` judges without the cryptography: what it refuses is refused by our own comparison.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from zkp.kit import VECTORS, Case, Desk, proved, rules

from keep_zkp.presentation import read_presentation
from keep_zkp.requests import read_request
from keep_zkp.verdict import Question, Resolved, find_reasons

Spoil = Callable[[Any], object]


@pytest.mark.parametrize("ids", [10_000, 101, 4])
async def test_sec_p30_more_credentials_than_questions_are_refused_before_any_work(
    desk: Desk, bar: Case, ids: int
) -> None:
    presentation = bar.presentation
    presentation["identifiers"] *= ids
    assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P30"}


async def test_sec_p30_huge_texts_and_numbers_are_refused(desk: Desk, bar: Case) -> None:
    spoils: list[Spoil] = [
        lambda p: p["identifiers"][0].update(cred_def_id="x" * 1_100_000),
        lambda p: proved(p)["eq_proof"].update(v="1" * 100_000),
        lambda p: p["proof"]["aggregated_proof"]["c_list"].extend([[0]] * 1001),
        lambda p: proved(p)["eq_proof"]["m"].update({f"m{i}": "1" for i in range(200)}),
    ]
    for spoil in spoils:
        presentation = bar.presentation
        spoil(presentation)
        assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P30"}


async def test_sec_p30_what_is_wrong_many_times_is_found_wrong_once(
    desk: Desk, bar: Case
) -> None:
    """Else looking for every fault would cost more than the proof."""
    spoils: list[tuple[Spoil, str]] = [
        (
            lambda p: proved(p)["eq_proof"]["m"].update({str(i): 1 for i in range(9999)}),
            "members",
        ),
        (lambda p: p["proof"].update(proofs=[{}] * 4000), "proof.proofs.0"),
        (
            lambda p: p["proof"]["aggregated_proof"].update(c_list=[["x"] * 599] * 80),
            "c_list.0.0",
        ),
    ]
    for spoil, words in spoils:
        presentation = bar.presentation
        spoil(presentation)
        (reason,) = (await desk.refuse(bar.request, presentation)).reasons
        assert words in reason.words


@pytest.mark.parametrize("index", [True, False, -1, 2**32, 10**30, 0.0, "0", None, [0]])
async def test_sec_p30_an_index_that_is_no_small_number_is_refused(
    desk: Desk, bar: Case, index: object
) -> None:
    presentation = bar.presentation
    presentation["requested_proof"]["revealed_attrs"]["category"]["sub_proof_index"] = index
    assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P30"}


@pytest.mark.parametrize("number", ["٣", "+1", "01", "-0", "1 ", "", "1e5", 5, None, "0x1"])
async def test_sec_p30_a_number_in_another_spelling_is_refused(
    desk: Desk, bar: Case, number: object
) -> None:
    presentation = bar.presentation
    proved(presentation)["eq_proof"]["m2"] = number
    assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P30"}


@pytest.mark.parametrize("body", [{}, {"proof": {}}, {"identifiers": 5}, [], None, "x", 5])
async def test_sec_p30_what_is_no_presentation_gets_a_verdict(
    desk: Desk, bar: Case, body: Any
) -> None:
    assert rules(await desk.refuse(bar.request, body)) == {"SEC-P30"}


async def test_a_proof_of_non_revocation_has_no_place_yet(desk: Desk, bar: Case) -> None:
    presentation = bar.presentation
    presentation["proof"]["proofs"][0]["non_revoc_proof"] = {"x_list": {}, "c_list": {}}
    assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P30"}


@pytest.mark.parametrize("family", ["anoncreds", "hlindy"])
def test_what_another_wallet_presents_gets_as_far_as_the_cryptography(family: str) -> None:
    """Recorded from Credo, in both forms of ids; the definition's own numbers were not."""
    found = json.loads((VECTORS / "credo.json").read_text("utf-8"))[family]
    request = read_request(found["request"])
    shown = read_presentation(found["presentation"], request)
    assert {each.cred_def_id for each in shown.identifiers} == {found["cred_def"]["id"]}
    names = frozenset(found["cred_def"]["names"])
    group = dict.fromkeys(("s", "z", "rctxt"), "2")
    r = dict.fromkeys([*names, "master_secret"], "2")
    public = {"n": str(1 << 2100), "r": r, **group}
    schema_id, issuer = found["cred_def"]["schema_id"], found["cred_def"]["issuer_id"]
    cred_def = {"issuerId": issuer, "schemaId": schema_id, "value": {"primary": public}}
    schema = {"issuerId": issuer, "attrNames": sorted(names)}
    resolved = Resolved({schema_id: schema}, {found["cred_def"]["id"]: cred_def})
    assert find_reasons(Question(request, shown, resolved, accept_any_issuer=False)) == ()


CLOSED: list[Callable[[Any], Any]] = [
    lambda p: p,
    lambda p: p["proof"],
    lambda p: p["proof"]["aggregated_proof"],
    lambda p: p["proof"]["proofs"][0],
    proved,
    lambda p: proved(p)["eq_proof"],
    lambda p: proved(p)["ge_proofs"][0],
    lambda p: proved(p)["ge_proofs"][0]["predicate"],
    lambda p: proved(p)["ge_proofs"][0]["u"],
    lambda p: p["requested_proof"],
    lambda p: p["requested_proof"]["revealed_attrs"]["category"],
    lambda p: p["requested_proof"]["predicates"]["adult"],
    lambda p: p["identifiers"][0],
]


@pytest.mark.parametrize("place", CLOSED)
async def test_sec_p30_an_unknown_member_is_refused_wherever_it_stands(
    desk: Desk, bar: Case, place: Callable[[Any], Any]
) -> None:
    presentation = bar.presentation
    place(presentation)["more"] = "1"
    assert rules(await desk.refuse(bar.request, presentation)) == {"SEC-P30"}
