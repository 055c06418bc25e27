"""Replies of lying or broken nodes: each is compared with what was asked."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from indy_vdr import Request, VdrError, VdrErrorCode

from keep_ledger import codes
from keep_ledger.codes import Role
from keep_ledger.errors import LedgerUnavailableError
from keep_ledger.identifiers import CredDefId, Did, SchemaId
from keep_ledger.indy import replies, requests
from keep_ledger.indy.genesis import Genesis
from keep_ledger.indy.pool import Pool, RequestRefusedError
from keep_ledger.indy.replies import UntrustedReplyError
from keep_ledger.interface import Nym
from keep_ledger.json_object import Json

DID = Did("R5jfrMPWJRG4XPKvHFsSTx", "local")
OTHER = "CNsFp6n6n4FzU34e8viL62"
VERKEY = "E8GZyfuNviMYQqcE3awN2zgyY4EM7yaPKhtG7tPwNKPQ"
SCHEMA = SchemaId(DID, "licence", "1.0")
NYM = json.dumps({"dest": DID.id, "identifier": None, "role": "101", "verkey": VERKEY})


def proof(ledger_id: int, age_s: float = 1) -> Json:
    value = {"ledger_id": ledger_id, "timestamp": int(time.time() - age_s)}
    return {"multi_signature": {"value": value}}


def answer(question: Json, data: Any, **more: Any) -> Json:
    """What an honest node answers to a GET_NYM, without a proof."""
    echo = {k: v for k, v in question["operation"].items() if k in ("type", "dest", "raw")}
    return echo | {"reqId": question["reqId"], "data": data, "seqNo": 6, "txnTime": 1} | more


Lie = Callable[[Json], Json]


@dataclass
class Validators:
    """Stands where indy-vdr's pool does: `first` is the reply that comes with a proof."""

    first: Lie
    each: list[Lie] = field(default_factory=list[Lie])
    asked: int = 0

    async def submit_request(self, request: Request) -> Json:
        self.asked += 1
        return self.first(json.loads(request.body))

    async def submit_action(
        self, request: Request, _nodes: list[str] | None, _seconds: int
    ) -> dict[str, str]:
        question = json.loads(request.body)
        texts = [json.dumps({"op": "REPLY", "result": one(question)}) for one in self.each]
        return {f"Node{number}": text for number, text in enumerate(texts, 1)}

    def close(self) -> None: ...


def pool_of(validators: Any) -> Pool:
    async def none() -> Genesis:
        raise AssertionError("it is open already")

    pool = Pool("local", none, None)
    pool._pool, pool._refreshed, pool._health.nodes = validators, True, 4
    return pool


def honest(question: Json) -> Json:
    return answer(question, NYM)


def absent(question: Json) -> Json:
    return answer(question, None, seqNo=None)


async def ask(validators: Validators) -> Json:
    return await pool_of(validators).ask(requests.get_nym(DID), codes.DOMAIN)


async def test_a_fresh_proof_of_the_right_ledger_needs_no_second_node() -> None:
    reply = await ask(Validators(lambda q: honest(q) | {"state_proof": proof(1)}))
    nym = replies.nym(DID, "asked", reply)
    assert nym == Nym("asked", VERKEY, Role.ENDORSER, 6)


@pytest.mark.parametrize(
    "make",
    [
        partial(proof, 2),
        partial(proof, 0),
        partial(proof, 1, 301),
        partial(proof, 1, -400),
        lambda: None,
        dict,
    ],
)
async def test_sec_l_01_absence_without_a_proof_of_this_ledger_needs_agreement(
    make: Callable[[], Any],
) -> None:
    lie = make()  # now: its age counts from the test, not from when tests were collected
    first = Validators(
        lambda q: absent(q) | {"state_proof": lie}, [absent, honest, honest, honest]
    )
    assert replies.nym(DID, DID.id, await ask(first)) is not None
    alone = Validators(lambda q: absent(q) | {"state_proof": lie}, [absent])
    with pytest.raises(UntrustedReplyError, match="do not agree"):
        await ask(alone)


CONTENT = NYM[:-1] + ', "diddocContent": "{\\"service\\": [{\\"id\\": \\"#a\\"}]}"}'


@pytest.mark.parametrize("spelt", [CONTENT, CONTENT.replace("diddocC", "diddoc\\u0043")])
async def test_sec_l_13_one_node_cannot_add_an_endpoint_to_a_proved_nym(spelt: str) -> None:
    """The proof of a NYM covers its key and role, not what its owner adds to the document."""

    def adds(question: Json) -> Json:
        return answer(question, spelt, state_proof=proof(1))

    found = replies.nym(
        DID, DID.id, await ask(Validators(adds, [adds, honest, honest, honest]))
    )
    assert found == Nym(DID.id, VERKEY, Role.ENDORSER, 6)
    found = replies.nym(DID, DID.id, await ask(Validators(adds, [adds, adds, honest])))
    assert found == Nym(DID.id, VERKEY, Role.ENDORSER, 6, {"service": [{"id": "#a"}]})


@pytest.mark.parametrize("content", ["no JSON", "[]", "7", "[" * 100_000, 7, None, ["a"]])
def test_content_that_is_no_object_counts_as_none(content: Any) -> None:
    data = json.dumps(json.loads(NYM) | {"diddocContent": content})
    found = replies.nym(DID, DID.id, {"data": data, "seqNo": 6})
    assert found == Nym(DID.id, VERKEY, Role.ENDORSER, 6)


@pytest.mark.parametrize(("nodes", "signers"), [(1, 1), (4, 3), (7, 5), (25, 17)])
def test_sec_l_01_proofs_count_only_where_more_than_f_nodes_must_sign(
    nodes: int, signers: int
) -> None:
    assert replies.enough_sign(nodes, nodes)
    assert replies.enough_sign(nodes, signers)
    assert not replies.enough_sign(nodes, signers - 1)


async def test_sec_l_01_where_few_nodes_sign_a_proof_needs_agreement() -> None:
    def proves(question: Json) -> Json:
        return absent(question) | {"state_proof": proof(1)}

    pool = pool_of(Validators(proves, [proves, honest, honest, honest]))
    pool._proofs_count = False
    reply = await pool.ask(requests.get_nym(DID), codes.DOMAIN)
    assert replies.nym(DID, DID.id, reply) is not None


async def test_sec_l_02_a_stale_proof_is_no_proof() -> None:
    old = Validators(
        lambda q: honest(q) | {"state_proof": proof(1, 3600), "ver": "1"}, [absent] * 3
    )
    assert replies.nym(DID, DID.id, await ask(old)) is None


@pytest.mark.parametrize(
    "lie",
    [
        {"type": "107"},
        {"reqId": 1},
        {"dest": OTHER},
        {"type": None},
    ],
)
async def test_sec_l_13_an_answer_to_another_question_is_refused(lie: Json) -> None:
    liar = Validators(lambda q: honest(q) | {"state_proof": proof(1)} | lie)
    with pytest.raises(UntrustedReplyError):
        await ask(liar)


async def test_sec_l_13_one_liar_of_four_cannot_make_an_agreement() -> None:
    def other_key(question: Json) -> Json:
        return answer(question, NYM.replace(VERKEY, DID.id))

    split = Validators(absent, [other_key, absent, lambda q: honest(q) | {"reqId": 1}])
    with pytest.raises(UntrustedReplyError, match="do not agree"):
        await ask(split)


@pytest.mark.parametrize(
    "data",
    [
        NYM.replace(DID.id, OTHER),
        NYM.replace('"101"', '"999"'),
        NYM.replace('"101"', "101"),
        NYM.replace(VERKEY, "short"),
        "{}",
        "[]",
        "no JSON",
        {"dest": DID.id},
        7,
    ],
)
def test_sec_l_13_a_nym_that_does_not_parse_is_refused(data: Any) -> None:
    with pytest.raises(UntrustedReplyError):
        replies.nym(DID, DID.id, {"data": data, "seqNo": 6})


def test_a_nym_without_a_place_in_the_ledger_is_refused() -> None:
    with pytest.raises(UntrustedReplyError):
        replies.nym(DID, DID.id, {"data": NYM, "seqNo": "6"})


def schema_reply(**data: Any) -> Json:
    body = {"name": "licence", "version": "1.0", "attr_names": ["name"]} | data
    return {"data": body, "seqNo": 8}


def test_sec_l_13_a_schema_with_another_name_is_refused() -> None:
    assert replies.schema(SCHEMA, schema_reply()) is not None
    lies: list[Json] = [{"name": "other"}, {"version": "1.1"}, {"attr_names": []}]
    for lie in [*lies, {"attr_names": "name"}]:
        with pytest.raises(UntrustedReplyError):
            replies.schema(SCHEMA, schema_reply(**lie))
    with pytest.raises(UntrustedReplyError):
        replies.schema(SCHEMA, schema_reply() | {"seqNo": None})
    assert replies.schema(SCHEMA, {"data": {"name": "licence", "version": "1.0"}}) is None


def test_sec_l_13_a_credential_definition_without_keys_is_refused() -> None:
    asked = CredDefId(DID, 8, "default")
    lies: list[Json] = [{"data": []}, {"data": {}}, {"data": {"primary": {}}, "seqNo": None}]
    for lie in lies:
        with pytest.raises(UntrustedReplyError):
            replies.cred_def(asked, SCHEMA, lie)
    assert replies.cred_def(asked, SCHEMA, {"data": None}) is None


def test_sec_l_13_an_attribute_of_another_name_is_refused() -> None:
    assert replies.attrib("endpoint", {"data": '{"endpoint": {}}'}) == {"endpoint": {}}
    for lie in ('{"url": {}}', '{"endpoint": {}, "url": {}}', "[]", "no JSON", 7):
        with pytest.raises(UntrustedReplyError):
            replies.attrib("endpoint", {"data": lie})


def test_sec_l_10_an_agreement_has_the_digest_of_its_text() -> None:
    digest = hashlib.sha256(b"1.0text").hexdigest()
    data = {"text": "text", "version": "1.0", "digest": digest}
    assert replies.taa({"data": data}) == ("text", "1.0", digest)
    for lie in ({"text": "other"}, {"digest": None}, {"version": "2.0"}):
        with pytest.raises(UntrustedReplyError):
            replies.taa({"data": data | lie})


def test_a_hint_that_is_no_schema_transaction_is_none() -> None:
    good = {
        "type": "101",
        "metadata": {"from": DID.id},
        "data": {"data": {"name": "a", "version": "1"}},
    }
    assert replies.schema_hint("local", {"data": {"txn": good}}) == SchemaId(DID, "a", "1")
    lies: list[Any] = [
        None,
        {},
        {"txn": good | {"type": "1"}},
        {"txn": good | {"metadata": {}}},
        [],
    ]
    for lie in lies:
        assert replies.schema_hint("local", {"data": lie}) is None


async def test_a_refused_read_is_no_answer() -> None:
    def refuse(question: Json) -> Json:
        raise VdrError(VdrErrorCode.POOL_REQUEST_FAILED, "Request failed", '{"op": "REJECT"}')

    with pytest.raises(LedgerUnavailableError, match="refuse to answer"):
        await ask(Validators(refuse))


async def test_a_silent_pool_is_noted_and_a_refusal_is_an_answer() -> None:
    def timeout(question: Json) -> Json:
        raise VdrError(VdrErrorCode.POOL_TIMEOUT, "Pool timeout")

    pool = pool_of(Validators(timeout))
    with pytest.raises(LedgerUnavailableError, match="local: Pool timeout"):
        await pool.ask(requests.get_nym(DID), codes.DOMAIN)
    assert pool.status().answers is False
    assert pool.status().last_error == "Pool timeout"
    assert not pool._refreshed

    def refuse(question: Json) -> Json:
        raise VdrError(VdrErrorCode.POOL_REQUEST_FAILED, "Request failed")

    pool = pool_of(Validators(refuse))
    with pytest.raises(RequestRefusedError):
        await pool.write(requests_of_a_write())
    assert pool.status().answers is True


def requests_of_a_write() -> Any:
    class _Body:
        body = "{}"

    return _Body()


async def test_a_cancelled_reader_leaves_the_pool_usable() -> None:
    gate = asyncio.Event()

    @dataclass
    class Slow(Validators):
        async def submit_request(self, request: Request) -> Json:
            await gate.wait()
            return await super().submit_request(request)

    pool = pool_of(Slow(lambda q: honest(q) | {"state_proof": proof(1)}))
    reader = asyncio.create_task(pool.ask(requests.get_nym(DID), codes.DOMAIN))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    gate.set()
    assert (await pool.ask(requests.get_nym(DID), codes.DOMAIN))["seqNo"] == 6
