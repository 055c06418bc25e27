"""Long values: a picture of 1 MiB goes through; what will not fit is refused at the offer, in words, by both."""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest
from agent.pair import Agent, Pair
from wallets import ALICE, LICENCE, LICENCE_INDY, issuer_keys, ledger

from keep_agent.core.machine import ABANDONED, Exchange, Protocol
from keep_agent.core.message import MAX_MESSAGE
from keep_agent.credentials.formats import too_long
from keep_agent.credentials.wallet import CREDENTIAL
from keep_agent.errors import BadCommandError
from keep_agent.identity.connections import Connection
from keep_agent.protocols import issue_credential_2 as ic
from keep_agent.protocols import present_proof_2 as pp
from keep_agent.store.lists import listed
from keep_agent.store.rows import Commit

KB = 1000


def picture(size: int) -> str:
    """Return a picture of so many bytes, as it stands in an attribute."""
    return base64.b64encode(random.Random(7).randbytes(size)).decode()


async def at(
    agent: Agent, protocol: Protocol[Any], of: Exchange[Any], state: str
) -> Exchange[Any]:
    return await agent.until(protocol, lambda x: (x.thid, x.state) == (of.thid, state))


async def office_and_holder(pair: Pair) -> Connection:
    """Give Faber the keys of the licence; return his end of a connection with Alice."""
    shared = ledger()
    for agent in (pair.alice, pair.faber):
        agent.tenant.around.ledgers._registries = (shared,)
    await pair.faber.profile.commit(Commit(writes=issuer_keys("licence")))
    return (await pair.connect())[1]


async def offered(pair: Pair, its: Connection, photo: str) -> Exchange[Any]:
    command = ic.SendOffer(cred_def_id=LICENCE, values={**ALICE, "category": photo})
    return await pair.faber.start(ic.PROTOCOL, command, its.id)


@pytest.mark.parametrize("size", [340 * KB, 600 * KB, 1 << 20])
async def test_a_picture_is_issued_held_and_proved(pair: Pair, size: int) -> None:
    alice, faber, photo = pair.alice, pair.faber, picture(size)
    its = await office_and_holder(pair)
    x = await offered(pair, its, photo)
    await alice.command(await at(alice, ic.PROTOCOL, x, "offer-received"), ic.SendRequest())
    await faber.command(await at(faber, ic.PROTOCOL, x, "request-received"), ic.Issue())
    received = await at(alice, ic.PROTOCOL, x, "credential-received")
    await alice.command(received, ic.StoreCredential())
    await at(faber, ic.PROTOCOL, x, "done")
    wanted = {"name": "category", "restrictions": [{"cred_def_id": LICENCE_INDY}]}
    question = pp.SendRequest(request={"requested_attributes": {"photo": wanted}})
    y = await faber.start(pp.PROTOCOL, question, its.id)
    await alice.command(
        await at(alice, pp.PROTOCOL, y, "request-received"), pp.SendPresentation()
    )
    await faber.command(await at(faber, pp.PROTOCOL, y, "presentation-received"), pp.Verify())
    done = await at(faber, pp.PROTOCOL, y, "done")
    assert done.data.verdict["answers"][0]["values"] == {"category": photo}


async def test_what_would_not_fit_is_not_offered(pair: Pair) -> None:
    its = await office_and_holder(pair)
    with pytest.raises(BadCommandError, match=r"about 2\d{6} bytes, and 20\d{5} is the most"):
        await offered(pair, its, picture(1300 * KB))
    assert not await listed(pair.faber.profile, "~protocol", ic.PROTOCOL.name, 10)
    long = ic.SendProposal(values={"photo": picture(1300 * KB)})
    hers, _ = await pair.connect()
    with pytest.raises(BadCommandError, match="is the most"):
        await pair.alice.start(ic.PROTOCOL, long, hers.id)


async def test_an_offer_of_what_would_not_fit_is_refused_and_both_learn_why(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    its = await office_and_holder(pair)
    other_stack = iter([None])  # its office does not look

    def looking(values: ic.Values) -> str | None:
        return next(other_stack, too_long(values))

    monkeypatch.setattr(ic, "too_long", looking)
    x = await offered(pair, its, picture(1300 * KB))
    await pair.faber.quiet()
    assert not await listed(pair.alice.profile, "~protocol", ic.PROTOCOL.name, 10)
    told = await at(pair.faber, ic.PROTOCOL, x, ABANDONED)
    assert "too-long" in (told.error or "")


async def test_413_for_the_credential_ends_the_exchange_in_words_on_both_sides(
    pair: Pair,
) -> None:
    alice, faber = pair.alice, pair.faber
    its = await office_and_holder(pair)
    x = await offered(pair, its, picture(30 * KB))
    await alice.command(await at(alice, ic.PROTOCOL, x, "offer-received"), ic.SendRequest())
    asked = await at(faber, ic.PROTOCOL, x, "request-received")
    pair.wire.most = 60 * KB
    await faber.command(asked, ic.Issue())
    ours = await at(faber, ic.PROTOCOL, x, ABANDONED)
    assert "413 to a message of" in (ours.error or "")
    theirs = await at(alice, ic.PROTOCOL, x, ABANDONED)
    assert "message-too-long" in (theirs.error or "")
    assert not await alice.profile.find(CREDENTIAL)


def test_the_longest_values_that_are_offered_leave_room_for_a_proof() -> None:
    longest = next(n for n in range(1450 * KB, 0, -KB) if too_long({"photo": "x" * n}) is None)
    assert longest > 1400 * KB
    assert (longest + 90 * KB) * 4 / 3 < MAX_MESSAGE
