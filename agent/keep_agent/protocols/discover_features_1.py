"""Discover features 1.0: which protocols do you speak? (Aries RFC 0031)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, ClassVar
from typing import Protocol as Port

from pydantic import Field

from keep_agent.core.machine import (
    START,
    STATELESS,
    Command,
    Data,
    Exchange,
    Protocol,
    Role,
    Step,
    abandoning,
    rule,
)
from keep_agent.core.message import Message, Wire

URI = "https://didcomm.org/discover-features/1.0"
MOST_PROTOCOLS = 500
MOST_ROLES = 16

Word = Annotated[str, Field(max_length=200)]
Roles = Annotated[tuple[Word, ...], Field(max_length=MOST_ROLES, fail_fast=True)]


class SupportedProtocol(Wire):
    """A protocol that somebody speaks, and the roles it plays there."""

    pid: Word
    roles: Roles | None = None


class Query(Message):
    """Which protocols do you speak that match this? `*` stands for any text."""

    TYPE: ClassVar[str] = f"{URI}/query"
    query: Word
    comment: str | None = None


class Disclose(Message):
    """These, as far as I want to tell you."""

    TYPE: ClassVar[str] = f"{URI}/disclose"
    protocols: Annotated[
        tuple[SupportedProtocol, ...], Field(max_length=MOST_PROTOCOLS, fail_fast=True)
    ]


class SendQuery(Command):
    """Ask the peer which protocols it speaks."""

    query: Word = "*"
    comment: str | None = None


class Features(Port):
    """What we tell of ourselves."""

    def find(self, kind: str, match: str) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Return id and roles of the features of a type that match; here of type `protocol`."""
        ...


class Side(Role):
    """Who asks and who answers."""

    REQUESTER = "requester"
    RESPONDER = "responder"


class State(StrEnum):
    """Where the requester stands; a responder remembers nothing."""

    QUERY_SENT = "query-sent"
    COMPLETED = "completed"


class Disclosed(Data):
    """What the peer said that it speaks: its own claims."""

    protocols: tuple[SupportedProtocol, ...] = ()


async def ask(_x: Exchange[Disclosed], cmd: SendQuery, _port: Features) -> Step[Disclosed]:
    """Ask."""
    return Step(State.QUERY_SENT, send=(Query(query=cmd.query, comment=cmd.comment),))


async def answer(_x: Exchange[Disclosed], query: Query, port: Features) -> Step[Disclosed]:
    """Tell which protocols match, and not more than a peer would read."""
    found = port.find("protocol", query.query)[:MOST_PROTOCOLS]
    protocols = tuple(SupportedProtocol(pid=name, roles=roles or None) for name, roles in found)
    return Step(STATELESS, send=(Disclose(protocols=protocols),))


async def keep(x: Exchange[Disclosed], message: Disclose, _port: Features) -> Step[Disclosed]:
    """Keep what the peer speaks."""
    return Step(State.COMPLETED, data=x.data.but(protocols=message.protocols))


# fmt: off
PROTOCOL: Protocol[Features] = Protocol(
    uri=URI, data=Disclosed, port="features", expires_s=60, keep_days=1, rules=(
    #    role            at                on         to                do
    rule(Side.REQUESTER, START,            SendQuery, State.QUERY_SENT, ask),
    rule(Side.REQUESTER, State.QUERY_SENT, Disclose,  State.COMPLETED,  keep),
    *abandoning(Side.REQUESTER, [State.QUERY_SENT]),
    rule(Side.RESPONDER, START,            Query,     STATELESS,             answer),
))
# fmt: on
