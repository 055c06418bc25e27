"""Rounds as files: what a hostile carrier, a liar or a mix-up can hand in is refused, and named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ledger.multisig.frost_parties import new_session, sign_together, verifies
from nacl import bindings as sodium

from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.threshold import dkg_files
from keep_ledger.multisig.threshold.dealer import split_new
from keep_ledger.multisig.threshold.dkg import Ceremony
from keep_ledger.multisig.threshold.dkg_files import Begun, Hello, Sealed

CEREMONY = Ceremony.new_key(new_session(), 2, (1, 2, 3))
BEGUN = [dkg_files.begin("Board", CEREMONY, i) for i in (1, 2, 3)]
HELLOS = [begun.hello for begun in BEGUN]
AGREED = dkg_files.agreed(HELLOS[0], HELLOS)
DEALT = [sealed for begun in BEGUN for sealed in dkg_files.deal(begun, HELLOS)]


def _for(member: int) -> list[Sealed]:
    return [sealed for sealed in DEALT if sealed.member == member]


def test_everybody_gets_the_same_group_and_repeating_repeats() -> None:
    shares = [dkg_files.finish(b, HELLOS, _for(i)) for i, b in enumerate(BEGUN, start=1)]
    assert len({share.group.digest for share in shares}) == 1
    assert verifies(shares[0].group, b"message", sign_together(shares[1:], b"message"))
    again = [s for b in map(_read_again, BEGUN) for s in dkg_files.deal(b, HELLOS[::-1])]
    received = [sealed for sealed in again if sealed.member == 2]
    assert dkg_files.finish(BEGUN[1], HELLOS, received) == shares[1]
    assert {dkg_files.agreed(hello, HELLOS[::-1]) for hello in HELLOS} == {AGREED}


def _read_again(begun: Begun) -> Begun:
    return Begun.from_text(begun.to_text())


def test_secrets_are_not_shown() -> None:
    assert BEGUN[0].secret.hex() not in repr(BEGUN[0])
    assert "coefficients" not in repr(BEGUN[0])


def _changed(hello: Hello, change: Mapping[str, Any]) -> dict[str, Any]:
    return hello.to_json() | dict(change)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"identifier": 9}, "takes no part"),
        ({"package": None}, "a dealer must have"),
        ({"identifier": 2}, "belongs to another"),
        ({"key": "00"}, "32 bytes"),
        ({"name": ""}, "name"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_hello_that_contradicts_itself_is_none(change: dict[str, Any], why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        Hello.from_json(_changed(HELLOS[0], change))


@pytest.mark.parametrize(("field", "why"), [("secret", "secret"), ("dealing", "dealing")])
def test_a_state_that_does_not_belong_together_is_none(field: str, why: str) -> None:
    mixed = BEGUN[0].to_json() | {field: BEGUN[1].to_json()[field]}
    with pytest.raises(RefusedError, match=f"the {why} is not that of the hello"):
        Begun.from_json(mixed)


def test_who_takes_no_part_does_not_begin() -> None:
    with pytest.raises(RefusedError, match="no part"):
        dkg_files.begin("Board", CEREMONY, 4)


def test_my_own_hello_changed_on_the_way_is_noticed() -> None:
    other = HELLOS[0].model_copy(update={"key": HELLOS[1].key})
    with pytest.raises(RefusedError, match="my own file came back changed"):
        dkg_files.agreed(HELLOS[0], [other, *HELLOS[1:]])


def test_two_names_for_one_group_are_noticed() -> None:
    other = HELLOS[2].model_copy(update={"name": "Borad"})
    with pytest.raises(RefusedError, match="has another name for the group") as caught:
        dkg_files.agreed(HELLOS[0], [*HELLOS[:2], other])
    assert caught.value.culprits == (3,)


def test_a_key_of_small_order_gets_no_secret() -> None:
    """With it, the box would be readable to everybody."""
    other = HELLOS[2].model_copy(update={"key": bytes(32)})
    with pytest.raises(RefusedError, match="a key that is not valid"):
        dkg_files.deal(BEGUN[0], [*HELLOS[:2], other])


def test_a_dealer_who_saw_other_hellos_is_noticed() -> None:
    other = HELLOS[2].model_copy(update={"key": HELLOS[1].key})
    dealt = dkg_files.deal(BEGUN[0], [*HELLOS[:2], other])
    mixed = [dealt[0], *(s for s in _for(2) if s.identifier != 1)]
    with pytest.raises(RefusedError, match="saw other files of round one"):
        dkg_files.finish(BEGUN[1], HELLOS, mixed)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"box": b""}, "changed on the way"),
        ({"box": bytes(200)}, "changed on the way"),
        ({"ceremony": bytes(32)}, "another ceremony"),
        ({"member": 3}, "for another member"),
        ({"identifier": 9}, "is not a dealer"),
        ({"identifier": 3}, "changed on the way"),
    ],
)
def test_a_sealed_file_that_is_changed_names_whose_it_is(
    change: dict[str, Any], why: str
) -> None:
    first, second = _for(2)
    assert (first.identifier, second.identifier) == (1, 3)
    with pytest.raises(RefusedError, match=why) as caught:
        dkg_files.finish(BEGUN[1], HELLOS, [first.model_copy(update=change), second])
    assert caught.value.culprits


@pytest.mark.parametrize("text", [b"\xff", b"", b"{}", b'{"kind":"frost-dkg-round2/1"}'])
def test_a_sealed_file_with_rubbish_in_it_names_its_sender(text: bytes) -> None:
    """The sender is proven by the key that sealed it."""
    nonce = bytes(24)
    box = nonce + sodium.crypto_box(AGREED + text, nonce, HELLOS[1].key, BEGUN[0].secret)
    first, second = _for(2)
    with pytest.raises(RefusedError) as caught:
        dkg_files.finish(BEGUN[1], HELLOS, [first.model_copy(update={"box": box}), second])
    assert caught.value.culprits == (1,)


def test_who_deals_in_a_handing_on_needs_the_old_share() -> None:
    old = split_new(2, (1, 2, 3))
    ceremony = Ceremony.resharing(new_session(), old[0].group, (1, 3), 2, (1, 4))
    with pytest.raises(RefusedError, match="not this dealer's"):
        dkg_files.begin("Board", ceremony, 3)
    assert dkg_files.parties(ceremony) == (1, 3, 4)
