"""SEC-H03: another site's page changes nothing here in its visitor's name."""

from __future__ import annotations

import asyncio

import pytest

from keep_network.web.settings import Settings

from .conftest import Site
from .test_tails import FILE, HASH, form, kept

NAMES = frozenset({"ledger", "host.docker.internal"})
FOREIGN = [
    {"Host": "evil.example:9000"},  # whose name now means this machine
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "localhost.evil.example"},
    {"Host": "2130706433"},
    {"Host": "0x7f.1"},
    {"Host": "[::1].evil.example"},
    {"Host": "127.0.0.1:80:90"},
    {"Host": ""},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1"},
    {"Host": "10.0.0.5:9000", "Origin": "http://10.0.0.6:9000"},
    {"Host": "10.0.0.5:9000", "Origin": "http://10.0.0.5:9000.evil.example"},
    {"Host": "10.0.0.5:9000", "Origin": "ftp://10.0.0.5:9000"},
    {"Host": "evil.example", "Origin": "http://evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]
OURS = [
    {},
    {"Host": "localhost:9000"},
    {"Host": "LOCALHOST"},
    {"Host": "192.168.1.5:9000"},
    {"Host": "[::1]:9000"},
    {"Host": "localhost:9000", "Origin": "http://localhost:9000"},
    {"Host": "10.0.0.5:9000", "Origin": "http://10.0.0.5:9000"},
    {"Host": "[fe80::1]", "Origin": "https://[fe80::1]"},
    {"Host": "10.0.0.5", "Origin": "https://10.0.0.5", "Sec-Fetch-Site": "same-origin"},
]
KINDS = ["text/plain", "application/json", "application/x-www-form-urlencoded"]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("kind", KINDS)
async def test_sec_h_03_a_foreign_page_registers_nothing(
    site: Site, headers: dict[str, str], kind: str
) -> None:
    sent = b'{"seed": "evil", "role": "TRUSTEE"}'
    answer = await site.client.post(
        "/register", data=sent, headers={"Content-Type": kind} | headers
    )
    assert answer.status == 403
    assert (await answer.text()).startswith("Refused (SEC-H03): ")
    assert site.nodes.written == []


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_foreign_page_stores_no_tails_file(
    site: Site, settings: Settings, headers: dict[str, str]
) -> None:
    answer = await site.client.put(f"/hash/{HASH}", data=form(FILE), headers=headers)
    assert answer.status == 403
    assert kept(settings) == []


async def test_a_foreign_form_gets_a_page_that_says_why(site: Site) -> None:
    headers = {"Accept": "text/html", "Origin": "http://evil.example"}
    answer = await site.client.post("/register", data={"seed": "x"}, headers=headers)
    assert (answer.status, answer.content_type) == (403, "text/html")
    assert "from another site" in await answer.text()
    assert site.nodes.written == []


async def test_two_hosts_and_two_origins_are_nobodys(site: Site) -> None:
    async def status(*lines: str) -> str:
        url = site.client.make_url("/")
        reader, writer = await asyncio.open_connection(url.host, url.port)
        body = '{"seed": "x"}'
        head = [
            "POST /register HTTP/1.1",
            *lines,
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        writer.write("\r\n".join([*head, "", body]).encode())
        told = (await reader.read()).split()[1].decode()
        writer.close()
        return told

    assert await status("Host: localhost", "Host: evil.example") in {"400", "403"}
    assert await status("Host: localhost", "Origin: http://localhost", "Origin: null") in {
        "400",
        "403",
    }
    assert await status("Accept: */*") in {"400", "403"}
    assert site.nodes.written == []
    assert await status("Host: localhost") == "200"


@pytest.mark.parametrize("headers", OURS)
async def test_programs_and_our_own_pages_change_what_they_like(
    site: Site, settings: Settings, headers: dict[str, str]
) -> None:
    answer = await site.client.post("/register", json={"seed": "faber"}, headers=headers)
    assert answer.status == 200
    answer = await site.client.put(f"/hash/{HASH}", data=form(FILE), headers=headers)
    assert answer.status == 200
    assert len(site.nodes.written) == len(kept(settings)) == 1


@pytest.mark.parametrize("site", [{"names": NAMES}], indirect=True)
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("ledger:8000", 200),
        ("Host.Docker.Internal:9000", 200),
        ("ledger.evil.example", 403),
        ("docker.internal", 403),
    ],
)
async def test_a_name_that_the_server_was_told_is_its_own(
    site: Site, host: str, status: int
) -> None:
    headers = {"Host": host, "Origin": f"http://{host.lower()}"}
    answer = await site.client.post("/register", json={"seed": "x"}, headers=headers)
    assert answer.status == status


@pytest.mark.parametrize("path", ["/genesis", "/status", "/", "/ledger/domain"])
async def test_reading_is_open_under_any_name(site: Site, path: str) -> None:
    answer = await site.client.get(path, headers={"Host": "webserver:8000"})
    assert answer.status == 200
