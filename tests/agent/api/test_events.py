"""The log as a long poll and as a stream."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from agent.api.conftest import KEY, Agent, agent

from keep_agent.api import events as module
from keep_agent.errors import BadCommandError
from keep_agent.store.profile import Profile

STREAM = {"X-API-Key": KEY, "Accept": "text/event-stream"}


async def make_event(agent: Agent) -> str:
    return (await agent.client.start("out-of-band", "create-invitation"))["id"]


async def test_events_come_in_order_and_go_on_where_the_reader_stopped(alice: Agent) -> None:
    names = [await make_event(alice) for _ in range(3)]
    page = await alice.client.call("GET", "/v1/events", query={"limit": 1000})
    assert [e["id"] for e in page["results"]][-3:] == names
    numbers = [e["n"] for e in page["results"]]
    assert numbers == sorted(set(numbers))
    again = await alice.client.call("GET", "/v1/events", query={"after": page["next"]})
    assert again == {"results": [], "next": page["next"]}


async def test_a_long_poll_ends_with_the_next_event(alice: Agent) -> None:
    latest = await alice.client.call("GET", "/v1/events", query={"after": "latest"})
    query = {"after": latest["next"], "wait": 30}
    poll = asyncio.create_task(alice.client.call("GET", "/v1/events", query=query))
    name = await make_event(alice)
    assert [e["id"] for e in (await poll)["results"]] == [name]


async def test_the_client_reads_on_for_ever(alice: Agent) -> None:
    status = await alice.client.status()
    events = alice.client.events(status["event"])
    for _ in range(3):
        name = await make_event(alice)
        assert (await anext(events))["id"] == name
    await events.aclose()


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 20, "²"])
async def test_a_number_that_is_none_is_refused(alice: Agent, after: str) -> None:
    with pytest.raises(BadCommandError, match="after must be"):
        await alice.client.call("GET", "/v1/events", query={"after": after})


async def read(response: aiohttp.ClientResponse, count: int) -> list[dict[str, Any]]:
    """Read some events of a stream, checking that each says what it is."""
    found: list[dict[str, Any]] = []
    number = kind = ""
    async for raw in response.content:
        name, _, value = raw.decode().rstrip("\n").partition(": ")
        if name == "id":
            number = value
        elif name == "event":
            kind = value
        elif name == "data":
            event = json.loads(value)
            assert (str(event["n"]), event["type"]) == (number, kind)
            found.append(event)
        if len(found) == count:
            break
    return found


async def test_a_stream_goes_on_after_a_reconnect_without_a_gap(alice: Agent) -> None:
    async with aiohttp.ClientSession(alice.url, headers=STREAM) as session:
        async with session.get("/v1/events") as response:
            assert response.content_type == "text/event-stream"
            await response.content.readuntil(b"\n\n")
            first = await make_event(alice)
            [seen] = await read(response, 1)
            assert seen["id"] == first
        missed = [await make_event(alice) for _ in range(2)]
        resumed = {"Last-Event-ID": str(seen["n"])}
        async with session.get("/v1/events", headers=resumed) as response:
            assert [e["id"] for e in await read(response, 2)] == missed


async def test_a_reader_that_comes_back_after_a_restart_waits_for_the_next_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has seen all there is: neither kind of reader asks the store again and again."""
    async with agent(tmp_path) as before:
        await make_event(before)
        newest = (await before.client.call("GET", "/v1/events"))["next"]
    reads: list[int] = []
    events = Profile.events

    async def counted(self: Profile, after: int, limit: int = 500) -> list[dict[str, Any]]:
        reads.append(after)
        return await events(self, after, limit)

    monkeypatch.setattr(Profile, "events", counted)
    async with (
        agent(tmp_path) as now,
        aiohttp.ClientSession(now.url, headers=STREAM) as session,
    ):
        query = {"after": newest, "wait": 30}
        poll = asyncio.create_task(now.client.call("GET", "/v1/events", query=query))
        async with session.get("/v1/events", headers={"Last-Event-ID": str(newest)}) as stream:
            await stream.content.readuntil(b"\n\n")
            for _ in range(3):
                await now.client.status()  # both are waiting by now
            assert not poll.done()
            assert len(reads) <= 2
            name = await make_event(now)
            assert [e["id"] for e in await read(stream, 1)] == [name]
        assert [e["id"] for e in (await poll)["results"]] == [name]


async def test_there_is_no_room_for_any_number_of_readers(
    alice: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_READERS", 0)
    async with (
        aiohttp.ClientSession(headers=STREAM) as session,
        session.get(alice.url + "/v1/events") as response,
    ):
        assert response.status == 503
        problem = await response.json(content_type=None)
    assert "too many readers" in problem["detail"]
