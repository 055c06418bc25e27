"""Basic messages step by step."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from agent.paper import Paper, recorded
from pydantic import ValidationError

from keep_agent.protocols.basic_message import (
    MAX_TEXT,
    PROTOCOL,
    BasicMessage,
    SendMessage,
    Side,
    State,
)


@pytest.fixture
def alice() -> Paper:
    return Paper("alice")


async def test_what_is_said_is_sent_and_kept(alice: Paper) -> None:
    x = alice.new(PROTOCOL, Side.SENDER, "c")
    after, step = await alice.run(PROTOCOL, x, SendMessage(content="Grüezi", locale="gsw"))
    (message,) = step.send
    body = message.wire()
    assert body["@id"] == x.thid
    assert body["content"] == "Grüezi"
    assert body["~l10n"] == {"locale": "gsw"}
    assert datetime.fromisoformat(body["sent_time"]).tzinfo is not None
    assert after.state == State.SENT
    assert after.data.lines[0].content == "Grüezi"


async def test_without_a_language_none_is_claimed(alice: Paper) -> None:
    x = alice.new(PROTOCOL, Side.SENDER, "c")
    _, step = await alice.run(PROTOCOL, x, SendMessage(content="hello"))
    assert "~l10n" not in step.send[0].wire()


async def test_a_recorded_message_is_kept(alice: Paper) -> None:
    (body,) = recorded("basic message", "message")
    message = BasicMessage.model_validate(body)
    x = alice.new(PROTOCOL, Side.RECEIVER, "c")
    after, step = await alice.run(PROTOCOL, x, message)
    (line,) = after.data.lines
    assert (line.content, line.locale, line.sent_time) == ("hello", "en", body["sent_time"])
    assert after.state == State.RECEIVED
    assert not step.send


async def test_a_text_in_any_script_is_kept_as_it_is_written(alice: Paper) -> None:
    text = "می\u200cخواهم 👨\u200d👩\u200d👧 שלום"  # noqa: RUF001 - Persian
    x = alice.new(PROTOCOL, Side.RECEIVER, "c")
    after, _ = await alice.run(PROTOCOL, x, BasicMessage(content=text))
    assert after.data.lines[0].content == text


async def test_a_thread_of_messages_is_kept_in_order(alice: Paper) -> None:
    x: Any = alice.new(PROTOCOL, Side.RECEIVER, "c")
    for text in ("one", "two", "three"):
        x, _ = await alice.run(PROTOCOL, x, BasicMessage(content=text))
    assert [line.content for line in x.data.lines] == ["one", "two", "three"]


@pytest.mark.parametrize(
    "body",
    [
        {"content": "x" * (MAX_TEXT + 1)},
        {"content": 5},
        {},
        {"content": "x", "sent_time": "x" * 101},
        {"content": "x", "~l10n": {"locale": ["en"]}},
    ],
)
def test_what_is_no_message_is_not_read(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BasicMessage.model_validate({"@id": "1", **body})


def test_nobody_says_more_than_peers_take() -> None:
    with pytest.raises(ValidationError):
        SendMessage(content="x" * (MAX_TEXT + 1))


def test_messages_of_one_peer_keep_their_order() -> None:
    assert PROTOCOL.in_order
