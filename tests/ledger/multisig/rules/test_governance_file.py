"""A file of wanted quorums means one set of rules, and none that can be walked around."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.request_decoder import decode
from keep_ledger.multisig.rules.auth_rules import (
    RULE,
    RULES,
    VERKEY,
    And,
    Constraint,
    Forbidden,
    Or,
    Role,
    RuleKey,
    Rules,
    leaves,
    parse_constraint,
)
from keep_ledger.multisig.rules.default_rules import DEFAULTS
from keep_ledger.multisig.rules.governance_file import (
    cautions,
    change_to,
    diff,
    operation,
    parse,
    wanted_rules,
)
from keep_ledger.multisig.rules.presets import PRESETS, preset
from keep_ledger.multisig.rules.soundness import enough, others, same

BASE = "trustees: {members: 5, quorum: 3}\n"
THREE = Role("0", 3)
REQUEST = {"identifier": "V4SGRU86Z58d6TV7PBUe6f", "reqId": 1, "protocolVersion": 2}


def key(text: str) -> RuleKey:
    return RuleKey.parse(text)


def after(text: str, rules: Rules = DEFAULTS) -> dict[RuleKey, Constraint]:
    return dict(rules) | wanted_rules(parse(text), rules)


def trustee_counts(rules: Rules) -> set[int]:
    return {
        leaf.sig_count for one in rules.values() for leaf in leaves(one) if leaf.role == "0"
    }


def test_every_rule_that_one_trustee_meets_is_lifted() -> None:
    """49 of the 75 rules of a new ledger."""
    lifted = [k for k, rule in DEFAULTS.items() if Role("0", 1) in leaves(rule)]
    owned = key("114--ADD--*--*--*")  # here the trustee must be the owner as well
    assert len({*lifted, owned}) == 49
    assert {*lifted, owned} <= {change.key for change in diff(parse(BASE), DEFAULTS)}
    assert trustee_counts(after(BASE)) == {3}


def test_rules_about_rules_come_last() -> None:
    """So in what people read, and in what is sent before those whose spelling must come last."""
    wanted = parse(preset("3-of-5"))
    assert [change.key for change in diff(wanted, DEFAULTS)[-2:]] == [RULE, RULES]
    sent = [
        RuleKey.of(one)
        for one in operation(wanted, DEFAULTS)["rules"]
        if "need_to_be_owner" not in str(one)
    ]
    assert sent[-2:] == [RULE, RULES]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_commented_sound_and_reviewable(name: str) -> None:
    """What it proposes passes the strict review that cosigners make."""
    text = preset(name)
    assert text.startswith("#")
    body = operation(parse(text), DEFAULTS)
    assert decode(REQUEST | {"operation": body}).body["operation"] == body
    assert '"metadata": {"' not in str(body)


def test_no_preset_of_another_name() -> None:
    with pytest.raises(RefusedError, match="2-of-2, 2-of-3, 3-of-5, custom"):
        preset("4-of-7")


def test_what_is_in_force_is_not_proposed_again() -> None:
    wanted = parse(preset("custom"))
    with pytest.raises(RefusedError, match="nothing to propose"):
        operation(wanted, after(preset("custom")))


def test_a_ledger_that_says_not_off_ledger_is_the_same() -> None:
    """A node adds `off_ledger_signature: false` to what was written without it."""
    told = {
        k: parse_constraint(
            rule.to_json() | ({"off_ledger_signature": False} if isinstance(rule, Role) else {})
        )
        for k, rule in after(BASE).items()
    }
    assert diff(parse(BASE), told) == ()


def test_a_spelling_does_not_make_another_rule() -> None:
    owner = Role("*", 1, need_to_be_owner=True)
    assert same(Or((owner, THREE)), Or((And((THREE,)), And((And((owner,)),)))))
    assert not same(Or((owner, THREE)), And((owner, THREE)))
    assert not same(THREE, Role("0", 3, need_to_be_owner=True))
    assert not same(THREE, Or((THREE, Forbidden())))


def test_a_file_means_the_same_whatever_was_before() -> None:
    two = after("trustees: {members: 3, quorum: 2}\nrecovery: {quorum: 2}")
    assert after(BASE, two) == after(BASE)
    back = "trustees: {members: 1, quorum: 1}\nstewards_register_endorsers: true"
    changed = {k: v for k, v in after(back, two).items() if not same(v, DEFAULTS[k])}
    assert changed == {key("9--EDIT--*--*--*"): Role("0", 1)}  # three trustees could not be met


def test_a_rule_that_somebody_added_trustees_to_is_lifted_in_its_own_shape() -> None:
    attribute = key("100--EDIT--*--*--*")
    mixed = And((Role("101", 1), Role("0", 1, metadata={"note": "x"})))
    assert after(BASE, dict(DEFAULTS) | {attribute: mixed})[attribute] == And(
        (Role("101", 1), THREE)
    )


def test_recovery_is_the_owner_or_the_quorum() -> None:
    owner = Role("*", 1, need_to_be_owner=True)
    assert after(BASE)[VERKEY] == owner
    assert after(BASE + "recovery: {quorum: 4}")[VERKEY] == Or((owner, Role("0", 4)))
    assert after(BASE, dict(DEFAULTS) | {VERKEY: Role("0", 1)})[VERKEY] == owner


def test_stewards_keep_their_own_and_give_roles_only_where_the_file_says_so() -> None:
    endorser, node = key("1--ADD--role--*--101"), key("0--EDIT--services--['VALIDATOR']--[]")
    assert after(BASE)[endorser] == THREE
    assert after(BASE + "stewards_register_endorsers: true")[endorser] == Or(
        (Role("2", 1), THREE)
    )
    assert after(BASE)[node] == Or((THREE, Role("2", 1, need_to_be_owner=True)))
    assert enough(after(BASE)[node], 5) == 3


def test_what_others_may_do_without_trustees_is_told() -> None:
    told = others(after(BASE))
    assert "register an endorser" not in str(told)
    assert "write a schema" in told["a steward or an endorser"]
    assert "take a node out of the consensus" in told["a steward who owns it"]
    stewards = others(after(BASE + "stewards_register_endorsers: true"))["a steward"]
    assert "register an endorser" in stewards


def test_a_topic_has_a_quorum_of_its_own() -> None:
    rules = after("trustees: {members: 5, quorum: 3}\ntopics: {agreement: 2, upgrade: 1}")
    assert rules[key("4--ADD--*--*--*")] == Role("0", 2)
    assert rules[key("109--ADD--action--*--start")] == Role("0", 1)
    assert rules[RULE] == THREE


def test_a_single_rule_can_be_custom() -> None:
    schema = key("101--ADD--*--*--*")
    json = "{constraint_id: ROLE, role: '101', sig_count: 2}"
    assert after(BASE + f"custom: {{101--ADD--*--*--*: {json}}}")[schema] == Role("101", 2)
    assert after(BASE + "custom: {101--ADD--*--*--*: nobody}")[schema] == Forbidden()
    assert after(BASE + "custom: {101--ADD--*--*--*: 2}")[schema] == Role("0", 2)


ROLE = "constraint_id: ROLE, role: '0', sig_count: 3"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BASE + "recovery: {quorum: 2}", "recovery .* two trustees, .* three"),
        (
            BASE + "custom: {120--EDIT--*--*--*: 4}",
            "AUTH_RULE.* and .*AUTH_RULES.* be the same",
        ),
        (
            BASE + "custom: {122--EDIT--*--*--*: 2}",
            "AUTH_RULE.* and .*AUTH_RULES.* be the same",
        ),
        (BASE + "custom: {1--ADD--role--*--0: 4}", "must take the same"),
        (BASE + "custom: {1--EDIT--role--101--0: 2}", "must take the same"),
        (BASE + "custom: {1--EDIT--role----0: nobody}", "must take the same"),
        (BASE + "topics: {roles: 2}", "register a trustee would take two"),
        (BASE + "topics: {rules: 2}", "change one of these rules would take two"),
        (BASE + "topics: {nodes: 4}", "register a trustee would take three"),
        ("trustees: {members: 5, quorum: 6}", "six trustees, and the file has five"),
        (BASE + "topics: {nodes: 6}", "six trustees, and the file has five"),
        (BASE + "custom: {8--ADD--*--*--*: 99}", "99 trustees, and the file has five"),
        (
            BASE + "custom: {120--EDIT--*--*--*: nobody, 122--EDIT--*--*--*: nobody}",
            "nobody could ever",
        ),
        ("trustees: {members: 5, quorum: 0}", r"trustees\.quorum a quorum of 0"),
        (BASE + "topics: {nodes: 0}", r"topics\.nodes a quorum of 0"),
        (BASE + "custom: {8--ADD--*--*--*: 0}", r"custom\.8--ADD--.* a quorum of 0"),
        (
            BASE + f"custom: {{8--ADD--*--*--*: {{{ROLE.replace('3', '0')}}}}}",
            r"custom\.8--ADD.*quorum of 0",
        ),
        (
            BASE
            + "custom: {100--ADD--*--*--*: {constraint_id: ROLE, role: '*', sig_count: 3, off_ledger_signature: true}}",
            "off-ledger signatures are not counted by signer",
        ),
        (
            BASE + f"custom: {{8--ADD--*--*--*: {{{ROLE}, metadata: {{a: b}}}}}}",
            "metadata of a rule must be empty",
        ),
        (
            BASE
            + "custom: {1--EDIT--verkey--*--*: {constraint_id: ROLE, role: '2', sig_count: 1}}",
            "others than trustees could take over",
        ),
        (
            BASE
            + "".join(
                f"{head}{k}--EDIT--*--*--*: {{constraint_id: ROLE, role: '2', sig_count: 3}}"
                for head, k in (("custom: {", "120"), (", ", "122"))
            )
            + "}",
            "others than trustees could change",
        ),
        (BASE + "custom: {9--ADD--x--*--*: 3}", "has no such rule"),
        (BASE + "custom: {rules: 3}", "not the name of an auth rule"),
        (BASE + "custom: {8--ADD--*--*--*: many}", r"custom\.8--ADD--"),
        (BASE + "trustees: {members: 5, quorum: 2}", "has 'trustees' twice"),
        ("trustees: {members: 5, quorum: 3, quorum: 1}", "has 'quorum' twice"),
        (BASE + "quorum: 2", "quorum is not known here"),
        (BASE + "topics: {role: 3}", r"topics\.role is not known here"),
        ("trustees: {members: 5}", r"trustees\.quorum is missing"),
        ("trustees: {members: 5, quorum: '3'}", r"trustees\.quorum"),
        ("trustees: {members: 5, quorum: true}", r"trustees\.quorum"),
        ("trustees: {members: 5, quorum: 3.0}", r"trustees\.quorum"),
        ("trustees: {members: 1000000000, quorum: 1}", r"trustees\.members"),
        ("trustees: &a {members: 5, quorum: 3}\nrecovery: *a", "alias"),
        ("trustees: {<<: {members: 5}, quorum: 3}", "merges"),
        ("trustees: !!python/object:os.system {}", "not YAML|YAML is not"),
        ("trustees: [", "not YAML|YAML is not"),
        ("[" * 20_000, "not YAML|YAML is not"),
        ("a" * 70_000, "at most"),
        ("", "wanted quorums"),
    ],
)
def test_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(RefusedError) as error:
        parse(text)
    assert re.search(says, str(error.value), re.DOTALL), str(error.value)


def test_what_may_be_but_should_be_known_is_said() -> None:
    assert any("one key is lost" in one for one in cautions(parse(preset("2-of-2"))))
    assert any("no recovery" in one for one in cautions(parse(BASE)))
    assert cautions(parse(preset("3-of-5"))) == []
    all_of_them = "trustees: {members: 2, quorum: 2}\nrecovery: {quorum: 2}"
    assert any("cannot be replaced" in one for one in cautions(parse(all_of_them)))


def test_a_change_reads_as_a_sentence() -> None:
    told = {change.key.text: change.sentence for change in diff(parse(BASE), DEFAULTS)}
    assert told["1--ADD--role--*--101"] == (
        "Register an endorser: a steward or a trustee -> three trustees together"
    )


quorums = st.integers(1, 7)


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    topics = st.sampled_from(["roles", "schemas", "nodes", "agreement", "upgrade", "rules"])
    return {
        "trustees": {"members": draw(quorums), "quorum": draw(quorums)},
        "topics": draw(st.dictionaries(topics, quorums)),
        "recovery": draw(st.none() | st.fixed_dictionaries({"quorum": quorums})),
        "stewards_register_endorsers": draw(st.booleans()),
    }


@given(files(), st.sampled_from(["roles", "rules", "recovery"]))
def test_no_sound_file_leaves_a_lesser_way_around(told: dict[str, Any], way: str) -> None:
    """Whatever is taken: nobody is locked out, and every way around takes the largest quorum."""
    try:
        rules = after(str(told))
    except RefusedError:
        return
    counts = trustee_counts({k: rule for k, rule in rules.items() if k != VERKEY})
    members = told["trustees"]["members"]
    assert max(counts) <= members
    keys = {
        "roles": [k for k in rules if k.auth_type == "1" and k.new == "0" and k.old != "0"],
        "rules": [RULE, RULES],
        "recovery": [VERKEY] if told["recovery"] else [],
    }
    for one in keys[way]:
        assert (enough(rules[one], members) or 0) >= max(counts)


@given(files())
def test_the_operation_holds_what_differs_and_undoes_it(told: dict[str, Any]) -> None:
    try:
        wanted = parse(str(told))
        body = operation(wanted, DEFAULTS)
    except RefusedError:
        return
    landed = dict(DEFAULTS) | {
        RuleKey.of(one): parse_constraint(one["constraint"]) for one in body["rules"]
    }
    decode(REQUEST | {"operation": body})
    assert diff(wanted, landed) == ()
    back = change_to({RuleKey.of(one): DEFAULTS[RuleKey.of(one)] for one in body["rules"]})
    decode(REQUEST | {"operation": back})
    for one in back["rules"]:
        assert same(parse_constraint(one["constraint"]), DEFAULTS[RuleKey.of(one)])


def test_metadata_that_a_ledger_has_is_swept_away() -> None:
    noted = {
        k: replace(rule, metadata={"note": "x"}) if isinstance(rule, Role) else rule
        for k, rule in after(BASE).items()
    }
    assert RULE in {change.key for change in diff(parse(BASE), noted)}
    assert all(
        leaf.metadata == {} for one in diff(parse(BASE), noted) for leaf in leaves(one.after)
    )
