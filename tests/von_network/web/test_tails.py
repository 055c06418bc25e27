"""The tails server takes what a registry on the ledger names, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib

import base58
import pytest
from aiohttp import FormData
from fake_network import GENESIS, key

from keep_network.web import tails
from keep_network.web.settings import Settings

from .conftest import Site

FILE = b"\0\2" + bytes(range(128)) * 4
HASH = base58.b58encode(hashlib.sha256(FILE).digest()).decode()
FABER = key("faber")
REGISTRY = f"{FABER.did}:4:{FABER.did}:3:CL:9:main tag:CL_ACCUM:r1"
DID_INDY = f"did:indy:sandbox:{FABER.did}/anoncreds/v0/REV_REG_DEF/9/main/r1"


def form(content: bytes, name: str = "tails") -> FormData:
    made = FormData()
    made.add_field("genesis", GENESIS)
    made.add_field(name, content, filename="tails")
    return made


def publish(site: Site, name: str = REGISTRY, tails_hash: str = HASH) -> None:
    value = {"tailsHash": tails_hash, "maxCredNum": 1}
    site.nodes.append({"type": "113", "id": name, "value": value}, FABER)


def kept(settings: Settings) -> list[str]:
    assert settings.cache is not None
    folder = settings.cache.parent / "tails"
    return sorted(p.name for p in folder.iterdir() if p.is_file()) if folder.exists() else []


@pytest.mark.parametrize("name", [REGISTRY, DID_INDY])
@pytest.mark.parametrize("path", ["{}", "%3A"])
async def test_a_file_is_kept_under_its_registry_and_its_hash(
    site: Site, settings: Settings, name: str, path: str
) -> None:
    publish(site, name)
    url = "/" + (name.replace(":", "%3A").replace("/", "%2F") if path != "{}" else name)
    for _ in range(2):  # the same again changes nothing
        answer = await site.client.put(url, data=form(FILE))
        assert (answer.status, await answer.text()) == (200, HASH)
    for where in (url, f"/hash/{HASH}"):
        assert await (await site.client.get(where)).read() == FILE
    assert kept(settings) == [HASH]


async def test_a_file_goes_by_its_hash_before_the_ledger_knows_it(site: Site) -> None:
    answer = await site.client.put(f"/hash/{HASH}", data=form(FILE))
    assert answer.status == 200
    found = await site.client.get(f"/hash/{HASH}")
    assert await found.read() == FILE
    assert found.content_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("url", "content", "part", "status", "why"),
    [
        (f"/{REGISTRY}", FILE, "tails", 404, "The ledger has no revocation registry"),
        (f"/hash/{'1' * 43}", FILE, "tails", 400, "The tails file has another hash"),
        (f"/hash/{HASH}", FILE[:-1], "tails", 400, "This is not a tails file"),
        (f"/hash/{HASH}", b"\0\2", "tails", 400, "This is not a tails file"),
        (f"/hash/{HASH}", b"", "tails", 400, "This is not a tails file"),
        (f"/hash/{HASH}", b"\1" + FILE[1:], "tails", 400, "This is not a tails file"),
        (f"/hash/{HASH}", FILE, "file", 400, "The part `tails` is missing"),
        ("/hash/short", FILE, "tails", 400, "The hash of a tails file is 32 bytes"),
        ("/hash/..%2F..%2Fetc", FILE, "tails", 400, "The hash of a tails file is 32 bytes"),
        (
            "/..%2F..%2Fetc%2Fpasswd:aaaaaaaaaaaaaaaaaaaa",
            FILE,
            "tails",
            404,
            "There is no such",
        ),
        ("/a:b%2F..%2F..%2F..%2Faaaaaaaaaaaaaaaaaaaa", FILE, "tails", 404, "There is no such"),
        ("/genesis", FILE, "tails", 404, "There is no such"),
        (f"/{REGISTRY}%00", FILE, "tails", 404, "There is no such"),
    ],
)
async def test_everything_else_is_refused_and_leaves_nothing(
    site: Site, settings: Settings, url: str, content: bytes, part: str, status: int, why: str
) -> None:
    answer = await site.client.put(url, data=form(content, part))
    assert answer.status == status
    assert (await answer.text()).startswith(why)
    assert kept(settings) == []


async def test_a_file_with_another_hash_than_its_registry_says_is_refused(
    site: Site, settings: Settings
) -> None:
    publish(site, tails_hash="1" * 44)
    answer = await site.client.put(f"/{REGISTRY}", data=form(FILE))
    assert answer.status == 400
    assert kept(settings) == []


async def test_a_file_that_never_ends_is_cut_off(
    site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "MOST_BYTES", 256)
    answer = await site.client.put(f"/hash/{HASH}", data=form(FILE))
    assert answer.status == 413
    assert kept(settings) == []


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"x"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"no boundary here"),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=tails\r\n\r\n",
        ),
    ],
)
async def test_a_body_that_is_no_form_is_a_400(
    site: Site, settings: Settings, kind: str, body: bytes
) -> None:
    answer = await site.client.put(f"/hash/{HASH}", data=body, headers={"Content-Type": kind})
    assert answer.status == 400
    assert kept(settings) == []


@pytest.mark.parametrize("path", [f"/{REGISTRY}", f"/hash/{HASH}", "/nope", "/a/b/c", "/.env"])
async def test_what_is_not_there_is_a_404(site: Site, path: str) -> None:
    assert (await site.client.get(path)).status == 404


async def test_nothing_beside_the_files_can_be_read(site: Site, settings: Settings) -> None:
    assert settings.cache is not None
    secret = settings.cache.parent / "1111111111111111111111111111111111111111secret"
    await asyncio.to_thread(secret.write_text, "secret")
    await site.client.put(f"/hash/{HASH}", data=form(FILE))
    for path in (f"/hash/..%2F{secret.name}", "/hash/registries", "/hash/.%252e", "/hash/%2F"):
        assert (await site.client.get(path)).status in {400, 404}
