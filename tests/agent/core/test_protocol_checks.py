"""A protocol of another package that cannot work is refused when it is loaded, in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, cast

import pytest
import toy_protocol

from keep_agent.core.catalog import load_catalog
from keep_agent.core.machine import START, Command, Data, Protocol, Rule, Step, rule
from keep_agent.core.message import Message
from keep_agent.core.protocol_checks import checked

URI = "https://didcomm.org/odd/1.0"


class Hello(Message):
    TYPE: ClassVar[str] = f"{URI}/hello"


class Go(Command):
    """Begin."""


class Other(Message):
    TYPE: ClassVar[str] = "https://didcomm.org/basicmessage/1.0/message"


class Nameless(Message):
    """It says no type."""


class Unstorable(Data):
    what: Any = math.nan


async def answer(_x: object, _event: object, _port: object) -> Step[Any]:
    return Step("met")


def answer_at_once(_x: object, _event: object, _port: object) -> Step[Any]:
    return Step("met")


async def answer_alone(_x: object) -> Step[Any]:
    return Step("met")


def row(
    at: str = START,
    on: object = Hello,
    to: object = "met",
    do: object = answer,
    role: str = "a",
) -> Rule[Any]:
    """A row as code that no type checker has seen makes it."""
    make = cast("Callable[..., Rule[Any]]", rule)
    return make(role, at, on, to, do)


def named(base: type[Any], name: str, **members: object) -> type[Any]:
    return type(name, (base,), {"__module__": __name__, **members})


TWIN = named(Message, "Twin", TYPE=f"{URI}/hello", __annotations__={"TYPE": "ClassVar[str]"})
GO_TWICE = named(Command, "Go")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ((), "its table has no row"),
        ((row(on=int),), "neither a message nor a command"),
        ((row(on=Other),), "the message Other is of basicmessage/1"),
        ((row(on=Nameless),), "the message Nameless has no type URI"),
        ((row(do=None),), "must be an async function; None is not"),
        ((row(do=answer_at_once),), "must be an async function; answer_at_once is not"),
        (
            (row(do=answer_alone),),
            "answer_alone must take the exchange, the event and the port",
        ),
        ((row(to=[]),), "leads to no state"),
        ((row(to=START),), "leads to no state, or to start"),
        ((row(to=[7]),), "7 cannot name a role or a state"),
        ((row(to="a,b"),), "'a,b' cannot name a role or a state"),
        ((row(role="a\x00"),), "cannot name a role or a state"),
        ((row(at="met"),), "no row leads a from start to met"),
        ((row(), row("lost", Go)), "no row leads a from start to lost"),
        ((row(), row(role="b")), "Hello starts two roles"),
        ((row(), row(on=TWIN, role="b")), "two messages have the name of Hello"),
        ((row(on=Go), row("met", GO_TWICE)), "two commands have the name of Go"),
    ],
)
def test_a_table_that_cannot_work_is_refused(rows: tuple[Rule[Any], ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        checked(Protocol(uri=URI, rules=rows), frozenset())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"expires_s": -1}, "expires_s must be a number of seconds above 0, not -1"),
        ({"expires_s": "60"}, "expires_s must be a number"),
        ({"expires_s": math.nan}, "expires_s must be a number"),
        ({"keep_days": "30"}, "keep_days must be a number of days"),
        ({"keep_days": -1}, "keep_days must be a number of days"),
        ({"problem_report": "oops"}, "problem_report must be"),
        ({"data": dict}, "must be a class that is derived from Data"),
        ({"data": Unstorable}, "cannot be stored as JSON and read again"),
        ({"port": "shelf"}, "it asks for the port 'shelf', which is not installed"),
    ],
)
def test_values_that_cannot_be_used_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        checked(Protocol(uri=URI, rules=(row(),), **values), frozenset())


@pytest.mark.parametrize("protocol", [*load_catalog().routes.values(), toy_protocol.TOY])
def test_a_protocol_that_works_is_taken(protocol: Protocol[Any]) -> None:
    assert checked(protocol, frozenset(filter(None, [protocol.port]))) is protocol
