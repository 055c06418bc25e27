"""The table: what it allows, what it reaches, and that a step keeps to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import toy_protocol
from pydantic import ValidationError
from toy_protocol import (
    TOY,
    Knock,
    Likes,
    Memory,
    Open,
    SendKnock,
    SendOpen,
    Side,
    State,
    ToyAck,
)

from keep_agent.core.machine import (
    ABANDONED,
    START,
    Exchange,
    Expired,
    Protocol,
    ReportProblem,
    Step,
    exchange_id,
    rule,
)
from keep_agent.core.message import ProblemReport
from keep_agent.errors import OutOfTurnError, RefusedError

HOST = Exchange(
    id="x", protocol=TOY.name, minor=2, role=Side.HOST, thid="t", peer="c", data=Memory()
)


async def test_a_step_moves_by_the_table() -> None:
    after, step = await TOY.step(HOST, Knock(word="please"), Likes())
    assert (after.state, after.data) == (State.HEARD, Memory(word="please"))
    assert (HOST.state, HOST.data) == (START, Memory())
    after, step = await TOY.step(after, SendOpen(), Likes())
    assert after.state == State.OPENED
    assert [type(m) for m in step.send] == [Open]


async def test_no_row_no_transition() -> None:
    with pytest.raises(OutOfTurnError, match="host in start does not expect ack"):
        await TOY.step(HOST, ToyAck(), Likes())


async def test_a_step_must_go_where_its_row_says() -> None:
    async def astray(_x: toy_protocol.X, _e: Knock, _: toy_protocol.Doorkeeper) -> Step[Memory]:
        return Step("elsewhere")

    wrong = Protocol(
        uri=toy_protocol.URI, rules=(rule(Side.HOST, START, Knock, State.HEARD, astray),)
    )
    with pytest.raises(AssertionError, match="astray went to elsewhere"):
        await wrong.step(HOST, Knock(word="x"), Likes())


def test_a_cell_has_one_rule() -> None:
    row = rule(Side.HOST, START, Knock, State.HEARD, toy_protocol.hear)
    with pytest.raises(ValueError, match="two rows for one event"):
        Protocol(uri=toy_protocol.URI, rules=(row, row))


@pytest.mark.parametrize(
    "uri", ["https://example.org/toy/1.0", "https://didcomm.org/toy/1", ""]
)
def test_a_protocol_with_another_kind_of_uri_is_told_the_form(uri: str) -> None:
    with pytest.raises(ValueError, match=r"didcomm\.org/{family}/{major}\.{minor}"):
        Protocol(uri=uri, rules=())


def test_the_table_tells_all_that_others_need() -> None:
    assert (TOY.name, TOY.minor) == ("toy/1", 2)
    assert TOY.starts(Knock) == Side.HOST
    assert TOY.starts(SendKnock) == Side.GUEST
    assert TOY.starts(Open) is None
    assert TOY.receiving(Open) == (Side.GUEST,)
    assert TOY.message("open") is Open
    assert TOY.message("problem-report") is TOY.message("problem_report") is ProblemReport
    assert TOY.message("nonsense") is None
    assert TOY.allowed(Side.HOST, State.HEARD) == ("report-problem", "send-open")
    assert TOY.awaited(Side.HOST, State.OPENED) == ("ack",)
    assert TOY.final(Side.HOST, State.DONE)
    assert TOY.final(Side.HOST, ABANDONED)
    assert not TOY.final(Side.HOST, State.HEARD)
    assert "heard --> opened: send-open" in TOY.mermaid(Side.HOST)


@pytest.mark.parametrize(
    ("at", "on", "may"),
    [
        (START, ToyAck, True),
        (State.HEARD, ToyAck, True),
        (State.OPENED, SendOpen, False),
        (State.DONE, ToyAck, False),
        (ABANDONED, SendOpen, False),
    ],
)
def test_what_may_come_later_is_what_the_table_reaches(
    at: str,
    on: type[object],
    may: bool,  # noqa: FBT001
) -> None:
    assert TOY.may_come(Side.HOST, at, on) is may


@pytest.mark.parametrize("event", [ProblemReport.of("no"), ReportProblem(), Expired()])
async def test_either_side_and_time_can_end_an_exchange(event: object) -> None:
    after, step = await TOY.step(replace(HOST, state=State.HEARD), event, Likes())
    assert after.state == ABANDONED
    assert after.error
    assert bool(step.send) is not isinstance(event, ProblemReport)


async def test_a_check_of_a_handler_is_an_error_of_the_peer() -> None:
    with pytest.raises(RefusedError) as refused:
        await TOY.step(HOST, Knock(word="now!"), Likes())
    assert refused.value.code == "e.p.rude"


def test_data_is_changed_only_as_its_model_says() -> None:
    assert Memory().but(word="x") == Memory(word="x")
    with pytest.raises(ValidationError):
        Memory().but(wrod="x")
    with pytest.raises(ValidationError):
        Memory().but(word=7)


def test_names_of_exchanges_do_not_run_together() -> None:
    names = {
        exchange_id(*parts)
        for parts in [
            ("a", "b", "c", "d"),
            ("ab", "", "c", "d"),
            ("a", "b", "cd", ""),
            ("a", "b", "d", "c"),
        ]
    }
    assert len(names) == 4


def test_commands_are_named_like_their_class() -> None:
    assert SendKnock.title() == "send-knock"
    assert Expired.title() == "expired"
