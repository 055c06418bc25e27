"""Problem reports to peers whose messages are refused (Aries RFC 0035).

Reports and acks are never answered with one: two agents would go on for ever.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keep_agent.core.commit import message_type
from keep_agent.core.machine import Command, Exchange, Peer, Protocol, Target
from keep_agent.core.message import (
    PREFIX,
    Json,
    Message,
    ProblemReport,
    Received,
    Thread,
    TypeUri,
    thread_decorator,
)
from keep_agent.errors import (
    BadMessageError,
    NotFoundError,
    NotNowError,
    PeerError,
    RefusedError,
)
from keep_agent.store.rows import Outgoing

REPORTS_IN_A_ROW = 10
REPORTS_PER_S = 1.0
UNDERSCORED = frozenset({"connections", "didexchange"})
"""The families whose reports are spelled `problem_report` (RFC 0023, 0160)."""


@dataclass(slots=True)
class Allowance:
    """How many problem reports a peer may cause now, so that it cannot make us send without end."""

    left: float = REPORTS_IN_A_ROW
    at: float = field(default_factory=time.monotonic)

    def take(self) -> bool:
        """Use one up; False: there is none left."""
        now = time.monotonic()
        self.left = min(REPORTS_IN_A_ROW, self.left + (now - self.at) * REPORTS_PER_S)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


ReturnAddress = Callable[[Received], Awaitable[Target | None]]
"""Finds out where the sender of a message is reached without a connection."""


async def nowhere(_: Received) -> None:
    """For tenants without invitations."""


class Reports:
    """Decides whether a refused message is answered; one tenant's.

    Args:
        protocols: those that are supported, by `family/major`.
    """

    def __init__(
        self, protocols: Mapping[str, Protocol[Any]], return_address: ReturnAddress
    ) -> None:
        self._protocols = protocols
        self._return_address = return_address
        self._allowances: dict[str, Allowance] = {}

    async def answer(self, peer: Peer, received: Received, error: PeerError) -> Outgoing | None:
        """Return the problem report for a refused message, as far as its peer's allowance goes.

        Without a connection, those are told who answer an invitation that is used up or expired, or who
        write to a public DID. Each such message takes of the allowance of the invitation or the DID,
        also where nobody can be told: to find that out costs reads of a ledger.
        """
        if peer.connection is None:
            return await self._answer_stranger(peer, received, error)
        made = report(self._protocols, peer, received.body, error)
        return made if made is not None and self._allowance(peer).take() else None

    async def _answer_stranger(
        self, peer: Peer, received: Received, error: PeerError
    ) -> Outgoing | None:
        if peer.closed is not None:
            error = RefusedError(peer.closed, error.code)
        elif peer.via.did is None or peer.via.invitation is not None:
            return None
        if not self._allowance(peer).take():
            return None
        target = await self._return_address(received)
        return report(self._protocols, peer, received.body, error, target)

    def _allowance(self, peer: Peer) -> Allowance:
        return self._allowances.setdefault(peer.ids[0], Allowance())


def report(
    protocols: Mapping[str, Protocol[Any]],
    peer: Peer,
    body: Json,
    error: PeerError,
    target: Target | None = None,
) -> Outgoing | None:
    """Return the problem report that answers a refused message; None: there is none to send.

    It is of the family of that message, also where we do not speak that: a peer that gets a family
    which it does not know learns nothing.

    Args:
        target: where it goes if there is no connection.
    """
    if target is None and (not peer.known or peer.connection is None):
        return None
    try:
        uri = TypeUri.parse(body.get("@type"))
        pthid = thread_decorator(body).get("pthid")
        thread = Thread(thid=Message.thread_of(body), pthid=pthid)
    except (BadMessageError, ValueError):
        return None
    if uri.is_report or uri.name.lower() == "ack":
        return None
    message = ProblemReport.of(error.code, str(error)).model_copy(update={"thread": thread})
    return Outgoing(
        name=message.id,
        line=peer.connection or f"{peer.ids[0]} {thread.thid}",
        thid=str(thread.thid),
        body=message.wire(_report_type(protocols.get(uri.protocol), uri)),
        connection=None if target else peer.connection,
        target=target,
    )


def _report_type(protocol: Protocol[Any] | None, uri: TypeUri) -> str:
    if protocol is not None:
        return message_type(protocol, min(uri.minor, protocol.minor), ProblemReport())
    name = "problem_report" if uri.family in UNDERSCORED else "problem-report"
    return f"{PREFIX}{uri.family}/{uri.major}.{uri.minor}/{name}"


def not_spoken(protocols: Mapping[str, Protocol[Any]], uri: TypeUri) -> str:
    """Say that a protocol is not supported, and which versions of its family are."""
    versions = [p.uri.rpartition("/")[2] for p in protocols.values() if _same_family(p, uri)]
    known = f"{uri.family}/{' and '.join(versions)} is" if versions else ""
    instead = known or "ask what is, with discover-features"
    return f"the protocol {uri.family}/{uri.major}.{uri.minor} is not supported; {instead}"


def _same_family(protocol: Protocol[Any], uri: TypeUri) -> bool:
    return protocol.name.rpartition("/")[0] == uri.family


def not_now(
    protocols: Mapping[str, Protocol[Any]], name: str, x: Exchange[Any] | None, command: Command
) -> NotFoundError | NotNowError:
    """Return the error for a command that is not allowed, with what is awaited and allowed."""
    if x is None:
        return NotFoundError(f"no exchange {name!r}")
    protocol = protocols[x.protocol]
    allowed = ", ".join(protocol.allowed(x.role, x.state)) or "none"
    awaited = ", ".join(protocol.awaited(x.role, x.state)) or "nothing"
    return NotNowError(
        f"{command.title()} is not allowed: the {x.role} is in {x.state}, "
        f"awaits {awaited}; allowed commands: {allowed}"
    )
