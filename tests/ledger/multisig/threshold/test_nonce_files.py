"""Nonces on disk sign at most once, whoever is killed when."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ledger.multisig.frost_parties import (
    MESSAGE,
    SESSION,
    MemoryVault,
    new_session,
)

from keep_ledger.multisig.errors import RefusedError, SpentError
from keep_ledger.multisig.threshold import nonce_files
from keep_ledger.multisig.threshold.dealer import split_new
from keep_ledger.multisig.threshold.frost import commit, sign
from keep_ledger.multisig.threshold.nonce_files import NonceFiles
from keep_ledger.multisig.threshold.shares import Commitment

SHARES = split_new(2, (1, 2, 3))
OTHER = commit(SHARES[1], SESSION, MemoryVault())

SIGNER = """
import os, pathlib, signal, sys
from keep_ledger.multisig.threshold.frost import commit, sign
from keep_ledger.multisig.threshold.shares import Commitment, Share
from keep_ledger.multisig.threshold.nonce_files import NonceFiles

folder = pathlib.Path(sys.argv[1])
share, other = (folder / "given").read_text().splitlines()
share, other = Share.from_text(share), Commitment.from_text(other)
fsync = os.fsync

def signer(place, last):
    left = [last]
    def step():
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    def watch(event, arguments):
        if event in ("open", "os.rename", "os.remove") and str(place) in str(arguments[0]):
            step()
    def synced(descriptor):
        step()
        fsync(descriptor)
        step()
    os.fsync = synced
    sent = open(place / "sent", "w", buffering=1)
    sys.addaudithook(watch)
    files = NonceFiles(place / "nonces")
    mine = commit(share, other.session, files)
    print(mine.to_text(), file=sent)
    step()
    print(sign(share, other.session, b"first", [mine, other], files).to_text(), file=sent)
    os._exit(0)

for last in range(1, 100):
    place = folder / str(last)
    place.mkdir()
    child = os.fork()
    if child == 0:
        signer(place, last)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def test_a_signer_killed_at_any_step_never_signs_twice_and_can_go_on(tmp_path: Path) -> None:
    """Every step: each file opened, renamed, removed, and before and after each sync."""
    (tmp_path / "given").write_text(f"{SHARES[0].to_text()}\n{OTHER.to_text()}")
    subprocess.run([sys.executable, "-c", SIGNER, str(tmp_path)], check=True)
    folders = sorted(tmp_path.glob("[0-9]*"), key=lambda p: int(p.name))
    ended: list[str] = []
    for folder in folders:
        sent = (folder / "sent").read_text().splitlines()
        files = NonceFiles(folder / "nonces")
        ended.append(_second_signature(sent, files))
        again = commit(SHARES[0], SESSION, files)
        assert sign(SHARES[0], SESSION, MESSAGE, [again, OTHER], files).identifier == 1
    assert ended[-1] == "first was sent"
    assert set(ended) == {
        "nothing was sent",
        "second can be sent",
        "neither can be sent",
        "first was sent",
    }
    assert len(ended) > 15


def _second_signature(sent: list[str], files: NonceFiles) -> str:
    """Ask the one who was killed to sign something else with what it had committed to."""
    if not sent:
        return "nothing was sent"
    mine = Commitment.from_text(sent[0])
    try:
        sign(SHARES[0], SESSION, b"second", [mine, OTHER], files)
    except SpentError:
        return "first was sent" if len(sent) > 1 else "neither can be sent"
    assert len(sent) == 1, "both were signed with the same nonces"
    return "second can be sent"


def test_a_share_signs_with_nonces_from_disk(tmp_path: Path) -> None:
    files = NonceFiles(tmp_path / "nonces")
    mine = commit(SHARES[0], SESSION, files)
    assert files.pending() == [mine]
    elsewhere = NonceFiles(tmp_path / "nonces")
    assert sign(SHARES[0], SESSION, MESSAGE, [mine, OTHER], elsewhere).identifier == 1
    assert files.pending() == []
    with pytest.raises(SpentError, match="used, or not made here"):
        sign(SHARES[0], SESSION, b"other", [mine, OTHER], files)


def test_a_later_commitment_replaces_the_earlier_one(tmp_path: Path) -> None:
    files = NonceFiles(tmp_path)
    earlier = commit(SHARES[0], SESSION, files)
    later = commit(SHARES[0], SESSION, files)
    with pytest.raises(SpentError, match="newer"):
        sign(SHARES[0], SESSION, MESSAGE, [earlier, OTHER], files)
    assert sign(SHARES[0], SESSION, MESSAGE, [later, OTHER], files).session == SESSION


def test_sessions_and_members_do_not_disturb_each_other(tmp_path: Path) -> None:
    files = NonceFiles(tmp_path)
    made = [
        commit(share, session, files)
        for share in SHARES
        for session in (SESSION, new_session())
    ]
    assert len(files.pending()) == 6
    assert all(files.take(c).commitment == c for c in made)


def test_a_refusal_after_the_burn_leaves_nothing(tmp_path: Path) -> None:
    files = NonceFiles(tmp_path)
    mine = commit(SHARES[0], SESSION, files)
    with pytest.raises(RefusedError, match="too few"):
        sign(SHARES[0], SESSION, MESSAGE, [mine], files)
    assert files.pending() == []


def test_a_copy_that_is_brought_back_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = NonceFiles(tmp_path / "nonces")
    mine = commit(SHARES[0], SESSION, files)
    shutil.copytree(tmp_path / "nonces", tmp_path / "backup")
    sign(SHARES[0], SESSION, MESSAGE, [mine, OTHER], files)
    monkeypatch.setattr(nonce_files, "_GRACE_NS", 0)
    time.sleep(0.01)
    (tmp_path / "nonces").rename(tmp_path / "old")
    shutil.copytree(tmp_path / "backup", tmp_path / "nonces")
    with pytest.raises(SpentError, match="copied or restored"):
        sign(SHARES[0], SESSION, b"other", [mine, OTHER], files)
    assert files.pending() == []


def test_damaged_nonces_are_removed(tmp_path: Path) -> None:
    files = NonceFiles(tmp_path)
    mine = commit(SHARES[0], SESSION, files)
    place = next(tmp_path.glob("*.nonces"))
    place.write_bytes(b"\xff" + place.read_bytes()[1:])
    assert files.pending() == []
    with pytest.raises(SpentError, match="damaged"):
        sign(SHARES[0], SESSION, MESSAGE, [mine, OTHER], files)
    assert not place.exists()


def test_burning_a_session_leaves_the_others(tmp_path: Path) -> None:
    files = NonceFiles(tmp_path)
    loose = commit(SHARES[0], SESSION, files)
    other = commit(SHARES[0], new_session(), files)
    files.burn(SESSION)
    assert files.pending() == [other]
    with pytest.raises(SpentError):
        sign(SHARES[0], SESSION, MESSAGE, [loose, OTHER], files)


def test_only_one_of_many_at_once_gets_the_nonces(tmp_path: Path) -> None:
    files = NonceFiles(tmp_path)
    mine = commit(SHARES[0], SESSION, files)

    def attempt(number: int) -> bool:
        try:
            sign(SHARES[0], SESSION, bytes([number]), [mine, OTHER], NonceFiles(tmp_path))
        except SpentError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(16))) == 1


def test_nonces_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    files = NonceFiles(tmp_path / "nonces")
    commit(SHARES[0], SESSION, files)
    assert (tmp_path / "nonces").stat().st_mode & 0o777 == 0o700
    for place in (tmp_path / "nonces").iterdir():
        assert place.stat().st_mode & 0o077 == 0


def test_no_nonces_are_given_out_when_forgetting_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = NonceFiles(tmp_path)
    mine = commit(SHARES[0], SESSION, files)

    def full(descriptor: int) -> None:
        raise OSError(28, "no space left")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space left"):
            sign(SHARES[0], SESSION, MESSAGE, [mine, OTHER], files)
    with pytest.raises(SpentError):
        sign(SHARES[0], SESSION, MESSAGE, [mine, OTHER], files)
