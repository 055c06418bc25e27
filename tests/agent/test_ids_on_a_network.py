"""On a real network: DIDs with and without a namespace issue and prove, in both families of formats."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from agent.credentials.test_flow import at, held
from agent.pair import Pair, opened
from pool import Network

from keep_agent.core.machine import Exchange
from keep_agent.core.message import Json
from keep_agent.credentials.formats import Family, Ids
from keep_agent.credentials.spelling import as_received
from keep_agent.protocols import issue_credential_2 as ic
from keep_agent.protocols import present_proof_2 as pp
from keep_agent.registry.commands import CreateCredDef, CreateDid, CreateSchema
from keep_agent.registry.jobs import JOB, OPEN, Job, State
from keep_ledger.identifiers import qualify, unqualify
from keep_ledger.indy import open_ledger
from keep_ledger.plugins import LedgerConfig

pytestmark = pytest.mark.pool

VALUES = {"name": "Ann", "age": "30"}
FAMILIES: tuple[Family, ...] = ("anoncreds", "hlindy")


async def nothing(url: str) -> bytes:
    raise OSError(url)


@dataclass(slots=True)
class Town:
    """An office with a definition; Alice is connected with it.

    Attributes:
        written: (schema id, credential definition id) as the jobs say.
    """

    pair: Pair
    hers: str
    its: str
    written: tuple[str, str]

    async def issue(
        self, cred_def_id: str, family: Family, ids: Ids | None = None
    ) -> tuple[Exchange[ic.Issuance], Json]:
        """Issue a credential; return the holder's exchange at the offer, and what she holds."""
        alice, office = self.pair.alice, self.pair.faber
        offer = ic.SendOffer(cred_def_id=cred_def_id, values=VALUES, format=family, ids=ids)
        x = await office.start(ic.PROTOCOL, offer, self.its)
        offered = await at(alice, ic.PROTOCOL, x, "offer-received")
        await alice.command(offered, ic.SendRequest())
        asked = await at(office, ic.PROTOCOL, x, "request-received")
        assert asked.data.request["cred_def_id"] == offered.data.cred_def_id
        await office.command(asked, ic.Issue())
        received = await at(alice, ic.PROTOCOL, x, "credential-received")
        assert received.data.credential["cred_def_id"] == offered.data.cred_def_id
        await alice.command(received, ic.StoreCredential())
        await at(office, ic.PROTOCOL, x, "done")
        return offered, (await held(alice))[-1]

    async def prove(self, restriction: Json, family: Family, ids: Ids | None = None) -> Json:
        """Ask for the age; return the presentation, after it was found right."""
        alice, office = self.pair.alice, self.pair.faber
        over = {"name": "age", "p_type": ">=", "p_value": 18, "restrictions": [restriction]}
        named = {"name": "name", "restrictions": [restriction]}
        request = {"requested_attributes": {"n": named}, "requested_predicates": {"p": over}}
        command = pp.SendRequest(
            request=request, format=family, ids=ids, accept_any_issuer=True
        )
        x = await office.start(pp.PROTOCOL, command, self.its)
        read = await at(alice, pp.PROTOCOL, x, "request-received")
        await alice.command(read, pp.SendPresentation())
        shown = await at(office, pp.PROTOCOL, x, "presentation-received")
        await office.command(shown, pp.Verify())
        judged = await at(office, pp.PROTOCOL, x, "done")
        assert judged.data.verdict["ok"], judged.data.verdict["reasons"]
        presentation: Json = shown.data.presentation
        return presentation


async def finished(pair: Pair, job: Job) -> str:
    profile = pair.faber.profile
    while job.state in OPEN:
        seen = profile.last_event
        job = Job.model_validate(await profile.get(JOB, job.id))
        if job.state in OPEN:
            await profile.wait_event(seen)
    assert job.state == State.DONE, job.error
    return str(job.result)


async def publish(pair: Pair, network: Network, namespace: str | None) -> tuple[str, str]:
    commands = pair.faber.tenant.commands
    did = await commands.create_did(CreateDid(namespace=namespace))
    await network.register(unqualify(did["did"]), did["verkey"], "ENDORSER")
    wish: Any = {"submitter": did["did"]}
    schema = CreateSchema(name="person", version="1.0", attributes=("name", "age"), **wish)
    schema_id = await finished(pair, await commands.create_schema(schema))
    definition = CreateCredDef(schema_id=schema_id, **wish)
    cred_def_id = await finished(pair, await commands.create_cred_def(definition))
    for text in (schema_id, cred_def_id):
        assert text.startswith("did:indy:local:" if namespace else unqualify(did["did"]))
    return schema_id, cred_def_id


@pytest.fixture(scope="module")
async def met(
    network: Network, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Pair, str, str]]:
    path: Path = tmp_path_factory.mktemp("town")
    registry = open_ledger(LedgerConfig("indy", "local", str(network.genesis)), nothing)
    async with opened(path, networks=[registry]) as pair:
        hers, its = await pair.connect()
        yield pair, hers.id, its.id
    await registry.close()


@pytest.fixture(scope="module", params=[None, "local"], ids=["without", "with"])
async def town(
    met: tuple[Pair, str, str], network: Network, request: pytest.FixtureRequest
) -> Town:
    """The office with a definition by a DID that was made with or without a namespace."""
    pair, hers, its = met
    return Town(pair, hers, its, await publish(pair, network, request.param))


def shown_ids(presentation: Json) -> tuple[str, str]:
    (identifier,) = presentation["identifiers"]
    return identifier["schema_id"], identifier["cred_def_id"]


def bare(ids: tuple[str, str]) -> tuple[str, str]:
    return unqualify(ids[0]), unqualify(ids[1])


@pytest.mark.parametrize("family", FAMILIES)
async def test_what_a_job_says_is_what_is_offered_held_and_shown(
    town: Town, family: Family
) -> None:
    written = town.written
    spoken = bare(written) if family == "hlindy" else written
    offered, record = await town.issue(written[1], family)
    assert (offered.data.schema_id, offered.data.cred_def_id) == spoken
    shown = as_received(record)
    assert (shown["schema_id"], shown["cred_def_id"], shown["network"]) == (*spoken, "local")
    proof = await town.prove({"schema_name": "person", "issuer_id": issuer(written)}, family)
    assert shown_ids(proof) == spoken


def issuer(written: tuple[str, str]) -> str:
    """The DID of a definition, in the form of its id."""
    mark = "/" if written[1].startswith("did:") else ":"
    return written[1].partition(mark)[0]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("spell", [unqualify, partial(qualify, namespace="local")])
async def test_restrictions_in_either_form_find_and_prove_the_credential(
    town: Town, spell: Any, family: Family
) -> None:
    written = town.written
    await town.issue(written[1], family)
    proof = await town.prove({"cred_def_id": spell(written[1])}, family)
    as_asked = (spell(written[0]), spell(written[1]))
    assert shown_ids(proof) == (bare(written) if family == "hlindy" else as_asked)


@pytest.mark.parametrize("ids", ["qualified", "unqualified"])
async def test_the_form_of_a_definition_can_be_chosen_for_each_offer_and_request(
    town: Town, ids: Ids
) -> None:
    written = town.written
    wished = bare(written)
    if ids == "qualified":
        wished = (qualify(wished[0], "local"), qualify(wished[1], "local"))
    offered, _ = await town.issue(written[1], "anoncreds", ids)
    assert (offered.data.schema_id, offered.data.cred_def_id) == wished
    proof = await town.prove({"cred_def_id": written[1]}, "anoncreds", ids)
    assert shown_ids(proof) == wished
