"""Nonces on disk: deleted durably before they are returned."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from keep_ledger.multisig.errors import SpentError
from keep_ledger.multisig.threshold.curve import sha256
from keep_ledger.multisig.threshold.shares import Commitment, Nonces
from keep_ledger.private_files import burn, sync_folder, write_private

_GRACE_NS = 60 * 10**9


class NonceFiles:
    """A `frost.Vault` in a folder of its own: one file per group, member and session.

    A file is written under another name, synced and renamed. Before nonces are returned, the file is
    overwritten, synced and removed, and the folder is synced: after a crash at any point the nonces are
    either there and unused, or gone. A lock excludes other processes.

    A restored copy would be a second use, so a file whose inode changed more than a minute after it was
    written (copied, restored, owner changed) is refused and removed. A snapshot of the whole machine
    cannot be detected: do not resume one while a signature is pending. Overwriting does not reach the
    cells of a flash disk. Leave this folder out of backups.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, nonces: Nonces) -> None:
        """Store them, and delete older ones of the same group, member and session."""
        with self._locked():
            place = self._place(nonces.commitment)
            if place.exists():
                self._delete(place)
            write_private(place, f"{time.time_ns()}\n{nonces.to_text()}")

    def take(self, commitment: Commitment) -> Nonces:
        """Delete the nonces of exactly this commitment, then return them.

        Raises:
            SpentError: they are not there, were replaced by newer ones (which stay), or are a copy.
        """
        with self._locked():
            place = self._place(commitment)
            if not place.exists():
                raise SpentError(
                    "there are no nonces for this commitment: they were used, or not made here"
                )
            made, nonces = _read(place)
            if nonces is not None and nonces.commitment != commitment:
                raise SpentError("a newer commitment was made in this session: send that one")
            changed = place.stat().st_ctime_ns
            self._delete(place)
            if nonces is None:
                raise SpentError("the nonces were damaged and have been removed")
            if changed - made > _GRACE_NS:
                raise SpentError(
                    "these nonces were copied or restored: they may have been used already"
                )
            return nonces

    def pending(self) -> list[Commitment]:
        """The commitments whose nonces are still here; each can still become a signature."""
        with self._locked():
            found = [_read(place)[1] for place in sorted(self._folder.glob("*.nonces"))]
        return [nonces.commitment for nonces in found if nonces is not None]

    def burn(self, session: bytes) -> None:
        """Delete all nonces of a session: its commitments can never become a signature."""
        with self._locked():
            for place in self._folder.glob("*.nonces"):
                nonces = _read(place)[1]
                if nonces is None or nonces.commitment.session == session:
                    self._delete(place)

    def _place(self, commitment: Commitment) -> Path:
        slot = commitment.group + bytes([commitment.identifier]) + commitment.session
        return self._folder / f"{sha256(slot).hex()}.nonces"

    def _delete(self, place: Path) -> None:
        burn(place)
        sync_folder(self._folder)

    @contextmanager
    def _locked(self) -> Generator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(self._folder / "lock", flags, 0o600), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _read(place: Path) -> tuple[int, Nonces | None]:
    """When the file was made, and the nonces; None for a file that cannot be read."""
    try:
        made, _, text = place.read_text().partition("\n")
        return int(made), Nonces.from_text(text)
    except ValueError:
        return 0, None
