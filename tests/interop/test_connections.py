"""Connections with ACA-Py: who invites, by which kind of DID, in which version."""

from __future__ import annotations

import pytest
from interop.acapy import Acapy
from interop.scene import (
    PATIENCE_S,
    Tie,
    our_exchange,
    receive,
    they_accept,
    we_accept,
)
from pool import Network

from network_and_agents import Agent

pytestmark = [pytest.mark.pool, pytest.mark.peers]

VERSIONS = ["didexchange/1.0", "didexchange/1.1"]


async def works(keep: Agent, peer: Acapy, tie: Tie) -> None:
    """Both sides say something on a connection, and are heard."""
    x = await keep.client.start("trust-ping", "send-ping", tie.ours)
    await keep.client.wait("trust-ping", x["id"], "done", timeout=PATIENCE_S)
    await peer.post(f"/connections/{tie.theirs}/send-message", {"content": f"to {tie.ours}"})
    heard = await our_exchange(keep, "basic-message", connection=tie.ours)
    assert heard["data"]["lines"][0]["content"] == f"to {tie.ours}"


@pytest.mark.parametrize("version", VERSIONS)
async def test_we_invite(keep: Agent, peer: Acapy, version: str) -> None:
    x = await keep.client.start(
        "out-of-band", "create-invitation", handshake_protocols=[version]
    )
    tie = await they_accept(keep, peer, x)
    record = await peer.get(f"/connections/{tie.theirs}")
    assert record["connection_protocol"] == version
    assert record["their_label"] == "Keep"
    await works(keep, peer, tie)


@pytest.mark.parametrize("did", ["key", "did:peer:2", "did:peer:4"])
async def test_we_invite_by_a_did_of_our_choice(keep: Agent, peer: Acapy, did: str) -> None:
    x = await keep.client.start("out-of-band", "create-invitation", did=did)
    (service,) = x["data"]["message"]["services"]
    assert isinstance(service, dict) if did == "key" else service.startswith(did)
    await works(keep, peer, await they_accept(keep, peer, x))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("did", ["did:peer:2", "did:peer:4"])
async def test_we_answer_with_a_did_of_our_choice(
    keep: Agent, peer: Acapy, version: str, did: str
) -> None:
    wish = {"handshake_protocols": [version]}
    made = await peer.post("/out-of-band/create-invitation", wish)
    tie = await we_accept(keep, peer, made, did=did)
    assert (await peer.get(f"/connections/{tie.theirs}"))["their_did"].startswith(did)
    await works(keep, peer, tie)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("method", [None, "did:peer:2", "did:peer:4"])
async def test_they_invite(keep: Agent, peer: Acapy, version: str, method: str | None) -> None:
    """By an inline key, and by a DID that says where they are."""
    unique = {"create_unique_did": "true"} if method else {}
    wish = {"handshake_protocols": [version], "use_did_method": method}
    body = {name: value for name, value in wish.items() if value}
    made = await peer.post("/out-of-band/create-invitation", body, **unique)
    (service,) = made["invitation"]["services"]
    assert isinstance(service, dict) if method is None else service.startswith(method)
    tie = await we_accept(keep, peer, made)
    assert (await keep.client.call("GET", f"/v1/connections/{tie.ours}"))["label"] == "ACA-Py"
    await works(keep, peer, tie)


async def test_they_invite_by_their_public_did(keep: Agent, peer: Acapy) -> None:
    wish = {"handshake_protocols": VERSIONS, "use_public_did": True}
    made = await peer.post("/out-of-band/create-invitation", wish)
    assert made["invitation"]["services"] == [f"did:sov:{peer.did}"]
    await works(keep, peer, await we_accept(keep, peer, made))


@pytest.mark.parametrize("method", ["did:peer:2", "did:peer:4"])
async def test_they_answer_with_a_did_of_their_choice(
    keep: Agent, peer: Acapy, method: str
) -> None:
    x = await keep.client.start("out-of-band", "create-invitation")
    got = await peer.post(
        "/out-of-band/receive-invitation", x["data"]["message"], auto_accept="false"
    )
    path = f"/didexchange/{got['connection_id']}/accept-invitation"
    await peer.post(path, use_did_method=method)
    ours = await keep.client.connected(x["thid"], timeout=PATIENCE_S)
    theirs = await peer.until(f"/connections/{got['connection_id']}", "completed")
    assert theirs["my_did"].startswith(method)
    await works(keep, peer, Tie(ours["id"], theirs["connection_id"]))


async def test_we_use_a_connection_again(keep: Agent, peer: Acapy) -> None:
    wish = {"handshake_protocols": VERSIONS, "use_did_method": "did:peer:4"}
    first = await peer.post("/out-of-band/create-invitation", wish)
    tie = await we_accept(keep, peer, first)
    again = (await peer.post("/out-of-band/create-invitation", wish))["invitation"]
    assert again["services"] == first["invitation"]["services"]
    x = await receive(keep, again)
    done = await keep.client.wait("out-of-band", x["id"], "done", timeout=PATIENCE_S)
    assert done["connection"] == tie.ours
    assert (await peer.get("/connections", invitation_msg_id=again["@id"]))["results"] == [
        await peer.get(f"/connections/{tie.theirs}")
    ]


async def test_we_ask_their_public_did(keep: Agent, peer: Acapy) -> None:
    """Without any invitation: the ledger says where they are, and who."""
    did = f"did:sov:{peer.did}"
    x = await keep.client.start("did-exchange", "send-request", invitation=did)
    await keep.client.wait("did-exchange", x["id"], "completed", timeout=PATIENCE_S)
    ours = await keep.client.call("GET", f"/v1/connections/{x['connection']}")
    theirs = await peer.find("/connections", their_did=ours["my_did"])
    await works(keep, peer, Tie(ours["id"], theirs["connection_id"]))


@pytest.fixture(scope="session")
async def public(keep: Agent, network: Network) -> str:
    """Our public DID, with the prefix that ACA-Py knows."""
    did = await keep.client.create_did()
    await network.register(did["did"], did["verkey"])
    where = (await keep.client.status())["endpoint"]
    job = await keep.client.write("endpoints", did=did["did"], endpoint=where)
    await keep.client.job_done(job["id"])
    body = {"did": did["did"], "implicit_requests": True}
    made = await keep.client.call("POST", "/v1/public-dids", body)
    assert made["problem"] is None
    return f"did:sov:{did['did']}"


async def test_we_invite_by_our_public_did(keep: Agent, peer: Acapy, public: str) -> None:
    """And ACA-Py uses the connection again, when we invite it so once more."""
    x = await keep.client.start("out-of-band", "create-invitation", did="public")
    assert x["data"]["message"]["services"] == [public]
    tie = await they_accept(keep, peer, x)
    await works(keep, peer, tie)
    again = await keep.client.start("out-of-band", "create-invitation", did="public")
    got = await peer.post("/out-of-band/receive-invitation", again["data"]["message"])
    assert (got["state"], got["connection_id"]) == ("reuse-accepted", tie.theirs)


async def test_they_ask_our_public_did(keep: Agent, peer: Acapy, public: str) -> None:
    got = await peer.post("/didexchange/create-request", their_public_did=public)
    await peer.until(f"/connections/{got['connection_id']}", "completed")
    ours = await our_exchange(keep, "did-exchange", state="completed", thid=got["request_id"])
    await works(keep, peer, Tie(ours["id"], got["connection_id"]))


@pytest.mark.parametrize("version", VERSIONS)
async def test_we_answer_with_our_public_did(
    keep: Agent, peer: Acapy, public: str, version: str
) -> None:
    wish = {"handshake_protocols": [version]}
    made = await peer.post("/out-of-band/create-invitation", wish)
    tie = await we_accept(keep, peer, made, did="public")
    record = await peer.get(f"/connections/{tie.theirs}")
    assert record["their_did"] == public
    await works(keep, peer, tie)
