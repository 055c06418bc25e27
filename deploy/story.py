"""The story "over 18", act by act: how four agents are used through their admin API.

Every act checks what it says; a claim that turns out wrong ends the story.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from dishonest import answer_easier
from evidence import search
from keep_agent.client import Client, Exchange
from keep_agent.core.message import Json
from keep_agent.errors import BadCommandError
from keep_zkp.encode import encode
from keep_zkp.requests import from_cred_def, over_age, read_request, years_before
from screen import Screen
from stage import NETWORK, Agent, Network

PATIENCE_S = 30.0
KEYS_S = 180.0
CONNECT, ISSUE, PROVE = "did-exchange", "issue-credential", "present-proof"
ATTRIBUTES = ("name", "birthdate_dateint", "category", "number")
ALICE = {
    "name": "Alice Eleanor Marlow",
    "birthdate_dateint": "19990512",
    "category": "B",
    "number": "L-4711-08-15",
}
TIM = {"name": "Tim Marlow", "category": "bicycle", "number": "L-4711-08-16"}
HIDDEN = [ALICE[name] for name in ("name", "birthdate_dateint", "number")]


class ClaimError(Exception):
    """Something that the story says is not true."""


def claim(true: object, words: str) -> None:
    """Hold the story to its word."""
    if not true:
        raise ClaimError(f"this turned out wrong: {words}")


@dataclass(frozen=True, slots=True)
class Scene:
    """Who plays, and where it is told."""

    screen: Screen
    network: Network
    office: Agent
    alice: Agent
    bar: Agent
    tim: Agent
    today: date


@dataclass(frozen=True, slots=True)
class Link:
    """A connection: what each side calls it."""

    host: str
    guest: str

    @property
    def back(self) -> Link:
        """The same, seen from the guest."""
        return Link(self.guest, self.host)


async def tell(scene: Scene) -> None:
    """Tell it all."""
    did, making_keys = await publish(scene)
    office_alice, office_tim, bar_alice, bar_tim = await meet(scene)
    cred_def_id = await finish_keys(scene, making_keys)
    await give_licence(scene, office_alice, cred_def_id)
    verdict = await prove(scene, bar_alice, cred_def_id)
    await sum_up(scene, verdict, did)
    await refuse_a_child(scene, office_tim, bar_tim, cred_def_id)


# -- 2: the office on the ledger -------------------------------------------------------------------


async def publish(scene: Scene) -> tuple[str, str]:
    """Give the office a DID and a schema, and begin with the keys that it will sign with.

    Returns:
        The DID, and the name of the job that makes the keys and publishes them.
    """
    screen, office = scene.screen, scene.office.client
    screen.act("2. The licence office gets a public identity")
    async with screen.doing("the network's trustee registers the office as ENDORSER") as note:
        did = await office.create_did(namespace=NETWORK)
        bare = did["did"].removeprefix(f"did:indy:{NETWORK}:")
        await scene.network.register(bare, did["verkey"], "ENDORSER")
        note(did["did"])
    async with screen.doing('the office writes the schema "licence"') as note:
        wanted = {"name": "licence", "version": "1.0", "attributes": ATTRIBUTES}
        schema = await office.job_done((await office.write("schemas", **wanted))["id"])
        note(", ".join(ATTRIBUTES))
    job = await office.write("cred-defs", schema_id=schema["result"], tag="demo")
    screen.say(
        "It begins to make the keys that will sign licences: 3 to 30 seconds of work for one "
        "core, to find large primes. Meanwhile:"
    )
    return did["did"], job["id"]


async def finish_keys(scene: Scene, job: str) -> str:
    """Wait for the keys and for the credential definition on the ledger; return its id."""
    text = "the office's keys are made, and the public ones are on the ledger"
    async with scene.screen.doing(text) as note:
        done = await scene.office.client.job_done(job, KEYS_S)
        note(f"transaction {done['seq_no']}")
    return str(done["result"])


# -- 3: everybody meets ----------------------------------------------------------------------------


async def meet(scene: Scene) -> tuple[Link, Link, Link, Link]:
    """Connect Alice and Tim with office and bar, and let some of them greet each other."""
    screen, office, alice, bar = scene.screen, scene.office, scene.alice, scene.bar
    screen.act("3. They get to know each other")
    async with screen.doing("Alice and Tim scan invitations of the office and the bar") as note:
        office_alice, office_tim, bar_alice, bar_tim = await asyncio.gather(
            connect(office.client, alice.client),
            connect(office.client, scene.tim.client),
            connect(bar.client, alice.client),
            connect(bar.client, scene.tim.client),
        )
        note("4 connections by DID exchange, each with keys of its own")
    await greet(screen, office, alice, office_alice, "Welcome! Your licence comes in a moment.")
    await greet(screen, alice, bar, bar_alice.back, "Hello! What do you need to know of me?")
    return office_alice, office_tim, bar_alice, bar_tim


async def connect(host: Client, guest: Client) -> Link:
    """Connect two agents: an invitation as a link, then DID exchange step by step."""
    invitation = await host.start("out-of-band", "create-invitation")
    link, name = invitation["data"]["url"], invitation["data"]["invitation"]
    seen = await guest.start("out-of-band", "receive-invitation", url=link)
    await guest.command("out-of-band", seen["id"], "accept")
    asking = await host.connections(invitation=name, state="request-received", wait=PATIENCE_S)
    claim(asking, "somebody answers the invitation")
    await host.command(CONNECT, asking[0]["id"], "send-response")
    theirs = await guest.connected(name, PATIENCE_S)
    ours = await host.connected(name, PATIENCE_S)
    return Link(host=ours["id"], guest=theirs["id"])


async def greet(screen: Screen, speaker: Agent, listener: Agent, link: Link, text: str) -> None:
    """Say something, and show what arrived on the other side."""
    said = await speaker.client.start("basic-message", "send-message", link.host, content=text)
    heard = await answered(listener.client, "basic-message", "received", said, link)
    line = heard["data"]["lines"][0]["content"]
    claim(line == text, f"{listener.title} hears what {speaker.title} says")
    screen.quote(f"{speaker.title} to {listener.title}", line)


async def answered(
    guest: Client, family: str, state: str, ours: Exchange, link: Link
) -> Exchange:
    """Wait until the other side of an exchange of the host has reached a state; return it."""
    thid, connection = ours["thid"], link.guest
    return await guest.wait(
        family, "-", state, thid=thid, connection=connection, timeout=PATIENCE_S
    )


# -- 4: the licence --------------------------------------------------------------------------------


async def give_licence(scene: Scene, link: Link, cred_def_id: str) -> None:
    """Issue Alice's licence."""
    screen, office, alice = scene.screen, scene.office.client, scene.alice.client
    screen.act("4. The office issues Alice a licence")
    await issue(office, alice, link, cred_def_id, ALICE, screen.done)
    held = await alice.credentials()
    claim([each["values"] for each in held] == [ALICE], "Alice holds exactly what was offered")


async def issue(
    office: Client,
    holder: Client,
    link: Link,
    cred_def_id: str,
    values: dict[str, str],
    say: Callable[[str], None],
) -> None:
    """Issue a credential step by step; nothing happens that nobody commanded."""
    offer = await office.start(
        ISSUE, "send-offer", link.host, cred_def_id=cred_def_id, values=values
    )
    say(f"send-offer: the office offers {', '.join(values.values())}")
    mine = await answered(holder, ISSUE, "offer-received", offer, link)
    await holder.command(ISSUE, mine["id"], "send-request")
    say("send-request: the holder accepts, with a secret of the wallet blinded in the request")
    await office.wait(ISSUE, offer["id"], "request-received", timeout=PATIENCE_S)
    await office.command(ISSUE, offer["id"], "issue")
    say("issue: the office signs values and secret together, without seeing the secret")
    await holder.wait(ISSUE, mine["id"], "credential-received", timeout=PATIENCE_S)
    await holder.command(ISSUE, mine["id"], "store-credential")
    await office.wait(ISSUE, offer["id"], "done", timeout=PATIENCE_S)
    say("store-credential: the wallet has checked signature and values, and keeps it")


# -- 5: the proof ----------------------------------------------------------------------------------


async def prove(scene: Scene, link: Link, cred_def_id: str) -> Json:
    """Let the bar ask Alice, and return its verdict on her answer."""
    screen, bar, alice = scene.screen, scene.bar.client, scene.alice.client
    screen.act("5. The bar asks, Alice proves")
    asked, mine = await ask(scene, alice, link, cred_def_id)
    screen.done(f"send-request: the bar asks: category? Born on or before {adult(scene)}?")
    gives = await preview(alice, mine)
    claim(gives, "Alice's wallet can answer")
    screen.quote("Alice's wallet", gives)
    await alice.command(PROVE, mine["id"], "send-presentation")
    screen.done("send-presentation: Alice agrees, the wallet makes the proof")
    await bar.wait(PROVE, asked["id"], "presentation-received", timeout=PATIENCE_S)
    shown = encode(ALICE["category"])  # as it is in the proof
    _, found = await search(scene.bar, [*HIDDEN, shown])
    claim(
        found == {shown}, "what arrived holds the category, and nothing that is to stay hidden"
    )
    judged = await bar.command(PROVE, asked["id"], "verify")
    verdict: Json = judged["data"]["verdict"]
    claim(verdict["ok"], f"the bar accepts the proof: {reasons(verdict)}")
    await alice.wait(PROVE, mine["id"], "done", timeout=PATIENCE_S)
    screen.done("verify: the bar finds it good, and says so to Alice")
    return verdict


async def ask(
    scene: Scene, holder: Client, link: Link, cred_def_id: str
) -> tuple[Exchange, Exchange]:
    """Let the bar ask for category and age; return the exchange as the bar and the holder have it."""
    source = from_cred_def(cred_def_id)
    question = over_age(18, today=scene.today, source=source, show=("category",))
    bar = scene.bar.client
    asked = await bar.start(PROVE, "send-request", link.host, request=question.wire())
    return asked, await answered(holder, PROVE, "request-received", asked, link)


async def preview(holder: Client, x: Exchange) -> str:
    """Say what a wallet would give in answer to a request; nothing where it cannot answer."""
    request = x["data"]["request"]
    fits = await holder.call("POST", "/v1/credentials/candidates", {"request": request})
    if fits["missing"]:
        return ""
    asked = read_request(request)
    shows = [name for each in asked.requested_attributes.values() for name in each.all_names]
    proves = [str(each) for each in asked.requested_predicates.values()]
    keeps = [name for name in ATTRIBUTES if name not in shows]
    return (
        f"I would show {', '.join(shows)}; prove {', '.join(proves)} without the number; "
        f"and not show {', '.join(keeps)}."
    )


def adult(scene: Scene) -> date:
    """Return the latest birthday of somebody who is 18 today."""
    return years_before(scene.today, 18)


def reasons(verdict: Json) -> str:
    """Return why a verdict is as it is."""
    return "; ".join(each["words"] for each in verdict["reasons"])


# -- 6: the table ----------------------------------------------------------------------------------


async def sum_up(scene: Scene, verdict: Json, did: str) -> None:
    """Show what the bar knows now: out of its verdict, and out of all that it has stored."""
    screen, answers = scene.screen, verdict["answers"]
    screen.act("6. What the bar knows now")
    shown = {name: value for each in answers for name, value in each["values"].items()}
    claim(
        shown == {"category": ALICE["category"]}, "the bar was shown the category, nothing else"
    )
    proved = [each["predicate"] for each in answers if each["how"] == "proven"]
    claim(
        proved == [f"birthdate_dateint <= {adult(scene):%Y%m%d}"], "the age was proved as asked"
    )
    issuers = {each["source"]["issuer_id"] for each in answers}
    claim(issuers == {did}, "all of it comes from the office")
    text = "we open the bar's store with its key, and search it, its files and its log"
    async with screen.doing(text) as note:
        count, found = await search(scene.bar, HIDDEN)
        claim(not found, "nothing that was to stay hidden is in the bar's store, files or log")
        _, known = await search(scene.alice, HIDDEN)
        claim(known == set(HIDDEN), "in Alice's wallet the same search finds all of it")
        note(f"{count} records, none has her name, birthdate or number")
    screen.rows(
        [
            ("what it learned", f"category {shown['category']}, from {did}"),
            ("proved without being shown", f"born on or before {adult(scene)}"),
            ("what it never saw", "name, birthdate, number"),
        ]
    )


# -- 7: two refusals -------------------------------------------------------------------------------


async def refuse_a_child(
    scene: Scene, office_tim: Link, bar_tim: Link, cred_def_id: str
) -> None:
    """Refuse a 12-year-old: first his own wallet says no, then the bar, when he cheats."""
    screen, tim = scene.screen, scene.tim.client
    screen.act("7. Two refusals")
    born = years_before(scene.today, 12) - timedelta(days=40)
    values = {**TIM, "birthdate_dateint": f"{born:%Y%m%d}"}
    await issue(scene.office.client, tim, office_tim, cred_def_id, values, lambda _: None)
    asked, mine = await ask(scene, tim, bar_tim, cred_def_id)
    screen.say("Tim is 12; he has a licence for his bicycle. The bar asks him the same.")
    claim(not await preview(tim, mine), "nothing in Tim's wallet fits")
    try:
        await tim.command(PROVE, mine["id"], "send-presentation")
    except BadCommandError as error:
        screen.quote("Tim's wallet", str(error))
    else:
        raise ClaimError("this turned out wrong: Tim's wallet has an answer")
    screen.say(
        "Tim changes his wallet's program: it now proves that he was born on or before today, "
        "and sends that as the answer to the bar's question."
    )
    await cheat(scene, bar_tim, asked, mine)
    screen.done("the bar told Tim's wallet; it has stored nothing of what he sent")


async def cheat(scene: Scene, link: Link, asked: Exchange, mine: Exchange) -> None:
    """Answer something easier than what was asked, over the wire, and be refused."""
    bar, genesis = scene.bar.client, scene.network.genesis
    question, thread = mine["data"]["request"], asked["thid"]
    taken = await answer_easier(scene.tim, genesis, link.guest, thread, question, scene.today)
    claim(taken, "the bar takes the message, as it takes any from a connection")
    await bar.wait(PROVE, asked["id"], "presentation-received", timeout=PATIENCE_S)
    judged = await bar.command(PROVE, asked["id"], "verify")
    verdict: Json = judged["data"]["verdict"]
    claim(not verdict["ok"], "the bar refuses a proof of something else than it asked")
    claim({each["how"] for each in verdict["answers"]} == {"missing"}, "it believes none of it")
    scene.screen.quote("The bar", f"No: {reasons(verdict)}.")
    await scene.tim.client.wait(PROVE, mine["id"], "abandoned", timeout=PATIENCE_S)
    _, found = await search(scene.bar, [encode(TIM["category"])])
    claim(not found, "nothing of a refused presentation stays with the bar")
