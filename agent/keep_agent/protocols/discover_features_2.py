"""Discover features 2.0: which features does the peer have? (Aries RFC 0557)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, ClassVar
from typing import Protocol as Port

from pydantic import ConfigDict, Field

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

URI = "https://didcomm.org/discover-features/2.0"
MOST_QUERIES = 16
MOST_FEATURES = 500
MOST_ROLES = 16

Word = Annotated[str, Field(max_length=200)]
Roles = Annotated[tuple[Word, ...], Field(max_length=MOST_ROLES, fail_fast=True)]


class WithFeatureType(Wire):
    """Base of what has a feature type: `protocol`, `goal-code`, `aip` and others."""

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"))

    feature_type: Word


class Query(WithFeatureType):
    """A query for features of one type; `*` in `match` stands for any text."""

    match: Word


class Disclosure(WithFeatureType):
    """One feature of an agent."""

    id: Word
    roles: Roles | None = None


QueryList = Annotated[
    tuple[Query, ...], Field(min_length=1, max_length=MOST_QUERIES, fail_fast=True)
]


class Queries(Message):
    """Asks for the features that match."""

    TYPE: ClassVar[str] = f"{URI}/queries"
    queries: QueryList


class Disclosures(Message):
    """The matching features, as far as the responder discloses them."""

    TYPE: ClassVar[str] = f"{URI}/disclosures"
    disclosures: Annotated[
        tuple[Disclosure, ...], Field(max_length=MOST_FEATURES, fail_fast=True)
    ]


class SendQueries(Command):
    """Ask the peer which features it has."""

    queries: QueryList


class Features(Port):
    """The features that we disclose."""

    def find(self, kind: str, match: str) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Return id and roles of the features of this type that match; unknown types have none."""
        ...


class Side(Role):
    """Our role in the exchange."""

    REQUESTER = "requester"
    RESPONDER = "responder"


class State(StrEnum):
    """The states of the requester; a responder keeps no exchange."""

    QUERIES_SENT = "queries-sent"
    COMPLETED = "completed"


class Disclosed(Data):
    """The features that the peer claims to have."""

    disclosures: tuple[Disclosure, ...] = ()


async def ask(_x: Exchange[Disclosed], cmd: SendQueries, _port: Features) -> Step[Disclosed]:
    """Send the queries."""
    return Step(State.QUERIES_SENT, send=(Queries(queries=cmd.queries),))


async def answer(_x: Exchange[Disclosed], queries: Queries, port: Features) -> Step[Disclosed]:
    """Disclose each matching feature once, not more than a peer would read."""
    found = dict.fromkeys(
        (query.feature_type, name, roles)
        for query in queries.queries
        for name, roles in port.find(query.feature_type, query.match)
    )
    disclosures = tuple(
        Disclosure(feature_type=kind, id=name, roles=roles or None)
        for kind, name, roles in list(found)[:MOST_FEATURES]
    )
    return Step(STATELESS, send=(Disclosures(disclosures=disclosures),))


async def keep(
    x: Exchange[Disclosed], message: Disclosures, _port: Features
) -> Step[Disclosed]:
    """Keep what the peer disclosed."""
    return Step(State.COMPLETED, data=x.data.but(disclosures=message.disclosures))


# fmt: off
PROTOCOL: Protocol[Features] = Protocol(
    uri=URI, data=Disclosed, port="features", expires_s=60, keep_days=1, rules=(
    #    role            at                  on           to                  do
    rule(Side.REQUESTER, START,              SendQueries, State.QUERIES_SENT, ask),
    rule(Side.REQUESTER, State.QUERIES_SENT, Disclosures, State.COMPLETED,    keep),
    *abandoning(Side.REQUESTER, [State.QUERIES_SENT]),
    rule(Side.RESPONDER, START,              Queries,     STATELESS,               answer),
))
# fmt: on
