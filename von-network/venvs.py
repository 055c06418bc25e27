"""Virtual environments out of pinned lists: wheels only, resumable, never half good.

Wheels are first downloaded to `wheels/`, a few at a time, so that a stopped run goes on where it
was; a venv is then filled from there without network, and stamped last: a venv without its
stamp is made anew. All of it lives in one folder, the parent of the venvs. Standard library only.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from interrupts import Interrupted, catch_signals, child_process

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".indykeep"
BATCH = 8  # wheels per pip run: what a stopped download has to fetch again at most
PIP_MB = 26  # our own pip, measured
TESTED = range(11, 14)  # Python 3.11 to 3.13; the packages of the locks have wheels for these
_SIZE = re.compile(
    r"(?:Downloading|Using cached) (?:\S*/)?(\S+?)-\S+\.whl \(([\d.]+) ([kM]?)B\)"
)
_FULL = ("No space left on device", "Disk quota exceeded")
_UNREACHABLE = (
    "NewConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "NameResolutionError",
    "ProxyError",
    "RemoteDisconnected",
    "ConnectionResetError",
)
_BY_HAND = (
    "On a machine of this kind with network run ./manage fetch, copy its folder "
    ".indykeep/wheels here and add --offline"
)

_TESTED_ONES = f"tested are 3.{TESTED[0]} to 3.{TESTED[-1]}"
_ANOTHER = "to take another one, type INDYKEEP_PYTHON=/path/to/python3 before ./manage"


class SetupError(Exception):
    """Set-up cannot go on; the message says why and what to type."""


@dataclass(frozen=True, slots=True)
class Venv:
    """A virtual environment and what belongs in it.

    Attributes:
        title: what it is for, in the words of the announcement.
        path: where it is; its parent keeps the wheels, the lock file and the log.
        locks: requirement files that pin every package, dependencies included.
        download_mb: measured size of the wheels.
        disk_mb: measured size when installed.
        project: folder with a pyproject.toml to install editable, or None.
    """

    title: str
    path: Path
    locks: tuple[Path, ...]
    download_mb: int
    disk_mb: int
    project: Path | None = None

    @property
    def python(self) -> Path:
        """The interpreter to run in it."""
        return self.path / "bin" / "python"

    @property
    def pins(self) -> list[str]:
        """The requirements of all locks, each on one line with its hashes, each once."""
        return [pin for batch in self.batches for pin in batch]

    @property
    def batches(self) -> list[list[str]]:
        """The pins in portions to download; venvs that share a lock share its portions."""
        seen: set[str] = set()
        found: list[list[str]] = []
        for lock in self.locks:
            pins = [pin for pin in _read_pins(lock) if pin not in seen]
            seen.update(pins)
            found += [pins[at : at + BATCH] for at in range(0, len(pins), BATCH)]
        return found

    @property
    def stamp(self) -> str:
        """What the venv was made of and for: packages, project, place, Python."""
        project = self.project and _build_settings(self.project / "pyproject.toml")
        python = sys.version, str(Path(sys.executable).resolve()), str(self.path)
        return _digest(*self.pins, project or "", *python)

    @property
    def ready(self) -> bool:
        """True when it was filled to the end, with what the locks say today."""
        return _read(self.path / "stamp") == self.stamp and self.python.exists()

    @property
    def busy(self) -> bool:
        """True while programs run in it that were started by its whole path; not known without `ps`."""
        command = ["ps", "-ww", "-A", "-o", "command="]
        try:
            told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        except FileNotFoundError:
            return False
        found = {
            line.partition("/bin/python")[0]
            for line in told.splitlines()
            if "/bin/python" in line
        }
        # what a path without its beginning means, only the program's own folder tells
        whole = (Path(one) for one in found if one.startswith("/"))
        return any(one.resolve() == self.path.resolve() for one in whole)

    def sign(self) -> None:
        """Stamp it: from now on it is ready."""
        (self.path / "stamp").write_text(self.stamp, encoding="utf-8")


NODE = Venv(
    title="Indy node",
    path=HOME / "node-venv",
    locks=(ROOT / "von-network" / "requirements.txt",),
    download_mb=18,
    disk_mb=87,
)


def ensure_venvs(*venvs: Venv, offline: bool | None = None) -> None:
    """Make or repair venvs that share one parent folder; says nothing when all are ready.

    Args:
        venvs: what must be ready at return.
        offline: take wheels from the folder `wheels` only; None reads INDYKEEP_OFFLINE.

    Raises:
        SetupError: no network, no wheel, no space, no `venv` module, a folder that is read-only.
        Interrupted: inside `exit_code`, a signal came; pip has ended and its files are gone.
    """
    if offline is None:
        offline = os.environ.get("INDYKEEP_OFFLINE", "") not in ("", "0")
    if all(venv.ready for venv in venvs):
        return
    with _workshop(venvs[0].path.parent) as shop:
        missing = [venv for venv in venvs if not venv.ready]
        if missing:
            shop.announce(missing, install=True, download=not offline)
        for venv in missing:
            if not offline:
                shop.download(venv)
            shop.install(venv)


def fetch_wheels(*venvs: Venv) -> Path:
    """Download the wheels of venvs for this Python and machine; returns their folder.

    Raises:
        SetupError: as `ensure_venvs`.
    """
    with _workshop(venvs[0].path.parent) as shop:
        shop.announce(venvs, install=False, download=True)
        for venv in venvs:
            shop.download(venv)
        return shop.wheels


def exit_code(job: Callable[[], int]) -> int:
    """Run a job as a program's main: a SetupError or a signal becomes one line and a status."""
    catch_signals()
    try:
        return job()
    except SetupError as error:
        _say(f"{_fresh_line()}manage: {error}")
        return 1
    except Interrupted as stop:
        _say(f"{_fresh_line()}manage: stopped; the same command goes on where it was")
        return stop.code


@dataclass(frozen=True, slots=True)
class _Workshop:
    """The folder where venvs are made, held by one process at a time."""

    home: Path
    temp: Path
    log: IO[str]
    lock: int

    @property
    def wheels(self) -> Path:
        return self.home / "wheels"

    def announce(self, venvs: Sequence[Venv], *, install: bool, download: bool) -> None:
        """Say what will happen and what it takes; refuse when the disk is too small."""
        load = sum(self.load_mb(venv) for venv in venvs) if download else 0
        disk = sum(venv.disk_mb for venv in venvs) if install else 0
        need = load + disk + (0 if self.tool.ready else PIP_MB)
        _say(f"Setting up {self.home} (once):")
        for venv in venvs:
            _say(f"  {venv.title}: {len(venv.pins)} packages")
        loading = f"About {load} MB to download" if load else "Nothing to download"
        _say(f"{loading}, about {need} MB of disk and {1 + load // 60} min. Ctrl-C is safe.")
        if _untested():
            _say(f"This is Python {_version()}; {_TESTED_ONES}. It is tried; {_ANOTHER}.")
        free = _free_mb(self.home)
        if free < need:
            raise SetupError(f"disk full: about {need} MB are needed, {free} MB are free")

    def load_mb(self, venv: Venv) -> int:
        """About how much of a venv's wheels is still to come."""
        missing = sum(len(batch) for batch in venv.batches if not self.mark(batch).exists())
        return round(venv.download_mb * missing / max(1, len(venv.pins)))

    def mark(self, batch: Sequence[str]) -> Path:
        """Return the file that says: the wheels of this batch are all here."""
        return self.wheels / f".{_digest(*batch, _machine())}"

    def download(self, venv: Venv) -> None:
        """Fetch the wheels that are not there yet, a batch at a time."""
        self.wheels.mkdir(exist_ok=True)
        stage = self.temp / "stage"
        stage.mkdir(exist_ok=True)
        progress = _Progress(venv.title, len(venv.pins))
        for batch in venv.batches:
            if self.mark(batch).exists():
                progress.skip(len(batch))
                continue
            self.pip(venv, ["download", "--dest", str(stage)], batch, progress.heard)
            for wheel in stage.iterdir():
                wheel.replace(self.wheels / wheel.name)
            self.mark(batch).touch()
            progress.reached(len(batch))

    def install(self, venv: Venv) -> None:
        """Make the venv anew and fill it from the wheels; the stamp comes last."""
        if venv.busy:
            raise SetupError(
                f"programs run in {venv.path}, which is of another Python or of other packages: "
                "stop them first (./manage network stop)"
            )
        _say(f"{venv.title}: installing {len(venv.pins)} packages")
        shutil.rmtree(venv.path, ignore_errors=True)
        self.run([sys.executable, "-m", "venv", "--without-pip", str(venv.path)], venv)
        local = ["--python", str(venv.python), "install", "--no-index"]
        self.pip(venv, [*local, "--find-links", str(self.wheels)], venv.pins)
        if venv.project:
            editable = ["--no-deps", "--no-build-isolation", "--editable", str(venv.project)]
            self.run([*self.pip_command(), *local, *editable], venv)
        venv.sign()

    def pip(
        self,
        venv: Venv,
        command: list[str],
        pins: list[str],
        heard: Callable[[str], None] | None = None,
    ) -> None:
        """Run pip over pinned requirements; wheels only, as our lists are complete."""
        wanted = self.temp / "requirements.txt"
        wanted.write_text("\n".join(pins), encoding="utf-8")
        rules = ["--no-deps", "--only-binary=:all:", "--requirement", str(wanted)]
        self.run([*self.pip_command(), *command, *rules], venv, heard)

    @property
    def tool(self) -> Venv:
        """Our own pip, which fills the venvs of this Python from outside."""
        return Venv("pip", self.home / f"pip-{_version()}", (), 0, PIP_MB)

    def pip_command(self) -> list[str]:
        """Return the command of our own pip, made on first use."""
        tool = self.tool
        if not tool.ready:
            _require_venv()
            shutil.rmtree(tool.path, ignore_errors=True)
            self.run([sys.executable, "-m", "venv", str(tool.path)], tool)
            tool.sign()
        return [str(tool.python), "-m", "pip", "--no-input", "--disable-pip-version-check"]

    def run(
        self, command: list[str], venv: Venv, heard: Callable[[str], None] | None = None
    ) -> None:
        """Run a child to its end, its output to the log; it never outlives us or the lock."""
        extra = {"TMPDIR": str(self.temp), "PIP_USER": "0", "PIP_PROGRESS_BAR": "off"}
        start = self.log.tell()
        with child_process(command, os.environ | extra, self.lock) as child:
            for line in child.stdout or ():
                self.log.write(line)
                if heard:
                    heard(line)
        if child.wait():
            self.log.flush()
            said = Path(self.log.name).read_text(encoding="utf-8")[start:]
            raise SetupError(self.explain(said, venv))

    def explain(self, said: str, venv: Venv) -> str:
        """Put what a failed child printed into words."""
        log = f"log: {self.log.name}"
        if any(word in said for word in _FULL):
            return (
                f"disk full: {venv.title} needs about {venv.download_mb + venv.disk_mb} MB, "
                f"{_free_mb(self.home)} MB are free in {self.home}; {log}"
            )
        if "CERTIFICATE_VERIFY_FAILED" in said:
            return (
                "pip does not trust the certificate of the package index; if it is right, type: "
                f"pip config set global.cert FILE; {log}"
            )
        if any(word in said for word in _UNREACHABLE):
            return f"no network: the package index does not answer. {_BY_HAND}; {log}"
        if absent := re.search(r"No matching distribution found for (\S+)", said):
            self.forget(venv)
            if _untested():
                return f"no wheel of {absent[1]} for {_machine()}: {_TESTED_ONES}; {_ANOTHER}; {log}"
            return f"no wheel of {absent[1]} for {_machine()}. {_BY_HAND}; {log}"
        last = said.strip().rpartition("\n")[2]
        return f"setting up {venv.title} failed: {last or 'no output'}; {log}"

    def forget(self, venv: Venv) -> None:
        """Look for all wheels again next time: some have been taken away."""
        for batch in venv.batches:
            self.mark(batch).unlink(missing_ok=True)


class _Progress:
    """Says how far a download is: on a terminal a line that moves, else a line per batch."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total = title, total
        self.done, self.ahead, self.size = 0, 0, 0.0
        self.moves = sys.stderr.isatty()

    def heard(self, line: str) -> None:
        """Take a line that pip printed."""
        if line.startswith(("Collecting ", "Ignoring ")):
            self.ahead += 1
            self._show(re.split("[=:]", line.split()[1])[0])
        elif size := _SIZE.match(line.strip()):
            self.size += float(size[2]) * {"": 1e-6, "k": 1e-3, "M": 1}[size[3]]
            self._show(f"{size[1]} ({size[2]} {size[3]}B)")
        elif "Retrying" in line:
            self._show("the package index does not answer, trying again")

    def skip(self, count: int) -> None:
        """Count a batch that was there before."""
        self.done, self.ahead = self.done + count, 0

    def reached(self, count: int) -> None:
        """Count a batch that is complete now."""
        self.skip(count)
        if self.done == self.total or not self.moves:
            self._show("", end="\n")

    def _show(self, text: str, end: str = "") -> None:
        if self.moves or end:
            start = "\r\033[K" if self.moves else ""
            at = f"{self.done + self.ahead} of {self.total} packages, {self.size:.1f} MB"
            _say(f"{start}{self.title}: {at}  {text[:50]}".rstrip(), end=end)


@contextmanager
def _workshop(home: Path) -> Generator[_Workshop]:
    """Hold the folder, with a temporary one inside; what a killed run left is swept."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "lock").open("a+", encoding="utf-8") as lock:
            _acquire(lock)
            for left in home.glob("tmp-*"):
                shutil.rmtree(left, ignore_errors=True)
            with (
                tempfile.TemporaryDirectory(
                    prefix="tmp-", dir=home, ignore_cleanup_errors=True
                ) as temp,
                (home / "setup.log").open("w", encoding="utf-8") as log,
            ):
                yield _Workshop(home, Path(temp), log, lock.fileno())
    except OSError as error:
        raise SetupError(_blame(error, home)) from error


def _acquire(lock: IO[str]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        _say(f"Another set-up is running here (process {lock.read().strip()}); waiting for it.")
        fcntl.flock(lock, fcntl.LOCK_EX)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def _blame(error: OSError, home: Path) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"disk full: {home} has {_free_mb(home)} MB free"
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return f"cannot write to {error.filename or home}: make it writable for this user"
        case _:
            return f"set-up failed: {error}"


def _read_pins(lock: Path) -> list[str]:
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = (re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines())
    return [" ".join(line.split()) for line in lines if line.strip()]


def _build_settings(pyproject: Path) -> str:
    """Return the part that an installed project is made of; tools may change without it."""
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    hatch = settings.get("tool", {}).get("hatch")
    return repr((settings.get("build-system"), settings.get("project"), hatch))


def _require_venv() -> None:
    if find_spec("venv") and find_spec("ensurepip"):
        return
    if Path("/etc/debian_version").exists():
        raise SetupError(
            f"this Python has no venv; type: sudo apt install python{_version()}-venv"
        )
    raise SetupError(
        f"{sys.executable} has no venv and ensurepip: install them, or name another "
        "Python: INDYKEEP_PYTHON=/path/to/python3 ./manage"
    )


def _free_mb(folder: Path) -> int:
    return shutil.disk_usage(folder).free // 10**6


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _untested() -> bool:
    return sys.version_info.minor not in TESTED


def _machine() -> str:
    return f"Python {_version()} on {sys.platform} {platform.machine()}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _fresh_line() -> str:
    return "\n" if sys.stderr.isatty() else ""  # progress may stand on the line


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)
