"""The errors of the agent, as a tree.

KeepError
  PeerError              the other side broke a rule; they get a problem report
    BadEnvelopeError     cannot be opened: its sender is unknown, so it is counted and dropped
    BadMessageError      does not parse as the type that it names
    UnknownTypeError     a protocol or message type that we do not support
    OutOfTurnError       a valid message in a state that does not expect it
    RefusedError         understood, and refused by one of our checks
  LocalError             our own caller broke a rule; the API answers 4xx
    BadCommandError      400: the command does not fit its type
    NotFoundError        404: no such thing in this tenant
    NotNowError          409: not allowed in the state it is in
    SeveralError         409: several exchanges have what was named
  UnavailableError       something is not available now; the same call may succeed later (503)
  ConflictError          another commit came first; dispatch decides again on the new state
"""

from __future__ import annotations

from collections.abc import Sequence

TOO_LONG = "e.p.msg.too-long"
"""Code of the `RefusedError` for what is too long for a message: ours or its peer's."""


class KeepError(Exception):
    """Base of every error that this project raises on purpose."""


class PeerError(KeepError):
    """The other agent broke a rule.

    Attributes:
        code: the problem-report code to answer with (Aries RFC 0035).
    """

    code = "e.p.msg"


class BadEnvelopeError(PeerError):
    """The bytes are not an envelope for us (Aries RFC 0019)."""

    code = "e.p.msg.envelope"


class BadMessageError(PeerError):
    """The body does not parse as the message type that it claims to be."""

    code = "e.p.msg.bad"


class UnknownTypeError(BadMessageError):
    """No protocol here has this message type."""

    code = "e.p.msg.unsupported"


class OutOfTurnError(PeerError):
    """A well-formed message arrived in a state that does not expect it."""

    code = "e.p.msg.out-of-turn"


class RefusedError(PeerError):
    """One of our checks refused what the message asks or shows."""

    code = "e.p.refused"

    def __init__(self, message: str, code: str = code) -> None:
        super().__init__(message)
        self.code = code


class LocalError(KeepError):
    """Our own caller asked for something that is not possible.

    Attributes:
        status: the HTTP status that the admin API answers with.
    """

    status = 400


class BadCommandError(LocalError):
    """The command does not fit its type."""


class NotFoundError(LocalError):
    """No such thing in this tenant."""

    status = 404


class NotNowError(LocalError):
    """The exchange is in a state that does not allow this command."""

    status = 409


class SeveralError(LocalError):
    """Several exchanges have what was named.

    Attributes:
        ids: theirs.
    """

    status = 409

    def __init__(self, message: str, ids: Sequence[str]) -> None:
        super().__init__(message)
        self.ids = list(ids)


class UnavailableError(KeepError):
    """A dependency did not answer; the same call may succeed later."""


class ConflictError(KeepError):
    """Another commit came first: read again and decide again."""
