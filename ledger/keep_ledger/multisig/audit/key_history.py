"""Keys and roles of DIDs at an earlier time, and the requests behind transactions.

Everything is read from transactions; the caller must have proved that none is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from keep_ledger.codes import ATTRIB, DOMAIN, NYM
from keep_ledger.errors import BadIdError
from keep_ledger.identifiers import full_verkey
from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError
from keep_ledger.multisig.proposal.signing_input import digest

UNDER_WAY_S = 60
"""A request is checked when it arrives and written later; meanwhile another request may have replaced
a key or a role."""


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """The place of a transaction.

    Attributes:
        time: Unix seconds; 0 for the genesis, which has none.
    """

    time: int
    ledger_id: int
    seq_no: int

    @classmethod
    def of(cls, ledger_id: int, transaction: Json) -> Moment:
        """Read it from a transaction."""
        metadata: Json = transaction["txnMetadata"]
        return cls(metadata.get("txnTime") or 0, ledger_id, metadata["seqNo"])


@dataclass(frozen=True, slots=True)
class KeyState:
    """The key and role of a DID after one transaction.

    Attributes:
        verkey: base58, full; None: it had none.
        role: Indy's code; None: it had none.
        since: the transaction.
        by: the author of the transaction; None in the genesis.
    """

    verkey: str | None
    role: str | None
    since: Moment
    by: str | None


class KeyHistory:
    """Keys and roles of all DIDs through the whole domain ledger."""

    def __init__(self, domain: Iterable[Json]) -> None:
        self._states: dict[str, list[KeyState]] = {}
        for transaction in domain:
            if transaction["txn"]["type"] == NYM:
                self._add(transaction)

    def _add(self, transaction: Json) -> None:
        data: Json = transaction["txn"]["data"]
        did: str = data["dest"]
        states = self._states.setdefault(did, [])
        verkey, role = (states[-1].verkey, states[-1].role) if states else (None, None)
        if "verkey" in data:
            verkey = _whole(did, data["verkey"])
        if "role" in data:
            role = data["role"] or None
        metadata: Json = transaction["txn"].get("metadata") or {}
        by = metadata.get("from")
        states.append(KeyState(verkey, role, Moment.of(DOMAIN, transaction), by))

    def states(self, did: str) -> tuple[KeyState, ...]:
        """All states of a DID, in order."""
        return tuple(self._states.get(did, ()))

    def now(self, did: str) -> KeyState | None:
        """Its state at the end of the ledger; None if it is not there."""
        states = self._states.get(did)
        return states[-1] if states else None

    def at(self, did: str, moment: Moment) -> KeyState | None:
        """Its state just before a transaction."""
        return next(reversed([w for w in self.states(did) if _before(w.since, moment)]), None)

    def plausible(self, did: str, moment: Moment) -> tuple[KeyState, ...]:
        """Every state that the nodes may have used to check a transaction, the most likely first.

        That is the state just before it; earlier states that were replaced while the request may
        have been under way; and, for a transaction of another ledger in the same second, every
        state within that second.
        """
        states = self.states(did)
        likely = [w for w in states if _before(w.since, moment)][::-1]
        found = likely[:1]
        for newer, older in pairwise(likely):
            if newer.since.time < moment.time - UNDER_WAY_S:
                break
            found.append(older)
        if moment.ledger_id != DOMAIN:
            found += [w for w in states if w.since.time == moment.time]
        return tuple(dict.fromkeys(found))


def _before(since: Moment, moment: Moment) -> bool:
    if moment.ledger_id == DOMAIN:
        return since.seq_no < moment.seq_no
    return since.time < moment.time or moment.time == 0


def _whole(did: str, verkey: Any) -> str | None:
    if not isinstance(verkey, str) or not verkey:
        return None
    try:
        return full_verkey(verkey, did)
    except BadIdError:
        return None


def kept_digest(transaction: Json) -> bytes | None:
    """The digest of the request, as the ledger has it; None in the genesis."""
    metadata: Any = transaction["txn"].get("metadata") or {}
    try:
        return bytes.fromhex(metadata["payloadDigest"])
    except (KeyError, TypeError, ValueError):
        return None


def request_of(transaction: Json) -> tuple[Json, bool]:
    """Rebuild the request behind a transaction; also return whether it has the ledger's digest.

    Nodes add a format version if the author gave none, and write the JSON text of an attribute in
    their own way: of the possible requests, the one with that digest is returned.
    """
    kept = kept_digest(transaction)
    made = list(_requests(transaction["txn"]))
    for request in made:
        try:
            if digest(request) == kept:
                return request, True
        except RefusedError:
            continue
    return made[0], False


def _requests(payload: Json) -> Iterator[Json]:
    metadata: Json = payload.get("metadata") or {}
    around: Json = {"identifier": metadata.get("from"), "reqId": metadata.get("reqId")}
    for name in ("protocolVersion",):
        around |= {name: payload[name]} if name in payload else {}
    for name in ("taaAcceptance", "endorser"):
        around |= {name: metadata[name]} if name in metadata else {}
    for data in _spellings(payload):
        operation = {"type": payload["type"], **data}
        yield around | {"operation": operation}
        if "ver" in payload:
            yield around | {"operation": {**operation, "ver": payload["ver"]}}


def _spellings(payload: Json) -> Iterator[Json]:
    data: Json = payload["data"]
    yield data
    if payload["type"] != ATTRIB or not isinstance(data.get("raw"), str):
        return
    try:
        value: Any = json.loads(data["raw"])
    except ValueError:
        return
    for separators in ((", ", ": "), (",", ":")):
        for ascii_only in (True, False):
            text = json.dumps(value, separators=separators, ensure_ascii=ascii_only)
            yield data | {"raw": text}


def subject_of(transaction: Json) -> str | None:
    """The DID that a NYM or an attribute is about."""
    if transaction["txn"]["type"] not in {NYM, ATTRIB}:
        return None
    dest: Any = cast("Json", transaction["txn"]["data"]).get("dest")
    return dest if isinstance(dest, str) else None
