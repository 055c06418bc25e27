"""The public description of a group is complete, checked, and tells what changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import base58
import pytest
from ledger.multisig.frost_parties import finished, new_session
from nacl.signing import SigningKey

from keep_ledger.multisig.audit.control_descriptor import Descriptor, Person, rule_digest
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.recovery.slip39 import Circle, Plan, split
from keep_ledger.multisig.threshold.dealer import split_new
from keep_ledger.multisig.threshold.dkg import Ceremony

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SHARES = split_new(2, (1, 2, 3))
KEYS = [bytes(SigningKey.generate().verify_key) for _ in range(4)]
DIDS = [base58.b58encode(key[:16]).decode() for key in KEYS]
VERKEYS = [base58.b58encode(key).decode() for key in KEYS]
RULE: dict[str, Any] = {"constraint_id": "ROLE", "role": "0", "sig_count": 3, "metadata": {}}
KEY = "1--ADD--role--*--101"


def person(number: int, name: str) -> Person:
    return Person(name=name, did=DIDS[number], verkey=VERKEYS[number])


TRUSTEES = Descriptor(
    name="trustees",
    made=NOW,
    network=bytes(32),
    did=None,
    threshold=2,
    members=(person(0, "Ana"), person(1, "Bo"), person(2, "Cy")),
    group=None,
    rules=((KEY, rule_digest(RULE)),),
    backup=None,
)
PLAN = Plan(need=1, circles=(Circle(name="me", need=1, guardians=("Me",)),))
OFFICE = Descriptor(
    name="licence office",
    made=NOW,
    network=bytes(32),
    did=DIDS[0],
    threshold=0,
    members=(),
    group=SHARES[0].group,
    rules=(),
    backup=split(bytes(range(32)), PLAN, NOW)[0],
)


@pytest.mark.parametrize("descriptor", [TRUSTEES, OFFICE], ids=lambda d: d.name)
def test_a_descriptor_survives_text_and_holds_no_secret(descriptor: Descriptor) -> None:
    text = descriptor.to_text()
    again = Descriptor.from_text(text)
    assert again == descriptor
    assert again.digest == descriptor.digest
    assert not any(share.secret.hex() in text for share in SHARES)


def test_a_rule_has_one_digest_whatever_the_order_of_its_members() -> None:
    assert rule_digest(dict(reversed(RULE.items()))) == rule_digest(RULE)
    assert rule_digest(RULE | {"sig_count": 1}) != rule_digest(RULE)


def test_a_share_is_checked_against_the_description() -> None:
    OFFICE.check_share(SHARES[1])
    ceremony = Ceremony.resharing(new_session(), SHARES[0].group, (1, 2), 2, (1, 2, 3))
    newer = finished(ceremony, SHARES[:2])[0]
    for share in (newer, split_new(2, (1, 2))[0]):
        with pytest.raises(RefusedError, match="an older sharing") as refusal:
            OFFICE.check_share(share)
        assert refusal.value.culprits == (1,)
    with pytest.raises(RefusedError, match="another group"):
        TRUSTEES.check_share(SHARES[0])


def test_what_changed_is_said_in_sentences() -> None:
    moved = Person(name="Bo", did=DIDS[1], verkey=VERKEYS[3])
    now = TRUSTEES.model_copy(
        update={
            "network": bytes([1]) * 32,
            "threshold": 1,
            "members": (person(0, "Ana"), moved, person(3, "Di")),
            "rules": ((KEY, rule_digest(RULE | {"sig_count": 1})), ("x", bytes(32))),
        }
    )
    assert TRUSTEES.differences(now) == tuple(
        sorted(
            [
                f"Bo ({DIDS[1]}) has another key",
                f"Cy ({DIDS[2]}) left",
                f"Di ({DIDS[3]}) is new",
                "network changed",
                f"the rule {KEY} changed",
                "the rule x changed",
                "threshold changed",
            ]
        )
    )
    assert TRUSTEES.differences(TRUSTEES.model_copy(update={"name": "other"})) == ()
    assert "did changed" in TRUSTEES.differences(OFFICE)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"threshold": 4}, "threshold"),
        ({"threshold": 0}, "threshold"),
        ({"members": [], "threshold": 1}, "threshold"),
        ({"rules": [["b", "00" * 32], ["a", "00" * 32]]}, "rules are not in order"),
        ({"rules": [["a", "00" * 32], ["a", "00" * 32]]}, "rules are not in order"),
        ({"did": "did:web:example.org"}, "not a DID of an Indy ledger"),
        ({"network": "00"}, "32 bytes"),
        ({"made": "2026-11-22T12:00:00"}, "made"),
    ],
)
def test_a_descriptor_that_contradicts_itself_is_refused(
    change: dict[str, Any], why: str
) -> None:
    with pytest.raises(RefusedError, match=why):
        Descriptor.from_json(TRUSTEES.to_json() | change)


def test_a_member_is_named_once_and_with_a_whole_key() -> None:
    members = TRUSTEES.to_json()["members"]
    with pytest.raises(RefusedError, match="named twice"):
        Descriptor.from_json(TRUSTEES.to_json() | {"members": [*members, members[0]]})
    for verkey in ("~" + members[0]["verkey"][:21], "x", members[0]["did"]):
        wrong = [members[0] | {"verkey": verkey}, *members[1:]]
        with pytest.raises(RefusedError, match=r"verkey|verification key"):
            Descriptor.from_json(TRUSTEES.to_json() | {"members": wrong})
