"""Genesis transactions of an Indy pool: read, merged by node, checked, and pinned after first use.

All trust in a ledger starts with them: whoever can change them can pretend to be the ledger.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from keep_ledger.errors import GenesisError
from keep_ledger.indy.cache_files import read_text, write_text
from keep_ledger.indy.pool_transactions import merged, objects
from keep_ledger.plugins import Fetch

_MAX_BYTES = 1024 * 1024
_FETCH_TIMEOUT_S = 15.0
_PINNED = "genesis.jsonl"


@dataclass(frozen=True, slots=True)
class Genesis:
    """The first pool transactions, or a whole exported pool ledger.

    Attributes:
        lines: one transaction each, in canonical JSON; their content is as it came, since the nodes hash it.
        digest: hex SHA-256 of the lines: white space does not count.
        validators: the names of the nodes that are validators after the last transaction.
    """

    lines: tuple[str, ...]
    digest: str
    validators: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read NODE transactions, usually one per line; later ones of a node change what they name.

        Raises:
            GenesisError: it is something else, or a validator has no usable address or key.
        """
        found = list(objects(text.removeprefix("\ufeff")))
        validators = merged(found)
        lines = tuple(line for _, line in found)
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        return cls(lines, digest, validators)

    @property
    def text(self) -> str:
        """The lines as one text, as indy-vdr reads it."""
        return "\n".join(self.lines) + "\n"

    def begins(self, other: Genesis) -> bool:
        """Whether the other one has these transactions, and perhaps more after them."""
        return other.lines[: len(self.lines)] == self.lines


def check_file(source: str | None) -> None:
    """Read a genesis that is a file now, so that a wrong setting is told before anything starts.

    A URL is left alone: whoever serves it may answer later.

    Raises:
        GenesisError: there is no such file, it cannot be read, or it is not a genesis.
    """
    if source is None:
        raise GenesisError("no genesis is configured")
    if _is_url(source):
        return
    path = Path(source).absolute()
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise GenesisError(f"cannot read the genesis {path}: {error.strerror}") from error
    try:
        Genesis.parse(_text(raw, source))
    except GenesisError as error:
        raise GenesisError(f"{path} is not a genesis ({error})") from error


async def load(source: str, fetch: Fetch, folder: Path | None) -> Genesis:
    """Read the genesis and compare it with the one that was used first.

    Args:
        source: path of a file, or an http(s) URL. If the URL does not answer, the pinned copy is used.
        fetch: downloads the URL.
        folder: where the pinned copy is; None pins nothing.

    Raises:
        GenesisError: missing, malformed, or not the pinned one.
    """
    pinned = await asyncio.to_thread(_read_pinned, folder) if folder else None
    try:
        genesis = Genesis.parse(await _get(source, fetch))
    except OSError as error:
        if pinned is None or not _is_url(source):
            raise GenesisError(f"cannot get the genesis from {source}: {error}") from error
        return pinned
    if pinned is not None and pinned.digest != genesis.digest:
        raise GenesisError(
            f"the genesis at {source} is not the one that was used first (it was"
            f" {pinned.digest[:16]}, it is {genesis.digest[:16]}). If the network was really set up"
            f" again, delete the folder {folder} and start again; if not, trust neither and ask who runs it."
        )
    if pinned is None and folder is not None:
        await asyncio.to_thread(write_text, folder / _PINNED, genesis.text)
    return genesis


def _read_pinned(folder: Path) -> Genesis | None:
    text = read_text(folder / _PINNED)
    return None if text is None else Genesis.parse(text)


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


async def _get(source: str, fetch: Fetch) -> str:
    """The text at `source`; OSError if it cannot be read."""
    if _is_url(source):
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_S):
                raw = await fetch(source)
        except TimeoutError as error:
            raise OSError(f"no answer within {_FETCH_TIMEOUT_S:g} s") from error
    else:
        raw = await asyncio.to_thread(Path(source).read_bytes)
    return _text(raw, source)


def _text(raw: bytes, source: str) -> str:
    if len(raw) > _MAX_BYTES:
        raise GenesisError(f"the genesis at {source} has more than {_MAX_BYTES} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise GenesisError(f"the genesis at {source} is not text") from error
