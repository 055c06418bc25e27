"""Trust ping 1.0: does the peer answer? (Aries RFC 0048)."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from keep_agent.core.machine import (
    ABANDONED,
    START,
    STATELESS,
    Command,
    Exchange,
    Expired,
    NoData,
    Protocol,
    Role,
    Step,
    rule,
    their_problem,
)
from keep_agent.core.message import Message, ProblemReport

URI = "https://didcomm.org/trust_ping/1.0"


class Ping(Message):
    """Asks whether the receiver is there."""

    TYPE: ClassVar[str] = f"{URI}/ping"
    response_requested: bool = True
    comment: str | None = None


class PingResponse(Message):
    """Answers a ping."""

    TYPE: ClassVar[str] = f"{URI}/ping_response"
    comment: str | None = None


class SendPing(Command):
    """Ask the peer whether it is there."""

    comment: str | None = None


class Side(Role):
    """Our role in the exchange."""

    SENDER = "sender"
    RECEIVER = "receiver"


class State(StrEnum):
    """The states of the sender; a receiver keeps no exchange."""

    WAITING = "waiting"
    DONE = "done"
    SILENT = "silent"


async def send(_x: Exchange[NoData], cmd: SendPing, _: None) -> Step[NoData]:
    """Send the ping."""
    return Step(State.WAITING, send=(Ping(comment=cmd.comment),))


async def answer(_x: Exchange[NoData], ping: Ping, _: None) -> Step[NoData]:
    """Answer, if an answer is wanted."""
    return Step(STATELESS, send=(PingResponse(),) if ping.response_requested else ())


async def finish(_x: Exchange[NoData], _msg: PingResponse, _: None) -> Step[NoData]:
    """Note that the peer is there."""
    return Step(State.DONE)


async def give_up(_x: Exchange[NoData], _cmd: Expired, _: None) -> Step[NoData]:
    """Note that the peer did not answer."""
    return Step(State.SILENT, error="no answer came in time")


# fmt: off
PROTOCOL: Protocol[None] = Protocol(uri=URI, expires_s=60, keep_days=1, rules=(
    #    role           at             on            to             do
    rule(Side.SENDER,   START,         SendPing,     State.WAITING, send),
    rule(Side.SENDER,   State.WAITING, PingResponse, State.DONE,    finish),
    rule(Side.SENDER,   State.WAITING, ProblemReport, ABANDONED,    their_problem),
    rule(Side.SENDER,   State.WAITING, Expired,      State.SILENT,  give_up),
    rule(Side.RECEIVER, START,         Ping,         STATELESS,     answer),
))
# fmt: on
