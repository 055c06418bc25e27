"""What a cosigner sees of a proposal, and why it must not be signed or sent.

The proposer writes into a proposal what was on the ledger then: the rules that it must meet and
what it changes. Whoever signs or sends reads the ledger himself (`LedgerView`), and both must be the
same: a rule that was tightened, a role or a key that changed meanwhile makes a proposal
stale, whoever signed it. After it was sent, what landed is compared
with what was approved (`audit.differences`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keep_ledger.codes import DOMAIN, ENDORSER, role_name
from keep_ledger.json_object import Json
from keep_ledger.multisig.proposal.describe_request import Fact, describe, moment
from keep_ledger.multisig.proposal.document import Body, Cosigner, Proposal
from keep_ledger.multisig.proposal.operations import Attrib, Nym, RegistryEntry
from keep_ledger.multisig.proposal.request_decoder import Request
from keep_ledger.multisig.rules.auth_rules import (
    RuleKey,
    Signer,
    missing,
    parse_constraint,
    refusal,
    sentence,
)

SKEW_S = 300


@dataclass(frozen=True, slots=True)
class Person:
    """A DID as the ledger has it now.

    Attributes:
        key: None where it has none.
        role: Indy's number; None for no role.
    """

    key: bytes | None
    role: str | None


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What somebody read of the ledger, with proofs, to judge one request.

    Attributes:
        network: SHA-256 of the genesis transactions.
        people: author, endorser and cosigners by DID; a DID that is not there is left out.
        rules: the rules that the request must meet: key to constraint, as the ledger gives it.
        before: what the request changes, in the members that `Body.before` has.
        agreement: digest of the author agreement in force, hex; None: there is none.
        owner: the DID that owns what is changed, where the ledger knows owners.
        changing: of a change of rules: those rules as they are now.
    """

    network: bytes
    people: Mapping[str, Person]
    rules: Mapping[str, Json]
    before: Json
    agreement: str | None
    owner: str | None
    changing: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(slots=True)
class Sheet:
    """A proposal, looked at: everything that a page or a terminal shows of it.

    Attributes:
        refusals: why it must not be signed or sent; empty: nothing stands against it.
        warnings: what a signer should know.
        now: rules that it changes, as they are now.
        rules: the rules that it must meet, as sentences.
        signers: each cosigner, and what it said so far.
        missing: who must still sign, in words; None: it can be sent. Unknown without a ledger.
        signatures: those that count, by DID.
    """

    headline: str
    facts: tuple[Fact, ...]
    refusals: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    now: list[str] = field(default_factory=list[str])
    rules: list[str] = field(default_factory=list[str])
    signers: list[Fact] = field(default_factory=list[Fact])
    missing: str | None = None
    signatures: dict[str, bytes] = field(default_factory=dict[str, bytes])

    @property
    def ready(self) -> bool:
        """Whether it can be sent."""
        return not self.refusals and self.missing is None


def review(
    proposal: Proposal, now: int, view: LedgerView | None, network: bytes | None
) -> Sheet:
    """Look at a proposal.

    Args:
        now: Unix seconds.
        view: what the ledger says; None for a signer without network, who is shown what the
            proposer read, and told so.
        network: of a signer without network, if he has its genesis or descriptor.
    """
    said = describe(proposal.request, proposal.body.before)
    sheet = Sheet(said.headline, said.facts)
    _lives(proposal, now, sheet)
    _fits_network(proposal.body, view.network if view else network, sheet)
    sheet.rules = [_rule(key, body) for key, body in proposal.body.rules.items()]
    sheet.signers = [_signer(proposal, i, c) for i, c in enumerate(proposal.body.cosigners)]
    if view is None:
        sheet.warnings.append(
            "not compared with the ledger here: rules, keys and what is there now are as the"
            " proposer read them"
        )
        sheet.missing = "unknown without the ledger"
        return sheet
    sheet.now = [_rule(key, body) for key, body in view.changing.items()]
    _unchanged(proposal.body, view, sheet)
    _people(proposal, view, sheet)
    _agreed(proposal.request, view, sheet)
    sheet.missing = _missing(proposal, view, sheet)
    return sheet


def _lives(proposal: Proposal, now: int, sheet: Sheet) -> None:
    body = proposal.body
    if body.expires <= now:
        sheet.refusals.append(
            f"it expired at {moment(body.expires)}: have it made anew (indykeep propose renew)"
        )
    if body.made > now + SKEW_S:
        sheet.refusals.append(
            f"it says it was made at {moment(body.made)}, which is in the future: look at the"
            " clocks"
        )
    if proposal.cancelled():
        sheet.refusals.append("its author took it back")


def _fits_network(body: Body, network: bytes | None, sheet: Sheet) -> None:
    if network is None:
        sheet.warnings.append(
            "the network was not checked: give --genesis or --descriptor, since a signature for"
            " one network holds on every other that has the same DIDs"
        )
    elif network != body.network:
        sheet.refusals.append(
            f"it is for another network ({body.network.hex()[:16]}, here it is"
            f" {network.hex()[:16]})"
        )


def _rule(key: str, constraint: Json) -> str:
    return sentence(RuleKey.parse(key), parse_constraint(constraint))


def _signer(proposal: Proposal, place: int, who: Cosigner) -> Fact:
    said: list[str] = []
    names = {
        "sign": "signed",
        "commit": "committed",
        "refuse": "refused",
        "cancel": "took it back",
    }
    for mark in proposal.marks:
        if mark.by == place:
            member = f"member {mark.member} " if mark.member else ""
            text = f": {mark.text}" if mark.text else ""
            said.append(f"{member}{names.get(mark.act, 'says')} ({moment(mark.at)}){text}")
    return f"{who.name} ({who.did})", "; ".join(said) or "has not said anything"


def _unchanged(body: Body, view: LedgerView, sheet: Sheet) -> None:
    for key in sorted(body.rules.keys() | view.rules.keys()):
        then, here = body.rules.get(key), view.rules.get(key)
        if then == here:
            continue
        was = _rule(key, then) if then else "it was not among those that count"
        now = _rule(key, here) if here else "it is not among those that count"
        sheet.refusals.append(
            f"the rule {key} is another than when it was proposed: {was} Now: {now}"
        )
    for name in sorted(body.before.keys() | view.before.keys()):
        before, after = body.before.get(name), view.before.get(name)
        if before != after or type(before) is not type(after):
            sheet.refusals.append(
                f"what it changes has changed since it was proposed: {name} was {before!r:.100},"
                f" is {after!r:.100}"
            )
    if not view.rules:
        sheet.refusals.append("no rule of this ledger allows it")


def _people(proposal: Proposal, view: LedgerView, sheet: Sheet) -> None:
    needed = {proposal.request.author: "the author", proposal.request.endorser: "the endorser"}
    for who in proposal.body.cosigners:
        there = view.people.get(who.did)
        if there is not None and there.key == who.key:
            continue
        why = "is not on the ledger" if there is None else "has another key now"
        if who.did in needed:
            sheet.refusals.append(
                f"{needed[who.did]}, {who.name} ({who.did}), {why}: make it anew"
            )
        else:
            sheet.warnings.append(f"{who.name} ({who.did}) {why}: what it signs does not count")
    endorser = proposal.request.endorser
    if endorser and (there := view.people.get(endorser)) and there.role != ENDORSER:
        sheet.refusals.append(
            f"the endorser {endorser} has {role_name(there.role)}, and the ledger"
            " takes only an ENDORSER"
        )


def _agreed(request: Request, view: LedgerView, sheet: Sheet) -> None:
    """What the ledger will say about the author agreement (codes 200 to 206)."""
    accepted = request.acceptance
    if request.operation.LEDGER != DOMAIN:
        if accepted is not None:
            sheet.refusals.append("it accepts the author agreement, which this ledger refuses")
    elif accepted is None and view.agreement is not None:
        sheet.refusals.append("it does not accept the author agreement in force: make it anew")
    elif accepted is not None and accepted.taaDigest != view.agreement:
        sheet.warnings.append(
            "it accepts an author agreement that is not the one in force (any more); the ledger"
            " takes it unless that one was retired"
        )


def _missing(proposal: Proposal, view: LedgerView, sheet: Sheet) -> str | None:
    counted = proposal.signatures()
    signers: list[Signer] = []
    for who in proposal.body.cosigners:
        there = view.people.get(who.did)
        if who.did not in counted or there is None or there.key != who.key:
            continue
        sheet.signatures[who.did] = counted[who.did]
        signers.append(
            Signer(who.did, there.role, owner=_owns(proposal.request, who.did, view))
        )
    author, endorser = proposal.request.author, proposal.request.endorser
    needed = {author: "author", endorser: "endorser"}
    wanted = [
        f"{who.name}, the {needed[who.did]}"
        for who in proposal.body.cosigners
        if who.did in needed and who.did not in sheet.signatures
    ]
    for constraint in map(parse_constraint, view.rules.values()):
        if wanted:
            wanted.append(missing(constraint, signers))
        else:
            wanted.append(refusal(constraint, signers, author, endorser))
    return "; ".join(dict.fromkeys(filter(None, wanted))) or None


def _owns(request: Request, did: str, view: LedgerView) -> bool:
    """Whether a signer counts as owner: only the author can (indy-node `need_to_be_owner`)."""
    if did != request.author:
        return False
    if isinstance(request.operation, Nym | Attrib | RegistryEntry):
        return did == view.owner
    return view.owner in (None, did)
