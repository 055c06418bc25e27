"""Public DIDs: what is public, invitations by it, and requests to it without an invitation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from agent.ledger_dids import (
    DIDEX,
    asked,
    connect,
    ends,
    implicit,
    new_did,
    ping,
    public,
    publish,
    write,
)
from agent.pair import Pair, opened, packed, stranger

from keep_agent.core import problem_reports
from keep_agent.core.machine import Expired
from keep_agent.core.message import Json, Thread
from keep_agent.core.policy import Automatic, Policy
from keep_agent.didcomm.envelope import unpack
from keep_agent.errors import (
    BadCommandError,
    BadEnvelopeError,
    NotFoundError,
    NotNowError,
    PeerError,
    RefusedError,
)
from keep_agent.identity.connections import CONNECTION, INVITATION
from keep_agent.identity.keys import LocalKey, NewKey
from keep_agent.identity.peer_dids import create_peer4
from keep_agent.identity.public_dids import MOST_UNANSWERED
from keep_agent.protocols import did_exchange, trust_ping
from keep_agent.registry.public_dids import MakePublic
from keep_ledger.codes import Role
from keep_ledger.memory import TRUSTEE, MemoryRegistry
from keep_ledger.writes import WriteAttrib, WriteNym, WriteVerkey

HIS_ENDPOINT = "http://stranger.example"


@pytest.fixture
def ledger() -> MemoryRegistry:
    return MemoryRegistry("local")


@pytest.fixture
async def pair(tmp_path: Path, ledger: MemoryRegistry) -> AsyncIterator[Pair]:
    """Alice, Faber and Mallory, who read one ledger."""
    async with opened(tmp_path, networks=[ledger]) as pair:
        yield pair


# -- what is public --------------------------------------------------------------------------------


async def test_a_tenant_has_at_most_one_public_did_on_a_ledger(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    commands = pair.faber.tenant.public_dids
    first = await public(pair.faber, ledger)
    second = await public(pair.faber, ledger)
    assert first != second
    assert [each["shown"] for each in await commands.status()] == [second]
    await commands.withdraw("local")
    assert await commands.status() == []
    with pytest.raises(NotFoundError):
        await commands.withdraw("local")


async def test_what_is_not_said_of_a_public_did_stays_as_it_was(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    commands = pair.faber.tenant.public_dids
    shown = await public(pair.faber, ledger)

    async def after(**wish: Any) -> bool:
        await commands.make_public(MakePublic.model_validate({"did": shown, **wish}))
        (status,) = await commands.status()
        return bool(status["implicit_requests"])

    assert not await after()
    assert await after(implicit_requests=True)
    assert await after()
    assert await after(namespace="local", implicit_requests=None)
    assert not await after(implicit_requests=False)
    assert not await after()
    assert await after(implicit_requests=True)
    shown = await public(pair.faber, ledger)
    assert not await after(), "another DID is not told to take requests"


@pytest.mark.parametrize("network", [None, "local"])
@pytest.mark.parametrize("spelling", ["", "did:sov:", "did:indy:local:"])
async def test_a_did_of_ours_is_named_in_any_spelling(
    pair: Pair, network: str | None, spelling: str
) -> None:
    did = str((await new_did(pair.faber, network))["did"])
    wanted = MakePublic(did=spelling + did.rpartition(":")[2])
    made = await pair.faber.tenant.public_dids.make_public(wanted)
    assert (made["did"], made["namespace"]) == (did, "local")


async def test_the_status_says_what_the_ledger_has_and_what_is_missing(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    faber = pair.faber.tenant
    record = await new_did(pair.faber)
    did = record["did"]

    async def status() -> Json:
        (found,) = await faber.public_dids.status()
        return found

    await faber.public_dids.make_public(MakePublic(did=did))
    found = await status()
    assert (found["on_ledger"], found["role"], found["endpoint"]) == (False, None, None)
    assert "has to register it" in found["problem"]
    await write(ledger, WriteNym(did, record["verkey"], Role.ENDORSER))
    found = await status()
    assert (found["on_ledger"], found["role"], found["endpoint"]) == (True, "ENDORSER", None)
    assert f"write {faber.endpoint}" in found["problem"]
    await write(ledger, WriteAttrib.endpoint(did, "http://elsewhere.example"), did)
    assert "another than" in (await status())["problem"]
    await write(ledger, WriteAttrib.endpoint(did, faber.endpoint), did)
    found = await status()
    assert (found["endpoint"], found["problem"]) == (faber.endpoint, None)
    assert found["implicit_requests"] is False


async def test_a_did_that_several_people_hold_cannot_respond_and_is_refused_in_words(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    commands = pair.faber.tenant.public_dids
    with pytest.raises(NotFoundError, match="several people hold together"):
        await commands.make_public(MakePublic(did=TRUSTEE.did))
    record = await new_did(pair.faber)
    await publish(ledger, record, pair.faber.tenant.endpoint)
    await commands.make_public(MakePublic(did=record["did"]))
    held_by_a_group = NewKey.generate({}).verkey
    await write(ledger, WriteVerkey(record["did"], held_by_a_group), record["did"])
    with pytest.raises(BadCommandError, match="several people hold together cannot respond"):
        await pair.faber.invite(did="public")
    with pytest.raises(NotNowError, match="several people hold together cannot respond"):
        await commands.make_public(MakePublic(did=record["did"]))
    (status,) = await commands.status()
    assert "cannot respond" in status["problem"]


async def test_a_did_that_leads_nobody_to_us_stands_in_no_invitation(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    record = await new_did(pair.faber)
    await pair.faber.tenant.public_dids.make_public(MakePublic(did=record["did"]))
    with pytest.raises(BadCommandError, match="must be on the ledger, with an endpoint"):
        await pair.faber.invite(did="public")
    await write(ledger, WriteNym(record["did"], record["verkey"], None))
    with pytest.raises(BadCommandError, match="must be on the ledger, with an endpoint"):
        await pair.faber.invite(did="public")
    with pytest.raises(BadCommandError, match="is not public"):
        await pair.faber.invite(did=TRUSTEE.did)
    assert await pair.faber.profile.find(INVITATION) == []


async def test_where_several_networks_are_configured_one_is_named(tmp_path: Path) -> None:
    networks = [MemoryRegistry("local"), MemoryRegistry("other")]
    async with opened(tmp_path, networks=networks) as pair:
        commands = pair.faber.tenant.public_dids
        did = (await new_did(pair.faber))["did"]
        with pytest.raises(BadCommandError, match="namespace: local, other"):
            await commands.make_public(MakePublic(did=did))
        there = (await new_did(pair.faber, "other"))["did"]
        with pytest.raises(BadCommandError, match="not of the network local"):
            await commands.make_public(MakePublic(did=there, namespace="local"))
        await commands.make_public(MakePublic(did=there))
        await commands.make_public(MakePublic(did=did, namespace="local"))
        assert {each["namespace"] for each in await commands.status()} == {"local", "other"}
        with pytest.raises(BadCommandError, match="several public DIDs; name one"):
            await pair.faber.invite(did="public")


# -- invitations by it -----------------------------------------------------------------------------

KINDS = ("did:peer:2", "did:peer:4", "public")
WITH_PUBLIC = [kinds for kinds in product(("key", *KINDS), KINDS, KINDS) if "public" in kinds]


@pytest.mark.parametrize(("inviting", "asking", "answering"), WITH_PUBLIC)
async def test_a_public_did_is_understood_in_every_place(
    pair: Pair, ledger: MemoryRegistry, inviting: str, asking: str, answering: str
) -> None:
    hers_public = await public(pair.alice, ledger)
    his_public = await public(pair.faber, ledger)
    invitation = await pair.faber.invite(did=inviting)
    hers, his = await connect(pair.alice, pair.faber, invitation, asking, did=answering)
    if inviting == "public":
        assert invitation["services"] == [his_public]
    assert (hers.my_did == hers_public) == (asking == "public")
    assert (his.my_did == his_public) == (answering == "public")
    assert (hers.their_did, his.their_did) == (his.my_did, hers.my_did)
    assert (hers.their_key, his.their_key) == (his.my_key, hers.my_key)
    await ping(pair.alice, hers)
    await ping(pair.faber, his)


async def test_a_did_that_names_its_network_is_shown_as_it_is_written(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    did = await public(pair.faber, ledger, "local")
    assert did.startswith("did:indy:local:")
    invitation = await pair.faber.invite(did=did)
    assert invitation["services"] == [did]
    await connect(pair.alice, pair.faber, invitation)


async def test_several_invitations_of_one_did_are_told_apart(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    await public(pair.faber, ledger)
    first = await pair.faber.invite(did="public")
    second = await pair.faber.invite(did="public", multi_use=True)
    await connect(pair.alice, pair.faber, first)
    await connect(pair.alice, pair.faber, second)
    await pair.mallory.accept(first)
    await connect(pair.mallory, pair.faber, second)
    connections = await pair.faber.profile.find(CONNECTION)
    assert [row["invitation"] for _, row in connections] == [
        first["@id"], second["@id"], second["@id"],
    ]  # fmt: skip


async def test_a_message_attached_to_an_invitation_of_a_public_did_is_answered(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    await public(pair.faber, ledger)
    asks = await pair.faber.start(trust_ping.PROTOCOL, trust_ping.SendPing())
    invitation = await pair.faber.invite(
        thid=asks.peer, attach=[asks.id], did="public", handshake_protocols=[]
    )
    await pair.alice.accept(invitation)
    x = await pair.faber.until(trust_ping.PROTOCOL, lambda y: y.state == "done")
    assert x.id == asks.id


# -- without an invitation -------------------------------------------------------------------------


class Stranger:
    """Somebody with a key alone, who writes to Faber's public DID and reads what is answered."""

    def __init__(self, pair: Pair) -> None:
        self.key = stranger()
        self.did = create_peer4(self.key.verkey, HIS_ENDPOINT)
        self._wire = pair.wire
        self._faber = pair.faber.tenant
        pair.wire.held = []

    async def ask(self, **about: Any) -> None:
        (public_did,) = await self._faber.public_dids.status()
        body = {**did_exchange.Request(did=self.did).wire(), **about}
        await self._faber.receive(packed(body, public_did["verkey"], self.key))

    async def told(self, number: int = 1) -> Json:
        """Return the last of so many answers, the only ones that Faber has sent to anybody."""
        await self._wire.gather(number)
        assert self._wire.held is not None
        assert [url for url, _ in self._wire.held] == [HIS_ENDPOINT] * number

        async def find(_: object) -> LocalKey:
            return self.key

        return (await unpack(self._wire.held[-1][1], find)).body


async def test_requests_without_an_invitation_are_refused_unless_they_are_allowed(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    did = await public(pair.faber, ledger)
    await pair.alice.start(DIDEX, did_exchange.SendRequest(invitation=did))
    told = await pair.alice.reached(DIDEX, did_exchange.State.ABANDONED)
    assert told.error == (
        "peer reports: a request must answer an invitation (request_not_accepted)"
    )
    assert await pair.faber.profile.find(CONNECTION) == []
    (stored,) = await pair.faber.tenant.public_dids.status()
    key = stranger()
    mine = create_peer4(key.verkey, HIS_ENDPOINT)
    body = did_exchange.Request(did=mine, thread=Thread(pthid=did)).wire()
    await pair.faber.tenant.public_dids.withdraw("local")
    with pytest.raises(BadEnvelopeError, match="not for messages"):
        await pair.faber.tenant.receive(packed(body, stored["verkey"], key))


async def test_sec_d_06_a_refusal_goes_only_to_the_key_that_asked_and_within_an_allowance(
    pair: Pair, ledger: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await public(pair.faber, ledger)
    monkeypatch.setattr(problem_reports, "REPORTS_PER_S", 0.0)
    asker, victim = Stranger(pair), stranger()
    not_his = create_peer4(victim.verkey, pair.alice.tenant.endpoint)
    service = {"recipientKeys": [victim.verkey], "serviceEndpoint": pair.alice.tenant.endpoint}
    nowhere = f"did:sov:{TRUSTEE.did}"
    for about in ({"did": not_his}, {"did": nowhere}, {"~service": service}, {"did": 7}):
        with pytest.raises(PeerError):
            await asker.ask(**about)
    left = problem_reports.REPORTS_IN_A_ROW - 4
    for _ in range(left):
        await asker.ask()
    for _ in range(5):
        with pytest.raises(RefusedError, match="must answer an invitation"):
            await asker.ask()
    await asker.told(left)


@pytest.mark.parametrize("network", [None, "local"])
async def test_a_request_to_a_public_did_is_answered_like_any(
    pair: Pair, ledger: MemoryRegistry, network: str | None
) -> None:
    did = await public(pair.faber, ledger, network, implicit_requests=True)
    x = await implicit(pair.alice, pair.faber, did)
    assert x.pthid == did
    hers, his = await ends(pair.alice, pair.faber, x)
    assert hers.invitation == did
    assert his.implicit
    assert str(his.my_did).startswith("did:peer:4")
    await ping(pair.alice, hers)
    await ping(pair.faber, his)


@pytest.mark.parametrize("spelling", ["", "did:sov:", "did:indy:local:"])
async def test_a_public_did_is_asked_in_any_spelling(
    pair: Pair, ledger: MemoryRegistry, spelling: str
) -> None:
    shown = await public(pair.faber, ledger, implicit_requests=True)
    did = spelling + shown.removeprefix("did:sov:")
    x = await implicit(pair.alice, pair.faber, did, did="did:peer:2")
    hers, _ = await ends(pair.alice, pair.faber, x, did="public")
    assert hers.their_did == shown
    await ping(pair.alice, hers)


async def test_a_policy_answers_requests_to_a_public_did(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    did = await public(pair.faber, ledger, implicit_requests=True)
    auto = {"request-received": Automatic(command="send-response")}
    await pair.faber.tenant.commands.set_policy(Policy(protocol="didexchange/1", auto=auto))
    x = await pair.alice.start(DIDEX, did_exchange.SendRequest(invitation=did))
    await pair.alice.until(DIDEX, lambda y: y.id == x.id and y.state == "completed")


async def test_a_request_for_an_invitation_that_is_not_there_is_no_implicit_one(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    did = await public(pair.faber, ledger, implicit_requests=True)
    own_key = await pair.faber.invite()
    asker = Stranger(pair)
    unknown = ("unknown", own_key["@id"], f"did:indy:other:{did.removeprefix('did:sov:')}")
    for i, pthid in enumerate(unknown, 1):
        await asker.ask(**{"~thread": {"pthid": pthid}})
        told = await asker.told(i)
        assert "an invitation that we do not know" in told["description"]["en"]
    assert await pair.faber.profile.find(CONNECTION) == []


async def test_sec_d_06_requests_that_come_at_once_are_bounded_as_well(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    did = await public(pair.faber, ledger, implicit_requests=True)
    thread = {"~thread": {"pthid": did}}
    askers = [Stranger(pair) for _ in range(2 * MOST_UNANSWERED)]
    asking = (asker.ask(**thread) for asker in askers)
    for outcome in await asyncio.gather(*asking, return_exceptions=True):
        assert outcome is None or isinstance(outcome, RefusedError)
    assert len(await pair.faber.profile.find(CONNECTION)) == MOST_UNANSWERED


async def test_sec_d_06_unanswered_requests_are_bounded_and_expire(
    pair: Pair, ledger: MemoryRegistry
) -> None:
    await public(pair.faber, ledger, implicit_requests=True)

    async def refused() -> None:
        asker = Stranger(pair)
        await asker.ask()
        assert "ask again later" in (await asker.told())["description"]["en"]

    for _ in range(MOST_UNANSWERED):
        await Stranger(pair).ask()
    await refused()
    x = await asked(pair.faber)
    assert x.due is not None
    assert x.due - x.updated <= did_exchange.DAY_S
    ended = await pair.faber.command(x, Expired())
    assert ended.state == did_exchange.State.ABANDONED
    await pair.faber.quiet()
    await Stranger(pair).ask()
    await refused()
    pair.wire.held = None
    invitation = await pair.faber.invite()  # who is invited does not wait behind them
    await pair.alice.accept(invitation)
    await pair.faber.until(DIDEX, lambda y: y.peer == invitation["@id"])
