"""DID documents: of the services and keys in them the first that can be used counts."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from agent.paper import Paper

from keep_agent.core.message import Json
from keep_agent.errors import BadMessageError, PeerError
from keep_agent.identity import did_documents
from keep_agent.identity.did_documents import (
    NO_ENDPOINT,
    DidDocument,
    Service,
    inline_service,
    read_document,
)
from keep_agent.identity.keys import (
    Codec,
    base58_key,
    did_key,
    did_key_url,
    multikey,
    raw_key,
)
from keep_agent.protocols import did_exchange

FIELD = Path(__file__).with_name("field_documents.jsonl")
"""DIDs and documents in requests of other agents, after public reports of what was refused."""
KEY = "GJ1SzoWzavQYfNL9XkaJdrQejfztN4XqdsiV4ct3LXKL"
OTHER = "8HH5gYEeNc3z7PYXmd54d4x6qAfCNrqQqEB3nS7Zfu7K"
URL = "https://example.com/didcomm"


def document(**members: Any) -> DidDocument:
    return read_document({"id": "did:sov:WgWxqztrNooG92RXvxSTWv"} | members)


def method(**members: Any) -> Json:
    return {"id": "#key-1", "type": "Multikey", "controller": "#id"} | members


def service(**members: Any) -> Json:
    entry = {"id": "#s", "type": "did-communication", "serviceEndpoint": URL}
    return entry | {"recipientKeys": [KEY]} | members


# what a document says


def test_the_form_that_aca_py_writes_is_read() -> None:
    found = document(
        verificationMethod=[
            method(id="#key-0", publicKeyMultibase=multikey(Codec.ED25519, raw_key(KEY)))
        ],
        authentication=["#key-0"],
        keyAgreement=["#key-0"],
        service=[service(recipientKeys=["#key-0"], routingKeys=[did_key(OTHER)], priority=0)],
    )
    assert found.didcomm == Service(URL, (KEY,), (OTHER,))


@pytest.mark.parametrize(
    "key",
    [
        {"type": "Ed25519VerificationKey2018", "publicKeyBase58": KEY},
        {
            "type": "Ed25519VerificationKey2020",
            "publicKeyMultibase": multikey(Codec.ED25519, raw_key(KEY)),
        },
        {"type": "Multikey", "publicKeyMultibase": multikey(Codec.ED25519, raw_key(KEY))},
        {
            "type": "JsonWebKey2020",
            "publicKeyJwk": {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": base64.urlsafe_b64encode(raw_key(KEY)).decode().rstrip("="),
            },
        },
    ],
)
@pytest.mark.parametrize(
    "place", ["verificationMethod", "publicKey", "authentication", "keyAgreement"]
)
def test_a_key_is_found_however_and_wherever_it_is_written(key: Json, place: str) -> None:
    found = document(**{place: [method(**key)]}, service=[service(recipientKeys=["#key-1"])])
    assert found.didcomm.recipient_keys == (KEY,)
    assert found.verkey("did:sov:WgWxqztrNooG92RXvxSTWv#key-1") == KEY


@pytest.mark.parametrize(
    "key",
    [
        {},
        {"type": "Ed25519VerificationKey2018"},
        {"type": "Ed25519VerificationKey2018", "publicKeyBase58": "x"},
        {"type": "X25519KeyAgreementKey2019", "publicKeyBase58": KEY},
        {
            "type": "X25519KeyAgreementKey2020",
            "publicKeyMultibase": multikey(Codec.ED25519, raw_key(KEY)),
        },
        {
            "type": "Ed25519VerificationKey2020",
            "publicKeyMultibase": multikey(Codec.X25519, raw_key(KEY)),
        },
        {"type": "Ed25519VerificationKey2020", "publicKeyMultibase": "z" + KEY},
        {"type": "EcdsaSecp256k1VerificationKey2019", "publicKeyBase58": KEY},
        {
            "type": "JsonWebKey2020",
            "publicKeyJwk": {"kty": "OKP", "crv": "X25519", "x": "AAAA"},
        },
        {
            "type": "JsonWebKey2020",
            "publicKeyJwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
        },
        {"type": "JsonWebKey2020", "publicKeyJwk": {"kty": "OKP", "crv": "Ed25519", "x": 7}},
    ],
)
def test_sec_e14_a_key_that_is_not_what_it_says_is_no_recipient(key: Json) -> None:
    found = document(
        verificationMethod=[method(**key)], service=[service(recipientKeys=["#key-1"])]
    )
    with pytest.raises(BadMessageError):
        _ = found.didcomm


@pytest.mark.parametrize(
    "reference", ["#key-2", "did:sov:AXPiMgtYofy6KpuQLiMd42#key-1", "", "#", "key-1"]
)
def test_a_reference_out_of_the_document_is_refused(reference: str) -> None:
    key = method(type="Ed25519VerificationKey2018", publicKeyBase58=KEY)
    found = document(verificationMethod=[key], service=[service(routingKeys=[reference])])
    with pytest.raises(BadMessageError):
        _ = found.didcomm


def test_what_was_made_for_v1_comes_first_then_the_lowest_priority() -> None:
    found = document(
        service=[
            service(type="DIDCommMessaging", serviceEndpoint="https://a", priority=-1),
            service(type="LinkedDomains", serviceEndpoint=["https://b"]),
            service(serviceEndpoint="https://c", priority=2),
            service(type="IndyAgent", serviceEndpoint="https://d", priority=1),
        ]
    )
    assert found.didcomm.endpoint == "https://d"


@pytest.mark.parametrize(
    ("accept", "speaks"),
    [
        (None, True),
        ([], True),
        (["didcomm/v2"], False),
        (["didcomm/v2", "didcomm/aip1"], True),
        (["didcomm/aip2;env=rfc19"], True),
        (["didcomm/aip2;env=rfc587"], False),
    ],
)
def test_a_service_says_by_accept_whether_it_speaks_v1(accept: object, speaks: bool) -> None:  # noqa: FBT001
    for entry in (
        service(accept=accept),
        service(serviceEndpoint=[{"uri": URL, "accept": accept}]),
    ):
        if speaks:
            assert inline_service(entry) == Service(URL, (KEY,))
        else:
            with pytest.raises(BadMessageError):
                inline_service(entry)


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "x",
        [],
        {},
        {"type": "x"},
        {"type": "did-communication"},
        service(recipientKeys=[]),
    ],
)
def test_what_is_no_service_is_refused(value: object) -> None:
    with pytest.raises(BadMessageError):
        inline_service(value)


@pytest.mark.parametrize(
    "value", [None, 7, "x", [], {}, {"id": 7}, {"id": "x", "service": [service()] * 33}]
)
def test_what_is_no_document_is_refused(value: object) -> None:
    with pytest.raises(BadMessageError):
        read_document(value)


# services: the first that can be used, by priority


@pytest.mark.parametrize(
    "first",
    [
        {"serviceEndpoint": "ws://a.example"},
        {"serviceEndpoint": "wss://a.example", "priority": None},
        {"serviceEndpoint": NO_ENDPOINT},
        {"serviceEndpoint": "a.example"},
        {"serviceEndpoint": "http://"},
        {"serviceEndpoint": "https://a.example/a b"},
        {"serviceEndpoint": "https://a.example\\b"},
        {"serviceEndpoint": "https://[x"},
        {"serviceEndpoint": None},
        {"serviceEndpoint": []},
        {"serviceEndpoint": [7, {"origins": ["https://a.example"]}]},
        {"serviceEndpoint": "https://a.example/" + 2048 * "x"},
        {"serviceEndpoint": "https://a.example", "accept": ["didcomm/v2"]},
        {"serviceEndpoint": "https://a.example", "recipientKeys": ["#nowhere"]},
        {"serviceEndpoint": "https://a.example", "recipientKeys": [7]},
        {"serviceEndpoint": "https://a.example", "routingKeys": ["did:example:m#key"]},
        {"serviceEndpoint": "https://a.example", "type": "LinkedDomains"},
        {"serviceEndpoint": "https://a.example", "type": None},
        {"serviceEndpoint": "https://a.example", "type": {"did": "communication"}},
    ],
)
def test_a_service_that_cannot_be_used_is_passed_over(first: Json) -> None:
    for entries in ([service(**first), service()], [service(), service(**first)]):
        assert document(service=entries).didcomm == Service(URL, (KEY,))


@pytest.mark.parametrize("value", [None, "high", [], {}])
def test_a_priority_that_is_no_number_is_the_highest(value: object) -> None:
    later = service(serviceEndpoint="https://a.example", priority=1)
    found = document(service=[later, service(priority=value)])
    assert found.didcomm.endpoint == URL


def test_equal_priorities_keep_their_order() -> None:
    later = service(serviceEndpoint="https://a.example", priority=1)
    assert document(service=[service(priority=1), later]).didcomm.endpoint == URL


def test_a_type_may_be_one_of_several() -> None:
    entry = service(type=["LinkedDomains", "did-communication"])
    assert inline_service(entry) == Service(URL, (KEY,))


@pytest.mark.parametrize("url", [f" {URL}", f"{URL}\r\n", {"uri": f"{URL} "}])
def test_blanks_around_an_endpoint_do_not_count(url: object) -> None:
    assert inline_service(service(serviceEndpoint=url)) == Service(URL, (KEY,))


def test_of_several_endpoints_of_a_service_the_first_usable_counts() -> None:
    spoken = {"uri": URL, "accept": ["didcomm/aip1"], "routingKeys": [did_key(OTHER)]}
    several = ["ws://a.example", {"uri": "https://a.example", "accept": ["didcomm/v2"]}, spoken]
    entry = service(serviceEndpoint=several)
    assert inline_service(entry) == Service(URL, (KEY,), (OTHER,))


@pytest.mark.parametrize("key", [OTHER, did_key(OTHER), did_key_url(OTHER), "#routing"])
def test_a_routing_key_may_be_written_in_any_way(key: str) -> None:
    held = method(id="#routing", type="Ed25519VerificationKey2018", publicKeyBase58=OTHER)
    found = document(verificationMethod=[held], service=[service(routingKeys=[key])])
    assert found.didcomm.routing_keys == (OTHER,)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (service(serviceEndpoint="ws://a.example"), "not an http or https URL"),
        (service(accept=["didcomm/v2"]), "does not accept DIDComm v1"),
        (service(serviceEndpoint=None), "serviceEndpoint"),
        (service(recipientKeys=["#nowhere"]), "names no key of the document"),
        (service(type="LinkedDomains"), "no service for DIDComm v1"),
    ],
)
def test_the_refusal_says_what_is_wrong_with_the_first_service(entry: Json, words: str) -> None:
    with pytest.raises(BadMessageError, match=words):
        _ = document(service=[entry, service(type="Other")]).didcomm


def test_an_agent_that_fetches_its_messages_is_known_by_its_endpoint() -> None:
    assert inline_service(service(serviceEndpoint=NO_ENDPOINT)).endpoint == NO_ENDPOINT


@pytest.mark.parametrize("name", ["did:sov:WgWxqztrNooG92RXvxSTWv", "WgWxqztrNooG92RXvxSTWv"])
@pytest.mark.parametrize("prefix", ["", "did:sov:"])
def test_a_did_is_written_with_and_without_its_method(name: str, prefix: str) -> None:
    held = method(
        id=f"{name}#1", type="Ed25519VerificationKey2018", publicKeyHex=raw_key(KEY).hex()
    )
    reference = f"{prefix}WgWxqztrNooG92RXvxSTWv#1"
    found = document(publicKey=[held], service=[service(recipientKeys=[reference])])
    assert found.didcomm.recipient_keys == (KEY,)


def test_a_reference_that_spells_a_key_out_means_no_other_key() -> None:
    spelt = multikey(Codec.ED25519, raw_key(KEY))
    found = document(verificationMethod=[method(publicKeyMultibase=spelt)])
    for fragment in (spelt, spelt[1:]):
        assert found.verkey(f"#{fragment}") == KEY
    other = multikey(Codec.ED25519, raw_key(OTHER))[1:]
    with pytest.raises(BadMessageError):
        found.verkey(f"#{other}")


# what other agents sent

CASES: dict[str, Json] = {
    row["case"]: row for row in map(json.loads, FIELD.read_text("utf-8").splitlines())
}
TAKEN = {
    "doc-02-go-agent-two-keys-zero-time": "AmMDG6SRbjg5DiD9cqPZVkiJcP4NmbsQKPPE295aPGFv",
    "doc-03-http-then-ws": "8mTNXimMYizimSokxD2wmZnGyimJJoo1j3g5TyFkEUme",
    "doc-05-publicKeyHex": "BANb1G7WoUv8T4qVeFgUAuSn4KCW5iBBGDorsgwGzyoq",
    "doc-06-extra-services": "DNWDh8ojawL1RUiDGosaz5gRZDgkFpRpbHKC2YbhDD3J",
    "doc-08-lists-null": "8Ze5yzjBBpohtMpGXhffeq7bePVsFh6sgNQWaqBcwMpf",
    "doc-09-alsoKnownAs-and-controller-lists": "FtLazBuSkHaXSnUqZRkhQwyBFsx8zkvPEorguwGRRVFQ",
    "doc-11-no-unprotected-header": "7cQkS9523dZDLak3cUPiVnp5CmkWXa25m2QwmdJbZCtF",
    "doc-12-kid-but-no-jwk": "81Ukwo9sTHs2H15sawTwPjeMqdLUcHmwWn7HHDnGsjME",
    "doc-14-peer2-list-of-services": "8AWrGVyWw5y8maoFovnHpQh5Hu4uxW5HXAaP2DEe9TBZ",
    "doc-15-peer2-old-key-reference-6Mk": "FQYCiN2xarq1NXj1SEZ5hbb4t5GSRgFg8rAdMmK2f7t2",
    "doc-17-peer2-E-before-V-key-2-four-services": "GsuN8qqHh7JFw1ibp94DRA5K6BqcNpc97t9aWvCRkou2",
    "doc-18-peer2-ws-before-http": "B8qNhHrd2LwQWhXyAgK7qTH4jfes2oC7nRuWQpPMenjv",
    "doc-20-request-thread-without-thid": "Ejxov8eBf41A5VLh7uxWzH3Sp3YDhxc7rC7XtpxH1EUN",
    "doc-23-routing-key-did-key": "CoDZEFf8vMMvseYs6skx5xYtyex5oYenNvXR4MnjnZw9",
    "doc-24-peer2-recipient-did-key-url": "HYzgJ4mnvntHkUEscmiMrBDjvm9DYwsr51FxaynRrsxA",
}
"""The key of each document: that of its sender."""


async def test_a_did_peer_1_of_another_document_is_refused_in_words() -> None:
    """The only case that is not taken: its sender did not hash what it sent."""
    (name,) = set(CASES) - set(TAKEN)
    row = CASES[name]
    with pytest.raises(PeerError, match="not the hash of its document"):
        await Paper("faber").port.reach(row["did"], row["document"])


@pytest.mark.parametrize("case", TAKEN)
async def test_a_document_of_the_field_says_how_to_reach_its_sender(case: str) -> None:
    row = CASES[case]
    address = await Paper("faber").port.reach(row["did"], row["document"])
    assert address.recipients == (TAKEN[case],)
    assert address.endpoint is not None
    assert address.endpoint.startswith("http://127.0.0.1:")
    assert len(address.routing) == (case == "doc-23-routing-key-did-key")


@pytest.mark.parametrize("case", [each for each in TAKEN if not CASES[each]["document"]])
async def test_a_request_of_the_field_is_taken_and_answered(case: str) -> None:
    faber = Paper("faber")
    invitation = await faber.invite()
    body: Json = {"@id": "theirs", "did": CASES[case]["did"], "~thread": {}}
    request = did_exchange.Request.model_validate({"@type": did_exchange.Request.TYPE} | body)
    x = faber.new(
        did_exchange.PROTOCOL, did_exchange.Side.RESPONDER, invitation["@id"], "theirs"
    )
    via = faber.via(TAKEN[case], invitation["@id"])
    x, _ = await faber.run(did_exchange.PROTOCOL, x, request, via)
    x, step = await faber.run(did_exchange.PROTOCOL, x, did_exchange.SendResponse())
    assert [type(sent) for sent in step.send] == [did_exchange.Response]
    assert str(faber.connection(x.id).endpoint).startswith("http://127.0.0.1:")


@pytest.mark.parametrize("ends", [[], ["#no-such-key"]])
def test_sec_r_01_each_key_of_a_document_is_decoded_once(
    monkeypatch: pytest.MonkeyPatch, ends: list[str]
) -> None:
    """32 services with 32 endpoints of 64 keys each, in 33 KB, took two seconds."""
    decoded: list[bytes] = []

    def counted(raw: bytes) -> str:
        decoded.append(raw)
        return base58_key(raw)

    monkeypatch.setattr(did_documents, "base58_key", counted)
    key = {
        "id": "#1",
        "type": "Multikey",
        "publicKeyMultibase": multikey(Codec.ED25519, raw_key(KEY)),
    }
    service: Json = {
        "type": "did-communication",
        "serviceEndpoint": ["http://peer.example"] * 32,
        "recipientKeys": ["#1"] * 32,
        "routingKeys": ["#1"] * 31 + ends,
    }
    whole = {"id": "did:sov:x", "verificationMethod": [key], "service": [service] * 32}
    if ends:
        with pytest.raises(BadMessageError, match="names no key"):
            read_document(whole).didcomm  # noqa: B018
    else:
        assert read_document(whole).didcomm.recipient_keys == (KEY,)
    assert len(decoded) == 1
