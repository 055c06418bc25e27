"""The wallet: real keys, real store, a ledger in memory."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from wallets import (
    ALICE,
    LICENCE,
    LICENCE_INDY,
    Tenant,
    issue,
    issuer_keys,
    ledger,
    tenants,
    vectors,
)

from keep_agent.core.machine import Put
from keep_agent.core.message import Json
from keep_agent.credentials import ledger_objects
from keep_agent.credentials.formats import Family, Filter
from keep_agent.credentials.ledger_objects import LedgerObjects
from keep_agent.credentials.wallet import (
    CRED_DEF,
    CRED_DEF_KEY,
    CREDENTIAL,
    LINK_SECRET,
    attribute_tag,
    link_secret,
    make_link_secret,
)
from keep_agent.errors import BadCommandError, ConflictError, RefusedError, UnavailableError
from keep_ledger.errors import LedgerUnavailableError
from keep_ledger.interface import CredDef
from keep_ledger.memory import MemoryRegistry
from keep_ledger.plugins import Ledgers

LEARNER = LICENCE.replace("default", "learner")


@pytest.fixture(scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Tenant, ...]]:
    path: Path = tmp_path_factory.mktemp("wallet")
    async with tenants(path, "office", "alice", "bob") as made:
        await made[0].write(*issuer_keys("learner"))
        yield made


@pytest.mark.parametrize("family", ["anoncreds", "hlindy"])
@pytest.mark.parametrize("wanted", [LICENCE, LICENCE_INDY])
async def test_a_credential_goes_from_offer_to_record_in_either_form_of_its_id(
    pair: tuple[Tenant, ...], family: Family, wanted: str
) -> None:
    office, alice, _ = pair
    offer = await office.credentials.offer({"cred_def_id": wanted}, ALICE, family, None)
    assert offer.attachment["cred_def_id"] == (LICENCE if family == "hlindy" else LICENCE_INDY)
    request = await alice.credentials.request(offer.attachment, ALICE)
    credential = await office.credentials.issue(offer.kept, request.attachment, ALICE)
    put = await alice.credentials.check("x1", credential, request.kept, ALICE)
    assert put.value["cred_def_id"] == LICENCE_INDY
    assert put.tags["cred_def_id"] == LICENCE
    assert put.tags[attribute_tag("Birthdate_dateint")] == "1"
    assert put.new


# -- issuer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "values", "words"),
    [
        (
            {"cred_def_id": LICENCE.replace("default", "none")},
            ALICE,
            "no credential definition",
        ),
        ({"schema_name": "card"}, ALICE, "no credential definition"),
        ({"schema_name": "licence", "schema_version": "1.0"}, ALICE, "several"),
        (
            {"cred_def_id": LICENCE},
            {"name": "Alice"},
            "'birthdate_dateint' is missing, 'category' is missing",
        ),
        ({"cred_def_id": LICENCE}, {**ALICE, "more": "x"}, "'more' is none of them"),
        ({"cred_def_id": LICENCE}, {**ALICE, "birthdate_dateint": "May"}, "SEC-P20"),
        ({"cred_def_id": LICENCE}, {**ALICE, "birthdate_dateint": "+19990512"}, "SEC-P20"),
    ],
)
async def test_an_offer_that_could_not_be_issued_is_not_made(
    pair: tuple[Tenant, ...], wanted: Filter, values: dict[str, str], words: str
) -> None:
    office = pair[0]
    with pytest.raises(BadCommandError, match=words):
        await office.credentials.offer(wanted, values, "anoncreds", None)


@pytest.fixture(scope="module")
async def promising(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Tenant, ...]]:
    """An office whose licences promise numbers where the category stands."""
    path: Path = tmp_path_factory.mktemp("promise")
    async with tenants(path, "office", "alice") as made:
        record, key = issuer_keys("learner")
        await made[0].write(replace(record, value={**record.value, "predicates": ["Category"]}))
        await made[0].write(key)
        yield made


@pytest.mark.parametrize(
    "value", ["B", "", "007", "+7", " 7", "7.0", str(2**31), str(-(2**31) - 1)]
)
async def test_sec_i09_what_a_definition_promises_is_held_at_every_offer(
    promising: tuple[Tenant, ...], value: str
) -> None:
    values = {**ALICE, "category": value}
    wishes: list[Filter] = [
        {"cred_def_id": LEARNER},
        {"schema_name": "licence", "cred_def_id": LEARNER},
    ]
    for wanted in wishes:
        with pytest.raises(BadCommandError, match="SEC-P20"):
            await promising[0].credentials.offer(wanted, values, "anoncreds", None)
    await promising[0].credentials.offer({"cred_def_id": LICENCE}, ALICE, "anoncreds", None)


async def test_sec_i09_what_a_definition_promises_is_held_when_it_is_issued(
    promising: tuple[Tenant, ...],
) -> None:
    office, alice = promising
    values = {**ALICE, "category": "7"}
    offer = await office.credentials.offer({"cred_def_id": LEARNER}, values, "anoncreds", None)
    request = await alice.credentials.request(offer.attachment, values)
    with pytest.raises(BadCommandError, match="SEC-P20"):
        await office.credentials.issue(offer.kept, request.attachment, ALICE)
    credential = await office.credentials.issue(offer.kept, request.attachment, values)
    put = await alice.credentials.check("x9", credential, request.kept, values)
    assert put.value["credential"]["values"]["category"]["encoded"] == "7"


async def test_a_filter_that_fits_one_definition_of_ours_finds_it(
    pair: tuple[Tenant, ...],
) -> None:
    wanted: Filter = {"schema_name": "licence", "cred_def_id": LICENCE}
    offer = await pair[0].credentials.offer(wanted, ALICE, "anoncreds", None)
    assert offer.attachment["cred_def_id"] == LICENCE_INDY


async def test_sec_i01_a_request_for_another_definition_than_offered_is_refused(
    pair: tuple[Tenant, ...],
) -> None:
    office, alice, _ = pair
    offer = await office.credentials.offer({"cred_def_id": LICENCE}, ALICE, "anoncreds", None)
    other = await office.credentials.offer({"cred_def_id": LEARNER}, ALICE, "anoncreds", None)
    request = await alice.credentials.request(other.attachment, ALICE)
    with pytest.raises(RefusedError, match="SEC-I01"):
        await office.credentials.issue(offer.kept, request.attachment, ALICE)


async def test_sec_i01_a_request_that_answers_another_offer_is_refused(
    pair: tuple[Tenant, ...],
) -> None:
    office, alice, _ = pair
    offers = [
        await office.credentials.offer({"cred_def_id": LICENCE}, ALICE, "anoncreds", None)
        for _ in range(2)
    ]
    request = await alice.credentials.request(offers[0].attachment, ALICE)
    with pytest.raises(RefusedError, match="does not answer our offer"):
        await office.credentials.issue(offers[1].kept, request.attachment, ALICE)


async def test_sec_i07_a_private_key_is_in_no_record_that_is_shown_or_sent(
    pair: tuple[Tenant, ...],
) -> None:
    office = pair[0]
    private = vectors()["cred_defs"]["licence"]["TEST_ONLY_private"]["value"]["p_key"]
    key = await office.profile.get(CRED_DEF_KEY, LICENCE_INDY)
    offer = await office.credentials.offer({"cred_def_id": LICENCE}, ALICE, "anoncreds", None)
    shown = json.dumps([offer.attachment, offer.kept, await office.profile.find(CRED_DEF)])
    for secret in private.values():
        assert secret in json.dumps(key)
        assert secret not in shown


async def test_a_second_definition_under_one_id_is_a_conflict(pair: tuple[Tenant, ...]) -> None:
    with pytest.raises(ConflictError):
        await pair[0].write(*issuer_keys("licence"))


# -- holder ------------------------------------------------------------------------------------


async def test_sec_i08_a_tenant_has_one_link_secret_and_it_stays(
    pair: tuple[Tenant, ...],
) -> None:
    _, alice, bob = pair
    before = await link_secret(alice.profile)
    await make_link_secret(alice.profile, alice.scope)
    assert await link_secret(alice.profile) == before
    assert await link_secret(bob.profile) != before
    with pytest.raises(ConflictError):
        await alice.write(Put(LINK_SECRET, "default", {"secret": "1"}, new=True))


async def test_a_wallet_without_link_secret_says_try_later(
    pair: tuple[Tenant, ...],
) -> None:
    profile = await pair[0].profile._store.profile("nobody yet")
    with pytest.raises(UnavailableError):
        await link_secret(profile)


async def _issued(
    pair: tuple[Tenant, ...], values: dict[str, str] = ALICE
) -> tuple[Json, Json]:
    office, alice, _ = pair
    offer = await office.credentials.offer({"cred_def_id": LICENCE}, values, "anoncreds", None)
    request = await alice.credentials.request(offer.attachment, values)
    return (
        await office.credentials.issue(offer.kept, request.attachment, values),
        request.kept,
    )


async def test_sec_i04_other_values_than_accepted_are_refused(pair: tuple[Tenant, ...]) -> None:
    credential, kept = await _issued(pair, {**ALICE, "category": "C"})
    with pytest.raises(RefusedError, match="SEC-I04"):
        await pair[1].credentials.check("x", credential, kept, ALICE)


async def test_sec_i04_another_definition_than_offered_is_refused(
    pair: tuple[Tenant, ...],
) -> None:
    credential, kept = await _issued(pair)
    for key, other in (("cred_def_id", LEARNER), ("schema_id", "V4SGRU86Z58d6TV7PBUe6f:2:x:1")):
        with pytest.raises(RefusedError, match="SEC-I04"):
            await pair[1].credentials.check("x", {**credential, key: other}, kept, ALICE)


async def test_sec_i05_a_signature_that_does_not_verify_is_refused(
    pair: tuple[Tenant, ...],
) -> None:
    credential, kept = await _issued(pair)
    proof = credential["signature_correctness_proof"]
    forged = {**credential, "signature_correctness_proof": {**proof, "c": "1" + proof["c"]}}
    with pytest.raises(RefusedError, match="SEC-I05") as refusal:
        await pair[1].credentials.check("x", forged, kept, ALICE)
    assert ALICE["number"] not in str(refusal.value)


async def test_sec_i05_an_offer_that_does_not_prove_its_key_is_refused(
    pair: tuple[Tenant, ...],
) -> None:
    office, alice, _ = pair
    offer = await office.credentials.offer({"cred_def_id": LICENCE}, ALICE, "anoncreds", None)
    other = vectors()["cred_defs"]["learner"]["key_proof"]
    with pytest.raises(RefusedError, match="SEC-I05"):
        await alice.credentials.request(
            {**offer.attachment, "key_correctness_proof": other}, ALICE
        )


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("cred_def_id", LICENCE.replace("default", "none")),
        ("cred_def_id", "did:indy:nowhere:V4SGRU86Z58d6TV7PBUe6f/anoncreds/v0/CLAIM_DEF/12/x"),
        ("cred_def_id", "\x00"),
        ("schema_id", "V4SGRU86Z58d6TV7PBUe6f:2:card:1.0"),
        ("schema_id", "no id"),
    ],
)
async def test_an_offer_of_what_the_ledger_does_not_have_is_refused(
    pair: tuple[Tenant, ...], key: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_objects, "RETRY_PAUSES_S", ())
    office, alice, _ = pair
    offer = await office.credentials.offer({"cred_def_id": LICENCE}, ALICE, "anoncreds", None)
    with pytest.raises(RefusedError):
        await alice.credentials.request({**offer.attachment, key: text}, ALICE)


async def test_sec_i04_a_preview_with_other_attributes_than_the_schema_is_refused(
    pair: tuple[Tenant, ...],
) -> None:
    office, alice, _ = pair
    offer = await office.credentials.offer({"cred_def_id": LICENCE}, ALICE, "anoncreds", None)
    with pytest.raises(RefusedError, match="SEC-I04"):
        await alice.credentials.request(offer.attachment, {**ALICE, "income": "1"})


async def test_a_definition_that_shows_a_moment_later_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger_objects, "RETRY_PAUSES_S", (0.0, 0.0))
    late = Late(ledger(), answers=[None, None])
    found = await LedgerObjects(Ledgers((late,))).cred_def(LICENCE)
    assert found is not None
    assert found.id == LICENCE_INDY


async def test_a_ledger_that_is_down_changes_nothing_and_says_try_later() -> None:
    down = Late(ledger(), answers=[LedgerUnavailableError("no answer")])
    with pytest.raises(UnavailableError):
        await LedgerObjects(Ledgers((down,))).cred_def(LICENCE)


class Late(MemoryRegistry):
    """A ledger whose first answers about definitions are not the right ones."""

    def __init__(self, registry: MemoryRegistry, answers: list[Exception | None]) -> None:
        super().__init__(registry.namespace)
        self._state = registry._state
        self._answers = answers

    async def get_cred_def(self, cred_def_id: str) -> CredDef | None:
        if not self._answers:
            return await super().get_cred_def(cred_def_id)
        answer = self._answers.pop(0)
        if answer is not None:
            raise answer
        return None


async def test_nothing_of_a_credential_is_logged(
    pair: tuple[Tenant, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    office, alice, _ = pair
    await issue(office, alice, "logged", ALICE)
    secret = await link_secret(alice.profile)
    for value in (*ALICE.values(), secret):
        if len(value) > 1:
            assert value not in caplog.text
    put = await alice.profile.get(CREDENTIAL, "logged")
    assert put["credential"]["values"]["number"]["raw"] == ALICE["number"]
