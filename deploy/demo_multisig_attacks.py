"""Attacks on the trustees: each is really tried, and the reason why it fails is checked."""

from __future__ import annotations

import json
import re
from typing import Any

import cbor2

from demo_claims import claim
from demo_multisig_steps import QUORUM, Trustees
from keep_ledger.codes import ENDORSER, TRUSTEE
from keep_ledger.indy import auth_rules
from keep_ledger.json_object import Json
from keep_ledger.multisig.proposal.document import Proposal
from keep_ledger.multisig.proposal.signing_input import signing_input
from keep_ledger.multisig.rules.auth_rules import Role, RuleKey

NEW_ENDORSER = RuleKey.parse("1--ADD--role--*--101")
DAY_S = 86400
_BEGUN = re.compile(r"^it must not be (signed|sent): ")


async def attack(trustees: Trustees) -> None:
    """Try all attacks."""
    trustees.commands.terminal.heading("5. Cas attacks the network")
    await change_rule_alone(trustees)
    await forge_a_signature(trustees)
    await change_one_byte(trustees)
    await hide_another_rule(trustees)
    await use_an_expired_proposal(trustees)
    await use_another_network(trustees)
    await use_an_outdated_proposal(trustees)
    rule = await auth_rules.read_rule(trustees.client.pool, NEW_ENDORSER)
    claim(
        rule.to_json()["sig_count"] == QUORUM, "a new endorser takes three trustees, as before"
    )
    mallory = await trustees.client.nym(trustees.commands.names["MALLORY"])
    claim(mallory is None, "Mallory is not on the ledger")
    trustees.commands.terminal.done(
        "the ledger was read again: the rule is unchanged, Mallory is not there"
    )


def _failed(trustees: Trustees, what: str, why: str) -> None:
    """Say that an attack failed, and why."""
    trustees.commands.terminal.done(f"{what}: {_BEGUN.sub('', why)}")


async def change_rule_alone(trustees: Trustees) -> None:
    """One trustee changes a rule, by AUTH_RULE and by AUTH_RULES, and sends it without our commands."""
    commands = trustees.commands
    commands.terminal.say(
        "Cas alone makes one trustee enough for a new endorser, and sends it:"
    )
    one = NEW_ENDORSER.to_json() | {"constraint": Role(TRUSTEE, 1).to_json()}
    why = ""
    for file, operation in (
        ("loosen", {"type": "120"} | one),
        ("loosen-all", {"type": "122", "rules": [one]}),
    ):
        (commands.folder / f"{file}.json").write_text(json.dumps(operation))
        shown = file == "loosen"
        line = (
            f"propose operation {file}.json --author $CAS --cosigner Cas=$CAS --out {file}.psit"
        )
        await commands.run("cas", line, shown=shown)
        await commands.run("cas", f'sign {file}.psit --with "$CAS_WITH" --yes', shown=shown)
        signed = trustees.proposal(f"{file}.psit")
        why = await trustees.send_directly(signed.request.body, signed.signatures())
        claim("trustee" in why.lower(), f"the ledger wants more trustees, not: {why}")
    _failed(trustees, "refused by the ledger, as AUTH_RULE and as AUTH_RULES", why)
    commands.note_result(
        "one trustee changes a rule", "the ledger refuses: three trustees must sign"
    )


async def forge_a_signature(trustees: Trustees) -> None:
    """A signature under somebody else's name, in a copy that is to be merged."""
    commands = trustees.commands
    commands.terminal.say(
        "Cas proposes his friend Mallory, signs, and adds a mark in Dee's name:"
    )
    await trustees.new_key("mallory", "MALLORY", shown=False)
    line = "propose nym --did $MALLORY --verkey $MALLORY_KEY --role ENDORSER --author $CAS $COSIGNERS"
    await commands.run("cas", f"{line} --out blank.psit")
    await commands.run("cas", 'sign blank.psit --with "$CAS_WITH" --out mallory.psit --yes')
    whole: Any = cbor2.loads((commands.folder / "mallory.psit").read_bytes())
    names = [one["name"] for one in whole["psit"]["cosigners"]]
    whole["marks"].append(whole["marks"][0] | {"by": names.index("Dee")})
    _put(trustees, "forged.psit", cbor2.dumps(whole, canonical=True))
    line = "merge mallory.psit forged.psit --out all.psit"
    why = await commands.run_refused("ana", line, because="Dee")
    claim(not (commands.folder / "all.psit").exists(), "nothing was written")
    _failed(trustees, "not merged", why)
    commands.note_result("a forged signature", "not merged; the error names Dee")


async def change_one_byte(trustees: Trustees) -> None:
    """One byte of a request that others have signed."""
    commands = trustees.commands
    commands.terminal.say("Cas changes one byte of what Ana has signed: another role for Acme:")
    signed = (commands.folder / "1.psit").read_bytes()
    mine, theirs = b"\x64role\x63101", b"\x64role\x63201"
    claim(signed.count(mine) == 1, "the role is there once")
    _put(trustees, "byte.psit", signed.replace(mine, theirs))
    line = 'sign byte.psit --with "$DEE_WITH" --yes'
    why = await commands.run_refused("dee", line, because="Ana: a mark in this name")
    _failed(trustees, "not read", why)
    commands.note_result("one byte is changed", "not read: Ana's mark does not verify")


async def hide_another_rule(trustees: Trustees) -> None:
    """A rule with a note; the signed text marks no ends of values, so it reads as another rule, too."""
    commands = trustees.commands
    commands.terminal.say(
        "Cas writes a rule for three trustees, with a note. The same signatures are valid for "
        "another rule, for one trustee or three:"
    )
    plain = {"need_to_be_owner": False, "role": TRUSTEE}
    note = {"metadata": {"note": "ticket 7"}}
    hidden = (
        "ticket 7|need_to_be_owner:False|role:0|sig_count:1,"
        "constraint_id:ROLE|metadata:note:ticket 7"
    )
    leaf: Json = {"constraint_id": "ROLE", "sig_count": QUORUM, **plain}
    shown = _rule([leaf | {"metadata": {"note": hidden}}])
    meant = _rule([leaf | note | {"sig_count": 1}, leaf | note])
    base = trustees.proposal("loosen.psit")
    bodies = [base.body.request | {"operation": one} for one in (shown, meant)]
    claim(
        signing_input(bodies[0]) == signing_input(bodies[1]), "both have the same signing input"
    )
    whole: Any = cbor2.loads((commands.folder / "loosen.psit").read_bytes())
    whole["psit"]["request"], whole["marks"] = bodies[0], []
    _put(trustees, "trick.psit", cbor2.dumps(whole, canonical=True))
    line = 'sign trick.psit --with "$DEE_WITH" --yes'
    why = await commands.run_refused(
        "dee", line, because="metadata of a rule can hide another rule"
    )
    _failed(trustees, "not signed", why)
    commands.note_result(
        "a rule with two meanings", "not signed: a rule with a note is refused"
    )


def _rule(parts: list[Json]) -> Json:
    constraint = {"constraint_id": "OR", "auth_constraints": parts}
    return {"type": "120"} | NEW_ENDORSER.to_json() | {"constraint": constraint}


async def use_an_expired_proposal(trustees: Trustees) -> None:
    """A proposal that has expired."""
    commands = trustees.commands
    commands.terminal.say(
        "Cas asks for signatures on what he proposed last week, valid for a day:"
    )
    made = trustees.proposal("blank.psit").body
    times = {"made": made.made - 7 * DAY_S, "expires": made.made - 6 * DAY_S}
    _put(trustees, "old.psit", Proposal(made.model_copy(update=times)).to_bytes())
    line = 'sign old.psit --with "$DEE_WITH" --yes'
    why = await commands.run_refused("dee", line, because="it expired at")
    _failed(trustees, "not signed", why)
    commands.note_result("an expired proposal", "not signed")


async def use_another_network(trustees: Trustees) -> None:
    """A proposal for another network, where the same DIDs might be."""
    commands = trustees.commands
    commands.terminal.say("Cas asks for signatures on the same for another network:")
    made = trustees.proposal("blank.psit").body
    other = made.model_copy(update={"network": bytes(reversed(made.network))})
    _put(trustees, "elsewhere.psit", Proposal(other).to_bytes())
    line = 'sign elsewhere.psit --with "$DEE_WITH" --yes'
    why = await commands.run_refused("dee", line, because="another network")
    await commands.run_refused(
        "cas", "submit elsewhere.psit --yes", because="another network", shown=False
    )
    _failed(trustees, "not signed, not sent", why)
    commands.note_result("a proposal for another network", "neither signed nor sent")


async def use_an_outdated_proposal(trustees: Trustees) -> None:
    """What was approved changes before it is sent."""
    commands = trustees.commands
    commands.terminal.say(
        "Three trustees approve that Acme loses its role. Before it is sent, Acme takes another key:"
    )
    line = "propose nym --did $ACME --role none --author $ANA $COSIGNERS --out outdated.psit"
    await commands.run("ana", line)
    await trustees.approve("outdated.psit", "ana", "ben", "dee")
    await trustees.new_key("acme", "ACME_NEW")
    line = "propose nym --did $ACME --verkey $ACME_NEW_KEY --author $ACME --cosigner Acme=$ACME"
    await commands.run("acme", f"{line} --out key.psit")
    await trustees.approve("key.psit", "acme")
    await trustees.submit("acme", "key.psit")
    line = "submit outdated.psit --yes"
    why = await commands.run_refused("ana", line, because="what it changes has changed")
    claim(await trustees.on_ledger("ACME", "ACME_NEW_KEY", ENDORSER), "Acme is unchanged")
    _failed(trustees, "not sent", why)
    commands.note_result("an outdated proposal", "not sent: what it changes has changed since")


def _put(trustees: Trustees, file: str, raw: bytes) -> None:
    (trustees.commands.folder / file).write_bytes(raw)
