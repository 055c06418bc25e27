"""`./manage demo` tells the truth, ends clean however it ends, and says what went wrong."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path

import aiohttp
import psutil
import pytest

import demo_run
from demo_claims import ClaimError, claim
from demo_terminal import Terminal
from keep_agent.errors import UnavailableError
from processes import StartError
from store_search import decoded

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".indykeep"
LONG_S = 120
FAMILY = 6
"""Processes of a demo that has begun: starters, agents, watchers."""


class Play:
    """A demo that runs, with all that belongs to it.

    Attributes:
        said: what it has printed so far.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""
        self.family: set[psutil.Process] = set()

    def until(self, text: str) -> None:
        """Read on until it prints a text."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line
            self.meet()
            if text in line:
                return
        pytest.fail(f"it never said {text!r} but:\n{self.said}")

    def end(self, number: int | None = None) -> int:
        """Send a signal, read to the end, and return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        assert self.process.stdout
        self.said += self.process.stdout.read()
        return self.process.wait(LONG_S)

    @property
    def folder(self) -> Path:
        """Its folder, whose lock it holds; other demos may have theirs beside it."""
        held = (Path(one.path) for one in psutil.Process(self.process.pid).open_files())
        [folder] = [path.parent for path in held if path.name == demo_run.LOCK]
        return folder

    def agents(self) -> list[psutil.Process]:
        """Its agents."""
        return [one for one in self.family if "keep_agent" in words_of(one)]

    def nodes(self) -> list[psutil.Process]:
        """The processes of its network."""
        name = str(self.folder)
        return [
            one
            for one in psutil.process_iter()
            if "keep_network.node" in words_of(one) and name in " ".join(words_of(one))
        ]

    def left(self) -> list[psutil.Process]:
        """Wait until all that was seen of it has ended; return what does not."""
        deadline = time.monotonic() + 20
        while left := [one for one in self.family if alive(one)]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return left

    def meet(self) -> None:
        """Note who belongs to it now."""
        with suppress(psutil.NoSuchProcess):
            self.family.update(psutil.Process(self.process.pid).children(recursive=True))


def words_of(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@contextmanager
def playing(*args: str) -> Generator[Play]:
    command = [sys.executable, str(ROOT / "deploy" / "demo.py"), *args]
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    ) as process:
        play = Play(process)
        try:
            yield play
        finally:
            process.kill()


def files(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*")]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(demo_run, "HOME", tmp_path)
    return tmp_path


def screen(*, colour: bool = False) -> Terminal:
    return Terminal(StringIO(), live=False, colour=colour, fancy=True)


def shown(on: Terminal) -> str:
    assert isinstance(on.out, StringIO)
    return on.out.getvalue()


# -- the whole of it -------------------------------------------------------------------------------


@pytest.mark.pool
async def test_the_demo_shows_all_steps_keeps_running_and_leaves_nothing() -> None:
    with playing("--keep") as play:
        play.until("Try, in another terminal")
        told = play.said
        folder = play.folder
        urls = dict(re.findall(r"admin (http\S+), key in (\S+)", told))
        keys = {name: Path(name).read_text().strip() for name in urls.values()}  # noqa: ASYNC240
        async with aiohttp.ClientSession() as session:
            for url, key in urls.items():
                headers = {"X-API-Key": keys[key]}
                async with session.get(f"{url}/v1/status", headers=headers) as answer:
                    assert answer.status == 200
        genesis = re.search(r"\n  network +(\S+)", told)
        assert genesis
        assert genesis[1] in files(folder)
        assert len(urls) == len(play.agents()) == 4
        nodes = play.nodes()
        assert nodes
        assert play.end(signal.SIGINT) == 0, play.said
    assert re.search(r"what it learned +category B, from\s+did:indy:local:", told)
    assert re.search(r"proved without being shown +born on or before \d{4}-\d\d-\d\d\n", told)
    assert re.search(r"what it never saw +name, birthdate, number\n", told)
    assert re.search(r"Tim's wallet:\s+.no credential fits", told)
    words = " ".join(told.split())  # where a line is folded depends on how long the DID is
    assert re.search(r"does not prove .birthdate_dateint <= \d+. \(asked as", words)
    assert "All claims were checked" in play.said
    play.family.update(nodes)
    assert play.left() == []
    assert not folder.exists()


@pytest.mark.pool
def test_a_ctrl_c_while_it_loads_shows_no_traceback(tmp_path: Path) -> None:
    shutil.copy(ROOT / "deploy" / "demo.py", tmp_path)
    (tmp_path / "demo_over_18.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "demo.py")], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_clean(number: int, code: int) -> None:
    with playing() as play:
        play.until("1. A network")
        folder = play.folder
        while len(play.family) < FAMILY:
            play.meet()
        assert play.end(number) == code, play.said
    assert "Stopped; everything that was started has been stopped." in play.said
    assert "Traceback" not in play.said
    assert play.left() == []
    assert not list(HOME.glob(f"*{folder.name}"))


@pytest.mark.pool
def test_of_two_side_by_side_each_says_who_was_killed_and_keeps_its_logs() -> None:
    with ThreadPoolExecutor() as pool:
        node = pool.submit(killed, "node", r"Node\d of the network ended")
        agent = pool.submit(killed, "agent", r"\w+ ended with -9")
        node.result()
        agent.result()


def killed(victim: str, wanted: str) -> None:
    """Kill somebody in the middle of the story."""
    with playing() as play:
        play.until("2. The licence office")
        folder, nodes = play.folder, play.nodes()
        (nodes if victim == "node" else play.agents())[0].kill()
        assert play.end() == 1, play.said
    play.family.update(nodes)
    assert re.search(wanted, play.said)
    kept = HOME / f"failed-{folder.name}"
    assert f"The logs are kept in {kept}" in play.said
    assert (kept / "bar.log").is_file()
    assert not [path for path in kept.rglob("*") if path.suffix in {".db", ".key"}]
    assert play.left() == []
    assert not folder.exists()
    shutil.rmtree(kept)


def test_help_teaches() -> None:
    with playing("--help") as play:
        assert play.end() == 0
    assert "--keep" in play.said
    assert "four validators and four agents" in play.said


# -- its folder ------------------------------------------------------------------------------------


def test_the_folder_of_a_killed_run_is_removed_and_that_of_a_live_one_is_not(
    home: Path,
) -> None:
    dead, live = home / "demo-dead", home / "demo-live"
    for folder in (dead, live):
        folder.mkdir()
        (folder / "lock").touch()
    with (live / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with demo_run.demo_folder() as folder:
            assert folder.parent == home
            assert sorted(home.iterdir()) == sorted([live, folder])
    assert list(home.iterdir()) == [live]


def test_two_runs_leave_each_other_alone(home: Path) -> None:
    with demo_run.demo_folder() as one, demo_run.demo_folder() as other:
        assert one.exists()
        assert one != other


def test_a_full_disk_is_told_before_anything_starts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_run, "NEEDED_MB", 1 << 40)
    with pytest.raises(StartError, match=f"are free in {home}"), demo_run.demo_folder():
        pytest.fail("it began")
    assert list(home.iterdir()) == []


# -- what went wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (StartError("Bar ended with 1: log {folder}/bar.log"), "log {home}/failed-demo-x/bar.log"),
        (OSError(28, "No space left on device"), "the disk of {home} is full"),
        (ExceptionGroup("", [ExceptionGroup("", [ClaimError("wrong: x")])]), "wrong: x"),
        (TimeoutError(), "TimeoutError"),
    ],
)  # fmt: skip
def test_a_failure_is_told_in_words(home: Path, error: Exception, words: str) -> None:
    folder = home / "demo-x"
    folder.mkdir()
    if isinstance(error, StartError):
        error = StartError(str(error).format(folder=folder))
    on = screen()
    demo_run.explain(on, folder, error)
    assert words.format(home=home) in shown(on)


def test_the_lines_of_the_log_that_matter_are_shown(home: Path) -> None:
    folder = home / "demo-x"
    folder.mkdir()
    lines = (
        "1 INFO all is well",
        f"2 WARNING {demo_run.EXPECTED_WARNING}",
        "3 ERROR store broke",
    )
    (folder / "bar.log").write_text("\n".join(lines))
    on = screen()
    demo_run.explain(on, folder, UnavailableError("the agent does not answer"))
    assert "bar: 3 ERROR store broke" in shown(on)
    assert "well" not in shown(on)
    assert demo_run.EXPECTED_WARNING not in shown(on)
    assert (home / "failed-demo-x" / "bar.log").is_file()


def test_a_claim_that_does_not_hold_ends_the_story() -> None:
    claim(1, "one is true")
    with pytest.raises(ClaimError, match="this turned out wrong: nothing"):
        claim([], "nothing is true")


def test_the_search_looks_into_base64() -> None:
    assert "Alice Eleanor Marlow" in decoded('{"base64": "QWxpY2UgRWxlYW5vciBNYXJsb3c"}')


# -- the screen ------------------------------------------------------------------------------------


@pytest.fixture(params=[40, 80, 200])
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


def test_no_line_is_wider_than_the_window(columns: int) -> None:
    on = screen()
    text = "the office issues a licence and Alice keeps it " * 3
    on.say(text)
    on.done(text, "12.5 s")
    on.quote("Alice", text)
    on.table([("proved, but not shown", text)])
    assert max(map(len, shown(on).splitlines())) <= min(columns, 92)
    assert " ".join(shown(on).split()).count("Alice keeps it") == 12


def test_without_a_terminal_there_is_no_control_character() -> None:
    on = Terminal.of(StringIO())
    on.heading("1. A network")
    on.done("ready", "1.0 s")
    assert "\x1b" not in shown(on)


def test_colour_is_never_the_only_sign() -> None:
    plain, coloured = screen(), screen(colour=True)
    for on in (plain, coloured):
        on.done("this")
        on.failed("that")
    assert re.sub(r"\x1b\[\d+m", "", shown(coloured)) == shown(plain)


async def test_a_step_that_fails_is_marked_as_failed() -> None:
    on = screen()
    with pytest.raises(ZeroDivisionError):
        async with on.step("dividing"):
            raise ZeroDivisionError
    assert shown(on) == "  \u2717 dividing\n"


async def test_a_step_tells_what_it_found() -> None:
    on = screen()
    async with on.step("counting") as note:
        note("two")
    assert shown(on) == "  \u2713 counting: two\n"
