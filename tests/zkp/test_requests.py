"""What we ask, strictly; what we are asked, generously but closed."""

from __future__ import annotations

from datetime import date
from typing import Any

import anoncreds
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zkp.kit import ask, cred_def_id, over_18, source

from keep_zkp.errors import InvalidError, RefusedError
from keep_zkp.requests import (
    Attribute,
    Predicate,
    born_on_or_before,
    from_issuer,
    new_nonce,
    our_request,
    over_age,
    read_request,
    reveal,
    years_before,
)
from keep_zkp.restrictions import (
    AllOf,
    AnyOf,
    Facts,
    Is,
    Not,
    Query,
    holds,
    read,
    written,
)

LICENCE = cred_def_id("licence")


def body(**changes: Any) -> dict[str, Any]:
    """Return the JSON of a small request."""
    asked = {"name": "category", "restrictions": [{"cred_def_id": LICENCE}]}
    return {
        "name": "bar",
        "version": "1.0",
        "nonce": "12345",
        "requested_attributes": {"c": asked},
        "requested_predicates": {},
        **changes,
    }


UNKNOWN: list[Any] = [
    [{"cred_def_idd": LICENCE}],
    [{"cred_def_id": LICENCE, "Issuer_id": "x"}],
    {"$or": [{"cred_def_id": LICENCE}, {"issuer": "x"}]},
    {"$and": [{"cred_def_id": LICENCE}, {"$not": {"schema": "x"}}]},
    {"$not": {"$or": [{"attr::age::vale": "1"}]}},
    {"$nor": [{"cred_def_id": LICENCE}]},
    {"cred_def_id": {"$gt": "x"}},
    {"cred_def_id": {"$in": []}},
    {"cred_def_id": {"$in": ["x"], "$neq": "y"}},
    {"cred_def_id": 5},
    {"attr::a::b::value": "1"},
    {"attr::::value": "1"},
    {"$or": []},
    {"$or": [{}]},
    [{"cred_def_id": LICENCE}, {}],
    [["cred_def_id"]],
    "cred_def_id",
    [{"schema_name": "x" * 5000}],
    [{"schema_name": str(i)} for i in range(300)],
    {"schema_name": "a\x00b"},
    {"attr::a::marker": "0"},
    {"attr::a::marker": {"$neq": "1"}},
]


@pytest.mark.parametrize("restrictions", UNKNOWN)
def test_sec_p08_unknown_restrictions_are_refused_at_any_depth(restrictions: Any) -> None:
    asked = {"c": {"name": "category", "restrictions": restrictions}}
    with pytest.raises(InvalidError, match="SEC-P08"):
        our_request(body(requested_attributes=asked), accept_any_issuer=True)
    with pytest.raises(RefusedError, match="SEC-P08"):
        read_request(body(requested_attributes=asked))


NONE: list[Any] = [None, {}, [{}]]
"""What peers write where they restrict nothing; of ours, somebody meant to restrict it."""
LOST: list[Any] = [
    [None],
    [{}, None],
    {"$and": [{}]},
    {"$or": [{"schema_name": "x"}, {}]},
    "",
    0,
    False,
    {"cred_def_id": None},
    {"cred_def_id": ""},
    {"cred_def_id": {}},
    {"cred_def_id": []},
    {"cred_def_id": False},
    {"cred_def_id": {"$in": [""]}},
    {"cred_def_id": {"$in": ["x", None]}},
    {"cred_def_id": {"$neq": ""}},
    {"cred_def_id": {"$neq": None}},
    {"schema_name": "x", "cred_def_id": None},
    {"no_such_tag": None},
    {"$and": None},
    {"$not": None},
    {"$not": {}},
    {"$or": [{"cred_def_id": "x"}, None]},
    {"attr::a::value": None},
    {"attr::a::marker": None},
    [{"cred_def_id": LICENCE}, {"issuer_id": None}],
]


@pytest.mark.parametrize("section", ["requested_attributes", "requested_predicates"])
@pytest.mark.parametrize("restrictions", NONE)
def test_sec_p32_a_question_of_ours_does_not_say_nothing(
    restrictions: Any, section: str
) -> None:
    comparison = {"p_type": "<", "p_value": 1} if section == "requested_predicates" else {}
    asked = {"d": {"name": "number", "restrictions": restrictions, **comparison}}
    with pytest.raises(InvalidError, match="SEC-P32"):
        our_request(body(**{section: asked}), accept_any_issuer=True)
    read = read_request(body(**{section: asked}))
    assert read.asked["d"].restrictions in (None, AllOf(()))
    again = read.wire()[section]["d"].get("restrictions")
    assert again == (None if restrictions is None else [{}])


@pytest.mark.parametrize("section", ["requested_attributes", "requested_predicates"])
@pytest.mark.parametrize("restrictions", LOST)
def test_sec_p32_a_restriction_that_says_nothing_is_refused_and_not_dropped(
    restrictions: Any, section: str
) -> None:
    comparison = {"p_type": "<", "p_value": 1} if section == "requested_predicates" else {}
    asked = {"d": {"name": "number", "restrictions": restrictions, **comparison}}
    with pytest.raises(InvalidError, match="SEC-P"):
        our_request(body(**{section: asked}), accept_any_issuer=True)
    with pytest.raises(RefusedError, match="SEC-P"):
        read_request(body(**{section: asked}))


def test_sec_p08_nesting_without_end_is_refused() -> None:
    deep: Any = {"cred_def_id": "x"}
    for _ in range(200):
        deep = {"$not": deep}
    with pytest.raises(ValueError, match="too deep"):
        read(deep)


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"requested_attributes": {"c": {"name": "a", "nam": "b"}}},
        {"requested_attributes": {}},
        {"requested_attributes": {"c": {"name": "a", "names": ["b"]}}},
        {"requested_attributes": {"c": {}}},
        {"requested_attributes": {"c": {"names": []}}},
        {"requested_attributes": {"c": {"names": ["First Name", "firstname"]}}},
        {"requested_attributes": {f"r{i}": {"name": "a"} for i in range(126)}},
        {"requested_predicates": {"c": {"name": "a", "p_type": "<", "p_value": 1}}},
        {"requested_predicates": {"p": {"name": "a", "p_type": "==", "p_value": 1}}},
        {"ver": "3.0"},
    ],
)
def test_sec_p08_our_own_requests_have_no_unknown_or_ambiguous_parts(
    change: dict[str, Any],
) -> None:
    with pytest.raises(InvalidError):
        our_request(body(**change), accept_any_issuer=True)


def test_a_request_that_asks_for_nothing_is_told_so() -> None:
    words = "^SEC-P08: not a presentation request: it asks for 0 items; 1 to 125 are allowed$"
    with pytest.raises(InvalidError, match=words):
        our_request(body(requested_attributes={}), accept_any_issuer=True)


@pytest.mark.parametrize(
    "restrictions",
    [
        [],
        [{"schema_id": "x"}],
        [{"schema_issuer_did": "x"}],
        [{"cred_def_id": LICENCE}, {"schema_name": "x"}],
        {"$or": [{"issuer_id": "x"}, {"attr::a::marker": "1"}]},
        {"$not": {"cred_def_id": LICENCE}},
        {"cred_def_id": {"$neq": LICENCE}},
    ],
)
def test_sec_p10_a_request_that_anybody_can_answer_is_refused(restrictions: Any) -> None:
    asked = body(requested_attributes={"c": {"name": "category", "restrictions": restrictions}})
    with pytest.raises(InvalidError, match="SEC-P10"):
        our_request(asked, accept_any_issuer=False)
    assert (
        our_request(asked, accept_any_issuer=True).requested_attributes["c"].name == "category"
    )


@pytest.mark.parametrize(
    "restrictions",
    [
        [{"cred_def_id": LICENCE}],
        {"issuer_id": "did:indy:x:y"},
        [{"issuer_did": "x"}, {"cred_def_id": LICENCE, "schema_name": "x"}],
        {"$and": [{"schema_name": "x"}, {"$or": [{"issuer_id": "x"}, {"cred_def_id": "y"}]}]},
        {"cred_def_id": {"$in": ["a", "b"]}},
    ],
)
def test_sec_p10_a_request_that_binds_the_issuer_on_every_path_is_made(
    restrictions: Any,
) -> None:
    asked = body(requested_attributes={"c": {"name": "category", "restrictions": restrictions}})
    our_request(asked, accept_any_issuer=False)


def test_sec_p10_two_words_for_issuers_are_not_mixed() -> None:
    asked = {
        "a": {"name": "a", "restrictions": [{"issuer_id": "x"}]},
        "b": {"name": "b", "restrictions": [{"issuer_did": "x"}]},
    }
    with pytest.raises(InvalidError, match="cannot be mixed"):
        our_request(body(requested_attributes=asked), accept_any_issuer=False)


def test_sec_p11_attributes_that_belong_together_are_one_group() -> None:
    assert reveal("a", "b", source=None).names == ("a", "b")
    assert reveal("a", source=None).name == "a"


@given(st.integers())
def test_sec_p21_a_threshold_outside_32_bits_is_refused(value: int) -> None:
    asked = {"p": {"name": "a", "p_type": ">=", "p_value": value}}
    fits = -(2**31) <= value < 2**31
    try:
        read_request(body(requested_attributes={}, requested_predicates=asked))
    except RefusedError:
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize("value", [True, "18", 18.0, None, 2**31, -(2**31) - 1])
def test_sec_p21_a_threshold_is_a_32_bit_integer_and_nothing_like_it(value: object) -> None:
    asked = {"p": {"name": "a", "p_type": ">=", "p_value": value}}
    with pytest.raises(InvalidError):
        our_request(body(requested_predicates=asked), accept_any_issuer=True)


@pytest.mark.parametrize(("kind", "value"), [(">", 2**31 - 1), ("<", -(2**31))])
def test_sec_p21_a_threshold_that_no_32_bit_number_passes_is_refused(
    kind: str, value: int
) -> None:
    asked = body(requested_predicates={"p": {"name": "a", "p_type": kind, "p_value": value}})
    with pytest.raises(InvalidError, match="no 32-bit number"):
        our_request(asked, accept_any_issuer=True)
    with pytest.raises(RefusedError, match="no 32-bit number"):
        read_request(asked)


@pytest.mark.parametrize("tag", ["attr::number::value", "attr::Category::value"])
@pytest.mark.parametrize("section", ["requested_attributes", "requested_predicates"])
def test_sec_p04_a_condition_is_on_a_value_that_is_asked_for_in_that_spelling(
    tag: str, section: str
) -> None:
    wanted = [{"cred_def_id": LICENCE}, {"cred_def_id": LICENCE, tag: "1"}]
    comparison = {"p_type": "<", "p_value": 1} if section == "requested_predicates" else {}
    asked = body()
    asked[section]["x"] = {"name": "name", "restrictions": wanted, **comparison}
    with pytest.raises(InvalidError, match="SEC-P04"):
        our_request(asked, accept_any_issuer=True)
    assert read_request(asked).asked["x"].restrictions is not None


@pytest.mark.parametrize(
    ("other", "allowed"),
    [("Category", False), ("cate gory", False), ("category", True), ("number", True)],
)
def test_sec_p04_a_predicates_condition_is_on_a_value_that_is_asked_for_in_one_spelling(
    other: str,
    allowed: bool,  # noqa: FBT001
) -> None:
    """With two, the library may look for the one that another credential shows, and differ from us (SEC-P37)."""
    attributes = {
        "one": reveal("category", source=source("learner")),
        "two": reveal(other, source=source("licence")),
    }
    condition = AllOf((source("licence"), Is("attr::category::value", ("B",))))
    adult = over_18().model_copy(update={"restrictions": condition})
    if allowed:
        assert ask(attributes, {"adult": adult}).asked["adult"].restrictions == condition
    else:
        with pytest.raises(InvalidError, match="SEC-P04"):
            ask(attributes, {"adult": adult})


def test_sec_p22_one_attribute_is_not_asked_as_value_and_predicate() -> None:
    with pytest.raises(InvalidError, match="SEC-P22"):
        ask({"b": reveal("Birthdate_dateint", source=source("licence"))}, {"adult": over_18()})


def test_sec_p14_the_nonce_is_ours_80_bits_and_new() -> None:
    nonces = {new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert max(int(each).bit_length() for each in nonces) in range(74, 81)
    assert our_request(body(nonce="5"), accept_any_issuer=False).nonce != "5"


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"ver": "1.0", "unknown": {"x": 1}, "non_revoked": None}, True),
        ({"nonce": 12345}, True),
        ({"requested_predicates": None}, True),
        (
            {
                "requested_attributes": {
                    "c": {
                        "name": "category",
                        "names": None,
                        "restrictions": {"cred_def_id": LICENCE},
                        "non_revoked": None,
                        "hint": "x",
                    }
                }
            },
            True,
        ),
    ],
)
def test_what_peers_really_send_is_read(change: dict[str, Any], same: bool) -> None:  # noqa: FBT001 - a parameter of the table
    found = read_request(body(**change))
    assert (found.requested_attributes == read_request(body()).requested_attributes) is same
    assert found.nonce == "12345"


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "12a"},
        {"nonce": "-1"},
        {"nonce": "٣"},
        {"nonce": True},
        {"nonce": None},
        {"nonce": "9" * 65},
        {"requested_attributes": []},
        {"requested_attributes": 1.5},
        {"requested_predicates": "x"},
        {"requested_predicates": True},
        {"requested_attributes": {"c": None}},
        {"requested_attributes": {"c": "name"}},
        {"requested_attributes": {"c": {"name": "a\x00"}}},
        {"requested_attributes": {"c": {"name": "\ud800"}}},
        {"requested_attributes": {"": {"name": "a"}}},
        {"non_revoked": {"from": -1}},
        {"non_revoked": {"from": True}},
        {"name": 5},
    ],
)
def test_what_is_no_request_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        read_request(body(**change))


@pytest.mark.parametrize("bad", [None, [], "x", 5])
def test_what_is_no_object_is_refused(bad: Any) -> None:
    with pytest.raises(RefusedError):
        read_request(bad)


def test_the_library_reads_what_we_send() -> None:
    request = over_age(
        18,
        today=date(2026, 11, 22),
        source=from_issuer("did:indy:sovrin:7Tqg6BwSSWapxgUDm9KKgg"),
        show=("category", "number"),
    )
    wire = request.wire()
    assert wire["ver"] == "2.0"
    assert wire["requested_attributes"]["shown"]["names"] == ["category", "number"]
    assert wire["requested_predicates"]["over_18"]["p_value"] == 20081122
    assert anoncreds.PresentationRequest.load(wire).to_dict()["version"] == "1.0"
    assert read_request(wire) == request


@pytest.mark.parametrize(
    ("today", "birthday"),
    [
        (date(2026, 11, 22), date(2008, 11, 22)),
        (date(2026, 2, 28), date(2008, 2, 28)),  # born on the 29th: of age tomorrow
        (date(2026, 3, 1), date(2008, 3, 1)),
        (date(2028, 2, 29), date(2010, 2, 28)),  # born on 1 March 2010: of age tomorrow
        (date(2024, 2, 29), date(2006, 2, 28)),
    ],
)
def test_18_years_ago_is_a_day_that_exists_and_lets_nobody_in_early(
    today: date, birthday: date
) -> None:
    assert years_before(today, 18) == birthday


def test_a_birthday_is_compared_as_a_number() -> None:
    predicate = born_on_or_before(date(2008, 2, 9), source=None)
    assert str(predicate) == "birthdate_dateint <= 20080209"


@pytest.mark.parametrize(
    ("kind", "below", "equal", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        (">", False, False, True),
        (">=", False, True, True),
    ],
)
def test_a_predicate_holds_as_it_reads(
    kind: str, below: object, equal: object, above: object
) -> None:
    predicate = Predicate.model_validate({"name": "a", "p_type": kind, "p_value": -3})
    assert [predicate.holds(each) for each in (-4, -3, -2)] == [below, equal, above]


FACTS = Facts(
    cred_def_id="c", issuer_id="i", schema_id="s", attributes=frozenset({"a", "b"}),
    values={"a": "1"}, schema_name="n",
)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "result"),
    [
        (None, True),
        (Is("cred_def_id", ("x", "c")), True),
        (Is("issuer_did", ("i",)), True),
        (Is("schema_version", ("1",)), None),
        (Not(Is("schema_version", ("1",))), None),
        (AnyOf((Is("schema_version", ("1",)), Is("issuer_id", ("i",)))), True),
        (AllOf((Is("schema_version", ("1",)), Is("issuer_id", ("x",)))), False),
        (AllOf((Is("schema_version", ("1",)), Is("issuer_id", ("i",)))), None),
        (Is("attr::A::value", ("1",)), True),
        (Is("attr::b::value", ("1",)), None),
        (Is("attr::b::marker", ("1",)), True),
        (Is("attr::z::marker", ("1",)), False),
        (Not(Is("attr::z::marker", ("1",))), True),
    ],
)
def test_restrictions_are_three_valued(query: Query | None, result: object) -> None:
    assert holds(query, FACTS) is result


leaf = st.builds(
    Is,
    st.sampled_from(["cred_def_id", "issuer_id", "schema_name", "attr::a b::value"]),
    st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=5), min_size=1, max_size=3).map(tuple),
)  # fmt: skip
queries: st.SearchStrategy[Query] = st.recursive(
    leaf,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(AllOf, st.lists(inner, min_size=2, max_size=3).map(tuple))
        | st.builds(AnyOf, st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=6,
)


@given(queries)
def test_restrictions_mean_the_same_after_writing_and_reading(query: Query) -> None:
    assert holds(read(written(query)), FACTS) is holds(query, FACTS)


def test_an_attribute_is_hidden_by_nothing() -> None:
    """The model is frozen: what was asked stays what was asked."""
    with pytest.raises(ValueError, match="frozen"):
        Attribute(name="a").name = "b"  # type: ignore[misc] # the point
