"""The demo "over 18", step by step: how four agents are used through their admin API.

Every step checks what it says; a wrong claim ends the demo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from demo_claims import ClaimError, claim
from demo_dishonest_holder import answer_easier
from demo_terminal import Terminal
from keep_agent.client import Client, Exchange
from keep_agent.core.message import Json
from keep_agent.errors import BadCommandError
from keep_zkp.encode import encode
from keep_zkp.requests import from_cred_def, over_age, read_request, years_before
from network_and_agents import NETWORK, Agent, Network
from store_search import search

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


@dataclass(frozen=True, slots=True)
class Demo:
    """The network and the agents of the demo, and where it prints."""

    terminal: Terminal
    network: Network
    office: Agent
    alice: Agent
    bar: Agent
    tim: Agent
    today: date


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection: what each side calls it."""

    inviter: str
    invitee: str

    @property
    def back(self) -> Connection:
        """The same connection, with the sides exchanged."""
        return Connection(self.invitee, self.inviter)


async def run_steps(demo: Demo) -> None:
    """Run all steps in order."""
    did, making_keys = await publish(demo)
    office_alice, office_tim, bar_alice, bar_tim = await meet(demo)
    cred_def_id = await finish_keys(demo, making_keys)
    await give_licence(demo, office_alice, cred_def_id)
    verdict = await prove(demo, bar_alice, cred_def_id)
    await sum_up(demo, verdict, did)
    await refuse_a_child(demo, office_tim, bar_tim, cred_def_id)


# -- 2: the office on the ledger -------------------------------------------------------------------


async def publish(demo: Demo) -> tuple[str, str]:
    """Give the office a DID and a schema, and begin with the keys that it will sign with.

    Returns:
        The DID, and the name of the job that makes the keys and publishes them.
    """
    terminal, office = demo.terminal, demo.office.client
    terminal.heading("2. The licence office gets a public identity")
    async with terminal.step("the network's trustee registers the office as ENDORSER") as note:
        did = await office.create_did(namespace=NETWORK)
        bare = did["did"].removeprefix(f"did:indy:{NETWORK}:")
        await demo.network.register(bare, did["verkey"], "ENDORSER")
        note(did["did"])
    async with terminal.step('the office writes the schema "licence"') as note:
        wanted = {"name": "licence", "version": "1.0", "attributes": ATTRIBUTES}
        schema = await office.job_done((await office.write("schemas", **wanted))["id"])
        note(", ".join(ATTRIBUTES))
    job = await office.write("cred-defs", schema_id=schema["result"], tag="demo")
    terminal.say(
        "It begins to make the keys that will sign licences: 3 to 30 seconds of work for one "
        "core, to find large primes. Meanwhile:"
    )
    return did["did"], job["id"]


async def finish_keys(demo: Demo, job: str) -> str:
    """Wait for the keys and for the credential definition on the ledger; return its id."""
    text = "the office's keys are made, and the public ones are on the ledger"
    async with demo.terminal.step(text) as note:
        done = await demo.office.client.job_done(job, KEYS_S)
        note(f"transaction {done['seq_no']}")
    return str(done["result"])


# -- 3: everybody meets ----------------------------------------------------------------------------


async def meet(demo: Demo) -> tuple[Connection, Connection, Connection, Connection]:
    """Connect Alice and Tim with office and bar, and let some of them greet each other."""
    terminal, office, alice, bar = demo.terminal, demo.office, demo.alice, demo.bar
    terminal.heading("3. They get to know each other")
    async with terminal.step(
        "Alice and Tim scan invitations of the office and the bar"
    ) as note:
        office_alice, office_tim, bar_alice, bar_tim = await asyncio.gather(
            connect(office.client, alice.client),
            connect(office.client, demo.tim.client),
            connect(bar.client, alice.client),
            connect(bar.client, demo.tim.client),
        )
        note("4 connections by DID exchange, each with keys of its own")
    await greet(
        terminal, office, alice, office_alice, "Welcome! Your licence comes in a moment."
    )
    await greet(terminal, alice, bar, bar_alice.back, "Hello! What do you need to know of me?")
    return office_alice, office_tim, bar_alice, bar_tim


async def connect(host: Client, guest: Client) -> Connection:
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
    return Connection(inviter=ours["id"], invitee=theirs["id"])


async def greet(
    terminal: Terminal, speaker: Agent, listener: Agent, link: Connection, text: str
) -> None:
    """Say something, and show what arrived on the other side."""
    said = await speaker.client.start(
        "basic-message", "send-message", link.inviter, content=text
    )
    heard = await answered(listener.client, "basic-message", "received", said, link)
    line = heard["data"]["lines"][0]["content"]
    claim(line == text, f"{listener.title} hears what {speaker.title} says")
    terminal.quote(f"{speaker.title} to {listener.title}", line)


async def answered(
    guest: Client, family: str, state: str, ours: Exchange, link: Connection
) -> Exchange:
    """Wait until the other side of an exchange has reached a state; return it."""
    thid, connection = ours["thid"], link.invitee
    return await guest.wait(
        family, "-", state, thid=thid, connection=connection, timeout=PATIENCE_S
    )


# -- 4: the licence --------------------------------------------------------------------------------


async def give_licence(demo: Demo, link: Connection, cred_def_id: str) -> None:
    """Issue Alice's licence."""
    terminal, office, alice = demo.terminal, demo.office.client, demo.alice.client
    terminal.heading("4. The office issues Alice a licence")
    await issue(office, alice, link, cred_def_id, ALICE, terminal.done)
    held = await alice.credentials()
    claim([each["values"] for each in held] == [ALICE], "Alice holds exactly what was offered")


async def issue(
    office: Client,
    holder: Client,
    link: Connection,
    cred_def_id: str,
    values: dict[str, str],
    say: Callable[[str], None],
) -> None:
    """Issue a credential step by step; every step is a command."""
    offer = await office.start(
        ISSUE, "send-offer", link.inviter, cred_def_id=cred_def_id, values=values
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


async def prove(demo: Demo, link: Connection, cred_def_id: str) -> Json:
    """Let the bar ask Alice, and return its verdict on her answer."""
    terminal, bar, alice = demo.terminal, demo.bar.client, demo.alice.client
    terminal.heading("5. The bar asks, Alice proves")
    asked, mine = await ask(demo, alice, link, cred_def_id)
    terminal.done(f"send-request: the bar asks: category? Born on or before {adult(demo)}?")
    gives = await preview(alice, mine)
    claim(gives, "Alice's wallet can answer")
    terminal.quote("Alice's wallet", gives)
    await alice.command(PROVE, mine["id"], "send-presentation")
    terminal.done("send-presentation: Alice agrees, the wallet makes the proof")
    await bar.wait(PROVE, asked["id"], "presentation-received", timeout=PATIENCE_S)
    shown = encode(ALICE["category"])  # as it is in the proof
    _, found = await search(demo.bar, [*HIDDEN, shown])
    claim(
        found == {shown}, "what arrived holds the category, and nothing that is to stay hidden"
    )
    judged = await bar.command(PROVE, asked["id"], "verify")
    verdict: Json = judged["data"]["verdict"]
    claim(verdict["ok"], f"the bar accepts the proof: {reasons(verdict)}")
    await alice.wait(PROVE, mine["id"], "done", timeout=PATIENCE_S)
    terminal.done("verify: the bar accepts it, and tells Alice")
    return verdict


async def ask(
    demo: Demo, holder: Client, link: Connection, cred_def_id: str
) -> tuple[Exchange, Exchange]:
    """Let the bar ask for category and age; return the exchange as the bar and the holder have it."""
    source = from_cred_def(cred_def_id)
    question = over_age(18, today=demo.today, source=source, show=("category",))
    bar = demo.bar.client
    asked = await bar.start(PROVE, "send-request", link.inviter, request=question.wire())
    return asked, await answered(holder, PROVE, "request-received", asked, link)


async def preview(holder: Client, x: Exchange) -> str:
    """Say what a wallet would show and prove for a request; empty if it cannot answer."""
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


def adult(demo: Demo) -> date:
    """Return the latest birthday of somebody who is 18 today."""
    return years_before(demo.today, 18)


def reasons(verdict: Json) -> str:
    """Return why a verdict is as it is."""
    return "; ".join(each["words"] for each in verdict["reasons"])


# -- 6: the table ----------------------------------------------------------------------------------


async def sum_up(demo: Demo, verdict: Json, did: str) -> None:
    """Show what the bar knows now, from its verdict and from all that it has stored."""
    terminal, answers = demo.terminal, verdict["answers"]
    terminal.heading("6. What the bar knows now")
    shown = {name: value for each in answers for name, value in each["values"].items()}
    claim(
        shown == {"category": ALICE["category"]}, "the bar was shown the category, nothing else"
    )
    proved = [each["predicate"] for each in answers if each["how"] == "proven"]
    claim(
        proved == [f"birthdate_dateint <= {adult(demo):%Y%m%d}"], "the age was proved as asked"
    )
    issuers = {each["source"]["issuer_id"] for each in answers}
    claim(issuers == {did}, "all of it comes from the office")
    text = "we open the bar's store with its key, and search it, its files and its log"
    async with terminal.step(text) as note:
        count, found = await search(demo.bar, HIDDEN)
        claim(not found, "nothing that was to stay hidden is in the bar's store, files or log")
        _, known = await search(demo.alice, HIDDEN)
        claim(known == set(HIDDEN), "in Alice's wallet the same search finds all of it")
        note(f"{count} records, none has her name, birthdate or number")
    terminal.table(
        [
            ("what it learned", f"category {shown['category']}, from {did}"),
            ("proved without being shown", f"born on or before {adult(demo)}"),
            ("what it never saw", "name, birthdate, number"),
        ]
    )


# -- 7: two refusals -------------------------------------------------------------------------------


async def refuse_a_child(
    demo: Demo, office_tim: Connection, bar_tim: Connection, cred_def_id: str
) -> None:
    """Refuse a 12-year-old: first his own wallet says no, then the bar, when he cheats."""
    terminal, tim = demo.terminal, demo.tim.client
    terminal.heading("7. Two refusals")
    born = years_before(demo.today, 12) - timedelta(days=40)
    values = {**TIM, "birthdate_dateint": f"{born:%Y%m%d}"}
    await issue(demo.office.client, tim, office_tim, cred_def_id, values, lambda _: None)
    asked, mine = await ask(demo, tim, bar_tim, cred_def_id)
    terminal.say("Tim is 12; he has a licence for his bicycle. The bar asks him the same.")
    claim(not await preview(tim, mine), "nothing in Tim's wallet fits")
    try:
        await tim.command(PROVE, mine["id"], "send-presentation")
    except BadCommandError as error:
        terminal.quote("Tim's wallet", str(error))
    else:
        raise ClaimError("this turned out wrong: Tim's wallet can answer")
    terminal.say(
        "Tim changes his wallet's program: it now proves that he was born on or before today, "
        "and sends that as the answer to the bar's question."
    )
    await cheat(demo, bar_tim, asked, mine)
    terminal.done("the bar told Tim's wallet; it has stored nothing of what he sent")


async def cheat(demo: Demo, link: Connection, asked: Exchange, mine: Exchange) -> None:
    """Answer something easier than what was asked, over the wire, and be refused."""
    bar, genesis = demo.bar.client, demo.network.genesis
    question, thread = mine["data"]["request"], asked["thid"]
    taken = await answer_easier(demo.tim, genesis, link.invitee, thread, question, demo.today)
    claim(taken, "the bar takes the message, as it takes any from a connection")
    await bar.wait(PROVE, asked["id"], "presentation-received", timeout=PATIENCE_S)
    judged = await bar.command(PROVE, asked["id"], "verify")
    verdict: Json = judged["data"]["verdict"]
    claim(not verdict["ok"], "the bar refuses a proof of something else than it asked")
    claim({each["how"] for each in verdict["answers"]} == {"missing"}, "it believes none of it")
    demo.terminal.quote("The bar", f"No: {reasons(verdict)}.")
    await demo.tim.client.wait(PROVE, mine["id"], "abandoned", timeout=PATIENCE_S)
    _, found = await search(demo.bar, [encode(TIM["category"])])
    claim(not found, "nothing of a refused presentation stays with the bar")
