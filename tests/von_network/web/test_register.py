"""`POST /register`: who asks wrongly hears why, and nothing is written."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
from typing import Any

import pytest
from fake_network import NAMES, PaperNodes, key
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from keep_network.web.errors import BadRequestError
from keep_network.web.registrar import Registration

from .conftest import Site

FABER = key("faber")


async def post(site: Site, body: Any, **more: Any) -> tuple[int, Any]:
    answer = await site.client.post("/register", json=body, **more)
    told = await answer.text()
    return answer.status, json.loads(told) if answer.status == 200 else told


async def test_a_seed_is_padded_behind_and_registered_as_an_endorser(site: Site) -> None:
    status, told = await post(site, {"seed": "faber", "alias": "Faber"})
    assert status == 200
    padded = "faber" + 27 * "0"
    assert told == {"did": FABER.did, "verkey": FABER.verkey, "seed": padded}
    assert site.nodes.written == [
        {
            "type": "1",
            "dest": FABER.did,
            "verkey": FABER.verkey,
            "role": "101",
            "alias": "Faber",
        }
    ]


async def test_a_seed_in_base64_is_of_32_bytes(site: Site) -> None:
    seed = base64.b64encode(b"faber".ljust(32, b"0")).decode()
    assert await post(site, {"seed": seed}) == (
        200,
        {"did": FABER.did, "verkey": FABER.verkey, "seed": seed},
    )


async def test_did_and_verkey_do_without_a_seed(site: Site) -> None:
    wish = {"did": FABER.did, "verkey": FABER.verkey, "role": "TRUST_ANCHOR"}
    status, told = await post(site, wish)
    assert (status, told["seed"]) == (200, None)
    assert site.nodes.written[0]["role"] == "101"


@pytest.mark.parametrize(
    ("role", "number"),
    [("STEWARD", "2"), ("TRUSTEE", "0"), ("101", "101"), ("", None), (None, None)],
)
async def test_roles_are_those_of_the_ledger(site: Site, role: Any, number: Any) -> None:
    assert (await post(site, {"seed": "x", "role": role}))[0] == 200
    assert site.nodes.written[0].get("role") == number


@pytest.mark.parametrize(
    ("body", "role", "alias"),
    [
        pytest.param(
            {
                "role": "TRUST_ANCHOR",
                "alias": "Faber",
                "did": FABER.did,
                "verkey": FABER.verkey,
            },
            "101",
            "Faber",
            id="reg-01-classic-trust-anchor",
        ),
        pytest.param(
            {"did": FABER.did, "verkey": FABER.verkey, "role": None},
            None,
            None,
            id="reg-04-role-null",
        ),
        pytest.param({"seed": "faber"}, "101", None, id="reg-06-short-seed"),
        pytest.param(
            {"did": FABER.did, "verkey": FABER.verkey, "role": 101},
            "101",
            None,
            id="reg-07-role-number",
        ),
        pytest.param(
            {"seed": "faber", "did": "", "verkey": "", "alias": "", "paymentaddr": None}
            | {"role": "ENDORSER"},
            "101",
            None,
            id="reg-10-paymentaddr-null-and-empty-did",
        ),
        pytest.param(
            {"seed": "faber", "alias": "Bürgeramt 窓口"},
            "101",
            "Bürgeramt 窓口",
            id="reg-12-alias-unicode",
        ),
    ],
)
async def test_what_forms_and_scripts_of_the_field_send_is_registered(
    site: Site, body: Any, role: str | None, alias: str | None
) -> None:
    status, told = await post(site, body)
    assert (status, told["did"]) == (200, FABER.did)
    (written,) = site.nodes.written
    assert (written["dest"], written["verkey"]) == (FABER.did, FABER.verkey)
    assert (written.get("role"), written.get("alias")) == (role, alias)


@pytest.mark.parametrize(
    "prefix",
    [
        pytest.param("did:sov:", id="reg-03-did-sov-prefix"),
        "did:indy:sovrin:",
        "did:indy:sovrin:staging:",
    ],
)
async def test_a_did_may_have_its_network_and_is_answered_as_it_was_sent(
    site: Site, prefix: str
) -> None:
    wish = {"did": prefix + FABER.did, "verkey": FABER.verkey}
    for _ in range(2):
        status, told = await post(site, wish)
        assert (status, told["did"]) == (200, prefix + FABER.did)
    assert [one["dest"] for one in site.nodes.written] == [FABER.did]


@pytest.mark.parametrize(
    "did",
    [
        pytest.param(FABER.verkey, id="reg-09-did-is-whole-verkey"),
        f"did:key:{FABER.did}",
        "did:sov:",
    ],
)
async def test_a_did_in_another_form_is_refused_in_words(site: Site, did: str) -> None:
    status, told = await post(site, {"did": did, "verkey": FABER.verkey, "role": "ENDORSER"})
    assert status == 400
    assert "16 bytes in base58, or did:sov: and these" in told
    assert site.nodes.written == []


async def test_a_script_may_send_its_json_as_anything(site: Site) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}  # as `curl -d` does
    answer = await site.client.post("/register", data='{"seed":"faber"}', headers=form)
    assert (await answer.json())["did"] == FABER.did


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (None, "Expected json request body"),
        ({}, "Expected json request body"),
        ("seed", "Expected json request body"),
        ({"alias": "x"}, "Either the seed or the did and verkey must be provided."),
        ({"did": FABER.did}, "Either the seed or the did and verkey must be provided."),
        ({"seed": 33 * "x"}, "Seed must be between 0 and 32 characters long."),
        ({"seed": "é"}, "Seed must be ASCII characters."),
        ({"seed": "aa="}, "A seed in base64 must be of 32 bytes."),
        ({"seed": 7}, "The seed must be a text."),
        ({"seed": "x", "role": "KING"}, "The role must be one of"),
        ({"seed": "x", "role": {}}, "The role must be one of"),
        ({"seed": "x", "alias": "a\nb"}, "The alias must be"),
        ({"seed": "x", "alias": "\ud800"}, "The alias must be"),
        ({"did": FABER.verkey, "verkey": FABER.verkey}, "The did must be 16 bytes"),
        ({"did": FABER.did, "verkey": FABER.did}, "The verkey must be 32 bytes"),
        ({"did": FABER.did, "verkey": "~~"}, "The verkey must be 32 bytes"),
        ([], "A list has 1 to 500 registrations."),
        ([{"seed": "x"}] * 501, "A list has 1 to 500 registrations."),
        ([{"seed": "x"}, {"seed": "é"}], "Registration 2: Seed must be ASCII"),
    ],
)
async def test_what_makes_no_sense_is_a_400_in_plain_words(
    site: Site, body: Any, why: str
) -> None:
    status, told = await post(site, body)
    assert status == 400
    assert told.startswith(why)
    assert site.nodes.written == []


async def test_what_is_there_already_is_not_written_again(site: Site) -> None:
    assert (await post(site, {"seed": "faber"}))[0] == 200
    assert (await post(site, {"seed": "faber", "alias": "again"}))[0] == 200
    assert len(site.nodes.written) == 1


async def test_without_a_role_a_did_that_is_there_keeps_its_own(site: Site) -> None:
    trustee = "000000000000000000000000Trustee1"
    assert (await post(site, {"seed": trustee}))[0] == 200
    assert (await post(site, {"seed": trustee, "role": "ENDORSER"}))[0] == 409
    assert site.nodes.written == []


@pytest.mark.parametrize(
    "wish",
    [{"seed": "faber", "role": "STEWARD"}, {"did": FABER.did, "verkey": key("x").verkey}],
)
async def test_another_role_or_verkey_for_a_known_did_is_a_conflict(
    site: Site, wish: dict[str, str]
) -> None:
    await post(site, {"seed": "faber"})
    for body in (wish, [{"seed": "new"}, wish]):
        status, told = await post(site, body)
        assert status == 409
        assert f"{FABER.did} is registered already" in told
    assert len(site.nodes.written) == 1


async def test_a_list_is_registered_whole_and_answered_in_order(site: Site) -> None:
    wishes = [{"seed": f"number {n:03}", "role": ""} for n in range(120)]
    status, told = await post(site, wishes)
    assert status == 200
    assert [one["did"] for one in told] == [key(f"number {n:03}").did for n in range(120)]
    assert len(site.nodes.written) == 120


async def test_two_at_the_same_moment_do_not_overwrite_each_other(site: Site) -> None:
    wishes = [{"seed": "faber", "role": role} for role in ("ENDORSER", "STEWARD", "TRUSTEE")]
    statuses = [status for status, _ in await asyncio.gather(*(post(site, w) for w in wishes))]
    assert sorted(statuses) == [200, 409, 409]
    assert len(site.nodes.written) == 1


async def test_the_answer_comes_when_every_live_node_has_it(site: Site) -> None:
    site.nodes.late = {"Node3": 5}
    site.nodes.dead = {"Node4"}
    assert (await post(site, {"seed": "faber"}))[0] == 200
    number = len(site.nodes.ledgers[1])
    waited = [name for name, told in site.nodes.asked if told.get("data") == number]
    assert site.nodes.late["Node3"] == 0
    assert waited.count("Node3") >= 6
    assert {"Node1", "Node2"} <= set(waited)


async def test_the_author_agreement_is_accepted_for_the_caller(site: Site) -> None:
    site.nodes.agreement = "Be kind."
    assert (await post(site, {"seed": "faber"}))[0] == 200
    accepted = site.nodes.ledgers[1][-1]["txn"]["metadata"]["taaAcceptance"]
    assert accepted["mechanism"] == "at_submission"
    assert accepted["time"] % 86400 == 0


async def test_nodes_that_refuse_are_quoted(site: Site) -> None:
    site.nodes.refusal = "the nodes refused it: <not enough signatures>"
    assert await post(site, {"seed": "faber"}) == (422, site.nodes.refusal)


async def test_nodes_that_are_down_are_a_503_and_the_next_try_works(site: Site) -> None:
    with site.nodes.down():
        status, told = await post(site, {"seed": "faber"})
        assert (status, json.loads(told)) == (503, {"detail": "the nodes do not answer"})
    assert (await post(site, {"seed": "faber"}))[0] == 200


@pytest.mark.parametrize("site", [{"seed": None}, {"register": False}], indirect=True)
async def test_a_server_that_may_not_write_says_so(site: Site) -> None:
    assert await post(site, {"seed": "x"}) == (403, "This server does not register DIDs.")
    assert site.nodes.written == []


async def test_an_oversized_body_is_refused_unread(site: Site) -> None:
    answer = await site.client.post("/register", data=io.BytesIO(b" " * (1 << 20) + b"{}"))
    assert (answer.status, await answer.text()) == (413, "The body is larger than 1 MB.")


async def test_no_seed_is_in_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    await post(site, {"seed": "my secret seed"})
    await post(site, {"seed": "my secret seed", "role": "my secret role"})
    assert "my secret" not in caplog.text
    assert "Trustee1" not in caplog.text
    assert "Trustee1" not in repr(site.server)
    assert "my secret" not in repr(Registration.parse({"seed": "my secret seed"}))


def test_nodes_of_the_fake_are_those_of_the_genesis() -> None:
    assert PaperNodes().names == NAMES


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
WORDS = st.sampled_from([FABER.did, FABER.verkey, "faber", "=", "~x", ""]) | st.text() | JSON
WISH = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("seed", "did", "verkey", "role", "alias"), WORDS)
)


@given(WISH | st.lists(WISH, max_size=3) | JSON)
@budget(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_sent_makes_a_registration_or_a_reason(body: Any) -> None:
    with contextlib.suppress(BadRequestError):
        assert len(Registration.parse(body).did) in {21, 22}


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b"[" * 100000,
        b"{",
        b"NaN",
        b"1e999",
        b'{"seed":"\\ud800"}',
        b'{"a":' * 9000,
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=bogus", "x/y"])
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
async def test_broken_bytes_are_a_400(site: Site, body: bytes, kind: str, accept: str) -> None:
    headers = {"Content-Type": kind, "Accept": accept}
    answer = await site.client.post("/register", data=body, headers=headers)
    assert answer.status == 400


@pytest.mark.parametrize("kind", ["", "; charset=bogus"])
@pytest.mark.parametrize("body", [b"seed=%ff", b"seed=\xff&role=x", b"&=&", b"seed=%00"])
async def test_a_broken_form_is_a_page_with_a_reason(
    site: Site, kind: str, body: bytes
) -> None:
    headers = {
        "Content-Type": f"application/x-www-form-urlencoded{kind}",
        "Accept": "text/html",
    }
    answer = await site.client.post("/register", data=body, headers=headers)
    assert answer.status in {200, 400}
    assert answer.content_type == "text/html"
