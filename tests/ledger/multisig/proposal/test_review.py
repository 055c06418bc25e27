"""What a cosigner is shown, and why he must not sign."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ledger.multisig.sample_proposals import (
    ANA,
    BEN,
    CAS,
    GROUP,
    GROUP_DID,
    NETWORK,
    NOW,
    RULE,
    body,
)

from keep_ledger.multisig.proposal.document import Proposal
from keep_ledger.multisig.proposal.review import LedgerView, Person, Sheet, review

HONEST = LedgerView(
    network=NETWORK,
    people={
        ANA.did: Person(ANA.verkey, "0"),
        BEN.did: Person(BEN.verkey, "0"),
        CAS.did: Person(CAS.verkey, "0"),
        GROUP_DID: Person(GROUP.key, "101"),
    },
    rules={"1--ADD--role--*--101": RULE},
    before={"exists": False},
    agreement=None,
    owner=None,
)
SIGNED = BEN.says(ANA.says(Proposal(body()), "sign"), "sign")


def seen(proposal: Proposal = SIGNED, **more: Any) -> Sheet:
    """Look at it on a ledger that is otherwise as the proposer says."""
    return review(proposal, NOW, dataclasses.replace(HONEST, **more), None)


def people(did: str, person: Person | None) -> dict[str, Person]:
    """Everybody, but one of them otherwise."""
    others = {k: v for k, v in HONEST.people.items() if k != did}
    return others | ({did: person} if person else {})


def test_what_is_as_it_was_proposed_is_ready() -> None:
    assert seen().ready
    assert set(seen().signatures) == {ANA.did, BEN.did}
    assert seen(Proposal(body())).missing


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"network": bytes(32)}, "another network"),
        ({"rules": {"1--ADD--role--*--101": RULE | {"sig_count": 3}}}, "the rule"),
        ({"rules": {}}, "no rule of this ledger"),
        ({"before": {"exists": True, "role": None, "verkey": None}}, "has changed"),
        ({"people": people(ANA.did, Person(CAS.verkey, "0"))}, "the author, Ana"),
        ({"people": people(ANA.did, None)}, "is not on the ledger"),
        ({"agreement": "ab" * 32}, "does not accept the author agreement"),
    ],
)
def test_what_is_otherwise_on_the_ledger_is_refused(more: dict[str, Any], why: str) -> None:
    sheet = seen(**more)
    assert why in " ".join(sheet.refusals)
    assert not sheet.ready


@pytest.mark.parametrize("person", [None, Person(CAS.verkey, "0"), Person(BEN.verkey, None)])
def test_a_signature_counts_with_the_key_and_role_of_now(person: Person | None) -> None:
    sheet = seen(people=people(BEN.did, person))
    assert sheet.missing == "one more trustee"


def test_an_endorser_is_one() -> None:
    told = body().request | {"endorser": GROUP_DID}
    proposal = Proposal(body(request=told))
    assert not seen(proposal).refusals
    sheet = seen(proposal, people=people(GROUP_DID, Person(GROUP.key, "0")))
    assert "accepts only an ENDORSER" in " ".join(sheet.refusals)


def test_a_lie_about_the_rule_is_believed_by_nobody() -> None:
    """Offline it is said that nothing was compared; with a ledger it is refused."""
    lied = Proposal(body(rules={"1--ADD--role--*--101": RULE | {"sig_count": 1}}))
    alone = review(lied, NOW, None, NETWORK)
    assert "not compared with the ledger" in " ".join(alone.warnings)
    assert not alone.ready
    assert "has changed since it was proposed" in " ".join(seen(lied).refusals)


def test_without_a_network_to_compare_with_that_is_said() -> None:
    assert "was not checked" in " ".join(review(SIGNED, NOW, None, None).warnings)
    assert "another network" in review(SIGNED, NOW, None, bytes(32)).refusals[0]
