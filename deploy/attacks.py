"""Attacks on a council that are really tried; that each fails, and for which reason, is checked."""

from __future__ import annotations

import json
import re
from typing import Any

import cbor2

from council import QUORUM, Council
from keep_ledger.codes import ENDORSER, TRUSTEE
from keep_ledger.indy import auth_rules
from keep_ledger.json_object import Json
from keep_ledger.multisig.proposal.document import Proposal
from keep_ledger.multisig.proposal.signing_input import signing_input
from keep_ledger.multisig.rules.auth_rules import Role, RuleKey
from story import claim

NEW_ENDORSER = RuleKey.parse("1--ADD--role--*--101")
DAY_S = 86400
_BEGUN = re.compile(r"^it must not be (signed|sent): ")


async def attack(council: Council) -> None:
    """Try them all."""
    council.desk.screen.act("5. Cas turns: attacks")
    await alone(council)
    await forged(council)
    await one_byte(council)
    await two_meanings(council)
    await expired(council)
    await elsewhere(council)
    await stale(council)
    rule = await auth_rules.read_rule(council.client.pool, NEW_ENDORSER)
    claim(
        rule.to_json()["sig_count"] == QUORUM, "a new endorser takes three trustees, as before"
    )
    mallory = await council.client.nym(council.desk.names["MALLORY"])
    claim(mallory is None, "Mallory is not on the ledger")
    council.desk.screen.done("the ledger was read again: the rule is as it was, no Mallory")


def _failed(council: Council, what: str, why: str) -> None:
    """Tell that it failed, and who said why."""
    council.desk.screen.done(f"{what}: {_BEGUN.sub('', why)}")


async def alone(council: Council) -> None:
    """One trustee changes a rule, by either of the two ways there are, past our commands."""
    desk = council.desk
    desk.screen.say("Cas alone makes one trustee enough for a new endorser, and sends it:")
    one = NEW_ENDORSER.to_json() | {"constraint": Role(TRUSTEE, 1).to_json()}
    why = ""
    for file, operation in (
        ("loosen", {"type": "120"} | one),
        ("loosen-all", {"type": "122", "rules": [one]}),
    ):
        (desk.folder / f"{file}.json").write_text(json.dumps(operation))
        told = file == "loosen"
        line = (
            f"propose operation {file}.json --author $CAS --cosigner Cas=$CAS --out {file}.psit"
        )
        await desk.types("cas", line, told=told)
        await desk.types("cas", f'sign {file}.psit --with "$CAS_WITH" --yes', told=told)
        signed = council.proposal(f"{file}.psit")
        why = await council.straight(signed.request.body, signed.signatures())
        claim("trustee" in why.lower(), f"the ledger wants more trustees, not: {why}")
    _failed(council, "refused by the ledger, as AUTH_RULE and as AUTH_RULES", why)
    desk.happened("one changes the rule", "the ledger refuses: three trustees")


async def forged(council: Council) -> None:
    """A signature under somebody else's name, in a copy that is to be merged."""
    desk = council.desk
    desk.screen.say("Cas proposes his friend Mallory, signs, and adds a mark in Dee's name:")
    await council.new_key("mallory", "MALLORY", told=False)
    line = (
        "propose nym --did $MALLORY --verkey $MALLORY_KEY --role ENDORSER --author $CAS $BOARD"
    )
    await desk.types("cas", f"{line} --out blank.psit")
    await desk.types("cas", 'sign blank.psit --with "$CAS_WITH" --out mallory.psit --yes')
    whole: Any = cbor2.loads((desk.folder / "mallory.psit").read_bytes())
    names = [one["name"] for one in whole["psit"]["cosigners"]]
    whole["marks"].append(whole["marks"][0] | {"by": names.index("Dee")})
    _put(council, "forged.psit", cbor2.dumps(whole, canonical=True))
    line = "merge mallory.psit forged.psit --out all.psit"
    why = await desk.refused("ana", line, says="Dee")
    claim(not (desk.folder / "all.psit").exists(), "nothing was written")
    _failed(council, "not merged", why)
    desk.happened("a forged signature", "not merged, and it says in whose name")


async def one_byte(council: Council) -> None:
    """One byte of a request that others have signed."""
    desk = council.desk
    desk.screen.say("Cas changes one byte of what Ana has signed: another role for Acme:")
    signed = (desk.folder / "1.psit").read_bytes()
    mine, theirs = b"\x64role\x63101", b"\x64role\x63201"
    claim(signed.count(mine) == 1, "the role is there once")
    _put(council, "byte.psit", signed.replace(mine, theirs))
    line = 'sign byte.psit --with "$DEE_WITH" --yes'
    why = await desk.refused("dee", line, says="Ana: what is said in this name")
    _failed(council, "not read", why)
    desk.happened("one byte changed", "not even read: Ana's mark does not fit")


async def two_meanings(council: Council) -> None:
    """A rule with a note that, without marks for where anything ends, reads as another rule."""
    desk = council.desk
    desk.screen.say(
        "Cas writes a rule, three trustees, with a note. Under the very same signatures it is "
        "another: one trustee, or three:"
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
    base = council.proposal("loosen.psit")
    bodies = [base.body.request | {"operation": one} for one in (shown, meant)]
    claim(signing_input(bodies[0]) == signing_input(bodies[1]), "both have one signature")
    whole: Any = cbor2.loads((desk.folder / "loosen.psit").read_bytes())
    whole["psit"]["request"], whole["marks"] = bodies[0], []
    _put(council, "trick.psit", cbor2.dumps(whole, canonical=True))
    line = 'sign trick.psit --with "$DEE_WITH" --yes'
    why = await desk.refused("dee", line, says="metadata of a rule can hide another rule")
    _failed(council, "not signed", why)
    desk.happened("two meanings", "the reviewer refuses a note in a rule")


def _rule(parts: list[Json]) -> Json:
    constraint = {"constraint_id": "OR", "auth_constraints": parts}
    return {"type": "120"} | NEW_ENDORSER.to_json() | {"constraint": constraint}


async def expired(council: Council) -> None:
    """A proposal out of a drawer."""
    desk = council.desk
    desk.screen.say("Cas hands round what he proposed last week, for a day:")
    made = council.proposal("blank.psit").body
    times = {"made": made.made - 7 * DAY_S, "expires": made.made - 6 * DAY_S}
    _put(council, "old.psit", Proposal(made.model_copy(update=times)).to_bytes())
    line = 'sign old.psit --with "$DEE_WITH" --yes'
    why = await desk.refused("dee", line, says="it expired at")
    _failed(council, "not signed", why)
    desk.happened("an expired one", "not signed")


async def elsewhere(council: Council) -> None:
    """A proposal for another network, where the same DIDs might be."""
    desk = council.desk
    desk.screen.say("Cas hands round the same for another network:")
    made = council.proposal("blank.psit").body
    other = made.model_copy(update={"network": bytes(reversed(made.network))})
    _put(council, "elsewhere.psit", Proposal(other).to_bytes())
    line = 'sign elsewhere.psit --with "$DEE_WITH" --yes'
    why = await desk.refused("dee", line, says="another network")
    await desk.refused("cas", "submit elsewhere.psit --yes", says="another network", told=False)
    _failed(council, "not signed, not sent", why)
    desk.happened("for another network", "neither signed nor sent")


async def stale(council: Council) -> None:
    """What was approved changes before it is sent."""
    desk = council.desk
    desk.screen.say(
        "Three approve that Acme loses its role. Before it is sent, Acme takes another key:"
    )
    line = "propose nym --did $ACME --role none --author $ANA $BOARD --out stale.psit"
    await desk.types("ana", line)
    await council.approve("stale.psit", "ana", "ben", "dee")
    await council.new_key("acme", "ACME_NEW")
    line = "propose nym --did $ACME --verkey $ACME_NEW_KEY --author $ACME --cosigner Acme=$ACME"
    await desk.types("acme", f"{line} --out key.psit")
    await council.approve("key.psit", "acme")
    await council.land("acme", "key.psit")
    line = "submit stale.psit --yes"
    why = await desk.refused("ana", line, says="what it changes has changed")
    claim(await council.told("ACME", "ACME_NEW_KEY", ENDORSER), "Acme is as it was")
    _failed(council, "not sent", why)
    desk.happened("a stale one", "not sent: it is not any more what they approved")


def _put(council: Council, file: str, raw: bytes) -> None:
    (council.desk.folder / file).write_bytes(raw)
