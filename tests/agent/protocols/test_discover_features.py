"""Discover features 1.0 and 2.0: what is told, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from agent.paper import recorded
from pydantic import ValidationError

from keep_agent.core.features import OurFeatures, matches
from keep_agent.core.machine import START, STATELESS, Exchange, Protocol
from keep_agent.protocols import (
    basic_message,
    did_exchange,
    discover_features_1,
    discover_features_2,
    trust_ping,
)

OURS = OurFeatures(
    (basic_message.PROTOCOL, did_exchange.PROTOCOL, trust_ping.PROTOCOL),
    goal_codes=("aries.vc.issue", "aries.rel.build"),
    aip=("AIP1.0", "AIP2.0/INDYCRED"),
)


def new(protocol: Protocol[Any], role: str, state: str = START) -> Exchange[Any]:
    return Exchange(
        id="x",
        protocol=protocol.name,
        minor=protocol.minor,
        role=role,
        thid="t",
        peer="c",
        data=protocol.data(),
        state=state,
    )


async def told(*queries: tuple[str, str], features: Any = OURS) -> list[dict[str, Any]]:
    message = discover_features_2.Queries.model_validate(
        {"@id": "1", "queries": [{"feature-type": k, "match": m} for k, m in queries]}
    )
    x = new(discover_features_2.PROTOCOL, discover_features_2.Side.RESPONDER)
    after, step = await discover_features_2.PROTOCOL.step(x, message, features)
    assert after.state == STATELESS
    found: list[dict[str, Any]] = step.send[0].wire()["disclosures"]
    return found


async def test_every_version_is_told_with_our_roles() -> None:
    found = await told(("protocol", "https://didcomm.org/didexchange/*"))
    assert found == [
        {
            "feature-type": "protocol",
            "id": f"https://didcomm.org/didexchange/1.{minor}",
            "roles": ["requester", "responder"],
        }
        for minor in (0, 1)
    ]


async def test_goal_codes_and_profiles_have_no_roles() -> None:
    found = await told(("goal-code", "aries.vc.*"), ("aip", "*"))
    assert found == [
        {"feature-type": "goal-code", "id": "aries.vc.issue"},
        {"feature-type": "aip", "id": "AIP1.0"},
        {"feature-type": "aip", "id": "AIP2.0/INDYCRED"},
    ]


async def test_an_unknown_type_has_no_features() -> None:
    assert await told(("gov-fw", "*"), ("header", "*"), ("nonsense", "*")) == []


async def test_what_is_asked_twice_is_told_once() -> None:
    once = await told(("protocol", "*"))
    assert await told(*[("protocol", "*")] * 16) == once


async def test_an_answer_is_bounded() -> None:
    class Endless:
        def find(self, kind: str, match: str) -> list[tuple[str, tuple[str, ...]]]:
            return [(f"{match}{i}", ()) for i in range(400)]

    found = await told(("goal-code", "a"), ("goal-code", "b"), features=Endless())
    assert len(found) == discover_features_2.MOST_FEATURES


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"queries": []},
        {"queries": [{"feature-type": "protocol"}]},
        {"queries": [{"feature-type": "protocol", "match": "x" * 201}]},
        {"queries": [{"feature-type": "protocol", "match": "*"}] * 17},
    ],
)
def test_bad_queries_are_not_read(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        discover_features_2.Queries.model_validate({"@id": "1", **body})


async def test_recorded_messages_of_2_0_are_read() -> None:
    (asked,) = recorded("discover features", "queries")
    (disclosed,) = recorded("discover features", "disclosures")
    assert discover_features_2.Queries.model_validate(asked).wire() == asked
    queries = discover_features_2.Queries.model_validate(asked).queries
    x = new(discover_features_2.PROTOCOL, discover_features_2.Side.REQUESTER)
    x, step = await discover_features_2.PROTOCOL.step(
        x, discover_features_2.SendQueries(queries=queries), OURS
    )
    assert step.send[0].wire()["queries"] == asked["queries"]
    answer = discover_features_2.Disclosures.model_validate(disclosed)
    x, _ = await discover_features_2.PROTOCOL.step(x, answer, OURS)
    assert x.state == discover_features_2.State.COMPLETED
    assert len(x.data.disclosures) == len(disclosed["disclosures"]) == 16
    assert x.data.disclosures[1].roles == ("requester", "responder")
    kept = discover_features_2.Disclosed.model_validate(x.data.model_dump(mode="json"))
    assert kept == x.data


async def test_recorded_messages_of_1_0_are_read() -> None:
    protocol = discover_features_1.PROTOCOL
    (asked,) = recorded("discover features", "query")
    (disclosed,) = recorded("discover features", "disclose")
    x, step = await protocol.step(
        new(protocol, discover_features_1.Side.REQUESTER),
        discover_features_1.SendQuery(),
        OURS,
    )
    assert step.send[0].wire()["query"] == asked["query"]
    x, _ = await protocol.step(x, discover_features_1.Disclose.model_validate(disclosed), OURS)
    assert x.state == discover_features_1.State.COMPLETED
    assert len(x.data.protocols) == 16

    theirs = new(protocol, discover_features_1.Side.RESPONDER)
    query = discover_features_1.Query.model_validate(asked)
    theirs, step = await protocol.step(theirs, query, OURS)
    assert theirs.state == STATELESS
    answer = step.send[0].wire()["protocols"]
    assert {
        "pid": "https://didcomm.org/basicmessage/1.0",
        "roles": ["sender", "receiver"],
    } in answer


@pytest.mark.parametrize(
    ("text", "pattern", "fits"),
    [
        ("abc", "*", True),
        ("abc", "abc", True),
        ("abc", "ab", False),
        ("abc", "a*", True),
        ("abc", "*c", True),
        ("abc", "a*c", True),
        ("abc", "a*b", False),
        ("abc", "*b*", True),
        ("abc", "*x*", False),
        ("aba", "ab*ba", False),
        ("ab", "a*b*b", False),
        ("abb", "a*b*b", True),
        ("a.c", "a.c", True),
        ("abc", "a.c", False),
        ("", "*", True),
        ("", "", True),
        ("abc", "", False),
    ],
)
def test_a_star_stands_for_any_text(text: str, pattern: str, *, fits: bool) -> None:
    assert matches(text, pattern) is fits


def test_a_hostile_pattern_costs_nothing() -> None:
    assert not matches("a" * 200, "*a" * 99 + "b")
