"""From version 1 to 2: every row is what it was, and what was under way goes on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from agent.old_stores import STOPPED, Rows, askar, migrate, of, opened, rows_of
from agent.pair import Agent, Pair
from agent.pair import opened as opened_pair
from wallets import OFFICE, STORE_KEY, ledger

from keep_agent.core.machine import ABANDONED, Exchange, Protocol
from keep_agent.protocols import did_exchange, discover_features_2, out_of_band
from keep_agent.protocols import issue_credential_2 as ic
from keep_agent.protocols import present_proof_2 as pp
from keep_agent.store.lists import Cursor, listed
from keep_agent.store.profile import Profile
from keep_agent.store.rows import DAY_S, Commit
from keep_agent.store.sweep import sweep
from keep_ledger.interface import Registry
from keep_ledger.memory import TRUSTEE

NEW_FIELDS = {"out", "by", "number", "due", "until", "records"}
WAITING = "out-of-band/1 receiver prepare-response"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock to so many seconds after the agents were stopped; it goes on from there."""
    real = time.time

    def at(seconds: float) -> None:
        ahead = STOPPED + seconds - real()
        monkeypatch.setattr(time, "time", lambda: real() + ahead)

    at(5)
    return at


async def paged(profile: Profile, tag: str, value: str, size: int) -> list[Exchange[Any]]:
    """Page through a list to its end."""
    found: list[Exchange[Any]] = []
    after: Cursor | None = None
    while page := await listed(profile, tag, value, size, after=after):
        found += page
        after = Cursor(page[-1].number, page[-1].id)
    return found


# -- every row -------------------------------------------------------------------------------------


async def test_what_has_not_changed_is_as_it_was(path: Path, before: Rows) -> None:
    await migrate(path)
    after = await rows_of(path)
    same = {"policy", "did", "schema", "cred_def", "cred_def_key", "link_secret"}
    for category in same:
        rows = {row: held for row, held in before.items() if row[0] == category}
        assert {row: held for row, held in after.items() if row[0] == category} == rows != {}
    changed = {"exchange", "outbox", "inbox", "attached", "job", "seen", "dead-letter", "log"}
    moved = {"connection", "invitation", "credential"}  # the last by version 3
    assert {category for category, _ in (*before, *after)} == same | changed | moved


async def test_connections_and_invitations_are_what_they_were(path: Path, before: Rows) -> None:
    async with opened(path) as profile:
        for category in ("connection", "invitation"):
            old = of(before, category)
            for name, value in old.items():
                assert await profile.fetch(category, name) == value
            for (kind, name), (value, tags) in before.items():
                for tag, text in tags.items():
                    if kind == category and text:
                        assert (name, value) in await profile.find(category, {tag: text})
            found = [name for name, _ in await profile.records(category, None, 0, 100)]
            waits = {x.id for x in await listed(profile, "~state", WAITING, 100)}
            assert sorted(set(found) - waits) == sorted(old)
            assert len(found) == len(set(found))
        after = await rows_of_open(profile)
    assert not of(after, "connection")
    assert {i["direction"] for i in of(after, "invitation").values()} == {"received"}


async def test_keys_are_as_they_were(path: Path) -> None:
    async def keys() -> dict[str, tuple[bytes, str]]:
        store = await askar(path)
        async with store.session("main") as session:
            found = await session.fetch_all_keys()
            held = {k.name: (k.key.get_secret_bytes(), k.metadata) for k in found}
        await store.close()
        return held

    before = await keys()
    await migrate(path)
    assert len(before) > 5
    assert await keys() == before


async def test_exchanges_keep_what_they_had_and_their_order(path: Path, before: Rows) -> None:
    await migrate(path)
    after = of(await rows_of(path), "exchange")
    old = {n: {k: v for k, v in x.items() if k not in NEW_FIELDS} for n, x in after.items()}
    assert list(old.items()) == list(of(before, "exchange").items())
    numbers = [x["number"] for x in after.values()]
    assert numbers == list(range(numbers[0], numbers[0] + len(after)))
    async with opened(path) as profile:
        assert numbers[-1] <= profile.number
        for name in after:
            x = await profile.exchange(name)
            assert x is not None
            assert x in await profile.exchanges("thid", x.thid)
            assert all([x in await profile.exchanges("sent", sent) for sent in x.sent])


async def test_deadlines_and_ends_are_those_of_the_protocols_then(path: Path) -> None:
    await migrate(path)
    found: dict[str, tuple[float, float]] = {}
    for x in of(await rows_of(path), "exchange").values():
        waits, kept = ((x[when] or x["updated"]) - x["updated"] for when in ("due", "until"))
        found[f"{x['protocol']} {x['state']}"] = round(waits), round(kept / DAY_S)
    assert found == {
        "basicmessage/1 received": (0, 0),
        "basicmessage/1 sent": (0, 30),
        "didexchange/1 completed": (0, 30),
        "didexchange/1 request-received": (DAY_S, 0),
        "didexchange/1 request-sent": (DAY_S, 0),
        "discover-features/1 completed": (0, 1),
        "discover-features/2 completed": (0, 1),
        "discover-features/2 queries-sent": (60, 0),
        "issue-credential/2 abandoned": (0, 30),
        "issue-credential/2 done": (0, 30),
        "issue-credential/2 offer-received": (7 * DAY_S, 0),
        "issue-credential/2 offer-sent": (7 * DAY_S, 0),
        "out-of-band/1 await-response": (0, 30),
        "out-of-band/1 done": (0, 30),
        "out-of-band/1 prepare-response": (0, 0),
        "present-proof/2 done": (0, 30),
        "present-proof/2 request-received": (DAY_S, 0),
        "present-proof/2 request-sent": (DAY_S, 0),
        "trust_ping/1 done": (0, 1),
        "trust_ping/1 silent": (0, 1),
    }


async def test_messages_keep_what_they_had(path: Path, before: Rows) -> None:
    left = of(before, "outbox")
    await migrate(path)
    after = of(await rows_of(path), "outbox")
    assert len(after) == len(left)
    for name, row in after.items():
        old = {k: v for k, v in left[name].items() if k != "order"}
        exchange = name.partition(".")[0] if "." in name else None
        assert row == {**old, "exchange": exchange, "by": "", "number": 0}


async def test_messages_come_in_the_order_of_their_commits(path: Path, before: Rows) -> None:
    """What was committed at once lay in any order, and its rows said which is right."""
    left = of(before, "outbox")
    store = await askar(path)
    async with store.transaction("main") as tx:
        for order, (name, row) in enumerate(reversed(left.items())):
            await tx.replace("outbox", name, json.dumps({**row, "order": order}), {})
        await tx.commit()
    await store.close()
    async with opened(path) as profile:
        assert [row.name for row in profile.left_to_send] == list(reversed(left))


async def test_jobs_keep_what_they_had_and_open_ones_have_an_owner(
    path: Path, before: Rows
) -> None:
    await migrate(path)
    after = await rows_of(path)
    assert of(after, "job") == of(before, "job")
    tags = {value["state"]: tags for (kind, _), (value, tags) in after.items() if kind == "job"}
    assert tags == {"done": {"kind": "schema"}, "started": {"by": ""}}


async def test_what_waited_for_an_invitation_is_held_by_its_exchange(folder: Path) -> None:
    for name, waits in (("alice", True), ("faber", False)):  # Faber's has its peer by now
        old = await rows_of(folder / f"{name}.db")
        ((exchange, held),) = of(old, "attached").items()
        await migrate(folder / f"{name}.db")
        after = await rows_of(folder / f"{name}.db")
        assert not of(after, "attached")
        out = of(after, "exchange")[exchange]["out"]
        assert [o["body"] for o in out] == ([held["message"]] if waits else [])
        assert [o["name"] for o in out] == [f"{exchange}.{o['body']['@id']}" for o in out]


async def test_the_log_goes_on(path: Path, before: Rows) -> None:
    events = [e for row in of(before, "log").values() for e in row["events"]]
    async with opened(path) as profile:
        assert await profile.events(0) == events
        await profile.commit(Commit(events=({"type": "after"},)))
        (new,) = await profile.events(events[-1]["n"])
        assert new["type"] == "after"


async def test_what_is_past_its_time_is_found_by_its_day(
    path: Path, before: Rows, clock: Callable[[float], None]
) -> None:
    async with opened(path) as profile:
        await sweep(profile, 30)
        assert not of(await rows_of_open(profile), "dead-letter")
        after = await rows_of_open(profile)

    def old(category: str, value: Any) -> bool:
        if category == "exchange":
            # the table of basic messages leads on; others keep a connection, or an invitation of ours
            state, keeps = value["state"], value["protocol"] == "didexchange/1"
            stays = state in {"received", "await-response"} or keeps
            return value["updated"] < STOPPED - 32 * DAY_S and not stays
        at: float = (value["events"][-1] if category == "log" else value)["at"]
        return at < STOPPED - 32 * DAY_S

    for category in ("exchange", "seen", "log"):
        values = of(before, category)
        kept = {name for name, value in values.items() if not old(category, value)}
        assert 0 < len(kept) < len(values)
        assert set(of(after, category)) == kept


async def rows_of_open(profile: Profile) -> Rows:
    entries = await profile._store.askar.scan(profile=profile.name).fetch_all()
    return {(e.category, e.name): (json.loads(e.value), e.tags) for e in entries}


async def test_lists_page_through_everything(path: Path, before: Rows) -> None:
    lists: dict[tuple[str, str], list[str]] = {}
    for name, x in reversed(of(before, "exchange").items()):
        for tag, value in (
            ("~protocol", x["protocol"]),
            ("~state", f"{x['protocol']} {x['role']} {x['state']}"),
            ("~peer", x["connection"] or x["peer"]),
        ):
            lists.setdefault((tag, value), []).append(name)
    async with opened(path) as profile:
        for (tag, value), names in lists.items():
            assert [x.id for x in await paged(profile, tag, value, 3)] == names


# -- what was under way goes on --------------------------------------------------------------------


def network() -> Registry:
    found = ledger()
    found._state.nyms[OFFICE] = TRUSTEE
    return found


@pytest.fixture
async def pair(folder: Path, clock: Callable[[float], None]) -> AsyncGenerator[Pair]:
    """Alice and Faber as they were stopped, a moment later, with a new version."""
    async with opened_pair(folder, STORE_KEY, [network()]) as pair:
        yield pair


async def one(agent: Agent, protocol: Protocol[Any], state: str) -> Exchange[Any]:
    (x,) = await listed(
        agent.profile, "~state", [f"{protocol.name} {r} {state}" for r in protocol.roles], 2
    )
    return x


async def at(agent: Agent, protocol: Protocol[Any], thid: str, state: str) -> Exchange[Any]:
    return await agent.until(protocol, lambda x: (x.thid, x.state) == (thid, state))


async def test_undelivered_messages_are_sent_in_order(before: Rows, pair: Pair) -> None:
    left = sorted(of(before, "outbox").values(), key=lambda row: row["order"])
    texts = [row["body"]["content"] for row in left if "content" in row["body"]]
    await pair.alice.quiet()
    got: list[str] = []
    for event in await pair.faber.profile.events(0):
        if (event.get("protocol"), event.get("state")) == ("basicmessage/1", "received"):
            x = await pair.faber.profile.exchange(event["id"])
            assert x is not None
            got.append(x.data.lines[0].content)
    lane = [text for text in texts if text != "by target"]
    assert len(lane) == 6
    assert [text for text in got if text in lane] == lane
    assert "by target" in got
    await pair.alice.profile.commit(
        Commit()
    )  # whoever is handed over next is written after this
    async with pair.alice.profile._store.askar.session("main") as session:
        assert await session.count("outbox") == 0


async def test_the_answer_to_a_query_comes(pair: Pair) -> None:
    protocol = discover_features_2.PROTOCOL
    await pair.alice.until(protocol, lambda x: x.state == "completed" and x.updated > STOPPED)


async def test_what_a_policy_wanted_is_done(pair: Pair) -> None:
    """Faber's request was answered by a policy, of which the command was still to be run."""
    done = await pair.faber.until(
        did_exchange.PROTOCOL, lambda x: (x.role, x.state) == ("requester", "completed")
    )
    theirs = await at(pair.alice, did_exchange.PROTOCOL, done.thid, "completed")
    alices, fabers = (
        await pair.alice.connection(theirs.id),
        await pair.faber.connection(done.id),
    )
    assert alices.their_did == fabers.my_did


async def test_did_exchanges_complete(pair: Pair) -> None:
    """Of two invitations of Faber's that Alice accepted, one request was made and none was sent."""
    for _ in range(2):
        asked = await pair.faber.reached(did_exchange.PROTOCOL, "request-received")
        await pair.faber.command(asked, did_exchange.SendResponse())
        await at(pair.alice, did_exchange.PROTOCOL, asked.thid, "completed")


async def test_an_invitation_that_was_only_looked_at_can_be_accepted(pair: Pair) -> None:
    seen = await one(pair.alice, out_of_band.PROTOCOL, "prepare-response")
    await pair.alice.command(seen, out_of_band.Accept())
    asked = await pair.faber.until(
        did_exchange.PROTOCOL,
        lambda x: (x.state, x.peer) == ("request-received", seen.data.invitation),
    )
    await pair.faber.command(asked, did_exchange.SendResponse())
    await at(pair.alice, did_exchange.PROTOCOL, asked.thid, "completed")


async def test_an_invitation_that_nobody_has_answered_can_be_answered_once(pair: Pair) -> None:
    made = await listed(
        pair.alice.profile, "~state", "out-of-band/1 sender await-response", 100
    )
    (unused,) = [x for x in made if x.data.goal == "Nobody has used this yet"]
    name = unused.data.invitation
    await pair.faber.accept(unused.data.message)
    await pair.alice.until(
        did_exchange.PROTOCOL, lambda x: (x.peer, x.state) == (name, "completed")
    )
    assert (await pair.alice.profile.get("invitation", name))["used"]


async def test_what_nobody_answers_expires_at_its_deadline(
    folder: Path, clock: Callable[[float], None]
) -> None:
    clock(DAY_S - 3600)
    async with opened_pair(folder, STORE_KEY, [network()]) as pair:
        asked = await pair.alice.until(
            did_exchange.PROTOCOL, lambda x: x.state == "request-received" and not x.then
        )
        clock(DAY_S + 60)
        ended = await pair.alice.until(
            did_exchange.PROTOCOL, lambda x: (x.id, x.state) == (asked.id, ABANDONED)
        )
        assert ended.error == "the exchange waited too long"
        offered = await one(pair.alice, ic.PROTOCOL, "offer-received")
        assert offered.due is not None
        assert STOPPED + 6 * DAY_S < offered.due < STOPPED + 8 * DAY_S


async def test_what_waited_for_an_invitation_goes_with_one(pair: Pair) -> None:
    asked = await pair.alice.until(
        pp.PROTOCOL, lambda x: (x.role, x.connection) == ("verifier", None)
    )
    invitation = await pair.alice.invite(
        thid=asked.peer, attach=[asked.id], handshake_protocols=[]
    )
    await pair.faber.accept(invitation)
    got = await pair.faber.until(pp.PROTOCOL, lambda x: x.thid == asked.thid)
    assert got.state == "request-received"


async def test_an_early_message_is_taken_in_its_turn(pair: Pair) -> None:
    offered = await one(pair.alice, ic.PROTOCOL, "offer-received")
    assert len(await pair.alice.profile.inbox()) == 1
    await pair.alice.command(offered, ic.SendRequest())
    got = await pair.alice.reached(ic.PROTOCOL, "credential-received")
    assert got.id == offered.id
    assert await pair.alice.profile.inbox() == []


async def test_an_open_job_is_done_and_a_done_one_is_left(pair: Pair) -> None:
    async def versions() -> list[tuple[str, str]]:
        found = await pair.alice.profile.find("job")
        return [(job["write"]["version"], job["state"]) for _, job in found]

    async with asyncio.timeout(20):
        while await versions() != [("2.0", "done"), ("3.0", "done")]:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)


async def test_the_credential_proves_an_age(pair: Pair) -> None:
    asked = await one(pair.alice, pp.PROTOCOL, "request-received")
    await pair.alice.command(asked, pp.SendPresentation())
    shown = await at(pair.faber, pp.PROTOCOL, asked.thid, "presentation-received")
    await pair.faber.command(shown, pp.Verify())
    judged = await at(pair.alice, pp.PROTOCOL, asked.thid, "done")
    assert judged.error is None
