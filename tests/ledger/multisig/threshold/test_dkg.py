"""A key that nobody knows, and a key handed on: every round can be repeated, every lie is seen."""

from __future__ import annotations

import itertools
import secrets

import pytest
from ledger.multisig.frost_parties import (
    MESSAGE,
    any_flip,
    finished,
    flipped,
    new_group,
    new_session,
    run,
    sign_together,
    verifies,
)
from nacl.signing import SigningKey
from pydantic import ValidationError

from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.threshold.curve import (
    IDENTITY,
    ONE,
    Point,
    Scalar,
    add,
    evaluate,
    prove,
    random_scalar,
    times_base,
)
from keep_ledger.multisig.threshold.dealer import split_new, split_seed
from keep_ledger.multisig.threshold.dkg import (
    Ceremony,
    Dealing,
    Round1Package,
    Round2Package,
    _context,
    _group,
    begin,
    deal_out,
    finish,
    transcript,
)
from keep_ledger.multisig.threshold.shares import Group, Share

CEREMONY = Ceremony.new_key(new_session(), 2, (1, 2, 3))
PACKAGES, RECEIVED = run(CEREMONY)


def minus(a: Point, b: Point) -> Point:
    from nacl.bindings import crypto_core_ed25519_sub  # noqa: PLC0415

    return Point(crypto_core_ed25519_sub(a, b))


@pytest.mark.parametrize(("threshold", "count"), [(2, 2), (2, 3), (3, 5)])
def test_the_members_of_a_new_group_sign(threshold: int, count: int) -> None:
    shares = new_group(threshold, count)
    assert len({share.group.digest for share in shares}) == 1
    for signers in itertools.combinations(shares, threshold):
        assert verifies(shares[0].group, MESSAGE, sign_together(signers))


def test_members_need_not_be_numbered_without_gaps() -> None:
    shares = finished(Ceremony.new_key(new_session(), 2, (3, 7, 64)))
    assert verifies(shares[0].group, MESSAGE, sign_together(shares[1:]))


def test_whoever_is_killed_between_rounds_goes_on_from_what_was_kept() -> None:
    """Everything is dropped after each step but its text; and each step is done twice."""
    ceremony = Ceremony.from_text(CEREMONY.to_text())
    kept = [begin(ceremony, i).to_text() for i in ceremony.dealers]
    sent = [Dealing.from_text(text).package.to_text() for text in kept]
    packages = [Round1Package.from_text(t, i) for i, t in enumerate(sent, start=1)]
    dealt = [deal_out(Dealing.from_text(text), packages) for text in kept]
    assert dealt == [deal_out(Dealing.from_text(text), packages) for text in kept]
    boxes = {m: [out[m].to_text() for out in dealt] for m in ceremony.members}
    shares: list[Share] = []
    for member, box in boxes.items():
        received = [Round2Package.from_text(t, i) for i, t in enumerate(box, start=1)]
        share = finish(ceremony, member, packages, received)
        assert share == finish(ceremony, member, packages, received[::-1])
        shares.append(Share.from_text(share.to_text()))
    assert verifies(shares[0].group, MESSAGE, sign_together(shares[1:]))


def test_a_dealer_who_lost_its_state_can_only_start_the_ceremony_again() -> None:
    """A second polynomial in the same ceremony does not mix with the first."""
    again = begin(CEREMONY, 1)
    with pytest.raises(RefusedError, match="my own package came back changed"):
        deal_out(again, PACKAGES)
    mixed = [again.package, *PACKAGES[1:]]
    with pytest.raises(RefusedError, match="saw other round-one packages"):
        finish(CEREMONY, 2, mixed, RECEIVED[2])


def test_telling_different_things_to_different_parties_is_seen_by_all() -> None:
    liar = [begin(CEREMONY, 1), begin(CEREMONY, 1)]
    honest = [begin(CEREMONY, i) for i in (2, 3)]
    seen = {i: [liar[i % 2].package, *(d.package for d in honest)] for i in (2, 3)}
    dealt = {d.package.identifier: deal_out(d, seen[d.package.identifier]) for d in honest}
    for me, other in ((2, 3), (3, 2)):
        from_liar = deal_out(liar[me % 2], seen[me])[me]
        with pytest.raises(RefusedError, match=rf"participant {other} saw other") as refusal:
            finish(CEREMONY, me, seen[me], [from_liar, dealt[me][me], dealt[other][me]])
        assert refusal.value.culprits == ()


def test_transcripts_of_all_parties_are_equal_and_fit_one_ceremony() -> None:
    assert transcript(CEREMONY, PACKAGES) == transcript(CEREMONY, PACKAGES[::-1])
    other, _ = run(CEREMONY)
    assert transcript(CEREMONY, PACKAGES) != transcript(CEREMONY, other)


def test_a_key_chosen_against_the_others_has_no_proof_of_possession() -> None:
    """The last to send could choose the group's key, if it need not know its own secret."""
    evil = random_scalar()
    others = PACKAGES[0].commitments[0], PACKAGES[1].commitments[0]
    rogue = minus(minus(times_base(evil), others[0]), others[1])
    commitments = (rogue, times_base(ONE))
    witness, answer = prove(evil, 3, _context(CEREMONY, commitments))
    package = PACKAGES[2].model_copy(
        update={"commitments": commitments, "witness": witness, "answer": answer}
    )
    with pytest.raises(RefusedError, match="participant 3: no proof of possession") as refusal:
        transcript(CEREMONY, [*PACKAGES[:2], package])
    assert refusal.value.culprits == (3,)


def test_a_proof_of_another_ceremony_or_participant_is_no_proof_here() -> None:
    other = Ceremony.new_key(new_session(), 2, (1, 2, 3))
    foreign = begin(other, 2).package
    with pytest.raises(RefusedError, match="participant 2: the package is of another ceremony"):
        transcript(CEREMONY, [PACKAGES[0], foreign, PACKAGES[2]])
    renamed = foreign.model_copy(update={"ceremony": CEREMONY.digest})
    with pytest.raises(RefusedError, match="participant 2: no proof"):
        transcript(CEREMONY, [PACKAGES[0], renamed, PACKAGES[2]])
    copied = PACKAGES[0].model_copy(update={"identifier": 2})
    with pytest.raises(RefusedError, match="participant 2: no proof"):
        transcript(CEREMONY, [PACKAGES[0], copied, PACKAGES[2]])


@pytest.mark.parametrize("count", [1, 3])
def test_a_polynomial_has_as_many_commitments_as_the_threshold(count: int) -> None:
    body = PACKAGES[1].to_json()
    body["commitments"] = (body["commitments"] * 2)[:count]
    package = Round1Package.from_json(body, sender=2)
    with pytest.raises(RefusedError, match="participant 2: a polynomial needs 2"):
        transcript(CEREMONY, [PACKAGES[0], package, PACKAGES[2]])


def test_packages_are_one_from_each_dealer() -> None:
    with pytest.raises(RefusedError, match=r"participant 2: no round-one package yet"):
        transcript(CEREMONY, [PACKAGES[0], PACKAGES[2]])
    with pytest.raises(RefusedError, match="participant 2: more than one round-one package"):
        transcript(CEREMONY, [*PACKAGES, PACKAGES[1]])
    stranger = PACKAGES[1].model_copy(update={"identifier": 4})
    with pytest.raises(
        RefusedError, match="participant 4: sent a round-one package, but is not a dealer"
    ):
        transcript(CEREMONY, [*PACKAGES, stranger])
    with pytest.raises(RefusedError, match=r"participant 1: no round-two package yet"):
        finish(CEREMONY, 2, PACKAGES, RECEIVED[2][1:])
    with pytest.raises(RefusedError, match="participant 3: more than one round-two package"):
        finish(CEREMONY, 2, PACKAGES, [*RECEIVED[2], RECEIVED[2][2]])


def test_a_false_share_names_its_dealer() -> None:
    wrong = RECEIVED[2][2].model_copy(update={"value": add(RECEIVED[2][2].value, ONE)})
    with pytest.raises(RefusedError, match="participant 3: dealt a share that") as refusal:
        finish(CEREMONY, 2, PACKAGES, [*RECEIVED[2][:2], wrong])
    assert refusal.value.culprits == (3,)


def test_what_was_dealt_to_another_or_elsewhere_is_refused() -> None:
    with pytest.raises(RefusedError, match="participant 1: dealt to another member"):
        finish(CEREMONY, 2, PACKAGES, [RECEIVED[1][0], *RECEIVED[2][1:]])
    foreign = RECEIVED[2][0].model_copy(update={"ceremony": bytes(32)})
    with pytest.raises(RefusedError, match="participant 1: the package is of another ceremony"):
        finish(CEREMONY, 2, PACKAGES, [foreign, *RECEIVED[2][1:]])


def test_nobody_becomes_a_member_by_asking() -> None:
    polynomial = [begin(CEREMONY, i) for i in CEREMONY.dealers]
    packages = [d.package for d in polynomial]
    agreed = transcript(CEREMONY, packages)
    dealt = [
        Round2Package(
            ceremony=CEREMONY.digest,
            transcript=agreed,
            identifier=d.package.identifier,
            member=9,
            value=evaluate(d.coefficients, 9),
        )
        for d in polynomial
    ]
    with pytest.raises(RefusedError, match="participant 9 is not a member"):
        finish(CEREMONY, 9, packages, dealt)


def test_only_a_dealer_deals() -> None:
    with pytest.raises(RefusedError, match="participant 4 is not a dealer"):
        begin(CEREMONY, 4)


@pytest.mark.parametrize(
    ("threshold", "members", "why"),
    [
        (1, (1, 2), "threshold"),
        (3, (1, 2), "higher than the number"),
        (2, (2, 1), "in order"),
        (2, (1, 1, 2), "in order"),
        (2, (0, 1), "members.0"),
        (2, tuple(range(1, 66)), "members.64"),
    ],
)
def test_a_ceremony_that_cannot_be_is_refused(
    threshold: int, members: tuple[int, ...], why: str
) -> None:
    with pytest.raises(RefusedError, match=why):
        Ceremony.new_key(new_session(), threshold, members)


def test_for_a_new_key_all_members_deal() -> None:
    body = CEREMONY.to_json() | {"dealers": [1, 2]}
    with pytest.raises(RefusedError, match="all members are dealers"):
        Ceremony.from_json(body)


@any_flip
def test_a_flipped_bit_in_round_one_never_passes(place: int, bit: int) -> None:
    text = flipped(PACKAGES[1].to_text(), place, bit)
    with pytest.raises(RefusedError) as refusal:
        _transcript_with(text)
    assert refusal.value.culprits == (2,)


def _transcript_with(text: str) -> None:
    transcript(CEREMONY, [PACKAGES[0], Round1Package.from_text(text, 2), PACKAGES[2]])


@any_flip
def test_a_flipped_bit_in_round_two_never_passes(place: int, bit: int) -> None:
    text = flipped(RECEIVED[1][1].to_text(), place, bit)
    with pytest.raises(RefusedError) as refusal:
        _finish_with(text)
    assert refusal.value.culprits == (2,) or "participant 2 saw other" in str(refusal.value)


def _finish_with(text: str) -> None:
    received = [RECEIVED[1][0], Round2Package.from_text(text, 2), RECEIVED[1][2]]
    finish(CEREMONY, 1, PACKAGES, received)


def test_no_repr_of_a_round_shows_a_secret() -> None:
    dealing = begin(CEREMONY, 1)
    for coefficient in dealing.coefficients:
        assert repr(bytes(coefficient)) not in repr(dealing)
    assert repr(bytes(RECEIVED[1][0].value)) not in repr(RECEIVED[1][0])


def test_a_dealing_that_does_not_open_its_package_is_refused() -> None:
    body = begin(CEREMONY, 1).to_json()
    with pytest.raises(RefusedError, match="do not open"):
        Dealing.from_json(body | {"coefficients": body["coefficients"][::-1]})


def test_polynomials_that_cancel_each_other_out_make_no_group() -> None:
    """Only all dealers together could do that; then there is no key, and they are told."""
    secret, other = random_scalar(), random_scalar()
    dealt = {
        1: (times_base(secret), times_base(other)),
        2: (minus(IDENTITY, times_base(secret)), times_base(other)),
    }
    with pytest.raises(RefusedError, match="cancel each other out"):
        _group(Ceremony.new_key(new_session(), 2, (1, 2)), dealt)


# handing a key on


def _handed_on(
    old: list[Share], dealers: tuple[int, ...], threshold: int, members: tuple[int, ...]
) -> list[Share]:
    ceremony = Ceremony.resharing(new_session(), old[0].group, dealers, threshold, members)
    return finished(ceremony, [s for s in old if s.identifier in dealers])


@pytest.mark.parametrize("dealers", [(1, 3), (2, 3), (1, 2, 3)])
def test_two_of_three_hand_their_key_to_three_of_five(dealers: tuple[int, ...]) -> None:
    old = new_group(2, 3)
    new = _handed_on(old, dealers, 3, (1, 2, 3, 4, 5))
    assert new[0].group.key == old[0].group.key
    for signers in itertools.combinations(new, 3):
        assert verifies(old[0].group, MESSAGE, sign_together(signers))
    with pytest.raises(RefusedError, match="too few"):
        sign_together(new[:2])


def test_a_key_goes_back_to_fewer_and_other_members() -> None:
    old = new_group(3, 5)
    new = _handed_on(old, (2, 3, 5), 2, (10, 11))
    assert verifies(old[0].group, MESSAGE, sign_together(new))


def test_old_and_new_shares_do_not_mix() -> None:
    old = new_group(2, 3)
    new = _handed_on(old, (1, 2), 2, (1, 2, 3))
    with pytest.raises(
        RefusedError, match=r"participant 3: .* another sharing of this key"
    ) as e:
        sign_together([new[0], old[2]])
    assert e.value.culprits == (3,)


def test_a_dealer_cannot_hand_on_another_secret() -> None:
    old = new_group(2, 3)
    ceremony = Ceremony.resharing(new_session(), old[0].group, (1, 2), 2, (1, 2, 3))
    honest = begin(ceremony, 1, old[0]).package
    secret, other = random_scalar(), random_scalar()
    commitments = times_base(secret), times_base(other)
    witness, answer = prove(secret, 2, _context(ceremony, commitments))
    false = Round1Package(
        ceremony=ceremony.digest,
        identifier=2,
        commitments=commitments,
        witness=witness,
        answer=answer,
    )
    with pytest.raises(RefusedError, match="participant 2: dealt another secret") as refusal:
        transcript(ceremony, [honest, false])
    assert refusal.value.culprits == (2,)


def test_the_share_that_is_handed_on_is_the_dealers_own() -> None:
    old, foreign = new_group(2, 3), new_group(2, 3)
    ceremony = Ceremony.resharing(new_session(), old[0].group, (1, 2), 2, (1, 2, 3))
    for share in (old[1], foreign[0], None):
        with pytest.raises(RefusedError, match="not this dealer's"):
            begin(ceremony, 1, share)
    with pytest.raises(RefusedError, match="not this dealer's"):
        begin(CEREMONY, 1, old[0])


@pytest.mark.parametrize(
    ("dealers", "why"),
    [((1,), "2 dealers of the old group"), ((1, 4), "not a member of the old")],
)
def test_a_key_is_handed_on_by_enough_members(dealers: tuple[int, ...], why: str) -> None:
    group = new_group(2, 3)[0].group
    with pytest.raises(RefusedError, match=why):
        Ceremony.resharing(new_session(), group, dealers, 2, (1, 2, 3))


# splitting a key that somebody knows


def test_the_key_of_a_seed_is_split_and_stays_the_same() -> None:
    seed = secrets.token_bytes(32)
    verkey = bytes(SigningKey(seed).verify_key)
    shares = split_seed(seed, 3, (1, 2, 3, 4, 5))
    assert shares[0].group.key == verkey
    for signers in itertools.combinations(shares, 3):
        assert verifies(shares[0].group, MESSAGE, sign_together(signers))


def test_a_split_key_can_be_handed_on_to_people_whom_the_dealer_never_met() -> None:
    seed = secrets.token_bytes(32)
    old = list(split_seed(seed, 2, (1, 2)))
    new = _handed_on(old, (1, 2), 2, (3, 4, 5))
    assert new[0].group.key == bytes(SigningKey(seed).verify_key)
    assert verifies(new[0].group, MESSAGE, sign_together(new[:2]))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(RefusedError, match="32 bytes"):
        split_seed(bytes(size), 2, (1, 2))


@pytest.mark.parametrize(
    ("threshold", "members"), [(1, (1, 2)), (3, (1, 2)), (2, (2, 1)), (2, (0, 1)), (2, ())]
)
def test_a_group_that_cannot_be_is_not_dealt(threshold: int, members: tuple[int, ...]) -> None:
    with pytest.raises(RefusedError, match="group is not possible"):
        split_new(threshold, members)


def test_the_verkey_is_written_as_indy_writes_it() -> None:
    import base58  # noqa: PLC0415

    group = new_group(2, 2)[0].group
    assert base58.b58decode(group.verkey) == group.key


def test_making_a_group_directly_is_checked_too() -> None:
    group = new_group(2, 3)[0].group
    with pytest.raises(ValidationError):
        Group(threshold=2, key=Point(bytes(32)), members=group.members)
    with pytest.raises(ValidationError):
        Share(identifier=1, secret=Scalar(bytes(32)), group=group)
