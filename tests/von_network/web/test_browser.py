"""The pages in a real browser: live, readable, usable by keyboard, on a phone and in the dark.

They need Debian's `chromium` (or CHROMIUM=/path/to/it) and playwright, which drives it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fake_network import key

from .conftest import Site
from .test_pages import FABER, TRUSTEE, fill

CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
)
api: Any = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM, reason="no Chromium: apt install chromium, or set CHROMIUM"
    ),
]

PAGES = ["/", "/browse/domain", "/browse/domain/8", f"/did/{FABER.did}", "/rules", "/agreement",
         "/register", "/search?q=name", "/nope"]  # fmt: skip

CONTRASTS = """
() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
  const ground = (place) => {
    for (; place; place = place.parentElement) {
      const colour = rgba(getComputedStyle(place).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return rgba(getComputedStyle(document.body).backgroundColor);
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const place = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !place.checkVisibility() || place.closest('.hidden, .skip')) continue;
    const [a, b] = [light(rgba(getComputedStyle(place).color)), light(ground(place))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${place.className} ${walk.currentNode.data.trim()}`);
  }
  return found;
}
"""


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Any]:
    async with api.async_playwright() as driver:
        found = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        await found.close()


class Visit:
    """A visitor, and all that the browser complained about meanwhile."""

    def __init__(self, site: Site, page: Any) -> None:
        self.site, self.page = site, page
        self.complaints: list[str] = []
        page.on("pageerror", self._broke)
        page.on("console", self._said)

    def _broke(self, error: Any) -> None:
        self.complaints.append(str(error))

    def _said(self, message: Any) -> None:
        if message.type == "error" and "status of 404" not in message.text:
            self.complaints.append(message.text)

    async def go(self, path: str) -> None:
        await self.page.goto(str(self.site.client.make_url(path)))


@pytest.fixture
async def visit(
    site: Site, browser: Any, request: pytest.FixtureRequest
) -> AsyncIterator[Visit]:
    """A visitor with a screen and a colour scheme, by default a large one by day."""
    width, scheme = getattr(request, "param", (1280, "light"))
    context = await browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    visitor = Visit(site, await context.new_page())
    yield visitor
    await context.close()
    assert visitor.complaints == []


SCREENS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark"), (320, "light")]


@pytest.mark.parametrize("visit", SCREENS, indirect=True)
async def test_every_text_can_be_read_and_nothing_is_wider_than_the_screen(
    visit: Visit,
) -> None:
    await fill(visit.site)
    visit.site.nodes.agreement = "Be kind."
    for path in PAGES:
        await visit.go(path)
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not await visit.page.evaluate(wide), path
        assert await visit.page.evaluate(CONTRASTS) == [], path


async def test_a_new_transaction_appears_by_itself_and_is_announced(visit: Visit) -> None:
    await visit.go("/")
    await visit.page.get_by_text("Live", exact=True).wait_for()
    assert await visit.page.locator(".txn").count() == 5
    visit.site.nodes.append({"type": "1", "dest": FABER.did, "alias": "Faber College"}, TRUSTEE)
    await visit.page.locator(".txn.new", has_text="Faber College").wait_for()  # until redrawn
    await visit.page.locator("#said", has_text="One new transaction").wait_for(state="attached")


async def test_a_page_that_waits_for_the_nodes_comes_alive_by_itself(visit: Visit) -> None:
    connection = visit.site.server.connection
    connection.open, nodes = None, connection.open
    await visit.go("/")
    await visit.page.get_by_text("No connection to the nodes yet.").wait_for()
    connection.open = nodes
    await visit.page.get_by_role("heading", name="Latest transactions").wait_for()


async def test_a_node_that_dies_is_shown_by_itself(visit: Visit) -> None:
    await visit.go("/")
    await visit.page.get_by_role("heading", name="All 4 nodes answer").wait_for()
    visit.site.nodes.dead = {"Node2"}
    await visit.page.get_by_role("heading", name="3 of 4 nodes answer").wait_for()
    await visit.page.get_by_text("does not answer").wait_for()


@pytest.mark.parametrize("visit", [(390, "dark")], indirect=True)
async def test_a_did_is_registered_by_keyboard_alone(visit: Visit) -> None:
    await visit.go("/")
    await visit.page.keyboard.press("Tab")
    assert await visit.page.evaluate("document.activeElement.textContent") == "Skip to content"
    await visit.page.get_by_role("link", name="Register", exact=True).press("Enter")
    await visit.page.get_by_label("Seed").press_sequentially("faber")
    await visit.page.keyboard.press("Enter")
    await visit.page.get_by_role("heading", name="Registered").wait_for()
    assert FABER.did in await visit.page.locator("main").inner_text()
    await visit.page.get_by_role("link", name="See it on the ledger").press("Enter")
    await visit.page.get_by_role("heading", name=FABER.did, exact=True).wait_for()


async def test_a_result_is_copied_with_one_press(visit: Visit) -> None:
    await visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await fill(visit.site)
    await visit.go(f"/did/{FABER.did}")
    await visit.page.get_by_role("button", name="Copy the verkey").click()
    await visit.page.get_by_role("button", name="Copied the verkey").wait_for()
    assert await visit.page.evaluate("navigator.clipboard.readText()") == FABER.verkey


async def test_a_mistake_in_the_form_is_said_and_nothing_typed_is_lost(visit: Visit) -> None:
    await visit.go("/register")
    await visit.page.get_by_label("Alias").fill("Faber")
    await visit.page.get_by_label("DID", exact=True).fill("did:sov:x")
    await visit.page.get_by_label("Verkey").fill("y")
    await visit.page.get_by_role("button", name="Register").click()
    await visit.page.get_by_role("alert").wait_for()
    assert await visit.page.get_by_label("Alias").input_value() == "Faber"
    visit.complaints.clear()  # the browser notes the 400


async def test_a_text_from_the_ledger_never_runs(visit: Visit) -> None:
    await fill(visit.site)
    visit.page.on("dialog", visit._broke)
    for path in ("/", "/browse/domain", f"/did/{key('x').did}", "/browse/domain/12"):
        await visit.go(path)
        assert await visit.page.evaluate("document.scripts.length") == 1
    assert visit.complaints == []


async def test_without_javascript_everything_is_there_all_the_same(
    site: Site, browser: Any
) -> None:
    await fill(site)
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(str(site.client.make_url("/browse/domain")))
    assert await page.locator(".txn").count() == 13
    assert await page.get_by_role("button", name="Copy").count() == 0
    await page.goto(str(site.client.make_url("/register")))
    await page.get_by_label("Seed").fill("by hand")
    await page.get_by_role("button", name="Register").click()
    assert key("by hand").did in await page.locator("main").inner_text()
    await context.close()
