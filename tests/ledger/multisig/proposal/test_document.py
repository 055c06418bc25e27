"""A proposal carries what its people said, and nothing that anybody else made up."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger.multisig.frost_parties import MemoryVault
from ledger.multisig.sample_proposals import (
    ANA,
    BEN,
    CAS,
    GROUP,
    GROUP_DID,
    NOW,
    SEAL,
    SHARES,
    Human,
    body,
    by_member,
    request,
)
from nacl import bindings as sodium

from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.document import Body, Proposal, RefusedMarkError, merge
from keep_ledger.multisig.proposal.review import review
from keep_ledger.multisig.threshold import frost
from keep_ledger.multisig.threshold.dealer import split_seed

ORDER = (1 << 252) + 27742317777372353535851937790883648493
BASE = Proposal(body())


def marked() -> Proposal:
    """All three sign and say something."""
    done = BASE
    for one in (ANA, BEN, CAS):
        done = one.says(one.says(done, "sign"), "comment", f"{one.name} was here")
    return done


MARKED = marked()
SUBSETS = st.sets(st.sampled_from(MARKED.marks)).map(lambda some: Proposal(BASE.body, some))


@settings(max_examples=40)
@given(SUBSETS, SUBSETS, SUBSETS)
def test_merging_does_not_care_about_order_or_repetition(
    a: Proposal, b: Proposal, c: Proposal
) -> None:
    assert merge([a, b]).to_bytes() == merge([b, a]).to_bytes()
    assert merge([merge([a, b]), c]).to_bytes() == merge([a, merge([b, c])]).to_bytes()
    assert merge([a, a]).to_bytes() == a.to_bytes()


@settings(max_examples=40)
@given(SUBSETS)
def test_a_container_is_read_back_equal(some: Proposal) -> None:
    assert Proposal.from_bytes(some.to_bytes()).to_bytes() == some.to_bytes()


@settings(max_examples=150)
@given(st.integers(0, 10**6), st.integers(0, 7))
def test_a_flipped_bit_is_never_another_proposal_by_the_same_people(
    place: int, bit: int
) -> None:
    raw = bytearray(MARKED.to_bytes())
    raw[place % len(raw)] ^= 1 << bit
    with pytest.raises(RefusedError):
        Proposal.from_bytes(bytes(raw))


@settings(max_examples=150)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_with_a_sentence(raw: bytes) -> None:
    with pytest.raises(RefusedError):
        Proposal.from_bytes(raw)


HOSTILE = {
    "a fraction": "f93c00",
    "undefined": "f7",
    "a date": "c074323031332d30332d32315432303a30343a30305a",
    "a number of more than 64 bits": "c249" + "01" * 9,
    "a cycle": "d81c81d81d00",
    "many times one value": "d81c82d81d00d81d00",
    "a name that is not text": "a10102",
    "a longer spelling of a number": "1801",
    "no end": "9f",
    "a member twice": "a2616101616102",
    "a tag": "d8237828" + "61" * 40,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_only_cbor_can_hold_is_refused(name: str) -> None:
    told: Json = BASE.body.to_map() | {"before": {"exists": "MARK"}}
    people: list[Json] = told["cosigners"]
    told["cosigners"] = [{k: v for k, v in c.items() if v} for c in people]
    bare = {k: v for k, v in told.items() if v is not None}
    raw = cbor2.dumps({"psit": bare, "marks": []}, canonical=True)
    assert Proposal.from_bytes(raw).marks == ()
    with pytest.raises(RefusedError):
        Proposal.from_bytes(raw.replace(b"\x64MARK", bytes.fromhex(HOSTILE[name])))


@pytest.mark.parametrize(
    "more",
    [
        {"before": {"exists": True, "role": []}},
        {"before": {"exists": True, "role": "\x1b[2J"}},
        {"rules": {"1--ADD--\x1b[2J--*--0": {"constraint_id": "FORBIDDEN"}}},
        {"rules": {"1--ADD--role--*--0": {}}},
        {"memo": "\u202edeppam"},
        {"expires": NOW + 400 * 86400},
        {"cosigners": (ANA.cosigner(), Human("Eve", ANA.key).cosigner())},
        {"cosigners": (BEN.cosigner(),)},
        {"cosigners": (ANA.cosigner(), SEAL, SEAL.model_copy(update={"group": None}))},
    ],
)
def test_a_body_that_could_mislead_is_refused(more: Json) -> None:
    with pytest.raises(ValueError, match=r"who|cannot|neither|is|more|twice|must|no "):
        body(**more)


def test_marks_hold_for_one_proposal_and_one_person() -> None:
    """The same request again: neither signature nor refusal can be carried over."""
    marks = {mark.by: mark for mark in MARKED.marks if mark.act == "sign"}
    other = Proposal(body(memo="the same, later"))
    with pytest.raises(RefusedMarkError, match="Ana: a mark in this name"):
        other.with_mark(marks[0])
    with pytest.raises(RefusedMarkError, match="Ben"):
        BASE.with_mark(marks[0].model_copy(update={"by": 1}))
    with pytest.raises(RefusedMarkError, match="a person by its key"):
        BASE.with_mark(marks[0].model_copy(update={"by": 3}))
    with pytest.raises(RefusedError, match="nobody named"):
        BASE.with_mark(marks[0].model_copy(update={"by": 9}))
    with pytest.raises(RefusedError, match="different proposals"):
        merge([BASE, other])


def test_a_signature_over_another_request_is_not_taken() -> None:
    sealed = BASE.unsealed("sign", 0, NOW, signature=ANA.key.sign(b"other").signature)
    seal = ANA.key.sign(BASE.to_seal(sealed)).signature
    with pytest.raises(RefusedMarkError, match="does not verify for this request"):
        BASE.with_mark(sealed.model_copy(update={"seal": seal}))


def test_a_scalar_that_is_not_canonical_makes_no_seal() -> None:
    mark = MARKED.marks[0]
    large = int.from_bytes(mark.seal[32:], "little") + ORDER
    malleable = mark.seal[:32] + large.to_bytes(32, "little")
    with pytest.raises(RefusedMarkError):
        BASE.with_mark(mark.model_copy(update={"seal": malleable}))


# -- groups ---------------------------------------------------------------------------------------


def rounds() -> tuple[MemoryVault, bytes]:
    return MemoryVault(), BASE.session(3)


def committed(members: tuple[int, ...], vault: MemoryVault, at: int) -> Proposal:
    """The proposal after these members committed."""
    done = BASE
    for number in members:
        share = SHARES[number - 1]
        part = frost.commit(share, BASE.session(3), vault)
        done = done.with_mark(by_member(done, share, "commit", at, commitment=part))
    return done


def signed(proposal: Proposal, members: tuple[int, ...], vault: MemoryVault) -> Proposal:
    """And after these members signed."""
    message, session = proposal.request.signing_input, proposal.session(3)
    for number in members:
        share = SHARES[number - 1]
        part = frost.sign(share, session, message, proposal.quorum(3), vault)
        proposal = proposal.with_mark(by_member(proposal, share, "sign", NOW, share=part))
    return proposal


def test_a_group_signs_as_one() -> None:
    vault, _ = rounds()
    done = signed(committed((1, 3), vault, NOW), (1, 3), vault)
    signature = done.signatures()[GROUP_DID]
    sodium.crypto_sign_open(signature + done.request.signing_input, GROUP.key)


def test_the_others_go_on_without_one_that_cheats() -> None:
    """Whatever time it wrote into its mark before: a new commitment of others is a later one."""
    vault, _ = rounds()
    done = committed((1,), vault, 0).merged(committed((2,), vault, NOW))
    done = signed(done, (2,), vault)
    honest = next(mark.share for mark in done.of("sign", 3))
    assert honest is not None
    false = honest.model_copy(update={"identifier": 1})
    done = done.with_mark(by_member(done, SHARES[0], "sign", NOW, share=false))
    with pytest.raises(RefusedError, match="Seal: participant 1: the signature share is wrong"):
        done.signatures()
    again = done.merged(committed((2, 3), vault, NOW + 1))
    assert GROUP_DID in signed(again, (2, 3), vault).signatures()


def test_one_that_committed_and_is_not_heard_of_again_stops_nobody() -> None:
    vault, _ = rounds()
    away = committed((1,), vault, NOW - 9)
    done = away.merged(committed((2, 3), vault, NOW))
    assert GROUP_DID in signed(done, (2, 3), vault).signatures()


def test_a_commitment_from_the_future_is_not_there_yet() -> None:
    """Else its member would be among those who sign for ever, and never sign."""
    vault, _ = rounds()
    done = committed((1,), vault, NOW + 3000).merged(committed((2, 3), vault, NOW))
    assert (
        GROUP_DID
        in signed(done.without_future_commitments(NOW + 300), (2, 3), vault).signatures()
    )


def test_a_mark_of_a_group_is_sealed_by_a_share_of_this_sharing() -> None:
    _, session = rounds()
    other = split_seed(bytes(range(32)), 2, (1, 2, 3))[0]
    part = frost.commit(other, session, MemoryVault())
    with pytest.raises(RefusedMarkError, match="not made with its share"):
        BASE.with_mark(by_member(BASE, other, "commit", NOW, commitment=part))
    with pytest.raises(RefusedMarkError, match="for another group"):
        BASE.with_mark(by_member(BASE, SHARES[0], "commit", NOW, commitment=part))
    part = frost.commit(SHARES[0], bytes(32), MemoryVault())
    with pytest.raises(RefusedMarkError, match="another proposal"):
        BASE.with_mark(by_member(BASE, SHARES[0], "commit", NOW, commitment=part))
    part = frost.commit(SHARES[1], session, MemoryVault())
    with pytest.raises(RefusedMarkError, match="another member"):
        BASE.with_mark(by_member(BASE, SHARES[0], "commit", NOW, commitment=part))


@pytest.mark.parametrize("witness", [(1).to_bytes(32, "little"), bytes(32), b"\xff" * 32])
def test_a_seal_with_a_point_of_small_order_is_no_proof(witness: bytes) -> None:
    mark = by_member(BASE, SHARES[0], "comment", NOW, text="x")
    with pytest.raises(RefusedMarkError, match="not a proof by a share"):
        BASE.with_mark(mark.model_copy(update={"seal": witness + mark.seal[32:]}))


def test_what_was_taken_back_or_is_too_old_is_refused() -> None:
    assert (
        "its author cancelled it"
        in review(ANA.says(BASE, "cancel", "x"), NOW, None, None).refusals
    )
    assert not BEN.says(BASE, "cancel", "x").cancelled()
    late = review(BASE, NOW + 3600, None, None).refusals
    early = review(BASE, NOW - 3600, None, None).refusals
    assert "expired" in late[0]
    assert "future" in early[0]


def test_a_group_takes_back_what_it_authored_by_as_many_as_sign() -> None:
    told = Body.model_validate(dict(BASE.body) | {"request": request({"type": "8"}, GROUP_DID)})
    done = Proposal(told)
    for number, share in enumerate(SHARES[:2], 1):
        done = done.with_mark(by_member(done, share, "cancel", NOW))
        assert done.cancelled() is (number == 2)
