"""Attributes whose names are in any script, with quotes and joiners: stored, found, proved, shown."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from wallets import Tenant, issue, issuer_keys, tenants, vectors

from keep_agent.core.message import Json
from keep_agent.credentials.formats import Family
from keep_agent.credentials.wallet import CREDENTIAL, attribute_tag

MEMBER = vectors()["cred_defs"]["member"]["id"]
NAMES: list[str] = vectors()["schemas"][vectors()["cred_defs"]["member"]["schema_id"]][
    "attrNames"
]
VALUES = {name: f"v{number} {name}" for number, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
async def people(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Tenant, ...]]:
    path: Path = tmp_path_factory.mktemp("scripts")
    async with tenants(path, "office", "alice", "bar") as made:
        office, alice, _ = made
        await office.write(*issuer_keys("member"))
        await issue(office, alice, "m1", VALUES, MEMBER)
        yield made


async def proved(people: tuple[Tenant, ...], attributes: Json, family: Family) -> Json:
    """Ask for attributes, show them, and return the answers by referent."""
    _, alice, bar = people
    question = {"requested_attributes": attributes}
    asked = await bar.proofs.ask(question, family, None, accept_any_issuer=True)
    proof = await alice.proofs.present(await alice.proofs.read(asked.request), family, {}, {})
    meant = asked.meant or asked.request
    verdict = await bar.proofs.verify(meant, proof, accept_any_issuer=True)
    assert verdict.ok, verdict.shown["reasons"]
    return {each["referent"]: each for each in verdict.shown["answers"]}


@pytest.mark.parametrize("name", NAMES)
async def test_an_attribute_is_found_and_proved_by_its_name_alone(
    people: tuple[Tenant, ...], name: str
) -> None:
    spoken = name.upper() if common(name.upper()) == common(name) else name
    wanted = {"name": spoken, "restrictions": [{"schema_version": "1.0"}]}
    answers = await proved(people, {"it": wanted}, "anoncreds")
    assert answers["it"]["values"] == {spoken: VALUES[name]}


@pytest.mark.parametrize("name", [each for each in NAMES if ":" not in each])
async def test_a_condition_on_its_value_is_judged(
    people: tuple[Tenant, ...], name: str
) -> None:
    wanted = {
        "name": name,
        "restrictions": [{"cred_def_id": MEMBER, f"attr::{name}::value": VALUES[name]}],
    }
    answers = await proved(people, {name: wanted}, "hlindy")
    assert answers[name]["values"] == {name: VALUES[name]}


async def test_all_of_them_are_shown_together(people: tuple[Tenant, ...]) -> None:
    wanted = {"names": NAMES, "restrictions": [{"schema_name": "Mitglied 氏名"}]}
    answers = await proved(people, {"all": wanted}, "anoncreds")
    assert answers["all"]["values"] == VALUES


async def test_no_tag_has_a_name_that_somebody_else_chose(people: tuple[Tenant, ...]) -> None:
    [(_, record)] = await people[1].profile.find(CREDENTIAL, {attribute_tag("氏名"): "1"})
    tags = {attribute_tag(name) for name in record["credential"]["values"]}
    assert len(tags) == len(NAMES)
    assert all(re.fullmatch("attribute:[0-9a-f]{32}", tag) for tag in tags)


def common(name: str) -> str:
    return name.replace(" ", "").lower()
