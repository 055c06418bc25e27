"""Keys: how they are made, remembered, written and refused."""

import asyncio

import pytest
from aries_askar import Key
from hypothesis import given
from hypothesis import strategies as st

from keep_agent.core.message import Json
from keep_agent.errors import BadCommandError, BadMessageError
from keep_agent.identity.keys import (
    Codec,
    Keys,
    LocalKey,
    NewKey,
    base58_key,
    did_key,
    did_key_url,
    exchange_key,
    multikey,
    raw_key,
    read_multibase,
    read_multikey,
    to_verkey,
    verify,
)

TRUSTEE_SEED = b"000000000000000000000000Trustee1"
TRUSTEE = "GJ1SzoWzavQYfNL9XkaJdrQejfztN4XqdsiV4ct3LXKL"
RFC_0360 = (
    "8HH5gYEeNc3z7PYXmd54d4x6qAfCNrqQqEB3nS7Zfu7K",
    "did:key:z6MkmjY8GnV5i9YTDtPETC2uUAW6ejw3nk5mXF5yci5ab7th",
)
SMALL_ORDER = [
    "01" + "00" * 31,
    "ec" + "ff" * 30 + "7f",
    "00" * 32,
    "00" * 31 + "80",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


class Shelf:
    """A store of keys that counts how often it is asked."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[Key, Json]] = {}
        self.asked: list[str] = []

    def put(self) -> str:
        new = NewKey.generate({"did": "x"})
        self.keys[new.verkey] = (new.key, new.metadata)
        return new.verkey

    async def fetch(self, verkey: str) -> tuple[Key, Json] | None:
        self.asked.append(verkey)
        return self.keys.get(verkey)


def local() -> LocalKey:
    new = NewKey.generate({})
    return LocalKey.of(new.verkey, new.key, new.metadata)


def test_a_seed_makes_the_key_that_indy_makes_of_it() -> None:
    assert NewKey.generate({}, TRUSTEE_SEED).verkey == TRUSTEE


def test_without_a_seed_every_key_is_another() -> None:
    assert NewKey.generate({}).verkey != NewKey.generate({}).verkey


@pytest.mark.parametrize("seed", [b"", b"short", b"x" * 33])
def test_a_seed_of_another_length_is_refused(seed: bytes) -> None:
    with pytest.raises(BadCommandError):
        NewKey.generate({}, seed)


def test_no_repr_shows_anything_but_the_verkey() -> None:
    new = NewKey.generate({"note": "inside"}, TRUSTEE_SEED)
    loaded = LocalKey.of(new.verkey, new.key, new.metadata)
    assert repr(new) == f"NewKey(verkey='{TRUSTEE}')"
    assert repr(loaded) == f"LocalKey(verkey='{TRUSTEE}')"


def test_a_signature_verifies_only_for_its_key_and_data() -> None:
    alice, faber = local(), local()
    signature = alice.sign(b"data")
    assert verify(alice.verkey, b"data", signature)
    assert not verify(alice.verkey, b"date", signature)
    assert not verify(faber.verkey, b"data", signature)


@pytest.mark.parametrize("signature", [b"", b"x", b"x" * 63, b"x" * 64, b"x" * 65])
def test_a_bad_signature_is_false_and_no_error(signature: bytes) -> None:
    assert not verify(TRUSTEE, b"data", signature)


@pytest.mark.parametrize(
    "verkey", ["", "x", "0" * 44, TRUSTEE + "1", base58_key(b"\2" + bytes(31))]
)
def test_a_bad_key_verifies_nothing(verkey: str) -> None:
    assert not verify(verkey, b"data", b"x" * 64)


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_key_of_small_order_is_refused(point: str) -> None:
    verkey = base58_key(bytes.fromhex(point))
    with pytest.raises(BadMessageError):
        exchange_key(verkey)
    assert not verify(verkey, b"data", bytes.fromhex(point) + bytes(32))


def test_a_peers_key_converts_to_what_its_owner_has() -> None:
    alice = local()
    converted = exchange_key(alice.verkey).get_public_bytes()
    assert converted == alice.exchange.get_public_bytes()


@pytest.mark.parametrize(
    "text", [None, 7, b"x", "", "1" * 31, TRUSTEE + "\n", " " + TRUSTEE, "l" * 44, "z" * 44]
)
def test_what_is_no_base58_of_32_bytes_is_no_key(text: object) -> None:
    with pytest.raises(BadMessageError):
        raw_key(text)


async def test_a_key_is_fetched_once() -> None:
    shelf = Shelf()
    verkey = shelf.put()
    keys = Keys(shelf.fetch)
    first = await keys.load(verkey)
    assert first is not None
    assert first.metadata == {"did": "x"}
    assert await keys.load(verkey) is first
    assert shelf.asked == [verkey]


async def test_a_missing_key_is_asked_for_again() -> None:
    shelf = Shelf()
    keys = Keys(shelf.fetch)
    assert await keys.load(TRUSTEE) is None
    new = NewKey.generate({}, TRUSTEE_SEED)
    shelf.keys[TRUSTEE] = (new.key, {})
    assert await keys.load(TRUSTEE) is not None


async def test_a_forgotten_key_is_fetched_anew() -> None:
    shelf = Shelf()
    verkey = shelf.put()
    keys = Keys(shelf.fetch)
    await keys.load(verkey)
    del shelf.keys[verkey]
    keys.forget(verkey)
    assert await keys.load(verkey) is None


async def test_the_longest_unused_key_makes_room() -> None:
    shelf = Shelf()
    a, b, c = shelf.put(), shelf.put(), shelf.put()
    keys = Keys(shelf.fetch, size=2)
    for verkey in (a, b, a, c, a, b):
        await keys.load(verkey)
    assert shelf.asked == [a, b, c, b]


async def test_a_key_forgotten_while_it_was_read_is_not_remembered() -> None:
    shelf = Shelf()
    verkey = shelf.put()
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def slow(wanted: str) -> tuple[Key, Json] | None:
        found = await shelf.fetch(wanted)
        reading.set()
        await go_on.wait()
        return found

    keys = Keys(slow)
    load = asyncio.ensure_future(keys.load(verkey))
    await reading.wait()
    del shelf.keys[verkey]
    keys.forget(verkey)
    go_on.set()
    await load
    assert await keys.load(verkey) is None


async def test_two_tenants_do_not_see_each_others_keys() -> None:
    shelf, other = Shelf(), Shelf()
    verkey = shelf.put()
    assert await Keys(shelf.fetch).load(verkey) is not None
    assert await Keys(other.fetch).load(verkey) is None


def test_did_key_is_written_as_rfc_0360_says() -> None:
    verkey, did = RFC_0360
    assert did_key(verkey) == did
    assert did_key_url(verkey) == f"{did}#{did.removeprefix('did:key:')}"


@given(st.binary(min_size=32, max_size=32))
def test_every_way_to_write_a_key_is_read_back(raw: bytes) -> None:
    verkey = base58_key(raw)
    assert raw_key(verkey) == raw
    for text in (verkey, did_key(verkey), did_key_url(verkey)):
        assert to_verkey(text) == verkey


def test_sec_e14_a_did_key_of_another_codec_is_refused() -> None:
    for prefix in (Codec.X25519.value, b"\xe7\x01", b"", b"\xed"):
        with pytest.raises(BadMessageError):
            to_verkey("did:key:z" + base58_key(prefix + raw_key(TRUSTEE)))


def test_sec_e14_a_did_key_of_another_length_is_refused() -> None:
    for raw in (b"", bytes(31), bytes(33)):
        with pytest.raises(BadMessageError):
            to_verkey("did:key:" + multikey(Codec.ED25519, raw))


def test_sec_e14_a_did_key_whose_fragment_is_another_key_is_refused() -> None:
    other = did_key(TRUSTEE).removeprefix("did:key:")
    for fragment in (other, "", "key-1"):
        with pytest.raises(BadMessageError):
            to_verkey(f"{RFC_0360[1]}#{fragment}")


def test_a_multikey_says_what_kind_of_key_it_is() -> None:
    codec, raw = read_multikey("z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc")
    assert codec is Codec.X25519
    assert base58_key(raw) == "JhNWeSVLMYccCk7iopQW4guaSJTojqpMEELgSLhKwRr"


@pytest.mark.parametrize("text", ["", "z", "6Mk", "m6Mk", "z" * 5000, "z0OIl", "z6Mk\n"])
def test_what_is_no_multibase_is_no_multikey(text: str) -> None:
    with pytest.raises(BadMessageError):
        read_multikey(text)


def test_sec_e14_a_swollen_multibase_is_refused_undecoded() -> None:
    assert read_multibase("z" + "1" * 4000) == bytes(4000)
    with pytest.raises(BadMessageError):
        read_multibase("z" + "1" * 5000)
