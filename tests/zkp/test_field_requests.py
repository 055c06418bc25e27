"""Requests as verifiers in the field write them: taken as they are meant, or refused in clear words."""

from __future__ import annotations

from typing import Any

import pytest
from zkp.kit import Desk, cred_def_id, rules

from keep_zkp.errors import InvalidError, RefusedError
from keep_zkp.json_object import Json
from keep_zkp.requests import our_request, read_request
from keep_zkp.restrictions import Facts, holds

ISSUER = "WgWxqztrNooG92RXvxSTWv"
CRED_DEF = f"{ISSUER}:3:CL:12:default"
NONCE = "1006490795335943171980546"
PINNED = [{"cred_def_id": CRED_DEF}]


def asking(attributes: Json, **more: Any) -> Json:
    return {
        "name": "q",
        "version": "1.0",
        "nonce": NONCE,
        "requested_attributes": attributes,
        **more,
    }


def one(**more: Any) -> Json:
    return {"0_a": {"name": "a", "restrictions": PINNED, **more}}


MEMBER = ["PPID", "Given Name", "Member Status", "Member Status Code"]
CARD = {"schema_name": "Member Card", "schema_version": "1.5.1", "issuer_did": ISSUER}
TAKEN: dict[str, Json] = {
    "names-null-from-zero": asking(
        {"b26": {"names": MEMBER, "restrictions": [CARD]}},
        names=None,
        requested_predicates={},
        non_revoked={"from": 0, "to": 1668017566},
    ),
    "version-is-title": asking(
        {
            "Member Card": {
                "names": MEMBER[2:3],
                "restrictions": [{"schema_name": "Member Card"}],
            }
        },
        version="Court Services Request",
    ),
    "value-restriction-with-spaces": asking(
        {
            "a": {
                "name": MEMBER[2],
                "restrictions": [{f"attr::{MEMBER[2]}::value": "Practising"}],
            }
        }
    ),
    "marker": asking(
        {"a": {"name": "a", "restrictions": [{"attr::a::marker": "1", **PINNED[0]}]}}
    ),
    "non-revoked-empty": asking(one(), non_revoked={}),
    "null-everywhere": asking(
        {"a": {"name": "a", "names": None, "non_revoked": None, "restrictions": None}},
        non_revoked=None,
    ),
    "nonce-of-128-bits": asking(one(), nonce="263281711491937360654048008263917044256"),
    "empty-restriction": asking({"a": {"name": "a", "restrictions": [{}]}}),
    "no-name-no-version": {"nonce": NONCE, "requested_attributes": one()},
    "unicode-referent": asking({"名前 1 «Σ»": {"name": "名前", "restrictions": PINNED}}),
    "predicates-missing": asking(one()),
    "spaces-around": asking({"a": {"names": ["first name"]}, "b": {"name": " last name "}}),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_request_of_the_field_is_taken(name: str) -> None:
    asked = TAKEN[name]
    read = read_request(asked)
    assert read.asked.keys() == asked["requested_attributes"].keys()
    assert read.nonce == asked["nonce"]
    assert read_request(read.wire()) == read


def test_thresholds_may_be_negative_and_zero() -> None:
    predicates = {
        "p": {"name": "temp", "p_type": ">", "p_value": -1},
        "q": {"name": "temp", "p_type": ">=", "p_value": 0},
    }
    read = read_request(asking({}, requested_predicates=predicates))
    assert [str(each) for each in read.requested_predicates.values()] == [
        "temp > -1",
        "temp >= 0",
    ]


def test_operators_mean_what_they_say() -> None:
    parts = [{"schema_version": "1.0"}, {"issuer_did": ISSUER}]
    wanted = {"$or": [{"schema_name": "x"}, {"$and": parts}]}
    query = (
        read_request(asking({"a": {"name": "a", "restrictions": wanted}}))
        .asked["a"]
        .restrictions
    )
    for name, version, fits in (("x", "2.0", True), ("y", "1.0", True), ("y", "2.0", False)):
        facts = Facts(
            CRED_DEF, ISSUER, "s", frozenset("a"), {}, schema_name=name, schema_version=version
        )
        assert holds(query, facts) is fits


def test_an_empty_restriction_is_satisfied_by_every_credential() -> None:
    query = read_request(TAKEN["empty-restriction"]).asked["a"].restrictions
    assert query is not None
    assert holds(query, Facts(CRED_DEF, ISSUER, "s", frozenset("a"), {})) is True


@pytest.mark.parametrize("restrictions", [None, [], {}, [{}]])
async def test_a_question_without_restrictions_is_answered(
    desk: Desk, restrictions: Any
) -> None:
    attribute = {"name": "category", "restrictions": restrictions}
    request = read_request(asking({"c": attribute}))
    presentation = await desk.present(request, {"alice": (("c",), ())})
    verdict = await desk.verify(request, presentation, accept_any_issuer=True)
    assert verdict.ok
    assert "issuer not pinned" in verdict.notices[0].words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"requested_predicates": {"p": {"name": "age", "p_type": "GE", "p_value": 18}}},
            r"requested_predicates.p.p_type must be '>=', '>', '<=' or '<'",
        ),
        ({"non_revoked": {"to": "1700000000"}}, "non_revoked.to must be a whole number"),
        (
            {"requested_attributes": {"a": {"names": ["a", "A"], "restrictions": PINNED}}},
            "requested_attributes.a: a name occurs twice or is empty",
        ),
        ({"requested_attributes": {"a": "name"}}, "requested_attributes.a must be an object"),
        ({"requested_attributes": ["name"]}, "requested_attributes must be an object"),
        (
            {"requested_attributes": {"a": {"name": 5}}},
            "requested_attributes.a.name must be text",
        ),
        (
            {"requested_attributes": {"a": {"names": []}}},
            "requested_attributes.a.names must not be",
        ),
        (
            {"requested_attributes": {"a": {}}},
            "requested_attributes.a: it needs exactly one",
        ),
        (
            {"requested_attributes": {"a": {"names": [f"a{n}" for n in range(126)]}}},
            "requested_attributes.a.names has 126 items; 125 is the most",
        ),
        (
            {"requested_attributes": {f"a{n}": {"name": "a"} for n in range(126)}},
            "requested_attributes has 126 items; 125 is the most",
        ),
        (
            {"requested_attributes": one(restrictions=[{"attr::a::value": "x" * 4097}])},
            "0_a.restrictions: the value of a restriction has 4097 characters; 4096 is the most",
        ),
        (
            {"requested_predicates": {"p": {"name": "age", "p_type": ">=", "p_value": 2**31}}},
            "requested_predicates.p.p_value must be 2147483647 or less",
        ),
        ({"non_revoked": {"from": -1}}, "non_revoked.from must be 0 or more"),
        ({"nonce": "x"}, "nonce has characters that are not allowed there"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(change: Json, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        read_request({**asking(one()), **change})


def test_our_user_reads_what_to_leave_out_of_a_copied_request() -> None:
    with pytest.raises(InvalidError, match="request: names is not known here: leave it out"):
        our_request(TAKEN["names-null-from-zero"], accept_any_issuer=False)


MARKER = {"attr::category::marker": "1"}
MARKED: dict[str, Any] = {
    "of what is shown": [{**MARKER, "cred_def_id": cred_def_id("licence")}],
    "of anything": [MARKER],
    "one of two": [{"schema_name": "x"}, MARKER],
    "none that it lacks": {"$not": {"attr::more::marker": "1"}},
    "not both": {"$not": {"$and": [{"schema_name": "x"}, MARKER]}},
    "one or not": {"$or": [{"$not": MARKER}, {"schema_name": "licence"}]},
}


@pytest.mark.parametrize("case", MARKED)
async def test_a_marker_asks_for_an_attribute_whatever_its_value(desk: Desk, case: str) -> None:
    attribute = {"name": "category", "restrictions": MARKED[case]}
    request = read_request(asking({"c": attribute}))
    presentation = await desk.present(request, {"alice": (("c",), ())})
    assert (await desk.verify(request, presentation, accept_any_issuer=True)).ok


@pytest.mark.parametrize(
    "restrictions",
    [
        {"$not": MARKER},
        {"attr::more::marker": "1"},
        {"$and": [MARKER, {"schema_name": "x"}]},
        {"$not": {"$or": [MARKER, {"schema_name": "x"}]}},
    ],
)
async def test_sec_p03_a_marker_that_does_not_hold_is_refused(
    desk: Desk, restrictions: Any
) -> None:
    request = read_request(asking({"c": {"name": "category", "restrictions": restrictions}}))
    presentation = await desk.present(request, {"alice": (("c",), ())})
    verdict = await desk.verify(request, presentation, accept_any_issuer=True)
    assert rules(verdict) == {"SEC-P03"}


def test_all_attributes_of_the_widest_schema_can_be_asked_for() -> None:
    names = [f"a{n}" for n in range(125)]
    assert len(read_request(asking({"all": {"names": names}})).asked) == 1
    each = {name: {"name": name, "restrictions": PINNED} for name in names}
    assert len(our_request(asking(each), accept_any_issuer=False).asked) == 125
