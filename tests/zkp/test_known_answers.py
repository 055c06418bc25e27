"""Presentations that the library made once, and a few that were changed: every voice says the same of each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from zkp.kit import VECTORS, Desk, keys, rules

from keep_zkp.equations import holds
from keep_zkp.powers import fast_bases, plain_bases
from keep_zkp.presentation import read_presentation
from keep_zkp.proof_numbers import read_numbers
from keep_zkp.public_key import PublicKey, read_public_key
from keep_zkp.requests import PresentationRequest
from keep_zkp.voices import Voices

ENTRIES: list[Any] = json.loads((VECTORS / "presentations.json").read_text("utf-8"))


def request_of(entry: Any) -> PresentationRequest:
    """Return what an entry answers."""
    return PresentationRequest.model_validate_json(json.dumps(entry["request"]))


@pytest.mark.parametrize("entry", ENTRIES, ids=[each["what"] for each in ENTRIES])
async def test_the_library_and_both_together_answer_as_known(desk: Desk, entry: Any) -> None:
    request = request_of(entry)
    for mode in ("library", "both"):
        voices = Voices(mode)
        verdict = await Desk(desk.scope, voices).verify(request, entry["presentation"])
        assert verdict.ok == entry["accept"]
        assert rules(verdict) == (set() if entry["accept"] else {"SEC-P29"})
        assert voices.disagreements == 0


@pytest.mark.parametrize("entry", ENTRIES, ids=[each["what"] for each in ENTRIES])
def test_our_equations_alone_answer_as_known_with_every_table(entry: Any) -> None:
    shown = read_presentation(entry["presentation"], request_of(entry))
    numbers = [read_numbers(each) for each in shown.proof.proofs]
    found = [_key(each.cred_def_id) for each in shown.identifiers]
    for bases in (
        [plain_bases(key, compared=False) for key in found],
        [plain_bases(key, compared=True) for key in found],
        [fast_bases(key) for key in found],
    ):
        accepted = holds(
            [*zip(bases, numbers, strict=True)],
            challenge=int(shown.proof.aggregated_proof.c_hash),
            nonce=int(entry["request"]["nonce"]),
        )
        assert accepted == entry["accept"]


def _key(cred_def_id: str) -> PublicKey:
    [public] = [x["public"] for x in keys()["cred_defs"].values() if x["id"] == cred_def_id]
    return read_public_key(public)
