"""Envelopes: what indy-sdk made opens, what we make has its shape, nothing else gets through."""

import asyncio
import base64
import json
import threading
from collections.abc import Coroutine
from typing import Any, cast

import pytest
from aries_askar import Key, KeyAlg, crypto_box
from hypothesis import given, settings
from hypothesis import strategies as st

from keep_agent.core.message import LARGE, MAX_DIGITS, MAX_MESSAGE, Json, Received
from keep_agent.didcomm import envelope
from keep_agent.didcomm.envelope import (
    MAX_FORWARDS,
    MAX_HOPS,
    MAX_ITEMS,
    MAX_PACKED,
    MAX_RECIPIENTS,
    NotForUsError,
    pack,
    seal,
    sealed_size,
    unpack,
)
from keep_agent.errors import (
    TOO_LONG,
    BadEnvelopeError,
    BadMessageError,
    RefusedError,
    UnavailableError,
)
from keep_agent.identity.keys import LocalKey, NewKey, base58_key, did_key, did_key_url

RFC_AUTHCRYPT = {
    "protected": (
        "eyJlbmMiOiJ4Y2hhY2hhMjBwb2x5MTMwNV9pZXRmIiwidHlwIjoiSldNLzEuMCIsImFsZyI6IkF1dGhj"
        "cnlwdCIsInJlY2lwaWVudHMiOlt7ImVuY3J5cHRlZF9rZXkiOiJMNVhEaEgxNVBtX3ZIeFNlcmFZOGVP"
        "VEc2UmZjRTJOUTNFVGVWQy03RWlEWnl6cFJKZDhGVzBhNnFlNEpmdUF6IiwiaGVhZGVyIjp7ImtpZCI6"
        "IkdKMVN6b1d6YXZRWWZOTDlYa2FKZHJRZWpmenRONFhxZHNpVjRjdDNMWEtMIiwiaXYiOiJhOEltaW5z"
        "dFhIaTU0X0otSmU1SVdsT2NOZ1N3RDlUQiIsInNlbmRlciI6ImZ0aW13aWlZUkc3clJRYlhnSjEzQzVh"
        "VEVRSXJzV0RJX2JzeERxaVdiVGxWU0tQbXc2NDE4dnozSG1NbGVsTThBdVNpS2xhTENtUkRJNHNERlNn"
        "WkljQVZYbzEzNFY4bzhsRm9WMUJkREk3ZmRLT1p6ckticUNpeEtKaz0ifX0seyJlbmNyeXB0ZWRfa2V5"
        "IjoiZUFNaUQ2R0RtT3R6UkVoSS1UVjA1X1JoaXBweThqd09BdTVELTJJZFZPSmdJOC1ON1FOU3VsWXlD"
        "b1dpRTE2WSIsImhlYWRlciI6eyJraWQiOiJIS1RBaVlNOGNFMmtLQzlLYU5NWkxZajRHUzh1V0NZTUJ4"
        "UDJpMVk5Mnp1bSIsIml2IjoiRDR0TnRIZDJyczY1RUdfQTRHQi1vMC05QmdMeERNZkgiLCJzZW5kZXIi"
        "OiJzSjdwaXU0VUR1TF9vMnBYYi1KX0pBcHhzYUZyeGlUbWdwWmpsdFdqWUZUVWlyNGI4TVdtRGR0enAw"
        "T25UZUhMSzltRnJoSDRHVkExd1Z0bm9rVUtvZ0NkTldIc2NhclFzY1FDUlBaREtyVzZib2Z0d0g4X0VZ"
        "R1RMMFE9In19XX0="
    ),
    "iv": "ZqOrBZiA-RdFMhy2",
    "ciphertext": (
        "K7KxkeYGtQpbi-gNuLObS8w724mIDP7IyGV_aN5AscnGumFd-SvBhW2WRIcOyHQmYa-wJX0MSGOJgc8F"
        "Yw5UOQgtPAIMbSwVgq-8rF2hIniZMgdQBKxT_jGZS06kSHDy9UEYcDOswtoLgLp8YPU7HmScKHSpwYY3"
        "vPZQzgSS_n7Oa3o_jYiRKZF0Gemamue0e2iJ9xQIOPodsxLXxkPrvvdEIM0fJFrpbeuiKpMk"
    ),
    "tag": "kAuPl8mwb0FFVyip1omEhQ==",
}
RFC_ANONCRYPT = {
    "protected": (
        "eyJlbmMiOiJ4Y2hhY2hhMjBwb2x5MTMwNV9pZXRmIiwidHlwIjoiSldNLzEuMCIsImFsZyI6IkFub25j"
        "cnlwdCIsInJlY2lwaWVudHMiOlt7ImVuY3J5cHRlZF9rZXkiOiJYQ044VjU3UTF0Z2F1TFcxemdqMVdR"
        "WlEwV0RWMFF3eUVaRk5Od0Y2RG1pSTQ5Q0s1czU4ZHNWMGRfTlpLLVNNTnFlMGlGWGdYRnZIcG9jOGt1"
        "VmlTTV9LNWxycGJNU3RqN0NSUHNrdmJTOD0iLCJoZWFkZXIiOnsia2lkIjoiR0oxU3pvV3phdlFZZk5M"
        "OVhrYUpkclFlamZ6dE40WHFkc2lWNGN0M0xYS0wifX0seyJlbmNyeXB0ZWRfa2V5IjoiaG5PZUwwWTl4"
        "T3ZjeTVvRmd0ZDFSVm05ZDczLTB1R1dOSkN0RzRsS3N3dlljV3pTbkRsaGJidmppSFVDWDVtTU5ZdWxp"
        "bGdDTUZRdmt2clJEbkpJM0U2WmpPMXFSWnVDUXY0eVQtdzZvaUE9IiwiaGVhZGVyIjp7ImtpZCI6IjJH"
        "WG11Q04ySkN4U3FNUlZmdEJITHhWSktTTDViWHl6TThEc1B6R3FRb05qIn19XX0="
    ),
    "iv": "M1GneQLepxfDbios",
    "ciphertext": (
        "iOLSKIxqn_kCZ7Xo7iKQ9rjM4DYqWIM16_vUeb1XDsmFTKjmvjR0u2mWFA48ovX5yVtUd9YKx86rDVDL"
        "s1xgz91Q4VLt9dHMOfzqv5DwmAFbbc9Q5wHhFwBvutUx5-lDZJFzoMQHlSAGFSBrvuApDXXt8fs96IJv"
        "3PsL145Qt27WLu05nxhkzUZz8lXfERHwAC8FYAjfvN8Fy2UwXTVdHqAOyI5fdKqfvykGs6fV"
    ),
    "tag": "gL-lfmD-MnNj9Pr6TfzgLA==",
}


class Ring:
    """A tenant's keys, counting look-ups."""

    def __init__(self, *keys: LocalKey) -> None:
        self.keys = {key.verkey: key for key in keys}
        self.asked = 0

    async def find(self, verkey: str) -> LocalKey | None:
        self.asked += 1
        return self.keys.get(verkey)


def local(seed: bytes | None = None) -> LocalKey:
    new = NewKey.generate({}, seed)
    return LocalKey.of(new.verkey, new.key, {})


FABER = local(b"000000000000000000000000Trustee1")
ALICE = local(b"alice".ljust(32))
MEDIATOR = local(b"mediator".ljust(32))
PING = {"@type": "https://didcomm.org/trust_ping/1.0/ping", "@id": "1", "comment": "Grüße"}
PLAIN = json.dumps(PING).encode()


def run(work: Coroutine[Any, Any, Received]) -> Received:
    """Finish a coroutine: one that never waits, or one that waits for a thread."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def opened(packed: bytes, *keys: LocalKey) -> Received:
    return run(unpack(packed, Ring(*(keys or (FABER,))).find))


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def box(secret: bytes, sender: LocalKey = ALICE, claimed: str | None = None) -> Json:
    """An authcrypt recipient entry for Faber, from the primitives alone."""
    nonce = crypto_box.random_nonce()
    name = sender.verkey if claimed is None else claimed
    return {
        "encrypted_key": encode(
            crypto_box.crypto_box(FABER.exchange, sender.exchange, secret, nonce)
        ),
        "header": {
            "kid": FABER.verkey,
            "sender": encode(crypto_box.crypto_box_seal(FABER.exchange, name.encode())),
            "iv": encode(nonce),
        },
    }


def anonymous(secret: bytes) -> Json:
    sealed = crypto_box.crypto_box_seal(FABER.exchange, secret)
    return {"encrypted_key": encode(sealed), "header": {"kid": FABER.verkey}}


def with_header(recipient: Json, **more: object) -> Json:
    return {**recipient, "header": {**recipient["header"], **more}}


SECRET = bytes(range(32))


def craft(
    plain: bytes = PLAIN, *, recipients: object = None, remove: str = "", **header: object
) -> Json:
    """An envelope whose encryption is right, whatever its protected header says."""
    members: Json = {"enc": "xchacha20poly1305_ietf", "typ": "JWM/1.0", "alg": "Authcrypt"}
    members |= {"recipients": [box(SECRET)] if recipients is None else recipients} | header
    members.pop(remove, None)
    protected = encode(json.dumps(members).encode())
    cek = Key.from_secret_bytes(KeyAlg.C20P, SECRET)
    ciphertext, tag, nonce = cek.aead_encrypt(plain, aad=protected.encode()).parts
    parts = {"iv": nonce, "ciphertext": ciphertext, "tag": tag}
    return {"protected": protected} | {name: encode(raw) for name, raw in parts.items()}


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


def refused(packed: bytes, *keys: LocalKey) -> None:
    with pytest.raises(BadEnvelopeError):
        opened(packed, *keys)


# interoperability


def test_an_authcrypted_message_of_indy_sdk_opens() -> None:
    received = opened(dump(RFC_AUTHCRYPT))
    assert received.body["content"] == "Your hovercraft is full of eels."
    assert received.sender == "DWwLsbKCRAbYtfYnQNmzfKV7ofVhMBi6T4o3d2SCxVuX"
    assert received.recipient == FABER.verkey


def test_an_anoncrypted_message_of_indy_sdk_opens() -> None:
    received = opened(dump(RFC_ANONCRYPT))
    assert received.body["content"] == "Your hovercraft is full of eels."
    assert received.sender is None


def test_ours_is_written_in_the_order_of_the_rfc() -> None:
    for sender, example in ((ALICE, RFC_AUTHCRYPT), (None, RFC_ANONCRYPT)):
        ours = json.loads(pack(PLAIN, [FABER.verkey], sender))
        assert list(ours) == list(example)
        header, theirs = (json.loads(decode(e["protected"])) for e in (ours, example))
        assert list(header) == list(theirs)
        assert {k: v for k, v in header.items() if k != "recipients"} == {
            k: v for k, v in theirs.items() if k != "recipients"
        }
        (mine,), (first, _) = header["recipients"], theirs["recipients"]
        assert list(mine) == list(first)
        assert set(mine["header"]) == set(first["header"])
        for name in ("iv", "tag"):
            assert len(ours[name]) == len(example[name])


def test_padding_may_be_left_out_as_credo_does() -> None:
    envelope = craft(recipients=[json.loads(dump(box(SECRET)).replace(b"=", b""))])
    bare = {name: text.rstrip("=") for name, text in envelope.items() if name != "protected"}
    assert opened(dump(envelope | bare)).body == PING


def test_every_recipient_can_open_it() -> None:
    packed = pack(PLAIN, [ALICE.verkey, FABER.verkey, ALICE.verkey], MEDIATOR)
    for key in (ALICE, FABER):
        assert opened(packed, key) == Received(PING, MEDIATOR.verkey, key.verkey)


def test_two_packings_share_nothing() -> None:
    first, second = (json.loads(pack(PLAIN, [FABER.verkey], ALICE)) for _ in range(2))
    assert all(first[name] != second[name] for name in first)


@pytest.mark.parametrize("to", [[], ["x"], [base58_key(bytes(32))]])
def test_nothing_is_packed_for_a_key_that_is_none(to: list[str]) -> None:
    with pytest.raises(BadMessageError):
        seal(PLAIN, to, ALICE, [])


# SEC-E04: strict parsing


WRONG_HEADERS: list[Json] = [
    {"alg": "none"},
    {"alg": "authcrypt"},
    {"alg": None},
    {"alg": "Anoncrypt"},
    {"enc": "XC20P"},
    {"enc": ["xchacha20poly1305_ietf"]},
    {"typ": "JWM/2.0"},
    {"crit": ["exp"]},
    {"remove": "alg"},
    {"remove": "enc"},
    {"remove": "typ"},
    {"remove": "recipients"},
    {"recipients": []},
    {"recipients": {}},
    {"recipients": [[]]},
    {"recipients": ["x"]},
    {"recipients": [{"header": {}}]},
    {"recipients": [{"header": {"kid": "x"}}]},
    {"recipients": [{"header": {"kid": FABER.verkey}}]},
    {"recipients": [anonymous(SECRET)]},
    {"recipients": [box(SECRET), box(SECRET)]},
    {"recipients": [box(SECRET, claimed="")]},
    {"recipients": [box(SECRET, claimed=FABER.verkey)]},
    {"recipients": [box(SECRET, claimed=ALICE.verkey + " ")]},
    {"recipients": [box(SECRET, claimed="ÿ" * 22)]},
    {"recipients": [box(SECRET, claimed=base58_key(bytes(32)))]},
    {"recipients": [box(SECRET[:31])]},
    {"recipients": [box(bytes(32))]},
]


@pytest.mark.parametrize("change", WRONG_HEADERS)
def test_sec_e04_a_wrong_header_is_refused(change: dict[str, Any]) -> None:
    refused(dump(craft(**change)))


def test_what_is_refused_above_opens_without_the_change() -> None:
    assert opened(dump(craft())) == Received(PING, ALICE.verkey, FABER.verkey)
    anoncrypt = craft(alg="Anoncrypt", recipients=[anonymous(SECRET)])
    assert opened(dump(anoncrypt)).sender is None


def test_sec_e04_anoncrypt_with_a_sender_is_refused() -> None:
    recipient = anonymous(SECRET)
    recipient["header"]["sender"] = box(SECRET)["header"]["sender"]
    refused(dump(craft(alg="Anoncrypt", recipients=[recipient])))


@pytest.mark.parametrize("name", ["encrypted_key", "iv", "sender"])
@pytest.mark.parametrize("change", ["", "AA==", "!", None, 7, []])
def test_sec_e04_a_wrong_part_of_a_recipient_is_refused(name: str, change: object) -> None:
    recipient = box(SECRET)
    (recipient if name in recipient else recipient["header"])[name] = change
    refused(dump(craft(recipients=[recipient])))


@pytest.mark.parametrize("name", ["protected", "iv", "ciphertext", "tag"])
def test_sec_e04_a_missing_or_wrong_member_is_refused(name: str) -> None:
    whole = craft()
    refused(dump({k: v for k, v in whole.items() if k != name}))
    changes: list[object] = ["", "AAAA", None, 7, [], {}, whole[name] + "AAAA", "ü", "AA\ud800"]
    for change in changes:
        refused(dump(whole | {name: change}))


def test_sec_e04_a_member_that_changes_what_others_mean_is_refused() -> None:
    refused(dump(craft(zip="DEF")))
    refused(dump(craft(crit=["exp"])))
    for name in ("aad", "unprotected", "recipients", "extra"):
        refused(dump(craft() | {name: "AAAA"}))


# what other stacks write


FIELD_HEADERS: dict[str, Json] = {
    "the cipher by its right name": {"enc": "chacha20poly1305_ietf"},
    "a content type": {"cty": "application/json"},
    "nulls": {"cty": None, "zip": None, "crit": None},
    "more of a recipient": {"recipients": [box(SECRET) | {"extra": "x"}]},
    "more of its header": {"recipients": [with_header(box(SECRET), epk=None)]},
}


@pytest.mark.parametrize("how", FIELD_HEADERS)
def test_what_opens_as_an_envelope_is_one(how: str) -> None:
    whole = craft(**FIELD_HEADERS[how])
    assert opened(dump(whole)) == Received(PING, ALICE.verkey, FABER.verkey)
    assert opened(dump({**whole, "unprotected": None, "aad": None})).body == PING
    assert opened(json.dumps(whole, indent=2).encode()).sender == ALICE.verkey


@pytest.mark.parametrize("more", [{}, {"sender": None, "iv": None}, {"sender": None, "x": 1}])
@pytest.mark.parametrize("form", [json.loads, bytes.decode, encode])
def test_an_anonymous_envelope_may_say_that_it_has_no_sender(more: Json, form: Any) -> None:
    recipient = with_header(anonymous(SECRET), **more)
    packed = dump(craft(alg="Anoncrypt", recipients=[recipient]))
    assert opened(packed) == Received(PING, None, FABER.verkey)
    mediated = forward(FABER.verkey, form(packed))
    assert opened(mediated, FABER, MEDIATOR) == Received(PING, None, FABER.verkey)


@pytest.mark.parametrize("name", ["protected", "iv", "ciphertext", "tag"])
def test_sec_e04_base64url_has_to_be_canonical(name: str) -> None:
    whole = craft(PLAIN.ljust(50))
    text = whole[name].rstrip("=")
    for change in (
        " " + text,
        text + "\n",
        text[:4] + " " + text[4:],
        text + "===",
        "=" + text,
        "+/" + text[2:],
    ):
        refused(dump(whole | {name: change}))


def test_sec_e04_stray_bits_at_the_end_of_base64url_are_refused() -> None:
    whole = craft()
    tag = whole["tag"].rstrip("=")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    stray = tag[:-1] + letters[letters.index(tag[-1]) + 1]
    assert decode(stray) == decode(tag)
    refused(dump(whole | {"tag": stray}))


def test_sec_e04_ten_thousand_recipients_are_refused_unread() -> None:
    ring = Ring(FABER)
    others = [{"header": {"kid": base58_key(n.to_bytes(32))}} for n in range(10_000)]
    for recipients in (others, [*others[:MAX_RECIPIENTS], box(SECRET)]):
        with pytest.raises(BadEnvelopeError):
            run(unpack(dump(craft(recipients=recipients)), ring.find))
    assert ring.asked == 0


def test_sec_e04_duplicate_keys_are_refused() -> None:
    packed = dump(craft())
    refused(packed.replace(b'"tag"', b'"tag": "", "tag"'))


@pytest.mark.parametrize(
    "packed", [b"", b"null", b"[]", b"{}", b"{", b"\xff", b"\xef\xbb\xbf{}", b'"x"', b"1"]
)
def test_sec_e04_what_is_no_envelope_is_refused(packed: bytes) -> None:
    refused(packed)


# SEC-E05: forwards


def test_a_message_through_two_mediators_has_two_envelopes_around_it() -> None:
    outer = local()
    packed = seal(PLAIN, [FABER.verkey], ALICE, [MEDIATOR.verkey, outer.verkey])
    with pytest.raises(NotForUsError):
        opened(packed, FABER, MEDIATOR)
    with pytest.raises(NotForUsError):
        opened(packed, outer)
    whole = opened(packed, outer, MEDIATOR, FABER)
    assert whole == Received(PING, ALICE.verkey, FABER.verkey)


def forward(to: object, msg: object, *, kind: str = "routing/1.0/forward") -> bytes:
    body = {"@type": f"https://didcomm.org/{kind}", "@id": "1", "to": to, "msg": msg}
    return pack(dump(body), [MEDIATOR.verkey], None)


@pytest.mark.parametrize("write", [str, did_key, did_key_url])
@pytest.mark.parametrize("form", [json.loads, bytes.decode, encode])
def test_a_forward_to_ourselves_opens_however_it_is_written(write: Any, form: Any) -> None:
    packed = forward(write(FABER.verkey), form(pack(PLAIN, [FABER.verkey], ALICE)))
    assert opened(packed, FABER, MEDIATOR).sender == ALICE.verkey


def test_a_forward_of_a_later_minor_version_and_the_old_prefix_opens() -> None:
    inner = json.loads(pack(PLAIN, [FABER.verkey], ALICE))
    later = forward(FABER.verkey, inner, kind="routing/1.7/forward")
    assert opened(later, FABER, MEDIATOR).body == PING
    body = {"@type": "did:sov:BzCbsNYhMrjHiqZDTUASHg;spec/routing/1.0/forward"}
    old = pack(dump(body | {"to": FABER.verkey, "msg": inner}), [MEDIATOR.verkey], None)
    assert opened(old, FABER, MEDIATOR).body == PING


def test_a_forward_of_another_major_version_is_a_message_like_any_other() -> None:
    packed = forward(FABER.verkey, {}, kind="routing/2.0/forward")
    assert opened(packed, MEDIATOR).body["msg"] == {}


@pytest.mark.parametrize("inner", [ALICE, MEDIATOR])
def test_sec_e05_a_forward_to_an_unknown_key_is_told_apart(inner: LocalKey) -> None:
    packed = forward(ALICE.verkey, json.loads(pack(PLAIN, [inner.verkey], None)))
    with pytest.raises(NotForUsError):
        opened(packed, MEDIATOR)


@pytest.mark.parametrize(
    "to", [None, "", "x", 7, [], "did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc"]
)
def test_sec_e05_a_forward_to_no_key_is_refused(to: object) -> None:
    refused(forward(to, {}), MEDIATOR)


@pytest.mark.parametrize(
    "msg", [None, 7, [], {}, "", "{", "{}", "!", "AAAA", encode(b"[]"), "ü"]
)
def test_sec_e05_a_forward_of_no_envelope_is_refused(msg: object) -> None:
    refused(forward(MEDIATOR.verkey, msg), MEDIATOR)


def test_sec_e05_forwards_to_ourselves_end() -> None:
    for depth, opens in ((MAX_FORWARDS, True), (MAX_FORWARDS + 1, False)):
        packed = seal(PLAIN, [FABER.verkey], ALICE, [FABER.verkey] * depth)
        if opens:
            assert opened(packed).body == PING
        else:
            refused(packed)


# SEC-R 01: what sealing costs


@pytest.mark.parametrize("mediators", range(MAX_HOPS + 1))
@pytest.mark.parametrize("recipients", [1, 2, MAX_RECIPIENTS])
@pytest.mark.parametrize("size", [2, 100, 5_000, 40_000])
def test_sec_r_01_the_size_after_sealing_is_known_before(
    size: int, recipients: int, mediators: int
) -> None:
    to = [NewKey.generate({}).verkey for _ in range(recipients)]
    sealed = len(seal(b"x" * size, to, ALICE, [MEDIATOR.verkey] * mediators))
    assert sealed <= sealed_size(size, recipients, mediators) <= 1.07 * sealed


def test_sec_r_01_too_many_recipients_or_mediators_are_refused_before_sealing() -> None:
    to = [FABER.verkey] * (MAX_RECIPIENTS + 1)
    with pytest.raises(RefusedError, match="32 recipients at most, not 33"):
        seal(PLAIN, to, ALICE, [])
    with pytest.raises(RefusedError, match="4 mediators at most, not 5"):
        seal(PLAIN, [FABER.verkey], ALICE, [MEDIATOR.verkey] * (MAX_HOPS + 1))


def test_sec_r_01_what_would_be_too_long_is_refused_before_sealing() -> None:
    most = b"x" * MAX_MESSAGE
    assert len(seal(most, [FABER.verkey], ALICE, [MEDIATOR.verkey] * 2)) <= MAX_PACKED
    for message, hops in ((most, 3), (most + b"x", 0)):
        with pytest.raises(RefusedError, match="is the most") as refusal:
            seal(message, [FABER.verkey], ALICE, [MEDIATOR.verkey] * hops)
        assert refusal.value.code == TOO_LONG


def test_sec_r_01_an_integer_of_many_digits_is_refused() -> None:
    """Reading and writing one takes time that grows with the square of its length."""
    number = b'{"x":-%s}' % (b"9" * (MAX_DIGITS - 1))
    assert opened(pack(number, [FABER.verkey], None)).body["x"] < 0
    refused(pack(b'{"x":%s}' % (b"9" * (MAX_DIGITS + 1)), [FABER.verkey], None))


def test_what_was_unpacked_does_not_show_its_content_by_accident() -> None:
    assert PING["comment"] not in repr(opened(pack(PLAIN, [FABER.verkey], ALICE)))


def test_sec_r_01_a_large_envelope_is_opened_outside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here: list[bool] = []
    real = envelope._read_body

    def noting(plain: bytes) -> Json:
        here.append(threading.current_thread() is threading.main_thread())
        return real(plain)

    monkeypatch.setattr(envelope, "_read_body", noting)
    for size in (100, LARGE):
        packed = pack(dump_text(size), [FABER.verkey], ALICE)
        assert opened(packed).sender == ALICE.verkey
    assert here == [True, False]


# SEC-E06, SEC-E07: sizes and hostile JSON inside


def test_sec_e06_too_large_is_refused_before_and_after_decryption() -> None:
    ring = Ring(FABER)
    with pytest.raises(BadEnvelopeError):
        run(unpack(dump(craft()) + b" " * MAX_PACKED, ring.find))
    assert ring.asked == 0
    room = MAX_MESSAGE - len(b'{"x":""}')
    assert len(opened(pack(dump_text(room), [FABER.verkey], None)).body["x"]) == room
    too_large = pack(dump_text(room + 1), [FABER.verkey], None)
    assert len(too_large) < MAX_PACKED
    refused(too_large)


def test_the_longest_message_is_opened_behind_forwards_to_ourselves() -> None:
    text = dump_text(MAX_MESSAGE - len(b'{"x":""}'))
    packed = seal(text, [FABER.verkey], ALICE, [FABER.verkey] * 2)
    assert opened(packed).sender == ALICE.verkey


def dump_text(letters: int) -> bytes:
    return b'{"x":"' + b"x" * letters + b'"}'


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b'{"a":' + b"9" * 10**6 + b"}",
        b'{"a":' + b"[" * 65 + b"]" * 65 + b"}",
        b'{"a":' + b"[" * 10**5,
        b"{" + b",".join(b'"%d":1' % n for n in range(10**5)) + b"}",
        b'{"a":[' + b"1," * MAX_ITEMS + b"1,1]}",
        b'{"a":[' + b",".join([b"[" * 60 + b"]" * 60] * 1000) + b"]}",
    ],
    ids=range(15),
)
def test_sec_e07_hostile_json_inside_is_refused(plain: bytes) -> None:
    refused(pack(plain, [FABER.verkey], ALICE))


@pytest.mark.parametrize(
    "packed",
    [
        b'{"a":[' + b",".join([b"{}"] * 10) + b"]}",
        b'{"a":' + b"[" * 20 + b"]" * 20 + b"}",
        b"{" + b",".join(b'"%d":"x"' % n for n in range(20)) + b"}",
    ],
)
def test_sec_e07_what_is_too_rich_for_an_envelope_is_not_even_parsed(
    packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may send it, and a megabyte of brackets takes 0.3 s to parse."""

    def parsed(_raw: bytes) -> None:
        raise AssertionError

    monkeypatch.setattr("keep_agent.didcomm.envelope.read_json", parsed)
    refused(packed)


# properties


def test_an_envelope_for_others_is_told_apart() -> None:
    with pytest.raises(NotForUsError):
        opened(pack(PLAIN, [ALICE.verkey], None))


def test_a_store_that_is_away_is_not_the_peers_fault() -> None:
    async def away(verkey: str) -> LocalKey | None:
        raise UnavailableError(verkey)

    with pytest.raises(UnavailableError):
        run(unpack(pack(PLAIN, [FABER.verkey], None), away))


def test_no_error_tells_what_was_inside() -> None:
    secret = "4711-very-secret"
    for plain in (f'{{"a": "{secret}"', f'["{secret}"]', f'{{"{secret}":1,"{secret}":1}}'):
        with pytest.raises(BadEnvelopeError) as caught:
            opened(pack(plain.encode(), [FABER.verkey], ALICE))
        chain: list[BaseException | None] = [caught.value, caught.value.__cause__]
        assert secret not in "".join(str(error) for error in chain)


PACKED = [
    pack(PLAIN, [ALICE.verkey, FABER.verkey], ALICE),
    pack(PLAIN, [FABER.verkey], None),
    seal(PLAIN, [FABER.verkey], ALICE, [FABER.verkey]),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def only_refuses(packed: bytes) -> None:
    """Nothing but a refusal, unless the change was without meaning."""
    try:
        received = opened(packed)
    except BadEnvelopeError:
        return
    assert received.body == PING
    assert received.sender in (ALICE.verkey, None)


@given(st.sampled_from(PACKED), st.data())
def test_any_changed_byte_is_refused_or_without_meaning(
    packed: bytes, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(packed) - 1))
    byte = data.draw(st.binary(max_size=2))
    only_refuses(packed[:place] + byte + packed[place + 1 :])


@given(st.sampled_from(PACKED), st.data())
def test_any_cut_envelope_is_refused(packed: bytes, data: st.DataObject) -> None:
    refused(packed[: data.draw(st.integers(0, len(packed) - 1))])


@pytest.mark.parametrize("size", [11, 13, 24])
def test_sec_e04_a_nonce_of_another_length_never_reaches_the_cipher(size: int) -> None:
    with pytest.raises(BadEnvelopeError, match="wrong length"):
        opened(dump(craft() | {"iv": encode(bytes(size))}))


@given(st.sampled_from(["protected", "iv", "ciphertext", "tag"]), JSON)
def test_any_other_value_of_a_member_is_refused(name: str, value: object) -> None:
    refused(dump(craft() | {name: value}))


def paths(value: object, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        pairs = list(cast("Json", value).items())
        return [here] * bool(here) + [p for k, v in pairs for p in paths(v, (*here, k))]
    if isinstance(value, list):
        found = enumerate(cast("list[object]", value))
        return [here] * bool(here) + [p for k, v in found for p in paths(v, (*here, k))]
    return [here]


@settings(max_examples=200)
@given(st.data(), JSON, st.sampled_from(["drop", "replace"]))
def test_any_other_value_in_the_header_is_refused(
    data: st.DataObject, value: object, change: str
) -> None:
    recipients: Any = {"recipients": [box(SECRET)], "enc": "xchacha20poly1305_ietf"}
    *way, last = data.draw(st.sampled_from(paths(recipients)))
    inner = recipients
    for step in way:
        inner = inner[step]
    if change == "drop":
        del inner[last]
    else:
        inner[last] = value
    only_refuses(dump(craft(**recipients)))


@given(st.binary(max_size=200) | JSON.map(dump))
def test_any_plaintext_opens_as_an_object_or_is_refused(plain: bytes) -> None:
    try:
        received = opened(pack(plain, [FABER.verkey], ALICE))
    except BadEnvelopeError:
        return
    assert received.body == json.loads(plain)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(packed: bytes) -> None:
    refused(packed)


@given(JSON, JSON)
def test_any_forward_is_refused_or_told_apart(to: object, msg: object) -> None:
    refused(forward(to, msg), MEDIATOR)
    refused(forward(MEDIATOR.verkey, msg), MEDIATOR)
