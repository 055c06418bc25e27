"""Keys that never leave a token: PKCS#11 through python-pkcs11, addressed by RFC 7512."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from keep_agent.cli.multisig import secret_input
from keep_agent.errors import BadCommandError, UnavailableError

if TYPE_CHECKING:
    from pkcs11 import Session, Token

SCHEME = "pkcs11:"
ED25519 = "1.3.101.112"
_PATH = ("token", "serial", "object", "id", "type")
_QUERY = ("module-path", "pin-source")
_ALLOWED = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&/?|]|%[0-9A-Fa-f]{2})*")
_POINT = b"\x04\x20"  # DER: an octet string of 32 bytes
_KEY_BYTES = 32
_INSTEAD = f"name a file with the PIN: ?pin-source=file:PATH, or {secret_input.PIN_FILE}"


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a key in a token, or (without `label` and `id`) of a token (RFC 7512).

    Attributes:
        token, serial: which token; at least one is given.
        label, id: which key.
        module: the PKCS#11 library of the token.
        pin_file: file with its PIN; None: use INDYKEEP_PIN_FILE, or ask.
    """

    token: str | None
    serial: bytes | None
    label: str | None
    id: bytes | None
    module: Path
    pin_file: Path | None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address strictly.

        Raises:
            BadCommandError: it is not RFC 7512, has an attribute twice, one that is not supported or a
                PIN, or names no token or module.
        """
        path, _, query = text.removeprefix(SCHEME).partition("?")
        if not text.startswith(SCHEME):
            raise BadCommandError(f"{text[:80]!r} does not begin with {SCHEME}")
        found = _attributes(path, ";", _PATH) | _attributes(query, "&", _QUERY)
        if found.get("type", b"private") != b"private":
            raise BadCommandError("type= must be private: a signing key is a private key")
        if "token" not in found and "serial" not in found:
            raise BadCommandError(
                "no token is named: pkcs11:token=LABEL;object=LABEL?module-path=FILE"
            )
        if "module-path" not in found:
            raise BadCommandError(
                "the PKCS#11 library is not named: ?module-path=FILE, for SoftHSM "
                "/usr/lib/softhsm/libsofthsm2.so"
            )
        return cls(
            _text(found, "token"),
            found.get("serial"),
            _text(found, "object"),
            found.get("id"),
            Path(os.fsdecode(found["module-path"])),
            _pin_file(_text(found, "pin-source")),
        )

    @property
    def name(self) -> str:
        """The token, for messages."""
        return repr(self.token) if self.token is not None else f"with serial {self.serial!r}"

    @property
    def key(self) -> str:
        """The key, for messages."""
        named = (
            repr(self.label) if self.label is not None else f"with id {(self.id or b'').hex()}"
        )
        return f"{named} in the token {self.name}"


@contextmanager
def opened(text: str) -> Generator[tuple[bytes, Callable[[bytes], bytes]]]:
    """Open a key: its verkey and a function that signs. The token is logged in meanwhile.

    Raises:
        BadCommandError: the address is wrong, there is no such key, it is not an Ed25519 key, or there is
            no PIN.
        UnavailableError: there is no such module or token, the PIN is wrong or locked, or the token was
            removed.
    """
    address = _with_key(Address.parse(text))
    verkey = _read(address)
    with _session(address, pin=True) as session, _told(address):
        from pkcs11 import Mechanism, ObjectClass  # noqa: PLC0415

        private: Any = _one(session, address, ObjectClass.PRIVATE_KEY)

        def sign(message: bytes) -> bytes:
            with _told(address):
                return bytes(private.sign(message, mechanism=Mechanism.EDDSA))

        yield verkey, sign


def read(text: str) -> bytes:
    """Return the verkey of a key; no PIN is needed.

    Raises:
        BadCommandError, UnavailableError: as `opened`.
    """
    return _read(_with_key(Address.parse(text)))


def all_keys(text: str) -> list[tuple[str, bytes]]:
    """Return label and verkey of all Ed25519 keys in a token, by label; no PIN is needed.

    Raises:
        BadCommandError, UnavailableError: as `opened`.
    """
    address = Address.parse(text)
    with _session(address, pin=False) as session, _told(address):
        from pkcs11 import Attribute, ObjectClass  # noqa: PLC0415

        objects: list[Any] = list(
            session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY})
        )
        keys = [(str(each[Attribute.LABEL]), _ed25519(each)) for each in objects]
    return sorted((label, key) for label, key in keys if key is not None)


def make(text: str) -> bytes:
    """Make a key in the token, where it can never be read; return its verkey.

    Raises:
        BadCommandError: the address is wrong, or there is a key of that name.
        UnavailableError: as for `opened`, or the token cannot make such keys.
    """
    address = _with_key(Address.parse(text))
    if address.label is None:
        raise BadCommandError("a new key needs a name: object=LABEL")
    with _session(address, pin=True, write=True) as session, _told(address):
        from pkcs11 import Attribute, KeyType, Mechanism  # noqa: PLC0415
        from pkcs11.util.ec import encode_named_curve_parameters  # noqa: PLC0415

        if any(session.get_objects({Attribute.LABEL: address.label})):
            raise BadCommandError(f"there is a key {address.key} already")
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(ED25519)}
        parameters: Any = session.create_domain_parameters(
            KeyType.EC_EDWARDS, curve, local=True
        )
        public, private = parameters.generate_keypair(
            mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
            label=address.label,
            id=address.id or secrets.token_bytes(8),
            store=True,
            private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        )
        verkey = _ed25519(public)
        if verkey is None or private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
            private.destroy()
            public.destroy()
            raise UnavailableError(
                f"the token {address.name} cannot make an Ed25519 key that is not extractable; the key was removed"
            )
        return verkey


# -- the address -------------------------------------------------------------------------------


def _attributes(text: str, between: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in filter(None, text.split(between)):
        name, equals, value = part.partition("=")
        if name == "pin-value":
            raise BadCommandError(
                "a PIN in a command line is visible to everybody on this machine; " + _INSTEAD
            )
        if name not in known or not equals:
            raise BadCommandError(
                f"{name[:40]!r} is not supported here; supported are {', '.join(known)}"
            )
        if name in found:
            raise BadCommandError(f"{name} is there twice")
        if not _ALLOWED.fullmatch(value):
            raise BadCommandError(
                f"{name} has characters that must be written as %XX (RFC 7512)"
            )
        found[name] = unquote_to_bytes(value)
    return found


def _text(found: Mapping[str, bytes], name: str) -> str | None:
    try:
        return found[name].decode() if name in found else None
    except UnicodeDecodeError as error:
        raise BadCommandError(f"{name} is not UTF-8 text") from error


def _pin_file(source: str | None) -> Path | None:
    if source is None:
        given = os.environ.get(secret_input.PIN_FILE)
        return Path(given) if given else None
    path = source.removeprefix("file:")
    if path.startswith("//"):
        path = path.removeprefix("//")
    if not path or path.startswith("|"):
        raise BadCommandError("pin-source must be a file: ?pin-source=file:PATH")
    return Path(path)


def _with_key(address: Address) -> Address:
    if address.label is None and address.id is None:
        raise BadCommandError("no key is named: object=LABEL, or id=%01%02")
    return address


# -- the token ---------------------------------------------------------------------------------


@contextmanager
def _session(address: Address, *, pin: bool, write: bool = False) -> Generator[Session]:
    token = _token(address)
    if not pin:
        with _told(address), token.open() as session:
            yield session
        return
    from pkcs11 import TokenFlag  # noqa: PLC0415

    if TokenFlag.USER_PIN_LOCKED in token.flags:
        raise UnavailableError(_locked(address))
    if TokenFlag.USER_PIN_INITIALIZED not in token.flags:
        raise UnavailableError(f"the token {address.name} has no user PIN yet; set one first")
    with _logged_in(address, token, write=write) as session:
        yield session


@contextmanager
def _logged_in(address: Address, token: Token, *, write: bool) -> Generator[Session]:
    import pkcs11  # noqa: PLC0415

    pin = _pin(address, token)
    try:
        session = token.open(rw=write, user_pin=pin)
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange) as error:
        raise UnavailableError(_wrong(address)) from error
    except pkcs11.PinLocked as error:
        raise UnavailableError(_locked(address)) from error
    except pkcs11.PKCS11Error as error:
        raise UnavailableError(_failed(address, error)) from error
    try:
        yield session
    finally:
        with _told(address, quiet=True):
            session.close()


def _pin(address: Address, token: Token) -> object:
    import pkcs11  # noqa: PLC0415

    if address.pin_file is not None:
        return secret_input.private_text(address.pin_file, "PIN file")
    if pkcs11.TokenFlag.PROTECTED_AUTHENTICATION_PATH in token.flags:
        return pkcs11.PROTECTED_AUTH  # typed at the token itself
    return secret_input.ask(f"PIN of the token {address.name}: ", _INSTEAD)


def _token(address: Address) -> Token:
    """Find the token; the list of tokens is read each time."""
    if find_spec("pkcs11") is None:
        raise BadCommandError("keys in tokens need: pip install 'indykeep[pkcs11]'")
    if not address.module.is_file():
        raise UnavailableError(
            f"there is no PKCS#11 module {address.module}; install the token's software "
            "(Debian: apt install softhsm2, opensc) or correct module-path"
        )
    tokens = _tokens(address)
    fits = [
        token
        for token in tokens
        if address.token in (None, token.label) and address.serial in (None, token.serial)
    ]
    if len(fits) != 1:
        labels = (
            ", ".join(sorted(repr(token.label) for token in tokens if token.label)) or "none"
        )
        which = "several tokens are" if fits else "no token is"
        raise UnavailableError(
            f"{which} {address.name}; there: {labels}. Insert it, or name it by serial=, then "
            "try again; nothing was signed"
        )
    return fits[0]


def _tokens(address: Address) -> list[Token]:
    import pkcs11  # noqa: PLC0415

    try:
        library = pkcs11.lib(str(address.module))
        try:
            return [slot.get_token() for slot in library.get_slots(token_present=True)]
        except (
            pkcs11.PKCS11Error
        ):  # a token was removed before: some modules must be initialised again
            library.reinitialize()
            return [slot.get_token() for slot in library.get_slots(token_present=True)]
    except (pkcs11.PKCS11Error, RuntimeError) as error:
        raise UnavailableError(
            f"the module {address.module} does not work: {_kind(error)}"
        ) from error


def _read(address: Address) -> bytes:
    with _session(address, pin=False) as session, _told(address):
        from pkcs11 import ObjectClass  # noqa: PLC0415

        verkey = _ed25519(_one(session, address, ObjectClass.PUBLIC_KEY))
    if verkey is None:
        raise BadCommandError(
            f"the key {address.key} is not an Ed25519 key; a ledger takes no other"
        )
    return verkey


def _one(session: Session, address: Address, kind: object) -> object:
    from pkcs11 import Attribute  # noqa: PLC0415

    wanted: dict[Attribute, Any] = {Attribute.CLASS: kind}
    if address.label is not None:
        wanted[Attribute.LABEL] = address.label
    if address.id is not None:
        wanted[Attribute.ID] = address.id
    found = list(session.get_objects(wanted))
    if len(found) != 1:
        why = "there are several keys" if found else "there is no key"
        hint = "name one by id=" if found else "`indykeep key list` shows what is there"
        raise BadCommandError(f"{why} {address.key}; {hint}")
    return found[0]


def _ed25519(public: Any) -> bytes | None:
    from pkcs11 import Attribute, KeyType, PKCS11Error  # noqa: PLC0415
    from pkcs11.util.ec import encode_named_curve_parameters  # noqa: PLC0415

    try:
        kind, curve = public[Attribute.KEY_TYPE], bytes(public[Attribute.EC_PARAMS])
        point = bytes(public[Attribute.EC_POINT])
    except PKCS11Error:  # an RSA key has no such attributes
        return None
    names = (encode_named_curve_parameters(ED25519), b"\x13\x0cedwards25519")
    key = point.removeprefix(_POINT) if len(point) == len(_POINT) + _KEY_BYTES else point
    fits = kind == KeyType.EC_EDWARDS and curve in names and len(key) == _KEY_BYTES
    return key if fits else None


# -- what went wrong ---------------------------------------------------------------------------


@contextmanager
def _told(address: Address, *, quiet: bool = False) -> Generator[None]:
    import pkcs11  # noqa: PLC0415

    try:
        yield
    except pkcs11.PKCS11Error as error:
        if not quiet:
            raise UnavailableError(_failed(address, error)) from error


def _failed(address: Address, error: Exception) -> str:
    return (
        f"the token {address.name} failed ({_kind(error)}): it was removed, is used by somebody "
        "else, or cannot do this. Nothing was signed; insert it and try again"
    )


def _wrong(address: Address) -> str:
    from pkcs11 import TokenFlag  # noqa: PLC0415

    flags = _token(address).flags
    if TokenFlag.USER_PIN_LOCKED in flags:
        return f"that PIN was wrong, too. {_locked(address)}"
    if TokenFlag.USER_PIN_FINAL_TRY in flags:
        left = "one try is left before it locks"
    elif TokenFlag.USER_PIN_COUNT_LOW in flags:
        left = "the token counts wrong PINs and locks after a few more"
    else:
        left = "the token does not say how many tries are left"
    return f"the PIN is wrong for the token {address.name}; {left}. Nothing was signed"


def _locked(address: Address) -> str:
    return (
        f"the token {address.name} is locked after too many wrong PINs; its security officer can "
        "set a new PIN. The keys are still in it; nothing was signed"
    )


def _kind(error: Exception) -> str:
    return type(error).__name__ if not str(error) else f"{type(error).__name__}: {error}"
