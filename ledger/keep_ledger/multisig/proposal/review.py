"""Review a proposal: what a cosigner sees of it, and the reasons not to sign or send it.

The proposer records what was on the ledger: the rules that the request must satisfy, and what it changes.
Whoever signs or sends reads the ledger again (`LedgerView`), and both must be the same: if a rule, a role
or a key has changed meanwhile, the proposal is outdated, whoever signed it. After it was sent, the
transaction is compared with what was approved (`identity_audit.differences`).
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
        key: None if it has none.
        role: Indy's code; None for no role.
    """

    key: bytes | None
    role: str | None


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What was read of the ledger, with proofs, to review one request.

    Attributes:
        network: SHA-256 of the genesis transactions.
        people: author, endorser and cosigners by DID, if they are on the ledger.
        rules: the rules that the request must satisfy: key to constraint, as the ledger gives it.
        before: what the request changes, with the members of `Body.before`.
        agreement: digest of the author agreement in force, hex; None if there is none.
        owner: the DID that owns what is changed, if the ledger has owners for it.
        changing: the present constraints of the rules that the request changes.
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
    """A reviewed proposal: everything that a page or a terminal shows of it.

    Attributes:
        refusals: reasons not to sign or send it; empty if there are none.
        warnings: what a signer should know.
        now: the rules that it changes, as they are now.
        rules: the rules that it must satisfy, as sentences.
        signers: each cosigner and its marks so far.
        missing: who must still sign, in words; None if it can be sent. Unknown without a ledger.
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
    """Review a proposal.

    Args:
        now: Unix seconds.
        view: what the ledger says; None for a signer without network, who is shown what the
            proposer read, with a warning.
        network: SHA-256 of the genesis, for a signer without network who has a genesis or descriptor.
    """
    said = describe(proposal.request, proposal.body.before)
    sheet = Sheet(said.headline, said.facts)
    _check_times(proposal, now, sheet)
    _check_network(proposal.body, view.network if view else network, sheet)
    sheet.rules = [_rule(key, body) for key, body in proposal.body.rules.items()]
    sheet.signers = [_signer(proposal, i, c) for i, c in enumerate(proposal.body.cosigners)]
    _tell_what_may_be_lost(proposal.request, sheet)
    if view is None:
        sheet.warnings.append(
            "not compared with the ledger: rules, keys and what it changes are shown as the"
            " proposer read them"
        )
        sheet.missing = "unknown without the ledger"
        return sheet
    sheet.now = [_rule(key, body) for key, body in view.changing.items()]
    _check_unchanged(proposal.body, view, sheet)
    _check_people(proposal, view, sheet)
    _check_agreement(proposal.request, view, sheet)
    sheet.missing = _missing(proposal, view, sheet)
    return sheet


def _tell_what_may_be_lost(request: Request, sheet: Sheet) -> None:
    operation = request.operation
    lost = operation.may_lose if isinstance(operation, Nym) else ()
    if lost:
        sheet.warnings.append(
            f"whoever sends it could leave out {' and '.join(lost)} under the same signatures: let"
            " the last one who signs send it; what was written is compared with what was approved"
        )


def _check_times(proposal: Proposal, now: int, sheet: Sheet) -> None:
    body = proposal.body
    if body.expires <= now:
        sheet.refusals.append(
            f"it expired at {moment(body.expires)}: ask for a new one (indykeep propose renew)"
        )
    if body.made > now + SKEW_S:
        sheet.refusals.append(
            f"it was made at {moment(body.made)}, which is in the future: check the clocks"
        )
    if proposal.cancelled():
        sheet.refusals.append("its author cancelled it")


def _check_network(body: Body, network: bytes | None, sheet: Sheet) -> None:
    if network is None:
        sheet.warnings.append(
            "the network was not checked: give --genesis or --descriptor, since a signature for"
            " one network is valid on any other that has the same DIDs"
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
        "cancel": "cancelled",
    }
    for mark in proposal.marks:
        if mark.by == place:
            member = f"member {mark.member} " if mark.member else ""
            text = f": {mark.text}" if mark.text else ""
            said.append(f"{member}{names.get(mark.act, 'commented')} ({moment(mark.at)}){text}")
    return f"{who.name} ({who.did})", "; ".join(said) or "has not answered"


def _check_unchanged(body: Body, view: LedgerView, sheet: Sheet) -> None:
    for key in sorted(body.rules.keys() | view.rules.keys()):
        then, here = body.rules.get(key), view.rules.get(key)
        if then == here:
            continue
        was = _rule(key, then) if then else "it did not apply"
        now = _rule(key, here) if here else "it does not apply"
        sheet.refusals.append(
            f"the rule {key} has changed since it was proposed: {was} Now: {now}"
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


def _check_people(proposal: Proposal, view: LedgerView, sheet: Sheet) -> None:
    needed = {proposal.request.author: "the author", proposal.request.endorser: "the endorser"}
    for who in proposal.body.cosigners:
        there = view.people.get(who.did)
        if there is not None and there.key == who.key:
            continue
        why = "is not on the ledger" if there is None else "has another key now"
        if who.did in needed:
            sheet.refusals.append(
                f"{needed[who.did]}, {who.name} ({who.did}), {why}: ask for a new proposal"
            )
        else:
            sheet.warnings.append(f"{who.name} ({who.did}) {why}: its signature does not count")
    endorser = proposal.request.endorser
    if endorser and (there := view.people.get(endorser)) and there.role != ENDORSER:
        sheet.refusals.append(
            f"the endorser {endorser} has {role_name(there.role)}, and the ledger"
            " accepts only an ENDORSER"
        )


def _check_agreement(request: Request, view: LedgerView, sheet: Sheet) -> None:
    """Check what the ledger would refuse about the author agreement (its codes 200 to 206)."""
    accepted = request.acceptance
    if request.operation.LEDGER != DOMAIN:
        if accepted is not None:
            sheet.refusals.append("it accepts the author agreement, which this ledger refuses")
    elif accepted is None and view.agreement is not None:
        sheet.refusals.append(
            "it does not accept the author agreement in force: ask for a new proposal"
        )
    elif accepted is not None and accepted.taaDigest != view.agreement:
        sheet.warnings.append(
            "it accepts an author agreement that is not the one in force; the ledger accepts that"
            " unless the agreement was retired"
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
    needed_texts = [
        f"{who.name}, the {needed[who.did]}"
        for who in proposal.body.cosigners
        if who.did in needed and who.did not in sheet.signatures
    ]
    for constraint in map(parse_constraint, view.rules.values()):
        if needed_texts:
            needed_texts.append(missing(constraint, signers))
        else:
            needed_texts.append(refusal(constraint, signers, author, endorser))
    return "; ".join(dict.fromkeys(filter(None, needed_texts))) or None


def _owns(request: Request, did: str, view: LedgerView) -> bool:
    """Whether a signer counts as the owner: only the author can (indy-node `need_to_be_owner`)."""
    if did != request.author:
        return False
    if isinstance(request.operation, Nym | Attrib | RegistryEntry):
        return did == view.owner
    return view.owner in (None, did)
