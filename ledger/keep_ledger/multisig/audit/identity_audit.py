"""Check everything that an identity wrote, and that was written about it, from the ledger alone.

For each transaction the request is rebuilt and its digest compared with that on the ledger; every
signature is verified with the key of that time; and, if proposals are given, one of them must have
approved exactly this request.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import base58

from keep_ledger.codes import ATTRIB, LEDGER_NAMES, NYM
from keep_ledger.json_object import Json
from keep_ledger.multisig.audit.key_history import (
    KeyHistory,
    KeyState,
    Moment,
    kept_digest,
    request_of,
    subject_of,
)
from keep_ledger.multisig.audit.transaction_words import short_json, summary, utc_time
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.signing_input import digest, signing_input
from keep_ledger.multisig.signatures import verifies


@dataclass(frozen=True, slots=True)
class CheckedSignature:
    """One signature of a transaction.

    Attributes:
        did: the DID that signed, as the transaction says.
        role: of the DID at that time, Indy's code; None: no role.
        good: False: it does not verify; None: it cannot be checked.
        why: the reason, in words.
    """

    did: str
    role: str | None
    good: bool | None
    why: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction that concerns the identity.

    Attributes:
        parts: what the identity is in it: author, endorser, signer, subject.
        summary: what it did, in words.
        request: rebuilt from the transaction.
        digest: on the ledger; None in the genesis.
        rebuilt: whether the rebuilt request has that digest; None in the genesis.
        explained: name of the approved proposal behind it.
    """

    moment: Moment
    parts: tuple[str, ...]
    summary: str
    author: str | None
    request: Json
    digest: bytes | None
    rebuilt: bool | None
    signatures: tuple[CheckedSignature, ...]
    explained: str | None = None

    @property
    def name(self) -> str:
        """Its name for people: ledger and number."""
        return f"{LEDGER_NAMES[self.moment.ledger_id]} {self.moment.seq_no}"

    @property
    def genesis(self) -> bool:
        """Whether it is part of the genesis: such a transaction has neither signatures nor a digest."""
        return self.digest is None and not self.signatures


@dataclass(frozen=True, slots=True)
class ApprovedProposal:
    """A proposal to compare with.

    Attributes:
        name: of its file.
        request: what was approved.
        signers: DIDs that have signed it.
        expires: Unix seconds; None: never.
        cancelled: whether its author cancelled it.
    """

    name: str
    request: Json
    signers: frozenset[str]
    expires: int | None = None
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that is wrong; `text` says what, and why it matters."""

    entry: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an audit.

    Attributes:
        did: the identity.
        states: the keys and roles that it had.
        entries: in order of time.
        compared: whether it was compared with proposals.
    """

    did: str
    states: tuple[KeyState, ...]
    entries: tuple[Entry, ...]
    alarms: tuple[Alarm, ...] = ()
    compared: bool = False


def audit(
    did: str,
    ledgers: Mapping[int, Sequence[Json]],
    since: int = 1,
    history: KeyHistory | None = None,
) -> Report:
    """Audit an identity.

    Args:
        did: bare id.
        ledgers: all transactions by the number of their ledger; the domain ledger is required.
        since: leave out what is older than this transaction of the domain ledger; keys and roles are
            still followed from the beginning.
        history: of that domain ledger, if it was made already.
    """
    history = history or KeyHistory(ledgers[1])
    first = _time_of(ledgers[1], since)
    entries = [
        entry(did, moment, transaction, history)
        for ledger_id, transactions in ledgers.items()
        for transaction in transactions
        if parts_of(did, transaction)
        and _recent(moment := Moment.of(ledger_id, transaction), since, first)
    ]
    entries.sort(key=lambda one: one.moment)
    alarms = [alarm for one in entries for alarm in _alarms(one)]
    return Report(did, history.states(did), tuple(entries), tuple(alarms))


def _time_of(domain: Sequence[Json], number: int) -> float:
    """When a transaction was written; infinity if it does not exist yet."""
    if number <= 1:
        return 0
    return Moment.of(1, domain[number - 1]).time if number <= len(domain) else math.inf


def _recent(moment: Moment, since: int, first: float) -> bool:
    return moment.seq_no >= since if moment.ledger_id == 1 else moment.time >= first


def parts_of(did: str, transaction: Json) -> tuple[str, ...]:
    """What an identity is in a transaction; empty if it is not in it."""
    metadata: Json = transaction["txn"].get("metadata") or {}
    signers = {one["from"] for one in _values(transaction)}
    roles = {
        "author": metadata.get("from") == did,
        "endorser": metadata.get("endorser") == did,
        "signer": did in signers,
        "subject": subject_of(transaction) == did,
    }
    return tuple(name for name, true in roles.items() if true)


def _values(transaction: Json) -> list[dict[str, str]]:
    signature: Json = transaction.get("reqSignature") or {}
    return list(signature.get("values") or ())


def entry(did: str, moment: Moment, transaction: Json, history: KeyHistory) -> Entry:
    """Check one transaction."""
    request, fits = request_of(transaction)
    kept = kept_digest(transaction)
    values = _values(transaction)
    signatures = tuple(_checked(one, request, moment, history, fits=fits) for one in values)
    return Entry(
        moment,
        parts_of(did, transaction),
        summary(transaction, moment, history),
        request["identifier"],
        request,
        kept,
        None if kept is None and not values else fits,
        signatures,
    )


def _checked(
    value: Mapping[str, str], request: Json, at: Moment, history: KeyHistory, *, fits: bool
) -> CheckedSignature:
    did = value["from"]
    states = history.plausible(did, at)
    role = states[0].role if states else None
    if not fits:
        return CheckedSignature(
            did, role, None, "cannot be checked, because the request could not be rebuilt"
        )
    try:
        raw = base58.b58decode(value["value"])
        said = signing_input(request)
    except (ValueError, RefusedError):
        return CheckedSignature(did, role, good=False, why="is not a signature")
    for place, state in enumerate(states):
        if state.verkey and verifies(base58.b58decode(state.verkey), said, raw):
            late = (
                ""
                if place == 0
                else ", which was replaced while the request may have been under way"
            )
            why = f"verifies with the key of that time, {state.verkey}{late}"
            return CheckedSignature(did, state.role, good=True, why=why)
    return _without_state(did, role, request, said, raw, known=bool(states))


def _without_state(
    did: str, role: str | None, request: Json, said: bytes, raw: bytes, *, known: bool
) -> CheckedSignature:
    """A signature that fits no key that the ledger had for the DID."""
    if known:
        return CheckedSignature(
            did,
            role,
            good=False,
            why="does not verify with the key that the ledger had for this DID",
        )
    operation: Json = request["operation"]
    brought: Any = operation.get("verkey") if operation.get("type") == NYM else None
    if isinstance(brought, str) and verifies(_key(brought, operation["dest"]), said, raw):
        why = "was not on the ledger; the signature verifies with the key in this request"
        return CheckedSignature(did, None, good=True, why=why)
    return CheckedSignature(did, None, good=False, why="was not on the ledger")


def _key(verkey: str, did: str) -> bytes:
    try:
        if verkey.startswith("~"):
            return base58.b58decode(did) + base58.b58decode(verkey[1:])
        return base58.b58decode(verkey)
    except ValueError:
        return b""


def _alarms(one: Entry) -> list[Alarm]:
    """Alarms that need no proposals."""
    found: list[Alarm] = []
    if one.rebuilt is False:
        text = (
            "the digest on the ledger is not that of the transaction as the nodes show it: what was"
            " signed is not known from the ledger"
        )
        if one.request["operation"].get("type") == ATTRIB:
            text += "; an attribute may have been written with other spaces when it was signed"
        found.append(Alarm(one.name, "digest", text))
    elif one.digest is not None and not one.signatures:
        found.append(Alarm(one.name, "signature", "it has a digest but no signature"))
    found += [
        Alarm(one.name, "signature", f"the signature of {signed.did}: {signed.why}")
        for signed in one.signatures
        if signed.good is False
    ]
    return found


# -- compared with proposals ---------------------------------------------------------------------


def explain(report: Report, approved: Iterable[ApprovedProposal]) -> Report:
    """Compare with approved proposals; a write without one raises an alarm.

    What others wrote about the identity counts only if it changed a key or a role.
    """
    known: dict[bytes, list[ApprovedProposal]] = {}
    for proposal in approved:
        known.setdefault(digest(proposal.request), []).append(proposal)
    entries: list[Entry] = []
    alarms = list(report.alarms)
    first = report.states[0].since if report.states else None
    for one in report.entries:
        candidates = known.get(one.digest or b"", [])
        found, name = _compared(one, candidates, created=one.moment == first)
        alarms += found
        if candidates and one.rebuilt is False:
            alarms = [a for a in alarms if (a.entry, a.kind) != (one.name, "digest")]
        entries.append(replace(one, explained=name))
    return Report(report.did, report.states, tuple(entries), tuple(alarms), compared=True)


def _compared(
    one: Entry, candidates: Sequence[ApprovedProposal], *, created: bool
) -> tuple[list[Alarm], str | None]:
    if one.genesis:
        return [], None
    if not candidates:
        return _unexplained(one, created=created), None
    tries = [(_against(one, candidate), candidate) for candidate in candidates]
    alarms, best = min(tries, key=lambda pair: len(pair[0]))
    return alarms, best.name


def _unexplained(one: Entry, *, created: bool) -> list[Alarm]:
    if one.parts != ("subject",):
        how = " and ".join(one.parts)
        return [
            Alarm(one.name, "unexplained", f"no approved proposal explains this write ({how})")
        ]
    if created or one.request["operation"].get("type") != NYM:
        return []
    text = f"{one.author} changed this identity, and no approved proposal explains it"
    return [Alarm(one.name, "unexplained", text)]


def _against(one: Entry, proposal: ApprovedProposal) -> list[Alarm]:
    """Where a transaction differs from a proposal with the same digest."""
    texts: list[tuple[str, str]] = [
        ("content", f"what was written is not what {proposal.name} says: {difference}")
        for difference in differences(proposal.request, one.request)
    ]
    signers = {signed.did for signed in one.signatures}
    if strangers := sorted(signers - proposal.signers):
        who = ", ".join(strangers)
        texts.append(("approval", f"{proposal.name} holds no approval of {who}, who signed it"))
    if proposal.cancelled:
        texts.append(("cancelled", f"{proposal.name} was cancelled, but was written"))
    if proposal.expires is not None and one.moment.time > proposal.expires:
        when = utc_time(proposal.expires)
        texts.append(("expired", f"{proposal.name} had expired at {when}, but was written"))
    return [Alarm(one.name, kind, text) for kind, text in texts]


def differences(approved: Any, landed: Any, where: str = "request") -> list[str]:
    """Where two requests differ in types and values.

    Several requests can have the same signing input, so equal digests are not enough. The JSON text
    of an attribute is compared by content, since nodes write it in their own way.
    """
    unlike = [f"{where} is {short_json(landed)}, approved was {short_json(approved)}"]
    if type(approved) is not type(landed):
        return unlike
    if isinstance(approved, dict):
        one, other = cast("Json", approved), cast("Json", landed)
        return [
            text
            for name in sorted(one.keys() | other.keys())
            for text in _member(name, one, other, f"{where}.{name}")
        ]
    if isinstance(approved, list):
        items, others = cast("Sequence[Any]", approved), cast("Sequence[Any]", landed)
        if len(items) != len(others):
            return unlike
        pairs = enumerate(zip(items, others, strict=True))
        return [t for i, (a, b) in pairs for t in differences(a, b, f"{where}[{i}]")]
    return [] if approved == landed else unlike


def _member(name: str, one: Json, other: Json, where: str) -> list[str]:
    if name not in one:
        return [f"{where} is {short_json(other[name])}, none was approved"]
    if name not in other:
        return [f"{where} is missing, approved was {short_json(one[name])}"]
    if name == "raw" and where == "request.operation.raw":
        return differences(_loaded(one[name]), _loaded(other[name]), where)
    return differences(one[name], other[name], where)


def _loaded(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return text
