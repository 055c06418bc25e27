"""SEC-R 01: what one message of a peer costs is counted before it is paid."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import base58
import pytest
from pydantic import ValidationError
from wallets import ALICE, issue, tenants

from keep_agent.core.message import (
    MAX_DIGITS,
    MAX_ITEMS,
    MAX_PARTS,
    MOST_ATTACHED,
    Attachment,
    Message,
    read_json,
)
from keep_agent.core.untrusted_text import MOST_READ, sanitize_text
from keep_agent.credentials import presentations
from keep_agent.errors import BadMessageError
from keep_agent.identity.did_documents import read_document
from keep_agent.identity.keys import MAX_MULTIKEY
from keep_agent.protocols.discover_features_1 import Disclose
from keep_agent.protocols.discover_features_2 import Disclosures, Queries
from keep_agent.protocols.issue_credential_2 import MOST_ATTRIBUTES, OfferCredential
from keep_agent.protocols.present_proof_2 import RequestPresentation
from keep_zkp.requests import MAX_REFERENTS
from keep_zkp.restrictions import MAX_PARTS as MAX_RESTRICTIONS

Json = dict[str, Any]
SMALL: list[tuple[str, int]] = [
    ("[]", MAX_PARTS - 1),
    ("{}", MAX_PARTS - 1),
    ("1", MAX_ITEMS + 1),
]


def never(*_args: object, **_more: object) -> None:
    pytest.fail("it was read before it was counted")


def many(value: str, times: int) -> bytes:
    return f"[{','.join([value] * times)}]".encode()


@pytest.mark.parametrize(("value", "most"), SMALL)
def test_sec_r_01_json_is_counted_before_it_is_parsed(
    value: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(read_json(many(value, most))) == most
    monkeypatch.setattr(json, "loads", never)
    with pytest.raises(BadMessageError, match="too many values"):
        read_json(many(value, most + 1))


def test_sec_r_01_an_attachment_is_counted_as_a_message_is() -> None:
    attachment = Attachment.of([list[int]() for _ in range(MAX_PARTS)])
    with pytest.raises(BadMessageError, match="too many values"):
        _ = attachment.content


@pytest.mark.parametrize("digits", ["{}", "-{}", "1.{}", "{}e5"])
def test_sec_r_01_a_number_of_many_digits_is_refused(digits: str) -> None:
    """Reading it, and writing it again, costs the square of its length."""
    assert read_json(digits.format("9" * (MAX_DIGITS - 5)).encode())
    with pytest.raises(BadMessageError, match="digits"):
        read_json(digits.format("9" * (MAX_DIGITS + 1)).encode())


PREVIEW: Json = {"@type": "x", "attributes": []}
OFFER: Json = {"credential_preview": PREVIEW, "formats": [], "offers~attach": []}
ASKED: Json = {"formats": [], "request_presentations~attach": []}
LISTS: list[tuple[type[Message], Json, str, int]] = [
    (OfferCredential, OFFER, "formats", MOST_ATTACHED),
    (OfferCredential, OFFER, "offers~attach", MOST_ATTACHED),
    (RequestPresentation, ASKED, "formats", MOST_ATTACHED),
    (RequestPresentation, ASKED, "request_presentations~attach", MOST_ATTACHED),
    (Queries, {}, "queries", 16),
    (Disclosures, {}, "disclosures", 500),
    (Disclose, {}, "protocols", 500),
]


@pytest.mark.parametrize(("model", "good", "name", "most"), LISTS)
def test_sec_r_01_a_list_is_read_no_further_than_it_may_go(
    model: type[Message], good: Json, name: str, most: int
) -> None:
    """Of thousands of wrong items the first is found wrong, and no other is looked at."""
    with pytest.raises(ValidationError) as wrong:
        model.model_validate({**good, name: [{}] * (most + 1000)})
    assert len(wrong.value.errors()) <= 3


def test_sec_r_01_a_preview_has_not_more_attributes_than_a_schema_could() -> None:
    wrong_ones: list[list[Json]] = [
        [{"name": str(i), "value": "1"} for i in range(MOST_ATTRIBUTES + 1)],
        [{}] * 5000,
    ]
    for attributes in wrong_ones:
        body = {**OFFER, "credential_preview": {**PREVIEW, "attributes": attributes}}
        with pytest.raises(ValidationError) as wrong:
            OfferCredential.model_validate(body)
        assert len(wrong.value.errors()) <= 2


def test_sec_r_01_of_a_long_text_only_the_beginning_is_cleaned() -> None:
    assert sanitize_text("\u202e" * (MOST_READ - 1) + "x" + "y" * 10**6) == "x"
    assert sanitize_text("\u202e" * MOST_READ + "y" * 10**6) is None


def test_sec_r_01_a_key_longer_than_any_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document may name 64 of them, and each costs the square of its length."""
    monkeypatch.setattr(base58, "b58decode", never)
    key = {"id": "#1", "type": "Multikey", "publicKeyMultibase": "z" + "2" * MAX_MULTIKEY}
    service = {"type": "IndyAgent", "serviceEndpoint": "http://x.example"}
    for recipient in ("#1", "did:key:z" + "2" * MAX_MULTIKEY):
        used = {**service, "recipientKeys": [recipient]}
        document = read_document({"id": "x", "publicKey": [key], "service": [used]})
        with pytest.raises(BadMessageError, match="a multikey is too long"):
            _ = document.didcomm


async def test_sec_r_01_what_a_peer_asks_and_shows_is_looked_at_outside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred questions on hundreds of credentials take a while; the loop goes on."""
    seen: dict[str, set[int]] = {}

    def watched(name: str, work: Any) -> Any:
        def call(*args: Any) -> Any:
            seen.setdefault(name, set()).add(threading.get_ident())
            return work(*args)

        return call

    for name in ("_read", "select", "named"):
        monkeypatch.setattr(presentations, name, watched(name, getattr(presentations, name)))
    for name in ("read_presentation", "find_reasons"):
        place = "keep_zkp.verifier." + name
        module = __import__("keep_zkp.verifier", fromlist=[name])
        monkeypatch.setattr(place, watched(name, getattr(module, name)))
    async with tenants(tmp_path, "office", "alice") as (office, alice):
        await issue(office, alice, "a", ALICE)
        asked = await office.proofs.ask(
            {"requested_attributes": {"c": {"name": "category"}}},
            "anoncreds",
            None,
            accept_any_issuer=True,
        )
        question = await alice.proofs.read(asked.request)
        answer = await alice.proofs.present(question, "anoncreds", {}, {})
        verdict = await office.proofs.verify(asked.request, answer, accept_any_issuer=True)
    assert verdict.ok
    for name in ("_read", "select", "named", "find_reasons"):
        assert seen[name], name
        assert threading.get_ident() not in seen[name], name
    await asyncio.sleep(0)


async def test_sec_r_01_a_question_is_counted_before_it_is_read(tmp_path: Path) -> None:
    async with tenants(tmp_path, "office") as (office,):
        for wanted in (
            {f"r{i}": {"name": "a"} for i in range(MAX_REFERENTS + 1)},
            {
                "r": {
                    "name": "a",
                    "restrictions": [{"schema_name": "x"}] * (MAX_RESTRICTIONS + 1),
                }
            },
            {"r": {"name": "a", "restrictions": {"$or": [{"issuer_id": "x"}] * 4000}}},
        ):
            with pytest.raises(Exception, match=r"SEC-P(30|08)"):
                await office.proofs.read({"nonce": "1", "requested_attributes": wanted})
