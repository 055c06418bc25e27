"""Registers DIDs: reads the wish, looks for a conflict, writes, waits until all nodes have it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from keep_network import agreement, seeds
from keep_network.dids import short
from keep_network.errors import BadInputError
from keep_network.json_shape import Json, is_array, is_object
from keep_network.web import keys
from keep_network.web.connection import Connection
from keep_network.web.errors import (
    BadRequestError,
    ConflictError,
    ReadOnlyError,
    UnavailableError,
)
from keep_network.web.health import Health
from keep_network.web.keys import Key
from keep_network.web.nodes import DOMAIN, Nodes, get_transaction
from keep_network.web.transactions import mapping

MOST = 500
ROLES: dict[str, str | None] = {
    "ENDORSER": "101",
    "TRUST_ANCHOR": "101",
    "TRUSTEE": "0",
    "STEWARD": "2",
    "NETWORK_MONITOR": "201",
    "USER": None,
    "NONE": None,
    "": None,
}
"""Roles that can be asked for, and their numbers on the ledger."""

_LONGEST_ALIAS = 256
_AT_ONCE = 50
_EVERYWHERE_S = 15
_ASK_S = 2
_DEAD_AFTER = 2
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Registration:
    """A DID to register.

    Attributes:
        seed: what the DID was made of, padded; None when DID and verkey were given.
        role: its number on the ledger; None for a DID without a role.
        asked: the DID as it was sent, perhaps with `did:sov:` before it.
        any_role: no role was named, so a DID that is there may have another one.
    """

    did: str
    verkey: str
    seed: str | None = field(repr=False)
    role: str | None
    alias: str | None
    asked: str
    any_role: bool

    @classmethod
    def parse(cls, told: Any) -> Registration:
        """Read `{seed | did + verkey, role = ENDORSER, alias}`.

        A seed is at most 32 characters, padded with zeros behind, or the base64 of 32 bytes,
        which ends in `=`.

        Raises:
            BadRequestError: it makes no sense; the message says what is expected.
        """
        if not is_object(told) or not told:
            raise BadRequestError("Expected json request body")
        seed, did, verkey = (_text(told, name) for name in ("seed", "did", "verkey"))
        role, alias = _role(told), _text(told, "alias") or None
        if seed:
            key, seed = _derive(seed)
            did, verkey = did or key.did, verkey or key.verkey
        elif not did or not verkey:
            raise BadRequestError("Either the seed or the did and verkey must be provided.")
        asked, did = did, short(did)
        if not keys.is_did(did):
            raise BadRequestError("The did must be 16 bytes in base58, or did:sov: and these.")
        if len(keys.decode(keys.whole(did, verkey))) != keys.VERKEY_BYTES:
            raise BadRequestError("The verkey must be 32 bytes in base58.")
        if alias and (len(alias) > _LONGEST_ALIAS or not alias.isprintable()):
            raise BadRequestError(
                f"The alias must be up to {_LONGEST_ALIAS} printable letters."
            )
        return cls(did, verkey, seed or None, role, alias, asked, "role" not in told)

    def answer(self) -> dict[str, str | None]:
        """Return what the caller gets."""
        return {"did": self.asked, "verkey": self.verkey, "seed": self.seed}


class Registrar:
    """Writes NYMs with the key that the server was given.

    Args:
        key: None: nothing can be registered.
    """

    def __init__(self, connection: Connection, health: Health, key: Key | None) -> None:
        self._connection = connection
        self._health = health
        self._key = key
        self._busy: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def register(self, wanted: Sequence[Registration]) -> None:
        """Write all that are not there yet; return when every live node has them.

        Raises:
            ReadOnlyError: this server does not register.
            ConflictError: one is there with another verkey or role; nothing was written.
            UnavailableError: the nodes do not answer; what was sent may be written all the same.
            RefusedError: the nodes do not take it.
        """
        key = self._key
        if key is None:
            raise ReadOnlyError("This server does not register DIDs.")
        unique = _unique(wanted)
        nodes = self._connection.nodes
        async with self._alone(sorted(unique)):
            known = await _some(lambda one: _known(nodes, one), list(unique.values()))
            if conflicts := [one.did for one, at in known if at == -1]:
                raise ConflictError(
                    f"{', '.join(conflicts[:5])} is registered already, "
                    "with another verkey or role. Nothing was written."
                )
            extra = await _acceptance(nodes)
            new = [one for one, at in known if at is None]
            written = await _some(lambda one: nodes.write(_nym(one), key, extra), new)
            numbers = [at for _, at in (*known, *written) if at]
            live = self._health.live(nodes)
            await asyncio.gather(*(_until_has(nodes, name, max(numbers)) for name in live))

    @asynccontextmanager
    async def _alone(self, dids: Sequence[str]) -> AsyncGenerator[None]:
        """Keep other registrations of the same DIDs waiting; sorted, so that none waits for ever."""
        async with AsyncExitStack() as stack:
            for did in dids:
                lock = self._busy.setdefault(did, asyncio.Lock())
                await stack.enter_async_context(lock)
            yield


def parse_all(told: Any) -> list[Registration]:
    """Read one registration, or a list of them.

    Raises:
        BadRequestError: it says which one makes no sense, counted from 1.
    """
    if not is_array(told):
        return [Registration.parse(told)]
    if not 0 < len(told) <= MOST:
        raise BadRequestError(f"A list has 1 to {MOST} registrations.")
    found: list[Registration] = []
    for number, one in enumerate(told, 1):
        try:
            found.append(Registration.parse(one))
        except BadRequestError as error:
            raise BadRequestError(f"Registration {number}: {error}") from None
    return found


def read_seed(seed: str) -> tuple[bytes, str]:
    """Return the 32 bytes that a seed stands for, and the seed padded.

    Raises:
        BadRequestError: it makes no sense, see `seeds.read`.
    """
    try:
        return seeds.read(seed)
    except BadInputError as error:
        raise BadRequestError(str(error)) from None


def _derive(seed: str) -> tuple[Key, str]:
    made, padded = read_seed(seed)
    return Key.derive(made), padded


def _text(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRequestError(f"The {name} must be a text.")
    return value


def _role(told: dict[str, Any]) -> str | None:
    role = told.get("role", "ENDORSER")
    name = "" if role is None else str(role).upper()
    if name in ROLES:
        return ROLES[name]
    if name in ROLES.values():
        return name
    raise BadRequestError(f"The role must be one of {', '.join(filter(None, ROLES))}.")


def _unique(wanted: Sequence[Registration]) -> dict[str, Registration]:
    unique: dict[str, Registration] = {}
    for one in wanted:
        other = unique.setdefault(one.did, one)
        if (other.verkey, other.role) != (one.verkey, one.role):
            raise ConflictError(f"{one.did} is in the list twice, with another verkey or role.")
    return unique


async def _some(
    job: Callable[[Registration], Awaitable[_Result]], items: Sequence[Registration]
) -> list[tuple[Registration, _Result]]:
    """Do a job for all items, not too many at a time; returns pairs of item and result."""
    results: list[_Result] = []
    for at in range(0, len(items), _AT_ONCE):
        results += await asyncio.gather(*(job(one) for one in items[at : at + _AT_ONCE]))
    return list(zip(items, results, strict=True))


async def _known(nodes: Nodes, one: Registration) -> int | None:
    """Return the number of its transaction, -1 if it is there as something else, or None."""
    answer = await nodes.read({"type": "105", "dest": one.did})
    there = mapping(answer.get("data"))
    if not there:
        return None
    verkey = there.get("verkey")
    same_key = isinstance(verkey, str) and keys.whole(one.did, verkey) == keys.whole(
        one.did, one.verkey
    )
    same_role = one.any_role or there.get("role") == one.role
    return int(answer["seqNo"]) if same_key and same_role else -1


def _nym(one: Registration) -> Json:
    fields = {"verkey": one.verkey, "role": one.role, "alias": one.alias}
    return {"type": "1", "dest": one.did} | {k: v for k, v in fields.items() if v is not None}


async def _acceptance(nodes: Nodes) -> Json:
    """Accept the transaction author agreement if there is one, as every author has to."""
    there = mapping((await nodes.read({"type": agreement.GET_TAA})).get("data"))
    if not there:
        return {}
    ways = mapping((await nodes.read({"type": agreement.GET_AML})).get("data"))
    accepted = agreement.acceptance(there, mapping(ways.get("aml")))
    return {"taaAcceptance": accepted} if accepted else {}


async def _until_has(nodes: Nodes, name: str, number: int) -> None:
    """Ask a node until it has a transaction; one that says nothing twice is not live."""
    deadline = time.monotonic() + _EVERYWHERE_S
    silent = 0
    while time.monotonic() < deadline and silent < _DEAD_AFTER:
        told = (await nodes.ask(get_transaction(DOMAIN, number), [name], _ASK_S))[name]
        silent = silent + 1 if told is None else 0
        if told and told.get("data"):
            return
        await asyncio.sleep(0.02)
    if silent < _DEAD_AFTER:
        raise UnavailableError(
            f"It is written (transaction {number}), but {name} has not caught up "
            f"within {_EVERYWHERE_S} s."
        )
