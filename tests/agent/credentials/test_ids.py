"""Ids keep the form in which they were written or received, and are compared with their network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from wallets import (
    ALICE,
    LICENCE,
    LICENCE_INDY,
    NAMESPACE,
    OFFICE,
    Tenant,
    issue,
    issuer_keys,
    ledger,
    publish,
    tenants,
    vectors,
)

from keep_agent.core.machine import Put
from keep_agent.core.message import Json
from keep_agent.credentials import ledger_objects
from keep_agent.credentials.formats import Family, Ids
from keep_agent.credentials.spelling import ONLY, PREFERENCES, as_received
from keep_agent.credentials.wallet import CREDENTIAL
from keep_agent.errors import BadCommandError, RefusedError
from keep_ledger.identifiers import unqualify
from keep_ledger.interface import CredDef, Nym
from keep_ledger.memory import MemoryRegistry

LEARNER = LICENCE.replace("default", "learner")
LEARNER_INDY = LICENCE_INDY.replace("default", "learner")
OFFICE_INDY = f"did:indy:{NAMESPACE}:{OFFICE}"
SCHEMA = f"{OFFICE}:2:licence:1.0"
SCHEMA_INDY = f"{OFFICE_INDY}/anoncreds/v0/SCHEMA/licence/1.0"
ELSEWHERE = LICENCE_INDY.replace(f":{NAMESPACE}:", ":other:")
NOWHERE = LICENCE_INDY.replace(f":{NAMESPACE}:", ":nowhere:")


@pytest.fixture(scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Tenant, ...]]:
    """An office with a definition in each form, Alice with a credential of each, and a bar."""
    path: Path = tmp_path_factory.mktemp("ids")
    async with tenants(path, "office", "alice", "bar") as made:
        office, alice, _ = made
        await office.write(*issuer_keys("learner", legacy=True))
        await issue(office, alice, "licence", ALICE)
        await issue(office, alice, "learner", {**ALICE, "category": "L"}, LEARNER)
        yield made


async def offered(office: Tenant, wanted: str, family: Family, ids: Ids | None = None) -> Json:
    offer = await office.credentials.offer({"cred_def_id": wanted}, ALICE, family, ids)
    return offer.attachment


async def prefer(tenant: Tenant, ids: Ids | None) -> None:
    await tenant.write(Put(PREFERENCES, ONLY, {"ids": ids}))


def question(**restriction: str) -> Json:
    asked = {"name": "category", "restrictions": [restriction]}
    return {"requested_attributes": {"c": asked}}


async def asking(bar: Tenant, request: Json, family: Family, ids: Ids | None = None) -> Any:
    return await bar.proofs.ask(request, family, ids, accept_any_issuer=True)


def shown_ids(presentation: Json) -> set[str]:
    keys = ("cred_def_id", "schema_id")
    return {each[key] for each in presentation["identifiers"] for key in keys}


# -- offers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "family", "ids", "cred_def_id"),
    [
        (LICENCE, "anoncreds", None, LICENCE_INDY),
        (LICENCE_INDY, "anoncreds", None, LICENCE_INDY),
        (LEARNER, "anoncreds", None, LEARNER),
        (LEARNER_INDY, "anoncreds", None, LEARNER),
        (LICENCE, "anoncreds", "unqualified", LICENCE),
        (LEARNER, "anoncreds", "qualified", LEARNER_INDY),
        (LICENCE_INDY, "hlindy", None, LICENCE),
        (LEARNER, "hlindy", "unqualified", LEARNER),
    ],
)
async def test_an_offer_has_the_ids_as_the_definition_was_written_or_as_the_command_says(
    town: tuple[Tenant, ...], wanted: str, family: Family, ids: Ids | None, cred_def_id: str
) -> None:
    offer = await offered(town[0], wanted, family, ids)
    schema = SCHEMA_INDY if cred_def_id.startswith("did:") else SCHEMA
    assert (offer["cred_def_id"], offer["schema_id"]) == (cred_def_id, schema)


async def test_a_tenant_prefers_a_form_and_a_command_overrides_it(
    town: tuple[Tenant, ...],
) -> None:
    office = town[0]
    await prefer(office, "unqualified")
    assert (await offered(office, LICENCE_INDY, "anoncreds"))["cred_def_id"] == LICENCE
    overridden = await offered(office, LICENCE_INDY, "anoncreds", "qualified")
    assert overridden["cred_def_id"] == LICENCE_INDY
    asked = await asking(office, question(cred_def_id=LICENCE_INDY), "anoncreds")
    assert (
        asked.request["requested_attributes"]
        == question(cred_def_id=LICENCE)["requested_attributes"]
    )
    await prefer(office, "qualified")
    assert (await offered(office, LEARNER, "anoncreds"))["cred_def_id"] == LEARNER_INDY
    assert (await offered(office, LEARNER, "hlindy"))["cred_def_id"] == LEARNER
    await prefer(office, None)
    assert (await offered(office, LEARNER, "anoncreds"))["cred_def_id"] == LEARNER


@pytest.mark.parametrize("family", ["anoncreds", "hlindy"])
async def test_a_number_is_asked_for_in_both_spellings_whatever_the_ids(
    town: tuple[Tenant, ...], family: Family
) -> None:
    """Some holders keep a value as it was issued; Credo keeps the number that is signed."""
    _, _, bar = town
    wanted = question(**{"schema_name": "licence", "attr::category::value": "007"})
    asked = await asking(bar, wanted, family)
    restrictions = asked.request["requested_attributes"]["c"]["restrictions"]
    assert restrictions == [
        {"schema_name": "licence", "attr::category::value": spelling}
        for spelling in ("007", "7")
    ]


async def test_the_old_family_has_no_ids_with_a_network(town: tuple[Tenant, ...]) -> None:
    office, _, bar = town
    with pytest.raises(BadCommandError, match="hlindy has ids without network only"):
        await offered(office, LICENCE, "hlindy", "qualified")
    with pytest.raises(BadCommandError, match="hlindy has ids without network only"):
        await asking(bar, question(cred_def_id=LICENCE), "hlindy", "qualified")


@pytest.mark.parametrize(
    "wanted",
    [
        {"cred_def_id": ELSEWHERE},
        {"cred_def_id": ELSEWHERE, "schema_name": "licence"},
        {"issuer_id": f"did:indy:other:{OFFICE}"},
        {"schema_id": SCHEMA_INDY.replace(":local:", ":other:")},
        {"schema_issuer_id": f"did:indy:other:{OFFICE}", "cred_def_id": LICENCE},
    ],
)
async def test_no_definition_of_ours_is_one_of_another_network(
    town: tuple[Tenant, ...], wanted: Any
) -> None:
    with pytest.raises(BadCommandError, match="no credential definition of ours fits"):
        await town[0].credentials.offer(wanted, ALICE, "anoncreds", None)


@pytest.mark.parametrize("issuer", [OFFICE, f"did:sov:{OFFICE}", OFFICE_INDY])
async def test_a_definition_of_ours_is_found_by_its_issuer_in_any_form(
    town: tuple[Tenant, ...], issuer: str
) -> None:
    wanted: Any = {"issuer_id": issuer, "schema_issuer_id": issuer, "cred_def_id": LEARNER_INDY}
    offer = await town[0].credentials.offer(wanted, ALICE, "anoncreds", None)
    assert offer.attachment["cred_def_id"] == LEARNER


# -- requests and credentials ----------------------------------------------------------------------


@pytest.mark.parametrize("ids", ["qualified", "unqualified"])
@pytest.mark.parametrize("wanted", [LICENCE, LEARNER])
async def test_request_and_credential_speak_as_the_offer_did(
    town: tuple[Tenant, ...], wanted: str, ids: Ids
) -> None:
    office, alice, _ = town
    offer = await office.credentials.offer({"cred_def_id": wanted}, ALICE, "anoncreds", ids)
    request = await alice.credentials.request(offer.attachment, ALICE)
    assert request.attachment["cred_def_id"] == offer.attachment["cred_def_id"]
    credential = await office.credentials.issue(offer.kept, request.attachment, ALICE)
    put = await alice.credentials.check("x", credential, request.kept, ALICE)
    for key in ("cred_def_id", "schema_id"):
        assert credential[key] == put.value["credential"][key] == offer.attachment[key]


async def test_a_held_credential_is_shown_as_it_was_received(town: tuple[Tenant, ...]) -> None:
    alice = town[1]
    assert as_received(await alice.profile.get(CREDENTIAL, "licence")) == {
        "cred_def_id": LICENCE_INDY,
        "schema_id": SCHEMA_INDY,
        "issuer_id": OFFICE_INDY,
        "network": NAMESPACE,
    }
    assert as_received(await alice.profile.get(CREDENTIAL, "learner")) == {
        "cred_def_id": LEARNER,
        "schema_id": SCHEMA,
        "issuer_id": OFFICE,
        "network": NAMESPACE,
    }


@pytest.mark.parametrize("ids", ["qualified", "unqualified"])
async def test_an_answer_with_the_ids_of_another_network_is_refused(
    town: tuple[Tenant, ...], ids: Ids
) -> None:
    office, alice, _ = town
    offer = await office.credentials.offer({"cred_def_id": LICENCE}, ALICE, "anoncreds", ids)
    request = await alice.credentials.request(offer.attachment, ALICE)
    credential = await office.credentials.issue(offer.kept, request.attachment, ALICE)

    async def answered(cred_def_id: str) -> None:
        named = {"cred_def_id": cred_def_id}
        await office.credentials.issue(offer.kept, {**request.attachment, **named}, ALICE)

    async def received(cred_def_id: str) -> None:
        named = {"cred_def_id": cred_def_id}
        await alice.credentials.check("x", {**credential, **named}, request.kept, ALICE)

    for text in (LICENCE, LICENCE_INDY):
        await answered(text)
        await received(text)
    with pytest.raises(RefusedError, match="SEC-I01"):
        await answered(ELSEWHERE)
    with pytest.raises(RefusedError, match="SEC-I04"):
        await received(ELSEWHERE)


async def test_an_offer_whose_schema_is_of_another_network_is_refused(
    town: tuple[Tenant, ...],
) -> None:
    office, alice, _ = town
    offer = await offered(office, LICENCE, "anoncreds")
    offer["schema_id"] = SCHEMA_INDY.replace(":local:", ":other:")
    with pytest.raises(RefusedError, match="SEC-I04"):
        await alice.credentials.request(offer, ALICE)


# -- presentations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restriction", "family", "shown"),
    [
        ({"schema_name": "licence", "attr::category::value": "L"}, "anoncreds", LEARNER),
        ({"schema_name": "licence", "attr::category::value": "B"}, "anoncreds", LICENCE_INDY),
        ({"schema_name": "licence", "attr::category::value": "B"}, "hlindy", LICENCE),
        ({"cred_def_id": LEARNER}, "anoncreds", LEARNER),
        ({"cred_def_id": LEARNER_INDY}, "anoncreds", LEARNER_INDY),
        ({"cred_def_id": LICENCE}, "anoncreds", LICENCE),
        ({"cred_def_id": LICENCE_INDY}, "anoncreds", LICENCE_INDY),
        ({"cred_def_id": LICENCE_INDY}, "hlindy", LICENCE),
        ({"cred_def_id": LEARNER}, "hlindy", LEARNER),
        ({"schema_id": SCHEMA, "cred_def_id": LEARNER_INDY}, "anoncreds", LEARNER),
        ({"issuer_id": f"did:sov:{OFFICE}", "cred_def_id": LEARNER}, "anoncreds", LEARNER),
        ({"issuer_did": OFFICE, "attr::category::value": "L"}, "anoncreds", LEARNER),
        ({"schema_issuer_id": OFFICE_INDY, "cred_def_id": LICENCE_INDY}, "hlindy", LICENCE),
    ],
)
async def test_a_presentation_names_objects_as_received_or_as_they_were_asked_for(
    town: tuple[Tenant, ...], restriction: dict[str, str], family: Family, shown: str
) -> None:
    _, alice, bar = town
    asked = await asking(bar, question(**restriction), family)
    read = await alice.proofs.read(asked.request)
    proof = await alice.proofs.present(read, family, {}, {})
    assert shown_ids(proof) == {shown, SCHEMA_INDY if shown.startswith("did:") else SCHEMA}
    meant = asked.meant or asked.request
    verdict = await bar.proofs.verify(meant, proof, accept_any_issuer=True)
    assert verdict.ok, verdict.shown["reasons"]
    assert verdict.shown["answers"][0]["source"]["issuer_id"] == OFFICE_INDY


async def test_each_credential_of_a_presentation_has_its_own_form(
    town: tuple[Tenant, ...],
) -> None:
    _, alice, bar = town
    several = {
        key: {"name": "number", "restrictions": [{"attr::number::value": "L-77 123"}]}
        for key in ("a", "b")
    }
    asked = await asking(bar, {"requested_attributes": several}, "anoncreds")
    chosen = {"a": "licence", "b": "learner"}
    proof = await alice.proofs.present(asked.request, "anoncreds", chosen, {})
    assert shown_ids(proof) == {LICENCE_INDY, SCHEMA_INDY, LEARNER, SCHEMA}
    verdict = await bar.proofs.verify(asked.request, proof, accept_any_issuer=True)
    assert verdict.ok, verdict.shown["reasons"]


@pytest.mark.parametrize(
    ("given", "family", "ids", "sent", "ver"),
    [
        (LICENCE_INDY, "anoncreds", None, LICENCE_INDY, "2.0"),
        (LICENCE, "anoncreds", None, LICENCE, None),
        (LICENCE_INDY, "anoncreds", "unqualified", LICENCE, None),
        (LICENCE, "anoncreds", "qualified", LICENCE_INDY, "2.0"),
        (LICENCE_INDY, "hlindy", None, LICENCE, None),
    ],
)
async def test_a_request_is_written_as_the_command_says_and_means_what_it_did(
    town: tuple[Tenant, ...],
    given: str,
    family: Family,
    ids: Ids | None,
    sent: str,
    ver: str | None,
) -> None:
    bar = town[2]
    request = question(cred_def_id=given)
    asked = await asking(bar, request, family, ids)
    wanted = question(cred_def_id=sent)["requested_attributes"]
    assert asked.request["requested_attributes"] == wanted
    assert asked.request.get("ver") == ver
    if sent == given:
        assert asked.meant is None
    else:
        assert asked.meant["requested_attributes"] == request["requested_attributes"]
        assert asked.meant["nonce"] == asked.request["nonce"]


async def test_a_request_without_networks_names_issuers_as_old_peers_do(
    town: tuple[Tenant, ...],
) -> None:
    wish = question(issuer_id=OFFICE_INDY, schema_issuer_id=OFFICE_INDY)
    asked = await asking(town[2], wish, "hlindy")
    restrictions = asked.request["requested_attributes"]["c"]["restrictions"]
    assert restrictions == [{"issuer_did": OFFICE, "schema_issuer_did": OFFICE}]


# -- several networks ------------------------------------------------------------------------------


class Counted(MemoryRegistry):
    """A network that counts how often it is asked for a DID or a definition."""

    def __init__(self, namespace: str) -> None:
        super().__init__(namespace)
        self._state = ledger(namespace)._state
        self.reads = 0

    async def get_nym(self, did: str) -> Nym | None:
        self.reads += 1
        return await super().get_nym(did)

    async def get_cred_def(self, cred_def_id: str) -> CredDef | None:
        self.reads += 1
        return await super().get_cred_def(cred_def_id)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Tenant, ...]]:
    """Two networks with the same ids; in `other` the definition has a forger's keys.

    The office's own definition is in `local`; the forger has that of `other`.
    """
    local, other = Counted(NAMESPACE), ledger("other")
    publish(other, LICENCE, vectors()["cred_defs"]["learner"])
    networks = (local, other)
    async with tenants(tmp_path, "office", "alice", "forger", networks=networks) as made:
        office, alice, forger = made
        record, key = issuer_keys("learner")
        public = {
            **record.value["public"],
            "issuerId": f"did:indy:other:{OFFICE}",
            "schemaId": SCHEMA_INDY.replace(":local:", ":other:"),
        }
        ids = {"id": ELSEWHERE, "schema_id": public["schemaId"], "public": public}
        tags = {**(record.tags or {}), "cred_def_id": LICENCE}
        await forger.write(
            Put(record.category, ELSEWHERE, {**record.value, **ids}, tags, new=True),
            Put(key.category, ELSEWHERE, key.value, new=True),
        )
        await issue(office, alice, "real", ALICE)
        await issue(forger, forger, "forged", ALICE, ELSEWHERE)
        yield made


@pytest.mark.parametrize("asked_for", [LICENCE, LICENCE_INDY])
@pytest.mark.parametrize("ids", [None, "unqualified"])
async def test_sec_p36_an_id_of_another_network_never_stands_for_the_one_asked_for(
    two: tuple[Tenant, ...],
    asked_for: str,
    ids: Ids | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger_objects, "RETRY_PAUSES_S", ())
    office, alice, forger = two
    asked = await asking(office, question(cred_def_id=asked_for), "anoncreds", ids)
    with pytest.raises(BadCommandError, match="no credential fits"):
        await forger.proofs.present(asked.request, "anoncreds", {}, {})
    easy = {**question(cred_def_id=ELSEWHERE), "name": "q", "version": "1.0"}
    easy["nonce"] = asked.request["nonce"]
    forged = await forger.proofs.present(easy, "anoncreds", {}, {})
    for cred_def_id in (ELSEWHERE, LICENCE, LICENCE_INDY, NOWHERE):
        for schema_id in (SCHEMA_INDY.replace(":local:", ":other:"), SCHEMA, SCHEMA_INDY):
            shown = {"cred_def_id": cred_def_id, "schema_id": schema_id}
            identifiers = [{**forged["identifiers"][0], **shown}]
            verdict = await office.proofs.verify(
                asked.meant or asked.request,
                {**forged, "identifiers": identifiers},
                accept_any_issuer=True,
            )
            assert not verdict.ok
    honest = await alice.proofs.present(asked.request, "anoncreds", {}, {})
    verdict = await office.proofs.verify(
        asked.meant or asked.request, honest, accept_any_issuer=True
    )
    assert verdict.ok, verdict.shown["reasons"]


async def test_sec_p36_what_was_asked_without_networks_still_means_its_network(
    two: tuple[Tenant, ...],
) -> None:
    """On the wire both questions read alike; only one of them is answered by Alice."""
    office, alice, _ = two
    for cred_def_id, ok in ((LICENCE_INDY, True), (ELSEWHERE, False)):
        asked = await asking(
            office, question(cred_def_id=cred_def_id), "anoncreds", "unqualified"
        )
        assert unqualify(cred_def_id) in str(asked.request)
        proof = await alice.proofs.present(asked.request, "anoncreds", {}, {})
        verdict = await office.proofs.verify(asked.meant, proof, accept_any_issuer=True)
        assert verdict.ok is ok


async def test_a_schema_is_looked_for_where_its_definition_was_found(tmp_path: Path) -> None:
    """Both networks have the schema; the definition is in the second one alone."""
    first, second = ledger("first"), ledger(NAMESPACE)
    first._state.cred_defs.clear()
    networks = (first, second)
    async with tenants(tmp_path, "office", "alice", networks=networks) as (office, alice):
        await issue(office, alice, "a", ALICE, LICENCE, "unqualified")
        asked = await asking(office, question(cred_def_id=LICENCE), "anoncreds")
        proof = await alice.proofs.present(asked.request, "anoncreds", {}, {})
        assert shown_ids(proof) == {LICENCE, SCHEMA}
        verdict = await office.proofs.verify(asked.request, proof, accept_any_issuer=True)
        assert verdict.ok, verdict.shown["reasons"]
        source = verdict.shown["answers"][0]["source"]
        assert (source["cred_def_id"], source["schema_id"]) == (LICENCE_INDY, SCHEMA_INDY)


async def test_sec_r01_who_asks_cannot_make_a_holder_look_up_many_ids(
    two: tuple[Tenant, ...],
) -> None:
    alice = two[1]
    network = alice.proofs._objects._networks.of(LICENCE)[0]
    assert isinstance(network, Counted)
    names = [f"{OFFICE}:3:CL:{number}:x" for number in range(20, 170)]
    asked = {
        **question(),
        "nonce": "1",
        "requested_attributes": {
            "c": {
                "name": "category",
                "restrictions": [{"cred_def_id": {"$in": [*names, LICENCE]}}],
            }
        },
    }
    before = network.reads
    assert (await alice.proofs.select(asked)).chosen == {"c": "real"}
    assert network.reads - before <= 2
