"""The picture of a ledger's quorums."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from keep_ledger.multisig.rules.auth_rules import And, Constraint, Or, Role, RuleKey, Rules
from keep_ledger.multisig.rules.default_rules import DEFAULTS
from keep_ledger.multisig.rules.quorum import quorums
from keep_ledger.multisig.rules.quorum_picture import picture

PEOPLE = {"0": 5, "2": 4, "101": 6, None: 50}
SVG = "{http://www.w3.org/2000/svg}"


def lifted(constraint: Constraint, count: int) -> Constraint:
    match constraint:
        case Role("0"):
            return Role("0", count)
        case And(parts):
            return And(tuple(lifted(part, count) for part in parts))
        case Or(parts):
            return Or(tuple(lifted(part, count) for part in parts))
        case _:
            return constraint


def drawn(rules: Rules) -> ET.Element:
    return ET.fromstring(picture(quorums(rules, PEOPLE), "a <network>"))


def people_in(root: ET.Element, kind: str) -> int:
    return len(root.findall(f".//{SVG}g[@class='{kind}']"))


def test_one_who_is_enough_is_drawn_once_and_in_red() -> None:
    root = drawn(DEFAULTS)
    title = root.find(f"{SVG}title")
    assert title is not None
    assert title.text == "The whole network can be taken over by: one trustee"
    assert people_in(root, "one") > 30
    assert people_in(root, "more") == 0


def test_three_who_are_needed_are_drawn_three_times() -> None:
    root = drawn({key: lifted(rule, 3) for key, rule in DEFAULTS.items()})
    assert people_in(root, "more") >= 3
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert "The whole network can be taken over by: three trustees" in texts
    assert "three trustees" in texts


def test_what_nobody_can_do_is_said_without_people() -> None:
    locked = dict(DEFAULTS)
    for number in ("120", "122"):
        locked[RuleKey(number, "EDIT", "*", "*", "*")] = Role("0", 99)
    for key, rule in DEFAULTS.items():
        if key.auth_type == "1":
            locked[key] = lifted(rule, 99)
    root = drawn(locked)
    assert any("nobody" in (text.text or "") for text in root.iter(f"{SVG}text"))


@pytest.mark.parametrize("loads", ["href", "url(", "<script", "<image", "@import"])
def test_a_picture_needs_nothing_else(loads: str) -> None:
    assert loads not in picture(quorums(DEFAULTS, PEOPLE), "local")


def test_names_are_shown_as_they_are() -> None:
    assert "a &lt;network&gt;" in picture(quorums(DEFAULTS, PEOPLE), "a <network>")
