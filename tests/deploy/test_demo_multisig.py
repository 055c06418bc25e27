"""`./manage demo multisig` does what it says, and ends with an error where something else happens."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable
from io import StringIO
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from deploy.test_demo_over_18 import HOME, Play, playing, words_of

from demo_claims import ClaimError
from demo_commands import Commands
from demo_terminal import Terminal

ATTACKS = {
    "Cas alone makes one trustee enough": "Not enough TRUSTEE signatures",
    "a mark in Dee's name": "✓ not merged: Dee: a mark in this name was not made with",
    "Cas changes one byte": "✓ not read: Ana: a mark in this name was not made with",
    "Cas writes a rule": "constraint metadata of a rule can hide another rule",
    "what he proposed last week": "✓ not signed: it expired at 20",
    "the same for another network": "✓ not signed, not sent: it is for another network",
    "Acme takes another key": "✓ not sent: what it changes has changed since it was proposed",
    "two are not enough to replace a key": "✓ Cas's DID and role stay",
    "the stolen key no longer works": "0 valid and 1 invalid",
}
"""How the demo begins an attack, and the reason that a command or the ledger gives for refusing it."""


@pytest.mark.pool
def test_the_story_is_told_goes_on_by_hand_and_leaves_nothing() -> None:
    with playing("multisig", "--keep") as play:
        play.until("indykeep audit $ANA")
        told = " ".join(play.said.split())
        places = [told.index(what) for what in ATTACKS] + [told.index("8. What happened")]
        for why, (begin, end) in zip(ATTACKS.values(), pairwise(places), strict=True):
            assert why in told[begin:end]
        folder = Path(shlex.split(re.findall(r"^  cd (.*)$", play.said, re.MULTILINE)[0])[0])
        assert (folder / "endorser.png").is_file()
        nodes = of_network(folder.parent)
        assert nodes
        by_hand(play.said)
        assert play.end(signal.SIGINT) == 0, play.said
    assert "All of it was checked" in play.said
    gone(play, nodes)
    assert not folder.parent.exists()


def by_hand(told: str) -> None:
    """Type what it says one can go on with: Ana proposes, she and Dee sign, and one is missing."""
    lines = told.partition("Go on in another terminal")[2].splitlines()
    typed = [line.strip() for line in lines if line.startswith("  ")]
    script = "\n".join(
        f"{line.partition('  #')[0]} --yes" if "indykeep sign" in line else line
        for line in typed
        if "ELI_WITH" not in line and "indykeep show" not in line and "audit" not in line
    )
    done = subprocess.run(
        ["bash", "-e"], input=script, capture_output=True, text=True, check=False
    )
    assert "submit" in script
    assert done.returncode == 2, done.stderr
    assert "it cannot be sent yet: one more trustee" in done.stderr


@pytest.mark.pool
def test_a_ctrl_c_in_the_middle_leaves_nothing() -> None:
    with playing("multisig") as play:
        play.until("Eli$ indykeep group begin")
        folder = play.folder
        nodes = of_network(folder)
        assert nodes
        assert play.end(signal.SIGINT) == 130, play.said
    assert "Stopped; everything that was started has been stopped." in play.said
    assert "Traceback" not in play.said
    gone(play, nodes)
    assert not list(HOME.glob(f"*{folder.name}"))


def test_help_teaches() -> None:
    with playing("multisig", "--help") as play:
        assert play.end() == 0
    assert "--keep" in play.said
    assert "3 of 5" in play.said


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Commands without a network: enough for keys."""
    monkeypatch.chdir(tmp_path)
    for name in ("INDYKEEP_GENESIS", "INDYKEEP_KEY_FILE"):
        monkeypatch.setenv(name, "")
    terminal = Terminal(StringIO(), live=False, colour=False, fancy=True)
    return Commands(terminal, tmp_path, tmp_path / "genesis")


async def test_a_line_that_goes_wrong_ends_the_story(commands: Commands) -> None:
    await commands.run("ana", "key new store:ana.db#ana")
    with pytest.raises(ClaimError, match=r"by ana ended with 2: .*already"):
        await commands.run("ana", "key new store:ana.db#ana")
    with pytest.raises(ClaimError, match="ended with 2"):
        await commands.run("ana", "key nonsense")


async def test_an_attack_that_succeeds_or_fails_otherwise_ends_the_story(
    commands: Commands,
) -> None:
    with pytest.raises(ClaimError, match="is refused, not 0"):
        await commands.run_refused("ana", "key new store:ana.db#ana", because="already")
    with pytest.raises(ClaimError, match=r"it is refused for 'expired', not: .*already"):
        await commands.run_refused("ana", "key new store:ana.db#ana", because="expired")
    assert "already" in await commands.run_refused(
        "ana", "key new store:ana.db#ana", because="already"
    )


def of_network(folder: Path) -> list[psutil.Process]:
    """The processes that run a network in a folder."""
    return [one for one in psutil.process_iter() if str(folder) in " ".join(words_of(one))]


def gone(play: Play, others: Iterable[psutil.Process]) -> None:
    """Whatever ran is ended."""
    play.family.update(others)
    deadline = time.monotonic() + 5
    while left := play.left():
        assert time.monotonic() < deadline, left
