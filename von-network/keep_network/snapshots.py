"""Keep the state of a network under a name, go back to it, or to the very beginning."""

from __future__ import annotations

import argparse
import shutil
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path

from keep_network import arguments, control, genesis, processes, record, website
from keep_network.arguments import Verbs, folder_of, say
from keep_network.control import AS_BEFORE
from keep_network.errors import BadInputError, NetworkError
from keep_network.record import Network

FOLDER = "snapshots"
_STATE = (*genesis.MADE, "etc", record.FILE)
_NEEDED = ("keys", "genesis", record.FILE)
_DRAFT = "restoring"


def add_verbs(verbs: Verbs) -> None:
    """Add `snapshot`, `restore` and `reset`."""
    snapshot = arguments.verb(verbs, "snapshot", _snapshot, "save the state under a name")
    restore = arguments.verb(verbs, "restore", _restore, "go back to a snapshot")
    for verb in (snapshot, restore):
        verb.add_argument("snapshot", type=arguments.network_name, metavar="NAME")
    arguments.verb(verbs, "reset", _reset, "empty the ledgers; ports and snapshots stay")


def snapshot(folder: Path, name: str) -> Path:
    """Pack the state of a network into a file; a running network is stopped meanwhile.

    Raises:
        BadInputError: the name is taken.
        NetworkError: there is nothing to keep yet.
    """
    network = control.find(folder)
    file = _file(folder, name)
    if file.exists():
        raise BadInputError(f"there is a snapshot {name} already; delete {file} first")
    if not network.made:
        raise NetworkError(f"{network.name} was never started")
    with record.held(folder):
        file.parent.mkdir(exist_ok=True)
        again = _stopped(network)
        draft = file.with_suffix(".new")
        try:
            with tarfile.open(draft, "w:gz", compresslevel=1) as tar:
                for part in _STATE:
                    if (folder / part).exists():  # a network that never ran has no data
                        tar.add(folder / part, part)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)
            again()
    return file


def restore(folder: Path, name: str) -> None:
    """Put the state of a snapshot in the place of today's; the network runs if it ran before.

    Raises:
        BadInputError: there is no such snapshot; it names those that exist.
        NetworkError: it is damaged; nothing was changed.
    """
    network = control.find(folder)
    file = _file(folder, name)
    if not file.exists():
        known = sorted(one.name.removesuffix(".tar.gz") for one in file.parent.glob("*.tar.gz"))
        hint = f"there are: {', '.join(known)}" if known else "there is none"
        raise BadInputError(f"there is no snapshot {name}; {hint}")
    with record.held(folder):
        draft = _unpack(folder, file)
        again = _stopped(network)
        for part in _STATE:
            _remove(folder / part)
            if (draft / part).exists():
                (draft / part).replace(folder / part)
        shutil.rmtree(draft)
        _forget_copy(folder)
        again()


def reset(folder: Path) -> None:
    """Empty the ledgers: genesis alone is left; the network runs if it ran before."""
    network = control.find(folder)
    with record.held(folder):
        again = _stopped(network)
        record.save(replace(network, made=False, added=()))
        for part in genesis.MADE:
            _remove(folder / part)
        _forget_copy(folder)
        again()


def _stopped(network: Network) -> control.Again:
    """End the nodes, and return what starts those that ran as they were."""
    running = processes.load(network.folder)
    if not running:
        return control.stay_down
    owner = running[0].die_with
    say(f"stopping {network.name} for a moment")
    control.end_all(network.folder)
    wish = replace(AS_BEFORE, die_with=owner)
    return lambda: control.bring_up(record.load(network.folder), wish, say)


def _unpack(folder: Path, file: Path) -> Path:
    draft = folder / _DRAFT
    _remove(draft)
    try:
        with tarfile.open(file) as tar:
            tar.extractall(draft, filter="data")
        _check(draft)
    except (tarfile.TarError, zlib.error, EOFError, OSError, NetworkError) as error:
        _remove(draft)
        raise NetworkError(f"{file} cannot be unpacked: {error}") from error
    return draft


def _check(draft: Path) -> None:
    missing = [part for part in _NEEDED if not (draft / part).exists()]
    if missing:
        raise NetworkError(f"it has no {missing[0]}")
    record.load(draft)


def _forget_copy(folder: Path) -> None:
    """Remove the web server's copy of the ledgers: it is of another history now."""
    for file in (folder / website.FOLDER).glob("ledger.db*"):
        file.unlink()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _file(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.tar.gz"


def _snapshot(args: argparse.Namespace) -> None:
    file = snapshot(folder_of(args), args.snapshot)
    say(f"{file}: {file.stat().st_size / 1e6:.1f} MB")


def _restore(args: argparse.Namespace) -> None:
    restore(folder_of(args), args.snapshot)
    say(f"{arguments.name_of(args)} is as it was in {args.snapshot}")


def _reset(args: argparse.Namespace) -> None:
    reset(folder_of(args))
    say(f"{arguments.name_of(args)} is empty")
