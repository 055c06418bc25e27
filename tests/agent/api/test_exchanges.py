"""Starting, commanding and waiting, over real HTTP between two agents."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from agent.api.conftest import KEY, Agent, Connected, settings

from keep_agent.api.app import admin_app
from keep_agent.app import running
from keep_agent.client import Client
from keep_agent.client import Exchange as ShownExchange
from keep_agent.core.machine import Exchange, exchange_id
from keep_agent.errors import BadCommandError, NotFoundError, NotNowError
from keep_agent.store.rows import Models, read_exchange


async def test_a_ping_is_started_waited_for_and_listed(connected: Connected) -> None:
    alice = connected.alice.client
    started = await alice.start("trust-ping", "send-ping", connected.to_faber)
    assert started["state"] == "waiting"
    assert (started["role"], started["awaits"]) == ("sender", ["ping_response"])
    done = await alice.wait("trust-ping", started["id"], "done", timeout=10)
    assert (done["id"], done["allowed"], done["error"]) == (started["id"], [], None)
    assert done in await alice.list("trust-ping", state="done")
    assert await alice.list("trust-ping", thid=done["thid"]) == [done]
    assert await alice.list("trust-ping", connection="somebody") == []
    assert await alice.get("trust-ping", done["id"]) == done


async def test_lists_are_paged_newest_first(connected: Connected) -> None:
    alice = connected.alice.client
    made = [
        (await alice.start("basic-message", "send-message", connected.to_faber, content=text))[
            "id"
        ]
        for text in ("one", "two", "three")
    ]
    page = await alice.call("GET", "/v1/basic-message", query={"limit": 2})
    assert [x["id"] for x in page["results"]] == made[:0:-1]
    await alice.start("basic-message", "send-message", connected.to_faber, content="four")
    rest = await alice.call(
        "GET", "/v1/basic-message", query={"limit": 2, "after": page["next"]}
    )
    assert [x["id"] for x in rest["results"]] == made[:1]  # what is newer moves no page
    assert rest["next"] is None
    every = [x["id"] async for x in alice.every("basic-message", limit=2)]
    assert (len(every), every[1:]) == (4, made[::-1])
    assert [x async for x in alice.every("basic-message", state="received")] == []


async def test_a_list_reads_nothing_but_what_fits(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By role, by one or several states, or by thread: each has a tag, also with a cursor."""
    alice = connected.alice.client
    before = [x async for x in alice.every("out-of-band")]
    assert [(x["role"], x["state"]) for x in before] == [("receiver", "done")]
    made = [await alice.start("out-of-band", "create-invitation") for _ in range(2)]
    read: list[bytes] = []

    def counted(value: bytes, models: Models) -> Exchange[Any]:
        read.append(value)
        return read_exchange(value, models)

    monkeypatch.setattr("keep_agent.store.store.read_exchange", counted)

    async def found(**query: str | int) -> list[str]:
        read.clear()
        return [x["id"] async for x in alice.every("out-of-band", **query)]

    done = before[0]["id"]
    new = [x["id"] for x in made][::-1]
    thid = made[0]["thid"]
    assert (await found(role="sender"), len(read)) == (new, 2)
    assert (await found(role="receiver,sender"), len(read)) == ([*new, done], 3)
    assert (await found(state="await-response,prepare-response"), len(read)) == (new, 2)
    assert (await found(role="receiver", state="done"), len(read)) == ([done], 1)
    assert (await found(role="sender", state="prepare-response"), read) == ([], [])
    assert await found(state="await-response", limit=1) == new
    assert (await found(thid=thid), len(read)) == (new[1:], 1)
    assert await found(thid=thid, limit=1) == new[1:]
    assert await found(thid=thid, connection="another") == []
    assert await found(thid=thid, state="done") == []
    with pytest.raises(BadCommandError, match="no role 'pope'; there are: receiver, sender"):
        await found(role="pope")


@pytest.mark.parametrize(
    "after", ["", "1", "x.y", "1.", "-1.aa", "\u0663.aa", "9" * 30 + ".aa"]
)
async def test_what_is_no_next_of_a_page_is_refused(connected: Connected, after: str) -> None:
    with pytest.raises(BadCommandError, match="after must be the `next` of a page"):
        await connected.alice.client.list("basic-message", after=after)


async def test_a_command_that_comes_early_waits_for_its_turn(connected: Connected) -> None:
    """The proposal is on its way: its thread is known to nobody here yet."""
    alice, faber = connected.alice.client, connected.faber.client
    thid = "a thread that comes later"
    early = asyncio.create_task(
        faber.command(
            "issue-credential",
            "-",
            "report-problem",
            wait=10,
            thid=thid,
            connection=connected.to_alice,
            comment="not today",
        )
    )
    await asyncio.sleep(0)
    await alice.start(
        "issue-credential",
        "send-proposal",
        connected.to_faber,
        thid=thid,
        filter={"cred_def_id": "x"},
        values={"name": "Alice"},
    )
    assert (await early)["state"] == "abandoned"
    theirs = await alice.wait(
        "issue-credential",
        exchange_id("issue-credential/2", "holder", thid, connected.to_faber),
        "abandoned",
        timeout=10,
    )
    assert "peer reports" in str(theirs["error"])


async def test_a_command_out_of_turn_is_told_state_awaited_and_allowed(
    connected: Connected,
) -> None:
    alice = connected.alice.client
    x = await alice.start("out-of-band", "create-invitation")
    with pytest.raises(
        NotNowError, match=r"the sender is in await-response.*allowed commands: "
    ):
        await alice.command("out-of-band", x["id"], "accept", wait=0)


async def test_a_state_that_cannot_come_any_more_ends_the_wait(connected: Connected) -> None:
    alice = connected.alice.client
    x = await alice.start("trust-ping", "send-ping", connected.to_faber)
    await alice.wait("trust-ping", x["id"], "done", timeout=10)
    began = time.monotonic()
    with pytest.raises(NotNowError, match="went to done"):
        await alice.wait("trust-ping", x["id"], "silent", timeout=60)
    assert time.monotonic() - began < 30


async def test_a_wait_that_is_over_is_a_time_out(alice: Agent) -> None:
    x = await alice.client.start("out-of-band", "create-invitation")
    with pytest.raises(TimeoutError, match="is in await-response"):
        await alice.client.wait("out-of-band", x["id"], "done", timeout=0.05)


async def test_without_a_state_the_next_change_ends_the_wait(connected: Connected) -> None:
    alice = connected.alice.client
    x = await alice.start("trust-ping", "send-ping", connected.to_faber)
    seen = await alice.call("GET", f"/v1/trust-ping/{x['id']}", query={"wait": 10})
    assert seen["state"] == "done"


async def test_the_same_thread_again_returns_the_exchange_that_is_there(
    connected: Connected,
) -> None:
    alice = connected.alice.client
    one = await alice.start("trust-ping", "send-ping", connected.to_faber, thid="once")
    two = await alice.start("trust-ping", "send-ping", connected.to_faber, thid="once")
    assert one["id"] == two["id"]
    named = await alice.wait(
        "trust-ping", "-", "done", timeout=10, thid="once", connection=connected.to_faber
    )
    assert named["id"] == one["id"]


async def test_an_exchange_that_began_on_an_invitation_is_found_by_its_connection(
    connected: Connected,
) -> None:
    faber = connected.faber.client
    x = await faber.get("did-exchange", connected.to_alice)
    path = "/v1/did-exchange/-"
    query = {"thid": x["thid"], "connection": connected.to_alice}
    assert (await faber.call("GET", path, query=query))["id"] == x["id"]


async def say(client: Client, connection: str, thid: str) -> ShownExchange:
    return await client.start(
        "basic-message", "send-message", connection, thid=thid, content="x"
    )


async def test_a_thread_alone_names_its_only_exchange(connected: Connected) -> None:
    alice, faber = connected.alice.client, connected.faber.client
    x = await say(alice, connected.to_faber, "mine alone")
    query = {"thid": "mine alone"}
    assert (await alice.call("GET", "/v1/basic-message/-", query=query))["id"] == x["id"]
    query |= {"state": "received", "wait": "10"}
    theirs = await faber.call("GET", "/v1/basic-message/-", query=query)
    assert (theirs["role"], theirs["thid"]) == ("receiver", "mine alone")


async def test_a_thread_of_several_exchanges_is_answered_with_their_ids(
    connected: Connected,
) -> None:
    """Either side chose the same thread id, so Alice has a message of hers and one of Faber's on it."""
    alice, faber = connected.alice.client, connected.faber.client
    mine = await say(alice, connected.to_faber, "shared")
    await say(faber, connected.to_alice, "shared")
    query = {"thid": "shared", "state": "received", "wait": 10}
    [theirs] = (await alice.call("GET", "/v1/basic-message", query=query))["results"]
    url = f"{connected.alice.url}/v1/basic-message/-?thid=shared"
    async with (
        aiohttp.ClientSession(headers={"X-API-Key": KEY}) as session,
        session.get(url) as answer,
    ):
        said = await answer.json()
    assert answer.status == 409
    assert "several exchanges are on this thread" in said["detail"]
    assert sorted(said["exchanges"]) == sorted([mine["id"], theirs["id"]])


async def test_a_list_waits_until_there_is_something_in_it(connected: Connected) -> None:
    alice, faber = connected.alice.client, connected.faber.client
    query = {"thid": "not yet", "state": "received", "wait": 10}
    waiting = asyncio.create_task(faber.call("GET", "/v1/basic-message", query=query))
    await asyncio.sleep(0)
    await say(alice, connected.to_faber, "not yet")
    found = await waiting
    assert [x["thid"] for x in found["results"]] == ["not yet"]
    query = {"thid": "never", "wait": 0.05}
    assert (await faber.call("GET", "/v1/basic-message", query=query))["results"] == []


async def test_an_exchange_is_not_shown_under_another_protocol(connected: Connected) -> None:
    faber = connected.faber.client
    with pytest.raises(NotFoundError):
        await faber.get("trust-ping", connected.to_alice)
    with pytest.raises(NotFoundError):
        await faber.command("trust-ping", connected.to_alice, "send-ping")
    with pytest.raises(BadCommandError, match="name the exchange"):
        await faber.get("trust-ping", "-")


async def test_nobody_can_say_that_time_is_over(alice: Agent) -> None:
    x = await alice.client.start("trust-ping", "send-ping")
    with pytest.raises(BadCommandError, match="has no command"):
        await alice.client.command("trust-ping", x["id"], "expired")


async def test_an_offer_goes_along_with_an_invitation(connected: Connected) -> None:
    """The invitation takes the name by which the attached exchange knows its peer."""
    alice, faber = connected.alice.client, connected.faber.client
    ping = await faber.start("trust-ping", "send-ping")
    invitation = await faber.start("out-of-band", "create-invitation", attach=[ping["id"]])
    attached = invitation["data"]["message"]["requests~attach"]
    assert len(attached) == 1
    got = await alice.start(
        "out-of-band", "receive-invitation", invitation=invitation["data"]["message"]
    )
    assert got["data"]["request"].endswith("trust_ping/1.0/ping")


async def test_waiting_callers_do_not_hold_up_the_end(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(running(settings(tmp_path), admin_app))
        async with Client(alice.admin_url, KEY) as client:
            x = await client.start("trust-ping", "send-ping")  # to nobody: it stays waiting
            waiting = [
                asyncio.create_task(client.call("GET", path, query={"wait": 60, **query}))
                for path, query in (
                    ("/v1/events", {"after": 10**9}),
                    ("/v1/connections", {}),
                    (f"/v1/trust-ping/{x['id']}", {"state": "done"}),
                )
            ]
            while x["id"] not in alice.tenants.open["main"].dispatcher._changes:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            began = time.monotonic()
            await stack.aclose()
            assert time.monotonic() - began < 30
            events, connections, exchange = [await each for each in waiting]
    assert exchange["state"] == "waiting"
    assert events["results"] == connections["results"] == []
