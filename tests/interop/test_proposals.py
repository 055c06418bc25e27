"""Proposals between ACA-Py and us: the holder or prover begins."""

from __future__ import annotations

import pytest
from interop.acapy import Wallet
from interop.scene import (
    ISSUE,
    ISSUED,
    PATIENCE_S,
    PROVE,
    THEIR_ISSUE,
    THEIR_NAMES,
    THEIR_PROVE,
    VALUES,
    Definition,
    Family,
    Friend,
    Held,
    our_exchange,
    question,
    their_offer,
    they_show,
    they_take,
    we_show,
    we_take,
)

from network_and_agents import Agent

pytestmark = [pytest.mark.pool, pytest.mark.peers]

CASES = pytest.mark.parametrize(("wallet", "family"), ISSUED)


@CASES
async def test_we_propose_a_credential(
    keep: Agent, friends: dict[Wallet, Friend], wallet: Wallet, family: Family
) -> None:
    friend = friends[wallet]
    x = await keep.client.start(
        ISSUE,
        "send-proposal",
        friend.tie.ours,
        values=VALUES,
        filter={"cred_def_id": friend.theirs.id},
        format=family,
    )
    record = await friend.peer.find(f"{THEIR_ISSUE}/records", thread_id=x["thid"])
    path = f"{THEIR_ISSUE}/records/{record['cred_ex_id']}"
    await friend.peer.until(path, "proposal-received")
    await friend.peer.post(f"{path}/send-offer")
    await keep.client.wait(ISSUE, x["id"], "offer-received", timeout=PATIENCE_S)
    await we_take(keep, x["thid"])
    await friend.peer.until(path, "done")


@CASES
async def test_they_propose_a_credential(
    keep: Agent, friends: dict[Wallet, Friend], ours: Definition, wallet: Wallet, family: Family
) -> None:
    friend = friends[wallet]
    body = {**their_offer(ours, family), "connection_id": friend.tie.theirs}
    del body["auto_issue"]
    sent = await friend.peer.post(f"{THEIR_ISSUE}/send-proposal", body)
    x = await our_exchange(keep, ISSUE, thid=sent["thread_id"])
    await keep.client.command(ISSUE, x["id"], "send-offer")
    await they_take(friend.peer, x["thid"])
    await keep.client.wait(ISSUE, x["id"], "done", timeout=PATIENCE_S)


@CASES
async def test_we_propose_a_proof(
    keep: Agent, friends: dict[Wallet, Friend], held: Held, wallet: Wallet, family: Family
) -> None:
    friend = friends[wallet]
    await held.by_us(wallet)
    x = await keep.client.start(
        PROVE,
        "send-proposal",
        friend.tie.ours,
        request=question(friend.theirs),
        format=family,
    )
    record = await friend.peer.find(f"{THEIR_PROVE}/records", thread_id=x["thid"])
    path = f"{THEIR_PROVE}/records/{record['pres_ex_id']}"
    await friend.peer.until(path, "proposal-received")
    await friend.peer.post(f"{path}/send-request")
    await keep.client.wait(PROVE, x["id"], "request-received", timeout=PATIENCE_S)
    await we_show(keep, x["thid"])
    assert (await friend.peer.until(path, "done"))["verified"] == "true"


@CASES
async def test_they_propose_a_proof(
    keep: Agent,
    friends: dict[Wallet, Friend],
    held: Held,
    ours: Definition,
    wallet: Wallet,
    family: Family,
) -> None:
    friend = friends[wallet]
    await held.by_them(wallet)
    proposed = {THEIR_NAMES[family]: question(ours)}
    body = {"connection_id": friend.tie.theirs, "presentation_proposal": proposed}
    sent = await friend.peer.post(f"{THEIR_PROVE}/send-proposal", body)
    x = await our_exchange(keep, PROVE, thid=sent["thread_id"])
    await keep.client.command(PROVE, x["id"], "send-request")
    await they_show(friend.peer, x["thid"], family)
    done = await keep.client.wait(PROVE, x["id"], "done", timeout=PATIENCE_S)
    assert done["data"]["verdict"]["ok"]
