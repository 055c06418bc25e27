"""A ledger read as a client: complete and unchanged whoever lies, and written to without doubt."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import base58
import msgpack
import pytest
from fake_network import RECORDED
from governed_network import Governed
from governed_network import Person as Governor
from hypothesis import given
from hypothesis import strategies as st
from indy_vdr.ledger import build_custom_request
from ledger.fake_pool import LEDGERS, Node, PaperPool, opened, recorded
from pool import Network

from keep_ledger import codes
from keep_ledger.errors import (
    BadWriteError,
    LedgerUnavailableError,
    NotWrittenError,
)
from keep_ledger.indy import ledger_history, merkle, requests
from keep_ledger.indy import network_client as clients
from keep_ledger.indy.ledger_history import agreed_head
from keep_ledger.indy.network_client import NetworkClient, payload_digest
from keep_ledger.indy.replies import UntrustedReplyError
from keep_ledger.json_object import Json
from keep_ledger.multisig.rules.auth_rules import RuleKey
from keep_ledger.multisig.rules.default_rules import DEFAULTS
from keep_ledger.testing.conformance import TRUSTEE, Person

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300),
    lambda one: (
        st.lists(one, max_size=20) | st.dictionaries(st.text(max_size=40), one, max_size=20)
    ),
    max_leaves=40,
)
SIZES = (15, 16, 31, 32, 255, 256, 65535, 65536)


# -- leaves and roots ----------------------------------------------------------------------------


@given(JSON)
def test_messagepack_is_written_as_the_library_does(value: Any) -> None:
    assert merkle.pack(value) == msgpack.packb(value, use_bin_type=True)


@pytest.mark.parametrize("size", SIZES)
def test_messagepack_of_every_length_is_as_the_library_writes_it(size: int) -> None:
    for value in ("x" * size, [1] * size, {str(n): n for n in range(size)}, size, -size - 1):
        assert merkle.pack(value) == msgpack.packb(value, use_bin_type=True)


def test_what_is_no_json_has_no_messagepack() -> None:
    for wrong in (1 << 64, -(1 << 63) - 1, b"bytes"):
        with pytest.raises(ValueError, match=r"64 bits|not JSON"):
            merkle.pack(wrong)


@pytest.mark.parametrize("name", LEDGERS.values())
def test_the_root_of_a_real_ledger_comes_out(name: str) -> None:
    transactions = RECORDED["ledgers"][name]
    found = merkle.root(map(merkle.leaf, transactions))
    assert base58.b58encode(found).decode() == transactions[-1]["rootHash"]


def test_a_value_that_looks_like_a_hash_is_told_by_its_path() -> None:
    looks = "ab" * 32
    for kept in (looks, hashlib.sha256(looks.encode()).hexdigest()):
        alone = _leaf_of(attrib_with(kept))
        root = base58.b58encode(alone).decode()
        around: Json = {"rootHash": root, "auditPath": [], "ledgerSize": 1}
        assert merkle.leaf(attrib_with(looks) | around) == alone
    assert merkle.leaf(attrib_with(looks)) == _leaf_of(attrib_with(looks))


def attrib_with(enc: str) -> Json:
    payload: Json = {"type": "100", "data": {"dest": "x", "enc": enc}, "metadata": {}}
    return {"txn": payload, "txnMetadata": {"seqNo": 1}, "reqSignature": {}, "ver": "1"}


def _leaf_of(body: Json) -> bytes:
    """The leaf of a transaction just as it stands."""
    ordered = json.loads(json.dumps(body, sort_keys=True))
    return hashlib.sha256(b"\0" + msgpack.packb(ordered, use_bin_type=True)).digest()


# -- whole ledgers from nodes on paper -----------------------------------------------------------


@pytest.mark.parametrize("ledger_id", LEDGERS)
async def test_a_whole_ledger_is_read_and_proved(ledger_id: int, tmp_path: Path) -> None:
    async with opened(tmp_path, PaperPool()) as client:
        found = await client.history(ledger_id)
    assert list(found.transactions) == recorded()[ledger_id]
    assert (
        base58.b58encode(found.root).decode()
        == RECORDED["ledgers"][LEDGERS[ledger_id]][0]["rootHash"]
    )


async def test_an_empty_ledger_is_whole(tmp_path: Path) -> None:
    paper = PaperPool()
    for node in paper.nodes.values():
        node.ledgers[2].clear()
    async with opened(tmp_path, paper) as client:
        assert (await client.history(codes.CONFIG)).transactions == ()


def change_a_byte(node: Node) -> None:
    data = node.ledgers[1][20]["txn"]["data"]
    data["verkey"] = data["verkey"][:-1] + "1"


def omit_one(node: Node) -> None:
    del node.ledgers[1][20]
    for number, txn in enumerate(node.ledgers[1], 1):
        txn["txnMetadata"]["seqNo"] = number


def swap_two(node: Node) -> None:
    known = node.ledgers[1]
    known[20], known[21] = known[21], known[20]
    for number in (20, 21):
        known[number]["txnMetadata"]["seqNo"] = number + 1


def end_early(node: Node) -> None:
    del node.ledgers[1][30:]


def show_another_ledger(node: Node) -> None:
    node.ledgers[1] = node.ledgers[2]


def forge_a_signature(node: Node) -> None:
    node.ledgers[1][20]["reqSignature"]["values"][0]["value"] = "1" * 64


def answer_for_another(node: Node) -> None:
    def lie(reply: Json) -> None:
        if reply["data"]:
            reply["data"]["txnMetadata"]["seqNo"] += 1

    node.lies = lie


def say_what_is_no_transaction(node: Node) -> None:
    def lie(reply: Json) -> None:
        if reply["data"]:
            reply["data"] |= {"txn": []}

    node.lies = lie


def have_no_values(node: Node) -> None:
    """As a node that came late: it has the hashes of attributes, and not their texts."""
    for txn in node.ledgers[1]:
        if "raw" in txn["txn"]["data"]:
            txn["txn"]["data"]["raw"] = hashlib.sha256(
                txn["txn"]["data"]["raw"].encode()
            ).hexdigest()

    def lie(reply: Json) -> None:
        if reply["data"] and "raw" in reply["data"]["txn"]["data"]:
            reply["data"] = None

    node.lies = lie


def be_down(node: Node) -> None:
    node.down = True


@pytest.mark.parametrize(
    "lie",
    [
        change_a_byte,
        omit_one,
        swap_two,
        end_early,
        show_another_ledger,
        forge_a_signature,
        answer_for_another,
        say_what_is_no_transaction,
        have_no_values,
        be_down,
    ],
)
@pytest.mark.parametrize("liar", ["Node1", "Node4"])
async def test_one_liar_of_four_changes_nothing(
    lie: Callable[[Node], None], liar: str, tmp_path: Path
) -> None:
    paper = PaperPool()
    lie(paper.nodes[liar])
    async with opened(tmp_path, paper, tmp_path / "cache") as client:
        found = await client.history(codes.DOMAIN)
    assert list(found.transactions) == recorded()[1]


async def test_a_ledger_that_no_node_shows_is_not_believed(tmp_path: Path) -> None:
    paper = PaperPool()

    def lie(reply: Json) -> None:
        if reply["data"] and reply["data"]["txnMetadata"]["seqNo"] == 21:
            reply["data"] |= {"txn": recorded()[1][22]["txn"], "rootHash": "1" * 32}

    for node in paper.nodes.values():
        node.lies = lie
    async with opened(tmp_path, paper) as client:
        with pytest.raises(LedgerUnavailableError, match="no node shows transaction 21"):
            await client.history(codes.DOMAIN)


async def test_another_ledger_than_the_agreed_one_is_not_believed(tmp_path: Path) -> None:
    paper, cache = PaperPool(), tmp_path / "cache"

    def turn(node: Node) -> Callable[[Json], None]:
        return lambda _reply: change_a_byte(node)  # after it said how long the ledger is

    for node in paper.nodes.values():
        node.lies = turn(node)
    async with opened(tmp_path, paper, cache) as client:
        with pytest.raises(
            UntrustedReplyError, match="no node gives the transactions of the domain ledger"
        ):
            await client.history(codes.DOMAIN)
    assert not list(cache.rglob("domain.jsonl"))


@pytest.mark.parametrize(
    ("texts", "size"),
    [
        (["honest"] * 3 + ["old"], 34),
        (["honest", "honest", "old", "old"], 34),
        (["honest", "old", "old", "old"], 30),
        (["honest", "old", "other", "rubbish"], None),
        (["rubbish"] * 4, None),
        ([], None),
    ],
)
def test_the_length_of_a_ledger_needs_more_than_f_nodes(
    texts: list[str], size: int | None
) -> None:
    honest, old, other = Node(), Node(), Node()
    end_early(old)
    show_another_ledger(other)
    question = requests.request(requests.get_txn(1))
    said = {
        "honest": honest.answer(question),
        "old": old.answer(question),
        "other": other.answer(question),
        "rubbish": "timeout",
    }
    found = agreed_head(question, [said[one] for one in texts], 4)
    assert (found and found.size) == size


async def test_a_network_that_does_not_agree_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keep_ledger.indy.ledger_history._HEAD_PAUSE_S", 0)
    paper = PaperPool()
    for place, node in enumerate(paper.nodes.values()):
        del node.ledgers[1][30 + place :]
    async with opened(tmp_path, paper) as client:
        with pytest.raises(
            UntrustedReplyError, match="do not agree on the domain ledger's length"
        ):
            await client.history(codes.DOMAIN)


# -- what was read is kept, and trusted no more than a node ----------------------------------------


async def test_only_what_is_new_is_read_the_next_time(tmp_path: Path) -> None:
    paper, cache = PaperPool(), tmp_path / "cache"
    for node in paper.nodes.values():
        end_early(node)
    async with opened(tmp_path, paper, cache) as client:
        await client.history(codes.DOMAIN)
    for node in paper.nodes.values():
        node.ledgers, node.asked = recorded(), []
    async with opened(tmp_path, paper, cache) as client:
        found = await client.history(codes.DOMAIN)
    assert [n for node in paper.nodes.values() for n in node.asked] == [31, 32, 33, 34]
    assert list(found.transactions) == recorded()[1]


def cut(text: str) -> str:
    return text[:-20]


def give_a_role(text: str) -> str:
    return text.replace('"role": "101"', '"role": "0"', 1)


def lose_the_first(text: str) -> str:
    return "".join(text.splitlines(keepends=True)[1:])


def put_something_before(text: str) -> str:
    return "{}\n" + text


def put_something_behind(text: str) -> str:
    return text + "rubbish\n"


def repeat_the_last(text: str) -> str:
    return text + text.splitlines(keepends=True)[-1]


ALL = list(range(1, 35))


@pytest.mark.parametrize(
    ("spoil", "read_again"),
    [
        (cut, [34]),
        (give_a_role, ALL),
        (lose_the_first, ALL),
        (put_something_before, ALL),
        (put_something_behind, []),
        (repeat_the_last, []),
    ],
)
async def test_a_spoilt_cache_costs_time_and_nothing_else(
    spoil: Callable[[str], str], read_again: list[int], tmp_path: Path
) -> None:
    paper, cache = PaperPool(), tmp_path / "cache"
    async with opened(tmp_path, paper, cache) as client:
        await client.history(codes.DOMAIN)
    (file,) = cache.rglob("domain.jsonl")
    file.write_text(spoil(file.read_text()))
    for node in paper.nodes.values():
        node.asked = []
    async with opened(tmp_path, paper, cache) as client:
        found = await client.history(codes.DOMAIN)
    assert list(found.transactions) == recorded()[1]
    assert [n for node in paper.nodes.values() for n in node.asked] == read_again
    assert [json.loads(line) for line in file.read_text().splitlines()] == recorded()[1]


async def test_members_are_those_who_have_a_role_now(tmp_path: Path) -> None:
    async with opened(tmp_path, PaperPool()) as client:
        found = await client.role_holders()
    assert found["0"] == [TRUSTEE.did]
    assert len(found["2"]) == 4


# -- writing: a time-out is not a failure -------------------------------------------------------------


def nym(person: Person) -> Json:
    return requests.request(
        {"type": "1", "dest": person.did, "verkey": person.verkey}, TRUSTEE.did
    )


def signature(request: Json, *people: Person) -> dict[str, bytes]:
    said = build_custom_request(json.dumps(request)).signature_input
    return {one.did: one.sign(said) for one in people}


@pytest.mark.parametrize("read_before", [True, False])
async def test_a_write_that_lands_after_a_time_out_is_found(
    *, read_before: bool, tmp_path: Path
) -> None:
    paper, request = PaperPool(), nym(Person.new())
    paper.lands = [True]
    async with opened(tmp_path, paper) as client:
        if read_before:
            await client.history(codes.DOMAIN)
        assert await client.submit(request, signature(request, TRUSTEE)) == 35
        assert await client.submit(request, signature(request, TRUSTEE)) == 35
    assert len(paper.sent) == 1


async def test_a_write_that_is_told_can_be_read_from_every_node(tmp_path: Path) -> None:
    """One node is behind for a while, and one says nothing at all."""
    paper, request = PaperPool(), nym(Person.new())
    paper.lands, left = [True], [8]

    def lag(reply: Json) -> None:
        if reply["type"] == "3" and left[0]:
            left[0] -= 1
            reply["data"] = None

    paper.nodes["Node3"].lies = lag
    paper.nodes["Node4"].down = True
    async with opened(tmp_path, paper) as client:
        assert await client.submit(request, signature(request, TRUSTEE)) == 35
    assert left == [0]


async def test_a_write_that_does_not_land_may_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_LOOK_S", 0.02)
    paper, request = PaperPool(), nym(Person.new())
    paper.lands = [False, True]
    async with opened(tmp_path, paper) as client:
        with pytest.raises(
            LedgerUnavailableError, match="may still be written: submit the same"
        ):
            await client.submit(request, signature(request, TRUSTEE))
        assert await client.submit(request, signature(request, TRUSTEE)) == 35
    assert paper.sent[0] == paper.sent[1]


@pytest.mark.parametrize("wrong", [{}, {TRUSTEE.did: b"short"}, b"short"])
async def test_what_is_no_signature_is_not_sent(wrong: Any, tmp_path: Path) -> None:
    paper = PaperPool()
    async with opened(tmp_path, paper) as client:
        with pytest.raises(BadWriteError, match="64 bytes"):
            await client.submit(nym(Person.new()), wrong)
    assert paper.sent == []


# -- the real pool -----------------------------------------------------------------------------------


async def nothing(url: str) -> bytes:
    raise OSError(url)


@pytest.fixture(scope="module")
async def real(
    network: Network, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[NetworkClient]:
    async with NetworkClient(
        str(network.genesis), nothing, tmp_path_factory.mktemp("client")
    ) as client:
        yield client


pool = pytest.mark.pool
Something = TypeVar("Something")


async def soon(read: Callable[[], Awaitable[Something | None]]) -> Something:
    """What is read, once the node that is asked has it, too."""
    async with asyncio.timeout(5):
        while (found := await read()) is None:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.05)
    return found


@pool
@pytest.mark.parametrize("ledger_id", LEDGERS)
async def test_a_real_ledger_is_proved(real: NetworkClient, ledger_id: int) -> None:
    found = await real.history(ledger_id)
    assert [merkle.number_of(txn) for txn in found.transactions] == list(
        range(1, len(found.transactions) + 1)
    )


@pool
async def test_a_write_is_there_and_was_not_before(real: NetworkClient) -> None:
    person = Person.new()
    request = nym(person)
    assert await real.nym(person.did) is None
    assert await real.current_object(request) is None
    assert await real.find_transaction(request) is None
    number = await real.submit(request, signature(request, TRUSTEE)[TRUSTEE.did])
    state = await soon(lambda: real.nym(person.did))
    assert (state.verkey, state.role, state.seq_no) == (person.verkey, None, number)
    found = await soon(lambda: real.current_object(request))
    assert found.seq_no == number
    written = await real.txn(codes.DOMAIN, number)
    assert written is not None
    assert written["txn"]["metadata"]["payloadDigest"] == payload_digest(request)
    assert (await real.history(codes.DOMAIN)).transactions[number - 1] == written
    assert await real.find_transaction(request) == number
    assert await real.submit(request, signature(request, TRUSTEE)) == number
    assert await real.nym_at(person.did, number - 1) is None
    assert await real.nym_at(person.did, number) == state


@pool
async def test_within_one_second_a_did_is_as_each_transaction_left_it(
    real: NetworkClient,
) -> None:
    person, keys = Person.new(), [Person.new() for _ in range(3)]
    first = nym(person)
    numbers = [await real.submit(first, signature(first, TRUSTEE))]
    for old, new in itertools.pairwise([person, *keys]):
        change = {"type": "1", "dest": person.did, "verkey": new.verkey}
        request = requests.request(change, person.did)
        said = build_custom_request(json.dumps(request)).signature_input
        numbers.append(await real.submit(request, old.sign(said)))
    for number, holder in zip(numbers, [person, *keys], strict=True):
        state = await real.nym_at(person.did, number)
        assert (state and (state.verkey, state.seq_no)) == (holder.verkey, number)


@pool
async def test_there_is_nothing_beyond_the_end(real: NetworkClient) -> None:
    assert await real.txn(codes.DOMAIN, 10**6) is None
    assert await real.taa() is None


def by_another_key(request: Json, person: Person) -> dict[str, bytes]:
    return {TRUSTEE.did: signature(request, person)[person.did]}


def by_another_did(request: Json, person: Person) -> dict[str, bytes]:
    return signature(request, person)


def with_a_stranger(request: Json, person: Person) -> dict[str, bytes]:
    return signature(request, TRUSTEE, person)


@pool
@pytest.mark.parametrize(
    ("signers", "said"),
    [
        (by_another_key, f"signature of {TRUSTEE.did} does not verify"),
        (by_another_did, "The author must be among those who sign"),
        (with_a_stranger, "signed, but is not on this ledger"),
    ],
)
async def test_a_refusal_says_who_and_what(
    real: NetworkClient, signers: Callable[[Json, Person], dict[str, bytes]], said: str
) -> None:
    person = Person.new()
    request = nym(person)
    with pytest.raises(NotWrittenError, match=said):
        await real.submit(request, signers(request, person))
    assert await real.nym(person.did) is None


@pool
async def test_what_has_too_few_signers_says_which_role(real: NetworkClient) -> None:
    person, other = Person.new(), Person.new()
    first = nym(person)
    await real.submit(first, signature(first, TRUSTEE))
    request = requests.request({"type": "1", "dest": other.did, "role": "101"}, person.did)
    with pytest.raises(
        NotWrittenError, match="Too few signed with the role that the rule asks"
    ):
        await real.submit(request, signature(request, person))


@pool
async def test_what_a_request_would_change_is_found(real: NetworkClient) -> None:
    author = Person.new()
    first = nym(author)
    await real.submit(first, signature(first, TRUSTEE))
    raw = json.dumps({"endpoint": {"endpoint": "http://a.example"}})
    data = {"name": "found", "version": "1.0", "attr_names": ["a"]}
    for operation, who in (
        ({"type": "100", "dest": author.did, "raw": raw}, author),
        ({"type": "100", "dest": author.did, "hash": "ab" * 32}, author),
        ({"type": "100", "dest": author.did, "enc": "cd" * 32}, author),
        ({"type": "101", "data": data}, TRUSTEE),
    ):
        request = requests.request(operation, who.did)
        if operation["type"] != "101":
            assert await real.current_object(request) is None
            assert await real.submit(request, signature(request, who))
            await soon(partial(real.current_object, request))
        else:
            found = await real.current_object(request)
            assert found is None
    await real.history(codes.DOMAIN)  # also with values that look like hashes


@pool
async def test_a_node_is_found_in_the_pool_ledger(real: NetworkClient) -> None:
    (first, *_) = (await real.history(codes.POOL)).transactions
    dest = first["txn"]["data"]["dest"]
    operation: Json = {"type": "0", "dest": dest, "data": {"alias": "Node1", "services": []}}
    found = await real.current_object(requests.request(operation, TRUSTEE.did))
    assert found is not None
    assert (found.seq_no, found.value["services"]) == (1, ["VALIDATOR"])


@pool
async def test_of_some_requests_nothing_is_read(real: NetworkClient) -> None:
    for operation in ({"type": "120"}, {"type": "1"}, {"type": "100", "dest": TRUSTEE.did}):
        with pytest.raises(BadWriteError):
            await real.current_object(requests.request(operation, TRUSTEE.did))


@pool
async def test_what_is_new_is_read_at_once(
    real: NetworkClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await real.history(codes.DOMAIN)
    request = nym(Person.new())
    number = await real.submit(request, signature(request, TRUSTEE))
    monkeypatch.setattr(ledger_history, "_HEAD_LOOKS", 1)  # no pause, no second look
    found = await real.history(codes.DOMAIN)
    assert len(found.transactions) == number


@pool
async def test_what_has_landed_is_found_in_every_ledger_and_by_any_signatures(
    governed: Governed,
) -> None:
    first, second, *_ = governed.trustees
    async with NetworkClient(str(governed.genesis), nothing) as client:
        rule = {
            "type": "120",
            "auth_type": "101",
            "auth_action": "ADD",
            "field": "*",
            "new_value": "*",
            "constraint": DEFAULTS[RuleKey.parse("101--ADD--*--*--*")].to_json(),
        }
        request = governed.request(rule, first)
        alone, both = _signed_by(request, first), _signed_by(request, first, second)
        number = await client.submit(request, alone[first.did])
        assert await client.submit(request, both) == number
        assert await client.find_transaction(governed.request(rule, first)) is None

        new = governed.person()
        made = governed.request({"type": "1", "dest": new.did, "verkey": new.verkey}, first)
        number = await client.submit(made, _signed_by(made, first))
        await governed.write({"type": "1", "dest": new.did, "role": "101"}, first)
        assert await client.submit(made, _signed_by(made, first)) == number
        assert await client.submit(made, _signed_by(made, first, second)) == number


@pool
async def test_the_agreement_in_force_is_read(governed: Governed) -> None:
    first = governed.trustees[0]
    version = str(time.time_ns())
    body: Json = {"type": "4", "text": "Be kind", "version": version, "ratification_ts": 1}
    async with NetworkClient(str(governed.genesis), nothing) as client:
        await governed.write({"type": "5", "aml": {"m": "how"}, "version": version}, first)
        request = governed.request(body, first)
        number = await client.submit(request, _signed_by(request, first))
        try:
            found = await soon(client.taa)
            assert (found.text, found.version) == ("Be kind", version)
            assert found.mechanisms == {"m": "how"}
            others: list[Json] = [{"type": "8"}, {"type": "5", "aml": {}, "version": "x"}]
            for operation in (body, *others):
                assert (
                    await client.current_object(governed.request(operation, first)) is not None
                )
            assert await client.find_transaction(request) == number
            new = governed.person()
            without = governed.request({"type": "1", "dest": new.did}, first)
            with pytest.raises(NotWrittenError, match="agreement in force must be accepted"):
                await client.submit(without, _signed_by(without, first))
        finally:
            await governed.write({"type": "8"}, first)


def _signed_by(request: Json, *people: Governor) -> dict[str, bytes]:
    said = build_custom_request(json.dumps(request)).signature_input
    return {one.did: one.key.sign(said).signature for one in people}


async def test_what_is_no_request_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, PaperPool()) as client:
        for wrong in ({"operation": {"type": "1"}}, {"operation": {"type": "999"}, "reqId": 1}):
            with pytest.raises(BadWriteError):
                await client.submit(wrong, b"x" * 64)
            with pytest.raises(BadWriteError):
                await client.find_transaction(wrong)


@pytest.mark.parametrize(
    "data", ["[]", "no json", '{"dest": "V4SGRU86Z58d6TV7PBUe6f"}', '{"dest": 1}', 7]
)
async def test_a_nym_that_is_none_is_not_believed(data: Any, tmp_path: Path) -> None:
    paper = PaperPool()

    def lie(reply: Json) -> None:
        if reply["type"] == "105":
            reply["data"] = data

    for node in paper.nodes.values():
        node.lies = lie
    async with opened(tmp_path, paper) as client:
        with pytest.raises(UntrustedReplyError):
            await client.nym(TRUSTEE.did)
