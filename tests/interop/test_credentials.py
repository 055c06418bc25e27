"""Credentials and proofs with ACA-Py, in both directions, families of formats and kinds of wallet."""

from __future__ import annotations

import pytest
from interop.acapy import Wallet
from interop.scene import (
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
    they_ask,
    they_issue,
    they_show,
    we_ask,
    we_issue,
    we_show,
)

from keep_zkp.blinding import C_BITS, V_BITS
from network_and_agents import Agent

pytestmark = [pytest.mark.pool, pytest.mark.peers]

CROSSED: list[tuple[Wallet, Family]] = [("askar-anoncreds", "hlindy"), ("askar", "anoncreds")]
TAKEN = [*ISSUED, *CROSSED]
"""Either wallet answers the other family too; the newer one then answers an offer in its own."""


@pytest.mark.parametrize(("wallet", "family"), ISSUED)
async def test_they_issue(
    keep: Agent, friends: dict[Wallet, Friend], wallet: Wallet, family: Family
) -> None:
    x = await they_issue(keep, friends[wallet], family)
    held = await keep.client.call("GET", f"/v1/credentials/{x['data']['stored']}")
    assert held["values"] == VALUES
    assert held["cred_def_id"] == friends[wallet].theirs.id


@pytest.mark.parametrize(("wallet", "family"), ISSUED)
async def test_they_issue_on_a_request_that_our_library_did_not_make(
    keep: Agent, friends: dict[Wallet, Friend], wallet: Wallet, family: Family
) -> None:
    """The second for a definition is our own: its response is longer than any of the library's."""
    friend = friends[wallet]
    await they_issue(keep, friend, family)
    x = await they_issue(keep, friend, family)
    record = await friend.peer.find(f"{THEIR_ISSUE}/records", thread_id=x["thid"])
    request = record["by_format"]["cred_request"][THEIR_NAMES[family]]
    response = int(request["blinded_ms_correctness_proof"]["v_dash_cap"])
    assert response.bit_length() > V_BITS + C_BITS + 1
    held = await keep.client.call("GET", f"/v1/credentials/{x['data']['stored']}")
    assert held["values"] == VALUES


@pytest.mark.parametrize(("wallet", "family"), TAKEN)
async def test_we_issue(
    keep: Agent, friends: dict[Wallet, Friend], ours: Definition, wallet: Wallet, family: Family
) -> None:
    await we_issue(keep, friends[wallet], ours, family)
    held = (await friends[wallet].peer.get("/credentials"))["results"]
    assert (VALUES, ours.id) in [(each["attrs"], each["cred_def_id"]) for each in held]


@pytest.mark.parametrize(("wallet", "family"), ISSUED)
async def test_they_verify(
    keep: Agent, friends: dict[Wallet, Friend], held: Held, wallet: Wallet, family: Family
) -> None:
    friend = friends[wallet]
    await held.by_us(wallet)
    sent = await they_ask(friend, family)
    await we_show(keep, sent["thread_id"])
    done = await friend.peer.until(f"{THEIR_PROVE}/records/{sent['pres_ex_id']}", "done")
    assert done["verified"] == "true"


@pytest.mark.parametrize(("wallet", "family"), TAKEN)
async def test_we_verify(
    keep: Agent,
    friends: dict[Wallet, Friend],
    held: Held,
    ours: Definition,
    wallet: Wallet,
    family: Family,
) -> None:
    friend = friends[wallet]
    await held.by_them(wallet)
    x = await we_ask(keep, ours, family, friend.tie)
    await they_show(friend.peer, x["thid"], family)
    done = await keep.client.wait(PROVE, x["id"], "done", timeout=PATIENCE_S)
    verdict = done["data"]["verdict"]
    assert verdict["ok"]
    assert {each["how"] for each in verdict["answers"]} == {"revealed", "proven"}
