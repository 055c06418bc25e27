"""`indykeep recovery`: a store's key on paper, drilled, restored, replaced; also under kills."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from agent.cli.multisig.run_command import done, refused, run
from leaks import told

from keep_agent.cli.multisig import recovery_plan
from keep_agent.errors import BadCommandError
from keep_ledger.multisig.recovery.slip39 import Backup

FAMILY = ("--circle", "me=Ana", "--circle", "family=2:Bo,Cy,Di", "--need", "1")
OTHERS = ("--circle", "family=2:Bo,Cy,Ed")


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INDYKEEP_KEY_FILE", raising=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store `keys.db` with a key `ana`, shared by FAMILY: its sheets are in `paper`."""
    done("key", "new", f"store:{tmp_path}/keys.db#ana", "--key-file", tmp_path / "keys.key")
    done("recovery", "split", *_store(tmp_path), *FAMILY, "--out", tmp_path / "paper")
    return tmp_path


def _store(place: Path) -> tuple[str | Path, ...]:
    return f"store:{place}/keys.db", "--key-file", place / "keys.key"


def _words(paper: Path, number: int) -> str:
    page = (paper / f"sheet-{number}.html").read_text()
    return " ".join(re.findall(r"<li>(\w+)</li>", page)) + "\n"


def _restore(place: Path, *more: str | Path) -> tuple[str | Path, ...]:
    return (
        "recovery", "restore", f"store:{place}/keys.db", *more,
        "--new-key-file", place / "new.key",
    )  # fmt: skip


def test_guardians_restore_the_key_and_it_opens_the_store(place: Path) -> None:
    words = _words(place / "paper", 2) + _words(place / "paper", 4)
    backup = ("--backup", place / "paper" / "backup.json")
    said = done(*_restore(place, *backup), stdin=words)
    assert "it opens" in said
    assert (place / "new.key").read_text() == (place / "keys.key").read_text()
    assert (place / "new.key").stat().st_mode & 0o077 == 0
    shown = done("key", "show", f"store:{place}/keys.db#ana", "--key-file", place / "new.key")
    assert "verkey" in shown
    assert "already" in refused(*_restore(place, *backup), stdin=words)


def test_words_may_come_in_lines_as_they_are_on_paper_and_without_the_record(
    place: Path,
) -> None:
    split = _words(place / "paper", 1).upper().split()
    words = "\n".join(" ".join(split[i : i + 5]) for i in range(0, 33, 5))
    assert "it opens" in done(*_restore(place), stdin=f"{words}\n\n")


@pytest.mark.parametrize(
    ("which", "why"),
    [
        ("too few", "too few sheets: it takes Ana or 2 of 3 of family"),
        ("none", "no sheet"),
        ("typo", "sheet 2 is mistyped: word 3 is not on"),
        ("swapped", "sheet 2 is mistyped: its checksum"),
        ("short", "instead of 33"),
        ("foreign", "another set"),
    ],
)
def test_wrong_words_are_told_without_showing_them(place: Path, which: str, why: str) -> None:
    paper = place / "paper"
    good, other = _words(paper, 2), _words(paper, 3).split()
    at = next(i for i in range(8, 32) if other[i] != other[i + 1])
    given = {
        "too few": good,
        "none": "",
        "typo": good + " ".join([*other[:2], "zebra", *other[3:]]),
        "swapped": good + " ".join([*other[:at], other[at + 1], other[at], *other[at + 2 :]]),
        "short": " ".join(other[:20]) + "\n\n",
        "foreign": _foreign(place),
    }[which]
    backup = ("--backup", paper / "backup.json")
    ran = run(*_restore(place, *backup), stdin=given)
    assert ran.code == 2
    assert why in ran.err
    assert "zebra" not in ran.err
    assert told(good, ran.err) + told(" ".join(other), ran.err) == []
    assert not (place / "new.key").exists()
    assert not (place / "new.key.new").exists()


def _foreign(place: Path) -> str:
    done("recovery", "split", *_store(place), *FAMILY, "--out", place / "again")
    return _words(place / "again", 1)


def test_a_passphrase_is_needed_too_and_a_wrong_one_is_noticed(place: Path) -> None:
    for name, text in (("right", "open sesame"), ("wrong", "open barley")):
        (place / name).write_text(text)
        (place / name).chmod(0o600)
    right, wrong = (
        ("--passphrase-file", place / "right"),
        ("--passphrase-file", place / "wrong"),
    )
    done("recovery", "split", *_store(place), *OTHERS, *right, "--out", place / "secret")
    words = _words(place / "secret", 1) + _words(place / "secret", 3)
    backup = ("--backup", place / "secret" / "backup.json")
    assert "passphrase is wrong" in refused(*_restore(place, *backup, *wrong), stdin=words)
    ended = f"{words}\n"
    said = refused(*_restore(place, *wrong), stdin=ended)
    assert "does not open" in said
    assert "passphrase is wrong" in said
    assert not (place / "new.key").exists()
    assert "it opens" in done(*_restore(place, *backup, *right), stdin=words)


def test_sheets_are_private_and_removed_when_they_are_on_paper(place: Path) -> None:
    assert (place / "paper").stat().st_mode & 0o077 == 0
    for path in (place / "paper").iterdir():
        assert path.stat().st_mode & 0o077 == 0
    done(
        "recovery", "split", *_store(place), *OTHERS, "--out", place / "two", stdin="printed\n"
    )
    assert [path.name for path in (place / "two").iterdir()] == ["backup.json"]
    again = refused("recovery", "split", *_store(place), *OTHERS, "--out", place / "two")
    assert "already" in again
    raw = (place / "keys.key").read_text().strip()
    assert raw not in (place / "two" / "backup.json").read_text()


def test_a_sheet_is_written_again_from_its_words(place: Path) -> None:
    page, backup = place / "again.html", place / "paper" / "backup.json"
    words = _words(place / "paper", 3)
    assert "Cy (family)" in done("recovery", "sheet", backup, "--out", page, stdin=words)
    assert page.read_text() == (place / "paper" / "sheet-3.html").read_text()
    assert "mistyped" in refused(
        "recovery", "sheet", backup, "--out", place / "x", stdin="one two"
    )


def test_a_drill_tells_whose_sheets_are_there(place: Path) -> None:
    paper, backup = place / "paper", place / "paper" / "backup.json"
    before = run("recovery", "show", backup)
    assert (before.code, before.out.count("DRILL DUE")) == (1, 4)
    done("recovery", "drill", "begin", backup, "--out", place)
    challenge = next(place.glob("drill-????????.json"))
    for number in (1, 2, 3, 4):
        words = _words(paper, number)
        drill = ("drill", "answer", backup, challenge, "--out", place)
        said = done("recovery", *drill, stdin=words)
        assert "without any secret" in said
    answers = sorted(place.glob("*-answer-*"))
    checked = run("recovery", "drill", "check", backup, challenge, *answers[:3])
    assert (checked.code, checked.out.splitlines()[-1]) == (1, "Di (family): NO ANSWER")
    done("recovery", "drill", "check", backup, challenge, *answers)
    assert done("recovery", "show", backup).count("last proven") == 4
    travelled = "".join(path.read_text() for path in answers)
    assert told(_words(paper, 1), travelled) == []


def test_after_a_replacement_the_old_sheets_open_nothing(place: Path) -> None:
    """How a guardian is removed: Di's sheet and the old key are worthless."""
    old_key = (place / "keys.key").read_text()
    answer = ("--out", place / "paper2")
    assert "not printed" in refused("recovery", "replace", *_store(place), *OTHERS, *answer)
    assert not (place / "paper2").exists()
    assert (place / "keys.key").read_text() == old_key
    done("recovery", "replace", *_store(place), *OTHERS, *answer, stdin="printed\n")
    assert (place / "keys.key").read_text() != old_key
    assert "ana" in done("key", "list", *_store(place))
    words = _words(place / "paper", 2) + _words(place / "paper", 4)
    backup = ("--backup", place / "paper" / "backup.json")
    assert "were replaced" in refused(*_restore(place, *backup), stdin=words)
    assert sorted(p.name for p in place.glob("*.key*")) == ["keys.key"]


REPLACING = """
import os, signal, sys, time
from pathlib import Path
import keep_agent.cli.main, keep_agent.cli.multisig.recovery as recovery
recovery._remove = lambda written: None  # the test reads the sheets

last, delay = Path(sys.argv[1]), float(sys.argv[2])
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.dup2(read, 0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    os._exit(keep_agent.cli.main.main(sys.argv[3:]))
while not last.exists():
    time.sleep(0.001)
os.write(write, b"printed\\n")
time.sleep(delay)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
"""


def test_a_kill_while_a_key_is_replaced_leaves_a_store_that_opens(place: Path) -> None:
    """Killed at several moments after `printed`; in each, exactly one set restores the store."""
    seen: list[str] = []
    for number in range(6):
        paper = place / f"paper{number}"
        program = ["recovery", "replace", *_store(place), *OTHERS, "--out", paper]
        moment = [paper / "sheet-3.html", number * 0.001]
        subprocess.run(
            [sys.executable, "-c", REPLACING, *map(str, [*moment, *program])], check=True
        )
        before = (place / "keys.key").read_text()
        assert "ana" in done("key", "list", *_store(place))
        seen.append(_opened_by(place, paper, before))
    assert set(seen) <= {"old", "new"}
    assert seen[0] == "old"


def _opened_by(place: Path, paper: Path, before: str) -> str:
    """Which set of sheets restores the store now; exactly one does."""
    words = _words(paper, 1) + _words(paper, 2)
    backup = ("--backup", paper / "backup.json")
    new = run(*_restore(place, *backup), stdin=words)
    if new.code == 0:
        (place / "new.key").unlink()
        return "new"
    assert "does not open" in new.err
    assert (place / "keys.key").read_text() == before
    return "old"


def test_a_change_cut_short_after_the_store_took_it_is_ended(place: Path) -> None:
    """The new key lies beside the key file: it is taken over when the old one does not open."""
    old_key = (place / "keys.key").read_text()
    done(
        "recovery", "replace", *_store(place), *OTHERS, "--out", place / "p2", stdin="printed\n"
    )
    (place / "keys.key").rename(place / "keys.key.next")
    (place / "keys.key").write_text(old_key)
    (place / "keys.key").chmod(0o600)
    assert "ana" in done("key", "list", *_store(place))
    assert (place / "keys.key").read_text() != old_key
    assert not (place / "keys.key.next").exists()


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ((), "name those who get shares"),
        (("me=Ana", "family=2:Bo,Cy"), "how many of the 2"),
        (("family=2:Bo",), "fewer guardians"),
        (("family=1:Bo,Cy",), "one of several"),
        (("family=2:Bo,Bo",), "twice"),
        (("family",), "is not a circle"),
        (("family=two:Bo,Cy",), "is not a circle"),
        (("=Bo",), "name"),
    ],
)
def test_plans_that_cannot_be_are_refused(flags: tuple[str, ...], why: str) -> None:
    with pytest.raises(BadCommandError, match=why):
        recovery_plan.from_flags(flags, None)


def test_a_plan_is_a_small_file_or_flags(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(
        "need: 2\ncircles:\n"
        "  - {name: me, need: 1, guardians: [Ana]}\n"
        "  - {name: family, need: 2, guardians: [Bo, Cy, Di]}\n"
    )
    plan = recovery_plan.from_file(file)
    assert plan == recovery_plan.from_flags(["me=Ana", "family=2:Bo, Cy, Di"], 2)
    assert plan.sentence() == "Ana and 2 of 3 of family"
    for text, why in (
        ("need: 2", "circles"),
        ("[1", "not readable YAML"),
        ("need: 1\ncircles: []\nmore: 1", "circles"),
        ("need: 2026-01-01\ncircles: []", "values other than text and numbers"),
        ("need: '1'\ncircles:\n  - {name: me, need: 1, guardians: [Ana]}", "need"),
    ):
        file.write_text(text)
        with pytest.raises(BadCommandError, match=why):
            recovery_plan.from_file(file)


def test_the_record_says_no_secret_and_whose_shares_there_are(place: Path) -> None:
    backup = Backup.from_text((place / "paper" / "backup.json").read_text())
    assert [backup.guardian(i) for i in (1, 4)] == ["Ana (me)", "Di (family)"]
    text = (place / "paper" / "backup.json").read_text()
    assert told(_words(place / "paper", 1), text) == []
