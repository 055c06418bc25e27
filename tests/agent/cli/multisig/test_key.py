"""`indykeep key` with stores: made, found, refused; and the sentences."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import base58
import pytest
from agent.cli.multisig.airgap import can_seal, run_sealed
from agent.cli.multisig.run_command import done, refused

from keep_agent.cli.multisig import key_stores, offline_loop
from keep_agent.cli.multisig.key_stores import Place
from keep_agent.cli.multisig.signing_keys import open_signer
from keep_agent.errors import BadCommandError, UnavailableError
from keep_agent.settings import Settings
from keep_agent.store.lock import lock_file
from keep_ledger.multisig.signatures import verifies

TRUSTEE = "000000000000000000000000Trustee1"
TRUSTEE_DID, TRUSTEE_KEY = (
    "V4SGRU86Z58d6TV7PBUe6f",
    "GJ1SzoWzavQYfNL9XkaJdrQejfztN4XqdsiV4ct3LXKL",
)


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INDYKEEP_KEY_FILE", "INDYKEEP_PIN_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A store with the key `ana`, its own key beside it in `keys.key`."""
    done("key", "new", f"store:{tmp_path}/keys.db#ana", "--key-file", tmp_path / "keys.key")
    return tmp_path


def test_a_new_key_is_kept_for_its_owner_only_and_signs(keys: Path) -> None:
    shown = json.loads(
        done(
            "key",
            "show",
            f"store:{keys}/keys.db#ana",
            "--key-file",
            keys / "keys.key",
            "--json",
        )
    )
    raw = base58.b58decode(shown["verkey"])
    assert shown["did"] == base58.b58encode(raw[:16]).decode()
    for name in (shown["verkey"], shown["did"], "ana"):
        with open_signer(f"store:{keys}/keys.db#{name}", keys / "keys.key") as signer:
            assert signer.verkey == raw
            assert verifies(raw, b"message", signer.sign(b"message"))
            assert not verifies(raw, b"another", signer.sign(b"message"))
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys.iterdir())


def test_not_even_the_name_of_a_key_can_be_read_in_the_file_of_a_store(keys: Path) -> None:
    where = f"store:{keys}/keys.db#trustee-of-the-board"
    done("key", "new", where, "--key-file", keys / "keys.key")
    stored = (keys / "keys.db").read_bytes()  # closed: nothing is left beside it
    assert b"trustee-of-the-board" not in stored


def test_the_seed_of_an_existing_trustee_is_taken_from_input_or_file(keys: Path) -> None:
    where = f"store:{keys}/keys.db#t1"
    said = done("key", "import", where, "--key-file", keys / "keys.key", stdin=f"{TRUSTEE}\n")
    assert TRUSTEE_DID in said
    assert TRUSTEE_KEY in said
    again = refused(
        "key", "import", f"{where}b", "--key-file", keys / "keys.key", stdin=TRUSTEE
    )
    assert "already, named t1" in again
    (keys / "seed").write_text(TRUSTEE.encode().hex())
    (keys / "seed").chmod(0o600)
    new = ("--key-file", keys / "two.key", "--seed-file", keys / "seed")
    assert TRUSTEE_KEY in done("key", "import", f"store:{keys}/two.db#t1", *new)
    listed = done("key", "list", f"store:{keys}/keys.db", "--key-file", keys / "keys.key")
    assert listed.count("verkey") == 2


@pytest.mark.parametrize("seed", ["", "short", "x" * 33, "zz" * 32, "not base64 at all=="])
def test_what_is_no_seed_changes_nothing(keys: Path, seed: str) -> None:
    where = f"store:{keys}/other.db#t"
    said = refused("key", "import", where, "--key-file", keys / "other.key", stdin=seed)
    assert "not a seed" in said
    assert not (keys / "other.db").exists()


def test_a_wrong_key_a_missing_one_and_a_missing_store_are_told_apart(keys: Path) -> None:
    where = f"store:{keys}/keys.db#ana"
    done("key", "new", f"store:{keys}/other.db#bo", "--key-file", keys / "other.key")
    for file, why in (
        (keys / "other.key", "does not open the store"),
        (keys / "none.key", "No such file"),
        (keys / "keys.db", "is not"),
    ):
        assert why in refused("key", "show", where, "--key-file", file)
    (keys / "open.key").write_text((keys / "keys.key").read_text())
    (keys / "open.key").chmod(0o644)
    assert "chmod 600" in refused("key", "show", where, "--key-file", keys / "open.key")
    right = ("--key-file", keys / "keys.key")
    assert "no key 'bo'" in refused("key", "show", f"store:{keys}/keys.db#bo", *right)
    assert "no store" in refused("key", "show", f"store:{keys}/none.db#bo", *right)
    assert "needs a name" in refused("key", "show", f"store:{keys}/keys.db", *right)
    assert "already" in refused("key", "new", where, *right)
    assert "neither" in refused("key", "show", "keys.db#ana", *right)
    (keys / "keys.db").write_bytes(os.urandom(4096))
    assert "cannot open the store" in refused("key", "show", where, *right)


def test_the_key_file_may_be_named_by_the_environment(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INDYKEEP_KEY_FILE", str(keys / "keys.key"))
    assert "verkey" in done("key", "show", f"store:{keys}/keys.db#ana")
    Settings.load(os.environ, None)


def test_an_agents_store_opens_when_no_agent_runs(keys: Path) -> None:
    """Its folder is enough: the key lies in `store.key`; who holds the lock is named."""
    (keys / "keys.db").rename(keys / "agent.db")
    (keys / "keys.key").rename(keys / "store.key")
    assert "ana" in done("key", "list", f"store:{keys}")
    lock = lock_file(keys / "agent.db.lock")
    try:
        assert f"held by process {os.getpid()}" in refused("key", "list", f"store:{keys}")
    finally:
        os.close(lock)


def test_a_did_with_two_keys_wants_the_verkey(keys: Path) -> None:
    """As an agent's after a rotation: both keys carry the DID."""
    place = Place(keys / "keys.db", keys / "keys.key")

    async def rotated() -> None:
        async with key_stores.opened(place) as store, store.session("main") as session:
            for key in list(await session.fetch_all_keys()):
                metadata = json.dumps({"did": TRUSTEE_DID})
                await session.update_key(key.name, metadata=metadata)

    offline_loop.run(key_stores.add(place, "two", None))
    offline_loop.run(rotated())
    with pytest.raises(BadCommandError, match="several keys"):
        offline_loop.run(key_stores.find(place, TRUSTEE_DID))


def test_a_passphrase_is_typed_and_not_shown(tmp_path: Path) -> None:
    where = f"store:{tmp_path}/keys.db#ana"
    code, said = _typed(["key", "new", where], ["correct horse", "correct horse"])
    assert code == 0, said
    assert "correct horse" not in said
    code, said = _typed(["key", "show", where], ["wrong"])
    assert (code, "does not open" in said) == (2, True)
    code, said = _typed(["key", "show", where], ["correct horse"])
    assert (code, "verkey" in said) == (0, True)
    code, said = _typed(["key", "new", f"store:{tmp_path}/two.db#ana"], ["one", "other"])
    assert (code, "differ" in said) == (2, True)
    assert not (tmp_path / "two.db").exists()


AT_TERMINAL = """
import os, sys
os.open(sys.argv[1], os.O_RDWR)  # a session without terminal takes the first that it opens
os.execv(sys.executable, [sys.executable, "-m", "keep_agent", *sys.argv[2:]])
"""


def _typed(words: list[str], lines: list[str]) -> tuple[int, str]:
    """Run it at a terminal of its own and type."""
    ours, theirs = pty.openpty()
    program = [sys.executable, "-c", AT_TERMINAL, os.ttyname(theirs), *words]
    with subprocess.Popen(
        program, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as child:
        os.close(theirs)
        said = b""
        for line in lines:
            while not said.rstrip().endswith(b":"):
                said += os.read(ours, 1000)
            os.write(ours, line.encode() + b"\n")
            said += b"\n"
            time.sleep(0.02)
        said += _rest(ours)
    os.close(ours)
    return child.returncode, said.decode()


def _rest(terminal: int) -> bytes:
    said = b""
    while True:
        try:
            said += os.read(terminal, 1000)
        except OSError:  # nobody is at the other side any more
            return said


def test_without_a_terminal_it_says_how_to_give_the_key(keys: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "keep_agent", "key", "show", f"store:{keys}/keys.db#ana"],
        capture_output=True, text=True, check=False, start_new_session=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert told.returncode == 2
    assert "no terminal" in told.stderr
    assert "INDYKEEP_KEY_FILE" in told.stderr


@pytest.mark.skipif(not can_seal(), reason="this machine cannot seal a process (seccomp)")
def test_keys_in_stores_need_no_socket_at_all(tmp_path: Path) -> None:
    where, report = f"store:{tmp_path}/keys.db#ana", tmp_path / "report"
    options = ("--key-file", tmp_path / "keys.key")
    assert run_sealed("key", "new", where, *options, report=report).code == 0
    shown = run_sealed("key", "show", where, *options, report=report)
    assert shown.code == 0
    assert "verkey" in shown.out


@pytest.mark.skipif(not can_seal(), reason="this machine cannot seal a process (seccomp)")
@pytest.mark.parametrize(
    "does", ["socket.socketpair()", "socket.socket()", "asyncio.new_event_loop()"]
)
def test_the_seal_kills_who_touches_a_socket(does: str) -> None:
    program = (
        f"import asyncio, socket; from agent.cli.multisig import airgap; airgap._seal(); {does}"
    )
    folder = Path(__file__).parents[3]
    ended = subprocess.run([sys.executable, "-c", program], cwd=folder, check=False)
    assert ended.returncode == -signal.SIGSYS


def test_a_signer_that_returns_rubbish_is_not_believed(keys: Path) -> None:
    from keep_agent.cli.multisig.signing_keys import CheckedSigner  # noqa: PLC0415

    with open_signer(f"store:{keys}/keys.db#ana", keys / "keys.key") as signer:
        false = CheckedSigner(
            signer.verkey, "token", lambda message: signer.sign(message + b"x")
        )
    with pytest.raises(UnavailableError, match="does not verify"):
        false.sign(b"message")
