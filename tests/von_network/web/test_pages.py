"""Pages: every text escaped, nothing inline, and a person can find the way without a mouse."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from fake_network import TRUSTEE_SEED, key

from keep_network.web.keys import Key

from .conftest import Site

EVIL = "<script>alert(1)</script>\"'&<b onmouseover=x>"
TRUSTEE = Key.derive(TRUSTEE_SEED.encode())
FABER = key("faber")


class Outline(HTMLParser):
    """What a screen reader would find."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag in names]


async def fill(site: Site) -> None:
    """Write one transaction of each kind, with texts that attack the page."""
    nodes = site.nodes
    nodes.append(
        {"type": "1", "dest": FABER.did, "verkey": FABER.verkey, "role": "101"}, TRUSTEE
    )
    nodes.append({"type": "1", "dest": key("x").did, "alias": EVIL}, TRUSTEE)
    names = ["name", EVIL]
    schema = {"name": EVIL, "version": "1.0", "attr_names": names}
    nodes.append({"type": "101", "data": schema}, FABER, {"endorser": TRUSTEE.did})
    nodes.append(
        {"type": "102", "ref": 8, "signature_type": "CL", "tag": EVIL, "data": {}}, FABER
    )
    nodes.append({"type": "100", "dest": FABER.did, "raw": json.dumps({EVIL: EVIL})}, FABER)
    nodes.append({"type": "113", "id": EVIL, "value": {"tailsHash": EVIL}}, FABER)
    nodes.append({"type": "4", "text": EVIL, "version": EVIL}, FABER)
    nodes.append({"type": EVIL, "data": EVIL}, FABER)
    site.server.follower.outdate()


PAGES = [
    "/",
    "/browse/domain",
    "/browse/pool",
    "/browse/config",
    *(f"/browse/domain/{number}" for number in range(1, 14)),
    f"/did/{FABER.did}",
    f"/did/{TRUSTEE.did}",
    "/search",
    "/search?q=%3Cscript%3Ealert(1)",
    "/search?q=name",
    "/browse/domain?query=%3Cscript%3E%22&type=1",
    "/rules",
    "/agreement",
    "/register",
]


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_escapes_everything_and_can_be_read_aloud(site: Site, path: str) -> None:
    await fill(site)
    site.nodes.agreement = EVIL
    html = await site.page(path)
    assert "<script>alert" not in html
    assert "<b onmouseover" not in html
    page = Outline(html)
    assert [one["src"] for one in page.all("script")] == ["/static/live.js"]
    assert not page.all("style")
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on") or name == "style"]
        assert not (attrs.get("href") or "").lower().startswith("javascript")

    assert len(page.all("main")) == len(page.all("h1")) == 1
    assert {"lang": "en"} in page.all("html")
    labels = {one["for"] for one in page.all("label")}
    for field in page.all("input", "select"):
        assert field["id"] in labels
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert sorted(set(ids), key=str) == sorted(ids, key=str)
    for _, attrs in page.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            assert attrs.get(name) is None or attrs[name] in ids


async def test_no_page_takes_anything_from_elsewhere(site: Site) -> None:
    answer = await site.client.get("/", headers={"Accept": "text/html"})
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r'(?:src|href)="(?:https?:)?//', await answer.text())
    for path in ("/static/style.css", "/static/live.js", "/favicon.ico"):
        body = await (await site.client.get(path)).text()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import", body)


async def test_a_transaction_says_why_it_can_be_believed(site: Site) -> None:
    await fill(site)
    html = await site.page("/browse/domain/8")
    assert "Signed by" in html
    assert "The signature is valid for the key that the ledger had" in html
    assert (
        "neighbours in the hash tree give the root of the ledger with 13 transactions" in html
    )
    assert "Endorsed by" in html
    assert "at least 2 nodes gave this same answer" in html


async def test_a_transaction_that_the_nodes_do_not_have_any_more_is_not_believed(
    site: Site,
) -> None:
    await fill(site)
    await site.page("/browse/domain/8")
    site.nodes.ledgers[1][7]["txn"]["data"]["data"]["name"] = "Other"
    html = await site.page("/browse/domain/8")
    assert "The nodes have another transaction under this number." in html


async def test_a_did_page_shows_what_it_is_and_all_that_it_wrote(site: Site) -> None:
    await fill(site)
    html = await site.page(f"/did/{FABER.did}")
    assert '<span class="tag accent">endorser</span>' in html
    assert FABER.verkey in html
    assert html.count('class="txn"') == 7
    assert "6 transactions" in html
    await site.page(f"/did/{key('nobody').did}", 404)


async def test_a_did_is_found_with_and_without_its_prefix(site: Site) -> None:
    await fill(site)
    for prefix in ("", "did:sov:", "did:indy:local:"):
        html = await site.page(f"/search?q={prefix}{FABER.did}")
        assert f'href="/did/{FABER.did}"' in html
        assert "This is a DID" in html


async def test_a_form_registers_and_shows_the_result_with_a_picture(site: Site) -> None:
    sent = {"seed": "faber", "did": "", "verkey": "", "role": "ENDORSER", "alias": "Faber"}
    answer = await site.client.post("/register", data=sent, headers={"Accept": "text/html"})
    html = await answer.text()
    assert answer.status == 200
    for value in (FABER.did, FABER.verkey, "faber" + 27 * "0"):
        assert f'data-copy="{value}"' in html
    assert '<svg viewBox="0 0 ' in html


async def test_an_empty_form_makes_a_seed_that_nobody_guesses(site: Site) -> None:
    seeds: set[str] = set()
    for _ in range(3):
        answer = await site.client.post(
            "/register", data={"role": ""}, headers={"Accept": "text/html"}
        )
        seeds |= set(re.findall(r'data-copy="(\w{32})"', await answer.text()))
    assert len(seeds) == 3


async def test_a_form_with_a_mistake_comes_back_filled_with_the_reason(site: Site) -> None:
    sent = {"did": EVIL, "verkey": "y", "role": "STEWARD", "alias": "Faber"}
    answer = await site.client.post("/register", data=sent, headers={"Accept": "text/html"})
    html = await answer.text()
    assert answer.status == 400
    assert "The did must be 16 bytes in base58" in html
    assert 'role="alert"' in html
    assert 'value="STEWARD" selected' in html
    assert "<script>alert" not in html
    assert site.nodes.written == []


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nope", 404), ("/browse/domain/99", 404), ("/browse/domain?page=2", 404), ("/browse/x", 404),
     ("/browse/domain?type=KING", 400), ("/did/x", 404), ("/browse/domain?page=0", 400)],
)  # fmt: skip
async def test_what_is_not_there_is_a_page_that_leads_back(
    site: Site, path: str, status: int
) -> None:
    assert 'href="/"' in await site.page(path, status)


async def test_nodes_that_are_down_are_said_on_the_page(site: Site) -> None:
    with site.nodes.down():
        await site.server.health.look(site.nodes)
        html = await site.page("/")
        assert "0 of 4 nodes answer" in html
        assert html.count("does not answer") == 4
        for path in ("/rules", "/agreement"):
            assert "the nodes do not answer" in await site.page(path, 503)
        assert "Not now: the nodes do not answer" in await site.page("/browse/domain/1")


async def test_events_tell_of_new_transactions(site: Site) -> None:
    async with site.client.get("/events") as stream:
        assert stream.content_type == "text/event-stream"
        assert await stream.content.readline() == b"retry: 2000\n"
        site.nodes.append({"type": "1", "dest": FABER.did}, TRUSTEE)
        site.server.follower.outdate()
        seen = b""
        while b"event: ledger" not in seen:
            seen = await stream.content.readline()
        assert json.loads((await stream.content.readline())[6:]) == {"ledger": 1, "size": 6}
    while site.server.events.watched:
        site.server.events.tell("ledger", {})
        await site.client.get("/status")


async def test_too_many_open_pages_are_refused_and_the_rest_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keep_network.web.events._MOST_WATCHERS", 0)
    assert (await site.client.get("/events")).status == 503
    await site.page("/")


@pytest.mark.parametrize(
    "site", [{"analytics": "<script>count()</script>"}], indirect=True, ids=["analytics"]
)
async def test_the_operators_script_is_on_every_page_and_may_run(site: Site) -> None:
    for path in ("/", "/browse/domain"):
        assert "<script>count()</script>" in await site.page(path)
    answer = await site.client.get("/")
    assert (
        "script-src 'self' 'unsafe-inline' https:" in answer.headers["Content-Security-Policy"]
    )


async def test_without_one_only_our_own_script_may_run(site: Site) -> None:
    answer = await site.client.get("/")
    assert "script-src 'self';" in answer.headers["Content-Security-Policy"]
