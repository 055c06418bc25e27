"""Offers and requests that are attached to an invitation, with ACA-Py, in both directions."""

from __future__ import annotations

from typing import Any

import pytest
from interop.acapy import Acapy, Wallet
from interop.scene import (
    ISSUE,
    ISSUED,
    PATIENCE_S,
    PROVE,
    THEIR_ISSUE,
    THEIR_NAMES,
    THEIR_PROVE,
    Definition,
    Family,
    Friend,
    Held,
    question,
    receive,
    their_offer,
    they_show,
    they_take,
    we_ask,
    we_offer,
    we_show,
    we_take,
)

from network_and_agents import Agent

pytestmark = [pytest.mark.pool, pytest.mark.peers]

HANDSHAKES = [
    pytest.param([], id="connectionless"),
    pytest.param(["didexchange/1.1"], id="handshake"),
]
CASES = pytest.mark.parametrize(("wallet", "family"), ISSUED)
WAYS = pytest.mark.parametrize("handshake", HANDSHAKES)


async def they_invite(
    keep: Agent, peer: Acapy, kind: str, name: str, handshake: list[str]
) -> None:
    """Let ACA-Py attach an exchange to an invitation, and accept it."""
    wish: dict[str, Any] = {"attachments": [{"id": name, "type": kind}]}
    if handshake:
        wish["handshake_protocols"] = handshake
    made = await peer.post("/out-of-band/create-invitation", wish)
    await receive(keep, made["invitation"])


async def we_invite(keep: Agent, peer: Acapy, name: str, handshake: list[str]) -> None:
    """Attach an exchange of ours to an invitation, and let ACA-Py accept it."""
    made = await keep.client.start(
        "out-of-band", "create-invitation", attach=[name], handshake_protocols=handshake
    )
    await peer.post("/out-of-band/receive-invitation", made["data"]["message"])


@CASES
@WAYS
async def test_they_attach_an_offer(
    keep: Agent,
    friends: dict[Wallet, Friend],
    wallet: Wallet,
    family: Family,
    handshake: list[str],
) -> None:
    friend = friends[wallet]
    offer = await friend.peer.post(
        f"{THEIR_ISSUE}/create-offer", their_offer(friend.theirs, family)
    )
    name = offer["cred_ex_id"]
    await they_invite(keep, friend.peer, "credential-offer", name, handshake)
    await we_take(keep, offer["thread_id"])
    await friend.peer.until(f"{THEIR_ISSUE}/records/{name}", "done")


@CASES
@WAYS
async def test_we_attach_an_offer(
    keep: Agent,
    friends: dict[Wallet, Friend],
    ours: Definition,
    wallet: Wallet,
    family: Family,
    handshake: list[str],
) -> None:
    peer = friends[wallet].peer
    x = await we_offer(keep, ours, family)
    await we_invite(keep, peer, x["id"], handshake)
    await they_take(peer, x["thid"])
    await keep.client.wait(ISSUE, x["id"], "done", timeout=PATIENCE_S)


@CASES
@WAYS
async def test_they_attach_a_request(
    keep: Agent,
    friends: dict[Wallet, Friend],
    held: Held,
    wallet: Wallet,
    family: Family,
    handshake: list[str],
) -> None:
    friend = friends[wallet]
    await held.by_us(wallet)
    asked = {"presentation_request": {THEIR_NAMES[family]: question(friend.theirs)}}
    request = await friend.peer.post(f"{THEIR_PROVE}/create-request", asked)
    name = request["pres_ex_id"]
    await they_invite(keep, friend.peer, "present-proof", name, handshake)
    await we_show(keep, request["thread_id"])
    done = await friend.peer.until(f"{THEIR_PROVE}/records/{name}", "done")
    assert done["verified"] == "true"


@CASES
@WAYS
async def test_we_attach_a_request(
    keep: Agent,
    friends: dict[Wallet, Friend],
    held: Held,
    ours: Definition,
    wallet: Wallet,
    family: Family,
    handshake: list[str],
) -> None:
    peer = friends[wallet].peer
    await held.by_them(wallet)
    x = await we_ask(keep, ours, family)
    await we_invite(keep, peer, x["id"], handshake)
    await they_show(peer, x["thid"], family)
    done = await keep.client.wait(PROVE, x["id"], "done", timeout=PATIENCE_S)
    assert done["data"]["verdict"]["ok"]
