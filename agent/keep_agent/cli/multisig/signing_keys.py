"""Signing keys: a key in a store, a key in a token, or a share of a group's key.

| where | what |
|---|---|
| `store:PATH#NAME` | a key in an Askar store; PATH is a file or an agent's data folder, NAME the key's name, DID or verkey |
| `pkcs11:token=LABEL;object=LABEL?module-path=FILE` | a key in a token (RFC 7512) |
| `frost:FOLDER` | a share of a group's key: see `open_share` |

No socket is opened here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from keep_agent.errors import BadCommandError, UnavailableError

if TYPE_CHECKING:
    from keep_agent.cli.multisig.key_stores import Place
    from keep_ledger.multisig.threshold.nonce_files import NonceFiles
    from keep_ledger.multisig.threshold.shares import Share

STORE, TOKEN, SHARE = "store:", "pkcs11:", "frost:"  # what `where` begins with
_KINDS = "store:PATH#NAME, pkcs11:token=LABEL;object=LABEL?module-path=FILE, or frost:FOLDER for a share"


class Signer(Protocol):
    """A signing key of one person."""

    @property
    def verkey(self) -> bytes:
        """The public key: 32 bytes, Ed25519."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature, 64 bytes, verified before it is returned.

        Raises:
            UnavailableError: the key is not available, or the signature does not verify.
        """
        ...


@dataclass(frozen=True, slots=True)
class CheckedSigner:
    """A signer that verifies every signature with its verkey before it is returned."""

    verkey: bytes
    where: str
    make: Callable[[bytes], bytes] = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """Return the signature; see `Signer`."""
        from keep_ledger.multisig.signatures import verifies  # noqa: PLC0415 - of the extra

        signature = self.make(message)
        if not verifies(self.verkey, message, signature):
            raise UnavailableError(
                f"{self.where} made a signature that does not verify; it is not used. "
                "Do not use this key again before you know why"
            )
        return signature


@contextmanager
def open_signer(where: str, key_file: Path | None = None) -> Generator[Signer]:
    """Open a signing key of one person.

    Args:
        where: see the module.
        key_file: of a store; None: use INDYKEEP_KEY_FILE, or the key file beside an agent's store, or ask
            for a passphrase. The PIN of a token comes from its `pin-source`, from INDYKEEP_PIN_FILE, or
            is asked for.

    Raises:
        BadCommandError: the address is wrong, there is no such key, or a secret is missing.
        UnavailableError: the store or token does not open: locked, in use, wrong key or PIN.
    """
    if where.startswith(STORE):
        yield _from_store(where, key_file)
    elif where.startswith(TOKEN):
        from keep_agent.cli.multisig import pkcs11_tokens  # noqa: PLC0415

        with pkcs11_tokens.opened(where) as (verkey, make):
            yield CheckedSigner(verkey, where.partition("?")[0], make)
    elif where.startswith(SHARE):
        raise BadCommandError(
            f"{where} is a share: it signs only together with others, in rounds"
        )
    else:
        raise BadCommandError(f"{where[:80]!r} is not the address of a key: {_KINDS}")


def open_share(where: str) -> tuple[Share, NonceFiles]:
    """Return a member's share of a group's key, and its nonces.

    Args:
        where: `frost:FOLDER`, the folder that `indykeep group` works in.

    Raises:
        BadCommandError: it is not such a folder, or its ceremony is not finished and confirmed.
    """
    from keep_agent.cli.multisig.member_folder import Folder  # noqa: PLC0415

    if not where.startswith(SHARE):
        raise BadCommandError(f"{where[:80]!r} is not a share: write frost:FOLDER")
    folder = Folder.of(Path(where.removeprefix(SHARE)))
    return folder.share(), folder.nonces()


def store_place(where: str, key_file: Path | None) -> tuple[Place, str]:
    """Split `store:PATH#NAME`; the name may be empty.

    Raises:
        BadCommandError: the path is missing.
    """
    from keep_agent.cli.multisig.key_stores import Place  # noqa: PLC0415

    path, _, name = where.removeprefix(STORE).partition("#")
    return Place.of(path, key_file), name


def _from_store(where: str, key_file: Path | None) -> CheckedSigner:
    from keep_agent.cli.multisig import key_stores, offline_loop  # noqa: PLC0415

    place, name = store_place(where, key_file)
    if not name:
        raise BadCommandError(f"{where} names no key: write store:PATH#NAME")
    found = offline_loop.run(key_stores.find(place, name))
    return CheckedSigner(found.key.get_public_bytes(), where, found.key.sign_message)
