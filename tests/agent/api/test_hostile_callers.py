"""SEC-H02: no request of an authenticated caller makes the agent fail, whatever is in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from agent.api.conftest import KEY, Agent, Connected
from yarl import URL

from keep_agent.core.message import Json

DEEP: Any = json.loads("[" * 60 + "]" * 60)
DID = "WgWxqztrNooG92RXvxSTWv"
TEXTS = [
    "",
    " ",
    "\x00",
    "a\x00b",
    "\x1b[2J\r\n",
    "\u202eä\U0001f600",
    "x" * 300,
    "x" * 70_000,
    "-",
    "*",
    "%",
    "..",
    "latest",
    "-1",
    "1e999",
    "nan",
    "9" * 400,
    "null",
    "0",
    DID,
    f"did:sov:{DID}",
    f"did:indy:local:{DID}",
    f"did:indy:nowhere:{DID}",
    "did:key:z6Mk",
    "did:peer:2.Sfw",
    f"{DID}:2:a:1.0",
    f"{DID}:3:CL:1:a",
    f"did:indy:local:{DID}/anoncreds/v0/SCHEMA/a\x00/1.0",
    "https://[::1",
    "https://x.example/?oob=e30",
    "https://x.example/?oob=" + "A" * 500,
]
FEW = [
    "",
    "\x00",
    "a\x00b",
    "x" * 3000,
    "-1",
    "1e999",
    "nan",
    "9" * 400,
    "latest",
    f"did:sov:{DID}",
]
VALUES: list[Any] = [
    *TEXTS,
    None,
    True,
    0,
    -1,
    2**31,
    2**63,
    2**64,
    10**300,
    1.5,
    1e308,
    [],
    [None],
    [""],
    ["\x00"],
    [DID, DID],
    [[]],
    [{}],
    {},
    {"": ""},
    {"\x00": "\x00"},
    {"a": None},
    {"a": {"b": ["\x00"]}},
    {"x" * 5000: 1},
    DEEP,
]
RAW = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"7",
    b"\xff\xfe",
    b'{"a":1,"a":2}',
    b'{"a":NaN}',
    b'{"a":"\\ud800"}',
    b'{"a":' + b"[" * 500 + b"]" * 500 + b"}",
    b'{"a":' + b"9" * 5000 + b"}",
    b'{"a":1e999}',
]
QUESTION: Json = {"requested_attributes": {"a": {"name": "n"}}}
GOOD: dict[str, Json] = {
    "send-message": {"content": "x"},
    "send-query": {"query": "*"},
    "send-queries": {"queries": [{"feature-type": "protocol", "match": "*"}]},
    "receive-invitation": {"invitation": {"@id": "1"}},
    "send-proposal": {"values": {"a": "1"}, "filter": {}},
    "present-proof send-proposal": {"request": QUESTION},
    "present-proof send-request": {"request": QUESTION, "accept_any_issuer": True},
    "did-exchange send-request": {"invitation": f"did:sov:{DID}"},
    "nyms": {"did": DID, "verkey": "x"},
    "endpoints": {"endpoint": "https://x.example"},
    "schemas": {"name": "a", "version": "1.0", "attributes": ["a"]},
    "cred-defs": {"schema_id": f"{DID}:2:a:1.0"},
    "dids": {},
    "policies": {"protocol": "trust_ping/1", "auto": {}},
    "candidates": {"request": QUESTION},
    "agreement": {"digest": "x", "mechanism": "x"},
}
FIELDS: dict[str, tuple[str, ...]] = {
    "nyms": ("did", "verkey", "role", "alias", "submitter"),
    "endpoints": ("did", "endpoint"),
    "schemas": ("name", "version", "attributes", "submitter"),
    "cred-defs": ("schema_id", "tag", "predicates", "submitter"),
    "dids": ("seed", "namespace"),
    "policies": ("protocol", "connection", "auto"),
    "candidates": ("request",),
    "agreement": ("digest", "mechanism"),
}
PARAMETERS = (
    "wait", "state", "thid", "connection", "limit", "offset", "after", "invitation", "\x00",
)  # fmt: skip
INSIDE = ("request", "invitation", "filter", "values", "queries", "auto")
"""Arguments that are objects: their members are tried as well."""


class Caller:
    """Sends anything to an agent's admin API, and keeps what made it fail."""

    def __init__(self, agent: Agent, session: aiohttp.ClientSession) -> None:
        self.agent = agent
        self.session = session
        self.failed: list[str] = []
        self.sent = 0

    async def send(
        self, method: str, path: str, query: str = "", body: Any = None, **headers: str
    ) -> Any:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = {"X-API-Key": KEY, "Content-Type": "application/json", **headers}
        url = URL(f"{self.agent.url}{path}{query and '?'}{query}", encoded=True)
        data = None if method == "GET" else raw
        async with self.session.request(method, url, data=data, headers=head) as answer:
            self.sent += 1
            found = await answer.read()
            if answer.status >= 500 or answer.content_type.startswith("text/html"):
                self.failed.append(
                    f"{answer.status} {method} {path[:99]} {query[:99]} {raw[:300]!r}"
                )
            if answer.content_type in {"application/json", "application/problem+json"}:
                return json.loads(found)
            return found

    async def every(self, method: str, path: str, wishes: list[Json], query: str = "") -> None:
        """Send many at once: each is committed, and commits go together."""
        for start in range(0, len(wishes), 16):
            some = wishes[start : start + 16]
            await asyncio.gather(*(self.send(method, path, query, each) for each in some))


@pytest.fixture
async def callers(connected: Connected) -> AsyncIterator[tuple[Caller, Caller]]:
    async with aiohttp.ClientSession() as session:
        yield Caller(connected.alice, session), Caller(connected.faber, session)


def bodies(name: str, fields: tuple[str, ...]) -> Iterator[Json]:
    """Yield a good body with one thing wrong in it, for each field and value."""
    good = GOOD.get(name, {})
    yield good
    yield {**good, "\x00": 1}
    for field in fields:
        for value in VALUES:
            yield {**good, field: value}
            if field in INSIDE and isinstance(good.get(field), dict):
                inside: Json = good[field]
                yield from (
                    {**good, field: {**inside, key: value}} for key in (*inside, "\x00")
                )
        yield {key: value for key, value in good.items() if key != field}


async def paths(caller: Caller) -> list[tuple[str, str]]:
    """Return every route, as the router itself lists them: method and path."""
    families = (await caller.send("GET", "/v1/protocols")).keys()
    found: list[tuple[str, str]] = []
    for line in await caller.send("GET", "/v1"):
        method, path = line.split(" ")
        shared = "{protocol}" in path
        found += [(method, path.replace("{protocol}", f)) for f in families if shared]
        found += [(method, path)] if not shared else []
    return found


def filled(path: str, value: str) -> str:
    """Put a value into every variable part of a path."""
    return "/".join(quote(value, safe="") if "{" in part else part for part in path.split("/"))


def kind(path: str) -> str:
    """Name what a path of no protocol takes, as in FIELDS."""
    return next((part for part in path.split("/")[::-1] if part in FIELDS), "")


async def test_sec_h_02_no_path_or_parameter_makes_the_agent_fail(
    callers: tuple[Caller, Caller],
) -> None:
    caller, _ = callers
    every = await paths(caller)
    assert len(every) > 50
    for method, path in every:
        if "{" in path:
            for value in TEXTS:
                await caller.send(method, filled(path, value[:3000]), "wait=0", {})
        for name in PARAMETERS if method == "GET" else ("wait", "thid"):
            for value in FEW:
                query = f"{quote(name)}={quote(value)}"
                await caller.send(method, filled(path, "-"), query, {})
        for value in ("%", "%00", "%ff", "%ed%a0%80", "a%2fb", "%2e%2e"):
            await caller.send(method, path.replace("{id}", value), f"state={value}", {})
        await caller.send(method, filled(path, "x"), "limit=1&limit=2", {})
        await caller.send(method, filled(path, "x"), "thid=x&connection=%00", {})
    assert caller.failed == []


async def test_sec_h_02_no_header_makes_the_agent_fail(callers: tuple[Caller, Caller]) -> None:
    caller, _ = callers
    for value in ("", "x", "-1", "9" * 400, "1.5", "\u00ff"):
        stream = {"Accept": "text/event-stream", "Last-Event-ID": value or "-"}
        await caller.send("GET", "/v1/events", "after=x", **stream)
        for name in ("Content-Type", "Accept", "Range", "If-Match", "X-Forwarded-For"):
            await caller.send("POST", "/v1/dids", "", b"[]", **{name: value})
    assert caller.failed == []


async def test_sec_h_02_no_body_makes_the_agent_fail(callers: tuple[Caller, Caller]) -> None:
    caller, _ = callers
    for method, path in await paths(caller):
        if method == "GET":
            continue
        at = filled(path, "local" if "ledgers" in path else "x")
        for raw in (*RAW, *([value] for value in VALUES[:5])):
            await caller.send(method, at, "", raw)
        name = kind(path)
        for body in bodies(name, FIELDS.get(name, ("a",))) if name else ():
            await caller.send(method, at, "", body)
    assert caller.failed == []


Commands = list[tuple[str, str, tuple[str, ...], bool]]


async def commands(caller: Caller) -> Commands:
    """Return each family, its commands, their arguments, and whether they start an exchange."""
    described = await caller.send("GET", "/v1/protocols")
    return [
        (family, name, tuple(about["arguments"].get("properties", {})), bool(about["starts"]))
        for family, protocol in described.items()
        for name, about in protocol["commands"].items()
    ]


async def test_sec_h_02_no_command_that_starts_makes_the_agent_fail(
    callers: tuple[Caller, Caller], connected: Connected
) -> None:
    caller, _ = callers
    for family, name, fields, _ in [c for c in await commands(caller) if c[3]]:
        key = f"{family} {name}" if f"{family} {name}" in GOOD else name
        command = {"connection": connected.to_faber, "command": name}
        wishes = [{**command, **body} for body in bodies(key, fields)]
        good = {**GOOD.get(key, {}), **command}
        wishes += [{**good, n: v} for n in ("command", "connection", "thid") for v in VALUES]
        await caller.every("POST", f"/v1/{family}", wishes)
    assert caller.failed == []


async def test_sec_h_02_no_command_that_goes_on_makes_the_agent_fail(
    callers: tuple[Caller, Caller],
) -> None:
    """On both sides of all that the test above has started."""
    for side in callers:
        for family, name, fields, _ in await commands(side):
            found = (await side.send("GET", f"/v1/{family}", "limit=20"))["results"]
            fit = [x["id"] for x in found if name in x["allowed"]] or ["x"]
            wishes = list(bodies(name, fields))
            for number, at in enumerate(fit):
                path = f"/v1/{family}/{at}/{name}"
                await side.every("POST", path, wishes[number :: len(fit)], "wait=0")
        assert side.failed == []
