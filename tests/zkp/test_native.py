"""Native work: checked, bounded, in threads of its own."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import anoncreds
import pytest
from zkp.kit import Desk, cred_def, held, link_secret, new_scope

from keep_zkp import holder, issuer
from keep_zkp.errors import BusyError, InvalidError, LibraryError, ZkpError
from keep_zkp.native import MAX_TEXT, Native, Scope, json_text, text


class Gate:
    """Work that waits until it is let go, and notes how often it ran."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.ran: list[str] = []

    def work(self, name: str) -> str:
        assert self.open.wait(10)
        self.ran.append(name)
        return name


async def test_a_full_queue_says_try_again_and_recovers() -> None:
    native, gate = Native(threads=1, room=2, deadline_s=10), Gate()
    first = [asyncio.create_task(native.run(gate.work, str(i))) for i in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="full"):
        await native.run(gate.work, "too many")
    gate.open.set()
    assert await asyncio.gather(*first) == ["0", "1"]
    assert await native.run(gate.work, "again") == "again"
    native.close()


async def test_a_deadline_ends_the_waiting_and_drops_what_has_not_begun() -> None:
    native, gate = Native(threads=1, room=5, deadline_s=0.02), Gate()
    running = asyncio.create_task(native.run(gate.work, "running"))
    waiting = asyncio.create_task(native.run(gate.work, "waiting"))
    for each in (running, waiting):
        with pytest.raises(BusyError, match="no answer"):
            await each
    gate.open.set()
    assert await native.run_long(str, 5) == "5"
    native.close()
    assert "waiting" not in gate.ran


async def test_cancelling_the_caller_frees_its_place() -> None:
    native, gate = Native(threads=1, room=2, deadline_s=10), Gate()
    running = asyncio.create_task(native.run(gate.work, "running"))
    waiting = asyncio.create_task(native.run(gate.work, "waiting"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    follower = asyncio.create_task(native.run(gate.work, "follower"))
    await asyncio.sleep(0)
    gate.open.set()
    assert [await running, await follower] == ["running", "follower"]
    assert gate.ran == ["running", "follower"]
    native.close()


async def test_the_event_loop_runs_on_while_native_work_does(desk: Desk) -> None:
    ticks = 0
    work = asyncio.create_task(
        desk.issue("card", {"First Name": "A", "Points": "1", "level": "2"})
    )
    while not work.done():
        await asyncio.sleep(0)
        ticks += 1
    assert ticks > 100


async def test_a_refusal_of_the_library_keeps_its_words_to_itself(desk: Desk) -> None:
    offer = await desk.offer("card")
    with pytest.raises(LibraryError) as caught:
        await desk.sign("card", offer, {"cred_def_id": offer["cred_def_id"]}, CARD)
    assert str(caught.value).startswith("anoncreds refused: ")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


CARD = {"First Name": "A", "Points": "1", "level": "2"}
WRONG: list[Any] = [5, True, None, b"x", ["x"], 1.5, object(), "a\x00b", "\ud800"]


@pytest.mark.parametrize("wrong", WRONG)
async def test_sec_p12_nothing_but_text_is_handed_over_as_text(desk: Desk, wrong: Any) -> None:
    licence, scope = cred_def("licence"), desk.scope
    good: dict[str, Any] = {
        "schema_id": licence["schema_id"],
        "schema": desk.schemas[licence["schema_id"]],
        "issuer_id": "V4SGRU86Z58d6TV7PBUe6f",
        "tag": "x",
        "revocable": False,
    }
    for name in ("schema_id", "issuer_id", "tag"):
        with pytest.raises(InvalidError):
            await issuer.create_cred_def(scope, **{**good, name: wrong})
    with pytest.raises(InvalidError):
        await issuer.create_offer(
            scope, schema_id=wrong, cred_def_id="x", key_proof=licence["key_proof"]
        )
    with pytest.raises(InvalidError):
        issuer.check_values(cred_def("card")["public"], {**CARD, "Points": wrong})
    with pytest.raises(InvalidError):
        issuer.make_schema("n", "1", "i", [wrong])
    with pytest.raises(InvalidError):
        text(wrong, "anything")


@pytest.mark.parametrize("wrong", WRONG)
async def test_sec_p12_a_link_secret_or_object_of_the_wrong_type_is_refused(
    desk: Desk, wrong: Any
) -> None:
    async def never(_pair: str) -> bool:
        return False

    offer = await desk.offer("card")
    keys = cred_def("card")
    good: dict[str, Any] = {
        "offer": offer,
        "cred_def_id": keys["id"],
        "cred_def": keys["public"],
        "link_secret": link_secret("alice"),
        "is_checked": never,
    }
    with pytest.raises(ZkpError):
        await holder.create_request(desk.scope, **{**good, "link_secret": wrong})
    with pytest.raises(ZkpError):
        await issuer.create_offer(
            desk.scope, schema_id=keys["schema_id"], cred_def_id=keys["id"], key_proof=wrong
        )


@pytest.mark.parametrize(
    "wrong", [None, [], "{}", 5, {"x": float("nan")}, {"x": b""}, {"x": "y" * MAX_TEXT}]
)
def test_sec_p12_only_bounded_json_objects_are_handed_over(wrong: Any) -> None:
    with pytest.raises(InvalidError):
        json_text(wrong)


@pytest.mark.parametrize("junk", [{}, {"a": 1}, {"values": []}, {"nonce": -5}])
async def test_sec_p12_an_object_of_another_kind_is_an_error_not_a_crash(
    desk: Desk, junk: dict[str, Any]
) -> None:
    with pytest.raises((LibraryError, ZkpError)):
        await desk.sign(
            "card", {**junk, "cred_def_id": "x"}, {**junk, "cred_def_id": "x"}, CARD
        )


def test_parsed_objects_are_kept_by_content_bounded_and_freed() -> None:
    scope = Scope(Native(threads=1, room=1, deadline_s=1), keep=2)
    one, two, three = (cred_def(name)["public"] for name in ("licence", "card", "city"))
    first = scope.load(anoncreds.CredentialDefinition, one)
    assert scope.load(anoncreds.CredentialDefinition, dict(one)) is first
    assert scope.load(anoncreds.CredentialDefinition, {**one, "tag": "x"}) is not first
    watched = weakref.ref(first)
    del first
    for other in (two, three):
        scope.load(anoncreds.CredentialDefinition, other)
    gc.collect()
    assert watched() is None
    scope.clear()
    assert not scope._parsed


def test_two_scopes_share_nothing() -> None:
    one, other = new_scope(), new_scope()
    public = cred_def("licence")["public"]
    mine = one.load(anoncreds.CredentialDefinition, public)
    assert other.load(anoncreds.CredentialDefinition, public) is not mine


async def test_what_holds_secrets_does_not_show_them(desk: Desk) -> None:
    asked = await desk.answer("card", await desk.offer("card"))
    chosen = holder.Chosen(held("alice"), ("c",), ())
    keys = issuer.CredDefKeys({}, {"p_key": "secret"}, {})
    assert repr(asked) == "Requested(...)"
    assert "Alice" not in repr(chosen)
    assert "secret" not in repr(keys)
