"""Discover features 1.0: which protocols does the peer support? (Aries RFC 0031)."""

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
    """A protocol that an agent supports, and its roles in it."""

    pid: Word
    roles: Roles | None = None


class Query(Message):
    """Asks for the protocols that match; `*` stands for any text."""

    TYPE: ClassVar[str] = f"{URI}/query"
    query: Word
    comment: str | None = None


class Disclose(Message):
    """The matching protocols, as far as the responder discloses them."""

    TYPE: ClassVar[str] = f"{URI}/disclose"
    protocols: Annotated[
        tuple[SupportedProtocol, ...], Field(max_length=MOST_PROTOCOLS, fail_fast=True)
    ]


class SendQuery(Command):
    """Ask the peer which protocols it supports."""

    query: Word = "*"
    comment: str | None = None


class Features(Port):
    """The features that we disclose."""

    def find(self, kind: str, match: str) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Return id and roles of the features of a type that match; here of type `protocol`."""
        ...


class Side(Role):
    """Our role in the exchange."""

    REQUESTER = "requester"
    RESPONDER = "responder"


class State(StrEnum):
    """The states of the requester; a responder keeps no exchange."""

    QUERY_SENT = "query-sent"
    COMPLETED = "completed"


class Disclosed(Data):
    """The protocols that the peer claims to support."""

    protocols: tuple[SupportedProtocol, ...] = ()


async def ask(_x: Exchange[Disclosed], cmd: SendQuery, _port: Features) -> Step[Disclosed]:
    """Send the query."""
    return Step(State.QUERY_SENT, send=(Query(query=cmd.query, comment=cmd.comment),))


async def answer(_x: Exchange[Disclosed], query: Query, port: Features) -> Step[Disclosed]:
    """Disclose which protocols match, not more than a peer would read."""
    found = port.find("protocol", query.query)[:MOST_PROTOCOLS]
    protocols = tuple(SupportedProtocol(pid=name, roles=roles or None) for name, roles in found)
    return Step(STATELESS, send=(Disclose(protocols=protocols),))


async def keep(x: Exchange[Disclosed], message: Disclose, _port: Features) -> Step[Disclosed]:
    """Keep what the peer disclosed."""
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
