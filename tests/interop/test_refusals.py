"""Problem reports between ACA-Py and us: either side says no, and the other side's user reads why."""

from __future__ import annotations

import pytest
from interop.acapy import Wallet
from interop.scene import (
    ISSUE,
    ISSUED,
    PATIENCE_S,
    PROVE,
    THEIR_ISSUE,
    THEIR_PROVE,
    Definition,
    Family,
    Friend,
    our_exchange,
    they_ask,
    they_offer,
    we_ask,
    we_offer,
)

from network_and_agents import Agent

pytestmark = [pytest.mark.pool, pytest.mark.peers]

CASES = pytest.mark.parametrize(("wallet", "family"), ISSUED)
WORDS = "I do not want this one"


@CASES
async def test_we_decline_their_offer(
    keep: Agent, friends: dict[Wallet, Friend], wallet: Wallet, family: Family
) -> None:
    friend = friends[wallet]
    sent = await they_offer(friend, family)
    x = await our_exchange(keep, ISSUE, thid=sent["thread_id"])
    await keep.client.command(ISSUE, x["id"], "report-problem", comment=WORDS)
    told = await friend.peer.until(f"{THEIR_ISSUE}/records/{sent['cred_ex_id']}", "abandoned")
    assert WORDS in told["error_msg"]


@CASES
async def test_they_decline_our_offer(
    keep: Agent, friends: dict[Wallet, Friend], ours: Definition, wallet: Wallet, family: Family
) -> None:
    friend = friends[wallet]
    x = await we_offer(keep, ours, family, friend.tie)
    record = await friend.peer.find(f"{THEIR_ISSUE}/records", thread_id=x["thid"])
    path = f"{THEIR_ISSUE}/records/{record['cred_ex_id']}/problem-report"
    await friend.peer.post(path, {"description": WORDS})
    told = await keep.client.wait(ISSUE, x["id"], "abandoned", timeout=PATIENCE_S)
    assert WORDS in (told["error"] or "")


@CASES
async def test_we_decline_their_request(
    keep: Agent, friends: dict[Wallet, Friend], wallet: Wallet, family: Family
) -> None:
    friend = friends[wallet]
    sent = await they_ask(friend, family)
    x = await our_exchange(keep, PROVE, thid=sent["thread_id"])
    await keep.client.command(PROVE, x["id"], "report-problem", comment=WORDS)
    told = await friend.peer.until(f"{THEIR_PROVE}/records/{sent['pres_ex_id']}", "abandoned")
    assert WORDS in told["error_msg"]


@CASES
async def test_they_decline_our_request(
    keep: Agent, friends: dict[Wallet, Friend], ours: Definition, wallet: Wallet, family: Family
) -> None:
    friend = friends[wallet]
    x = await we_ask(keep, ours, family, friend.tie)
    record = await friend.peer.find(f"{THEIR_PROVE}/records", thread_id=x["thid"])
    path = f"{THEIR_PROVE}/records/{record['pres_ex_id']}/problem-report"
    await friend.peer.post(path, {"description": WORDS})
    told = await keep.client.wait(PROVE, x["id"], "abandoned", timeout=PATIENCE_S)
    assert WORDS in (told["error"] or "")


async def test_a_second_use_of_our_invitation_is_answered(
    keep: Agent, friends: dict[Wallet, Friend]
) -> None:
    x = await keep.client.start("out-of-band", "create-invitation")
    first, second = (friends[wallet].peer for wallet, _ in ISSUED)
    got = await first.post("/out-of-band/receive-invitation", x["data"]["message"])
    await first.until(f"/connections/{got['connection_id']}", "completed")
    got = await second.post("/out-of-band/receive-invitation", x["data"]["message"])
    told = await second.until(f"/connections/{got['connection_id']}", "abandoned")
    assert "used" in told["error_msg"]
