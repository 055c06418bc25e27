"""Asking, choosing, proving and judging: real keys, real store, ledgers in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from wallets import (
    ALICE,
    CHILD,
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
from keep_agent.credentials.formats import Family
from keep_agent.credentials.presentations import FIRST_PAGE
from keep_agent.credentials.wallet import CREDENTIAL, held
from keep_agent.errors import BadCommandError, RefusedError
from keep_ledger.interface import CredDef
from keep_zkp.requests import from_cred_def, over_age

SCHEMA = f"{OFFICE}/anoncreds/v0/SCHEMA/licence/1.0"
OFFICE_INDY = f"did:indy:{NAMESPACE}:{OFFICE}"


@pytest.fixture(scope="module")
async def people(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Tenant, ...]]:
    """The office, Alice with her licence, a child with his, a bar."""
    path: Path = tmp_path_factory.mktemp("proofs")
    async with tenants(path, "office", "alice", "child", "bar") as made:
        office, alice, child, _ = made
        await issue(office, alice, "a1", ALICE)
        await issue(office, child, "c1", CHILD)
        yield made


def over_18(source: str = LICENCE_INDY, *show: str) -> Json:
    asked = over_age(18, today=date(2026, 11, 22), source=from_cred_def(source), show=show)
    return asked.wire()


async def ask(bar: Tenant, request: Json, family: Family = "anoncreds") -> Json:
    return (await bar.proofs.ask(request, family, None, accept_any_issuer=False)).request


# -- asking ------------------------------------------------------------------------------------


async def test_sec_p14_each_question_has_a_nonce_of_our_own(people: tuple[Tenant, ...]) -> None:
    bar = people[3]
    asked = [await ask(bar, {**over_18(), "nonce": "1"}) for _ in range(2)]
    nonces = {each["nonce"] for each in asked}
    assert len(nonces) == 2
    assert "1" not in nonces
    assert all(int(nonce) < 2**80 for nonce in nonces)


async def test_sec_p10_a_question_that_binds_no_issuer_is_not_asked(
    people: tuple[Tenant, ...],
) -> None:
    bar = people[3]
    open_question = {"requested_attributes": {"n": {"name": "name"}}}
    with pytest.raises(BadCommandError, match="SEC-P10"):
        await ask(bar, open_question)
    asked = await bar.proofs.ask(open_question, "anoncreds", None, accept_any_issuer=True)
    assert asked.request["requested_attributes"]["n"]["name"] == "name"


@pytest.mark.parametrize(
    "junk",
    [
        {},
        {"nonce": "1"},
        {
            "nonce": "1",
            "requested_attributes": {"a": {"name": "x", "restrictions": [{"y": 1}]}},
        },
        {
            "nonce": "1",
            "requested_predicates": {"p": {"name": "x", "p_type": "=", "p_value": 1}},
        },
        {
            "nonce": "1",
            "requested_predicates": {"p": {"name": "x", "p_type": ">", "p_value": 2**40}},
        },
    ],
)
async def test_what_is_no_question_is_refused(people: tuple[Tenant, ...], junk: Json) -> None:
    with pytest.raises(RefusedError):
        await people[1].proofs.read(junk)


# -- proving and judging -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "family", "shown"),
    [
        (LICENCE_INDY, "anoncreds", LICENCE_INDY),
        (LICENCE, "anoncreds", LICENCE),
        (LICENCE, "hlindy", LICENCE),
    ],
)
async def test_an_adult_proves_her_age_in_the_form_of_the_question(
    people: tuple[Tenant, ...], source: str, family: Family, shown: str
) -> None:
    _, alice, _, bar = people
    asked = await ask(bar, over_18(source, "category"), family)
    question = await alice.proofs.read(asked)
    proof = await alice.proofs.present(question, family, {}, {})
    assert {each["cred_def_id"] for each in proof["identifiers"]} == {shown}
    verdict = await bar.proofs.verify(asked, proof, accept_any_issuer=False)
    assert verdict.ok, verdict.shown["reasons"]
    answers = {each["referent"]: each for each in verdict.shown["answers"]}
    assert answers["shown"]["values"] == {"category": "B"}
    assert answers["over_18"]["how"] == "proven"
    assert answers["over_18"]["source"]["issuer_id"] == OFFICE_INDY
    assert ALICE["birthdate_dateint"] not in json.dumps(verdict.shown)


async def test_a_child_cannot_and_is_told_why(people: tuple[Tenant, ...]) -> None:
    _, _, child, bar = people
    asked = await ask(bar, over_18())
    with pytest.raises(BadCommandError, match="birthdate_dateint 20140101 is not <= 20081122"):
        await child.proofs.present(asked, "anoncreds", {}, {})


async def test_a_wallet_without_such_a_credential_says_so(people: tuple[Tenant, ...]) -> None:
    bar = people[3]
    asked = await ask(bar, over_18(LICENCE_INDY.replace("default", "learner")))
    with pytest.raises(BadCommandError, match="no such credential is held"):
        await people[1].proofs.present(asked, "anoncreds", {}, {})


async def test_an_answer_to_another_question_is_not_believed(
    people: tuple[Tenant, ...],
) -> None:
    _, _, child, bar = people
    easy = over_18()
    easy["requested_predicates"]["over_18"]["p_value"] = 20200101
    proof = await child.proofs.present(await ask(bar, easy), "anoncreds", {}, {})
    verdict = await bar.proofs.verify(await ask(bar, over_18()), proof, accept_any_issuer=False)
    assert not verdict.ok
    assert verdict.shown["reasons"][0]["rule"] == "SEC-P01"


async def test_sec_p13_an_answer_to_an_earlier_nonce_is_not_believed(
    people: tuple[Tenant, ...],
) -> None:
    _, alice, _, bar = people
    earlier, now = await ask(bar, over_18()), await ask(bar, over_18())
    proof = await alice.proofs.present(earlier, "anoncreds", {}, {})
    assert not (await bar.proofs.verify(now, proof, accept_any_issuer=False)).ok
    assert (await bar.proofs.verify(earlier, proof, accept_any_issuer=False)).ok


@pytest.mark.parametrize("junk", [{}, {"identifiers": 7}, {"proof": {}, "identifiers": []}])
async def test_junk_is_a_verdict(people: tuple[Tenant, ...], junk: Json) -> None:
    bar = people[3]
    verdict = await bar.proofs.verify(await ask(bar, over_18()), junk, accept_any_issuer=False)
    assert not verdict.ok
    assert verdict.shown["reasons"]


async def test_sec_p17_ids_that_no_ledger_has_are_not_believed(
    people: tuple[Tenant, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_objects, "RETRY_PAUSES_S", ())
    _, alice, _, bar = people
    asked = await ask(bar, over_18())
    proof = await alice.proofs.present(asked, "anoncreds", {}, {})
    proof["identifiers"][0]["cred_def_id"] = LICENCE_INDY.replace("/12/", "/99/")
    verdict = await bar.proofs.verify(asked, proof, accept_any_issuer=False)
    assert [each["rule"] for each in verdict.shown["reasons"]] == ["SEC-P17"]


async def test_a_self_attested_answer_needs_our_word_and_proves_nothing(
    people: tuple[Tenant, ...],
) -> None:
    _, alice, _, bar = people
    question = {"requested_attributes": {"p": {"name": "phone"}}}
    asked = (await bar.proofs.ask(question, "anoncreds", None, accept_any_issuer=True)).request
    with pytest.raises(BadCommandError, match="self_attested"):
        await alice.proofs.present(asked, "anoncreds", {}, {})
    proof = await alice.proofs.present(asked, "anoncreds", {}, {"p": "12345"})
    verdict = await bar.proofs.verify(asked, proof, accept_any_issuer=True)
    assert verdict.ok
    assert verdict.shown["answers"][0]["how"] == "self-attested"


async def test_our_word_does_not_count_where_a_credential_is_asked_for(
    people: tuple[Tenant, ...],
) -> None:
    _, alice, _, bar = people
    asked = await ask(bar, over_18(LICENCE_INDY, "category"))
    with pytest.raises(BadCommandError, match="SEC-P09"):
        await alice.proofs.present(asked, "anoncreds", {}, {"shown": "B"})


# -- two networks with one DID -----------------------------------------------------------------


@pytest.mark.parametrize("form", ["with network", "without network"])
async def test_a_definition_of_another_network_is_not_the_one_asked_for(
    tmp_path: Path, form: str
) -> None:
    """Anybody may write any DID to some test network and sign there what he likes."""
    real, test = ledger("real"), ledger("test")
    publish(test, LICENCE, vectors()["cred_defs"]["learner"])  # the forger's own key
    in_test = LICENCE_INDY.replace(":local:", ":test:")
    asked_for = {"with network": LICENCE_INDY.replace(":local:", ":real:")}.get(form, LICENCE)
    networks = (real, test)
    ids = {"id": in_test, "schema_id": f"did:indy:test:{SCHEMA}"}
    async with tenants(tmp_path, "forger", "bar", networks=networks) as (forger, bar):
        await forger.write(
            *(
                Put(each.category, in_test, {**each.value, **ids}, each.tags, new=True)
                for each in issuer_keys("learner")
            )
        )
        await issue(forger, forger, "f1", ALICE, in_test)
        asked = await ask(bar, over_18(asked_for))
        easy = over_18(in_test)
        proof = await forger.proofs.present(
            {**easy, "nonce": asked["nonce"]}, "anoncreds", {}, {}
        )
        honest = await bar.proofs.verify(
            {**easy, "nonce": asked["nonce"]}, proof, accept_any_issuer=False
        )
        assert honest.ok, honest.shown
        verdict = await bar.proofs.verify(asked, proof, accept_any_issuer=False)
        assert not verdict.ok
        proof["identifiers"][0]["cred_def_id"] = LICENCE
        proof["identifiers"][0]["schema_id"] = f"{OFFICE}:2:licence:1.0"
        assert not (await bar.proofs.verify(asked, proof, accept_any_issuer=False)).ok


# -- a large wallet ----------------------------------------------------------------------------


class Reads:
    """Counts what a profile reads."""

    def __init__(self, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = 0
        page = tenant.profile.reader.page

        async def counting(*args: Any, **kwargs: Any) -> list[tuple[str, bytes]]:
            found = await page(*args, **kwargs)
            self.rows += len(found)
            return found

        monkeypatch.setattr(tenant.profile.reader, "page", counting)


@pytest.fixture(scope="module")
async def collector(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tenant]:
    """Somebody with 200 licences and 200 learner's licences, which only the wallet believes in."""
    path: Path = tmp_path_factory.mktemp("collector")
    async with tenants(path, "office", "collector") as (office, holder):
        await issue(office, holder, "first", ALICE)
        record = await holder.profile.get(CREDENTIAL, "first")
        for tag, count in (("default", 200), ("learner", 200)):
            cred_def = CredDef(
                LICENCE_INDY.replace("default", tag),
                OFFICE_INDY,
                record["schema_id"],
                tag,
                "{}",
                12,
            )
            values = {**record["credential"]["values"], "category": {"raw": tag, "encoded": ""}}
            for n in range(count):
                credential = {**record["credential"], "values": values}
                await holder.write(held(f"{tag}{n}", credential, cred_def))
        yield holder


async def test_only_the_newest_of_the_kind_are_read(
    collector: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(collector, monkeypatch)
    selection = await collector.proofs.select(over_18())
    assert reads.rows == FIRST_PAGE
    assert selection.chosen == {"over_18": "default199"}


async def test_an_old_credential_is_found_where_no_newer_one_fits(
    collector: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(collector, monkeypatch)
    source = [{"cred_def_id": LICENCE, "attr::category::value": "B"}]
    asked = {
        "nonce": "1",
        "requested_attributes": {"c": {"name": "category", "restrictions": source}},
    }
    selection = await collector.proofs.select(asked)
    assert selection.chosen == {"c": "first"}
    assert reads.rows == 201


@pytest.mark.parametrize(
    ("restriction", "found"),
    [
        ({"schema_id": f"{OFFICE}:2:licence:1.0"}, "learner199"),
        ({"issuer_id": OFFICE_INDY}, "learner199"),
        ({"issuer_did": OFFICE}, "learner199"),
        ({"issuer_did": OFFICE, "cred_def_id": LICENCE}, "default199"),
        ({"schema_name": "licence"}, "learner199"),
        ({"schema_name": "card"}, None),
        ({"issuer_did": "7Tqg6BwSSWapxgUDm9KKgg"}, None),
    ],
)
async def test_every_kind_of_restriction_narrows_by_tag(
    collector: Tenant, restriction: Json, found: str | None
) -> None:
    asked = {
        "nonce": "1",
        "requested_attributes": {"c": {"name": "Category", "restrictions": [restriction]}},
    }
    selection = await collector.proofs.select(asked)
    assert selection.chosen == ({"c": found} if found else {})


async def test_the_holder_may_choose(people: tuple[Tenant, ...]) -> None:
    office, alice, _, bar = people
    await issue(office, alice, "a2", {**ALICE, "category": "C"})
    asked = await ask(bar, over_18(LICENCE_INDY, "category"))
    newest = await alice.proofs.present(asked, "anoncreds", {}, {})
    chosen = {"shown": "a1", "over_18": "a1"}
    mine = await alice.proofs.present(asked, "anoncreds", chosen, {})
    shown = [
        (await bar.proofs.verify(asked, each, accept_any_issuer=False)).shown["answers"][0]
        for each in (newest, mine)
    ]
    assert [each["values"] for each in shown] == [{"category": "C"}, {"category": "B"}]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [({"over_18": "none"}, "no credential 'none'"), ({"other": "a1"}, "is not in the request")],
)
async def test_a_choice_that_does_not_fit_is_refused(
    people: tuple[Tenant, ...], chosen: dict[str, str], words: str
) -> None:
    _, alice, _, bar = people
    asked = await ask(bar, over_18())
    with pytest.raises(BadCommandError, match=words):
        await alice.proofs.present(asked, "anoncreds", chosen, {})
