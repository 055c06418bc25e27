"""The network as a client sees it (indy-vdr): the first write, and registering DIDs."""

from __future__ import annotations

import asyncio
import importlib
import json
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

import base58
import indy_vdr
from indy_vdr import Request, VdrError
from indy_vdr import ledger as vdr

from keep_network import agreement, cut, ports, processes, seeds
from keep_network.compat import sodium
from keep_network.errors import BadInputError, LaggingError, NetworkError, NoWriteError
from keep_network.json_shape import Json, is_object, object_of
from keep_network.native_pool import NativePool
from keep_network.record import Network

ROLES = {"ENDORSER": "101", "TRUSTEE": "0", "STEWARD": "2", "none": None}
"""The roles that can be registered, and their numbers on the ledger."""

_DOMAIN, _AUDIT = 1, 3
_ANYBODY = "LibindyDid111111111111"
_NOBODY = "dest should be added before adding attribute"
"""What the nodes say of an attribute of a DID that is not there, once they have ordered it."""

_TRY_S = 5
_FULL_BYTES = 5 << 20
_EVERYWHERE_S = 15
_DID_BYTES, _VERKEY_BYTES, _ALIAS_LENGTH = 16, 32, 256


async def first_write(network: Network, watch: Callable[[], None], limit_s: float) -> None:
    """Wait until every node has taken a write of ours.

    It is one that the nodes order, as any, and refuse then: an attribute of a DID that nobody has.
    All that it leaves is a line in the nodes' audit ledger, so that a start adds nothing to what
    users read, and the first transaction of a user has the number 6, as in the classic network.

    `watch` is called between tries; it raises when waiting makes no sense any more.

    Raises:
        NoWriteError: it took longer than the limit.
    """
    deadline, why = time.monotonic() + limit_s, "they do not listen"
    indy_vdr.set_config({"ack_timeout": _TRY_S, "reply_timeout": _TRY_S})
    trustee = seeds.of(network, seeds.TRUSTEE)
    while time.monotonic() < deadline:
        watch()
        if not _listening(network):
            await asyncio.sleep(0.05)
            continue
        try:
            async with opened(network) as pool:
                batches = await _batches(network, pool)
                await _order_nothing(trustee, pool)
                await _everywhere(network, pool, batches + 1, ledger=_AUDIT, silent_too=True)
        except (VdrError, LaggingError) as error:
            why = str(error)  # nodes listen before they agree on who they are
            await asyncio.sleep(0.1)
        else:
            return
    raise NoWriteError(f"not every node has taken a write within {limit_s:.0f} s: {why}")


async def register(
    network: Network, did: str, verkey: str, role: str, alias: str | None
) -> dict[str, Any]:
    """Write a DID as the local trustee, and wait until every live node has it.

    A client believes a write when two nodes have answered, and a read may ask a third one
    that is some milliseconds behind; therefore the waiting. A DID that is there already with
    the same key and role is not written again.

    Raises:
        BadInputError: DID, verkey, role or alias is not well-formed, or the DID is registered
            with something else.
        NetworkError: the network does not answer, or refuses.
    """
    check(did, verkey, role, alias)
    _require_quorum(network)
    try:
        async with opened(network) as pool:
            number = await _known(pool, did, verkey, role)
            if number is None:
                trustee = seeds.of(network, seeds.TRUSTEE)
                given = None if role == "none" else role
                number = await _write(trustee, pool, did, verkey, alias, given)
            await _everywhere(network, pool, number)
    except VdrError as error:
        full = shutil.disk_usage(network.folder).free < _FULL_BYTES
        why = f"the disk of {network.folder} is full" if full else str(error)
        raise NetworkError(f"the network did not accept it: {why}") from error
    return {"did": did, "verkey": verkey, "role": role, "seqNo": number}


async def add_node(network: Network, number: int, port: int, keys: dict[str, str]) -> None:
    """Register a steward, and as that steward a node.

    Raises:
        NetworkError: the network does not answer, or refuses.
    """
    seed = seeds.of(network, f"Steward{number}")
    did, verkey = did_of(seed)
    node = {
        "alias": keys["alias"],
        "blskey": keys["blskey"],
        "blskey_pop": keys["blskey_pop"],
        "node_ip": network.host(number),
        "node_port": port,
        "client_ip": network.host(number),
        "client_port": port + 1,
        "services": ["VALIDATOR"],
    }
    try:
        async with opened(network) as pool:
            if await _known(pool, did, verkey, "STEWARD") is None:
                trustee = seeds.of(network, seeds.TRUSTEE)
                written = await _write(trustee, pool, did, verkey, None, "STEWARD")
                await _everywhere(network, pool, written)
            request = vdr.build_node_request(did, keys["dest"], node)
            request.set_signature(_sign(seed, request.signature_input))
            await pool.submit_request(request)
    except VdrError as error:
        raise NetworkError(f"the network did not accept {keys['alias']}: {error}") from error


def check(did: str, verkey: str, role: str, alias: str | None) -> None:
    """Refuse what no ledger would take, before anything is opened.

    Raises:
        BadInputError: it says which argument, and what is expected.
    """
    if _length(did) != _DID_BYTES:
        raise BadInputError(
            "a DID is 16 bytes in base58 (21 or 22 letters), or did:sov: and these"
        )
    if _length(verkey) != _VERKEY_BYTES:
        raise BadInputError("a verkey is 32 bytes in base58 (43 or 44 letters)")
    if role not in ROLES:
        raise BadInputError(f"a role is one of {', '.join(ROLES)}")
    if alias is not None and not (0 < len(alias) <= _ALIAS_LENGTH and alias.isprintable()):
        raise BadInputError(f"an alias is 1 to {_ALIAS_LENGTH} printable characters")


def quorum(network: Network) -> int:
    """Return how many nodes a write needs."""
    nodes = len(network.numbers)
    return nodes - (nodes - 1) // 3


def _require_quorum(network: Network) -> None:
    """Say at once what would otherwise be a timeout."""
    live, nodes = len(_live(network)), len(network.numbers)
    if live < quorum(network):
        raise NetworkError(
            f"{live} of {nodes} nodes can take part and a write needs {quorum(network)}: see "
            "status, and heal"
        )


def _length(text: str) -> int:
    try:
        return len(base58.b58decode(text)) if text.isascii() else 0
    except ValueError:
        return 0


def _listening(network: Network) -> bool:
    return all(ports.answers(network.client_port(n), network.host(n)) for n in network.numbers)


@asynccontextmanager
async def opened(network: Network) -> AsyncGenerator[NativePool]:
    """The connection to a network.

    Raises:
        VdrError: too few nodes answer.
    """
    with closing(NativePool(network.genesis.read_text())) as pool:
        await pool.refresh()
        yield pool


async def _known(pool: NativePool, did: str, verkey: str, role: str) -> int | None:
    """Return the number of the transaction that registered it, None if there is none."""
    answer = await pool.submit_request(vdr.build_get_nym_request(None, did))
    if not answer["data"]:
        return None
    there = json.loads(answer["data"])
    if there["verkey"] != verkey or there["role"] != ROLES[role]:
        raise BadInputError(f"{did} is registered already, with another verkey or role")
    return int(answer["seqNo"])


async def _write(
    trustee: bytes,
    pool: NativePool,
    did: str,
    verkey: str | None = None,
    alias: str | None = None,
    role: str | None = None,
) -> int:
    """Write a NYM with the trustee's seed, and return the number of its transaction."""
    request = vdr.build_nym_request(did_of(trustee)[0], did, verkey, alias, role)
    await _accept(pool, request)
    request.set_signature(_sign(trustee, request.signature_input))
    answer = await pool.submit_request(request)
    return int(answer["txnMetadata"]["seqNo"])


async def _order_nothing(trustee: bytes, pool: NativePool) -> None:
    """Let the nodes order a request that they can only refuse.

    Raises:
        VdrError: they did not come to that.
    """
    nobody = base58.b58encode(secrets.token_bytes(_DID_BYTES)).decode()
    operation = {"type": "100", "dest": nobody, "raw": '{"a": 1}'}
    request = _request(did_of(trustee)[0], operation)
    await _accept(pool, request)
    request.set_signature(_sign(trustee, request.signature_input))
    try:
        await pool.submit_request(request)
    except VdrError as error:
        if _NOBODY not in str(error):
            raise


async def _batches(network: Network, pool: NativePool) -> int:
    """Return how many batches have been ordered.

    Raises:
        LaggingError: not every node says so.
    """
    names = [f"Node{number}" for number in network.numbers]
    answers = await pool.submit_action(_get(_AUDIT, 1), node_aliases=names, timeout=2)
    sizes: list[int] = []
    for name in names:
        reply = _reply(answers.get(name))
        if reply is None:
            raise LaggingError(f"{name} says nothing")
        sizes.append(object_of(reply["result"]["data"]).get("ledgerSize", 0))
    return max(sizes)


def _get(ledger: int, number: int) -> Request:
    """Ask for a transaction; indy-vdr's own builder knows no audit ledger."""
    return _request(_ANYBODY, {"type": "3", "ledgerId": ledger, "data": number})


def _request(did: str, operation: Json) -> Request:
    about = {"identifier": did, "reqId": time.time_ns(), "protocolVersion": 2}
    return vdr.build_custom_request(json.dumps(about | {"operation": operation}))


async def _accept(pool: NativePool, request: Request) -> None:
    """Accept the author agreement if the ledger has one; without that it takes no write."""
    taa = await pool.submit_request(vdr.build_get_txn_author_agreement_request())
    if not taa["data"]:
        return
    aml = await pool.submit_request(vdr.build_get_acceptance_mechanisms_request())
    ways = object_of(object_of(aml["data"]).get("aml"))
    accepted = agreement.acceptance(taa["data"], ways)
    if accepted:
        request.set_txn_author_agreement_acceptance(accepted)


def _sign(seed: bytes, message: bytes) -> bytes:
    nacl = _nacl()
    signed: bytes = nacl.crypto_sign(message, nacl.crypto_sign_seed_keypair(seed)[1])
    return signed[: nacl.crypto_sign_BYTES]


def did_of(seed: bytes) -> tuple[str, str]:
    """Return the DID and the verkey of a seed."""
    key: bytes = _nacl().crypto_sign_seed_keypair(seed)[0]
    return base58.b58encode(key[:_DID_BYTES]).decode(), base58.b58encode(key).decode()


def _nacl() -> Any:
    sodium.patch()
    return importlib.import_module("libnacl")


async def _everywhere(
    network: Network,
    pool: NativePool,
    number: int,
    *,
    ledger: int = _DOMAIN,
    silent_too: bool = False,
) -> None:
    """Wait until every live node has a transaction.

    Args:
        silent_too: a node that listens and says nothing is to have it, too.
    """
    deadline = time.monotonic() + _EVERYWHERE_S
    names = [f"Node{node}" for node in _live(network)]
    heard = await asyncio.gather(
        *(_until_node_has(pool, name, (ledger, number), deadline) for name in names)
    )
    silent = [name for name, spoke in zip(names, heard, strict=True) if not spoke]
    if silent_too and silent:
        raise LaggingError(f"{silent[0]} says nothing")


def _live(network: Network) -> list[int]:
    """Return the nodes that can have a write: awake, and on the larger side of a partition."""
    sleeping = {n for one in processes.load(network.folder) if one.frozen() for n in one.nodes}
    side = max(cut.groups(network.folder), key=len, default=None)
    return [
        n
        for n in network.numbers
        if n not in sleeping
        and (side is None or f"Node{n}" in side)
        and ports.answers(network.client_port(n), network.host(n))
    ]


async def _until_node_has(
    pool: NativePool, node: str, place: tuple[int, int], deadline: float
) -> bool:
    """Ask one node for a transaction (ledger, number) until it has it; False if it says nothing.

    Raises:
        LaggingError: it answers, and does not have it in time.
    """
    heard = False
    while time.monotonic() < deadline:
        answers = await pool.submit_action(_get(*place), node_aliases=[node], timeout=2)
        reply = _reply(answers.get(node))
        if reply is not None:
            heard = True
            if reply["result"]["data"]:
                return True
        await asyncio.sleep(0.02)
    if heard:
        raise LaggingError(f"{node} has not caught up within {_EVERYWHERE_S} s")
    return False


def _reply(answer: str | None) -> Json | None:
    try:
        told = json.loads(answer or "")
    except ValueError:  # "timeout"
        return None
    return told if is_object(told) and told.get("op") == "REPLY" else None
