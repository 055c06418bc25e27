"""ACA-Py's environment: where it is not ready, what to type is said; the Python for it is looked for."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

import peers
from venvs import SetupError


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no ACA-Py, and no other Python than the one that runs this."""
    monkeypatch.setattr(peers, "ACAPY", replace(peers.ACAPY, path=tmp_path / "acapy-venv"))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("INDYKEEP_PYTHON", raising=False)
    return tmp_path


def python(file: Path) -> Path:
    """Write a program that is new enough, as far as it says."""
    file.parent.mkdir(parents=True)
    file.write_text("#!/bin/sh\nexit 0\n")
    file.chmod(0o755)
    return file


def test_what_is_not_set_up_says_what_to_type(nowhere: Path) -> None:
    assert peers.why_not_ready() == (
        "ACA-Py is not set up here; ./manage campaign peers --set-up does it"
    )


def test_without_a_new_python_the_set_up_says_what_is_needed(nowhere: Path) -> None:
    with pytest.raises(
        SetupError, match=r"needs Python 3\.13 or later.*pyenv.*INDYKEEP_PYTHON"
    ):
        peers.set_up()
    assert not (nowhere / "acapy-venv").exists()


@pytest.mark.parametrize("place", ["bin/python3.13", ".pyenv/versions/3.13.0/bin/python3.13"])
def test_the_python_is_found(nowhere: Path, place: str) -> None:
    found = python(nowhere / place)
    assert peers.find_python() == str(found)


def test_the_python_that_the_user_names_comes_first(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python(nowhere / "bin" / "python3.13")
    named = python(nowhere / "mine" / "python")
    monkeypatch.setenv("INDYKEEP_PYTHON", str(named))
    assert peers.find_python() == str(named)


def test_a_set_up_that_fails_is_an_error(nowhere: Path) -> None:
    failing = python(nowhere / "bin" / "python3.13")
    failing.write_text('#!/bin/sh\n[ "$1" = -c ]\n')
    with pytest.raises(SetupError, match="could not be set up"):
        peers.set_up()
