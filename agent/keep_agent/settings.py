"""The settings of an agent, read from the environment and a TOML file."""

from __future__ import annotations

import difflib
import json
import logging
import os
import secrets
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_args

import base58
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from keep_agent.errors import BadCommandError
from keep_agent.store import location
from keep_ledger.private_files import write_private

log = logging.getLogger(__name__)

PREFIX = "INDYKEEP_"
CHECKOUT_VARIABLES = {f"{PREFIX}{name}" for name in ("NODE_VENV", "OFFLINE", "PYTHON")}
"""Variables of `./manage` that may be in the environment of an agent; they are not settings."""
COMMAND_VARIABLES = {f"{PREFIX}{name}" for name in ("GENESIS", "KEY_FILE", "PIN_FILE")}
"""Variables of the commands for several people; they are not settings of an agent either."""
STORE_FILE = "agent.db"
STORE_KEY_FILE = "store.key"
ADMIN_KEY_FILE = "admin.key"

_ADMIN_KEY_CHARS = 16
_STORE_KEY_BYTES = 32

_LEDGERS = '[{"plugin": "indy", "namespace": "local", "genesis": "FILE or URL"}]'

Port = Annotated[int, Field(ge=0, le=65535)]


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )


class Ledger(_Frozen):
    """One network that the agent reads and writes: a table `[[ledgers]]`."""

    plugin: str = Field(min_length=1)
    """Entry point of the group `indykeep.ledgers`: `indy`, `memory`, or a plugin's."""

    namespace: str = Field(pattern=r"^[a-z0-9][a-z0-9_:-]{0,62}$")
    """What follows `did:indy:` in the network's DIDs, as `sovrin:staging`."""

    genesis: str = ""
    """Genesis transactions: a file or an http(s) URL; empty where the plugin needs none."""


class Settings(_Frozen):
    """The agent's settings; each can be given as `INDYKEEP_<NAME>` or in a TOML file."""

    data_dir: Path = Path("indykeep-data")
    """Folder of the agent: store, key files, caches."""

    store_uri: SecretStr = SecretStr("")
    """Where the encrypted store is: `sqlite://FILE`, or `postgres://user:password@host:port/database`,
    which several processes can share; if empty, `agent.db` in `data_dir`."""

    store_key: SecretStr | None = None
    """Raw key of the store: 32 bytes in base58."""

    store_key_file: Path | None = None
    """File that holds the store key."""

    label: str = Field(default="Indykeep agent", min_length=1, max_length=100)
    """Name of the agent in its invitations."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address that the DIDComm server listens on."""

    port: Port = 8020
    """Port of the DIDComm server; 0 takes a free one."""

    endpoint: str = Field(default="", pattern=r"^(|https?://[^\s/?#@]+(/[^\s?#]*)?)$")
    """URL at which peers reach the agent, without `/d/...` at the end; if empty, `http://host:port`."""

    admin_host: str = Field(default="127.0.0.1", min_length=1)
    """Address that the admin API listens on: loopback, unless `allow_remote_admin`."""

    admin_port: Port = 8021
    """Port of the admin API; 0 takes a free one."""

    allow_remote_admin: bool = False
    """Let the admin API listen on addresses other than loopback; put TLS in front of it."""

    admin_key: SecretStr | None = None
    """Key that callers of the admin API send: at least 16 characters."""

    admin_key_file: Path | None = None
    """File that holds the admin key."""

    ledgers: tuple[Ledger, ...] = ()
    """Networks, in the order in which unqualified ids are looked up: `[[ledgers]]` in TOML, JSON in
    the environment."""

    allow_private_egress: bool = False
    """Allow endpoints of peers on loopback and private networks; for local networks only."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """How much is logged."""

    log_format: Literal["text", "json"] = "text"
    """Log lines for people (`text`) or for programs (`json`)."""

    native_threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=64)
    """Threads for cryptography; by default as many as the machine has cores."""

    verify: Literal["both", "sampled", "library"] = "both"
    """Who has to accept a proof: our equations and the AnonCreds library (`both`); ours always and the library for
    samples (`sampled`); the library alone, as where gmpy2 is not installed (`library`)."""

    send_timeout_s: float = Field(default=30.0, gt=10, le=300)
    """Seconds that one delivery may take; many agents answer only when they have handled the message."""

    command_wait_s: float = Field(default=10.0, ge=0, le=60)
    """Seconds that a command waits for the state it needs, if the exchange is not in it yet."""

    seen_days: int = Field(default=30, ge=1, le=3650)
    """Days that the ids of handled messages are kept, to recognise repetitions."""

    watch_loop: bool = False
    """Measure the longest stall of the event loop and show it in the status."""

    die_with: int | None = Field(default=None, ge=2)
    """A process id: the agent ends when that process has ended."""

    @classmethod
    def load(cls, env: Mapping[str, str], toml_path: Path | None) -> Self:
        """Read the settings; the environment wins over the file.

        Args:
            env: all variables; only those named `INDYKEEP_...` are looked at.
            toml_path: a file with the same names in small letters, or None.

        Raises:
            BadCommandError: one line per mistake, in words; values of secrets are not shown.
        """
        names = {
            key.removeprefix(PREFIX).lower(): key
            for key in env
            if key.startswith(PREFIX) and key not in CHECKOUT_VARIABLES | COMMAND_VARIABLES
        }
        given = {**_read_toml(toml_path), **{name: env[key] for name, key in names.items()}}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            lines = [_in_words(detail, names) for detail in error.errors()]
        raise BadCommandError("\n".join(lines))  # not chained: pydantic's error holds secrets

    @property
    def store(self) -> location.Location:
        """Where the store is."""
        given = self.store_uri.get_secret_value()
        own = location.Sqlite((self.data_dir / STORE_FILE).absolute())
        return location.parse(given) if given else own

    def public_endpoint(self, port: int) -> str:
        """Return the URL at which peers reach the agent, if the DIDComm server has this port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.endpoint.rstrip("/") or f"http://{host}:{port}"

    @field_validator("ledgers", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        try:
            found: object = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            found = None
        if not isinstance(found, list | tuple):
            raise ValueError(f"must be a list, as {_LEDGERS}")  # noqa: TRY004 - pydantic asks it
        return cast("object", found)

    @field_validator("ledgers")
    @classmethod
    def _one_ledger_each(cls, value: tuple[Ledger, ...]) -> tuple[Ledger, ...]:
        if len({ledger.namespace for ledger in value}) != len(value):
            raise ValueError("must name each namespace once")
        return value

    @field_validator("store_uri")
    @classmethod
    def _known_store(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            location.parse(value.get_secret_value())
        return value

    @field_validator("store_key")
    @classmethod
    def _raw_key(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is None else _store_key(value)

    @field_validator("admin_key")
    @classmethod
    def _long_key(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is None else _admin_key(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.allow_remote_admin and not _is_loopback(self.admin_host):
            raise ValueError("admin_host must be loopback unless allow_remote_admin is set")
        for name in ("store_key", "admin_key"):
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                raise ValueError(f"{name} and {name}_file exclude each other")
        return self


@dataclass(frozen=True, slots=True)
class Keys:
    """The two keys of an agent.

    Attributes:
        store: raw key of the store, base58.
        admin: the key that callers of the admin API send.
        made: key files that were created just now.
    """

    store: SecretStr
    admin: SecretStr
    made: tuple[Path, ...]


def open_keys(settings: Settings) -> Keys:
    """Read both keys; a key that is not given is created in `data_dir`, mode 0600.

    Raises:
        BadCommandError: a key file is missing, not readable or does not hold a key; or the store exists,
            or may exist, without its key file, and a new key would not open it.
    """
    made: list[Path] = []
    store = settings.store_key
    if store is None:
        path = settings.store_key_file or settings.data_dir / STORE_KEY_FILE
        if (settings.data_dir / STORE_FILE).exists() and not path.exists():
            raise BadCommandError(f"the store exists, but its key file does not: {path}")
        if settings.store.shared and not path.exists():
            raise BadCommandError(
                f"the key of the store is missing: {path}\nAll processes that share a store in PostgreSQL"
                " need the same key, so none is made: put 32 random bytes in base58 into a file, and"
                " name it with store_key_file"
            )
        make = None if settings.store_key_file else _new_store_key
        store = _key_in(path, make, _store_key, made)
    admin = settings.admin_key
    if admin is None:
        path = settings.admin_key_file or settings.data_dir / ADMIN_KEY_FILE
        make = None if settings.admin_key_file else secrets.token_urlsafe
        admin = _key_in(path, make, _admin_key, made)
    return Keys(store, admin, tuple(made))


def _new_store_key() -> str:
    return base58.b58encode(secrets.token_bytes(_STORE_KEY_BYTES)).decode()


def _key_in(
    path: Path,
    make: Callable[[], str] | None,
    check: Callable[[SecretStr], SecretStr],
    made: list[Path],
) -> SecretStr:
    try:
        if make is not None and not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, f"{make()}\n")
            made.append(path)
        if path.stat().st_mode & 0o077:
            log.warning("key file can be read by other users", extra={"path": str(path)})
        text = path.read_bytes().decode("ascii", "replace")
    except OSError as error:
        raise BadCommandError(f"key file {path}: {error.strerror}") from error
    try:
        return check(SecretStr(text.strip()))
    except ValueError as error:
        raise BadCommandError(f"key file {path}: {error}") from error


def _store_key(key: SecretStr) -> SecretStr:
    try:
        raw = base58.b58decode(key.get_secret_value())
    except ValueError:
        raw = b""
    if len(raw) != _STORE_KEY_BYTES:
        raise ValueError("must be 32 bytes in base58")
    return key


def _admin_key(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value()) < _ADMIN_KEY_CHARS:
        raise ValueError(f"must have at least {_ADMIN_KEY_CHARS} characters")
    return key


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_toml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadCommandError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise BadCommandError(f"{path}: {error}") from error


def _in_words(detail: ErrorDetails, names: Mapping[str, str]) -> str:
    """Describe one mistake: the setting, by the name that was used, and what it must be."""
    place = [str(part) for part in detail["loc"]]
    model = Ledger if len(place) > 1 else Settings
    name = ".".join([names.get(place[0], place[0]), *place[1:]]) if place else "settings"
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], model.model_fields, n=1)
        upper = place[0] in names and len(place) == 1
        meant = [PREFIX + key.upper() if upper else key for key in near]
        return f"{name}: no such setting" + (f"; did you mean {meant[0]}?" if meant else "")
    wanted = _wanted(model, place[-1] if place else "") or _plain(detail)
    shown = detail["input"]
    secret = bool(place) and any(word in place[-1] for word in ("key", "store_uri"))
    if not place or secret or isinstance(shown, dict | list | tuple):
        return f"{name}: {wanted}"
    return f"{name}: {wanted}, is {shown!r}"


def _wanted(model: type[BaseModel], name: str) -> str | None:
    field = model.model_fields.get(name)
    if field is None:
        return None
    if choices := get_args(field.annotation):
        texts = [choice for choice in choices if isinstance(choice, str)]
        if texts:
            return f"must be one of {', '.join(texts)}"
    low = [limit.ge for limit in field.metadata if hasattr(limit, "ge")]
    high = [limit.le for limit in field.metadata if hasattr(limit, "le")]
    return f"must be {low[0]}..{high[0]}" if low and high else None


def _plain(detail: ErrorDetails) -> str:
    words = detail["msg"].removeprefix("Value error, ")
    return words.replace("Input should", "must").replace("String should", "must")


def explained() -> str:
    """Return every setting with its default and its meaning, as text for people."""
    parts: list[str] = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=False)
        shown = "" if field.default_factory or default in {None, ()} else f" = {default}"
        wanted = _wanted(Settings, name)
        parts.append(f"{PREFIX}{name.upper()}{shown}")
        parts.append(_indented(field.description, 4) + (f" It {wanted}." if wanted else ""))
        if name == "ledgers":
            parts.append(f"    {_LEDGERS}")
            parts += [
                _indented(f"{key}: {each.description}", 6)
                for key, each in Ledger.model_fields.items()
            ]
    parts.append(f"In a TOML file: the same names in small letters, without {PREFIX}.")
    return "\n".join(parts)


def _indented(text: str | None, by: int) -> str:
    return " " * by + " ".join((text or "").split())
