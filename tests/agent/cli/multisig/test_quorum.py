"""`indykeep quorum`, from a file and from a real network."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from agent.cli.multisig.run_command import done, refused, run
from governed_network import Governed

from keep_ledger.multisig.rules.auth_rules import Role, RuleKey
from keep_ledger.multisig.rules.default_rules import DEFAULTS

HAVE = ("--have", "TRUSTEE=5,STEWARD=4,ENDORSER=6")
ADD_ENDORSER = RuleKey("1", "ADD", "role", "*", "101")


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The rules of a ledger that nobody changed, as GET_AUTH_RULE gives them."""
    told = [key.to_json() | {"constraint": rule.to_json()} for key, rule in DEFAULTS.items()]
    (tmp_path / "rules.json").write_text(json.dumps(told))
    return tmp_path / "rules.json"


def test_it_says_who_could_take_over(rules: Path) -> None:
    said = run("quorum", "--rules", rules, *HAVE)
    assert said.out.startswith("The whole network can be taken over by: one trustee")
    assert "1  add a node: one steward" in said.out


def test_programs_read_it_and_a_picture_is_drawn(rules: Path, tmp_path: Path) -> None:
    words = ("quorum", "--rules", rules, *HAVE, "--json", "--svg", tmp_path / "q.svg")
    told: dict[str, Any] = json.loads(run(*words).out)
    assert told["register an endorser"]["smallest"] == 1
    assert (tmp_path / "q.svg").read_text().startswith("<svg")


def test_rules_are_said_in_words(rules: Path) -> None:
    said = done("quorum", "--rules", rules, *HAVE, "--in-words")
    assert "A trustee may register a trustee." in said
    assert len(said.splitlines()) == len(DEFAULTS)


def test_what_if_says_what_a_change_would_change(rules: Path, tmp_path: Path) -> None:
    change = ADD_ENDORSER.to_json() | {
        "type": "120",
        "constraint": {"constraint_id": "ROLE", "role": "101", "sig_count": 1},
    }
    (tmp_path / "change.json").write_text(json.dumps(change))
    said = run("quorum", "--rules", rules, *HAVE, "--what-if", tmp_path / "change.json")
    assert "one endorser" in said.out.lower()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--rules", "{rules}"), "give the number of DIDs"),
        (("--rules", "{rules}", "--have", "BOSS=1"), "one of TRUSTEE"),
        (("--rules", "{rules}", "--have", "TRUSTEE=-1"), "then a number"),
        (("--rules", "/nowhere", *HAVE), "is not readable JSON"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(
    rules: Path, words: tuple[str, ...], why: str
) -> None:
    assert why in refused("quorum", *(word.format(rules=rules) for word in words))


@pytest.mark.pool
async def test_a_naive_quorum_on_a_real_ledger_is_worth_one(governed: Governed) -> None:
    """Two trustees for a new endorser, and nothing else: one of them makes a puppet."""
    rule = ADD_ENDORSER.to_json() | {"constraint": Role("0", 2).to_json()}
    await governed.write({"type": "120"} | rule, governed.trustees[0])
    words = ("quorum", "--genesis", governed.genesis, "--json")
    said = await asyncio.to_thread(run, *words)
    assert "each with its proof" in said.err
    told = json.loads(said.out)["register an endorser"]
    assert (told["smallest"], told["asked"]) == (1, 2)
    assert said.code == 1

    alone, puppet, new = governed.trustees[1], governed.person(), governed.person()
    body = {"type": "1", "dest": puppet.did, "verkey": puppet.verkey, "role": "0"}
    await governed.write(body, alone)
    body = {"type": "1", "dest": new.did, "verkey": new.verkey, "role": "101"}
    await governed.write(body, alone, puppet)
    assert await governed.nym(new.did) == (new.verkey, "101")
