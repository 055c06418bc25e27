"""docs/security.md says the truth: its tests exist, and it has every rule that the code names."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (SEC-[A-Z](?:\d\d)?) \| (.+?) \| (\S+)::(\S+) \|$", TEXT, re.MULTILINE)
NAMED = re.compile(r"SEC-([A-Z])[ -]?(\d\d)\b")
ROOMS = ("agent/keep_agent", "zkp/keep_zkp", "ledger/keep_ledger", "von-network")


@cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_every_line_of_a_table_is_read() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("| SEC-")]
    assert len(lines) == len(ROWS) > 80


@pytest.mark.parametrize(("rule", "words", "path", "name"), ROWS)
def test_the_test_that_holds_a_rule_exists(rule: str, words: str, path: str, name: str) -> None:
    assert name in functions(path), f"{rule}: {path} has no {name}"
    assert "SEC-" not in words


def test_a_numbered_rule_stands_in_one_line_and_in_order() -> None:
    numbered = [rule for rule, *_ in ROWS if rule[-1].isdigit()]
    assert len(set(numbered)) == len(numbered)
    for letter in {rule[4] for rule in numbered}:
        mine = [rule for rule in numbered if rule[4] == letter]
        assert mine == sorted(mine)


def test_a_test_that_carries_a_rules_name_holds_that_rule() -> None:
    for rule, _, _, name in ROWS:
        carried = re.match(r"test_sec_([a-z])_?(\d\d)_", name)
        assert not carried or rule == f"SEC-{carried[1].upper()}{carried[2]}"


def test_every_rule_that_the_code_names_stands_here() -> None:
    """In an error, a verdict or a comment: whoever looks it up finds it."""
    here = {f"SEC-{letter}{number}" for letter, number in NAMED.findall(TEXT)}
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for letter, number in NAMED.findall(file.read_text(encoding="utf-8")):
                assert f"SEC-{letter}{number}" in here, file


def test_every_rule_that_a_test_carries_stands_here() -> None:
    here = {f"SEC-{letter}{number}" for letter, number in NAMED.findall(TEXT)}
    for file in (ROOT / "tests").rglob("test_*.py"):
        for name in functions(str(file.relative_to(ROOT))):
            carried = re.match(r"test_sec_([a-z])_?(\d\d)_", name)
            assert not carried or f"SEC-{carried[1].upper()}{carried[2]}" in here, name
