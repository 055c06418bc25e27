"""RFC 9591 appendix E.1 byte for byte, and the published vectors of FROST's key generation."""

from __future__ import annotations

from typing import TypedDict

import pytest
from ledger.multisig.frost_parties import MemoryVault, verifies

from keep_ledger.multisig.threshold import frost
from keep_ledger.multisig.threshold.curve import (
    ONE,
    Point,
    Scalar,
    add,
    checked_point,
    checked_scalar,
    evaluate,
    evaluate_committed,
    h1,
    h4,
    h5,
    proven,
    times_base,
    total,
)
from keep_ledger.multisig.threshold.dealer import _split
from keep_ledger.multisig.threshold.frost import aggregate
from keep_ledger.multisig.threshold.shares import Commitment, Share, SignatureShare

SESSION = bytes(32)
MESSAGE = bytes.fromhex("74657374")


def scalar(text: str) -> Scalar:
    return checked_scalar(bytes.fromhex(text))


def point(text: str) -> Point:
    return checked_point(bytes.fromhex(text))


SECRET = scalar("7b1c33d3f5291d85de664833beb1ad469f7fb6025a0ec78b3a790c6e13a98304")
COEFFICIENT = scalar("178199860edd8c62f5212ee91eff1295d0d670ab4ed4506866bae57e7030b204")
KEY = point("15d21ccd7ee42959562fc8aa63224c8851fb3ec85a3faf66040d380fb9738673")
SHARES = {
    1: scalar("929dcc590407aae7d388761cddb0c0db6f5627aea8e217f4a033f2ec83d93509"),
    2: scalar("a91e66e012e4364ac9aaa405fcafd370402d9859f7b6685c07eed76bf409e80d"),
    3: scalar("d3cb090a075eb154e82fdb4b3cb507f110040905468bb9c46da8bdea643a9a02"),
}
HIDING_RANDOMNESS = {
    1: bytes.fromhex("0fd2e39e111cdc266f6c0f4d0fd45c947761f1f5d3cb583dfcb9bbaf8d4c9fec"),
    3: bytes.fromhex("86d64a260059e495d0fb4fcc17ea3da7452391baa494d4b00321098ed2a0062f"),
}
BINDING_RANDOMNESS = {
    1: bytes.fromhex("69cd85f631d5f7f2721ed5e40519b1366f340a87c2f6856363dbdcda348a7501"),
    3: bytes.fromhex("13e6b25afb2eba51716a9a7d44130c0dbae0004a9ef8d7b5550c8a0e07c61775"),
}
HIDING_NONCES = {
    1: scalar("812d6104142944d5a55924de6d49940956206909f2acaeedecda2b726e630407"),
    3: scalar("c256de65476204095ebdc01bd11dc10e57b36bc96284595b8215222374f99c0e"),
}
BINDING_NONCES = {
    1: scalar("b1110165fc2334149750b28dd813a39244f315cff14d4e89e6142f262ed83301"),
    3: scalar("243d71944d929063bc51205714ae3c2218bd3451d0214dfb5aeec2a90c35180d"),
}
HIDING_COMMITMENTS = {
    1: point("b5aa8ab305882a6fc69cbee9327e5a45e54c08af61ae77cb8207be3d2ce13de3"),
    3: point("cfbdb165bd8aad6eb79deb8d287bcc0ab6658ae57fdcc98ed12c0669e90aec91"),
}
BINDING_COMMITMENTS = {
    1: point("67e98ab55aa310c3120418e5050c9cf76cf387cb20ac9e4b6fdb6f82a469f932"),
    3: point("7487bc41a6e712eea2f2af24681b58b1cf1da278ea11fe4e8b78398965f13552"),
}
BINDING_FACTOR_PREFIX = bytes.fromhex(
    "15d21ccd7ee42959562fc8aa63224c8851fb3ec85a3faf66040d380fb9738673"
    "504df914fa965023fb75c25ded4bb260f417de6d32e5c442c6ba313791cc9a49"
    "48d6273e8d3511f93348ea7a708a9b862bc73ba2a79cfdfe07729a193751cbc9"
    "73af46d8ac3440e518d4ce440a0e7d4ad5f62ca8940f32de6d8dc00fc12c660b"
    "817d587d82f856d277ce6473cae6d2f5763f7da2e8b4d799a3f3e725d4522ec7"
)
BINDING_FACTORS = {
    1: scalar("f2cb9d7dd9beff688da6fcc83fa89046b3479417f47f55600b106760eb3b5603"),
    3: scalar("b087686bf35a13f3dc78e780a34b0fe8a77fef1b9938c563f5573d71d8d7890f"),
}
SIGNATURE_SHARES = {
    1: scalar("001719ab5a53ee1a12095cd088fd149702c0720ce5fd2f29dbecf24b7281b603"),
    3: scalar("bd86125de990acc5e1f13781d8e32c03a9bbd4c53539bbc106058bfd14326007"),
}
SIGNATURE = bytes.fromhex(
    "36282629c383bb820a88b71cae937d41f2f2adfcc3d02e55507e2fb9e2dd3cbe"
    "bd9d2b0844e49ae0f3fa935161e1419aab7b47d21a37ebeae1f17d4987b3160b"
)


@pytest.fixture
def shares() -> dict[int, Share]:
    return {s.identifier: s for s in _split(SECRET, 2, (1, 2, 3), [COEFFICIENT])}


@pytest.fixture
def vault() -> MemoryVault:
    return MemoryVault()


@pytest.fixture
def commitments(shares: dict[int, Share], vault: MemoryVault) -> list[Commitment]:
    """Round one with the randomness of the RFC."""
    made: list[Commitment] = []
    for i in (1, 3):
        hiding = frost._nonce(shares[i], HIDING_RANDOMNESS[i])
        binding = frost._nonce(shares[i], BINDING_RANDOMNESS[i])
        assert (hiding, binding) == (HIDING_NONCES[i], BINDING_NONCES[i])
        nonces = frost._committed(shares[i], SESSION, hiding, binding)
        vault.put(nonces)
        made.append(nonces.commitment)
    return made


def test_the_dealer_deals_the_shares_of_the_rfc(shares: dict[int, Share]) -> None:
    assert {i: share.secret for i, share in shares.items()} == SHARES
    assert shares[1].group.key == KEY


def test_round_one_makes_the_commitments_of_the_rfc(commitments: list[Commitment]) -> None:
    assert {c.identifier: c.hiding for c in commitments} == HIDING_COMMITMENTS
    assert {c.identifier: c.binding for c in commitments} == BINDING_COMMITMENTS


def test_binding_factors_and_their_input_are_those_of_the_rfc(
    commitments: list[Commitment],
) -> None:
    assert KEY + h4(MESSAGE) + h5(frost._encoded(commitments)) == BINDING_FACTOR_PREFIX
    assert frost._binding_factors(KEY, commitments, MESSAGE) == BINDING_FACTORS
    assert h1(BINDING_FACTOR_PREFIX + ONE) == BINDING_FACTORS[1]


def test_round_two_and_the_signature_are_those_of_the_rfc(
    shares: dict[int, Share], vault: MemoryVault, commitments: list[Commitment]
) -> None:
    parts: list[SignatureShare] = [
        frost.sign(shares[i], SESSION, MESSAGE, commitments, vault) for i in (1, 3)
    ]
    assert {p.identifier: p.response for p in parts} == SIGNATURE_SHARES
    signature = aggregate(shares[1].group, SESSION, MESSAGE, commitments, parts)
    assert signature == SIGNATURE
    assert verifies(shares[1].group, MESSAGE, signature)


class Participant(TypedDict):
    """One participant of the published key generation vectors, 2 of 3."""

    secret: str
    coefficient: str
    commitments: tuple[str, str]
    proof: str
    dealt: dict[int, str]
    verification_share: str


GROUP_KEY = point("3d9a67b93cec3acad2d32349cf7bdffaa23ae031a81174ddadae1c96bb455f4d")
PARTICIPANTS: dict[int, Participant] = {
    1: {
        "secret": "fc36bff380c95d607cd78080f493dd382df50f7007ec1b150b9bfbd8041fd208",
        "coefficient": "2d2c3e2b558e555b1608838e0ded66cd36d8aaa9ed1e39ce8474855d0825b20e",
        "commitments": (
            "db67948a73033b0c886ed757d97352428df05ad5803aff256bc388c9a0772bfe",
            "6a25b55a80a287826fbc3ef4d978d15f98f4f573f4d96e798a970780c644f14c",
        ),
        "proof": "64c41c1d0417aef33576c23a5150de2921d6249d7086b10012f942405fc08ed5"
        "1a872dd021db2ac01e9f4182e950324c5f563421bd835f3f514a60c975cab70c",
        "dealt": {
            2: "ebb85acf4d46173f519a8680eac89f567d3f4a568843b741b251cc2f3d112b05",
            3: "f088e2c4b3a7f81836968c642721031ed8828d2e3d532fecaa85c481e445000c",
        },
        "verification_share": (
            "f6b5e87c902796d8dab6369cbd6d342a32e46c136e9f1f5af2fc385aed804de3"
        ),
    },
    2: {
        "secret": "2b76dcb99b75fbada4ffdc213b1ae4ec7c1b2a5da25d9ea85741a3ab376ca307",
        "coefficient": "ad167472cc332ee98237a1018ea89a7e002420f9e5e518995a10298405a5870d",
        "commitments": (
            "17194e192408980956a9cfc388d38456b2e9619c42a57196facd7feaf980a3bd",
            "0b560ce2f1130dc7066fc47f6e3f1858ef553faf6bbc19d3cd2a502052f95ae5",
        ),
        "proof": "4062dc7fc11144e636f4eddd7f2d8d3e02761671ae913674314a12b91f50bf98"
        "e9c410d651c45c3a1766c88524fccb7670de191e12686324c59333e74fc93402",
        "dealt": {
            1: "7ce74f90f61fe466fcad9757527aeda99aa565c3e2298eb11484069415693606",
            3: "7fde55b354d5d8dddc940fe932de5d1a6110b9bc4edeba2db7b32c34074d3a0a",
        },
        "verification_share": (
            "f326b756ed38b43a94bdac698e044d9e3f3a08a40e7c9d2e5346dd5bfaadf2f5"
        ),
    },
    3: {
        "secret": "61336fd6127a18548f9709e01b64a8214ff561a02bc8a3aa9e575ccfc13ec60d",
        "coefficient": "7c29694bbb90f21c7d9b7a27eab63911898d2b8e118b8b410c2e68b222073a0e",
        "commitments": (
            "0e9c22b9edbcd06757eee5ba3cfeb74e4fa6470932aa1ab689c86f1fe3dde70c",
            "0ae6e3e6ff1d612adb5cabb425ee51f2be9952467ce9b6d83095322909a42dd7",
        ),
        "proof": "37df5a836ceaaf9f5e3b9ae6a485bad5c15788f3883386fe43f2921bbe2cb987"
        "d23683ca18973065a00d69bbf74f7961889b820e64f98878df7844a4e4785907",
        "dealt": {
            1: "bc3f985e314b276a3c192343816d7562d17d106dd048c77f99f88bf11d8ee804",
            2: "6b3e57fab1e74e61aacfd93d4926172a7e878a48540fe97367721e38485b3a00",
        },
        "verification_share": (
            "6bc91a2755902d955ce220ad0df6fbf57162260949d40bcf5a69cfffec9c085a"
        ),
    },
}


def _commitments(participant: Participant) -> list[Point]:
    return [point(text) for text in participant["commitments"]]


@pytest.mark.parametrize("i", PARTICIPANTS)
def test_dealing_is_that_of_the_published_key_generation(i: int) -> None:
    vector = PARTICIPANTS[i]
    coefficients = [scalar(vector["secret"]), scalar(vector["coefficient"])]
    assert [times_base(c) for c in coefficients] == _commitments(vector)
    for other, text in vector["dealt"].items():
        dealer = PARTICIPANTS[other]
        polynomial = [scalar(dealer["secret"]), scalar(dealer["coefficient"])]
        assert evaluate(polynomial, i) == scalar(text)
        assert evaluate_committed(_commitments(dealer), i) == times_base(scalar(text))


@pytest.mark.parametrize("i", PARTICIPANTS)
def test_published_proofs_of_possession_hold_and_no_others(i: int) -> None:
    raw = bytes.fromhex(PARTICIPANTS[i]["proof"])
    key = _commitments(PARTICIPANTS[i])[0]
    witness, answer = checked_point(raw[:32]), checked_scalar(raw[32:])
    assert proven(key, i, b"", witness, answer)
    assert not proven(key, i + 1, b"", witness, answer)
    assert not proven(key, i, b"", witness, add(answer, ONE))


def test_the_first_share_is_that_of_the_published_key_generation() -> None:
    """Only the first: the published ones of the others do not fit their verification shares."""
    vector = PARTICIPANTS[1]
    share = evaluate([scalar(vector["secret"]), scalar(vector["coefficient"])], 1)
    for text in vector["dealt"].values():
        share = add(share, scalar(text))
    assert share == scalar("2afd4ef9a27f9e636dd627ae56772951b98f929ebaa13b11ede611e82e9baf08")


@pytest.mark.parametrize("i", PARTICIPANTS)
def test_group_key_and_verification_shares_are_as_published(i: int) -> None:
    joint = [
        total(column)
        for column in zip(*(_commitments(p) for p in PARTICIPANTS.values()), strict=True)
    ]
    assert joint[0] == GROUP_KEY
    assert evaluate_committed(joint, i) == point(PARTICIPANTS[i]["verification_share"])
