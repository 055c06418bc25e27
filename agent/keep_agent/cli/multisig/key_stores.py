"""Key stores: opened for a short time, by one process at a time.

A store is a file, or is in the data folder of an agent. Its raw key is in a key file, or is derived from a
passphrase (Argon2i, moderate).
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
from keep_ledger.wording import counted

RAW = "raw"
PASSPHRASE = "kdf:argon2i:13:mod"  # noqa: S105 - the name of a method
PROFILE = "main"  # where an agent keeps its own keys, too
_AGENT_FILE, _AGENT_KEY_FILE = "agent.db", "store.key"
_INSTEAD = f"name a key file: --key-file FILE, or {secret_input.KEY_FILE}"


class WrongKeyError(UnavailableError):
    """The key or passphrase does not open the store."""


@dataclass(frozen=True, slots=True)
class Place:
    """The file of a store, and the file with its key; None if a passphrase is typed."""

    path: Path
    key_file: Path | None

    @classmethod
    def of(cls, text: str, key_file: Path | None) -> Place:
        """Find a store's files.

        Args:
            text: a file, or the data folder of an agent.
            key_file: as given; None: use INDYKEEP_KEY_FILE, or the key file beside an agent's store.

        Raises:
            BadCommandError: the path cannot be part of an SQLite URL.
        """
        if not text or any(letter in text for letter in "?#%"):
            raise BadCommandError("the path of the store is missing, or has one of ? # %")
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
    """A signing key in a store.

    Attributes:
        name: given by its owner; an agent names its keys by their verkey.
        did: the DID of an agent's key, or the DID that follows from the key.
    """

    name: str
    verkey: str
    did: str
    key: Key = field(repr=False)


def did_of(verkey: bytes) -> str:
    """Return the DID that follows from a key: its first 16 bytes in base58."""
    return base58_key(verkey[:16])


async def find(place: Place, name: str) -> Stored:
    """Return the key with this name, DID or verkey.

    Raises:
        BadCommandError: there is none, or there are several: then give the verkey.
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
            f"{name} has several keys in {place.path}: give one of the verkeys {several}"
        )
    raise BadCommandError(
        f"no key {name!r} in {place.path}; `indykeep key list store:{place.path}` shows "
        f"what is there ({counted(len(keys), 'key')})"
    )


async def all_keys(place: Place) -> list[Stored]:
    """Return all signing keys, by name.

    Raises:
        BadCommandError, UnavailableError: the store does not open.
    """
    async with opened(place) as store:
        return sorted(await _keys(store), key=lambda key: key.name)


async def add(place: Place, name: str, seed: bytes | None) -> Stored:
    """Make a key, or import that of a seed; a missing store is made, with its key file.

    Raises:
        BadCommandError: the name or the key exists already.
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
    """Open a store with its lock, which an agent holds while it runs.

    Args:
        make: make a missing store and its key file.

    Raises:
        BadCommandError: there is no store, no key file, or no terminal for the passphrase.
        UnavailableError: another process uses it (the error names it), or the key is wrong.
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
    """Return the key method of a store and its secret, from the key file or typed.

    Raises:
        BadCommandError: there is no such file, no key in it, or no terminal.
    """
    if place.key_file is not None:
        return RAW, secret_input.raw_key(place.key_file)
    question = f"{'New passphrase' if new else 'Passphrase'} of {place.path}: "
    return PASSPHRASE, (secret_input.ask_twice if new else secret_input.ask)(question, _INSTEAD)


def uri(path: Path) -> str:
    """Return the URL of a store's file; every commit is synced to disk."""
    return f"sqlite://{path}?synchronous=FULL"


async def rekey(store: Askar, place: Place, key_file: Path, raw: str) -> None:
    """Give a store another raw key, written to `key_file`; after a kill at any point it still opens.

    The new key is written beside the key file before the store changes; `_open` finishes the rest.

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
    """Open a store, and finish a change of its key that was interrupted."""
    interrupted = None if place.key_file is None else _next(place.key_file)
    if place.key_file is None or interrupted is None or not interrupted.exists():
        return await _unlock(place, *method(place))
    if place.key_file.exists():
        with suppress(WrongKeyError):
            return await _unlock(place, *method(place))
    store = await _unlock(place, RAW, secret_input.raw_key(interrupted))
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
    """Make a store under another name first, so that a crash does not leave a broken one."""
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
