"""DIDs: every form that peers send is read, every forged or swollen one is refused."""

import base64
import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keep_agent.core.message import Json
from keep_agent.errors import BadMessageError, RefusedError
from keep_agent.identity.did_documents import (
    MAX_ITEMS,
    DidDocument,
    Service,
    read_document,
)
from keep_agent.identity.did_resolver import Found, Resolver
from keep_agent.identity.dids import MAX_DID, Did, read_did, short_form
from keep_agent.identity.keys import (
    Codec,
    base58_key,
    did_key,
    did_key_url,
    exchange_key,
    multibase,
    multikey,
    raw_key,
)
from keep_agent.identity.peer_dids import create_peer2, create_peer4

KEY = "GJ1SzoWzavQYfNL9XkaJdrQejfztN4XqdsiV4ct3LXKL"
OTHER = "8HH5gYEeNc3z7PYXmd54d4x6qAfCNrqQqEB3nS7Zfu7K"
URL = "https://example.com/didcomm"
CREDO_PEER_4 = (
    "did:peer:4zQmSM1Bj79hy8onDLb1LRpU66hFknuHCLZTFkmQ26pKN7Sx:zRHytz6DqG3ZwkaVuD4T935Lsb"
    "UUcD8T6DcTRFGMp3fLPjVCRPf6KwWFWc1oENLHhCZtVx9LReVu3nxgNTkMC3g1NvQfwPuRBsgfyrL8CA14z5"
    "7cebXFytyScJL2HrPHKNLEF13mQNL4qKaNNkyT9kCNVxwjK3uzBApAydfhutYUi5ECz3HziC1PEDSxhEfvVS"
    "pH2dC4stxopEVD8V7c9mSKftxm53wK1XN4HVe5ZFRyaA86jNVtpo5SNb8rEiaYxseyDb59HypRX4HuoejJy6"
    "Q95C4bDnzZCEpMrasXgenTUXHokuoWNCXSBnz2Anqe8nZ3AVPqDXehuE4QwycaiW8ib6YBaRVp7pEfro157A"
    "Qp7n8EHvA5PCFTWZftMoSkAHdkyucazw9whFr4uhaSDSyCj5peiB6LAH41x5HtzU6uVnHfNHWJbpY5vmJYvr"
    "XocmMoyzmTchJqnogRVQSxUrRSuPUdx3vwmvae7JnJH8zC2fYwEp6G9FC939o5PH1F8DvBRTGmNd19YqHZnU"
    "DtfTZFPm4uXKKxSikXUrjS78Qbnq8mFCN7iMSEDdALm6BfUGAy6e5aPD9DsAcH633ex12hLmijP4m8kLUMEr"
    "2emFCbp1R1MCBdzvttGxpSKQxPdN4k7ac"
)
CREDO_PEER_2 = (
    "did:peer:2.Vz6MkhzyxfnjAQ6ECe9zGRQDoexaEfbivh2USbyDwTWC6Z8MR.Ez6LSgM57r8z5fa9FDyLzWN"
    "kBFe4a7bizJFu2jAU8HZU3Sts7.SeyJzIjoiaHR0cDovLzEyNy4wLjAuMTo4MzUwIiwidCI6ImRpZC1jb21t"
    "dW5pY2F0aW9uIiwicHJpb3JpdHkiOjAsInJlY2lwaWVudEtleXMiOlsiI2tleS0xIl0sInIiOltdfQ"
)
PEER_0 = "did:peer:0z6MkqRYqQiSgvZQdnBytw86Qbs2ZWUkGv22od935YF4s8M7V"
PEER_2_V2 = (
    "did:peer:2"
    ".Ez6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc"
    ".Vz6MkqRYqQiSgvZQdnBytw86Qbs2ZWUkGv22od935YF4s8M7V"
    ".Vz6MkgoLTnTypo3tDRwCkZXSccTPHRLhF4ZnjhueYAFpEX6vg"
    ".SeyJpZCI6IiNzZXJ2aWNlLTAiLCJ0IjoiZG0iLCJzIjoiaHR0cHM6Ly9leGFtcGxlLmNvbS9lbmRwb2ludCIsInIi"
    "OlsiZGlkOmV4YW1wbGU6c29tZW1lZGlhdG9yI3NvbWVrZXkiXSwiYSI6WyJkaWRjb21tL3YyIiwiZGlkY29tbS9haXAy"
    "O2Vudj1yZmM1ODciXX0"
)
PEER_3 = "did:peer:3zQmaTbkb2T8CbKPzXSCgsdWHxgX3qvjmpmTQwfATu3crFCv"
PEER_4_HELLO = (
    "did:peer:4zQmb7xLdVY9TXx8oov5XgpGUmGELgqiAV2699s43i6Qdm3M:zQSJgiFTYiCHjQ9MktwNThRXM7a"
)

PEER_1_DOCUMENT: Json = {
    "@context": ["https://www.w3.org/ns/did/v1"],
    "id": "did:peer:1zQmdpfXattSv7nAJYaPbr6b6KDXzSo1FGotfX1o8divQVKq",
    "service": [
        {
            "id": "#inline-0",
            "serviceEndpoint": "http://127.0.0.1:8350",
            "type": "did-communication",
            "priority": 0,
            "recipientKeys": ["#key-1"],
            "routingKeys": [],
        }
    ],
    "authentication": [
        {
            "id": "#key-1",
            "type": "Ed25519VerificationKey2018",
            "controller": "#id",
            "publicKeyBase58": "4vNRk1jALf3hXR1g2452SrXc7MJgaRo6VMZdgwe8BEN5",
        }
    ],
    "keyAgreement": [
        {
            "id": "#key-2",
            "type": "X25519KeyAgreementKey2019",
            "controller": "#id",
            "publicKeyBase58": "9sJfUSSR9qdqQSAdVVxKabz1vysQMFubsAFfebA23TCM",
        }
    ],
}
OLD_DOCUMENT: Json = {
    "@context": "https://www.w3.org/ns/did/v1",
    "publicKey": [
        {
            "id": "AXPiMgtYofy6KpuQLiMd42#1",
            "controller": "AXPiMgtYofy6KpuQLiMd42",
            "type": "Ed25519VerificationKey2018",
            "publicKeyBase58": "6C5Bt3bed8UjhiqAxFXAjGAZP7jTdsjLZ2bUWPpDU711",
        }
    ],
    "service": [
        {
            "id": "AXPiMgtYofy6KpuQLiMd42#IndyAgentService-1",
            "serviceEndpoint": "http://127.0.0.1:8360",
            "type": "IndyAgent",
            "priority": 0,
            "recipientKeys": ["6C5Bt3bed8UjhiqAxFXAjGAZP7jTdsjLZ2bUWPpDU711"],
            "routingKeys": [],
        }
    ],
    "authentication": [
        {"publicKey": "AXPiMgtYofy6KpuQLiMd42#1", "type": "Ed25519SignatureAuthentication2018"}
    ],
    "id": "AXPiMgtYofy6KpuQLiMd42",
}


async def nobody(did: Did) -> Found | None:
    return None


LOCAL = Resolver(nobody)


async def resolve(did: str) -> DidDocument:
    return (await LOCAL.resolve(did)).document


async def reach(did: str) -> Service:
    return (await resolve(did)).didcomm


def b64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


# syntax


@pytest.mark.parametrize(
    "did",
    [
        "WgWxqztrNooG92RXvxSTWv",
        "did:sov:WgWxqztrNooG92RXvxSTWv",
        "did:indy:sovrin:WgWxqztrNooG92RXvxSTWv",
        "did:indy:bcovrin:test:WgWxqztrNooG92RXvxSTWv",
        "did:web:example.com%3A3000:user",
        did_key(KEY),
        PEER_0,
        PEER_1_DOCUMENT["id"],
        PEER_2_V2,
        PEER_3,
        CREDO_PEER_4,
        short_form(Did(CREDO_PEER_4)),
    ],
)
def test_a_did_of_a_known_method_is_read(did: str) -> None:
    assert read_did(did) == did


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        "did:",
        "did:key:",
        "DID:sov:WgWxqztrNooG92RXvxSTWv",
        "did:sov:WgWxqztrNooG92RXvxSTW0",
        "did:sov:WgWxqztrNooG92RXvxSTWv#key-1",
        "did:sov:WgWxqztrNooG92RXvxSTWv\n",
        " did:sov:WgWxqztrNooG92RXvxSTWv",
        "zzzzzzzzzzzzzzzzzzzzzz",
        "did:sov:zzzzzzzzzzzzzzzzzzzzzz",
        "did:indy:WgWxqztrNooG92RXvxSTWv",
        "did:indy:a:b:c:WgWxqztrNooG92RXvxSTWv",
        "did:indy:Sovrin:WgWxqztrNooG92RXvxSTWv",
        "did:unknown:x",
        "did:peer:5z6Mk",
        "did:peer:2",
        "did:peer:2.Xz6Mk",
        "did:peer:2..",
        "did:peer:4z:z",
        "did:web:",
        "did:web:a/b",
        KEY,
    ],
)
def test_what_is_no_did_is_refused(text: object) -> None:
    with pytest.raises(BadMessageError):
        read_did(text)


@given(st.text() | st.text().map("did:peer:2.".__add__) | st.text().map("did:peer:4z".__add__))
async def test_any_text_resolves_or_is_refused(text: str) -> None:
    try:
        found = await resolve(text)
    except (BadMessageError, RefusedError):
        return
    assert found.id == text


# documents of real peers


async def test_a_did_peer_4_of_credo_resolves() -> None:
    found = await resolve(CREDO_PEER_4)
    assert found.id == CREDO_PEER_4
    assert found.also_known_as == (short_form(Did(CREDO_PEER_4)),)
    assert found.didcomm == Service(
        "http://127.0.0.1:8350", ("HZgy5qyR57J77LfATV1gBzHqHuTuNdAqTGoHGe55nn5o",)
    )


async def test_a_did_peer_2_of_credo_resolves() -> None:
    key = "did:key:z6MkhzyxfnjAQ6ECe9zGRQDoexaEfbivh2USbyDwTWC6Z8MR"
    found = await reach(CREDO_PEER_2)
    assert found.endpoint == "http://127.0.0.1:8350"
    assert [did_key(verkey) for verkey in found.recipient_keys] == [key]


def test_the_attached_document_of_a_did_peer_1_is_read() -> None:
    found = read_document(PEER_1_DOCUMENT, read_did(PEER_1_DOCUMENT["id"]))
    assert found.didcomm == Service(
        "http://127.0.0.1:8350", ("4vNRk1jALf3hXR1g2452SrXc7MJgaRo6VMZdgwe8BEN5",)
    )


def test_a_document_of_connections_1_0_is_read() -> None:
    found = read_document(OLD_DOCUMENT, read_did(f"did:sov:{OLD_DOCUMENT['id']}"))
    key = "6C5Bt3bed8UjhiqAxFXAjGAZP7jTdsjLZ2bUWPpDU711"
    assert found.didcomm == Service("http://127.0.0.1:8360", (key,))
    assert found.verkey(f"{found.id}#1") == key


def test_a_document_about_somebody_else_is_refused() -> None:
    with pytest.raises(BadMessageError):
        read_document(OLD_DOCUMENT, read_did("WgWxqztrNooG92RXvxSTWv"))


# did:peer, made and read


async def test_the_examples_of_did_peer_resolve() -> None:
    hello = await resolve(PEER_4_HELLO)
    assert hello.id == PEER_4_HELLO
    two = await resolve(PEER_2_V2)
    assert two.verkey("#key-2") == "ByHnpUCFb1vAfh9CFZ8ZkmUZguURW8nSw889hy6rD8L7"
    assert two.verkey(f"{PEER_3}#key-3") == "3M5RCDjPTWPkKSN3sxUmmMqHbmRPegYP1tjcKyrDbt9J"
    assert two.service[0]["serviceEndpoint"] == "https://example.com/endpoint"
    zero = await resolve(PEER_0)
    assert zero.methods[0].verkey == "ByHnpUCFb1vAfh9CFZ8ZkmUZguURW8nSw889hy6rD8L7"


def test_a_did_peer_3_is_the_hash_of_a_did_peer_2() -> None:
    assert short_form(Did(PEER_2_V2)) == PEER_3


def test_a_did_without_a_short_form_is_its_own() -> None:
    for did in (PEER_3, short_form(Did(CREDO_PEER_4)), did_key(KEY)):
        assert short_form(Did(did)) == did


async def test_a_service_for_didcomm_v2_only_is_no_way_to_reach_anybody() -> None:
    with pytest.raises(BadMessageError):
        await reach(PEER_2_V2)


@pytest.mark.parametrize("create", [create_peer2, create_peer4])
async def test_what_we_make_says_how_to_reach_us(create: Any) -> None:
    did = create(KEY, URL, [OTHER])
    assert read_did(did) == did
    found = await resolve(did)
    assert found.didcomm == Service(URL, (KEY,), (OTHER,))
    with pytest.raises(BadMessageError):
        found.verkey("#key-2")
    exchange = exchange_key(KEY).get_public_bytes()
    assert found.methods[1].public_key_multibase == multikey(Codec.X25519, exchange)


async def test_a_did_peer_2_may_hold_services_in_a_list_and_a_v2_endpoint() -> None:
    services = [
        {"t": "example", "s": "https://example.com"},
        {
            "t": "dm",
            "s": {"uri": URL, "r": [did_key_url(OTHER)], "a": ["didcomm/aip2;env=rfc19"]},
        },
    ]
    did = f"did:peer:2.V{multikey(Codec.ED25519, raw_key(KEY))}.S{b64(services)}"
    assert await reach(did) == Service(URL, (KEY,), (OTHER,))


async def test_sec_e14_a_did_peer_4_that_is_not_its_hash_is_refused() -> None:
    forged = create_peer4(OTHER, URL).rpartition(":")[2]
    name = short_form(create_peer4(KEY, URL))
    with pytest.raises(BadMessageError):
        await resolve(f"{name}:{forged}")
    whole = create_peer4(KEY, URL)
    for place in (12, 30, len(whole) - 1):
        letter = "2" if whole[place] != "2" else "3"
        with pytest.raises(BadMessageError):
            await resolve(whole[:place] + letter + whole[place + 1 :])


def peer4(raw: bytes) -> str:
    """A did:peer:4 whose hash is right, whatever it holds."""
    encoded = multibase(raw)
    return f"did:peer:4{multibase(bytes([0x12, 0x20]) + sha256(encoded.encode()).digest())}:{encoded}"


@pytest.mark.parametrize(
    "held",
    [
        b"{}",
        b"\x80\x04",
        b"\x80\x04[]",
        b"\x80\x04{",
        b'\x80\x04{"id":"did:sov:WgWxqztrNooG92RXvxSTWv"}',
        b'\x80\x04{"service":1,"service":2}',
        b'\x80\x04{"verificationMethod":[{"id":"#a","publicKeyHex":7}]}',
    ],
)
async def test_sec_e14_a_did_peer_4_that_holds_no_document_is_refused(held: bytes) -> None:
    with pytest.raises(BadMessageError):
        await resolve(peer4(held))


async def test_what_is_refused_above_is_not_refused_for_its_hash() -> None:
    assert (await resolve(peer4(b"\x80\x04{}"))).service == ()


@pytest.mark.parametrize(
    "services",
    [
        7,
        ["x"],
        [{"t": "dm"}],
        [{"t": "dm", "s": 7}],
        [{"t": "dm", "s": "x" * 2049}],
        [{"t": "dm", "s": URL, "type": "dm"}],
        [{"t": "dm", "s": URL}] * (MAX_ITEMS + 1),
    ],
)
async def test_sec_e14_a_did_peer_2_with_bad_services_is_refused(services: object) -> None:
    did = f"did:peer:2.V{multikey(Codec.ED25519, raw_key(KEY))}.S{b64(services)}"
    with pytest.raises(BadMessageError):
        await reach(did)


async def test_sec_e14_a_did_peer_2_swollen_with_services_is_refused() -> None:
    key = f"did:peer:2.V{multikey(Codec.ED25519, raw_key(KEY))}"
    one = f".S{b64({'t': 'dm', 's': URL})}"
    await resolve(key + one * MAX_ITEMS)
    with pytest.raises(BadMessageError):
        await resolve(key + one * (MAX_ITEMS + 1))
    with pytest.raises(BadMessageError):
        read_did(f"{key}.S{'A' * MAX_DID}")


async def test_sec_e14_a_did_peer_2_key_of_another_codec_is_no_recipient() -> None:
    exchange = multikey(Codec.X25519, exchange_key(KEY).get_public_bytes())
    entry = b64({"t": "did-communication", "s": URL, "recipientKeys": ["#key-1"]})
    with pytest.raises(BadMessageError):
        await reach(f"did:peer:2.V{exchange}.S{entry}")


# resolving


async def test_ledger_dids_are_asked_of_the_ledger_and_short_peer_dids_of_what_is_known() -> (
    None
):
    asked: list[str] = []

    async def ledger(did: Did) -> Found | None:
        asked.append(f"ledger {did}")
        return Found(read_document({"id": did}), "did:indy:x:WgWxqztrNooG92RXvxSTWv")

    resolver = Resolver(ledger)
    ours = [
        "did:sov:WgWxqztrNooG92RXvxSTWv",
        "did:indy:x:WgWxqztrNooG92RXvxSTWv",
        "WgWxqztrNooG92RXvxSTWv",
    ]
    for did in [*ours, CREDO_PEER_4, CREDO_PEER_2, did_key(KEY)]:
        assert (await resolver.resolve(did)).document.id == did
    for did in [PEER_3, PEER_1_DOCUMENT["id"], short_form(Did(CREDO_PEER_4))]:
        with pytest.raises(RefusedError):
            await resolver.resolve(did)
    assert asked == [f"ledger {did}" for did in ours]


@pytest.mark.parametrize(
    "did", ["did:sov:WgWxqztrNooG92RXvxSTWv", PEER_3, "did:web:example.com"]
)
async def test_a_did_that_nobody_can_resolve_is_refused_with_a_reason(did: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await resolve(did)
    assert caught.value.code.startswith("e.p.did.un")


async def test_a_did_is_compared_in_one_spelling() -> None:
    for did in (CREDO_PEER_4, CREDO_PEER_2):
        assert (await LOCAL.resolve(did)).known_as == short_form(Did(did))
    assert (await LOCAL.resolve(did_key(KEY))).known_as == did_key(KEY)


async def test_a_did_key_resolves_to_its_key() -> None:
    found = await resolve(did_key(KEY))
    assert found.verkey(did_key_url(KEY)) == KEY
    with pytest.raises(BadMessageError):
        await resolve("did:key:z" + base58_key(b"\xe7\x01" + bytes(33)))
