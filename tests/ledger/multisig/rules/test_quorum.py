"""The effective quorum is what people can really do: by playing it, and on a real pool."""

from __future__ import annotations

import time
from itertools import product

import pytest
from governed_network import Governed, LedgerRefusal
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger.multisig.exhaustive_search import Board, Players

from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.rules.auth_rules import (
    And,
    Constraint,
    Forbidden,
    Or,
    Role,
    RuleKey,
    Rules,
)
from keep_ledger.multisig.rules.default_rules import DEFAULTS
from keep_ledger.multisig.rules.lints import changes, lints, takeover, what_if
from keep_ledger.multisig.rules.quorum import ACTIONS, CHANGE_RULES, Quorum, quorums
from keep_ledger.multisig.rules.reachability import ROLES, Counts, Game, within

FIVE = {"0": 5, "2": 4, "101": 6, None: 50}
OWNER = Role("*", 1, need_to_be_owner=True)
SCHEMA = "101--ADD--*--*--*"
VERKEY = "1--EDIT--verkey--*--*"
ENDORSER = "1--ADD--role--*--101"
CHANGE = ("120--EDIT--*--*--*", "122--EDIT--*--*--*")


def trustees(count: int) -> Role:
    return Role("0", count)


def changed(rules: Rules, change: dict[str, Constraint]) -> dict[RuleKey, Constraint]:
    return {**rules, **{RuleKey.parse(text): constraint for text, constraint in change.items()}}


def lifted(constraint: Constraint, count: int) -> Constraint:
    """All that trustees may do takes so many of them."""
    match constraint:
        case Role(role="0"):
            return trustees(max(count, constraint.sig_count))
        case And(parts) | Or(parts):
            return type(constraint)(tuple(lifted(part, count) for part in parts))
        case _:
            return constraint


LIFTED = {key: lifted(constraint, 3) for key, constraint in DEFAULTS.items()}
LOCKED = changed(
    LIFTED,
    dict.fromkeys((ENDORSER, "1--EDIT--role----101", "1--EDIT--role--201--101"), trustees(3)),
)


def sizes(rules: Rules, *names: str) -> list[int | None]:
    told = quorums(rules, FIVE)
    return [told[name].size for name in names]


def test_every_rule_belongs_to_one_action() -> None:
    keys = [key for action in ACTIONS for key in action.keys]
    assert sorted(keys) == sorted(DEFAULTS)
    assert len({action.name for action in ACTIONS}) == len(ACTIONS)


def test_by_default_one_trustee_is_the_network() -> None:
    told = quorums(DEFAULTS, FIVE)
    assert takeover(told) == "The whole network can be taken over by: one trustee"
    assert all(quorum.size == 1 for quorum in told.values())
    schema = told["write a schema"]
    assert [way.who for way in schema.ways] == ["one trustee", "one steward", "one endorser"]
    assert told["freeze ledgers"].weaker
    assert told["freeze ledgers"].sentence == (
        "One trustee can freeze ledgers (first change the rules)."
    )


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (changed(DEFAULTS, {ENDORSER: trustees(2)}), [1, 1]),
        (changed(DEFAULTS, {ENDORSER: trustees(3), CHANGE[0]: trustees(3)}), [1, 1]),
        (LIFTED, [3, 1]),
        (LOCKED, [3, 3]),
        (changed(LOCKED, {VERKEY: Or((OWNER, trustees(2)))}), [2, 2]),
        (changed(LOCKED, {VERKEY: Or((OWNER, trustees(3)))}), [3, 3]),
        (changed(LOCKED, {"1--ADD--role--*--0": Role("2", 1)}), [1, 1]),
        (changed(LOCKED, {"1--EDIT--role--101--0": Role("101", 2)}), [3, 3]),
        # A steward registers DIDs, and these turn themselves, or each other, into trustees.
        (changed(LOCKED, {"1--EDIT--role----0": OWNER}), [1, 1]),
        (changed(LOCKED, {"1--EDIT--role----0": Role("*", 3)}), [1, 1]),
        # A steward turns DIDs of his own into endorsers, and these turn each other into trustees.
        (changed(LIFTED, {"1--EDIT--role--101--0": Role("101", 4)}), [1, 1]),
    ],
)
def test_the_weakest_way_decides(rules: Rules, expected: list[int]) -> None:
    assert sizes(rules, CHANGE_RULES, "register an endorser") == expected


def test_a_coalition_comes_with_its_way() -> None:
    told = quorums(changed(LOCKED, {VERKEY: Or((OWNER, trustees(2)))}), FIVE)
    quorum = told[CHANGE_RULES]
    assert (quorum.size, quorum.asked, quorum.weaker) == (2, 3, True)
    assert quorum.sentence == (
        "Two trustees can change the rules"
        " (first give the DIDs of others new keys and sign for them)."
    )


def test_a_new_key_for_the_owner_is_a_step_that_is_told() -> None:
    told = quorums(changed(LOCKED, {VERKEY: Or((OWNER, trustees(3)))}), FIVE)
    assert told["write an attribute of somebody's DID"].sentence == (
        "Three trustees can write an attribute of somebody's DID"
        " (first give the owner a new key)."
    )
    assert told["give somebody's DID another key"].ways[0].moves == ()


def test_only_the_owner_counts_where_there_is_one() -> None:
    told = quorums(changed(LOCKED, {"100--EDIT--*--*--*": And((OWNER, trustees(1)))}), FIVE)
    attribute = told["write an attribute of somebody's DID"]
    assert attribute.asked is None
    assert attribute.with_owner is not None
    assert [way.who for way in attribute.with_owner][:1] == [
        "anybody, even without a DID on the ledger"
    ]
    both = {"100--ADD--*--*--*": And((OWNER, trustees(1)))}
    both |= {"100--EDIT--*--*--*": And((OWNER, trustees(1)))}
    attribute = quorums(changed(LOCKED, dict(both)), FIVE)[
        "write an attribute of somebody's DID"
    ]
    assert attribute.with_owner is not None
    assert "one trustee and one endorser" in [way.who for way in attribute.with_owner]


def test_what_is_forbidden_takes_a_change_of_rules() -> None:
    told = quorums(LOCKED, FIVE)["change somebody's schema"]
    assert (told.asked, told.size) == (None, 3)
    assert told.ways[0].moves == ("change the rules",)


def test_nobody_counts_twice() -> None:
    """Neither who turns into something else, nor an owner whose DID is taken over with all others."""
    turned: dict[str, Constraint] = {"1--EDIT--role--101--0": Role("101", 0)}
    rules = changed({}, turned | {CHANGE[0]: trustees(2), SCHEMA: Role("*", 2)})
    assert quorums(rules, {"101": 1})["write a schema"].ways == ()
    node = "0--EDIT--blskey--*--*"
    for count, ways in ((4, 1), (5, 0)):
        stewards = And((OWNER, Role("2", count)))
        rules = changed({}, {VERKEY: Or((OWNER, trustees(2))), node: stewards})
        told = quorums(rules, {"0": 2, "2": 4})["change the BLS key of somebody's node"]
        assert len(told.ways) == ways


def test_a_lock_out_is_told() -> None:
    rules = changed({key: trustees(9) for key in DEFAULTS}, {SCHEMA: Role("101", 1)})
    told = quorums(rules, FIVE)
    assert takeover(told).startswith("Nobody can take over")
    assert (
        told[CHANGE_RULES].sentence
        == "Nobody can change the rules, and nobody can change that."
    )
    assert told["write a schema"].size == 1
    wrong = [lint.text for lint in lints(rules, FIVE) if lint.grave]
    assert "nobody can change the rules any more: the rules can never be changed" in wrong
    difference = what_if(LOCKED, rules, FIVE)
    assert difference.final
    assert CHANGE_RULES in difference.locked


@pytest.mark.parametrize(
    ("text", "constraint", "words"),
    [
        (ENDORSER, trustees(9), "9 trustees must sign, there are five"),
        (ENDORSER, Role("*", 0), "anybody on the ledger"),
        ("1--ADD--role--*--", Role("*", 3, off_ledger_signature=True), "not counted"),
        (VERKEY, Role("*", 3), "can invent its cosigners"),
        (ENDORSER, Role("0", 3, metadata={"note": "x|y,z"}), "stand for another rule"),
        (VERKEY, Or((OWNER, trustees(2))), "is worth only two"),
        (CHANGE[0], trustees(4), "the weaker rule decides"),
        ("1--EDIT--role----101", trustees(2), "the weaker rule decides"),
    ],
)
def test_what_is_wrong_is_told(text: str, constraint: Constraint, words: str) -> None:
    assert not [lint for lint in lints(LOCKED, FIVE) if lint.grave]
    told = lints(changed(LOCKED, {text: constraint}), FIVE)
    assert [lint for lint in told if lint.grave and words in lint.text]


def test_rules_that_nobody_has_changed_are_not_grave_for_few_people() -> None:
    """One trustee of a new network cannot freeze ledgers, which takes three by default."""
    few = {"0": 1, "2": 4, None: 5}
    told = lints(DEFAULTS, few)
    assert any("three trustees must sign, there are one: freeze" in one.text for one in told)
    assert not [lint for lint in told if lint.grave]
    assert [lint for lint in lints(LOCKED, few) if lint.grave]


def test_cautions_are_few_and_the_one_that_matters_comes_first() -> None:
    told = what_if(DEFAULTS, LOCKED, {"0": 1, "2": 4, None: 5})
    assert len(told.new) > 50
    first, second, *more = told.cautions
    assert first == "nobody can change the rules any more: this is for ever"
    assert second.startswith("nobody can register a trustee, register a steward, ")
    assert second.endswith(" other things any more")
    assert len(more) < 5
    assert any(one.startswith("three trustees must sign, there are one: ") for one in more)
    (alone,) = what_if(LOCKED, changed({}, {SCHEMA: trustees(9)}), FIVE).cautions
    assert alone == f"9 trustees must sign, there are five: write a schema ({SCHEMA})"


def test_a_change_is_looked_at_before_it_is_signed() -> None:
    change = changed({}, {VERKEY: Or((OWNER, trustees(2)))})
    told = what_if(LOCKED, change, FIVE)
    assert not told.final
    assert not told.locked
    rules = next(d for d in told.changed if d.after.action.name == CHANGE_RULES)
    assert (rules.before.size, rules.after.size, rules.weaker) == (3, 2, True)
    assert any("is worth only two" in lint.text for lint in told.new)
    with pytest.raises(RefusedError, match="no rule"):
        what_if(LOCKED, changed({}, {"77--ADD--*--*--*": trustees(1)}), FIVE)


def test_a_change_is_read_from_a_request() -> None:
    key = RuleKey.parse(ENDORSER)
    entry = key.to_json() | {"constraint": trustees(2).to_json()}
    assert changes({"type": "120"} | entry) == {key: trustees(2)}
    assert changes({"type": "122", "rules": [entry]}) == {key: trustees(2)}
    for bad in ({"type": "1"}, {"type": "122", "rules": entry}, {"type": "122", "rules": [1]}):
        with pytest.raises(RefusedError):
            changes(dict(bad))


def test_rules_that_cannot_be_looked_through_are_refused() -> None:
    """A steward turns anybody into anything, one by one, and it leads nowhere."""
    turns = {key: Role("2", 1) for key in DEFAULTS if key.description.startswith("turn")}
    game = Game({key: trustees(9) for key in DEFAULTS} | turns, (4, 2, 6, 0, 6), patience=100)
    with pytest.raises(RefusedError, match="so many ways"):
        game.answers(game.start((0, 2, 6, 0, 6)), [lambda at: at.rules])


def test_the_whole_map_takes_less_than_a_second() -> None:
    """Of processor time: 75 rules, 5 trustees, 4 stewards, 6 endorsers; about 0.05 s."""
    for rules in (DEFAULTS, LOCKED, changed(LOCKED, {VERKEY: Or((OWNER, trustees(3)))})):
        begun = time.process_time()
        quorums(rules, FIVE)
        assert time.process_time() - begun < 1


# -- played ----------------------------------------------------------------------------------------

_leaf = st.builds(
    Role,
    st.sampled_from(["0", "101", None, "*"]),
    st.sampled_from([0, 1, 1, 2, 2]),
    st.booleans(),
    st.just(None),
)
_constraint: st.SearchStrategy[Constraint] = st.one_of(
    _leaf,
    st.just(Role("*", 2, off_ledger_signature=True)),
    st.just(Forbidden()),
    st.builds(And, st.tuples(_leaf, _leaf)),
    st.builds(Or, st.tuples(_leaf, _leaf)),
)
_STRICT: tuple[Constraint, ...] = (trustees(2), And((trustees(2), Role("101", 1))))
_strict = st.sampled_from(_STRICT)
_PLAYED = (
    "1--ADD--role--*--0",
    "1--ADD--role--*--101",
    "1--ADD--role--*--",
    "1--EDIT--role----101",
    "1--EDIT--role--101--0",
    "1--EDIT--role----0",
    "1--EDIT--role--0--",
    VERKEY,
)
_seldom: st.SearchStrategy[Constraint | None] = st.one_of(
    st.just(None), st.just(None), _constraint
)


@st.composite
def _games(draw: st.DrawFn) -> tuple[dict[RuleKey, Constraint], dict[str | None, int]]:
    rules: dict[str, Constraint] = {CHANGE[0]: draw(_strict), SCHEMA: draw(_constraint)}
    for text in _PLAYED:
        if (constraint := draw(_seldom)) is not None:
            rules[text] = constraint
    people: dict[str | None, int] = {
        role: draw(st.integers(0, 2)) for role in ("0", "101", None)
    }
    return changed({}, rules), people


def _every(people: dict[str | None, int]) -> list[Counts]:
    rooms = [range(people.get(role, 0) + 1) for role in ROLES]
    return [tuple(each) for each in product(*rooms)]


def _board(coalition: Counts, people: dict[str | None, int]) -> Board:
    pieces = (
        (role or "", n < held)
        for role, held in zip(ROLES, coalition, strict=True)
        for n in range(people.get(role, 0))
    )
    return tuple(sorted(pieces))


@settings(max_examples=30)
@given(_games())
def test_the_result_is_what_comes_out_when_it_is_played(
    game: tuple[dict[RuleKey, Constraint], dict[str | None, int]],
) -> None:
    rules, people = game
    players = Players(rules)
    told = quorums(rules, people)
    for name, text in ((CHANGE_RULES, CHANGE[0]), ("write a schema", SCHEMA)):
        smallest = [way.people for way in told[name].ways]
        for coalition in _every(people):
            expected = any(within(least, coalition) for least in smallest)
            assert players.can(_board(coalition, people), RuleKey.parse(text)) is expected


# -- on a real pool ----------------------------------------------------------------------------------


def operation(change: dict[RuleKey, Constraint]) -> dict[str, object]:
    rules = [key.to_json() | {"constraint": rule.to_json()} for key, rule in change.items()]
    return {"type": "122", "rules": rules}


def _told(rules: Rules) -> Quorum:
    return quorums(rules, {"0": 5, "2": 4, "101": 1, None: 5})[CHANGE_RULES]


@pytest.mark.pool
async def test_a_lock_without_the_rules_about_rules_is_worth_one(governed: Governed) -> None:
    one = governed.trustees[0]
    naive = changed({}, {ENDORSER: trustees(2)})
    assert _told({**DEFAULTS, **naive}).size == 1
    await governed.write(operation(naive), one)
    puppet, made = governed.person(), governed.person()
    nym = {"type": "1", "dest": made.did, "verkey": made.verkey, "role": "101"}
    with pytest.raises(LedgerRefusal, match="Not enough TRUSTEE"):
        await governed.write(nym, one)
    await governed.write(
        {"type": "1", "dest": puppet.did, "verkey": puppet.verkey, "role": "0"}, one
    )
    await governed.write(nym, one, puppet)
    half = changed({}, {ENDORSER: trustees(3), CHANGE[0]: trustees(3)})
    assert _told({**DEFAULTS, **half}).size == 1
    await governed.write(operation(half), one)
    back = operation({key: DEFAULTS[key] for key in half})
    with pytest.raises(LedgerRefusal, match="Not enough TRUSTEE"):
        await governed.write({"type": "120"} | back["rules"][0], one)  # type: ignore[index]
    await governed.write(back, one)


@pytest.mark.pool
async def test_a_weak_recovery_is_a_take_over(governed: Governed) -> None:
    """All is locked to three; two may give a DID a new key; the two rewrite the rules alone."""
    first, second, third, *_ = governed.trustees
    rules = changed(LOCKED, {VERKEY: Or((OWNER, trustees(2)))})
    told = _told(rules)
    assert (told.size, told.ways[0].moves) == (
        2,
        ("give the DIDs of others new keys and sign for them",),
    )
    await governed.write(operation(rules), first)
    undo = operation(changed({}, {CHANGE[0]: trustees(1), CHANGE[1]: trustees(1)}))
    for signers in ((first,), (first, second)):
        with pytest.raises(LedgerRefusal, match="Not enough TRUSTEE"):
            await governed.write(undo, *signers)
    stolen = governed.person(did=third.did)
    await governed.write(
        {"type": "1", "dest": third.did, "verkey": stolen.verkey}, first, second
    )
    await governed.write(undo, first, second, stolen)
    assert (await governed.nym(third.did)) == (stolen.verkey, "0")


@pytest.mark.pool
async def test_a_did_that_writes_itself_makes_up_its_cosigners(governed: Governed) -> None:
    first, *_ = governed.trustees
    three = changed({}, {VERKEY: Role("*", 3), "1--EDIT--role----101": Role("*", 3)})
    rules = {**DEFAULTS, **three, **changed({}, dict.fromkeys(CHANGE, trustees(2)))}
    told = quorums(rules, {"0": 2, "2": 4, None: 1})
    alone = told["turn a DID without a role into an endorser"].with_owner
    assert alone is not None
    assert alone[0].size == 0
    plain, invented = governed.person(), [governed.person(), governed.person()]
    await governed.write({"type": "1", "dest": plain.did, "verkey": plain.verkey}, first)
    await governed.write(operation(three), first)
    body = {"type": "1", "dest": plain.did, "role": "101", "verkey": plain.verkey}
    with pytest.raises(LedgerRefusal):
        await governed.write(body, plain)
    same_key = [type(plain)(one.did, plain.key) for one in invented]
    await governed.write(body, plain, *same_key)
    assert await governed.nym(plain.did) == (plain.verkey, "101")
