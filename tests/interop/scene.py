"""What the tests of this folder do with the two agents: each side's user, step by step."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from interop.acapy import LOOK_S, Acapy, Wallet

from keep_agent.client import Exchange
from keep_agent.core.message import Json
from keep_ledger.local_network import IndyNetwork
from network_and_agents import Agent

PATIENCE_S = 60.0
KEYS_S = 180.0
ISSUE, PROVE = "issue-credential", "present-proof"
THEIR_ISSUE, THEIR_PROVE = "/issue-credential-2.0", "/present-proof-2.0"
ATTRIBUTES = ("name", "age")
VALUES = {"name": "Alice", "age": "42"}
AUTOMATIC: dict[str, dict[str, str]] = {
    "issue-credential/2": {
        "request-received": "issue",
        "credential-received": "store-credential",
    },
    "present-proof/2": {"presentation-received": "verify"},
    "didexchange/1": {"request-received": "send-response"},
}
"""What our side does by itself: the same as `acapy.AUTOMATIC`."""


Family = Literal["anoncreds", "hlindy"]
THEIR_NAMES: dict[Family, str] = {"anoncreds": "anoncreds", "hlindy": "indy"}
"""What ACA-Py calls the two families of formats."""
ISSUED: list[tuple[Wallet, Family]] = [("askar-anoncreds", "anoncreds"), ("askar", "hlindy")]
"""An ACA-Py issues in one family, the one of its wallet."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A credential definition on the ledger, as its issuer writes its ids."""

    id: str
    schema_id: str


@dataclass(frozen=True, slots=True)
class Friend:
    """An ACA-Py that we are connected with.

    Attributes:
        theirs: its credential definition.
    """

    peer: Acapy
    tie: Tie
    theirs: Definition


@dataclass(frozen=True, slots=True)
class Tie:
    """A connection: what each side calls it."""

    ours: str
    theirs: str


# -- connections -----------------------------------------------------------------------------------


async def connect(keep: Agent, peer: Acapy) -> Tie:
    """Connect them by an invitation of ours."""
    x = await keep.client.start("out-of-band", "create-invitation")
    return await they_accept(keep, peer, x)


async def they_accept(keep: Agent, peer: Acapy, x: Exchange) -> Tie:
    """Let ACA-Py accept an invitation of ours that offers a handshake."""
    got = await peer.post("/out-of-band/receive-invitation", x["data"]["message"])
    theirs = await peer.until(f"/connections/{got['connection_id']}", "completed")
    ours = await keep.client.connected(x["thid"], timeout=PATIENCE_S)
    return Tie(ours["id"], theirs["connection_id"])


async def receive(keep: Agent, invitation: Json, did: str | None = None) -> Exchange:
    """Read an invitation of ACA-Py's, and accept it.

    Args:
        did: which DID of ours to show on a new connection; None: what our side usually shows.
    """
    choice: dict[str, Any] = {"did": did} if did else {}
    x = await keep.client.start("out-of-band", "receive-invitation", invitation=invitation)
    return await keep.client.command("out-of-band", x["id"], "accept", **choice)


async def we_accept(keep: Agent, peer: Acapy, made: Json, did: str | None = None) -> Tie:
    """Accept an invitation of ACA-Py's that offers a handshake."""
    invitation = made["invitation"]
    await receive(keep, invitation, did)
    ours = await keep.client.connected(invitation["@id"], timeout=PATIENCE_S)
    theirs = await peer.find("/connections", invitation_msg_id=invitation["@id"])
    await peer.until(f"/connections/{theirs['connection_id']}", "completed")
    return Tie(ours["id"], theirs["connection_id"])


# -- definitions -----------------------------------------------------------------------------------


async def define_ours(keep: Agent, network: IndyNetwork) -> Definition:
    """Write a schema and a credential definition as an endorser."""
    did = await keep.client.create_did()
    await network.register(did["did"], did["verkey"])
    by = did["did"]
    job = await keep.client.write(
        "schemas", name="ours", version="1.0", attributes=ATTRIBUTES, submitter=by
    )
    schema = await keep.client.job_done(job["id"])
    job = await keep.client.write(
        "cred-defs", schema_id=schema["result"], predicates=["age"], submitter=by
    )
    done = await keep.client.job_done(job["id"], KEYS_S)
    return Definition(done["result"], schema["result"])


async def define_theirs(peer: Acapy) -> Definition:
    """Let ACA-Py write a schema and a credential definition."""
    if peer.wallet == "askar":
        return await _define_theirs_as_before(peer)
    schema = {"attrNames": ATTRIBUTES, "issuerId": peer.did, "name": "theirs", "version": "1.0"}
    told = await peer.post("/anoncreds/schema", {"schema": schema, "options": {}})
    schema_id = told["schema_state"]["schema_id"]
    wanted = {"issuerId": peer.did, "schemaId": schema_id, "tag": "default"}
    body = {"credential_definition": wanted, "options": {"support_revocation": False}}
    told = await peer.post("/anoncreds/credential-definition", body)
    name = told["credential_definition_state"]["credential_definition_id"]
    return Definition(name, schema_id)


async def _define_theirs_as_before(peer: Acapy) -> Definition:
    schema: Json = {"schema_name": "theirs", "schema_version": "1.0", "attributes": ATTRIBUTES}
    schema_id = (await peer.post("/schemas", schema))["schema_id"]
    wanted: Json = {"schema_id": schema_id, "tag": "default", "support_revocation": False}
    told = await peer.post("/credential-definitions", wanted)
    return Definition(told["credential_definition_id"], schema_id)


# -- credentials -----------------------------------------------------------------------------------


def their_offer(definition: Definition, family: Family) -> Json:
    """Return the body by which ACA-Py offers a credential."""
    attributes = [{"name": name, "value": value} for name, value in VALUES.items()]
    kind = "issue-credential/2.0/credential-preview"
    return {
        "credential_preview": {"@type": kind, "attributes": attributes},
        "filter": {THEIR_NAMES[family]: {"cred_def_id": definition.id}},
        "auto_issue": True,
    }


async def they_issue(keep: Agent, friend: Friend, family: Family) -> Exchange:
    """Let ACA-Py issue a credential to us on our connection; return our exchange, which is done."""
    sent = await they_offer(friend, family)
    x = await we_take(keep, sent["thread_id"])
    await friend.peer.until(f"{THEIR_ISSUE}/records/{sent['cred_ex_id']}", "done")
    return x


async def we_issue(keep: Agent, friend: Friend, ours: Definition, family: Family) -> Exchange:
    """Issue a credential to ACA-Py on our connection; return our exchange, which is done."""
    x = await we_offer(keep, ours, family, friend.tie)
    await they_take(friend.peer, x["thid"])
    return await keep.client.wait(ISSUE, x["id"], "done", timeout=PATIENCE_S)


async def we_offer(
    keep: Agent, ours: Definition, family: Family, tie: Tie | None = None
) -> Exchange:
    """Offer a credential on a connection, or, without one, to be attached to an invitation."""
    return await keep.client.start(
        ISSUE,
        "send-offer",
        tie.ours if tie else None,
        cred_def_id=ours.id,
        values=VALUES,
        format=family,
    )


async def they_offer(friend: Friend, family: Family) -> Json:
    """Let ACA-Py offer a credential on our connection; return its record."""
    body = {**their_offer(friend.theirs, family), "connection_id": friend.tie.theirs}
    return await friend.peer.post(f"{THEIR_ISSUE}/send-offer", body)


async def we_take(keep: Agent, thid: str) -> Exchange:
    """Accept an offer of ACA-Py's, and return the exchange once the credential is kept."""
    x = await our_exchange(keep, ISSUE, thid=thid)
    await keep.client.command(ISSUE, x["id"], "send-request")
    return await keep.client.wait(ISSUE, x["id"], "done", timeout=PATIENCE_S)


async def they_take(peer: Acapy, thid: str) -> Json:
    """Let ACA-Py accept an offer of ours, and return its record once the credential is kept."""
    record = await peer.find(f"{THEIR_ISSUE}/records", thread_id=thid)
    path = f"{THEIR_ISSUE}/records/{record['cred_ex_id']}"
    await peer.until(path, "offer-received")
    await peer.post(f"{path}/send-request")
    return await peer.until(path, "done")


async def our_exchange(keep: Agent, family: str, **query: str) -> Exchange:
    """Return the only exchange that fits, once there is one."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await keep.client.list(family, **query)):  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(LOOK_S)
    (x,) = found
    return x


# -- proofs ----------------------------------------------------------------------------------------


def question(definition: Definition) -> Json:
    """Ask for the name, and whether somebody is 18, of credentials of one definition."""
    source = [{"cred_def_id": definition.id}]
    return {
        "name": "are you 18?",
        "version": "1.0",
        "requested_attributes": {"who": {"name": "name", "restrictions": source}},
        "requested_predicates": {
            "adult": {"name": "age", "p_type": ">=", "p_value": 18, "restrictions": source}
        },
    }


async def we_ask(
    keep: Agent, about: Definition, family: Family, tie: Tie | None = None
) -> Exchange:
    """Ask on a connection, or, without one, to be attached to an invitation."""
    request = question(about)
    connection = tie.ours if tie else None
    return await keep.client.start(
        PROVE, "send-request", connection, request=request, format=family
    )


async def they_ask(friend: Friend, family: Family) -> Json:
    """Let ACA-Py ask for a credential of its own on our connection; return its record."""
    request = {THEIR_NAMES[family]: question(friend.theirs)}
    body = {"connection_id": friend.tie.theirs, "presentation_request": request}
    return await friend.peer.post(f"{THEIR_PROVE}/send-request", body)


async def we_show(keep: Agent, thid: str) -> Exchange:
    """Answer a request of ACA-Py's, and return the exchange once ACA-Py has said that it is done."""
    x = await our_exchange(keep, PROVE, thid=thid)
    await keep.client.command(PROVE, x["id"], "send-presentation")
    return await keep.client.wait(PROVE, x["id"], "done", timeout=PATIENCE_S)


async def they_show(peer: Acapy, thid: str, family: Family) -> Json:
    """Let ACA-Py answer a request of ours, and return its record once we have said that it is done."""
    record = await peer.find(f"{THEIR_PROVE}/records", thread_id=thid)
    path = f"{THEIR_PROVE}/records/{record['pres_ex_id']}"
    await peer.until(path, "request-received")
    fits: list[Json] = (await peer.get(f"{path}/credentials"))["results"]

    def held(referent: str) -> str:
        found = (each for each in fits if referent in each["presentation_referents"])
        return str(next(found)["cred_info"]["referent"])

    shown: dict[str, Any] = {
        "requested_attributes": {"who": {"cred_id": held("who"), "revealed": True}},
        "requested_predicates": {"adult": {"cred_id": held("adult")}},
        "self_attested_attributes": {},
    }
    await peer.post(f"{path}/send-presentation", {THEIR_NAMES[family]: shown})
    return await peer.until(path, "done")


@dataclass(frozen=True, slots=True)
class Held:
    """Sees to it that a credential is held before somebody asks for it; each is issued once."""

    keep: Agent
    friends: dict[Wallet, Friend]
    ours: Definition
    done: set[tuple[str, Wallet]]

    async def by_us(self, wallet: Wallet) -> None:
        """Hold one that this ACA-Py issued."""
        if ("we", wallet) not in self.done:
            await they_issue(self.keep, self.friends[wallet], dict(ISSUED)[wallet])
            self.done.add(("we", wallet))

    async def by_them(self, wallet: Wallet) -> None:
        """Let this ACA-Py hold one that we issued."""
        if ("they", wallet) not in self.done:
            await we_issue(self.keep, self.friends[wallet], self.ours, dict(ISSUED)[wallet])
            self.done.add(("they", wallet))
