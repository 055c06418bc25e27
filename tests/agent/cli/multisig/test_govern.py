"""Wanted quorums from a file to a ledger, by the commands that people type, on real networks."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from agent.cli.multisig.five_trustees import Board
from agent.cli.multisig.run_command import done, refused, run
from governed_network import Governed, LedgerRefusal

from keep_agent.cli.multisig.governance_drill import (
    DrillNetwork,
    DrillTrustee,
    RulesDoNotHoldError,
)
from keep_agent.cli.multisig.ledger_view import opened
from keep_ledger.multisig.proposal.document import Proposal
from keep_ledger.multisig.rules.applicable_rules import Before
from keep_ledger.multisig.rules.auth_rules import Role, RuleKey
from keep_ledger.multisig.rules.default_rules import DEFAULTS
from keep_ledger.multisig.rules.governance_file import parse, wanted_rules
from keep_ledger.multisig.rules.presets import preset

pytestmark = pytest.mark.pool

THREE_OF_FIVE = "board.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file of wanted quorums."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    done("govern", "init", "--preset", "3-of-5", "--out", THREE_OF_FIVE)
    return tmp_path


@pytest.fixture
async def stage(governed: Governed) -> AsyncIterator[DrillNetwork]:
    """The five trustees of a ledger whose rules are not in force, though it is said that they are."""
    async with opened(str(governed.genesis)) as client:
        people = [DrillTrustee(one.did, one.key) for one in governed.trustees]
        rules = dict(DEFAULTS) | wanted_rules(parse(preset("3-of-5")), DEFAULTS)
        yield DrillNetwork(client, people, rules)


def test_a_file_is_never_written_over(folder: Path) -> None:
    before = (folder / THREE_OF_FIVE).read_text()
    assert "exists" in refused("govern", "init", "--preset", "2-of-3", "--out", THREE_OF_FIVE)
    assert (folder / THREE_OF_FIVE).read_text() == before


@pytest.mark.usefixtures("folder")
def test_what_is_wrong_with_a_file_is_said_before_a_ledger_is_asked() -> None:
    Path("weak.yaml").write_text("trustees: {members: 5, quorum: 3}\nrecovery: {quorum: 2}\n")
    for command in (("diff",), ("drill",), ("propose", "--author", "x", "--out", "x.psit")):
        said = refused("govern", command[0], "weak.yaml", *command[1:])
        assert "recovery (a new key for somebody's DID) would take two trustees" in said
    assert "cannot be read" in refused("govern", "diff", "none.yaml")


@pytest.mark.usefixtures("folder")
async def test_a_diff_tells_every_rule_that_changes(governed: Governed, tmp_path: Path) -> None:
    board = Board(governed, tmp_path)
    said = (await board.run("govern", "diff", THREE_OF_FIVE)).out
    assert "Register an endorser: a steward or a trustee -> three trustees together" in said
    assert "the owner -> the owner or three trustees together  (1--EDIT--verkey--*--*)" in said
    assert "50 of 75 rules would change" in said
    assert "Without trustees, a steward who owns it may still take a node out" in said
    assert "  one trustee -> three trustees: change the rules, register a trustee" in said
    told = json.loads((await board.run("govern", "diff", THREE_OF_FIVE, "--json")).out)
    assert len(told) == 50
    assert [one["rule"] for one in told[-2:]] == ["120--EDIT--*--*--*", "122--EDIT--*--*--*"]
    assert told[-1]["after"] == Role("0", 3).to_json()


@pytest.mark.usefixtures("folder")
async def test_more_than_there_are_trustees_is_not_proposed(
    governed: Governed, tmp_path: Path
) -> None:
    """The file is sound, the ledger has not so many trustees: nobody could undo it."""
    (tmp_path / "seven.yaml").write_text("trustees: {members: 7, quorum: 6}\n")
    words = ("--author", governed.trustees[0].did, "--out", "p.psit")
    said = "the ledger has five trustees, and the file requires 6"
    board = Board(governed, tmp_path)
    await board.fails("govern", "propose", "seven.yaml", *words, says=said)
    assert not (tmp_path / "p.psit").exists()


@pytest.mark.usefixtures("folder")
async def test_a_quorum_comes_into_force_and_closes_the_ways_around(
    governed: Governed, tmp_path: Path
) -> None:
    """Proposed, signed, submitted; then one or two trustees can do nothing about it."""
    board = await Board.of(governed, tmp_path)
    first, second, third, *_ = governed.trustees
    plain = await board.newcomer()
    author = ("--author", first.did, "--out", "rules.psit", "--memo", "three of five")
    cosigner = ("--cosigner", f"First={first.did}")
    await board.run("govern", "propose", THREE_OF_FIVE, *author, *cosigner)
    proposed = Proposal.from_bytes((tmp_path / "rules.psit").read_bytes())
    governed.expect(proposed.request.body["operation"])
    await board.run("sign", "rules.psit", *board.key(0), "--yes")
    await board.run("submit", "rules.psit", "--yes")
    assert (
        "0 of 75 rules would change" in (await board.run("govern", "diff", THREE_OF_FIVE)).out
    )

    puppet = governed.person()
    one: dict[str, object] = RuleKey("1", "ADD", "role", "*", "0").to_json()
    lax = one | {"constraint": Role("0", 1).to_json()}
    around: dict[str, dict[str, object]] = {
        "add a puppet": {
            "type": "1",
            "dest": puppet.did,
            "verkey": puppet.verkey,
            "role": "0",
        },
        "promote": {"type": "1", "dest": plain.did, "role": "0"},
        "demote": {"type": "1", "dest": third.did, "role": None},
        "AUTH_RULE": {"type": "120", **lax},
        "AUTH_RULES": {"type": "122", "rules": [lax]},
        "take over a key": {"type": "1", "dest": third.did, "verkey": puppet.verkey},
    }
    for operation in around.values():
        for signers in ((first,), (first, second)):
            with pytest.raises(LedgerRefusal, match=r"3 TRUSTEE|Not enough TRUSTEE"):
                await governed.write(operation, *signers)
    await governed.write(around["add a puppet"], first, second, third)
    assert await governed.nym(puppet.did) == (puppet.verkey, "0")


async def test_a_drill_notices_rules_that_do_not_hold(
    stage: DrillNetwork, governed: Governed
) -> None:
    """Two trustees add an endorser, which the rules were to refuse: that is the end of it."""
    new = governed.person()
    operation = {"type": "1", "dest": new.did, "verkey": new.verkey, "role": "101"}
    with pytest.raises(RulesDoNotHoldError, match="two trustees to register an endorser"):
        await stage.prove(operation, Before(exists=False))


def test_a_drill_tries_everything_for_real_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    Path("three.yaml").write_text(preset("2-of-3"))
    said = run("govern", "drill", "three.yaml")
    assert said.code == 0, said
    for deed in (
        "register an endorser",
        "register a trustee",
        "change one of these rules",
        "change several of these rules at once",
        "give a DID another key",
    ):
        assert f"  refused  one trustee to {deed}: " in said.out
        assert f"  accepted from two trustees to {deed}: transaction " in said.out
    assert "refused  one trustee to turn an endorser into a trustee" in said.out
    assert "refused  the lost key: " in said.out
    assert said.out.count("Not enough TRUSTEE signatures") >= 5
    assert said.out.index("Back to the old rules") < said.out.index("The rules work")
    assert "The network has ended." in said.err
    assert list(place.iterdir()) == []
    assert not [p.pid for p in psutil.process_iter() if str(place) in " ".join(_words(p))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
