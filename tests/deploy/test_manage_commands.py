"""The commands take what they say they take, and clean keeps what was expensive."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import manage_commands
import venvs


def test_clean_removes_all_but_the_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(manage_commands, "HOME", tmp_path)
    for name in ("venv", "pip", "wheels"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "setup.log").touch()
    assert manage_commands.main(["clean"]) == 0
    assert list(tmp_path.rglob("*")) == [tmp_path / "wheels", tmp_path / "wheels" / "file"]
    assert str(tmp_path) in capsys.readouterr().out


def test_clean_of_nothing_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manage_commands, "HOME", tmp_path / "absent")
    assert manage_commands.main(["clean"]) == 0


@pytest.mark.parametrize("command", ["check", "fetch", "clean"])
def test_a_command_without_arguments_refuses_them_before_it_starts(command: str) -> None:
    with pytest.raises(venvs.SetupError, match="takes no arguments: now"):
        manage_commands.main([command, "now"])


@pytest.mark.parametrize(
    "args", [["--offline", "demo", "--keep"], ["demo", "--keep", "--offline"]]
)
def test_offline_may_stand_anywhere_and_the_rest_is_passed_on(
    args: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def ensure(*wanted: venvs.Venv) -> None:
        seen.append([venv.title for venv in wanted])

    def become(program: str, *rest: str) -> int:
        seen.append((program, rest))
        return 7

    monkeypatch.setenv("INDYKEEP_OFFLINE", "0")
    monkeypatch.setattr(manage_commands, "ensure_venvs", ensure)
    monkeypatch.setattr(manage_commands, "become", become)
    assert manage_commands.main(args) == 7
    assert os.environ["INDYKEEP_OFFLINE"] == "1"
    entry = str(manage_commands.ROOT / "deploy" / "demo.py")
    assert seen == [["agents", "Indy node"], (manage_commands.AGENT.python, (entry, "--keep"))]


@pytest.mark.parametrize("args", [[], ["tests/zkp", "-k", "name"]])
def test_all_tests_are_shared_by_two_processes_and_chosen_ones_run_in_one(
    args: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def ensure(*wanted: venvs.Venv) -> None:
        assert manage_commands.TEST in wanted

    def become(program: str, *rest: str) -> int:
        seen.extend(rest)
        return 7

    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(manage_commands, "ensure_venvs", ensure)
    monkeypatch.setattr(manage_commands, "become", become)
    assert manage_commands.main(["test", *args]) == 7
    assert seen == ["-P", "-m", "pytest", *(args or manage_commands.SHARED)]
    assert "PYTHONDONTWRITEBYTECODE" not in os.environ


def test_a_venv_is_made_anew_when_the_project_changes_but_not_its_tools(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    venv = venvs.Venv("x", tmp_path / "x", (), 0, 0, project=tmp_path)
    pyproject.write_text('[project]\nname = "x"\n[tool.ruff]\nline-length = 80\n')
    first = venv.stamp
    pyproject.write_text('[project]\nname = "x"\n[tool.ruff]\nline-length = 96\n')
    assert venv.stamp == first
    pyproject.write_text('[project]\nname = "x"\nscripts = { x = "x:main" }\n')
    assert venv.stamp != first


HELP = [[verb, "--help"] for verb in manage_commands.COMMANDS] + [
    ["test", "tests/agent", "-h"],
    ["demo", "multisig", "-h"],
    ["campaign", "network", "--help"],
    ["campaign", "node-suites", "--help"],
    ["campaign", "peers", "--help"],
    ["campaign", "requests", "--help"],
    ["network", "start", "--help"],
]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a checkout needs for `./manage`, with nothing set up."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(manage_commands.ROOT / "manage", folder)
    for name in ("deploy", "von-network"):
        shutil.copytree(manage_commands.ROOT / name, folder / name)
    return folder


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_the_help_of_every_verb_sets_nothing_up(words: list[str], fresh: Path) -> None:
    told = subprocess.run(
        [fresh / "manage", *words],
        env={"PATH": "/usr/bin:/bin", "INDYKEEP_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith(f"usage: ./manage {words[0]}")
    assert len(told.stdout.splitlines()) > 3
    assert not (fresh / ".indykeep").exists()


def test_the_network_explains_its_verbs_itself_once_it_is_set_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ensure(*_: venvs.Venv) -> None:
        pass

    def hand_over(program: Path, *words: str) -> int:
        assert (program.name, words) == ("manage", ("start", "--help"))
        return 7

    monkeypatch.setattr(manage_commands, "ensure_venvs", ensure)
    monkeypatch.setattr(manage_commands, "hand_over", hand_over)
    assert venvs.NODE.ready
    assert manage_commands.main(["network", "start", "--help"]) == 7


def test_a_network_that_runs_keeps_the_venv_that_another_python_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    made: list[venvs.Venv] = []
    venv = venvs.Venv("node", tmp_path, (), 0, 0)

    def hand_over(_program: Path, *_words: str) -> int:
        return 0

    monkeypatch.setattr(manage_commands, "NODE", venv)
    monkeypatch.setattr(manage_commands, "ensure_venvs", made.append)
    monkeypatch.setattr(manage_commands, "hand_over", hand_over)
    with subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE) as node:
        assert manage_commands.main(["network", "down"]) == 0
        assert made == []
        node.communicate(b"\n")
    assert manage_commands.main(["network", "down"]) == 0
    assert made == [venv]


def test_clean_refuses_while_a_network_runs_in_the_folder_and_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manage_commands, "HOME", tmp_path)
    folder = tmp_path / "networks" / "mine"
    folder.mkdir(parents=True)
    with subprocess.Popen(
        [sys.executable, "-c", "input()", str(folder)], stdin=subprocess.PIPE
    ) as node:
        (folder / "processes.json").write_text(json.dumps([{"who": {"pid": node.pid}}]))
        with pytest.raises(venvs.SetupError, match=r"\(mine\) runs .*stop --name mine"):
            manage_commands.main(["clean"])
        node.communicate(b"\n")
    assert (folder / "processes.json").exists()
    assert (
        manage_commands.main(["clean"]) == 0
    )  # its number is another process's now, or nobody's
    assert not folder.exists()
