"""`./manage` finds a Python that works, whatever lies on PATH, and teaches."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a PATH folder with nothing but what `manage` itself calls."""
    (tmp_path / "dirname").symlink_to(str(shutil.which("dirname")))
    return tmp_path


def fake(folder: Path, name: str, rank: int) -> None:
    """Put a Python there that claims a rank, and says who it is when it is chosen."""
    program(folder, name, f'if [ "$1" = -c ]; then echo {rank}; else echo "chosen {name}"; fi')


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def manage(path: str | Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "manage", *args],
        env={"PATH": str(path), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_newest_one_wins(path: Path) -> None:
    for minor in (11, 12, 13):
        fake(path, f"python3.{minor}", 100 + minor)
    assert manage(path).stdout == "chosen python3.13\n"


def test_shims_that_only_print_errors_are_passed_over(path: Path) -> None:
    program(path, "python3.13", "echo 'command not found' >&2; exit 127")
    program(path, "python3.12", "echo 'no version set'")
    fake(path, "python3.11", 111)
    assert manage(path).stdout == "chosen python3.11\n"


def test_a_broken_shim_does_not_hide_a_good_one_behind_it(path: Path, tmp_path: Path) -> None:
    behind = tmp_path / "behind"
    behind.mkdir()
    program(path, "python3.12", "exit 127")
    fake(behind, "python3.12", 112)
    assert manage(f"{path}:{behind}").stdout == "chosen python3.12\n"


def test_plain_python3_counts_by_its_version_not_its_name(path: Path) -> None:
    fake(path, "python3.11", 111)
    fake(path, "python3", 113)
    assert manage(path).stdout == "chosen python3\n"


def test_one_that_can_make_a_venv_goes_first(path: Path) -> None:
    fake(path, "python3.13", 13)
    fake(path, "python3.11", 111)
    assert manage(path).stdout == "chosen python3.11\n"


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"python3.14": 99}, "python3.14"),
        ({"python3.14": 99, "python3.15": 98}, "python3.14"),
        ({"python3.20": 93}, "python3.20"),
        ({"python3": 99, "python3.11": 111}, "python3.11"),
        ({"python3.13": 13, "python3.14": 99}, "python3.14"),
        ({"python3.13": 13, "python3.14": 10}, "python3.13"),
    ],
)
def test_a_newer_one_is_taken_where_no_tested_one_makes_a_venv(
    path: Path, there: dict[str, int], taken: str
) -> None:
    for name, rank in there.items():
        fake(path, name, rank)
    assert manage(path).stdout == f"chosen {taken}\n"


@pytest.mark.parametrize(
    ("version", "venv", "rank"),
    [
        ((3, 10), True, 0),
        ((3, 11), True, 111),
        ((3, 13), True, 113),
        ((3, 13), False, 13),
        ((3, 14), True, 99),
        ((3, 14), False, 10),
        ((3, 99), False, 1),
        ((4, 0), True, 0),
    ],
)
def test_a_python_is_ranked_by_its_version_and_whether_it_makes_a_venv(
    version: tuple[int, int], *, venv: bool, rank: int
) -> None:
    """What `manage` asks of a Python, run by one that says that it is another one."""
    asked = (ROOT / "manage").read_text().partition("-c '")[2].partition("' 2>/dev/null")[0]
    lies = f"import sys, importlib.util; sys.version_info = {(*version, 0)}\n"
    lies += f"importlib.util.find_spec = lambda name: {venv or None}\n"
    told = subprocess.run(
        [sys.executable, "-c", lies + asked], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) == rank


def test_one_that_is_too_old_is_refused_in_one_sentence(path: Path) -> None:
    fake(path, "python3", 0)
    answer = manage(path)
    assert answer.returncode == 1
    assert answer.stderr.startswith("manage: no working Python of 3.11 or later found")
    assert "apt install" in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_named_python_is_taken_or_refused(path: Path) -> None:
    fake(path, "python3.13", 113)
    fake(path, "mine", 111)
    assert manage(path, INDYKEEP_PYTHON=str(path / "mine")).stdout == "chosen mine\n"
    answer = manage(path, INDYKEEP_PYTHON="/nowhere/python")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "no working /nowhere/python" in answer.stderr


def test_a_real_python_passes_the_examination_and_teaches(path: Path) -> None:
    (path / "python3").symlink_to(sys.executable)
    answer = manage(path, "--help", PYTHONPATH="/nowhere", PYTHONHOME="/nowhere")
    assert answer.returncode == 0, answer.stderr
    for command in ("demo", "test", "check", "bench", "network", "fetch", "clean"):
        assert f"\n  {command} " in answer.stdout
    assert sys.version.split()[0] in answer.stdout


def test_an_unknown_command_is_answered_with_those_that_exist() -> None:
    answer = manage("/usr/bin:/bin", "frobnicate", INDYKEEP_PYTHON=sys.executable)
    assert answer.returncode == 1
    assert answer.stderr.startswith("manage: no command frobnicate; there are: demo, test")
