"""Any threshold of members signs, fewer never do, and whoever cheats is named."""

from __future__ import annotations

import itertools
import secrets
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger.multisig.frost_parties import (
    MESSAGE,
    SESSION,
    MemoryVault,
    any_flip,
    committed,
    flipped,
    new_session,
    sign_together,
    signed,
    verifies,
)

from keep_ledger.multisig.errors import RefusedError, SpentError
from keep_ledger.multisig.threshold.curve import (
    ONE,
    ZERO,
    add,
    lagrange,
    mul,
    times_base,
)
from keep_ledger.multisig.threshold.dealer import split_new
from keep_ledger.multisig.threshold.frost import aggregate, commit, sign
from keep_ledger.multisig.threshold.shares import Commitment, Share, SignatureShare

FAST = settings(max_examples=25)


GROUPS = {(t, n): split_new(t, range(1, n + 1)) for n in range(2, 6) for t in range(2, n + 1)}


TWO_OF_THREE = GROUPS[2, 3]


THREE_OF_FIVE = GROUPS[3, 5]


@st.composite
def signing_sets(draw: st.DrawFn) -> tuple[tuple[Share, ...], list[Share]]:
    """A group, and at least as many of its members as the threshold, in any order."""
    shares = GROUPS[draw(st.sampled_from(sorted(GROUPS)))]
    size = draw(st.integers(shares[0].group.threshold, len(shares)))
    return shares, draw(st.permutations(shares))[:size]


@FAST
@given(signing_sets(), st.binary(max_size=300))
def test_any_threshold_of_members_signs(
    chosen: tuple[tuple[Share, ...], list[Share]], message: bytes
) -> None:
    shares, signers = chosen
    signature = sign_together(signers, message)
    assert verifies(shares[0].group, message, signature)
    assert not verifies(shares[0].group, message + b"!", signature)


@pytest.mark.parametrize("size", GROUPS)
def test_one_fewer_than_the_threshold_never_signs(size: tuple[int, int]) -> None:
    shares = GROUPS[size]
    fewer = shares[: size[0] - 1]
    with pytest.raises(RefusedError, match="too few"):
        sign_together(fewer)


@pytest.mark.parametrize("size", GROUPS)
def test_fewer_shares_do_not_make_up_the_key(size: tuple[int, int]) -> None:
    shares = GROUPS[size]
    for fewer in itertools.combinations(shares, size[0] - 1):
        among = [s.identifier for s in fewer]
        result = ZERO
        for share in fewer:
            result = add(result, mul(lagrange(share.identifier, among), share.secret))
        assert result == ZERO or times_base(result) != shares[0].group.key


def test_a_signature_needs_no_more_than_values_that_travel_as_text() -> None:
    vault = MemoryVault()
    shares = [Share.from_text(s.to_text()) for s in TWO_OF_THREE[1:]]
    commitments = [
        Commitment.from_text(commit(s, SESSION, vault).to_text(), s.identifier) for s in shares
    ]
    parts = [
        SignatureShare.from_text(sign(s, SESSION, MESSAGE, commitments, vault).to_text())
        for s in shares
    ]
    assert verifies(
        shares[0].group,
        MESSAGE,
        aggregate(shares[0].group, SESSION, MESSAGE, commitments, parts),
    )


def test_nonces_sign_once() -> None:
    vault = MemoryVault()
    commitments = committed(TWO_OF_THREE[:2], vault)
    signed(TWO_OF_THREE[:1], commitments, vault)
    with pytest.raises(SpentError):
        sign(TWO_OF_THREE[0], SESSION, b"other", commitments, vault)


def test_a_refusal_burns_the_nonces_and_the_session_goes_on_with_new_ones() -> None:
    vault = MemoryVault()
    mine, other = TWO_OF_THREE[:2]
    alone = [commit(mine, SESSION, vault)]
    with pytest.raises(RefusedError, match="too few"):
        sign(mine, SESSION, MESSAGE, alone, vault)
    with pytest.raises(SpentError):
        sign(mine, SESSION, MESSAGE, [*alone, commit(other, SESSION, vault)], vault)
    commitments = committed([mine, other], vault)
    parts = signed([mine, other], commitments, vault)
    assert verifies(
        mine.group, MESSAGE, aggregate(mine.group, SESSION, MESSAGE, commitments, parts)
    )


@pytest.mark.parametrize("times", [0, 2])
def test_a_list_without_exactly_one_commitment_of_mine_burns_nothing(times: int) -> None:
    vault = MemoryVault()
    mine, other = committed(TWO_OF_THREE[:2], vault)
    with pytest.raises(RefusedError, match=f"listed {times} times"):
        sign(TWO_OF_THREE[0], SESSION, MESSAGE, [mine] * times + [other], vault)
    assert sign(TWO_OF_THREE[0], SESSION, MESSAGE, [mine, other], vault).identifier == 1


def test_a_vault_that_gives_out_the_wrong_nonces_is_not_used() -> None:
    class Confused(MemoryVault):
        def take(self, commitment: Commitment) -> Any:
            return super().take(older)

    vault = Confused()
    older = commit(TWO_OF_THREE[0], new_session(), vault)
    commitments = committed(TWO_OF_THREE[:2], vault)
    with pytest.raises(SpentError, match="another commitment"):
        sign(TWO_OF_THREE[0], SESSION, MESSAGE, commitments, vault)


def _refused(
    commitments: list[Commitment], vault: MemoryVault, session: bytes = SESSION
) -> RefusedError:
    with pytest.raises(RefusedError) as refusal:
        sign(TWO_OF_THREE[0], session, MESSAGE, commitments, vault)
    with pytest.raises(RefusedError) as coordinator:
        aggregate(TWO_OF_THREE[0].group, session, MESSAGE, commitments, [])
    assert coordinator.value.culprits == refusal.value.culprits
    return refusal.value


def test_one_who_commits_twice_is_named() -> None:
    vault = MemoryVault()
    again = commit(TWO_OF_THREE[1], SESSION, vault)
    refusal = _refused([*committed(TWO_OF_THREE[:2], vault), again], vault)
    assert refusal.culprits == (2,)
    assert "participant 2: committed twice" in str(refusal)


def test_a_stranger_is_named() -> None:
    vault = MemoryVault()
    stranger = commit(THREE_OF_FIVE[4], SESSION, vault)
    assert _refused([*committed(TWO_OF_THREE[:1], vault), stranger], vault).culprits == (5,)


def test_a_member_of_another_sharing_is_named() -> None:
    vault = MemoryVault()
    foreign = commit(THREE_OF_FIVE[1], SESSION, vault)
    assert _refused([*committed(TWO_OF_THREE[:1], vault), foreign], vault).culprits == (2,)


def test_one_who_commits_in_another_session_is_named() -> None:
    vault = MemoryVault()
    stale = commit(TWO_OF_THREE[2], new_session(), vault)
    assert _refused([*committed(TWO_OF_THREE[:1], vault), stale], vault).culprits == (3,)


def test_everybody_is_of_another_session_when_the_coordinator_names_another() -> None:
    vault = MemoryVault()
    commitments = committed(TWO_OF_THREE[:2], vault)
    assert _refused(commitments, vault, new_session()).culprits == (1, 2)


def test_a_false_signature_share_is_named() -> None:
    vault = MemoryVault()
    signers = THREE_OF_FIVE[1:5]
    commitments = committed(signers, vault)
    parts = signed(signers, commitments, vault)
    for cheat in (1, 3):
        bad = parts[cheat]
        parts[cheat] = bad.model_copy(update={"response": add(bad.response, ONE)})
    with pytest.raises(
        RefusedError, match="participants 3, 5: the signature share is wrong"
    ) as e:
        aggregate(signers[0].group, SESSION, MESSAGE, commitments, parts)
    assert e.value.culprits == (3, 5)


def test_false_shares_that_cancel_each_other_out_still_make_the_signature() -> None:
    """Verifying the sum is enough; nobody gains by it, and the signature is the group's."""
    vault = MemoryVault()
    commitments = committed(TWO_OF_THREE[:2], vault)
    one, two = signed(TWO_OF_THREE[:2], commitments, vault)
    swapped = [
        one.model_copy(update={"response": two.response}),
        two.model_copy(update={"response": one.response}),
    ]
    group = TWO_OF_THREE[0].group
    signature = aggregate(group, SESSION, MESSAGE, commitments, swapped)
    assert verifies(group, MESSAGE, signature)


def test_one_who_signed_another_message_is_named() -> None:
    vault = MemoryVault()
    commitments = committed(TWO_OF_THREE[:2], vault)
    parts = signed(TWO_OF_THREE[:1], commitments, vault)
    parts += signed(TWO_OF_THREE[1:2], commitments, vault, b"other")
    with pytest.raises(RefusedError, match="signed another message") as refusal:
        aggregate(TWO_OF_THREE[0].group, SESSION, MESSAGE, commitments, parts)
    assert refusal.value.culprits == (2,)


def test_a_lie_about_what_was_signed_does_not_make_a_share_true() -> None:
    vault = MemoryVault()
    commitments = committed(TWO_OF_THREE[:2], vault)
    one = signed(TWO_OF_THREE[:1], commitments, vault)[0]
    two = signed(TWO_OF_THREE[1:2], commitments, vault, b"other")[0]
    liar = two.model_copy(update={"signed": one.signed})
    with pytest.raises(RefusedError, match="share is wrong") as refusal:
        aggregate(TWO_OF_THREE[0].group, SESSION, MESSAGE, commitments, [one, liar])
    assert refusal.value.culprits == (2,)


def test_signature_shares_are_one_for_each_who_committed() -> None:
    vault = MemoryVault()
    group = THREE_OF_FIVE[0].group
    commitments = committed(THREE_OF_FIVE[:4], vault)
    parts = signed(THREE_OF_FIVE[:3], commitments, vault)
    with pytest.raises(RefusedError, match="participant 4: no signature share yet") as missing:
        aggregate(group, SESSION, MESSAGE, commitments, parts)
    assert missing.value.culprits == ()
    with pytest.raises(RefusedError, match="participant 2: gave two"):
        aggregate(group, SESSION, MESSAGE, commitments, [*parts, parts[1]])
    with pytest.raises(RefusedError, match="participant 3: signed without having committed"):
        aggregate(group, SESSION, MESSAGE, [*commitments[:2], commitments[3]], parts)


def test_a_signature_share_of_another_session_is_named() -> None:
    vault = MemoryVault()
    commitments = committed(TWO_OF_THREE[:2], vault)
    parts = signed(TWO_OF_THREE[:2], commitments, vault)
    late = parts[1].model_copy(update={"session": new_session()})
    with pytest.raises(RefusedError, match="another session") as refusal:
        aggregate(TWO_OF_THREE[0].group, SESSION, MESSAGE, commitments, [parts[0], late])
    assert refusal.value.culprits == (2,)


def test_commitments_that_cancel_out_are_refused() -> None:
    """R = identity cannot be met by chance; the check is seen by asking for it directly."""
    from keep_ledger.multisig.threshold.frost import _group_commitment  # noqa: PLC0415

    with pytest.raises(RefusedError, match="cancel each other out"):
        _group_commitment([], {})


def test_a_session_is_named_by_32_bytes() -> None:
    with pytest.raises(RefusedError, match="32 bytes"):
        commit(TWO_OF_THREE[0], b"short", MemoryVault())


def _with_second_commitment(text: str, vault: MemoryVault, one: Commitment) -> None:
    changed = [one, Commitment.from_text(text, sender=2)]
    parts = signed(TWO_OF_THREE[:2], changed, vault)
    aggregate(TWO_OF_THREE[0].group, SESSION, MESSAGE, changed, parts)


@any_flip
def test_a_flipped_bit_in_a_commitment_never_passes(place: int, bit: int) -> None:
    """Either the text tells, or the vault of the one whose commitment it was."""
    vault = MemoryVault()
    one, two = committed(TWO_OF_THREE[:2], vault)
    with pytest.raises((RefusedError, SpentError)) as refusal:
        _with_second_commitment(flipped(two.to_text(), place, bit), vault, one)
    if isinstance(refusal.value, RefusedError):
        assert refusal.value.culprits == (2,)


def _with_second_share(text: str, commitments: list[Commitment], one: SignatureShare) -> None:
    changed = [one, SignatureShare.from_text(text, sender=2)]
    aggregate(TWO_OF_THREE[0].group, SESSION, MESSAGE, commitments, changed)


@any_flip
def test_a_flipped_bit_in_a_signature_share_never_passes(place: int, bit: int) -> None:
    vault = MemoryVault()
    commitments = committed(TWO_OF_THREE[:2], vault)
    one, two = signed(TWO_OF_THREE[:2], commitments, vault)
    with pytest.raises(RefusedError) as refusal:
        _with_second_share(flipped(two.to_text(), place, bit), commitments, one)
    assert refusal.value.culprits == (2,)


def test_the_order_of_signers_does_not_matter() -> None:
    vault = MemoryVault()
    commitments = committed(THREE_OF_FIVE[:3], vault)
    parts = signed(THREE_OF_FIVE[:3], commitments[::-1], vault)
    group = THREE_OF_FIVE[0].group
    signature = aggregate(group, SESSION, MESSAGE, commitments, parts[::-1])
    assert verifies(group, MESSAGE, signature)


def test_two_signatures_of_one_message_differ() -> None:
    message = secrets.token_bytes(8)
    assert sign_together(TWO_OF_THREE, message) != sign_together(TWO_OF_THREE, message)
