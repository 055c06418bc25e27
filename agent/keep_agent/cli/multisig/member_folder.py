"""A member's private folder for the key of a group: every step is stored here before it is shown.

| file | what | until |
|---|---|---|
| `begun.json` | secrets of the ceremony, from round one on | confirmed |
| `hellos.json` | the files of round one that round two used; others are not accepted | confirmed |
| `unconfirmed.json` | the share, before people have compared the digest | confirmed |
| `share.json` | the share: secret | for ever |
| `nonces/` | nonces of signatures under way: leave them out of backups | used |
| `drills/` | records of drills | for ever |
| `send/` | files for others; secrets in them are encrypted | |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from keep_agent.cli.multisig.input_files import Value, read_value
from keep_agent.errors import BadCommandError, NotNowError
from keep_ledger.multisig.recovery.slip39 import Label
from keep_ledger.multisig.threshold.dkg_files import Begun, Hello
from keep_ledger.multisig.threshold.nonce_files import NonceFiles
from keep_ledger.multisig.threshold.share_drill import Challenge, Drill
from keep_ledger.multisig.threshold.shares import Digest, Share, Wire, reason
from keep_ledger.private_files import sync_folder, write_private


class HeldShare(Wire):
    """A share and what its owner knows about it. Secret.

    Attributes:
        name: of the group.
        agreed: the digest that people compared; None for a key that one person split.
    """

    KIND = "group-held/1"
    name: Label
    agreed: Digest | None
    share: Share


class Hellos(Wire):
    """The files of round one that a member used."""

    KIND = "group-hellos/1"
    hellos: tuple[Hello, ...]


@dataclass(frozen=True, slots=True)
class Folder:
    """A member's private folder. What it reads is checked; what it writes is complete or not there."""

    path: Path

    @classmethod
    def of(cls, path: Path) -> Folder:
        """Open an existing folder.

        Raises:
            BadCommandError: it is not a folder, or open to others.
        """
        if not path.is_dir():
            raise BadCommandError(
                f"there is no folder {path}; `indykeep group begin` makes one"
            )
        if path.stat().st_mode & 0o077:
            raise BadCommandError(
                f"{path} is open to other users of this machine: chmod 700 {path}"
            )
        return cls(path)

    @classmethod
    def new(cls, path: Path, *, make: bool = True) -> Folder:
        """Open a new folder, or one that has only files of these commands.

        Args:
            make: make a missing folder.

        Raises:
            BadCommandError: it has other files, or cannot be made.
        """
        if path.is_dir() and not cls(path).has_share() and _has_other_files(path):
            raise BadCommandError(f"{path} is not empty: use a folder for each share")
        if not make and not path.exists():
            return cls(path)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(path.parent)
        except OSError as error:
            raise BadCommandError(f"{path}: {error.strerror}") from error
        return cls.of(path)

    def held(self) -> HeldShare:
        """Return the share with what is known about it.

        Raises:
            NotNowError: there is no share yet; says what to do.
        """
        held = self._read("share.json", HeldShare)
        if held is None:
            todo = "is begun but not finished" if self.begun() else "has no share"
            if self.unconfirmed() is not None:
                todo = "is finished but not confirmed: `indykeep group confirm`"
            raise NotNowError(f"{self.path} {todo}")
        return held

    def share(self) -> Share:
        """Return the share; see `held`."""
        return self.held().share

    def has_share(self) -> bool:
        """Whether there is a confirmed share."""
        return (self.path / "share.json").exists()

    def nonces(self) -> NonceFiles:
        """The nonces of this share."""
        return NonceFiles(self.path / "nonces")

    def begun(self) -> Begun | None:
        """Return the state of a ceremony that is not confirmed yet."""
        return self._read("begun.json", Begun)

    def hellos(self) -> tuple[Hello, ...]:
        """Return the files of round one that this member used; empty before round two."""
        found = self._read("hellos.json", Hellos)
        return () if found is None else found.hellos

    def unconfirmed(self) -> HeldShare | None:
        """Return the share before people have compared the digest."""
        return self._read("unconfirmed.json", HeldShare)

    def keep_begun(self, begun: Begun) -> None:
        """Store the state of a ceremony."""
        write_private(self.path / "begun.json", begun.to_text())

    def keep_hellos(self, hellos: Sequence[Hello]) -> None:
        """Store the files of round one; others are not accepted from now on."""
        write_private(self.path / "hellos.json", Hellos(hellos=tuple(hellos)).to_text())

    def keep_unconfirmed(self, held: HeldShare) -> None:
        """Store a share until people have compared the digest."""
        write_private(self.path / "unconfirmed.json", held.to_text())

    def keep_share(self, held: HeldShare) -> None:
        """Store a share for ever, then delete what it was made of, which is as secret."""
        write_private(self.path / "share.json", held.to_text())
        for name in ("unconfirmed.json", "begun.json", "hellos.json"):
            (self.path / name).unlink(missing_ok=True)
        sync_folder(self.path)

    def drills(self) -> list[Drill]:
        """Return the records of drills."""
        return [
            read_value(path, Drill) for path in sorted((self.path / "drills").glob("*.json"))
        ]

    def keep_drill(self, drill: Drill) -> None:
        """Store the record of a drill."""
        folder = self.path / "drills"
        folder.mkdir(mode=0o700, exist_ok=True)
        write_private(folder / f"{_stamp(drill.challenge)}.json", drill.to_text())

    def hand_out(self, name: str, value: Wire, out: Path | None) -> Path:
        """Write a file for others to `out` or the folder `send`; return its path."""
        folder = self.path / "send" if out is None else out
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise BadCommandError(f"{folder}: {error.strerror}") from error
        write_private(folder / name, value.to_text())
        return folder / name

    def _read(self, name: str, kind: type[Value]) -> Value | None:
        path = self.path / name
        return read_value(path, kind) if path.exists() else None


def _has_other_files(path: Path) -> bool:
    """Whether a folder has other files than a ceremony; half-written files do not count."""
    names = {entry.name for entry in path.iterdir() if entry.suffix != ".new"}
    return bool(names) and "begun.json" not in names


def checked_name(text: str) -> str:
    """Check the name of a group, and return it.

    Raises:
        BadCommandError: it is empty, too long, or has invisible characters.
    """
    try:
        return TypeAdapter[str](Label).validate_python(text)
    except ValidationError as error:
        raise BadCommandError(f"that is not a name for a group: {reason(error)}") from error


def _stamp(challenge: Challenge) -> str:
    return f"{challenge.at:%Y%m%dT%H%M%S}-{challenge.digest.hex()[:8]}"
