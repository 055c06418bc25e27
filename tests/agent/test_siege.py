"""A running agent under attack over HTTP: nothing dies, nothing changes, honest traffic goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from agent.processes import Spawned, spawned
from agent.stranger import (
    NEW,
    WIRE,
    Contact,
    Identity,
    Json,
    Stranger,
    Tie,
    fresh,
    join,
    listening,
    pack,
    peer1,
    peer2,
    peer4,
    read_invitation,
    recipient_of,
    request,
    unurl64,
    url64,
)

from keep_agent.errors import LocalError

FAMILIES = ("out-of-band", "did-exchange", "basic-message", "trust-ping", "present-proof")
PING = f"{NEW}trust_ping/1.0/ping"
REFUSED = {400, 404, 405, 408, 413, 415}
MB = 1 << 20
JUNK = 200


@dataclass
class Siege:
    """An agent with an honest peer and a hostile one."""

    agent: Spawned
    alice: Tie
    mallory: Tie

    async def state(self) -> list[Json]:
        """Return every exchange and connection, but for the hostile peer's own small talk."""
        client = self.agent.client
        rows: list[Any] = [*await client.connections(limit=1000)]
        for family in FAMILIES:
            rows += await client.list(family, limit=1000)
        return rows

    @asynccontextmanager
    async def unharmed(self) -> AsyncGenerator[None]:
        """Whatever happens inside changes nothing, and the agent still serves its honest peer."""
        before = await self.state()
        yield
        await self.alice.ping()
        assert self.agent.process.returncode is None
        assert await self.state() == before

    async def refused(self, packed: Json | bytes, to: Contact | None = None) -> None:
        """Post something that costs its sender an error."""
        status = await self.mallory.stranger.post(to or self.mallory.them, packed)
        assert status in REFUSED, status

    def sealed(self, body: Json | bytes) -> Json:
        return pack(body, self.mallory.them.verkey, self.mallory.us)


async def connect(agent: Spawned, stranger: Stranger) -> Tie:
    x = await agent.client.start("out-of-band", "create-invitation")
    return await join(stranger, x["data"]["message"], stranger.new())


@pytest.fixture(scope="module")
async def siege(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Siege, None]:
    async with AsyncExitStack() as stack:
        folder = tmp_path_factory.mktemp("agent")
        agent = await stack.enter_async_context(spawned(folder))
        auto = {"request-received": {"command": "send-response"}}
        await agent.client.set_policy("didexchange/1", auto)
        alice = await stack.enter_async_context(listening())
        mallory = await stack.enter_async_context(listening())
        yield Siege(agent, await connect(agent, alice), await connect(agent, mallory))
        log = (folder / "log").read_text()
        assert "Traceback" not in log
        assert "failed" not in log


def ping(**more: Any) -> Json:
    return {"@type": PING, "@id": fresh(), **more}


# -- envelopes that are none -----------------------------------------------------------------------

GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"\x00\xff\xfe junk",
    "a list": b"[]",
    "a text": b'"protected"',
    "null": b"null",
    "an empty object": b"{}",
    "numbers for members": b'{"protected":1,"iv":2,"ciphertext":3,"tag":4}',
    "objects for members": b'{"protected":{},"iv":[],"ciphertext":null,"tag":true}',
    "100,000 brackets": b"[" * 100_000,
    "100,000 nested objects": b'{"protected":' * 70_000,
    "100,000 keys": b"{%s}" % b",".join(b'"%d":0' % i for i in range(100_000)),
    "a number of a million digits": b'{"protected":%s}' % (b"9" * 1_000_000),
    "a float of a million digits": b'{"protected":1.%s}' % (b"9" * 1_000_000),
    "1e999999": b'{"protected":1e999999}',
    "NaN": b'{"protected":NaN,"iv":Infinity,"ciphertext":-Infinity,"tag":NaN}',
    "a key twice": b'{"protected":"e30","protected":"e30","iv":"","ciphertext":"","tag":""}',
    "too long": b'{"protected":"%s"}' % (b"A" * MB),
    "UTF-16": '{"protected":""}'.encode("utf-16"),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_sec_e_07_what_is_no_envelope_is_refused(siege: Siege, name: str) -> None:
    async with siege.unharmed():
        await siege.refused(GARBAGE[name])


Change = Callable[[Json, Siege], Any]


def _header(change: Callable[[Json], object]) -> Change:
    """Change the protected header after sealing: the tag no longer fits, nor may it matter."""

    def changed(envelope: Json, _siege: Siege) -> Json:
        header = json.loads(unurl64(envelope["protected"]))
        change(header)
        return {**envelope, "protected": url64(json.dumps(header).encode())}

    return changed


def _resealed(**header: Any) -> Change:
    """Seal it again under another header: the tag fits."""

    def changed(_envelope: Json, siege: Siege) -> Json:
        tie = siege.mallory
        return pack(ping(), tie.them.verkey, tie.us, **header)

    return changed


def _recipients(make: Callable[[Siege], list[Any]]) -> Change:
    def changed(_envelope: Json, siege: Siege) -> Json:
        tie = siege.mallory
        return pack(ping(), tie.them.verkey, tie.us, recipients=make(siege))

    return changed


def _spaced(text: str) -> str:
    return f"{text[:4]}\n{text[4:]}"


def _one(siege: Siege) -> Json:
    return recipient_of(bytes(32), siege.mallory.them.verkey, siege.mallory.us)


MANGLED: dict[str, Change] = {
    "alg none": _resealed(alg="none"),
    "alg in small letters": _resealed(alg="authcrypt"),
    "Anoncrypt that was authcrypted": _resealed(alg="Anoncrypt"),
    "another enc": _resealed(enc="A256GCM"),
    "another typ": _resealed(typ="application/didcomm-encrypted+json"),
    "alg is a list": _resealed(alg=["Authcrypt"]),
    "zip": _resealed(zip="DEF"),
    "no recipients": _resealed(recipients=[]),
    "recipients are an object": _resealed(recipients={"0": {}}),
    "recipients are numbers": _resealed(recipients=[1, 2]),
    "recipients have no header": _resealed(recipients=[{"encrypted_key": "x"}]),
    "10,000 recipients": _recipients(lambda s: [_one(s)] * 10_000),
    "33 recipients": _recipients(
        lambda s: [recipient_of(bytes(32), Identity().verkey, s.mallory.us) for _ in range(33)]
    ),
    "the same recipient twice": _recipients(lambda s: [_one(s), _one(s)]),
    "somebody else's key": _recipients(
        lambda s: [recipient_of(bytes(32), Identity().verkey, s.mallory.us)]
    ),
    "a key that is a path": _recipients(lambda s: [{**_one(s), "header": {"kid": "../../x"}}]),
    "a key off the curve": _recipients(
        lambda s: [{**_one(s), "header": {**_one(s)["header"], "kid": "1" * 43}}]
    ),
    "the content key of nobody": _recipients(lambda s: [_one(s)]),
    "a sender that is no key": _recipients(
        lambda s: [{**_one(s), "header": {**_one(s)["header"], "sender": "AAAA"}}]
    ),
    "no tag": lambda e, _: {k: v for k, v in e.items() if k != "tag"},
    "one member more": lambda e, _: {**e, "unprotected": {}},
    "short iv": lambda e, _: {**e, "iv": e["iv"][:8]},
    "long iv": lambda e, _: {**e, "iv": url64(bytes(24))},
    "flipped tag": lambda e, _: {**e, "tag": url64(bytes(16))},
    "empty ciphertext": lambda e, _: {**e, "ciphertext": ""},
    "short ciphertext": lambda e, _: {**e, "ciphertext": e["ciphertext"][:-4]},
    "blanks in base64": lambda e, _: {**e, "ciphertext": _spaced(e["ciphertext"])},
    "blanks in the header": lambda e, _: {**e, "protected": _spaced(e["protected"])},
    "plain base64": lambda e, _: {**e, "iv": "++++////++++////"},
    "dangling bits": lambda e, _: {**e, "tag": e["tag"].rstrip("=")[:-1] + "B"},
    "another header": _header(lambda h: h.update(extra=1)),
    "a header of 1 MB": lambda e, _: {**e, "protected": url64(b" " * 700_000)},
    "cut in two": lambda e, _: json.dumps(e).encode()[:-200],
}


@pytest.mark.parametrize("name", MANGLED)
async def test_sec_e_04_a_mangled_envelope_is_refused(siege: Siege, name: str) -> None:
    async with siege.unharmed():
        await siege.refused(MANGLED[name](siege.sealed(ping()), siege))


async def test_the_envelope_that_is_not_mangled_is_taken(siege: Siege) -> None:
    """Or the tests above would hold for another reason."""
    async with siege.unharmed():
        assert (
            await siege.mallory.stranger.post(siege.mallory.them, siege.sealed(ping())) == 202
        )
        await siege.mallory.stranger.hear("trust_ping/1.0/ping_response")


async def test_http_that_is_none_of_ours_is_refused(siege: Siege) -> None:
    http, url = siege.mallory.stranger.http, siege.mallory.them.endpoint
    packed = json.dumps(siege.sealed(ping())).encode()
    async with siege.unharmed():
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "HEAD"):
            async with http.request(method, url, data=packed) as answer:
                assert answer.status == 405
        for kind in ("application/json", "text/plain", "multipart/form-data", WIRE + "x"):
            assert await siege.mallory.stranger.post(siege.mallory.them, b"{}", kind) == 400
        coded = {"Content-Type": WIRE, "Content-Encoding": "gzip"}
        async with http.post(url, data=packed, headers=coded) as answer:
            assert answer.status == 415
        for path in (
            "/d/nobody",
            "/d/system",
            "/d/..%2fmain",
            "/d/main/",
            "/",
            "/d/" + "x" * 99,
        ):
            async with http.post(_base(url) + path, data=packed, headers=coded) as answer:
                assert answer.status in REFUSED


def _base(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


# -- messages that are none ------------------------------------------------------------------------

BODIES: dict[str, bytes] = {
    "a list": b"[]",
    "a list of a message": b"[%s]" % json.dumps(ping()).encode(),
    "a text": b'"x"',
    "nothing": b"",
    "no JSON": b"\xff\xfe",
    "no type": b'{"@id":"x"}',
    "no id": b'{"@type":"%s"}' % PING.encode(),
    "NaN": b'{"@type":"%s","@id":"n","x":NaN}' % PING.encode(),
    "a key twice": b'{"@type":"%s","@id":"n","@id":"m"}' % PING.encode(),
    "half a surrogate": b'{"@type":"%s","@id":"n","comment":"\\ud800"}' % PING.encode(),
    "a million digits": b'{"@type":"%s","@id":"n","x":%s}' % (PING.encode(), b"9" * 1_000_000),
    "60,000 keys": b'{"@type":"%s","@id":"n",%s}'
    % (PING.encode(), b",".join(b'"%d":0' % i for i in range(60_000))),
    "65 levels": b'{"@type":"%s","@id":"n","x":%s}' % (PING.encode(), b"[" * 65 + b"]" * 65),
    "100,000 levels": b'{"@type":"%s","@id":"n","x":%s' % (PING.encode(), b"[" * 100_000),
    "an id that is a list": b'{"@type":"%s","@id":["n"]}' % PING.encode(),
    "an id of 100,000 letters": b'{"@type":"%s","@id":"%s"}' % (PING.encode(), b"i" * 100_000),
    "an id with a line break": b'{"@type":"%s","@id":"a\\nb"}' % PING.encode(),
    "a thread of 100,000 letters": b'{"@type":"%s","@id":"n","~thread":{"thid":"%s"}}'
    % (PING.encode(), b"t" * 100_000),
}


@pytest.mark.parametrize("name", BODIES)
async def test_sec_e_07_what_is_no_message_is_refused(siege: Siege, name: str) -> None:
    async with siege.unharmed():
        await siege.refused(siege.sealed(BODIES[name]))


TYPES = (
    "https://didcomm.org/Trust_Ping/1.0/ping",
    "https://didcomm.org/trust_ping/1.0/ping/",
    "https://didcomm.org/trust_ping/1.0/PING",
    "https://didcomm.org//trust_ping/1.0/ping",
    "https://didcomm.org/trust_ping/1.0/../1.0/ping",
    "https://didcomm.org/trust_ping/1.0/ping?x",
    "https://didcomm.org/trust_ping/1.0/ping#x",
    "https://didcomm.org/trust_ping/1.0/ping\n",
    "https://didcomm.org/trust_ping/\u0661.0/ping",
    "https://didcomm.org/trust_p\u0131ng/1.0/ping",
    "https://didcomm.org/trust_ping/2.0/ping",
    "https://didcomm.org/trust_ping/1.99999/ping",
    "https://didcomm.org.evil.example/trust_ping/1.0/ping",
    "https://evil.example/trust_ping/1.0/ping",
    "http://didcomm.org/trust_ping/1.0/ping",
    "HTTPS://didcomm.org/trust_ping/1.0/ping",
    "did:sov:BzCbsNYhMrjHiqZDTUASHg;spec/spec/trust_ping/1.0/ping",
    "did:sov:AAAAAAAAAAAAAAAAAAAAAA;spec/trust_ping/1.0/ping",
    "trust_ping/1.0/ping",
    "",
)


async def test_sec_e_08_only_the_known_spellings_of_a_type_are_taken(siege: Siege) -> None:
    """Some are answered with a problem report, the others with an error."""
    async with siege.unharmed():
        for uri in (*TYPES, None, 7, ["x"], {"@type": PING}):
            body = {"@type": uri, "@id": fresh()}
            status = await siege.mallory.send(body)
            assert status in {202, 400}, uri
        while not siege.mallory.stranger.inbox.empty():
            told, _ = siege.mallory.stranger.inbox.get_nowait()
            assert told["@type"].endswith("/problem-report"), told


async def test_sec_e_08_a_newer_minor_version_is_taken(siege: Siege) -> None:
    async with siege.unharmed():
        assert await siege.mallory.send({"@type": f"{NEW}trust_ping/1.9999/ping", "@id": fresh()}) == 202  # fmt: skip
        await _heard(siege.mallory, "trust_ping/1.0/ping_response")


async def _heard(tie: Tie, name: str) -> Json:
    """Return the next message of a type, past problem reports that are still on their way."""
    while True:
        async with asyncio.timeout(20):
            body, _ = await tie.stranger.inbox.get()
        if body["@type"] == NEW + name:
            return body


# -- who says so -----------------------------------------------------------------------------------


async def test_sec_e_01_another_sender_is_refused(siege: Siege) -> None:
    alice = siege.alice.them
    async with siege.unharmed():
        await siege.refused(pack(ping(), alice.verkey, siege.mallory.us), alice)
        await siege.refused(pack(ping(), alice.verkey, Identity()), alice)


async def test_sec_e_02_an_anonymous_message_is_refused(siege: Siege) -> None:
    async with siege.unharmed():
        for body in (ping(), {"@type": f"{NEW}didexchange/1.1/problem_report", "@id": "x"}):
            await siege.refused(pack(body, siege.alice.them.verkey, None), siege.alice.them)


async def test_sec_e_05_forwards_lead_nowhere(siege: Siege) -> None:
    """Three may be nested for ourselves; to somebody else they are dropped in silence."""
    them = siege.mallory.them
    async with siege.unharmed():
        packed = siege.sealed(ping())
        for depth in range(1, 6):
            outer = {"@type": f"{NEW}routing/1.0/forward", "@id": fresh(), "to": them.verkey}
            packed = pack({**outer, "msg": packed}, them.verkey, None)
            status = await siege.mallory.stranger.post(them, packed)
            assert status == (202 if depth <= 3 else 400), depth
        body: Json = {"@type": f"{NEW}routing/1.0/forward", "@id": fresh(), "msg": packed}
        for to in (Identity().verkey, siege.alice.us.verkey):
            elsewhere = pack({**body, "to": to}, them.verkey, None)
            assert await siege.mallory.stranger.post(them, elsewhere) == 202
        nobody: list[Any] = [None, 7, "x", "did:web:evil.example"]
        for to in nobody:
            await siege.refused(pack({**body, "to": to}, them.verkey, None))
        empty: list[Any] = [None, "", "x", {}, [], {"protected": "x"}]
        for msg in empty:
            nothing = pack({**body, "to": them.verkey, "msg": msg}, them.verkey, None)
            await siege.refused(nothing)


async def test_sec_e_09_10_a_thread_of_somebody_else_is_not_reached(siege: Siege) -> None:
    """Acks, problem reports and answers of the wrong peer."""
    client = siege.agent.client
    connection = await _connection(siege, siege.alice)
    x = await client.start("trust-ping", "send-ping", connection)
    asked = await siege.alice.stranger.hear("trust_ping/1.0/ping")
    thread = {"~thread": {"thid": asked["@id"], "pthid": siege.alice.thid}}
    async with siege.unharmed():
        for kind in (
            "trust_ping/1.0/ping_response",
            "trust_ping/1.0/problem-report",
            "notification/1.0/ack",
            "notification/1.0/problem-report",
            "report-problem/1.0/problem-report",
            "present-proof/2.0/ack",
            "issue-credential/2.0/ack",
            "didexchange/1.1/problem_report",
        ):
            body = {"@type": NEW + kind, "@id": fresh(), **thread, "status": "OK"}
            assert await siege.mallory.send(body) in {202, 400}
            threaded = {**body, "~thread": {"thid": siege.alice.thid}}
            assert await siege.mallory.send(threaded) in {202, 400}
        assert (await client.get("trust-ping", x["id"]))["state"] == "waiting"


async def _connection(siege: Siege, tie: Tie) -> str:
    (x,) = await siege.agent.client.list("did-exchange", thid=tie.thid)
    assert x["connection"] is not None
    return x["connection"]


async def test_messages_out_of_order_change_nothing(siege: Siege) -> None:
    thread = {"~thread": {"thid": siege.mallory.thid, "pthid": "another"}}
    async with siege.unharmed():
        for kind in (
            "didexchange/1.1/complete",
            "didexchange/1.1/response",
            "didexchange/1.1/request",
            "out-of-band/1.1/invitation",
            "out-of-band/1.1/handshake-reuse-accepted",
            "present-proof/2.0/presentation",
            "issue-credential/2.0/issue-credential",
        ):
            body = {"@type": NEW + kind, "@id": fresh(), **thread}
            assert await siege.mallory.send(body) in {202, 400}
            assert await siege.mallory.send({**body, "did": "did:sov:x", "~thread": {}}) in {
                202,
                400,
            }


async def test_another_content_under_a_known_id_is_refused(siege: Siege) -> None:
    body: Json = {"@type": f"{NEW}basicmessage/1.0/message", "@id": fresh(), "content": "yes"}
    body["~thread"] = {"thid": fresh()}
    assert await siege.mallory.send(body) == 202
    async with siege.unharmed():
        for content in ("no", "maybe"):
            assert await siege.mallory.send({**body, "content": content}) in {202, 400}
        assert await siege.mallory.send(body) == 202


async def test_sec_o_02_a_used_invitation_is_refused(siege: Siege) -> None:
    x = await siege.agent.client.start("out-of-band", "create-invitation")
    invitation = x["data"]["message"]
    async with listening() as first:
        await join(first, invitation, first.new())
        async with siege.unharmed():
            us = first.new()
            asked = request(invitation, {"did": peer4(us, first.endpoint)})
            assert await first.send(read_invitation(invitation), asked, us) == 202
            told = await first.hear("didexchange/1.1/problem_report")
            assert told["description"]["code"] == "request_not_accepted"
            assert told["~thread"] == {"thid": asked["@id"], "pthid": invitation["@id"]}


async def test_sec_e_13_a_request_for_the_did_of_somebody_else_is_refused(
    siege: Siege,
) -> None:
    """The DID, or the signature under its document, is not the sender's."""
    mallory, alice = siege.mallory.stranger, siege.alice
    x = await siege.agent.client.start("out-of-band", "create-invitation", multi_use=True)
    invitation = x["data"]["message"]
    inviter, us = read_invitation(invitation), mallory.new()
    did, document = peer1(us, mallory.endpoint)
    unsigned = {"@id": "d", "data": {"base64": url64(json.dumps(document).encode())}}
    short = peer4(us, mallory.endpoint).rpartition(":")[0]
    wrong: tuple[Json, ...] = (
        {"did": peer4(alice.us, alice.stranger.endpoint)},
        {"did": peer2(alice.us, alice.stranger.endpoint)},
        {"did": did},
        {"did": did, "did_doc~attach": unsigned},
        {"did": short},
        {"did": peer4(us, mallory.endpoint) + "2"},
        {"did": "did:peer:2.S" + "A" * 4000},
        {"did": "did:peer:2" + ".Sfw" * 1000},
        {"did": "did:peer:4z" + "1" * 2000 + ":z" + "1" * 2000},
        {"did": "did:key:z" + "1" * 4000},
        {"did": "did:web:localhost"},
        {"did": "x" * 100_000},
        {"did": None},
    )
    async with siege.unharmed():
        for more in wrong:
            await siege.refused(pack(request(invitation, more), inviter.verkey, us), inviter)


async def test_sec_o_08_a_huge_invitation_is_refused(siege: Siege) -> None:
    client = siege.agent.client
    huge = {"@type": f"{NEW}out-of-band/1.1/invitation", "@id": "x", "label": "l" * 900_000}
    async with siege.unharmed():
        with pytest.raises(LocalError):
            await client.start("out-of-band", "receive-invitation", invitation=huge)
        url = f"http://x/?oob={'A' * 900_000}"
        with pytest.raises(LocalError):
            await client.start("out-of-band", "receive-invitation", url=url)


RECORDED = Path(__file__).parent / "protocols" / "recorded_credentials.jsonl"
WRONG: tuple[Any, ...] = (
    None, 0, -1, 10**30, "", "x" * 300, [], {}, [[]], {"a": 1}, True, "a\x00b", "0x1", 1.5, "\u202ex",
)  # fmt: skip


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner: Any = value
    keys: Any = ()
    if isinstance(value, dict | list):
        keys = inner if isinstance(value, dict) else range(len(inner))
    for key in keys:
        yield from _leaves(inner[key], (*path, key))


def _put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = value.copy()
    changed[path[0]] = _put(value[path[0]], path[1:], new)
    return changed


def _wronged(message: Json) -> Iterator[Json]:
    """Put something wrong in each place of a message, and of what is attached to it."""
    for path in _leaves(message):
        if path and path[0] not in {"@type", "@id", "~thread"}:
            yield from (_put(message, path, wrong) for wrong in WRONG)
    (name,) = [key for key in message if key.endswith("~attach")]
    inner = json.loads(unurl64(message[name][0]["data"]["base64"].rstrip("=")))
    for path in _leaves(inner):
        for wrong in WRONG:
            content = json.dumps(_put(inner, path, wrong)).encode()
            yield _put(message, (name, 0, "data"), {"base64": url64(content)})


async def test_sec_i_what_is_wrong_in_an_offer_or_a_question_is_an_error_to_its_sender(
    siege: Siege,
) -> None:
    """Never a failure of ours: the log is looked at when the agent ends."""
    lines = RECORDED.read_text("utf-8").splitlines()
    messages = [json.loads(line)["message"] for line in lines]
    openings = ("offer-credential", "request-presentation")
    wrong: list[Json] = [
        {**body, "@id": fresh(), "~thread": Json()}
        for message in messages
        if message["@type"].endswith(openings)
        for body in _wronged(message)
    ]
    assert len(wrong) > 1000
    for start in range(0, len(wrong), 140):
        some = wrong[start : start + 140 : 7]
        statuses = await asyncio.gather(*(siege.mallory.send(body) for body in some))
        assert set(statuses) <= {202, 400}
    await siege.alice.ping()


# -- much of it ------------------------------------------------------------------------------------


async def test_sec_e_15_junk_is_neither_amplified_nor_kept(siege: Siege) -> None:
    mallory = siege.mallory.stranger
    process = psutil.Process(siege.agent.process.pid)
    answers = mallory.calls
    async with siege.unharmed():
        before = process.memory_info().rss
        junk: list[Json] = []
        for i in range(JUNK):
            pong = {"@type": f"{NEW}trust_ping/1.0/ping_response", "@id": fresh()}
            junk += [
                {"@type": f"{NEW}junk{i}/1.0/x", "@id": fresh(), "x": "y" * i},
                {**pong, "~thread": {"thid": fresh()}},
                {"@type": f"{NEW}present-proof/2.0/request-presentation", "@id": fresh()},
            ]
        packed = [siege.sealed(body) for body in junk]
        for start in range(0, len(packed), 50):
            await asyncio.gather(
                *(mallory.post(siege.mallory.them, one) for one in packed[start : start + 50]),
                siege.alice.ping() if start % 200 == 0 else asyncio.sleep(0),
            )
        assert process.memory_info().rss - before < 40 * MB
    assert mallory.calls - answers < 40


async def test_slow_and_broken_clients_do_not_keep_others_out(siege: Siege) -> None:
    """500 connections: half a head, half a body, or what is no HTTP at all."""
    where = urlsplit(siege.mallory.them.endpoint)
    head = f"POST {where.path} HTTP/1.1\r\nHost: x\r\nContent-Type: {WIRE}\r\n"
    heads = (
        head.encode(),
        f"{head}Content-Length: 100000\r\n\r\n{{".encode(),
        f"{head}Transfer-Encoding: chunked\r\n\r\nffffffff\r\n{{".encode(),
        f"{head}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nzz\r\n".encode(),
        f"{head}Content-Length: -1\r\n\r\n".encode(),
        b"\x16\x03\x01\x02\x00" + bytes(512),
        b"GET / HTTP/1.1\r\n" * 200,
        f"{head}Content-Length: 2\r\n\r\n{{}}".encode() * 50 + b"\x00\r\n\r\n",
        head.encode() + b"X: " + b"y" * 100_000,
        b"\r\n" * 5000,
    )
    async with siege.unharmed():
        writers: list[asyncio.StreamWriter] = []
        for i in range(500):
            _, writer = await asyncio.open_connection(where.hostname, where.port)
            writer.write(heads[i % len(heads)])
            writers.append(writer)
        await asyncio.gather(*(siege.alice.ping() for _ in range(1)))
        for writer in writers:
            writer.transport.abort()


async def test_hundreds_of_pings_at_once_are_all_answered(siege: Siege) -> None:
    tie = siege.mallory
    async with siege.unharmed():
        sent = [ping() for _ in range(200)]
        statuses = await asyncio.gather(*(tie.send(body) for body in sent))
        assert set(statuses) == {202}
        missing = {body["@id"] for body in sent}
        while missing:  # answers to earlier pings may be among them
            told = await _heard(tie, "trust_ping/1.0/ping_response")
            missing.discard(told["~thread"]["thid"])


# -- agents of their own ---------------------------------------------------------------------------


async def test_sec_e_03_a_replay_has_no_effect_even_after_a_restart(tmp_path: Path) -> None:
    async with listening() as mallory:
        recorded: list[Json] = []
        async with spawned(tmp_path) as agent:
            auto = {"request-received": {"command": "send-response"}}
            await agent.client.set_policy("didexchange/1", auto)
            x = await agent.client.start("out-of-band", "create-invitation", multi_use=True)
            invitation = x["data"]["message"]
            inviter, us = read_invitation(invitation), mallory.new()
            asked = request(invitation, {"did": peer4(us, mallory.endpoint)})
            recorded.append(pack(asked, inviter.verkey, us))
            assert await mallory.post(inviter, recorded[0]) == 202
            response, sender = await mallory.hear_with_sender("didexchange/1.1/response")
            assert sender is not None
            said = {"@type": f"{NEW}basicmessage/1.0/message", "@id": fresh(), "content": "!"}
            done = {"@type": f"{NEW}didexchange/1.1/complete", "@id": fresh()}
            done["~thread"] = response["~thread"]
            recorded += [pack(body, sender, us) for body in (done, said, ping())]
            for packed in recorded[1:]:
                assert await mallory.post(inviter, packed) == 202
            await mallory.hear("trust_ping/1.0/ping_response")
            before = await Siege(agent, *_nobody(mallory, inviter, us)).state()
            for packed in recorded * 2:
                assert await mallory.post(inviter, packed) == 202
            assert await Siege(agent, *_nobody(mallory, inviter, us)).state() == before
        calls = mallory.calls
        async with spawned(tmp_path) as agent:
            moved = replace(inviter, endpoint=agent.places["endpoint"])
            for packed in recorded * 2:
                assert await mallory.post(moved, packed) == 202
            assert await Siege(agent, *_nobody(mallory, moved, us)).state() == before
        assert mallory.calls == calls
        assert mallory.inbox.empty()


def _nobody(stranger: Stranger, them: Contact, us: Identity) -> tuple[Tie, Tie]:
    tie = Tie(stranger, us, them, "")
    return tie, tie


async def test_sec_s_a_guarded_agent_calls_no_inner_endpoint(tmp_path: Path) -> None:
    async with listening() as canary, spawned(tmp_path, ALLOW_PRIVATE_EGRESS="0") as agent:
        auto = {"request-received": {"command": "send-response"}}
        await agent.client.set_policy("didexchange/1", auto)
        port = urlsplit(canary.endpoint).port
        inner = (
            canary.endpoint,
            f"http://localhost:{port}/",
            f"http://0.0.0.0:{port}/",
            f"http://[::1]:{port}/",
            f"http://[::ffff:127.0.0.1]:{port}/",
            f"http://2130706433:{port}/",
            f"http://0x7f.1:{port}/",
            f"http://127.1:{port}/",
            f"http://a@127.0.0.1:{port}/",
            "http://169.254.169.254/latest/meta-data/",
            "http://metadata.google.internal/",
            "file:///etc/passwd",
            agent.places["admin_url"],
        )
        x = await agent.client.start("out-of-band", "create-invitation", multi_use=True)
        invitation = x["data"]["message"]
        to = read_invitation(invitation)
        for i, endpoint in enumerate(inner):
            us = canary.new()
            did = (peer2, peer4)[i % 2](us, endpoint)
            asked = request(invitation, {"did": did})
            taken = endpoint.startswith("http")  # another one is no endpoint at all
            assert await canary.send(to, asked, us) == (202 if taken else 400), endpoint
        dead = 0
        async for event in agent.client.events():
            dead += event["type"] == "dead-letter"
            if dead == len(inner) - 1:
                break
        assert canary.calls == 0
