"""Signatures that were given and not used: which a ledger would still accept, and how to invalidate them.

On a ledger nothing expires: a signature on a request is valid until the request is written, or until
the signer's key or role, a rule or the author agreement changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import base58

from keep_ledger.codes import DOMAIN_TYPES, TAA, TAA_DISABLE, role_name
from keep_ledger.json_object import Json
from keep_ledger.multisig.audit.key_history import KeyHistory, kept_digest
from keep_ledger.multisig.audit.transaction_words import sanitize_text, utc_time
from keep_ledger.multisig.proposal.signing_input import digest, signing_input
from keep_ledger.multisig.rules.auth_rules import ANY, leaves, parse_constraint
from keep_ledger.multisig.signatures import verifies
from keep_ledger.wording import counted


@dataclass(frozen=True, slots=True)
class Pending:
    """A proposal that may not have been written.

    Attributes:
        name: of its file.
        network: SHA-256 of the genesis that it was made for.
        request: without signatures.
        expires: Unix seconds, for its cosigners; a ledger ignores it.
        rules: auth rule key to constraint, as its proposer read them.
        signatures: by DID; also complete ones of groups.
        names: of people, by DID.
        committed: by DID of a group: the members whose nonces wait for the second round.
    """

    name: str
    network: bytes
    request: Json
    expires: int
    rules: Mapping[str, Json]
    signatures: Mapping[str, bytes]
    names: Mapping[str, str]
    committed: Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """An author agreement that is or was in force.

    Attributes:
        retired: Unix seconds after which acceptances of it do not count; None: not retired.
    """

    version: str
    digest: str
    retired: int | None


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What decides whether a signature still counts.

    Attributes:
        network: SHA-256 of the genesis.
        now: Unix seconds.
        history: of the domain ledger.
        written: digests of all requests on all ledgers.
        agreements: by digest; empty when author agreements are disabled, so that none must be accepted.
    """

    network: bytes
    now: int
    history: KeyHistory
    written: frozenset[bytes]
    agreements: Mapping[str, Agreement]


@dataclass(frozen=True, slots=True)
class UnusedSignature:
    """A signature that the ledger would still accept.

    Attributes:
        who: name and DID.
        role: of the signer today, in words.
        expired: whether the proposal has expired for its cosigners.
        ways: how to invalidate it, as sentences, the surest first.
    """

    proposal: str
    digest: bytes
    did: str
    who: str
    role: str
    expired: bool
    ways: tuple[str, ...]


def ledger_now(
    network: bytes,
    now: int,
    ledgers: Mapping[int, Sequence[Json]],
    history: KeyHistory | None = None,
) -> LedgerState:
    """Collect this from whole ledgers (0 pool, 1 domain, 2 config)."""
    written = frozenset(
        found for txns in ledgers.values() for txn in txns if (found := kept_digest(txn))
    )
    agreements = agreements_of(ledgers.get(2, ()))
    return LedgerState(network, now, history or KeyHistory(ledgers[1]), written, agreements)


def agreements_of(config: Iterable[Json]) -> dict[str, Agreement]:
    """The author agreements that an acceptance may name, at the end of the config ledger."""
    found: dict[str, Agreement] = {}
    for transaction in config:
        kind, data = transaction["txn"]["type"], cast("Json", transaction["txn"]["data"])
        if kind == TAA_DISABLE:
            found = {}
        if kind == TAA:
            old = next((a for a in found.values() if a.version == data["version"]), None)
            text = data.get("text")
            name = (
                old.digest if old and text is None else _taa_digest(data["version"], text or "")
            )
            found[name] = Agreement(data["version"], name, data.get("retirement_ts"))
    return found


def _taa_digest(version: str, text: str) -> str:
    return hashlib.sha256((version + text).encode()).hexdigest()


def find_unused(pending: Iterable[Pending], ledger: LedgerState) -> list[UnusedSignature]:
    """All signatures that the ledger would accept today; proposals for other networks are left out."""
    return [
        one
        for proposal in pending
        if proposal.network == ledger.network
        and digest(proposal.request) not in ledger.written
        and acceptance_counts(proposal.request, ledger)
        for one in _signatures(proposal, ledger)
    ]


def acceptance_counts(request: Json, ledger: LedgerState) -> bool:
    """Whether the ledger would accept a request with its acceptance of an author agreement, or without one."""
    if request["operation"].get("type") not in DOMAIN_TYPES or not ledger.agreements:
        return True
    in_force = [a for a in ledger.agreements.values() if not _retired(a, ledger.now)]
    name = _accepted(request)
    if name is None:
        return not in_force
    found = ledger.agreements.get(name)
    return found is not None and not _retired(found, ledger.now)


def _accepted(request: Json) -> str | None:
    """Digest of the author agreement that a request accepts; None if it accepts none."""
    acceptance: Any = request.get("taaAcceptance")
    if not isinstance(acceptance, dict):
        return None
    name: Any = cast("Json", acceptance).get("taaDigest")
    return name if isinstance(name, str) else ""


def _retired(agreement: Agreement, now: int) -> bool:
    return agreement.retired is not None and agreement.retired <= now


def _signatures(proposal: Pending, ledger: LedgerState) -> Iterator[UnusedSignature]:
    said, wanted = signing_input(proposal.request), roles_wanted(proposal.rules.values())
    for did, signature in proposal.signatures.items():
        now = ledger.history.now(did)
        if now is None or now.verkey is None:
            continue
        if not verifies(base58.b58decode(now.verkey), said, signature):
            continue
        if wanted and now.role not in wanted and did != proposal.request.get("identifier"):
            continue
        yield _complete(proposal, did, now.role, ledger)
    for did, members in proposal.committed.items():
        if did not in proposal.signatures and members:
            yield _unfinished(proposal, did, members, ledger)


def roles_wanted(constraints: Iterable[Json]) -> frozenset[str]:
    """The roles that rules name; empty if any role is enough."""
    found = {leaf.role for body in constraints for leaf in leaves(parse_constraint(body))}
    return frozenset() if ANY in found else frozenset(filter(None, found))


def _complete(
    proposal: Pending, did: str, role: str | None, ledger: LedgerState
) -> UnusedSignature:
    who = _who(proposal, did)
    ways = [
        f"{who} rotates its key: its old signatures become invalid at once, and the ledger refuses a request with one"
    ]
    if did in proposal.committed:
        ways = [
            f"the key of the group {who} is rotated: its signature is complete, so burning nonces does not help"
        ]
    if role is not None and did != proposal.request.get("identifier"):
        ways.append(
            f"{who} loses the role {role_name(role)}, if the other signatures are not enough without it"
        )
    ways += _by_all(proposal, ledger)
    return _made(proposal, did, role, ledger, ways)


def _unfinished(
    proposal: Pending, did: str, members: Sequence[int], ledger: LedgerState
) -> UnusedSignature:
    named = ", ".join(map(str, members))
    way = f"the members {named} of the group {_who(proposal, did)} burn the nonces they committed to"
    now = ledger.history.now(did)
    return _made(
        proposal, did, now.role if now else None, ledger, [way, *_by_all(proposal, ledger)]
    )


def _by_all(proposal: Pending, ledger: LedgerState) -> Iterator[str]:
    """How the network can invalidate all signatures on a request at once."""
    for rule in proposal.rules:
        yield f"the rule {sanitize_text(rule)} is changed so that these signatures do not satisfy it"
    name = _accepted(proposal.request) or ""
    if agreement := ledger.agreements.get(name):
        yield (
            f"the author agreement {sanitize_text(agreement.version)} is retired: that invalidates every pending request"
            " to the domain ledger that accepts it, not only this one"
        )


def _made(
    proposal: Pending, did: str, role: str | None, ledger: LedgerState, ways: Iterable[str]
) -> UnusedSignature:
    return UnusedSignature(
        proposal.name,
        digest(proposal.request),
        did,
        _who(proposal, did),
        role_name(role),
        proposal.expires <= ledger.now,
        tuple(ways),
    )


def _who(proposal: Pending, did: str) -> str:
    name = proposal.names.get(did)
    return f"{sanitize_text(name)} ({did})" if name else did


def unused_sentences(
    found: Sequence[UnusedSignature], pending: Sequence[Pending], ledger: LedgerState
) -> list[str]:
    """The list as lines of text."""
    foreign = [one.name for one in pending if one.network != ledger.network]
    lines = [f"{sanitize_text(name)}: for another network, not checked" for name in foreign]
    if not found:
        return [
            *lines,
            f"No unused signature is valid; checked {counted(len(pending) - len(foreign), 'proposal')}.",
        ]
    expires = {one.name: one.expires for one in pending}
    for one in found:
        until = utc_time(expires[one.proposal])
        state = (
            f"expired {until}, which the ledger ignores" if one.expired else f"until {until}"
        )
        lines += [
            f"{sanitize_text(one.proposal)} ({state}): the ledger would accept the signature of {one.who}, {one.role}"
        ]
        lines += [f"  to invalidate it: {way}" for way in one.ways]
    verb = "is" if len(found) == 1 else "are"
    return [*lines, f"{counted(len(found), 'unused signature')} {verb} valid."]
