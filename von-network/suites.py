"""Run the node packages' own unit tests on our stand-ins: `./manage campaign node-suites`.

Their wheels carry their tests. Those that drive a pool through indy-sdk (libindy, which has no
wheel) are skipped at the point where they call it; all others must pass. Runs in the node venv
with pytest 7 beside it, each suite in a process of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import MutableSequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

SUITES = {
    "storage": "storage/test",
    "state": "state/test",
    "ledger": "ledger/test",
    "serialization": "common/test",
    "network": "stp_core/test",
    "BLS": "crypto/test",
    "BLS in consensus": "plenum/test/bls",
    "request handlers": "plenum/test/req_handler",
    "node registry": "plenum/test/node_reg_handler",
    "input validation": "plenum/test/input_validation",
    "Indy's request handlers": "indy_node/test/request_handlers",
}
KNOWN = (
    "leveldb",  # a store that no node uses, and that has no wheel
    "test_verify_non_base58_pk",  # both sign text; indy-bls takes bytes, as nodes give it
    "test_bls_crypto_verifier",
)
"""Tests that cannot pass, by a part of their name."""
MISSING = ("indy", "ioflo", "xdist", "distro")
"""indy-sdk, and what their conftest imports and these suites do not use."""
LIMIT_S = 900
SHOWN = 10
_END = re.compile(r"\d+ (?:passed|failed|errors?)\b.* in ")


class _Sdk(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class NeedsSdk(Exception, metaclass=_Sdk):  # noqa: N818 - it stands for classes and functions
    """Whatever a test imports of indy-sdk; using it skips the test."""

    def __init__(self, *_: object, **__: object) -> None:
        import pytest  # noqa: PLC0415 - only where tests run

        pytest.skip("needs indy-sdk")


class _SdkModule(ModuleType):
    __path__: MutableSequence[str] = []  # noqa: RUF012 - what makes it a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return print if name == "getConsole" else NeedsSdk


class _SdkFinder(MetaPathFinder, Loader):
    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        missing = name.partition(".")[0] in MISSING
        return ModuleSpec(name, self, is_package=True) if missing else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _SdkModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leave it empty: its names are made when they are asked for."""


class _Hooks:
    def pytest_xdist_make_scheduler(self, config: Any, log: Any) -> None:
        """Exist, as their conftest implements it."""


def pytest_addhooks(pluginmanager: Any) -> None:
    """Declare the hook of a plugin that is not here (a hook of pytest: this is its plugin)."""
    pluginmanager.add_hookspecs(_Hooks)


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Take out what cannot pass."""
    known = [item for item in items if _known(item.nodeid)]
    config.hook.pytest_deselected(items=known)
    items[:] = [item for item in items if item not in known]


def _known(name: str) -> bool:
    return any(part in name.lower() for part in KNOWN)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out files that cannot be imported without leveldb."""
    return True if "leveldb" in collection_path.name else None


def main(wanted: list[str]) -> int:
    """Run the suites that are named, or all; print a line for each; return 1 if a test failed."""
    spec = find_spec("plenum")
    if spec is None or spec.origin is None:
        raise SystemExit("the node packages are not here: ./manage fetch")
    packages = Path(spec.origin).parent.parent
    failed = 0
    for name, place in SUITES.items():
        if not wanted or name in wanted:
            status, line, took = _run(packages, packages / place)
            failed += status != 0
            print(f"{name:<24} {took:>5.0f} s  {line}", flush=True)
    return 1 if failed else 0


def _run(packages: Path, tests: Path) -> tuple[int, str, float]:
    words = ["-q", "--tb=short", "-p", "suites", "-p", "no:cacheprovider", "-W", "ignore"]
    words += ["--rootdir", str(packages), "--confcutdir", str(packages)]
    here = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "pytest", *words, str(tests)]
        env = os.environ | {"PYTHONPATH": here, "HOME": home}
        try:
            done = subprocess.run(
                command,
                cwd=home,
                env=env,
                capture_output=True,
                text=True,
                check=False,
                timeout=LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            return 1, f"not finished after {LIMIT_S} s", float(LIMIT_S)
    lines = done.stdout.splitlines()
    bad = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    print("".join(f"{line}\n" for line in bad[:SHOWN]), end="", flush=True)
    ends = [line for line in lines if _END.search(line)] or ["", *done.stderr.splitlines()]
    return done.returncode, ends[-1], time.monotonic() - begun


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
else:
    from keep_network import compat

    compat.install()
    sys.modules["ursa"].ErrorCode = NeedsSdk  # type: ignore[attr-defined] # of a refused call
    sys.meta_path.append(_SdkFinder())
