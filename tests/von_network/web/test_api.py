"""The classic answers: status, genesis, ledgers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_network import GENESIS, NAMES, TRUSTEE_SEED, key
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from keep_network.web.settings import Settings
from keep_network.web.store import Store

from .conftest import Site


async def get(site: Site, path: str, status: int = 200) -> Any:
    answer = await site.client.get(path)
    assert answer.status == status, await answer.text()
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    return await answer.json()


async def register(site: Site, count: int) -> None:
    for number in range(count):
        body = {"seed": f"seed {number}", "alias": f"Alias{number}"}
        assert (await site.client.post("/register", json=body)).status == 200


async def test_the_status_is_the_classic_one(site: Site) -> None:
    assert await get(site, "/status") == {
        "anonymous": False,
        "display_ledger_state": True,
        "init_error": None,
        "ready": True,
        "register_new_dids": True,
        "syncing": False,
    }


async def test_validators_tell_about_themselves_and_the_silent_are_named(site: Site) -> None:
    site.nodes.dead = {"Node2"}
    told = (await get(site, "/status?validators=1"))["validators"]
    assert [one["Node_info"]["Name"] for one in told] == list(NAMES)
    assert [one.get("error") for one in told] == [None, "timeout", None, None]
    text = await (await site.client.get("/status/text")).text()
    assert "Node1\n\nNode_info:\n" in text
    assert '  Mode: "participating"' in text


@pytest.mark.parametrize("site", [{"seed": None}], indirect=True)
async def test_without_a_seed_it_is_anonymous_and_reads_all_the_same(site: Site) -> None:
    told = await get(site, "/status?validators=1")
    assert (told["anonymous"], told["register_new_dids"]) == (True, False)
    assert "validators" not in told
    assert (await get(site, "/ledger/domain"))["total"] == 5
    assert "Read-only" in await site.page("/")


async def test_the_genesis_is_given_as_it_is(site: Site) -> None:
    answer = await site.client.get("/genesis")
    assert await answer.text() == GENESIS
    assert answer.content_type == "text/plain"


async def test_a_ledger_comes_in_pages_in_order(site: Site) -> None:
    await register(site, 7)
    first = await get(site, "/ledger/domain?page_size=5")
    second = await get(site, "/ledger/domain?page=3&page_size=5")
    assert [first[k] for k in ("total", "page", "page_size", "first_index", "last_index")] == [
        12, 1, 5, 1, 5,
    ]  # fmt: skip
    assert [second["first_index"], second["last_index"]] == [11, 12]
    numbers = [one["txnMetadata"]["seqNo"] for one in first["results"] + second["results"]]
    assert numbers == [1, 2, 3, 4, 5, 11, 12]
    assert {"auditPath", "ledgerSize", "reqSignature", "rootHash", "txn", "ver"} <= set(
        first["results"][0]
    )
    assert await get(site, "/ledger/domain?page=4&page_size=5", 404) == {
        "detail": "Invalid page."
    }


async def test_page_0_is_empty_and_no_error(site: Site) -> None:
    told = await get(site, "/ledger/domain?page=0&page_size=5")
    assert told == {
        "total": 5,
        "page": 0,
        "page_size": 5,
        "first_index": -4,
        "last_index": -5,
        "results": [],
    }


async def test_a_ledger_says_when_it_last_changed(site: Site) -> None:
    assert "Last-Modified" in (await site.client.get("/ledger/pool")).headers
    empty = await get(site, "/ledger/config")
    assert (empty["total"], empty["results"]) == (0, [])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("type=NYM", 8),
        ("type=1", 8),
        ("type=SCHEMA", 0),
        ("query=Alias1", 1),
        ("query=alias", 3),
        ("query=endorser", 3),
        ("query=trustee", 1),
        (f"query={key('seed 2').did}", 1),
        (f"query={key('seed 2').did}%20Alias2", 1),
        (f"query={key('seed 2').did}%20Alias1", 0),
        ("query=%22%22", 0),
        ("query=***", 0),
        ("type=&query=", 8),
        (f"query=sender:{key(TRUSTEE_SEED).did}", 7),
        (f"query=sender:{key(TRUSTEE_SEED).did}%20alias1", 1),
        (f"query=sender:{key('seed 2').did}", 0),
        ("query=sender:", 1),
        (f"query=ident:{key('seed 2').did}", 1),
        ("query=alias:alias1", 1),
        ("query=other:alias1", 0),
        (f"query={'ident:x+' * 1000}", 0),
    ],
)
async def test_a_ledger_is_searched_by_words_and_type(
    site: Site, query: str, found: int
) -> None:
    await register(site, 3)
    assert (await get(site, f"/ledger/domain?{query}"))["total"] == found


@pytest.mark.parametrize(
    "query",
    [
        "page=-1",
        "page_size=0",
        "page=x",
        "page=1e3",
        "page=99999999999",
        "page_size=1001",
        "type=KING",
    ],
)
async def test_a_query_that_makes_no_sense_is_a_400(site: Site, query: str) -> None:
    assert (await site.client.get(f"/ledger/domain?{query}")).status == 400


async def test_a_transaction_is_found_by_number_and_by_id(site: Site) -> None:
    await register(site, 1)
    by_number = await get(site, "/ledger/domain/6")
    assert by_number["txn"]["data"]["alias"] == "Alias0"
    assert await get(site, f"/ledger/domain/{by_number['txnMetadata']['txnId']}") == by_number
    for other in ("7", "0", "99999999999999999999", "x", "%00"):
        assert (await site.client.get(f"/ledger/domain/{other}")).status == 404


async def test_only_three_ledgers_are_there(site: Site) -> None:
    for path in ("/ledger/audit", "/ledger/audit/1", "/ledger/audit/text", "/browse/audit"):
        assert (await site.client.get(path)).status == 404


async def test_a_ledger_goes_by_its_name_in_any_case_and_by_its_number(site: Site) -> None:
    for ledger, total in (("DOMAIN", 5), ("1", 5), ("Pool", 4), ("0", 4), ("2", 0)):
        assert (await get(site, f"/ledger/{ledger}"))["total"] == total
    assert (await get(site, "/ledger/1/2"))["txnMetadata"]["seqNo"] == 2
    assert 'href="/browse/domain/5"' in await site.page("/browse/DOMAIN")


async def test_a_nym_as_text_is_that_of_the_classic_server(site: Site) -> None:
    await register(site, 1)
    text = await (await site.client.get("/ledger/domain/text")).text()
    assert text.count("TYPE: NYM") == 6
    told = (await get(site, "/ledger/domain/6"))["txn"]["metadata"]
    one = key("seed 0")
    assert text.partition("[6]  ")[2].splitlines()[:6] == [
        "TYPE: NYM",
        f"FROM: {key(TRUSTEE_SEED).did}",
        f"DEST: {one.did}",
        "ROLE: ENDORSER",
        f"VERKEY: {one.verkey}",
        "ALIAS: Alias0",
    ]
    assert f"\nREQ ID: {told['reqId']}\n" in text


async def test_a_transaction_of_another_type_is_whole_in_the_text(site: Site) -> None:
    text = await (await site.client.get("/ledger/pool/text")).text()
    assert json.loads(text.partition("DATA:\n")[2].partition("\n\n")[0])["data"]["alias"]


@pytest.mark.parametrize("site", [{"display": False}], indirect=True)
async def test_a_ledger_that_is_not_to_be_shown_is_not(site: Site) -> None:
    assert (await site.client.get("/ledger/domain")).status == 404
    assert "Latest transactions" not in await site.page("/")


@pytest.mark.parametrize("site", [{"browse": False}], indirect=True)
async def test_without_browsing_the_page_of_the_nodes_and_the_json_stay(site: Site) -> None:
    home = await site.page("/")
    assert "Node1" in home
    assert "Connect an agent" in home
    for path in ("/browse/domain", "/search", "/rules", "/agreement", "/did/x"):
        assert (await site.client.get(path)).status == 404
        assert f'"{path}"' not in home
    assert (await get(site, "/ledger/domain"))["total"] == 5


async def test_what_is_new_on_the_ledger_is_there_at_the_next_look(site: Site) -> None:
    for size in (6, 7):
        trustee = key("000000000000000000000000Trustee1")
        site.nodes.append({"type": "1", "dest": key(str(size)).did}, trustee)
        total = 0
        while total < size:
            total = (await get(site, "/ledger/domain"))["total"]


async def test_a_network_made_anew_replaces_the_copy(site: Site) -> None:
    await register(site, 3)
    assert (await get(site, "/ledger/domain"))["total"] == 8
    del site.nodes.ledgers[1][5:]
    site.server.events.call()
    while (await get(site, "/ledger/domain"))["total"] != 5:
        pass
    assert (await get(site, "/ledger/pool"))["total"] == 4


async def test_a_node_that_lags_does_not_shorten_the_copy(site: Site) -> None:
    await register(site, 1)
    assert (await get(site, "/ledger/domain"))["total"] == 6
    kept = site.nodes.ledgers[1].pop()
    size = site.nodes._one("Node1", {"type": "3", "ledgerId": 1, "data": 1})
    site.nodes.ledgers[1].append(kept)
    assert size is not None
    await site.server.follower._take(1, size["data"]["ledgerSize"])
    assert (await get(site, "/ledger/domain"))["total"] == 6


async def test_the_copy_outlives_the_server(site: Site, settings: Settings) -> None:
    await register(site, 2)
    assert (await get(site, "/ledger/domain"))["total"] == 7
    assert settings.cache is not None
    genesis = site.server.follower.copy()._one("SELECT genesis FROM about")
    again = Store(settings.cache, genesis)
    assert (again.size(0), again.size(1)) == (4, 7)
    again.close()
    other = Store(settings.cache.with_name("other.db"), "another network")
    assert other.size(1) == 0
    other.close()


async def test_nodes_that_are_down_leave_what_was_read_before(site: Site) -> None:
    with site.nodes.down():
        assert (await get(site, "/ledger/domain"))["total"] == 5
        assert "0 of 4 nodes" not in await site.page("/browse/domain/1")


@given(
    query=st.text(max_size=40),
    kind=st.text(max_size=6) | st.sampled_from(["1", "NYM", "101"]),
    page=st.text(max_size=3) | st.integers(-2, 5).map(str),
    size=st.text(max_size=3) | st.integers(-2, 5).map(str),
)
@budget(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_query_breaks_the_server(
    site: Site, query: str, kind: str, page: str, size: str
) -> None:
    asked = {"query": query, "type": kind, "page": page, "page_size": size}
    for path in ("/ledger/domain", "/browse/domain", "/search"):
        params = {k: v.encode(errors="replace").decode() for k, v in asked.items()}
        answer = await site.client.get(path, params=params | {"q": params["query"]})
        assert answer.status in {200, 400, 404}, (path, json.dumps(params))
