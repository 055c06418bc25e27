"""Which exchange a message belongs to, and whether it was handled before."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from keep_agent.core.commit import seen_name
from keep_agent.core.machine import START, Exchange, Peer, Protocol, exchange_id
from keep_agent.core.message import Json, Message, ProblemReport, TypeUri, thread_decorator
from keep_agent.core.model_errors import explained
from keep_agent.core.problem_reports import not_spoken
from keep_agent.errors import BadMessageError, OutOfTurnError, RefusedError, UnknownTypeError
from keep_agent.store.profile import Profile
from keep_agent.store.rows import SEEN

GENERIC = {"notification", "report-problem"}
"""Families whose acks and problem reports speak of an exchange of any family (RFC 0015, 0035)."""

FEW_NAMES = 4
"""As many names as an exchange can have with a peer that has one connection; they are read one by one."""
MOST_ON_A_THREAD = 8
"""How many exchanges of one thread are read; only who knows the thread of others can make more."""


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
    spoken = protocols.get(uri.protocol)
    if spoken is None and not uri.is_report and uri.family not in GENERIC:
        raise UnknownTypeError(not_spoken(protocols, uri))
    if uri.is_report and not thread_decorator(body).get("thid"):
        raise OutOfTurnError("a problem report that names no thread ends nothing")
    found: list[Message] = []
    for protocol in _candidates(protocols, uri, spoken):
        found.append(_read(protocol, uri, body))
        look = fresh or protocol is not spoken
        x = await _known(profile, protocol, found[-1], peer, fresh=look)
        if x is not None:
            return protocol, found[-1], x
    if spoken is None:
        raise OutOfTurnError(f"{uri.name} for an unknown thread")
    return spoken, found[0], _new(spoken, uri, found[0], peer)


def _candidates(
    protocols: Mapping[str, Protocol[Any]], uri: TypeUri, spoken: Protocol[Any] | None
) -> Iterator[Protocol[Any]]:
    """Yield the protocols to whose exchanges a message may belong.

    A problem report ends the exchange of the thread that it names, whatever its family.
    """
    if spoken is not None:
        yield spoken
    if spoken is None or uri.is_report:
        others = (p for p in protocols.values() if p is not spoken)
        yield from (p for p in others if p.message(uri.name) is not None)


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
    if fresh or not first:
        x = await _stored(profile, message.thid, names)
        if x is not None:
            return _owned(x, peer)
    if not first:
        for x in await profile.exchanges("sent", message.thid, limit=2):
            if x.protocol == protocol.name and x.role in roles:
                return _owned(x, peer)
    return None


async def _stored(profile: Profile, thid: str, names: Sequence[str]) -> Exchange[Any] | None:
    """Return the first of these exchanges on one thread that is in the store.

    A peer with many connections has many ids, and a report may be for any protocol: then one read finds
    what is on the thread (SEC-R01).
    """
    if len(names) > FEW_NAMES:
        found = {x.id: x for x in await profile.exchanges("thid", thid, MOST_ON_A_THREAD)}
        return next((found[name] for name in names if name in found), None)
    for name in names:
        x = await profile.exchange(name)
        if x is not None:
            return x
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
        parent=message.thread.pthid,
        peer=peer.ids[0],
        connection=peer.connection,
        data=protocol.data(),
        created=time.time(),
    )


async def was_handled(
    profile: Profile,
    protocol: Protocol[Any],
    x: Exchange[Any],
    message: Message,
    digest: str,
    attempt: int,
) -> bool:
    """Tell whether this message was handled before.

    Some peers send several messages under the id of the thread; they are told apart by their bodies.

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
    if known is None or digest in known.split():
        return known is not None
    expected = (x.role, x.state, type(message)) in protocol.cells
    if x.state == START or message.id != x.thid or not expected:
        raise RefusedError(
            "a different message came with this @id before: give each message its own"
        )
    return False


def _read(protocol: Protocol[Any], uri: TypeUri, body: Json) -> Message:
    model = protocol.message(uri.name)
    if model is None:
        raise UnknownTypeError(f"{uri.protocol} has no message {uri.name!r}")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise BadMessageError(f"{uri.name} cannot be read: {explained(error)}") from error


def _owned(x: Exchange[Any], peer: Peer) -> Exchange[Any]:
    if not peer.owns(x):
        raise RefusedError("this thread belongs to another peer", "e.p.msg.thread")
    return x
