"""Which exchange a message belongs to, and whether it was handled before."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from keep_agent.core.commit import seen_name
from keep_agent.core.machine import START, Exchange, Peer, Protocol, exchange_id
from keep_agent.core.message import Json, Message, ProblemReport, TypeUri
from keep_agent.errors import BadMessageError, OutOfTurnError, RefusedError, UnknownTypeError
from keep_agent.store.profile import Profile
from keep_agent.store.rows import SEEN

GENERIC = {"notification", "report-problem"}
"""Families whose acks and problem reports speak of an exchange of any family (RFC 0015, 0035)."""


class EarlyError(Exception):
    """The message came too early: another message of its thread must come first."""


async def find_exchange(
    profile: Profile,
    protocols: Mapping[str, Protocol[Any]],
    peer: Peer,
    uri: TypeUri,
    body: Json,
    *,
    fresh: bool,
) -> tuple[Protocol[Any], Message, Exchange[Any]]:
    """Parse a message and find the exchange that it belongs to, or make the one that it starts.

    Args:
        body: the message; `uri` is its type.
        fresh: look in the store, too, for the exchange of a first message; otherwise only in the cache.

    Raises:
        EarlyError: it starts no exchange, and its thread is not known yet.
        PeerError: it does not parse, is of an unknown type or thread, or its thread is another peer's.
        UnavailableError: the store does not answer.
    """
    protocol = protocols.get(uri.protocol)
    if protocol is None and uri.family not in GENERIC:
        raise UnknownTypeError(f"the protocol {uri.protocol} is not supported")
    if protocol is None:
        return await _find_any(profile, protocols, peer, uri, body)
    message = _read(protocol, uri, body)
    x = await _known(profile, protocol, message, peer, fresh=fresh)
    if x is None:
        x = _new(protocol, uri, message, peer)
    return protocol, message, x


async def _find_any(
    profile: Profile,
    protocols: Mapping[str, Protocol[Any]],
    peer: Peer,
    uri: TypeUri,
    body: Json,
) -> tuple[Protocol[Any], Message, Exchange[Any]]:
    for protocol in protocols.values():
        if protocol.message(uri.name) is None:
            continue
        message = _read(protocol, uri, body)
        x = await _known(profile, protocol, message, peer, fresh=True)
        if x is not None:
            return protocol, message, x
    raise OutOfTurnError(f"{uri.name} for an unknown thread")


async def _known(
    profile: Profile, protocol: Protocol[Any], message: Message, peer: Peer, *, fresh: bool
) -> Exchange[Any] | None:
    """Find the exchange of a message; without `fresh`, a first message is not looked up."""
    roles = protocol.receiving(type(message))
    first = message.thread.thid in {None, message.id} and protocol.starts(type(message))
    names = [
        exchange_id(protocol.name, role, message.thid, pid)
        for role in roles
        for pid in peer.ids
    ]
    for name in names:
        x = profile.cached_exchange(name)
        if x is not None:
            return _owned(x, peer)
    for name in names if fresh or not first else ():
        x = await profile.exchange(name)
        if x is not None:
            return _owned(x, peer)
    if not first:
        for x in await profile.exchanges("sent", message.thid, limit=2):
            if x.protocol == protocol.name and x.role in roles:
                return _owned(x, peer)
    return None


def _new(protocol: Protocol[Any], uri: TypeUri, message: Message, peer: Peer) -> Exchange[Any]:
    role = protocol.starts(type(message))
    if role is None or not (peer.known or protocol.strangers):
        if peer.connection and not isinstance(message, ProblemReport):
            raise EarlyError
        raise OutOfTurnError(f"{uri.name} for an unknown thread")
    return Exchange(
        id=exchange_id(protocol.name, role, message.thid, peer.ids[0]),
        protocol=protocol.name,
        minor=min(uri.minor, protocol.minor),
        role=role,
        thid=message.thid,
        pthid=message.thread.pthid,
        peer=peer.ids[0],
        connection=peer.connection,
        data=protocol.data(),
        created=time.time(),
    )


async def was_handled(
    profile: Profile, x: Exchange[Any], message: Message, digest: str, attempt: int
) -> bool:
    """Tell whether this message was handled before.

    Args:
        digest: of its body.
        attempt: 0 for the first one, which looks for a message of no known exchange in the cache only.

    Raises:
        RefusedError: a different message with its id was handled before.
    """
    known = x.seen.get(message.id)
    if known is None and x.state == START:
        name = seen_name(x, message.id)
        seen = profile.cached(SEEN, name)
        if seen is None and attempt:
            seen = await profile.fetch(SEEN, name)
        known = (seen or {}).get("digest")
    if known not in {None, digest}:
        raise RefusedError("a different message came with this id before")
    return known is not None


def _read(protocol: Protocol[Any], uri: TypeUri, body: Json) -> Message:
    model = protocol.message(uri.name)
    if model is None:
        raise UnknownTypeError(f"{uri.protocol} has no message {uri.name!r}")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        where = ", ".join(".".join(str(p) for p in e["loc"]) for e in error.errors()[:3])
        raise BadMessageError(f"{uri.name} does not parse at: {where}") from error


def _owned(x: Exchange[Any], peer: Peer) -> Exchange[Any]:
    if not peer.owns(x):
        raise RefusedError("this thread belongs to another peer", "e.p.msg.thread")
    return x
