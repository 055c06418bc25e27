"""Basic message 1.0: a text for the peer (Aries RFC 0095)."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from keep_agent.core.machine import START, Command, Data, Exchange, Protocol, Role, Step, rule
from keep_agent.core.message import Message, Wire
from keep_agent.core.times import TimeText

URI = "https://didcomm.org/basicmessage/1.0"
MAX_TEXT = 50_000
MAX_WORD = 100

Text = Annotated[str, Field(max_length=MAX_TEXT)]
Word = Annotated[str, Field(max_length=MAX_WORD)]


class Language(Wire):
    """The `~l10n` decorator (RFC 0043): which language the text is in."""

    locale: Word | None = None


class BasicMessage(Message):
    """A text from one agent to the other."""

    TYPE: ClassVar[str] = f"{URI}/message"
    content: Text
    sent_time: TimeText | None = None
    l10n: Language | None = None


class SendMessage(Command):
    """Send a text to the peer.

    Attributes:
        locale: language of the content, as `en`.
    """

    content: Text
    locale: Word | None = None


class Side(Role):
    """Our role in the exchange."""

    SENDER = "sender"
    RECEIVER = "receiver"


class State(StrEnum):
    """The states; nothing is awaited in either."""

    SENT = "sent"
    RECEIVED = "received"


class Line(Data):
    """One message.

    Attributes:
        sent_time: by the sender's clock; ISO 8601, if it follows the RFC.
    """

    id: str
    content: str
    sent_time: str | None = None
    locale: str | None = None


class Lines(Data):
    """The messages of a thread, oldest first; what a peer wrote is untrusted text."""

    lines: tuple[Line, ...] = ()


def _with(x: Exchange[Lines], message: BasicMessage) -> Lines:
    line = Line(
        id=message.id,
        content=message.content,
        sent_time=message.sent_time,
        locale=message.l10n.locale if message.l10n else None,
    )
    return Lines(lines=(*x.data.lines, line))


async def send(x: Exchange[Lines], cmd: SendMessage, _: None) -> Step[Lines]:
    """Send the message."""
    message = BasicMessage(
        id=x.thid,
        content=cmd.content,
        sent_time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        l10n=Language(locale=cmd.locale) if cmd.locale else None,
    )
    return Step(State.SENT, data=_with(x, message), send=(message,))


async def keep(x: Exchange[Lines], message: BasicMessage, _: None) -> Step[Lines]:
    """Keep the message; a peer may send more on the thread of an earlier message."""
    return Step(State.RECEIVED, data=_with(x, message))


# fmt: off
PROTOCOL: Protocol[None] = Protocol(uri=URI, data=Lines, in_order=True, rules=(
    #    role           at              on            to              do
    rule(Side.SENDER,   START,          SendMessage,  State.SENT,     send),
    rule(Side.RECEIVER, START,          BasicMessage, State.RECEIVED, keep),
    rule(Side.RECEIVER, State.RECEIVED, BasicMessage, State.RECEIVED, keep),
))
# fmt: on
