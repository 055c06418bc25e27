"""Rules are read strictly, and mean here what they mean to a real ledger."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from governed_network import Governed, LedgerRefusal, Person
from hypothesis import given
from hypothesis import strategies as st

from keep_ledger.indy.auth_rules import read_rule, read_rules
from keep_ledger.indy.genesis import Genesis
from keep_ledger.indy.pool import Pool
from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.rules.applicable_rules import Before, applicable
from keep_ledger.multisig.rules.auth_rules import (
    And,
    Constraint,
    Forbidden,
    Or,
    Role,
    RuleKey,
    Signer,
    leaves,
    missing,
    owner_counts,
    parse_constraint,
    refusal,
    satisfied,
    sentence,
    who,
)
from keep_ledger.multisig.rules.default_rules import DEFAULTS

T1, T2, T3 = (Signer(f"T{n}", "0") for n in (1, 2, 3))
STEWARD, ENDORSER = Signer("S", "2"), Signer("E", "101")
PLAIN, OWNER = Signer("P", None), Signer("O", None, owner=True)
TRUSTEE, TWO = Role("0", 1), Role("0", 2)
OWNS = Role("*", 1, need_to_be_owner=True)

roles = st.builds(
    Role,
    st.sampled_from(["0", "2", "101", "201", None, "*"]),
    st.integers(0, 9),
    st.booleans(),
    st.sampled_from([None, False]),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)
parts = st.lists(st.deferred(lambda: constraints), min_size=1, max_size=3).map(tuple)
constraints: st.SearchStrategy[Constraint] = st.one_of(
    roles, st.builds(Forbidden), st.builds(And, parts), st.builds(Or, parts)
)


@given(constraints)
def test_a_constraint_comes_back_as_it_was(constraint: Constraint) -> None:
    try:
        again = parse_constraint(constraint.to_json())
    except RefusedError:
        assert json.dumps(constraint.to_json()).count("auth_constraints") > 8
    else:
        assert again == constraint
        assert again.to_json() == constraint.to_json()
        assert hash(again) == hash(constraint)


def ledger_role(**changes: Any) -> Json:
    body: Json = {"constraint_id": "ROLE", "role": "0", "sig_count": 1}
    empty: Json = {}
    return body | {"need_to_be_owner": False, "metadata": empty} | changes


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"constraint_id": "XOR", "auth_constraints": [ledger_role()]},
        {"constraint_id": "AND", "auth_constraints": []},
        {"constraint_id": "OR"},
        {"constraint_id": "OR", "auth_constraints": [ledger_role()] * 65},
        {"constraint_id": "OR", "auth_constraints": [ledger_role()], "role": "0"},
        {"constraint_id": "OR", "auth_constraints": {"0": ledger_role()}},
        {"constraint_id": "FORBIDDEN", "role": "0"},
        ledger_role(role="7"),
        ledger_role(role=0),
        ledger_role(role=""),
        ledger_role(role=["0"]),
        ledger_role(sig_count="1"),
        ledger_role(sig_count=True),
        ledger_role(sig_count=-1),
        ledger_role(sig_count=1.0),
        ledger_role(sig_count=10**9),
        ledger_role(need_to_be_owner=1),
        ledger_role(need_to_be_owner=None),
        ledger_role(off_ledger_signature="no"),
        ledger_role(off_ledger_signature=True),
        ledger_role(metadata=[]),
        ledger_role(note="x"),
        {"constraint_id": "ROLE", "sig_count": 1},
        {"constraint_id": "ROLE", "role": "0"},
    ],
)
def test_anything_else_is_refused(body: object) -> None:
    with pytest.raises(RefusedError):
        parse_constraint(body)


def test_nesting_has_an_end() -> None:
    body = ledger_role()
    for kind, most in (("AND", 60), ("OR", 8)):
        deepest = body
        for _ in range(most):
            deepest = {"constraint_id": kind, "auth_constraints": [deepest]}
        assert leaves(parse_constraint(deepest)) == (TRUSTEE,)
        assert who(parse_constraint(deepest)) == who(TRUSTEE)
        with pytest.raises(RefusedError, match="too deep"):
            parse_constraint({"constraint_id": kind, "auth_constraints": [deepest]})


def test_every_rule_of_a_ledger_has_a_key_a_text_and_words_of_its_own() -> None:
    assert len(DEFAULTS) == 75
    for key in DEFAULTS:
        assert RuleKey.parse(key.text) == key
        assert RuleKey.of(key.to_json()) == key
        assert key.covers(key)
    assert len({key.description for key in DEFAULTS}) == 75
    nobody = RuleKey("1", "ADD", "role", "*", "")
    assert RuleKey.of(nobody.to_json() | {"new_value": None}) == nobody


@pytest.mark.parametrize(
    "text", ["", "1--ADD--role--*", "1--PUT--role--*--0", "--ADD--role--*--0"]
)
def test_a_text_that_names_no_rule_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="not the name"):
        RuleKey.parse(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"auth_type": None, "auth_action": None},
        {"auth_type": 1},
        {"auth_action": "ADD"},
        {"auth_action": "READ"},
        {"new_value": ["0"]},
    ],
)
def test_an_entry_that_names_no_rule_is_refused(changes: Json) -> None:
    entry = RuleKey("1", "EDIT", "role", "0", "2").to_json() | changes
    with pytest.raises(RefusedError):
        RuleKey.of(entry)
    with pytest.raises(RefusedError):
        RuleKey.of({name: value for name, value in entry.items() if name != "field"})


def test_rules_in_words() -> None:
    def told(text: str, constraint: Constraint) -> str:
        return sentence(RuleKey.parse(text), constraint)

    add = "1--ADD--role--*--101"
    assert told(add, TWO) == "Two trustees together may register an endorser."
    mixed = Or((And((Role("101", 1), TWO)), Role("0", 3)))
    assert told(add, mixed) == (
        "(An endorser and two trustees together) or three trustees together"
        " may register an endorser."
    )
    assert told("101--EDIT--*--*--*", Forbidden()) == "Nobody may change a schema."
    assert told("100--ADD--*--*--*", OWNS) == "The owner may write an attribute of a DID."
    own_steward = Role("2", 1, need_to_be_owner=True)
    assert told("0--ADD--services--*--[]", own_steward) == (
        "A steward may add a node that does not take part yet."
    )
    assert told("0--EDIT--blskey--*--*", own_steward) == (
        "A steward who owns it may change the BLS key of a node."
    )
    assert who(Role("*", 0)) == "anybody with a DID on the ledger"
    assert who(Role("*", 3, off_ledger_signature=True)) == (
        "anybody, even without a DID on the ledger"
    )
    assert who(Role(None, 2)) == "two DIDs without a role together"


CASES: list[tuple[Constraint, list[Signer], str]] = [
    (TWO, [], "two trustees together"),
    (TWO, [T1], "one more trustee"),
    (TWO, [T1, STEWARD, ENDORSER], "one more trustee"),
    (TWO, [STEWARD], "two trustees"),
    (TWO, [T1, T2], ""),
    (TWO, [T1, T2, PLAIN], ""),
    (Role("*", 2), [PLAIN], "one more DID"),
    (Role("*", 2), [PLAIN, OWNER], ""),
    (Role("2", 0), [PLAIN], ""),
    (Role(None, 1), [T1], "one DID without a role"),
    (And((TRUSTEE, Role("*", 1))), [T1], ""),
    (And((TWO, Role("2", 1))), [T1], "one more trustee and one steward"),
    (Or((TWO, Role("2", 1))), [T1], "one more trustee, or one steward"),
    (Or((TWO, Role("2", 1))), [STEWARD], ""),
    (Forbidden(), [T1, T2, T3], "no signature is enough: it is forbidden to everybody"),
    (OWNS, [T1], "the owner as author"),
    (OWNS, [OWNER], ""),
    (And((OWNS, TRUSTEE)), [OWNER], "one trustee"),
    (And((OWNS, TRUSTEE)), [OWNER, T1], "an endorser: named in the request, and signing"),
    (And((OWNS, TRUSTEE)), [OWNER, T1, ENDORSER], ""),
    (And((OWNS, TRUSTEE)), [Signer("T9", "0", owner=True)], ""),
    (Role("*", 1), [Signer("X", None, known=False)], "an author who is on the ledger"),
    (Role("*", 1, off_ledger_signature=True), [Signer("X", None, known=False)], ""),
]


@pytest.mark.parametrize(("constraint", "signers", "wanted"), CASES)
def test_who_is_still_missing(
    constraint: Constraint, signers: list[Signer], wanted: str
) -> None:
    assert missing(constraint, signers) == wanted
    assert satisfied(constraint, signers) is (not wanted)


def test_the_author_and_the_endorser_must_sign_and_be_what_they_say() -> None:
    assert refusal(TRUSTEE, [T1], "T1", None) == ""
    assert "author's signature" in refusal(TRUSTEE, [T1], "T2", None)
    assert "ENDORSER" in refusal(TRUSTEE, [T1, T2], "T1", "T2")
    assert "ENDORSER" in refusal(TRUSTEE, [T1], "T1", "E")
    assert refusal(TRUSTEE, [PLAIN, T1], "P", None).startswith("an endorser")
    assert refusal(TRUSTEE, [PLAIN, T1, ENDORSER], "P", "E") == ""


@pytest.mark.parametrize(
    ("operation", "before", "texts"),
    [
        ({"type": "1", "dest": "x"}, Before(exists=False), ["1--ADD--role--*--"]),
        ({"type": "1", "role": "101"}, Before(exists=False), ["1--ADD--role--*--101"]),
        ({"type": "1", "verkey": "k"}, Before(exists=True), ["1--EDIT--verkey--*--*"]),
        (
            {"type": "1", "verkey": "k", "role": None},
            Before(exists=True, role="0"),
            ["1--EDIT--role--0--", "1--EDIT--verkey--*--*"],
        ),
        ({"type": "1", "dest": "x"}, Before(exists=True), []),
        ({"type": "100", "raw": "{}"}, Before(exists=False), ["100--ADD--*--*--*"]),
        ({"type": "100", "raw": "{}"}, Before(exists=True), ["100--EDIT--*--*--*"]),
        ({"type": "101"}, Before(exists=True), ["101--EDIT--*--*--*"]),
        ({"type": "4"}, Before(exists=False), ["4--ADD--*--*--*"]),
        ({"type": "5"}, Before(exists=True), ["5--ADD--*--*--*"]),
        ({"type": "8"}, Before(exists=True), ["8--ADD--*--*--*"]),
        ({"type": "120"}, Before(exists=True), ["120--EDIT--*--*--*"]),
        ({"type": "111"}, Before(exists=True), ["111--EDIT--action--*--*"]),
        ({"type": "118"}, Before(exists=False), ["118--ADD--action--*--*"]),
        (
            {"type": "0", "data": {"alias": "N", "services": []}},
            Before(exists=True, node={"services": ["VALIDATOR"]}),
            ["0--EDIT--services--['VALIDATOR']--[]"],
        ),
        (
            {"type": "0", "data": {"alias": "N", "node_port": 2, "client_port": 3}},
            Before(exists=True, node={"node_port": 1, "client_port": 3}),
            ["0--EDIT--node_port--*--*"],
        ),
        (
            {"type": "0", "data": {"alias": "N"}},
            Before(exists=False),
            ["0--ADD--services--*--['VALIDATOR']"],
        ),
        (
            {"type": "109", "action": "start"},
            Before(exists=False),
            ["109--ADD--action--*--start"],
        ),
        (
            {"type": "109", "action": "cancel"},
            Before(exists=True, action="start"),
            ["109--EDIT--action--start--cancel"],
        ),
    ],
)
def test_which_rules_a_write_must_meet(
    operation: Json, before: Before, texts: list[str]
) -> None:
    keys = applicable(operation, before)
    assert [key.text for key in keys] == texts
    assert all(key in DEFAULTS for key in keys)


def test_a_read_has_no_rules() -> None:
    with pytest.raises(RefusedError, match="105"):
        applicable({"type": "105"}, Before(exists=True))


# -- on the real pool ------------------------------------------------------------------------------


def connect(governed: Governed) -> Pool:
    async def genesis() -> Genesis:
        return Genesis.parse(governed.genesis.read_text("utf-8"))

    return Pool("governed", genesis, None)


def rule(text: str, constraint: Constraint) -> Json:
    body = RuleKey.parse(text).to_json() | {"constraint": constraint.to_json()}
    return {"type": "120"} | body


@pytest.mark.pool
async def test_a_ledger_that_nobody_changed_has_the_default_rules(governed: Governed) -> None:
    pool, told = connect(governed), list[tuple[int, int]]()
    assert await read_rules(pool, lambda done, of: told.append((done, of))) == dict(DEFAULTS)
    assert told == [(n, 75) for n in range(1, 76)]
    for text, constraint in (
        ("1--ADD--role--*--", TWO),
        ("1--EDIT--role--0--", Or((TWO, OWNS))),
    ):
        await governed.write(rule(text, constraint), governed.trustees[0])
        found = await read_rule(pool, RuleKey.parse(text))
        assert found == constraint
    await pool.close()


@pytest.mark.pool
async def test_a_constraint_means_here_what_it_means_to_the_ledger(governed: Governed) -> None:
    """Rules for a schema, and every mix of signers: the ledger and `refusal` agree."""
    t1, t2, *_ = governed.trustees
    plain = governed.person()
    await governed.write({"type": "1", "dest": plain.did, "verkey": plain.verkey}, t1)
    roles = {t1.did: "0", t2.did: "0", governed.endorser.did: "101", plain.did: None}
    names = itertools.count()

    async def taken(signers: tuple[Person, ...], endorser: Person | None) -> bool:
        data = {"name": f"rules{next(names)}", "version": "1.0", "attr_names": ["a"]}
        try:
            await governed.write({"type": "101", "data": data}, *signers, endorser=endorser)
        except LedgerRefusal:
            return False
        return True

    key = RuleKey("101", "ADD", "*", "*", "*")
    mixes = [
        (t1,),
        (plain,),
        (governed.endorser,),
        (t1, plain),
        (plain, t1),
        (plain, governed.endorser),
        (t1, t2),
        (plain, t1, governed.endorser),
    ]
    for constraint in (
        And((OWNS, TRUSTEE)),
        Role("*", 2),
        Or((TWO, Role(None, 1))),
        Role("2", 0),
    ):
        await governed.write(rule(key.text, constraint), t1)
        for signers in mixes:
            for endorser in {None, governed.endorser}:
                known = [
                    Signer(p.did, roles[p.did], owner=not owner_counts(key)) for p in signers
                ]
                named = endorser.did if endorser else None
                wanted = refusal(constraint, known, signers[0].did, named)
                assert await taken(signers, endorser) is (not wanted), (constraint, signers)
