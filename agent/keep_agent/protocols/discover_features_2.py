"""Discover features 2.0: what do you speak? (Aries RFC 0557)."""

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
    """Something of a feature type: `protocol`, `goal-code`, `aip` and others."""

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"))

    feature_type: Word


class Query(WithFeatureType):
    """Which features of one type somebody asks for; `*` in `match` stands for any text."""

    match: Word


class Disclosure(WithFeatureType):
    """One feature that somebody has."""

    id: Word
    roles: Roles | None = None


QueryList = Annotated[
    tuple[Query, ...], Field(min_length=1, max_length=MOST_QUERIES, fail_fast=True)
]


class Queries(Message):
    """What can you do of this?"""

    TYPE: ClassVar[str] = f"{URI}/queries"
    queries: QueryList


class Disclosures(Message):
    """This, as far as I want to tell you."""

    TYPE: ClassVar[str] = f"{URI}/disclosures"
    disclosures: Annotated[
        tuple[Disclosure, ...], Field(max_length=MOST_FEATURES, fail_fast=True)
    ]


class SendQueries(Command):
    """Ask the peer what it can do."""

    queries: QueryList


class Features(Port):
    """What we tell of ourselves."""

    def find(self, kind: str, match: str) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Return id and roles of the features of this type that match; unknown types have none."""
        ...


class Side(Role):
    """Who asks and who answers."""

    REQUESTER = "requester"
    RESPONDER = "responder"


class State(StrEnum):
    """Where the requester stands; a responder remembers nothing."""

    QUERIES_SENT = "queries-sent"
    COMPLETED = "completed"


class Disclosed(Data):
    """What the peer said that it can do: its own claims."""

    disclosures: tuple[Disclosure, ...] = ()


async def ask(_x: Exchange[Disclosed], cmd: SendQueries, _port: Features) -> Step[Disclosed]:
    """Ask."""
    return Step(State.QUERIES_SENT, send=(Queries(queries=cmd.queries),))


async def answer(_x: Exchange[Disclosed], queries: Queries, port: Features) -> Step[Disclosed]:
    """Tell each matching feature once, and not more than a peer would read."""
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
    """Keep what the peer can do."""
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
