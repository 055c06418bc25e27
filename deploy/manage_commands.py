"""The commands of `./manage`: what each needs set up, and what it starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import peers
import usage
from venvs import (
    HOME,
    NODE,
    PIP_MB,
    SetupError,
    Venv,
    ensure_venvs,
    fetch_wheels,
)

ROOT = Path(__file__).resolve().parent.parent
LOCK, TEST_LOCK = (
    ROOT / "deploy" / "requirements.txt",
    ROOT / "deploy" / "requirements-test.txt",
)
AGENT = Venv("agents", HOME / "venv", (LOCK,), download_mb=36, disk_mb=117, project=ROOT)
TEST = Venv(
    "tests and checks",
    HOME / "test-venv",
    (LOCK, TEST_LOCK),
    download_mb=182,
    disk_mb=664,
    project=ROOT,
)
SUITES = Venv(
    "the nodes' own tests",
    HOME / "suites-venv",
    (*NODE.locks, ROOT / "von-network" / "requirements-suites.txt"),
    download_mb=19,
    disk_mb=90,
)
ROOMS = ("agent", "ledger", "zkp", "von-network", "deploy", "tests")
USAGE = """\
usage: ./manage COMMAND [arguments] [--offline]

{rows}

./manage COMMAND --help explains a command and sets nothing up.
What a command needs is set up on its first use, in .indykeep/ (pip keeps its usual cache):
  demo  {demo}
  test  {test}
--offline takes packages only from .indykeep/wheels, as ./manage fetch leaves them.
INDYKEEP_PYTHON names the Python to use (now {python})."""
SHARED = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
CHECKS = (
    ("ruff", "format", "--check"),
    ("ruff", "check"),
    ("mypy",),
    ("pyright",),
    ("lint-imports",),
)


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the help and what to do for it.

    Attributes:
        takes: arguments, as the help shows them.
        does: one line of help.
        act: gets the arguments after the verb, returns the exit status.
    """

    takes: str
    does: str
    act: Callable[[list[str]], int]


def demo(args: list[str]) -> int:
    """Run the demo "over 18" or `multisig` on a real local network."""
    ensure_venvs(AGENT, NODE)
    return become(AGENT.python, str(ROOT / "deploy" / "demo.py"), *args)


def test(args: list[str]) -> int:
    """Run the tests; arguments are pytest's. Without any, two processes share them by files."""
    ensure_venvs(TEST, NODE)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # of what starts a hundred times
    return become(TEST.python, "-P", "-m", "pytest", *(args or SHARED))


def bench(args: list[str]) -> int:
    """Measure this machine."""
    ensure_venvs(TEST, NODE)
    os.environ["PYTHONPATH"] = os.pathsep.join((str(ROOT / "deploy"), str(ROOT / "tests")))
    return become(TEST.python, str(ROOT / "tests" / "bench" / "main.py"), *args)


def bench_network(args: list[str]) -> int:
    """Measure the local network on this machine."""
    ensure_venvs(TEST, NODE)
    os.environ["PYTHONPATH"] = os.pathsep.join((str(ROOT / "deploy"), str(ROOT / "tests")))
    return become(TEST.python, str(ROOT / "tests" / "bench" / "network.py"), *args)


def campaign(args: list[str]) -> int:
    """Kill agents at every point and check whether anything is lost or done twice.

    With `network` first: break a network in all ways, for minutes. With `node-suites`: run the
    node packages' own unit tests on our stand-ins. With `peers`: talk with ACA-Py. With
    `requests`: ask for thousands of credentials. With `proofs`: verify proofs by the library and
    by our own equations.
    """
    if args[:1] == ["node-suites"]:
        ensure_venvs(SUITES)
        os.environ["PYTHONPATH"] = str(ROOT / "von-network")
        return become(SUITES.python, str(ROOT / "von-network" / "suites.py"), *args[1:])
    if args == ["peers", "--set-up"]:
        peers.set_up()
        return 0
    ensure_venvs(TEST, NODE)
    if args[:1] == ["peers"]:
        peers.set_up()
        return become(TEST.python, "-P", "-m", "pytest", "tests/interop", *args[1:])
    if args[:1] == ["network"]:
        os.environ["INDYKEEP_CAMPAIGN"] = "1"
        words = ("tests/von_network", "-o", "faulthandler_timeout=900")
        return become(TEST.python, "-P", "-m", "pytest", *words, *args[1:])
    os.environ["PYTHONPATH"] = os.pathsep.join((str(ROOT / "deploy"), str(ROOT / "tests")))
    campaigns = ROOT / "tests" / "campaigns"
    modules = {"requests": "credential_requests.py", "proofs": "proofs.py"}
    if args and args[0] in modules:
        return become(TEST.python, str(campaigns / modules[args[0]]), *args[1:])
    return become(TEST.python, str(campaigns / "crash.py"), *args)


def network(args: list[str]) -> int:
    """Hand over to von-network/manage, its venv ready; nodes that run keep theirs."""
    if NODE.ready or not NODE.busy:
        ensure_venvs(NODE)
    return hand_over(ROOT / "von-network" / "manage", *args)


def check(args: list[str]) -> int:
    """Run formatter, linter, both type checkers and the import rules; all, even after a failure."""
    refuse(args)
    ensure_venvs(TEST)
    tools = TEST.python.parent
    os.environ["PATH"] = f"{tools}{os.pathsep}{os.environ['PATH']}"
    os.environ["PYRIGHT_PYTHON_IGNORE_WARNINGS"] = "1"  # no look for a newer one
    failed: list[str] = []
    for command in CHECKS:
        print(f"== {' '.join(command)}", flush=True)
        if subprocess.run(
            [str(tools / command[0]), *command[1:]], cwd=ROOT, check=False
        ).returncode:
            failed.append(command[0])
    print_sizes()
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def fetch(args: list[str]) -> int:
    """Download every wheel that any command needs."""
    refuse(args)
    folder = fetch_wheels(TEST, NODE)
    wheels = list(folder.glob("*.whl"))
    size = sum(wheel.stat().st_size for wheel in wheels) // 10**6
    print(f"{len(wheels)} wheels, {size} MB, in {folder}")
    print(
        "Without network: copy that folder to the same place there, then ./manage demo --offline"
    )
    return 0


def clean(args: list[str]) -> int:
    """Remove everything that was set up or recorded, but keep the wheels.

    Raises:
        SetupError: a network of ours runs there; nothing was removed.
    """
    refuse(args)
    if names := running_networks():
        raise SetupError(
            f"a network ({', '.join(names)}) runs with data in {HOME}: stop it first (./manage network "
            f"stop --name {names[0]}), or remove it (down)"
        )
    for entry in HOME.iterdir() if HOME.exists() else ():
        if entry.is_dir() and entry.name != "wheels":
            shutil.rmtree(entry)
        elif entry.is_file():
            entry.unlink()
    print(f"{HOME} is empty but for the wheels")
    return 0


COMMANDS = {
    "demo": Command(
        "[multisig] [--keep]", '"over 18" in 15 s; or 3 of 5 trustees in 30 s', demo
    ),
    "test": Command("[pytest arguments]", "all tests; 10 to 15 min", test),
    "check": Command("", "format, lint, types, import rules; 1 min", check),
    "bench": Command("[--only NAMES] [...]", "what this machine can do", bench),
    "bench-network": Command("[--json FILE]", "what the local network can do", bench_network),
    "campaign": Command(
        "[...]",
        "[--kills N] [--pool] [--postgres]: kill agents; network, node-suites, peers, requests, proofs",
        campaign,
    ),
    "network": Command("[verb ...]", "a local Indy network: von-network/manage", network),
    "fetch": Command("", "download all wheels, for machines without network", fetch),
    "clean": Command("", "remove all that was set up, except downloaded wheels", clean),
}


def become(program: str | Path, *args: str) -> int:
    """Replace this process by another program in the checkout."""
    os.chdir(ROOT)
    return hand_over(program, *args)


def hand_over(program: str | Path, *args: str) -> int:
    """Replace this process by another program, which keeps folder, status, terminal and signals."""
    os.environ["INDYKEEP_NODE_VENV"] = str(NODE.path)
    os.execv(program, [str(program), *args])  # noqa: S606 - no shell is wanted


def refuse(args: list[str]) -> None:
    """Raise SetupError when there are arguments: this command takes none."""
    if args:
        raise SetupError(
            f"this takes no arguments: {' '.join(args)}; ./manage shows what there is"
        )


def running_networks() -> list[str]:
    """Return the names of the networks in the folder that `clean` empties whose nodes run."""
    found: list[str] = []
    for record in sorted(HOME.glob("networks/*/processes.json")):
        try:
            pids = [one["who"]["pid"] for one in json.loads(record.read_text())]
        except (OSError, ValueError, KeyError, TypeError):  # torn by a killed start
            continue
        if any(runs(pid, record.parent) for pid in pids):
            found.append(record.parent.name)
    return found


def runs(pid: int, folder: Path) -> bool:
    """Say whether a process exists and works on a folder, as its command line says."""
    told = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return str(folder) in told.stdout


def print_sizes() -> None:
    """Print lines of Python per room and the largest file."""
    lines = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
    }
    for room in ROOMS:
        print(
            f"{room:<12} {sum(n for p, n in lines.items() if ROOT / room in p.parents):>6} lines"
        )
    largest = max(lines, key=lines.__getitem__)
    print(f"largest file {lines[largest]:>6} lines  {largest.relative_to(ROOT)}")


def print_help(name: str, words: list[str]) -> int:
    """Explain a command, and set nothing up for it."""
    if name == "network" and NODE.ready:
        return network(words)
    longer = f"{name} {words[0]}"
    usage.reader(longer if longer in usage.TEXTS else name).print_help()
    return 0


def page() -> str:
    """Return the help."""
    rows = (
        f"  {f'{name} {command.takes}':<27} {command.does}"
        for name, command in COMMANDS.items()
    )
    return USAGE.format(
        rows="\n".join(rows),
        demo=setup_cost(AGENT, NODE),
        test=setup_cost(TEST, NODE),
        python=f"{sys.executable}, {sys.version.split()[0]}",
    )


def setup_cost(*venvs: Venv) -> str:
    """Return what the first use costs, in words."""
    download = sum(venv.download_mb for venv in venvs)
    disk = PIP_MB + download + sum(venv.disk_mb for venv in venvs)
    return f"{download} MB to download, {disk} MB of disk"


def main(args: list[str]) -> int:
    """Read the command line; `--offline` may stand anywhere."""
    if "--offline" in args:
        args = [arg for arg in args if arg != "--offline"]
        os.environ["INDYKEEP_OFFLINE"] = "1"
    if not args or args[0] in ("help", "-h", "--help"):
        print(page())
        return 0
    if args[0] not in COMMANDS:
        raise SetupError(f"no command {args[0]}; there are: {', '.join(COMMANDS)}")
    if {"-h", "--help"} & set(args[1:]):
        return print_help(args[0], args[1:])
    return COMMANDS[args[0]].act(args[1:])
