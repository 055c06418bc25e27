"""What an index and whoever installs the wheel are told, and what they get."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

import keep_agent
import keep_ledger
import keep_zkp
from venvs import TESTED

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (keep_agent, keep_ledger, keep_zkp)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    zipfile.ZipFile(built).extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="module")
def info(wheel: Path) -> PathDistribution:
    return PathDistribution(next(wheel.glob("*.dist-info")))


def test_it_has_the_three_packages_typed_and_nothing_else(wheel: Path) -> None:
    found = {path.name for path in wheel.iterdir() if path.suffix != ".dist-info"}
    assert found == {package.__name__ for package in PACKAGES}
    assert {path.parent.name for path in wheel.glob("*/py.typed")} == found
    assert [path.name for path in wheel.glob("*.dist-info/licenses/*")] == ["LICENSE"]


def test_an_index_is_told_who_made_it_and_for_what(info: PathDistribution) -> None:
    told = info.metadata
    assert told["Author"] == "Indykeep maintainers"
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Description-Content-Type"] == "text/markdown"
    assert "# Indykeep" in told["Description"]
    shown = told.get_all("Classifier") or []
    python = "Programming Language :: Python :: 3."
    tested = {int(one.removeprefix(python)) for one in shown if one.startswith(python)}
    assert tested == set(TESTED)
    assert "Typing :: Typed" in shown


def test_the_command_and_the_plugins_are_found(info: PathDistribution) -> None:
    found = {(entry.group, entry.name) for entry in info.entry_points}
    assert ("console_scripts", "indykeep") in found
    assert ("pytest11", "indykeep") in found
    assert {name for group, name in found if group == "indykeep.ledgers"} == {"indy", "memory"}


def test_the_version_is_that_of_pyproject_everywhere(info: PathDistribution) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert info.version == project["version"]
    assert {package.__version__ for package in PACKAGES} == {info.version}
    for package in PACKAGES:
        assert not hasattr(package, "__versions__")
