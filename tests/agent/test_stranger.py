"""A running agent talks over HTTP with somebody who shares no code with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from agent.processes import Spawned, spawned
from agent.stranger import (
    NEW,
    OLD,
    Contact,
    Identity,
    Json,
    Stranger,
    Tie,
    attached,
    fresh,
    join,
    listening,
    peer1,
    peer2,
    peer4,
    read_invitation,
    read_peer4,
)

OOB = "out-of-band"


@pytest.fixture(scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Spawned, None]:
    async with spawned(tmp_path_factory.mktemp("agent")) as agent:
        auto = {"request-received": {"command": "send-response"}}
        await agent.client.set_policy("didexchange/1", auto)
        yield agent


@pytest.fixture
async def stranger() -> AsyncGenerator[Stranger, None]:
    async with listening() as stranger:
        yield stranger


async def invited(agent: Spawned, **wish: Any) -> Json:
    x = await agent.client.start(OOB, "create-invitation", **wish)
    message: Json = x["data"]["message"]
    return message


async def connected(agent: Spawned, stranger: Stranger) -> Tie:
    return await join(stranger, await invited(agent), stranger.new())


async def label_of(agent: Spawned, invitation: Json) -> object:
    connection = await agent.client.connected(invitation["@id"], timeout=20)
    return connection["label"]


# -- the agent invites -------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("prefix", [NEW, OLD])
async def test_a_stranger_answers_an_invitation(
    agent: Spawned, stranger: Stranger, version: str, prefix: str
) -> None:
    invitation = await invited(agent)
    tie = await join(stranger, invitation, stranger.new(), version=version, prefix=prefix)
    assert await label_of(agent, invitation) == "a stranger"
    assert (await tie.ping())["@type"] == f"{NEW}trust_ping/1.0/ping_response"


async def test_a_did_peer_2_is_understood(agent: Spawned, stranger: Stranger) -> None:
    us = stranger.new()
    tie = await join(stranger, await invited(agent), us, {"did": peer2(us, stranger.endpoint)})
    await tie.ping()


@pytest.mark.parametrize("style", ["url", "padded", "unpadded"])
async def test_a_did_peer_1_comes_with_its_signed_document(
    agent: Spawned, stranger: Stranger, style: str
) -> None:
    us = stranger.new()
    did, document = peer1(us, stranger.endpoint)
    written = json.dumps(document).encode()
    more = {"did": did, "did_doc~attach": attached(us, written, style)}
    await (await join(stranger, await invited(agent), us, more)).ping()


async def test_what_nobody_knows_does_not_matter(agent: Spawned, stranger: Stranger) -> None:
    """Decorators and fields of other versions, and those that peers really send."""
    more: Json = {
        "~please_ack": {"on": ["RECEIPT"]},
        "~transport": {"return_route": "none"},
        "~trace": {"target": "log", "full_thread": True},
        "~timing": {"out_time": "2026-01-01T00:00:00Z", "wait_until_time": 7},
        "~attach": [],
        "~never~heard": {"deep": [{"of": "it"}]},
        "goal": "all is well",
        "extra": None,
    }
    tie = await join(stranger, await invited(agent), stranger.new(), more)
    ping: Json = {"@type": f"{NEW}trust_ping/1.0/ping", "@id": fresh(), **more}
    ping["~thread"] = {"sender_order": 0, "received_orders": {}}
    assert await tie.send(ping) == 202
    body = await stranger.hear("trust_ping/1.0/ping_response")
    assert body["~thread"]["thid"] == ping["@id"]


async def test_a_request_without_a_parent_thread_counts_by_its_key(
    agent: Spawned, stranger: Stranger
) -> None:
    """Whoever seals to the key of an invitation has it."""
    invitation = await invited(agent)
    us = stranger.new()
    name = fresh()
    body: Json = {"@type": f"{NEW}didexchange/1.1/request", "@id": name}
    body["did"] = peer4(us, stranger.endpoint)
    assert await stranger.send(read_invitation(invitation), body, us) == 202
    response = await stranger.hear("didexchange/1.1/response")
    assert response["~thread"]["pthid"] == invitation["@id"]


# -- the stranger invites ----------------------------------------------------------------------


def invitation_of(us: Identity, stranger: Stranger, version: str, prefix: str = NEW) -> Json:
    return {
        "@type": f"{prefix}out-of-band/{version}/invitation",
        "@id": fresh(),
        "label": "a stranger",
        "accept": ["didcomm/aip1", "didcomm/aip2;env=rfc19"],
        "handshake_protocols": [f"{prefix}didexchange/{version}"],
        "services": [
            {
                "id": "#inline",
                "type": "did-communication",
                "recipientKeys": [f"did:key:{us.multikey}"],
                "serviceEndpoint": stranger.endpoint,
            }
        ],
        "requests~attach": [],
    }


async def asked(
    agent: Spawned, stranger: Stranger, inviter: Identity, version: str = "1.1"
) -> tuple[Json, Contact, str]:
    """Let the agent accept an invitation of ours; return its request, its place, and its exchange."""
    message = invitation_of(inviter, stranger, version)
    x = await agent.client.start(OOB, "receive-invitation", invitation=message)
    await agent.client.command(OOB, x["id"], "accept")
    body, sender = await stranger.hear_with_sender(f"didexchange/{version}/request")
    assert body["~thread"]["pthid"] == message["@id"]
    them = read_peer4(body["did"])
    assert sender == them.verkey
    (mine,) = await agent.client.list(
        "did-exchange", thid=body["~thread"].get("thid", body["@id"])
    )
    return body, them, mine["id"]


def answer(request: Json, more: Json, version: str = "1.1") -> Json:
    return {
        "@type": f"{NEW}didexchange/{version}/response",
        "@id": fresh(),
        "~thread": {"thid": request["~thread"].get("thid", request["@id"])},
        **more,
    }


async def state_of(agent: Spawned, exchange: str, *states: str) -> str:
    x = await agent.client.wait("did-exchange", exchange, *states, timeout=20)
    return x["state"]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_the_agent_answers_an_invitation(
    agent: Spawned, stranger: Stranger, version: str
) -> None:
    inviter, us = stranger.new(), stranger.new()
    request, them, exchange = await asked(agent, stranger, inviter, version)
    did = peer4(us, stranger.endpoint)
    vouched = {"did": did, "did_rotate~attach": attached(inviter, did.encode(), "padded")}
    assert await stranger.send(them, answer(request, vouched, version), us) == 202
    complete = await stranger.hear(f"didexchange/{version}/complete")
    assert complete["~thread"]["pthid"] == request["~thread"]["pthid"]
    assert await state_of(agent, exchange, "completed") == "completed"
    await Tie(stranger, us, them, exchange).ping()


async def test_a_response_may_bring_a_document_that_the_inviter_signed(
    agent: Spawned, stranger: Stranger
) -> None:
    inviter, us = stranger.new(), stranger.new()
    request, them, exchange = await asked(agent, stranger, inviter, "1.0")
    did, document = peer1(us, stranger.endpoint)
    more = {
        "did": did,
        "did_doc~attach": attached(inviter, json.dumps(document).encode(), "unpadded"),
    }
    assert await stranger.send(them, answer(request, more, "1.0"), us) == 202
    await stranger.hear("didexchange/1.0/complete")
    await Tie(stranger, us, them, exchange).ping()


HOSTILE: dict[str, Callable[[str, Identity], Json]] = {
    "signed by somebody else": lambda did, _inviter: attached(Identity(), did.encode()),
    "of another DID": lambda did, inviter: attached(inviter, (did + "x").encode()),
    "under another kid": lambda did, inviter: attached(
        inviter, did.encode(), header={"kid": f"did:key:{Identity().multikey}"}
    ),
    "with another kid in its key": lambda did, inviter: attached(
        inviter, did.encode(), kid=f"did:key:{Identity().multikey}"
    ),
    "with alg none": lambda did, inviter: attached(inviter, did.encode(), alg="none"),
    "with alg HS256": lambda did, inviter: attached(inviter, did.encode(), alg="HS256"),
    "with crit": lambda did, inviter: attached(inviter, did.encode(), crit=["b64"], b64=False),
    "with no key": lambda did, inviter: attached(inviter, did.encode(), jwk={}),
    "with a text for a key": lambda did, inviter: attached(inviter, did.encode(), jwk="x"),
}


@pytest.mark.parametrize("how", HOSTILE)
async def test_sec_e_13_a_rotation_that_is_not_the_inviters_ends_the_handshake(
    agent: Spawned, stranger: Stranger, how: str
) -> None:
    inviter, us = stranger.new(), stranger.new()
    request, them, exchange = await asked(agent, stranger, inviter)
    did = peer4(us, stranger.endpoint)
    forged = {"did": did, "did_rotate~attach": HOSTILE[how](did, inviter)}
    assert await stranger.send(them, answer(request, forged), us) == 202
    problem = await stranger.hear("didexchange/1.1/problem_report")
    assert problem["description"]["code"] == "response_not_accepted"
    assert await state_of(agent, exchange, "abandoned") == "abandoned"


# -- they talk -----------------------------------------------------------------------------------


async def test_both_say_something(agent: Spawned, stranger: Stranger) -> None:
    tie = await connected(agent, stranger)
    said: Json = {
        "@type": f"{OLD}basicmessage/1.0/message",
        "@id": fresh(),
        "~l10n": {"locale": "en"},
        "sent_time": "2026-01-01 00:00:00Z",
        "content": "Grüße 👋 <b>",
    }
    assert await tie.send(said) == 202
    (x,) = await agent.client.list("basic-message", thid=said["@id"])
    assert x["data"]["lines"][0]["content"] == said["content"]
    await agent.client.start("basic-message", "send-message", x["connection"], content="hello")
    assert (await stranger.hear("basicmessage/1.0/message"))["content"] == "hello"


async def test_the_agent_pings(agent: Spawned, stranger: Stranger) -> None:
    tie = await connected(agent, stranger)
    (connection, *_) = await agent.client.connections()
    x = await agent.client.start("trust-ping", "send-ping", connection["id"])
    ping = await stranger.hear("trust_ping/1.0/ping")
    pong = {"@type": f"{OLD}trust_ping/1.0/ping_response", "@id": fresh()}
    assert await tie.send({**pong, "~thread": {"thid": ping["@id"]}}) == 202
    assert (await agent.client.wait("trust-ping", x["id"], "done", timeout=20))[
        "state"
    ] == "done"


@pytest.mark.parametrize("prefix", [NEW, OLD])
async def test_the_agent_says_what_it_speaks(
    agent: Spawned, stranger: Stranger, prefix: str
) -> None:
    tie = await connected(agent, stranger)
    query = {
        "@type": f"{prefix}discover-features/1.0/query",
        "@id": fresh(),
        "query": "*didex*",
    }
    assert await tie.send(query) == 202
    told = await stranger.hear("discover-features/1.0/disclose")
    assert {p["pid"] for p in told["protocols"]} == {
        f"{NEW}didexchange/1.0",
        f"{NEW}didexchange/1.1",
    }
    queries = {
        "@type": f"{prefix}discover-features/2.0/queries",
        "@id": fresh(),
        "queries": [{"feature-type": "protocol", "match": f"{NEW}trust_ping/*"}],
    }
    assert await tie.send(queries) == 202
    told = await stranger.hear("discover-features/2.0/disclosures")
    assert [d["id"] for d in told["disclosures"]] == [f"{NEW}trust_ping/1.0"]


async def test_a_known_stranger_reuses_the_connection(
    agent: Spawned, stranger: Stranger
) -> None:
    tie = await connected(agent, stranger)
    invitation, name = await invited(agent), fresh()
    reuse = {
        "@type": f"{OLD}out-of-band/1.0/handshake-reuse",
        "@id": name,
        "~thread": {"thid": name, "pthid": invitation["@id"]},
    }
    assert await tie.send(reuse) == 202
    accepted = await stranger.hear("out-of-band/1.0/handshake-reuse-accepted")
    assert accepted["~thread"] == {"thid": name, "pthid": invitation["@id"]}


async def test_many_strangers_come_at_once(agent: Spawned, stranger: Stranger) -> None:
    invitation = await invited(agent, multi_use=True)
    async with AsyncExitStack() as stack:
        strangers = [await stack.enter_async_context(listening()) for _ in range(8)]
        ties = await asyncio.gather(*(join(s, invitation, s.new()) for s in strangers))
        await asyncio.gather(*(tie.ping() for tie in ties))
    assert len({tie.them.verkey for tie in ties}) == 8
