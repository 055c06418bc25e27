"""What is kept and handed over is well formed, or does not exist."""

from __future__ import annotations

import json

import pytest
from ledger.multisig.frost_parties import (
    SESSION,
    MemoryVault,
    any_flip,
    committed,
    flipped,
    signed,
)

from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.threshold.curve import (
    GENERATOR,
    IDENTITY,
    Point,
    plus,
)
from keep_ledger.multisig.threshold.dealer import split_new
from keep_ledger.multisig.threshold.frost import commit
from keep_ledger.multisig.threshold.shares import (
    Commitment,
    Group,
    Nonces,
    Share,
    SignatureShare,
)

TWO_OF_THREE = split_new(2, (1, 2, 3))
THREE_OF_FIVE = split_new(3, (1, 2, 3, 4, 5))

L = 2**252 + 27742317777372353535851937790883648493


BAD_POINTS = {
    "the identity": IDENTITY,
    "of order 2": (2**255 - 20).to_bytes(32, "little"),
    "of order 4": bytes(32),
    "not on the curve": (2).to_bytes(32, "little"),
    "not canonical": (2**255 - 18).to_bytes(32, "little"),
    "outside the subgroup": plus(GENERATOR, Point((2**255 - 20).to_bytes(32, "little"))),
    "too short": GENERATOR[:31],
}


BAD_SCALARS = {
    "the order": L.to_bytes(32, "little"),
    "above the order": (L + 1).to_bytes(32, "little"),
    "all ones": b"\xff" * 32,
    "too short": bytes(31),
}


@pytest.mark.parametrize("threshold", [2, 4])
def test_a_group_cannot_lie_about_its_threshold(threshold: int) -> None:
    body = THREE_OF_FIVE[0].group.to_json() | {"threshold": threshold}
    with pytest.raises(RefusedError, match="do not fit the key"):
        Group.from_json(body)


@pytest.mark.parametrize("field", ["hiding", "binding"])
@pytest.mark.parametrize("which", BAD_POINTS)
def test_a_bad_point_is_refused_and_its_sender_named(field: str, which: str) -> None:
    body = commit(TWO_OF_THREE[1], SESSION, MemoryVault()).to_json()
    body[field] = BAD_POINTS[which].hex()
    with pytest.raises(
        RefusedError, match=f"participant 2: .*{field} is not a point"
    ) as refusal:
        Commitment.from_json(body, sender=2)
    assert refusal.value.culprits == (2,)


@pytest.mark.parametrize("which", BAD_SCALARS)
def test_a_scalar_that_is_not_canonical_is_refused_and_its_sender_named(which: str) -> None:
    vault = MemoryVault()
    commitments = committed(TWO_OF_THREE[:2], vault)
    body = signed(TWO_OF_THREE[:1], commitments, vault)[0].to_json()
    body["response"] = BAD_SCALARS[which].hex()
    with pytest.raises(
        RefusedError, match=r"participant 1: .*response is not a canonical scalar"
    ):
        SignatureShare.from_json(body, sender=1)


@pytest.mark.parametrize("identifier", [0, -1, 65, 1.0, "1", None, True])
def test_an_identifier_is_a_whole_number_from_1_to_64(identifier: object) -> None:
    body = commit(TWO_OF_THREE[0], SESSION, MemoryVault()).to_json()
    with pytest.raises(RefusedError, match="identifier"):
        Commitment.from_json(body | {"identifier": identifier})


def test_one_cannot_speak_for_another() -> None:
    body = commit(TWO_OF_THREE[0], SESSION, MemoryVault()).to_json()
    with pytest.raises(RefusedError, match=r"participant 2: .* has the identifier of another"):
        Commitment.from_json(body, sender=2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not readable JSON"),
        ("[]", "not a JSON object"),
        ("[" * 100_000, "not readable JSON"),
        ('{"kind":"x","kind":"x"}', "not readable JSON"),
        ('{"kind":"frost-share/1"}', "was expected"),
        ('{"kind":"frost-commitment/1"}', "group is missing"),
        (" " * 1_000_001, "longer"),
        ('{"kind":"frost-commitment/1","x":' + "9" * 5000 + "}", "not readable JSON"),
        ('{"kind":"frost-commitment/1","x":NaN}', "commitment"),
    ],
)
def test_text_that_is_no_commitment_is_refused(text: str, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        Commitment.from_text(text)


def test_values_travel_with_raw_bytes_too() -> None:
    """As a CBOR container carries them, where lists come back as lists."""
    group = TWO_OF_THREE[0].group
    commitment = commit(TWO_OF_THREE[0], SESSION, MemoryVault())
    assert Commitment.from_json(commitment.to_map()) == commitment
    assert commitment.to_map()["session"] == SESSION
    members = [list(member) for member in group.members]
    assert Group.from_json(group.to_map() | {"members": members}) == group
    with pytest.raises(RefusedError, match="cannot be read"):
        Group.from_json({"kind": Group.KIND, "key": object()})


def test_an_unknown_member_and_upper_case_hex_are_refused() -> None:
    body = commit(TWO_OF_THREE[0], SESSION, MemoryVault()).to_json()
    with pytest.raises(RefusedError, match="note"):
        Commitment.from_json(body | {"note": "hello"})
    with pytest.raises(RefusedError, match="not lower-case hex"):
        Commitment.from_json(body | {"session": "AB" * 32})


def test_a_share_that_does_not_fit_its_group_is_refused() -> None:
    body = TWO_OF_THREE[0].to_json()
    with pytest.raises(RefusedError, match="not that of this member"):
        Share.from_json(body | {"secret": TWO_OF_THREE[1].to_json()["secret"]})
    with pytest.raises(RefusedError, match="not that of this member"):
        Share.from_json(body | {"identifier": 9})
    with pytest.raises(RefusedError, match="zero"):
        Share.from_json(body | {"secret": "00" * 32})


def test_nonces_that_do_not_open_their_commitment_are_refused() -> None:
    vault = MemoryVault()
    commit(TWO_OF_THREE[0], SESSION, vault)
    body = next(iter(vault._kept.values())).to_json()
    with pytest.raises(RefusedError, match="do not open"):
        Nonces.from_json(body | {"hiding": body["binding"]})


def test_a_group_with_a_false_member_is_refused() -> None:
    body = THREE_OF_FIVE[0].group.to_json()
    members = [list(m) for m in body["members"]]
    wrong = [*members[:4], [5, members[0][1]]]
    with pytest.raises(RefusedError, match="the share of member 5 is of another key"):
        Group.from_json(body | {"members": wrong})
    for order in ([*members[:4], members[3]], [members[1], members[0], *members[2:]]):
        with pytest.raises(RefusedError, match="in order"):
            Group.from_json(body | {"members": order})
    with pytest.raises(RefusedError, match="higher than the number"):
        Group.from_json(body | {"threshold": 6})
    with pytest.raises(RefusedError, match="do not fit the key"):
        Group.from_json(body | {"key": members[0][1]})


def test_no_repr_shows_a_secret() -> None:
    vault = MemoryVault()
    commit(TWO_OF_THREE[0], SESSION, vault)
    nonces = next(iter(vault._kept.values()))
    secret = {TWO_OF_THREE[0].secret, nonces.hiding, nonces.binding}
    for shown in (repr(TWO_OF_THREE[0]), str(TWO_OF_THREE[0]), repr(nonces), str(nonces)):
        assert not any(repr(bytes(s)) in shown or s.hex() in shown for s in secret)


def test_no_error_shows_a_secret() -> None:
    body = TWO_OF_THREE[0].to_json()
    secret = body["secret"]
    with pytest.raises(RefusedError) as refusal:
        Share.from_json(body | {"identifier": 2})
    assert secret not in str(refusal.value) + repr(refusal.value.__cause__)


@any_flip
def test_a_flipped_bit_in_a_share_never_passes(place: int, bit: int) -> None:
    with pytest.raises(RefusedError):
        Share.from_text(flipped(TWO_OF_THREE[0].to_text(), place, bit))


def test_equal_values_give_equal_text_and_digest() -> None:
    group = TWO_OF_THREE[0].group
    text = json.dumps(group.to_json(), indent=2)
    again = Group.from_text(text)
    assert again == group
    assert (again.to_text(), again.digest) == (group.to_text(), group.digest)
