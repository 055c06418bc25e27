"""A signature under a change of rules holds for that change and no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger.multisig.sample_proposals import request

from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.cbor_container import packed, unpacked
from keep_ledger.multisig.proposal.describe_request import rule_key
from keep_ledger.multisig.proposal.request_decoder import decode
from keep_ledger.multisig.proposal.signing_input import signing_input
from keep_ledger.multisig.rules import auth_rules
from keep_ledger.multisig.rules.auth_rules import (
    Role,
    Signer,
    parse_constraint,
    satisfied,
    sentence,
)
from keep_ledger.multisig.rules.default_rules import DEFAULTS
from keep_ledger.multisig.rules.governance_file import change_to
from keep_ledger.multisig.rules.single_reading import hides_nothing, spelled

OPTIONS: dict[str, Any] = {
    "metadata": st.dictionaries(st.text(), st.text(), max_size=0),
    "need_to_be_owner": st.booleans(),
    "off_ledger_signature": st.sampled_from([False]),
}
LEAVES = st.fixed_dictionaries(
    {
        "constraint_id": st.just("ROLE"),
        "role": st.sampled_from(["0", "2", "*"]),
        "sig_count": st.integers(1, 3),
    },
    optional=OPTIONS,
)
TREES = st.recursive(
    LEAVES | st.just({"constraint_id": "FORBIDDEN"}),
    lambda parts: st.fixed_dictionaries(
        {
            "constraint_id": st.sampled_from(["AND", "OR"]),
            "auth_constraints": st.lists(parts, min_size=1, max_size=3),
        }
    ),
    max_leaves=5,
)
WORDS: dict[str, tuple[str, Any]] = {
    "metadata:": ("metadata", {}),
    "need_to_be_owner:False": ("need_to_be_owner", False),
    "need_to_be_owner:True": ("need_to_be_owner", True),
    "off_ledger_signature:False": ("off_ledger_signature", False),
    "off_ledger_signature:True": ("off_ledger_signature", True),
}


def flat(constraint: Json) -> str:
    """A constraint as it stands in what is signed."""
    return signing_input({"constraint": constraint}).decode().removeprefix("constraint:")


class Ledger:
    """Every way in which a ledger that ignores unknown members can read a text as a constraint.

    A member is ignored whose name is a stretch of text; names are in order, and end before a colon.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def readings(self) -> list[Json]:
        """All of them, each once."""
        found: list[Json] = []
        for end, reading in self.constraint(0):
            if end == len(self.text) and reading not in found:
                found.append(reading)
        return found

    def constraint(self, at: int) -> Iterator[tuple[int, Json]]:
        if self.text.startswith("auth_constraints:", at):
            yield from self.listed(at + len("auth_constraints:"), [])
        if self.text.startswith("constraint_id:FORBIDDEN", at):
            yield at + len("constraint_id:FORBIDDEN"), {"constraint_id": "FORBIDDEN"}
        if self.text.startswith("constraint_id:ROLE|", at):
            yield from self.leaf(at + len("constraint_id:ROLE|"), "constraint_id", {})

    def listed(self, at: int, parts: list[Json]) -> Iterator[tuple[int, Json]]:
        for end, part in self.constraint(at):
            more = [*parts, part]
            if self.text.startswith(",", end):
                yield from self.listed(end + 1, more)
            for kind in ("AND", "OR"):
                if self.text.startswith(f"|constraint_id:{kind}", end):
                    whole = {"constraint_id": kind, "auth_constraints": more}
                    yield end + len(f"|constraint_id:{kind}"), whole

    def leaf(self, at: int, last: str, told: Json) -> Iterator[tuple[int, Json]]:
        """The members of a ROLE from here on, of which the last one was called `last`."""
        for word, (name, value) in WORDS.items():
            if name > last and self.text.startswith(f"{word}|", at):
                yield from self.leaf(at + len(word) + 1, name, told | {name: value})
        for role in ("0", "2", "*"):
            for count in (1, 2, 3):
                word = f"role:{role}|sig_count:{count}"
                if last < "role" and self.text.startswith(word, at):
                    whole = {"constraint_id": "ROLE", "role": role, "sig_count": count}
                    yield at + len(word), meaning(whole | told)
        for bar, name in self.ignored(at):
            if last < name < "role":
                yield from self.leaf(bar + 1, name, told)

    def ignored(self, at: int) -> Iterator[tuple[int, str]]:
        """Stretches from here on that can be an unknown member: where they end, and its name."""
        for bar in places(self.text, "|", at):
            for colon in places(self.text[:bar], ":", at):
                if self.text[at:colon] not in OPTIONS:
                    yield bar, self.text[at:colon]


def places(text: str, mark: str, at: int) -> list[int]:
    """Where a mark stands, from here on."""
    return [i for i in range(at, len(text)) if text[i] == mark]


def meaning(body: Json) -> Json:
    """A constraint without what says nothing."""
    if "auth_constraints" in body:
        return body | {"auth_constraints": [meaning(one) for one in body["auth_constraints"]]}
    return {k: v for k, v in body.items() if k not in OPTIONS or v}


def accepted(constraint: Json) -> bool:
    """Whether a cosigner may be shown it."""
    try:
        hides_nothing([constraint])
    except RefusedError:
        return False
    return True


def test_54_rules_with_an_owner_are_one_write() -> None:
    keys = list(DEFAULTS)[:54]
    wanted = {key: Role("101", 1, need_to_be_owner=True) for key in keys}
    operation = change_to(wanted)
    hides_nothing([one["constraint"] for one in operation["rules"]])
    told = {rule_key(one): parse_constraint(one.constraint) for one in decoded(operation).rules}
    assert told.keys() == wanted.keys()
    for key, constraint in told.items():
        assert auth_rules.leaves(constraint) == (wanted[key],)
        assert sentence(key, constraint) == sentence(key, wanted[key])


def decoded(operation: Json) -> Any:
    """The operation in a request that cosigners review, through the file that they hand around."""
    again, _ = unpacked(packed({"request": request(operation)}, []))
    return decode(again["request"]).operation


@settings(max_examples=60)
@given(TREES)
def test_what_is_accepted_has_one_reading(constraint: Json) -> None:
    for told in (constraint, spelled([constraint])[1][0]):
        if accepted(told):
            assert Ledger(flat(told)).readings() == [meaning(told)]


@settings(max_examples=100)
@given(TREES)
def test_every_rule_can_be_spelled_so_that_it_is_accepted(constraint: Json) -> None:
    """And means the same: for every set of signers."""
    told = spelled([constraint])[1][0]
    if all(
        sum(map(bool, (leaf.get("need_to_be_owner"), leaf.get("off_ledger_signature")))) < 2
        for leaf in leaves(constraint)
    ):
        assert accepted(told)
    for trustees in range(4):
        people = [Signer(f"T{n}", "0", owner=n == 0) for n in range(trustees)]
        people.append(Signer("S", "2"))
        before, after = parse_constraint(constraint), parse_constraint(told)
        assert satisfied(before, people) == satisfied(after, people)


def leaves(body: Json) -> list[Json]:
    """All parts that ask for signatures."""
    if "auth_constraints" in body:
        return [leaf for part in body["auth_constraints"] for leaf in leaves(part)]
    return [body] if body["constraint_id"] == "ROLE" else []


def leaf(role: str, count: int, **more: Any) -> Json:
    return {"constraint_id": "ROLE", "role": role, "sig_count": count} | more


OWNER = leaf("*", 1, need_to_be_owner=True)
THREE = leaf("0", 3)


@pytest.mark.parametrize(
    "constraint",
    [
        leaf("0", 1, need_to_be_owner=True, metadata={}),
        leaf("0", 1, need_to_be_owner=True, off_ledger_signature=False),
        {"constraint_id": "OR", "auth_constraints": [OWNER, THREE]},
        {"constraint_id": "AND", "auth_constraints": [leaf("0", 3, metadata={}), THREE]},
    ],
)
def test_a_spelling_with_a_second_reading_is_refused(constraint: Json) -> None:
    assert len(Ledger(flat(constraint)).readings()) > 1
    operation: Json = {"type": "120", "auth_type": "1", "auth_action": "ADD", "field": "role"}
    body = {
        "identifier": "V4SGRU86Z58d6TV7PBUe6f",
        "reqId": 1,
        "protocolVersion": 2,
        "operation": operation | {"new_value": "101", "constraint": constraint},
    }
    with pytest.raises(RefusedError, match="can hide another rule"):
        decode(body)
    operation |= {"constraint": spelled([constraint])[1][0]}
    decode(body | {"operation": operation | {"new_value": "101"}})
