"""The environment of ACA-Py, an agent that is not ours: `tests/interop` talks with it.

It needs a newer Python than we do, so this file is run by that Python, as a program of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "von-network"))

from venvs import HOME, SetupError, Venv, ensure_venvs, exit_code

NEEDS = (3, 13)
"""The oldest Python that it runs on."""
ACAPY = Venv(
    "ACA-Py",
    HOME / "acapy-venv",
    (Path(__file__).with_name("requirements-peers.txt"),),
    download_mb=55,
    disk_mb=237,
)
_PROBE = f"import sys, ssl, sqlite3, ensurepip; sys.exit(sys.version_info < {NEEDS})"
_HINT = "./manage campaign peers --set-up"


def set_up() -> None:
    """Make the environment where it is not ready.

    Raises:
        SetupError: there is no Python for it, or setting up failed, as was printed.
    """
    if why_not_ready() is None:
        return
    python = find_python()
    if python is None:
        wanted = ".".join(map(str, NEEDS))
        raise SetupError(
            f"ACA-Py needs Python {wanted} or later, and there is none in PATH, in ~/.pyenv/versions or "
            "in INDYKEEP_PYTHON: install one, and type this again"
        )
    if subprocess.run([python, __file__], check=False).returncode:
        raise SetupError("ACA-Py could not be set up")


def why_not_ready() -> str | None:
    """Say why ACA-Py cannot be started, and what to type; None: it can."""
    if not ACAPY.python.exists():
        return f"ACA-Py is not set up here; {_HINT} does it"
    if subprocess.run([ACAPY.python, __file__, "ready"], check=False).returncode:
        return f"ACA-Py is not what {ACAPY.locks[0].name} says any more; {_HINT} mends it"
    return None


def find_python() -> str | None:
    """Return a Python that is new enough and can make environments."""
    for program in _candidates():
        told = subprocess.run([program, "-c", _PROBE], capture_output=True, check=False)
        if told.returncode == 0:
            return program
    return None


def _candidates() -> Generator[str]:
    yield os.environ.get("INDYKEEP_PYTHON", sys.executable)
    names = [f"python3.{minor}" for minor in range(NEEDS[1], NEEDS[1] + 3)]
    for name in names:
        if found := shutil.which(name):
            yield found
    for name in names:
        versions = Path.home() / ".pyenv" / "versions"
        yield from map(str, sorted(versions.glob(f"{name[6:]}.*/bin/{name}")))


def main(args: list[str]) -> int:
    """Make the environment for this Python; with `ready`, only look whether it is there."""
    if args == ["ready"]:
        return 0 if ACAPY.ready else 1
    ensure_venvs(ACAPY)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
