"""Problem reports to peers whose messages are refused (Aries RFC 0035)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keep_agent.core.commit import message_type
from keep_agent.core.machine import Command, Exchange, Peer, Protocol
from keep_agent.core.message import PREFIX, Json, Message, ProblemReport, Thread, TypeUri
from keep_agent.errors import BadMessageError, NotFoundError, NotNowError, PeerError
from keep_agent.store.rows import Outgoing

REPORTS_IN_A_ROW = 10
REPORTS_PER_S = 1.0
NO_ANSWER = ("problem-report", "problem_report", "/ack")
"""Messages that are never answered with a problem report: two agents would go on for ever."""


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


def report(
    protocols: Mapping[str, Protocol[Any]], peer: Peer, body: Json, error: PeerError
) -> Outgoing | None:
    """Return the problem report that answers a refused message; None: there is none to send."""
    kind = str(body.get("@type"))
    if not peer.known or peer.connection is None or kind.endswith(NO_ANSWER):
        return None
    try:
        uri = TypeUri.parse(kind)
        thread = Thread(thid=Message.thread_of(body))
    except (BadMessageError, ValueError):
        return None
    message = ProblemReport.of(error.code, str(error)).model_copy(update={"thread": thread})
    protocol = protocols.get(uri.protocol)
    wire = message.wire(
        message_type(protocol, min(uri.minor, protocol.minor), message)
        if protocol
        else f"{PREFIX}report-problem/1.0/problem-report"
    )
    return Outgoing(
        name=message.id,
        line=peer.connection,
        thid=str(thread.thid),
        body=wire,
        connection=peer.connection,
    )


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
