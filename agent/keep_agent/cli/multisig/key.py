"""`indykeep key`: make, import, list and show signing keys."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from keep_agent.cli.multisig import secret_input
from keep_agent.cli.multisig.output import note, say
from keep_agent.cli.multisig.signing_keys import SHARE, STORE, TOKEN, open_share, store_place
from keep_agent.errors import BadCommandError
from keep_agent.identity.keys import base58_key
from keep_ledger.json_object import Json

if TYPE_CHECKING:
    from keep_agent.cli.multisig import key_stores

_EXAMPLES = """where a key is:
  store:PATH#NAME          a key in an encrypted store; PATH is a file, or the data folder of an agent that
                           is not running; NAME is your name for the key, its DID or its verkey
  pkcs11:token=LABEL;object=LABEL?module-path=FILE     a key in a token (RFC 7512)
  frost:FOLDER             your share of a group's key (`indykeep group`)

examples:
  indykeep key new store:keys.db#ana --key-file keys.key      also makes the store and its key file
  indykeep key new store:keys.db#ana                          asks for a passphrase instead
  indykeep key import store:keys.db#ana < seed.txt            the seed of an existing trustee
  indykeep key new 'pkcs11:token=trustees;object=ana?module-path=/usr/lib/softhsm/libsofthsm2.so'
  indykeep key list store:indykeep-data
  indykeep key show store:keys.db#ana

Secrets are never part of a command line. The key of a store is read from --key-file, from the file in
INDYKEEP_KEY_FILE, or from store.key beside an agent's store, or a passphrase is typed. The PIN of a token is
read from ?pin-source=file:PATH or from the file in INDYKEEP_PIN_FILE, or typed.
"""


def main(words: list[str]) -> int:
    """Run `indykeep key`."""
    args = _parser().parse_args(words)
    found: list[Json] = args.do(args)
    if args.json:
        say(json.dumps(found if args.many else found[0], indent=2))
    else:
        say("\n\n".join(_shown(each) for each in found) or "There is no signing key.")
    if args.new and not args.json:
        note(_next(args.where))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="indykeep key",
        description="Make, import, list and show signing keys.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="new|list|show|import")
    for name, do, what in (
        ("new", _new, "make a key"),
        ("import", _import, "import the key of a seed from standard input or a file"),
        ("show", _show, "show the DID and verkey of a key"),
        ("list", _list, "list the keys of a store or a token"),
    ):
        command = commands.add_parser(name, help=what, description=f"{what.capitalize()}.")
        command.add_argument(
            "where", metavar="WHERE", help="where the key is: see `indykeep key --help`"
        )
        command.add_argument(
            "--key-file", type=Path, metavar="FILE", help="file with the raw key of the store"
        )
        command.add_argument("--json", action="store_true", help="print JSON")
        if name == "import":
            command.add_argument(
                "--seed-file",
                type=Path,
                metavar="FILE",
                help="file with the seed, instead of standard input",
            )
        command.set_defaults(do=do, many=name == "list", new=name in ("new", "import"))
    return parser


def _new(args: argparse.Namespace) -> list[Json]:
    if args.where.startswith(TOKEN):
        from keep_agent.cli.multisig import pkcs11_tokens  # noqa: PLC0415

        return [
            _public(
                pkcs11_tokens.Address.parse(args.where).label or "",
                pkcs11_tokens.make(args.where),
            )
        ]
    return [_kept(args, None)]


def _import(args: argparse.Namespace) -> list[Json]:
    if args.where.startswith(TOKEN):
        raise BadCommandError(
            "a key that was outside a token may have been copied: make a new one in the token "
            "(`indykeep key new`) and rotate the DID to it"
        )
    _named(args)
    return [_kept(args, secret_input.seed(args.seed_file))]


def _show(args: argparse.Namespace) -> list[Json]:
    where: str = args.where
    if where.startswith(TOKEN):
        from keep_agent.cli.multisig import pkcs11_tokens  # noqa: PLC0415

        return [
            _public(pkcs11_tokens.Address.parse(where).label or "", pkcs11_tokens.read(where))
        ]
    if where.startswith(SHARE):
        share, _ = open_share(where)
        return [_public(f"group, your share is number {share.identifier}", share.group.key)]
    from keep_agent.cli.multisig import key_stores, offline_loop  # noqa: PLC0415

    place, name = _named(args)
    return [_stored(offline_loop.run(key_stores.find(place, name)))]


def _list(args: argparse.Namespace) -> list[Json]:
    if args.where.startswith(TOKEN):
        from keep_agent.cli.multisig import pkcs11_tokens  # noqa: PLC0415

        return [_public(label, verkey) for label, verkey in pkcs11_tokens.all_keys(args.where)]
    from keep_agent.cli.multisig import key_stores, offline_loop  # noqa: PLC0415

    place, name = store_place(_store(args.where), args.key_file)
    if name:
        raise BadCommandError("list shows all keys of a store: leave out #NAME")
    return [_stored(key) for key in offline_loop.run(key_stores.all_keys(place))]


def _kept(args: argparse.Namespace, seed: bytes | None) -> Json:
    from keep_agent.cli.multisig import key_stores, offline_loop  # noqa: PLC0415

    place, name = _named(args)
    return _stored(offline_loop.run(key_stores.add(place, name, seed)))


def _named(args: argparse.Namespace) -> tuple[key_stores.Place, str]:
    place, name = store_place(_store(args.where), args.key_file)
    if not name or name != name.strip() or not name.isprintable():
        raise BadCommandError("the key needs a name: store:PATH#NAME")
    return place, name


def _store(where: str) -> str:
    if not where.startswith(STORE):
        raise BadCommandError(f"{where[:80]!r} is neither store:PATH#NAME nor pkcs11:...")
    return where


def _stored(key: key_stores.Stored) -> Json:
    return {"name": key.name, "did": key.did, "verkey": key.verkey}


def _public(name: str, verkey: bytes) -> Json:
    return {"name": name, "did": base58_key(verkey[:16]), "verkey": base58_key(verkey)}


def _shown(key: Json) -> str:
    return f"{key['name']}\n  DID     {key['did']}\n  verkey  {key['verkey']}"


def _next(where: str) -> str:
    copy = (
        "This key exists only in the token: make sure that other trustees can replace it."
        if where.startswith(TOKEN)
        else "Keep a copy of the store and, elsewhere, of its key (`indykeep recovery split`)."
    )
    return f"\nGive the DID and the verkey to a trustee, who registers them. {copy}"
