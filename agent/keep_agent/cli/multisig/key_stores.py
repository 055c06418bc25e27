"""Stores of keys without an agent: opened for a moment, by one process at a time.

A store is a file, or the data folder of an agent. Its raw key lies in a key file; a store made with a
passphrase has its key derived from that (Argon2i, moderate).
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aries_askar import AskarError, AskarErrorCode, Key, KeyAlg
from aries_askar import Store as Askar

from keep_agent.cli.multisig import secret_input
from keep_agent.errors import BadCommandError, UnavailableError
from keep_agent.identity.keys import NewKey, base58_key
from keep_agent.store.lock import lock_file
from keep_ledger.private_files import sync_folder, write_private

RAW = "raw"
PASSPHRASE = "kdf:argon2i:13:mod"  # noqa: S105 - the name of a method
PROFILE = "main"  # where an agent keeps its own keys, too
_AGENT_FILE, _AGENT_KEY_FILE = "agent.db", "store.key"
_INSTEAD = f"name a key file: --key-file FILE, or {secret_input.KEY_FILE}"


class WrongKeyError(UnavailableError):
    """The key or passphrase does not open the store."""


@dataclass(frozen=True, slots=True)
class Place:
    """A store: its file, and the file with its key; None where a passphrase is typed."""

    path: Path
    key_file: Path | None

    @classmethod
    def of(cls, text: str, key_file: Path | None) -> Place:
        """Find a store's files.

        Args:
            text: a file, or the data folder of an agent.
            key_file: what was asked for; None looks at INDYKEEP_KEY_FILE, then beside the store.

        Raises:
            BadCommandError: the path cannot be written in an address of SQLite.
        """
        if not text or any(letter in text for letter in "?#%"):
            raise BadCommandError("the path of a store is missing, or has one of ? # % in it")
        path = Path(text).absolute()
        if path.is_dir():
            path = path / _AGENT_FILE
        if key_file is None and (given := os.environ.get(secret_input.KEY_FILE)):
            key_file = Path(given)
        beside = path.with_name(_AGENT_KEY_FILE)
        if key_file is None and path.name == _AGENT_FILE and beside.exists():
            key_file = beside
        return cls(path, key_file)


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A key that signs, as a store keeps it.

    Attributes:
        name: what its owner calls it; an agent names its keys by their verkey.
        did: that an agent uses it for, or the one that follows from the key.
    """

    name: str
    verkey: str
    did: str
    key: Key = field(repr=False)


def did_of(verkey: bytes) -> str:
    """Return the DID that a key makes: the first 16 of its 32 bytes, base58."""
    return base58_key(verkey[:16])


async def find(place: Place, name: str) -> Stored:
    """Return the key of that name, DID or verkey.

    Raises:
        BadCommandError: there is none, or more than one: then its verkey must be given.
        UnavailableError: the store does not open.
    """
    async with opened(place) as store:
        keys = await _keys(store)
    named = [key for key in keys if name in (key.name, key.verkey)]
    found = named or [key for key in keys if name == key.did]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(key.verkey for key in found)
        raise BadCommandError(
            f"{name} has several keys in {place.path}: give one's verkey: {several}"
        )
    raise BadCommandError(
        f"no key {name!r} in {place.path}; `indykeep key list store:{place.path}` shows "
        f"the {len(keys)} that are there"
    )


async def all_keys(place: Place) -> list[Stored]:
    """Return all keys that can sign, by name.

    Raises:
        BadCommandError, UnavailableError: the store does not open.
    """
    async with opened(place) as store:
        return sorted(await _keys(store), key=lambda key: key.name)


async def add(place: Place, name: str, seed: bytes | None) -> Stored:
    """Make a key, or take that of a seed; a store that is not there is made, with its key file.

    Raises:
        BadCommandError: the name or the key is there already.
        UnavailableError: the store does not open.
    """
    new = NewKey.generate({}, seed)
    async with opened(place, make=True) as store:
        for key in await _keys(store):
            if name in (key.name, key.verkey, key.did):
                raise BadCommandError(f"there is a key {name!r} in {place.path} already")
            if new.verkey == key.verkey:
                raise BadCommandError(f"this key is in {place.path} already, named {key.name}")
        async with store.session(PROFILE) as session:
            await session.insert_key(name, new.key)
    raw = new.key.get_public_bytes()
    return Stored(name, new.verkey, did_of(raw), new.key)


@asynccontextmanager
async def opened(place: Place, *, make: bool = False) -> AsyncGenerator[Askar]:
    """Hold a store, and its lock, which an agent holds as long as it runs.

    Args:
        make: a store that is not there, and its key file.

    Raises:
        BadCommandError: no store, no key file, or no terminal for its passphrase.
        UnavailableError: another process has it (names it), or the key is wrong.
    """
    if not make and not place.path.exists():
        raise BadCommandError(f"there is no store {place.path}; `indykeep key new` makes one")
    if not place.path.parent.is_dir():
        raise BadCommandError(f"there is no folder {place.path.parent}")
    lock = lock_file(place.path.with_suffix(place.path.suffix + ".lock"))
    try:
        store = await _open(place) if place.path.exists() else await _provision(place)
        try:
            yield store
        finally:
            await store.close()
    finally:
        os.close(lock)


def method(place: Place, *, new: bool = False) -> tuple[str, str]:
    """Return how a store is locked, and its secret: read from the key file, or typed.

    Raises:
        BadCommandError: no such file, no key in it, or no terminal.
    """
    if place.key_file is not None:
        return RAW, secret_input.raw_key(place.key_file)
    question = f"{'New passphrase' if new else 'Passphrase'} of {place.path}: "
    return PASSPHRASE, (secret_input.ask_twice if new else secret_input.ask)(question, _INSTEAD)


def uri(path: Path) -> str:
    """Return the address of a store's file: every commit is on the disk when it returns."""
    return f"sqlite://{path}?synchronous=FULL"


async def rekey(store: Askar, place: Place, key_file: Path, raw: str) -> None:
    """Give a store another raw key, kept in `key_file`, so that a kill at any point locks nobody out.

    The new key is beside the key file before the store takes it; see `_open` for what is left then.

    Raises:
        UnavailableError: the store keeps its old key.
    """
    write_private(_next(key_file), f"{raw}\n")
    try:
        await store.rekey(RAW, raw)
    except AskarError as error:
        raise UnavailableError(f"{place.path} keeps its old key: {error}") from error
    _settle(key_file)


async def _open(place: Place) -> Askar:
    """Open a store; where a change of its key was cut short after the store took it, end that."""
    cut_short = None if place.key_file is None else _next(place.key_file)
    if place.key_file is None or cut_short is None or not cut_short.exists():
        return await _unlock(place, *method(place))
    if place.key_file.exists():
        with suppress(WrongKeyError):
            return await _unlock(place, *method(place))
    store = await _unlock(place, RAW, secret_input.raw_key(cut_short))
    _settle(place.key_file)
    return store


async def _unlock(place: Place, how: str, secret: str) -> Askar:
    try:
        return await Askar.open(uri(place.path), how, secret)
    except AskarError as error:
        raise _why_not(place, error) from error


def _next(key_file: Path) -> Path:
    return key_file.with_name(f"{key_file.name}.next")


def _settle(key_file: Path) -> None:
    _next(key_file).replace(key_file)
    sync_folder(key_file.parent)


async def _provision(place: Place) -> Askar:
    """Make a store under another name first: a crash leaves none that cannot be opened."""
    if place.key_file is not None and not place.key_file.exists():
        write_private(place.key_file, f"{secret_input.new_raw_key()}\n")
    how, secret = method(place, new=True)
    draft = place.path.with_name(f"{place.path.name}.new")
    try:
        store = await Askar.provision(uri(draft), how, secret, profile=PROFILE, recreate=True)
        await store.close()
        draft.chmod(0o600)
        draft.replace(place.path)
        sync_folder(place.path.parent)
        return await Askar.open(uri(place.path), how, secret)
    except AskarError as error:
        raise UnavailableError(f"cannot make the store {place.path}: {error}") from error
    except OSError as error:
        raise UnavailableError(f"{place.path}: {error.strerror}") from error


async def _keys(store: Askar) -> list[Stored]:
    found: list[Stored] = []
    for profile in await store.list_profiles():
        async with store.session(profile) as session:
            entries = list(await session.fetch_all_keys(alg=KeyAlg.ED25519))
        found += [_stored(entry.name, entry.key, entry.metadata) for entry in entries]
    return found


def _stored(name: str, key: Key, metadata: str) -> Stored:
    import json  # noqa: PLC0415

    raw = key.get_public_bytes()
    did = json.loads(metadata).get("did") if metadata else None
    return Stored(name, base58_key(raw), did or did_of(raw), key)


def _why_not(place: Place, error: AskarError) -> UnavailableError:
    if error.code not in (AskarErrorCode.ENCRYPTION, AskarErrorCode.INPUT):
        why = "; ".join(str(error).splitlines())
        return UnavailableError(f"cannot open the store {place.path}: {why}")
    if place.key_file is None:
        return WrongKeyError(
            f"this passphrase does not open {place.path}; if the store has a key file, {_INSTEAD}"
        )
    return WrongKeyError(f"the key in {place.key_file} does not open the store {place.path}")
