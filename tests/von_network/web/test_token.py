"""SEC-H05: a server that asks for a token registers nothing without it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .conftest import Site

TOKEN = "a token of my own"
HTML = {"Accept": "text/html"}
pytestmark = pytest.mark.parametrize("site", [{"token": TOKEN}], indirect=True)
WRONG = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": f"Bearer {TOKEN}x"},
    {"Authorization": f"Bearer {TOKEN[:-1]}"},
    {"Authorization": f"Basic {TOKEN}"},
    {"Authorization": TOKEN},
    {"Authorization": "Bearer é"},
]


@pytest.mark.parametrize("headers", WRONG)
@pytest.mark.parametrize(
    "body", [{"seed": "x"}, [{"seed": "x"}], {"seed": "x", "token": TOKEN}]
)
async def test_sec_h_05_without_the_token_nothing_is_registered(
    site: Site, headers: dict[str, str], body: Any
) -> None:
    answer = await site.client.post("/register", json=body, headers=headers)
    assert answer.status == 401
    assert TOKEN not in await answer.text()
    assert site.nodes.written == []


async def test_a_token_of_broken_bytes_is_a_wrong_one(site: Site) -> None:
    url = site.client.make_url("/")
    reader, writer = await asyncio.open_connection(url.host, url.port)
    lines = [b"POST /register HTTP/1.1", b"Host: localhost", b"Authorization: Bearer \xff\xfe"]
    body = b'{"seed": "x"}'
    more = [b"Connection: close", b"Content-Length: %d" % len(body), b"", body]
    writer.write(b"\r\n".join([*lines, *more]))
    assert (await reader.read()).split()[1] in {b"400", b"401"}
    writer.close()
    assert site.nodes.written == []


async def test_with_the_token_a_program_registers(site: Site) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = await site.client.post("/register", json={"seed": "x"}, headers=headers)
    assert answer.status == 200


async def test_the_form_asks_for_the_token_and_never_gives_it_back(site: Site) -> None:
    assert 'name="token"' in await site.page("/register")
    for token, status in (("wrong", 401), ("%C3%A9", 401), (TOKEN, 200)):
        sent = f"seed=x&token={token}"
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await site.client.post("/register", data=sent, headers=HTML | kind)
        text = await answer.text()
        assert answer.status == status, text
        assert TOKEN not in text
        assert len(site.nodes.written) == (status == 200)
    assert TOKEN not in repr(site.server)
