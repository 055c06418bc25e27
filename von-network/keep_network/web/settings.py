"""The settings of the web server: the environment variables of the classic von-network."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from keep_network.agreement import AML_FILE, TAA_FILE, read_aml, read_taa
from keep_network.errors import BadInputError
from keep_network.json_shape import Json

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_YES, _NO = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
_MAX_PORT = 65535
_TOKEN_LENGTH = 16
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Link:
    """A link that the operator wants on every page."""

    url: str
    text: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What a web server was told at its start.

    Attributes:
        seed: of a DID that may write NYMs, as in a registration; None: read-only, anonymous.
        register: offer registration; it takes a seed, too.
        display: keep a copy of the ledgers, and show it.
        browse: serve pages of the ledger for people, not only of the nodes.
        cache: SQLite file of the copy; None: a temporary one.
        tails: folder of tails files.
        fetch: transactions that are read in one go before others get a turn.
        resync_s: pause between two looks at the nodes when nobody has a page open.
        folder: of the network, if it runs on this machine.
        retry_s: longest pause between two tries to reach the nodes.
        aml: the operation that writes the ways to accept an agreement; None: leave them.
        taa: the operation that writes an author agreement; None: leave it.
        analytics: HTML that goes into every page, scripts and all; empty: none.
        token: whoever registers must have it; None: nobody needs one.
        names: what this server is called beside addresses and `localhost`; lower case.
    """

    genesis_file: Path | None
    genesis_url: str | None
    seed: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 9000
    register: bool = False
    display: bool = True
    browse: bool = True
    cache: Path | None = None
    tails: Path | None = None
    fetch: int = 50000
    resync_s: float = 5
    retry_s: float = 10
    name: str = "Indy network"
    description: str = ""
    links: tuple[Link, ...] = ()
    log_level: int = logging.WARNING
    folder: Path | None = None
    aml: Json | None = None
    taa: Json | None = None
    analytics: str = ""
    token: str | None = field(default=None, repr=False)
    names: frozenset[str] = frozenset()

    @property
    def writes(self) -> bool:
        """True when DIDs can be registered here."""
        return self.register and self.seed is not None

    @property
    def shows(self) -> bool:
        """True when people can browse the ledger here."""
        return self.display and self.browse

    @classmethod
    def load(cls, env: Mapping[str, str]) -> Self:
        """Read the environment; what is absent has the classic default.

        Raises:
            BadInputError: a value makes no sense; it says which variable.
        """
        file, url = env.get("GENESIS_FILE"), env.get("GENESIS_URL")
        if not file and not url:
            raise BadInputError("set GENESIS_FILE or GENESIS_URL to name the network")
        if url and urlsplit(url).scheme not in {"http", "https"}:
            raise BadInputError("GENESIS_URL must begin with http:// or https://")
        return cls(
            genesis_file=None if url or not file else Path(file),
            genesis_url=url or None,
            seed=env.get("LEDGER_SEED") or None,
            host=env.get("WEB_SERVER_HOST") or "127.0.0.1",
            port=_number(env, "PORT", 9000, _MAX_PORT),
            register=_yes(env, "REGISTER_NEW_DIDS", default=False),
            display=_yes(env, "DISPLAY_LEDGER_STATE", default=True)
            and _yes(env, "ENABLE_LEDGER_CACHE", default=True),
            browse=_yes(env, "ENABLE_BROWSER_ROUTES", default=True),
            cache=_path(env, "LEDGER_CACHE_PATH"),
            tails=_path(env, "TAILS_PATH"),
            fetch=max(1, _number(env, "MAX_FETCH", 50000, 10**9)),
            resync_s=max(1, _number(env, "RESYNC_TIME", 5, 10**6)),
            retry_s=max(1, _number(env, "POOL_CONNECTION_DELAY", 10, 3600)),
            name=env.get("LEDGER_INSTANCE_NAME") or "Indy network",
            description=env.get("LEDGER_DESCRIPTION") or "",
            links=tuple(_links(env)),
            log_level=_level(env),
            aml=_agreed(env, AML_FILE, read_aml),
            taa=_agreed(env, TAA_FILE, read_taa),
            analytics=env.get("WEB_ANALYTICS_SCRIPT") or "",
            token=_token(env),
            names=_names(env),
        )


def _yes(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    told = env.get(name, str(default)).strip().lower()
    if told not in _YES | _NO:
        raise BadInputError(f"{name} is True or False")
    return told in _YES


def _number(env: Mapping[str, str], name: str, default: int, most: int) -> int:
    told = env.get(name, "").strip() or str(default)
    if not (told.isascii() and told.isdecimal() and int(told) <= most):
        raise BadInputError(f"{name} is a number from 0 to {most}")
    return int(told)


def _path(env: Mapping[str, str], name: str) -> Path | None:
    told = env.get(name)
    return Path(told) if told and told != ":memory:" else None


def _token(env: Mapping[str, str]) -> str | None:
    told = env.get("REGISTER_TOKEN") or None
    if told and not (len(told) >= _TOKEN_LENGTH and told.isascii() and told.isprintable()):
        raise BadInputError(f"REGISTER_TOKEN is {_TOKEN_LENGTH} or more ASCII characters")
    return told


def _names(env: Mapping[str, str]) -> frozenset[str]:
    told = env.get("WEB_SERVER_NAMES", "").lower().split(",")
    names = frozenset(name.strip() for name in told if name.strip())
    if not all(_NAME.fullmatch(name) for name in names):
        raise BadInputError("WEB_SERVER_NAMES is host names without port, with commas between")
    return names


def _agreed(env: Mapping[str, str], name: str, read: Callable[[Path], Json]) -> Json | None:
    told = env.get(name)
    if told and not env.get("LEDGER_SEED"):
        raise BadInputError(f"{name} needs LEDGER_SEED, the seed of a trustee who writes it")
    return read(Path(told)) if told else None


def _links(env: Mapping[str, str]) -> list[Link]:
    found: list[Link] = []
    for prefix in ("INFO_SITE", "INDY_SCAN"):
        url = env.get(f"{prefix}_URL")
        if url and urlsplit(url).scheme in {"http", "https"}:
            found.append(Link(url, env.get(f"{prefix}_TEXT") or url))
    return found


def _level(env: Mapping[str, str]) -> int:
    told = (env.get("LOG_LEVEL") or "WARNING").upper()
    level = logging.getLevelNamesMapping().get(told)
    if level is None:
        raise BadInputError("LOG_LEVEL is one of DEBUG, INFO, WARNING, ERROR")
    return level
