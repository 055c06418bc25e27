"""Who may come in, and what everybody else is told (SEC-E16, SEC-H)."""

from __future__ import annotations

import hmac
import io
import logging
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from agent.api.conftest import KEY, Agent, settings
from aiohttp import web
from pydantic import SecretStr

from keep_agent.api.app import admin_app
from keep_agent.api.auth import ApiKeys
from keep_agent.core.catalog import load_catalog
from keep_agent.core.machine import Protocol
from keep_agent.core.message import MAX_MESSAGE
from keep_agent.errors import BadCommandError, LocalError, NotFoundError
from keep_agent.settings import open_keys

JSON = {"Content-Type": "application/json"}


def every_route(tmp_path: Path) -> list[tuple[str, str]]:
    """Return method and path of everything that the application answers."""
    given = settings(tmp_path)
    app = admin_app(given, open_keys(given), load_catalog().routes, {})
    paths = [
        (route.method, re.sub(r"\{[^{}]*\}", "x", route.resource.canonical))
        for route in app.router.routes()
        if route.resource is not None
    ]
    return sorted(paths)


async def ask(
    agent: Agent, method: str, path: str, headers: dict[str, str], body: bytes = b""
) -> tuple[int, dict[str, Any], dict[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, agent.url + path, headers=headers, data=io.BytesIO(body) if body else None
        ) as response,
    ):
        return response.status, await response.json(content_type=None), dict(response.headers)


async def test_every_route_but_two_needs_the_key(alice: Agent, tmp_path: Path) -> None:
    """SEC-H: a route that somebody adds is closed unless it is named here."""
    routes = every_route(tmp_path)
    assert len(routes) > 30
    opened = set[str]()
    for method, path in routes:
        for headers in ({}, {"X-API-Key": ""}, {"X-API-Key": "wrong"}, {"Authorization": KEY}):
            status, body, _ = await ask(alice, method, path, headers)
            if status == 401:
                assert (
                    body["detail"]
                    == "the admin key is missing or wrong: send it in the header X-API-Key"
                )
            else:
                opened.add(path)
    assert opened == {"/health", "/ready"}


async def test_a_path_that_is_not_there_tells_nothing_without_a_key(alice: Agent) -> None:
    status, _, headers = await ask(alice, "GET", "/v1/nothing", {})
    assert status == 401
    assert headers["WWW-Authenticate"] == "Bearer"


def test_sec_e_16_a_key_is_compared_by_its_digest_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every known key is compared, by texts of one length, whatever is shown."""
    seen: list[tuple[bytes, bytes]] = []

    def compared(one: bytes, other: bytes) -> bool:
        seen.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compared)
    api_keys = ApiKeys({"one": SecretStr(KEY), "two": SecretStr("another")})
    for shown, tenant in ((KEY, "one"), ("another", "two"), ("", None), (KEY[:-1], None)):
        seen.clear()
        assert api_keys.tenant({"X-API-Key": shown}) == tenant
        assert len(seen) == 2
        assert {len(part) for pair in seen for part in pair} == {32}


@pytest.mark.parametrize("headers", [{"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}])
async def test_the_key_opens_in_both_headers(alice: Agent, headers: dict[str, str]) -> None:
    status, _, answered = await ask(alice, "GET", "/v1/status", headers)
    assert status == 200
    assert "Access-Control-Allow-Origin" not in answered
    assert answered["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8021", "127.0.0.1.evil.example", ""]
)
async def test_a_page_that_rebinds_its_name_to_loopback_is_refused(
    alice: Agent, host: str
) -> None:
    status, body, _ = await ask(alice, "GET", "/health", {"X-API-Key": KEY, "Host": host})
    assert status in {400, 421}
    assert "alive" not in body


async def test_loopback_may_be_named_as_localhost(alice: Agent) -> None:
    status, _, _ = await ask(alice, "GET", "/health", {"Host": "localhost:1"})
    assert status == 200


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"command": "send-ping", "command": "x"}', "twice"),
        (b'{"comment": NaN}', "NaN"),
        (b'{"a": ' * 70 + b"1" + b"}" * 70, "deep"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"comment": "\xff"}', "not JSON"),
        (b"[]", "must be a JSON object"),
        (b'"send-ping"', "must be a JSON object"),
        (b"{}", "must name a command: send-ping"),
        (b'{"command": 7}', "command must be a text"),
        (b'{"command": "send-ping", "connection": []}', "connection must be a text"),
        (b'{"command": "nothing"}', "it has: send-ping"),
        (b'{"command": "send-ping", "coment": "x"}', "send-ping: coment is not known here"),
        (b'{"command": "send-ping", "comment": 5}', "comment"),
    ],
)
async def test_a_bad_body_is_refused_in_words(alice: Agent, body: bytes, says: str) -> None:
    status, problem, headers = await ask(
        alice, "POST", "/v1/trust-ping", {"X-API-Key": KEY, **JSON}, body
    )
    assert status == problem["status"] == 400
    assert says in problem["detail"]
    assert headers["Content-Type"].startswith("application/problem+json")


async def test_a_long_body_and_a_foreign_type_are_refused(alice: Agent) -> None:
    key = {"X-API-Key": KEY}
    long = b'{"comment": "' + b"x" * MAX_MESSAGE + b'"}'
    assert (await ask(alice, "POST", "/v1/trust-ping", {**key, **JSON}, long))[0] == 413
    form = {**key, "Content-Type": "application/x-www-form-urlencoded"}
    status, body, _ = await ask(
        alice, "POST", "/v1/trust-ping", form, b'{"command": "send-ping"}'
    )
    assert status == 415
    assert "Content-Type: application/json" in body["detail"]


async def test_a_wrong_method_is_told_the_right_ones(alice: Agent) -> None:
    status, body, headers = await ask(alice, "DELETE", "/v1/dids", {"X-API-Key": KEY})
    assert status == 405
    assert headers["Allow"] == "GET, POST"
    assert body["detail"] == "this path allows only GET, POST"


async def test_unknown_things_are_404_and_unknown_questions_400(alice: Agent) -> None:
    for path in ("/v1/nope", "/v1/trust-ping/none", "/v1/jobs/none", "/v1/connections/none"):
        with pytest.raises(NotFoundError):
            await alice.client.call("GET", path)
    for path in ("/v1/trust-ping?sate=x", "/v1/trust-ping?state=x", "/v1/trust-ping?limit=-1"):
        with pytest.raises(BadCommandError):
            await alice.client.call("GET", path)
    for wait in ("nan", "inf", "-1", "1e9", "soon"):
        with pytest.raises(BadCommandError, match="wait must be"):
            await alice.client.call("GET", "/v1/events", query={"wait": wait})
    with pytest.raises(BadCommandError, match="twice"):
        await alice.client.call("GET", "/v1/trust-ping?limit=1&limit=2")


@pytest.mark.parametrize("name", ["%00", "a%00b", "%2e%2e", "x" * 5000, "%F0%9F%92%A9", "%ff"])
async def test_odd_names_find_nothing_and_break_nothing(alice: Agent, name: str) -> None:
    for path in ("/v1/trust-ping/", "/v1/connections/", "/v1/jobs/", "/v1/credentials/"):
        status, _, _ = await ask(alice, "GET", path + name, {"X-API-Key": KEY})
        assert status in {400, 404}, path


async def test_our_own_failure_is_logged_whole_and_told_in_one_sentence(
    alice: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_self: object) -> list[object]:
        raise ZeroDivisionError("the secret reason")

    monkeypatch.setattr("keep_agent.core.policy.Policies.all", fail)
    with caplog.at_level(logging.ERROR):
        status, body, _ = await ask(alice, "GET", "/v1/policies", {"X-API-Key": KEY})
    assert status == 500
    assert "secret" not in body["detail"]
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize(
    ("route", "family", "clash"),
    [("events", "trust_ping", "events"), ("introducing", "connections", "connections")],
)
async def test_a_protocol_cannot_take_a_path_of_the_api(
    route: str, family: str, clash: str, tmp_path: Path
) -> None:
    """Neither by the name of its entry point, nor by that of its URI, which is a path, too."""
    protocol: Protocol[Any] = Protocol(uri=f"https://didcomm.org/{family}/1.0", rules=())
    given = settings(tmp_path)
    with pytest.raises(BadCommandError, match=f"cannot be called {clash}"):
        admin_app(given, open_keys(given), {route: protocol}, {})


async def test_a_starting_agent_is_alive_and_not_ready(tmp_path: Path) -> None:
    given = settings(tmp_path)
    app = admin_app(given, open_keys(given), load_catalog().routes, {})
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with aiohttp.ClientSession(headers={"X-API-Key": KEY}) as session:
            statuses: list[int] = []
            for path in ("/health", "/ready", "/v1/status"):
                async with session.get(url + path) as response:
                    statuses.append(response.status)
    finally:
        await runner.cleanup()
    assert statuses == [200, 503, 503]


async def test_errors_keep_their_sentence_on_the_way_to_the_caller(alice: Agent) -> None:
    with pytest.raises(LocalError, match="no connection 'nobody'"):
        await alice.client.start("trust-ping", "send-ping", "nobody")
