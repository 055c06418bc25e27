"""Set-up tells what is wrong, can be stopped at any moment, and never leaves a half-good venv."""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Generator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, NamedTuple

import psutil
import pytest

import venvs

ROOT = Path(__file__).resolve().parents[2]
DRIVER = """
import sys
from pathlib import Path
sys.path.append(sys.argv[1])
from venvs import Venv, ensure_venvs, exit_code
path = Path(sys.argv[2])
venv = Venv(path.name, path, (Path(sys.argv[3]),), 1, 1)
sys.exit(exit_code(lambda: ensure_venvs(venv) or 0))
"""


def wheel(folder: Path, name: str) -> Path:
    """Write the smallest wheel that pip takes: one module, version 1.0."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    files = {
        f"{name}.py": f"HERE = {name!r}\n",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    record = "".join(f"{file},{_sha256(text)},{len(text)}\n" for file, text in files.items())
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(
            f"{name}-1.0.dist-info/RECORD", record + f"{name}-1.0.dist-info/RECORD,,\n"
        )
    return path


def _sha256(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


class Index(BaseHTTPRequestHandler):
    """A simple index whose wheels can be held back."""

    wheels: ClassVar[Path]
    asked = threading.Event()
    gate = threading.Event()

    def do_GET(self) -> None:
        name = self.path.strip("/").rpartition("/")[2]
        if self.path.endswith(".whl"):
            self.asked.set()
            self.gate.wait(20)
            self._answer((self.wheels / name).read_bytes(), "application/octet-stream")
        else:
            file = f"{name}-1.0-py3-none-any.whl"
            known = (self.wheels / file).exists()
            links = f'<a href="/files/{file}">{file}</a>' if known else ""
            self._answer(links.encode(), "text/html")

    def _answer(self, body: bytes, kind: str) -> None:
        try:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # whom we kept waiting has gone

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        pass


@dataclass(frozen=True)
class Place:
    """A folder to set up venvs in, and the index to take packages from."""

    home: Path
    index: str

    def lock(self, name: str, *packages: str) -> Path:
        """Write a lock file with these packages, all at 1.0."""
        path = self.home / f"{name}.txt"
        path.write_text("".join(f"{package}==1.0  # why\n" for package in packages))
        return path

    def command(self, name: str, lock: Path) -> list[str]:
        return [
            sys.executable,
            "-c",
            DRIVER,
            str(ROOT / "von-network"),
            str(self.home / name),
            str(lock),
        ]

    def env(self, **extra: str) -> dict[str, str]:
        """Return an environment with this index and no other pip settings."""
        own = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "INDYKEEP_"))}
        pip = {
            "PIP_INDEX_URL": self.index,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_CACHE_DIR": "1",
        }
        return own | pip | {"PIP_RETRIES": "1", "no_proxy": "127.0.0.1"} | extra

    def start(self, name: str, lock: Path, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(name, lock), env=self.env(**env), stderr=subprocess.PIPE, text=True
        )

    def set_up(self, name: str, lock: Path, **env: str) -> tuple[int, str]:
        """Make a venv; returns the exit status and what people read."""
        with self.start(name, lock, **env) as child:
            said = child.communicate(timeout=60)[1]
        return child.returncode, said

    def has(self, name: str, package: str) -> bool:
        python = self.home / name / "bin" / "python"
        return (
            subprocess.run(
                [python, "-c", f"import {package}"], check=False, stderr=subprocess.DEVNULL
            ).returncode
            == 0
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Generator[Place]:
    """One folder for all tests: making pip for it takes seconds."""
    Index.wheels = tmp_path_factory.mktemp("index")
    for name in ("tiny", "other", "third"):
        wheel(Index.wheels, name)
    Index.gate.set()
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield Place(
            tmp_path_factory.mktemp("home"), f"http://127.0.0.1:{server.server_port}/simple"
        )
        server.shutdown()
        thread.join()


class Usage(NamedTuple):
    """What shutil.disk_usage returns, in bytes."""

    total: int
    used: int
    free: int


def test_a_venv_is_made_once_and_then_nothing_is_said(place: Place) -> None:
    lock = place.lock("once", "tiny", "other")
    code, said = place.set_up("once", lock)
    assert code == 0, said
    assert "once: 2 packages" in said
    assert "MB to download" in said
    assert "tested" not in said
    assert "once: 2 of 2 packages" in said
    assert place.has("once", "tiny")
    assert place.set_up("once", lock) == (0, "")


def test_a_changed_lock_makes_the_venv_anew(place: Place) -> None:
    assert place.set_up("changed", place.lock("changed", "tiny", "other"))[0] == 0
    assert place.set_up("changed", place.lock("changed", "tiny"))[0] == 0
    assert place.has("changed", "tiny")
    assert not place.has("changed", "other")


def test_a_venv_is_not_made_anew_under_programs_that_run_in_it(place: Place) -> None:
    assert place.set_up("busy", place.lock("busy", "tiny"))[0] == 0
    python = place.home / "busy" / "bin" / "python"
    with subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE) as program:
        code, said = place.set_up("busy", place.lock("busy", "other"))
        assert code == 1
        assert f"programs run in {place.home / 'busy'}" in said
        program.communicate(b"\n")
    assert place.has("busy", "tiny")
    assert place.set_up("busy", place.lock("busy", "other"))[0] == 0


def test_a_program_of_another_folder_with_the_same_relative_path_counts_not(
    place: Place,
) -> None:
    words = [f"{os.path.relpath(place.home / 'near')}/bin/python", "-c", "input()"]
    with subprocess.Popen(words, executable=sys.executable, stdin=subprocess.PIPE) as program:
        code, said = place.set_up("near", place.lock("near", "tiny"))
        program.communicate(b"\n")
    assert code == 0, said


def test_a_venv_without_its_stamp_is_made_anew(place: Place) -> None:
    lock = place.lock("half", "tiny")
    assert place.set_up("half", lock)[0] == 0
    (place.home / "half" / "stamp").unlink()
    next((place.home / "half").glob("lib/*/site-packages/tiny.py")).unlink()
    assert place.set_up("half", lock)[0] == 0
    assert place.has("half", "tiny")


def test_offline_takes_copied_wheels(place: Place) -> None:
    (place.home / "wheels").mkdir(exist_ok=True)
    wheel(place.home / "wheels", "copied")
    code, said = place.set_up("offline", place.lock("offline", "copied"), INDYKEEP_OFFLINE="1")
    assert code == 0, said
    assert "Nothing to download" in said
    assert place.has("offline", "copied")


def test_offline_without_the_wheels_says_how_to_get_them(place: Place) -> None:
    code, said = place.set_up("bare", place.lock("bare", "absent"), INDYKEEP_OFFLINE="1")
    assert code == 1
    assert "no wheel of absent==1.0" in said
    assert "./manage fetch" in said
    assert "Traceback" not in said


def test_without_network_the_way_round_is_shown(place: Place) -> None:
    lock = place.lock("lonely", "lonely")
    code, said = place.set_up("lonely", lock, PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert code == 1
    assert "no network" in said
    assert "--offline" in said
    assert str(place.home / "setup.log") in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_inside_pip_nothing_is_left_and_the_next_run_succeeds(
    place: Place, number: int, code: int
) -> None:
    lock = place.lock(f"stopped{number}", "third", *(("tiny",) * (code == 130)))
    Index.gate.clear()
    Index.asked.clear()
    try:
        with place.start(f"stopped{number}", lock) as child:
            assert Index.asked.wait(30)
            family = psutil.Process(child.pid).children(recursive=True)
            child.send_signal(number)
            said = child.communicate(timeout=30)[1]
    finally:
        Index.gate.set()
    assert child.returncode == code
    assert said.splitlines()[-1] == "manage: stopped; the same command goes on where it was"
    assert "Traceback" not in said
    assert family
    assert not [process for process in family if process.is_running()]
    assert not list(place.home.glob("tmp-*"))
    assert place.set_up(f"stopped{number}", lock)[0] == 0
    assert place.has(f"stopped{number}", "third")


def test_a_second_run_waits_for_the_first_and_says_so(place: Place) -> None:
    lock = place.lock("second", "tiny")
    with (place.home / "lock").open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with place.start("second", lock) as child:
            assert child.stderr
            assert "Another set-up is running here" in child.stderr.readline()
            fcntl.flock(held, fcntl.LOCK_UN)
            child.communicate(timeout=60)
    assert child.returncode == 0


def test_too_small_a_disk_is_refused_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(_path: Path) -> Usage:
        return Usage(9, 9, 10 * 10**6)

    monkeypatch.setattr(shutil, "disk_usage", small)
    venv = venvs.Venv("big", tmp_path / "home" / "big", (), download_mb=100, disk_mb=500)
    with pytest.raises(venvs.SetupError, match="about 526 MB are needed, 10 MB are free"):
        venvs.ensure_venvs(venv)
    assert not venv.path.exists()


def test_a_disk_that_fills_up_on_the_way_is_named(tmp_path: Path) -> None:
    venv = venvs.Venv("big", tmp_path / "big", (), download_mb=100, disk_mb=500)
    script = f"import os; raise OSError({errno.ENOSPC}, os.strerror({errno.ENOSPC}))"
    with (
        venvs._workshop(tmp_path) as shop,
        pytest.raises(venvs.SetupError, match="disk full: big needs about 600 MB"),
    ):
        shop.run([sys.executable, "-c", script], venv)


def test_a_python_without_venv_gets_the_command_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(_name: str) -> None:
        pass

    def on_debian(path: Path) -> bool:
        return str(path) == "/etc/debian_version"

    monkeypatch.setattr(venvs, "find_spec", absent)
    monkeypatch.setattr(Path, "exists", on_debian)
    venv = venvs.Venv("x", tmp_path / "x", (), 1, 1)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(venvs.SetupError, match=f"sudo apt install python{version}-venv"):
        venvs.ensure_venvs(venv, offline=True)


def test_a_python_that_is_newer_than_the_tested_ones_is_tried_with_a_warning(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(venvs, "TESTED", range(11))
    venv = venvs.Venv("new", place.home / "new", (place.lock("new", "unbuilt"),), 1, 1)
    with pytest.raises(venvs.SetupError) as refusal:
        venvs.ensure_venvs(venv, offline=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    warning = f"This is Python {version}; tested are 3.11 to 3.13. It is tried; to take another"
    assert warning in capsys.readouterr().err
    assert f"no wheel of unbuilt==1.0 for Python {version}" in str(refusal.value)
    assert "tested are 3.11 to 3.13; to take another one" in str(refusal.value)
    assert "INDYKEEP_PYTHON" in str(refusal.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(venvs.SetupError, match=f"cannot write to {tmp_path}"):
        venvs.ensure_venvs(venvs.Venv("x", tmp_path / "home" / "x", (), 1, 1))


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_what_the_system_refuses_is_put_into_words(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(venvs.SetupError, match="cannot write to /here: make it writable"),
        venvs._workshop(tmp_path),
    ):
        raise OSError(number, os.strerror(number), "/here")


@pytest.mark.parametrize(
    "lock", sorted(ROOT.glob("*/requirements*.txt")), ids=lambda lock: lock.name
)
def test_every_lock_pins_every_package(lock: Path) -> None:
    pins = venvs.Venv("", lock, (lock,), 0, 0).pins
    assert pins
    assert [pin for pin in pins if "==" not in pin.split()[0]] == []
    assert "://" not in lock.read_text()
