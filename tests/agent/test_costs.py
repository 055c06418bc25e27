"""What an item costs in transactions and rows over both agents, counted when nothing else is under way."""

from __future__ import annotations

from agent.credentials.test_flow import Town, automate, automate_issuing, automate_proving, town
from agent.pair import Agent, Pair

from keep_agent.protocols import basic_message, did_exchange, out_of_band, trust_ping
from keep_agent.protocols import issue_credential_2 as ic
from keep_agent.protocols import present_proof_2 as pp

__all__ = ["town"]

Cost = tuple[int, int]
"""Transactions, and rows inserted, replaced or removed."""


def written(*agents: Agent) -> Cost:
    counts = [agent.profile.counts for agent in agents]
    return sum(c.transactions for c in counts), sum(c.rows for c in counts)


async def cost(since: Cost, *agents: Agent) -> Cost:
    """Return what was written since, with what the store writes once it is idle."""
    for agent in agents:
        await agent.quiet()
    transactions, rows = written(*agents)
    return transactions - since[0], rows - since[1]


async def test_a_credential(town: Town) -> None:
    automate_issuing(town)
    assert await one_credential(town) == (5, 12)  # it remembers whose key was checked
    assert await one_credential(town) == (5, 11)


async def one_credential(town: Town) -> tuple[int, int]:
    agents = (town.office, town.alice)
    before = written(*agents)
    x = await town.offer()
    await town.office.until(ic.PROTOCOL, lambda now: (now.thid, now.state) == (x.thid, "done"))
    return await cost(before, *agents)


async def test_a_presentation(town: Town) -> None:
    await town.hold()
    automate_proving(town)
    agents = (town.office, town.alice)
    before = written(*agents)
    x = await town.ask()
    await town.alice.until(pp.PROTOCOL, lambda now: (now.thid, now.state) == (x.thid, "done"))
    assert await cost(before, *agents) == (4, 8)


async def test_a_basic_message(pair: Pair) -> None:
    hers, _ = await pair.connect()
    agents = (pair.alice, pair.faber)
    before = written(*agents)
    hello = basic_message.SendMessage(content="hello")
    await pair.alice.start(basic_message.PROTOCOL, hello, hers.id)
    await pair.faber.reached(basic_message.PROTOCOL, "received")
    assert await cost(before, *agents) == (2, 4)


async def test_a_trust_ping(pair: Pair) -> None:
    hers, _ = await pair.connect()
    agents = (pair.alice, pair.faber)
    before = written(*agents)
    await pair.alice.start(trust_ping.PROTOCOL, trust_ping.SendPing(), hers.id)
    await pair.alice.reached(trust_ping.PROTOCOL, "done")
    assert await cost(before, *agents) == (3, 6)


async def test_a_connection(pair: Pair) -> None:
    automate(pair.faber, did_exchange.PROTOCOL, request_received="send-response")
    automate(pair.alice, out_of_band.PROTOCOL, prepare_response="accept")
    agents = (pair.alice, pair.faber)
    before = written(*agents)
    await pair.alice.look(await pair.faber.invite())
    await pair.faber.reached(did_exchange.PROTOCOL, "completed")
    transactions, rows = await cost(before, *agents)
    assert transactions == 5
    assert rows == 15


async def test_delivered_messages_are_told_by_one_row_when_it_is_quiet(pair: Pair) -> None:
    hers, _ = await pair.connect()
    await pair.alice.profile.write_delivered()
    before = written(pair.alice)
    hello = basic_message.SendMessage(content="hello")
    for _ in range(3):
        await pair.alice.start(basic_message.PROTOCOL, hello, hers.id)
    assert await cost(before, pair.alice) == (3, 6)
    await pair.alice.profile.write_delivered()
    assert await cost(before, pair.alice) == (4, 7)
