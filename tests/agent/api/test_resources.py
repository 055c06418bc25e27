"""What is no exchange: DIDs, ledger writes as jobs, policies, credentials, descriptions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agent.api.conftest import Agent, Connected, agent

from keep_agent.errors import BadCommandError, LocalError, NotFoundError, NotNowError
from keep_agent.identity.connections import CONNECTION_STATES, CONNECTIONLESS
from keep_agent.identity.keys import NewKey, did_key
from keep_agent.protocols import did_exchange
from processes import free_ports

SEED = "000000000000000000000000Trustee1"


@pytest.fixture(scope="module")
async def office(tmp_path_factory: pytest.TempPathFactory) -> object:
    """An agent whose DID is the trustee of a network in memory."""
    async with agent(tmp_path_factory.mktemp("office"), "Office") as found:
        await found.client.create_did(seed=SEED)
        yield found


async def test_a_did_of_a_seed_is_always_the_same(office: Agent) -> None:
    [did] = (await office.client.call("GET", "/v1/dids"))["results"]
    assert did["did"] == "V4SGRU86Z58d6TV7PBUe6f"
    with pytest.raises(NotNowError):
        await office.client.create_did(seed=SEED)
    with pytest.raises(LocalError):
        await office.client.create_did(seed="short")


async def test_a_public_did_is_set_shown_and_withdrawn(office: Agent) -> None:
    client = office.client
    trustee = "V4SGRU86Z58d6TV7PBUe6f"
    with pytest.raises(NotFoundError, match="several people hold together"):
        await client.make_public("WgWxqztrNooG92RXvxSTWv")
    made = await client.make_public(trustee)
    assert "(POST /v1/endpoints)" in made["problem"]
    nym = await client.call("GET", f"/v1/ledgers/local/nyms/{trustee}")
    assert nym["role"] == "TRUSTEE"
    with pytest.raises(
        BadCommandError, match="role is wrong: there are: TRUSTEE, STEWARD, END"
    ):
        await client.write("nyms", did=trustee, verkey=made["verkey"], role="KING")
    assert (made["namespace"], made["role"], made["endpoint"]) == ("local", "TRUSTEE", None)
    job = await client.write("endpoints", endpoint=office.running.endpoint)
    await client.job_done(job["id"], timeout=30)
    [shown] = await client.public_dids()
    assert (shown["on_ledger"], shown["problem"]) == (True, None)
    x = await client.start("out-of-band", "create-invitation", did="public")
    assert x["data"]["message"]["services"] == [f"did:sov:{trustee}"]
    await client.withdraw_public_did("local")
    assert await client.public_dids() == []
    with pytest.raises(NotFoundError, match="there is no public DID on 'local'"):
        await client.withdraw_public_did("local")
    with pytest.raises(BadCommandError, match="no public DID"):
        await client.start("out-of-band", "create-invitation", did="public")


async def test_a_schema_and_its_keys_are_written_and_read_back(office: Agent) -> None:
    client = office.client
    job = await client.write("schemas", name="licence", version="1.0", attributes=["name"])
    assert job["state"] == "started"
    done = await client.job_done(job["id"], timeout=30)
    found = await client.call("GET", f"/v1/ledgers/local/schemas/{done['result']}")
    assert found["attr_names"] == ["name"]
    listed = await client.call("GET", "/v1/schemas")
    shown = [(each["id"], each["network"]) for each in listed["results"]]
    assert shown == [(done["result"], "local")]
    assert not {"prepared", "signature"} & done.keys()


async def test_a_refused_write_says_why_and_can_be_resumed(office: Agent) -> None:
    client = office.client
    schema = await client.write("schemas", name="licence", version="1.0", attributes=["other"])
    with pytest.raises(NotNowError, match="the schema was not written"):
        await client.job_done(schema["id"], timeout=30)
    again = await client.call("POST", f"/v1/jobs/{schema['id']}/resume")
    assert again["state"] == "started"
    with pytest.raises(NotNowError, match="the schema was not written"):
        await client.job_done(schema["id"], timeout=30)


async def test_a_failed_job_is_answered_with_its_failure(office: Agent) -> None:
    client = office.client
    first = await client.write("schemas", name="twice", version="1.0", attributes=["one"])
    await client.job_done(first["id"], timeout=30)
    job = await client.write("schemas", name="twice", version="1.0", attributes=["other"])
    with pytest.raises(NotNowError, match=r"the schema was not written: .* other attributes"):
        await client.call("GET", f"/v1/jobs/{job['id']}", query={"wait": 30}, wait=30)
    seen = await client.call("GET", f"/v1/jobs/{job['id']}", query={"state": "failed"})
    assert seen["state"] == "failed"
    listed = await client.call("GET", "/v1/jobs")
    assert seen in listed["results"]


async def test_jobs_say_what_they_write(office: Agent) -> None:
    client = office.client
    did = "V4SGRU86Z58d6TV7PBUe6f"
    schema = await client.write("schemas", name="card", version="2.1", attributes=["name"])
    assert schema["writes"] == {"issuer_id": did, "name": "card", "version": "2.1"}
    done = await client.job_done(schema["id"], timeout=30)
    made = await client.write("cred-defs", schema_id=done["result"], tag="blue")
    assert made["writes"] == {"schema_id": done["result"], "tag": "blue"}
    endpoint = await client.write("endpoints", endpoint="http://example.org/didcomm")
    assert endpoint["writes"] == {"did": did}


async def test_connections_in_a_state_that_there_is_not_are_refused(alice: Agent) -> None:
    with pytest.raises(BadCommandError, match="no state 'typo'; there are: request-sent"):
        await alice.client.call("GET", "/v1/connections", query={"state": "typo"})
    assert set(CONNECTION_STATES) == {CONNECTIONLESS, *did_exchange.State}
    for state in CONNECTION_STATES:
        await alice.client.call("GET", "/v1/connections", query={"state": state})


async def test_a_network_without_agreement_says_so(office: Agent) -> None:
    with pytest.raises(NotFoundError, match="nothing to accept"):
        await office.client.call("GET", "/v1/ledgers/local/agreement")
    with pytest.raises(BadCommandError, match="'nowhere' is not configured; there are: local"):
        await office.client.call("GET", "/v1/ledgers/nowhere/agreement")
    with pytest.raises(BadCommandError):
        await office.client.call("GET", "/v1/ledgers/local/nyms/not-a-did")
    with pytest.raises(NotFoundError, match="proves that it has no"):
        await office.client.call("GET", "/v1/ledgers/local/nyms/WgWxqztrNooG92RXvxSTWv")


async def test_a_policy_is_checked_kept_and_used(connected: Connected) -> None:
    faber = connected.faber.client
    with pytest.raises(BadCommandError, match=r"is not a command of the state"):
        await faber.set_policy("didexchange/1", {"completed": {"command": "send-response"}})
    with pytest.raises(BadCommandError, match=r"there are: basicmessage/1, didexchange/1, "):
        await faber.set_policy("did-exchanges", {})
    with pytest.raises(BadCommandError, match="completed must be an object"):
        await faber.call("PUT", "/v1/policies", {"protocol": "x/1", "auto": {"completed": "x"}})
    auto = {"request-received": {"command": "send-response"}}
    await faber.set_policy("did-exchange", auto)  # the name in the path means the same
    await faber.set_policy("didexchange/1", auto)
    policies = (await faber.call("GET", "/v1/policies"))["results"]
    assert [p["protocol"] for p in policies] == ["didexchange/1"]
    invitation = await faber.start("out-of-band", "create-invitation")
    url = invitation["data"]["url"]
    alice = connected.alice.client
    x = await alice.start("out-of-band", "receive-invitation", url=url)
    await alice.command("out-of-band", x["id"], "accept", reuse=False)
    found = await faber.connected(invitation["thid"], timeout=10)
    assert found["label"] == "Alice"
    await faber.set_policy("didexchange/1", {})


async def test_a_tenant_says_how_it_prefers_ids_to_be_written(office: Agent) -> None:
    client = office.client
    assert await client.call("GET", "/v1/preferences") == {"ids": None}
    with pytest.raises(BadCommandError, match="ids"):
        await client.call("PUT", "/v1/preferences", {"ids": "short"})
    for ids, did in (("qualified", "did:indy:local:V4SG"), (None, "V4SG")):
        assert await client.call("PUT", "/v1/preferences", {"ids": ids}) == {"ids": ids}
        assert await client.call("GET", "/v1/preferences") == {"ids": ids}
        wish = {"name": f"card {ids}", "version": "1.0", "attributes": ["name"]}
        done = await client.job_done((await client.write("schemas", **wish))["id"])
        assert done["result"].startswith(did)


async def test_which_did_is_shown_is_chosen_for_a_tenant_and_for_an_invitation(
    alice: Agent,
) -> None:
    api = alice.client
    first = await api.call("GET", "/v1/did-choice")
    assert first == {"invitation": "key", "connection": "did:peer:4"}
    with pytest.raises(BadCommandError, match="did:peer:2, did:peer:4"):
        await api.call("PUT", "/v1/did-choice", {"connection": "key"})
    await api.call("PUT", "/v1/did-choice", {"invitation": "did:peer:2"})
    x = await api.start("out-of-band", "create-invitation")
    assert x["data"]["message"]["services"][0].startswith("did:peer:2.")
    x = await api.start("out-of-band", "create-invitation", did="did:peer:4")
    assert x["data"]["message"]["services"][0].startswith("did:peer:4z")
    await api.call("PUT", "/v1/did-choice", first)


async def test_an_empty_wallet_says_what_is_missing(alice: Agent) -> None:
    assert await alice.client.credentials() == []
    request = {
        "name": "bar",
        "version": "1.0",
        "nonce": "1234567890",
        "requested_attributes": {"a": {"name": "category"}},
        "requested_predicates": {},
    }
    body = {"request": request}
    found = await alice.client.call("POST", "/v1/credentials/candidates", body)
    assert found["self_attestable"] == ["a"]
    assert found["chosen"] == {}


async def test_the_index_names_every_path_and_those_of_protocols_once(alice: Agent) -> None:
    index = await alice.client.call("GET", "/v1")
    assert index["POST /v1/schemas"] == "Write a schema to the ledger."
    assert index["GET /v1/ledgers/{namespace}/schemas/{id}"] == "Read a schema."
    assert index["POST /v1/{protocol}/{id}/{command}"].startswith("Run a command")
    assert index["GET /health"]
    assert not any("trust-ping" in path for path in index)
    assert [path for path, about in index.items() if not about] == []
    with pytest.raises(NotFoundError, match="GET /v1 lists all"):
        await alice.client.call("GET", "/v1/nothing")


async def test_protocols_describe_themselves(alice: Agent) -> None:
    described = await alice.client.call("GET", "/v1/protocols")
    ping = described["trust-ping"]
    assert ping["name"] == "trust_ping/1"
    assert ping == await alice.client.call("GET", "/v1/protocols/trust-ping")
    command = ping["commands"]["send-ping"]
    assert (command["starts"], command["path"]) == ("sender", "/v1/trust-ping")
    assert "comment" in command["arguments"]["properties"]
    assert "start --> waiting: send-ping" in ping["mermaid"]["sender"]
    assert {"role": "receiver", "at": "start", "on": "ping", "to": ["stateless"]} in ping[
        "table"
    ]
    assert "expired" not in ping["commands"]


async def test_status_tells_where_and_what(alice: Agent) -> None:
    status = await alice.client.status()
    assert status["tenant"] == "main"
    assert status["endpoint"] == alice.running.endpoint
    assert status["ledgers"][0]["namespace"] == "local"
    assert "indykeep" in status["versions"]


async def test_the_admin_port_is_out_of_reach_of_peers(tmp_path: Path) -> None:
    """SEC-E: an invitation cannot make us call our own admin API."""
    async with agent(tmp_path) as alice:
        carrier = alice.running.tenants.open["main"].around.carrier
        outcome = await carrier.post(
            alice.url + "/v1/x", b"{}", "application/ssi-agent-wire", hurry=False
        )
        assert "our own" in str(outcome)


async def test_the_outbox_says_for_whom_messages_wait_and_why(
    tmp_path: Path,
) -> None:
    async with agent(tmp_path) as alice:
        assert await alice.client.call("GET", "/v1/outbox") == {"results": [], "total": 0}
        key = did_key(NewKey.generate({}).verkey)
        with free_ports(1) as (port,):
            invitation = {
                "@type": "https://didcomm.org/out-of-band/1.1/invitation",
                "@id": "nobody-at-home",
                "handshake_protocols": ["https://didcomm.org/didexchange/1.1"],
                "services": [
                    {
                        "id": "#inline",
                        "type": "did-communication",
                        "recipientKeys": [key],
                        "serviceEndpoint": f"http://127.0.0.1:{port}/",
                    }
                ],
            }
            x = await alice.client.start(
                "out-of-band", "receive-invitation", invitation=invitation
            )
            await alice.client.command("out-of-band", x["id"], "accept")
            async with asyncio.timeout(20):
                found: dict[str, Any] = {"results": [{"failures": 0}]}
                while not found["results"] or not found["results"][0]["failures"]:
                    found = await alice.client.call("GET", "/v1/outbox")
        [waits] = found["results"]
        assert (found["total"], waits["messages"]) == (1, 1)
        assert waits["endpoint"] == f"http://127.0.0.1:{port}/"
        assert waits["reason"] == "ClientConnectorError"
        assert waits["bytes"] > 100
        assert waits["oldest_s"] > 0
        assert (await alice.client.status())["outbox"] == 1
