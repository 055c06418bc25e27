"""Proposals for tests: people, a group of 2 of 3, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import base58
from nacl.signing import SigningKey

from keep_ledger.json_object import Json
from keep_ledger.multisig.proposal.document import Act, Body, Cosigner, Mark, Proposal
from keep_ledger.multisig.threshold.curve import Point
from keep_ledger.multisig.threshold.dealer import split_seed
from keep_ledger.multisig.threshold.shares import Share

NOW = 1_800_000_000
NETWORK = b"\x07" * 32


@dataclass(frozen=True)
class Human:
    """Somebody with a name and a key."""

    name: str
    key: SigningKey

    @property
    def verkey(self) -> bytes:
        return bytes(self.key.verify_key)

    @property
    def did(self) -> str:
        return base58.b58encode(self.verkey[:16]).decode()

    def cosigner(self) -> Cosigner:
        return Cosigner(name=self.name, did=self.did, key=Point(self.verkey))

    def says(self, proposal: Proposal, act: Act, text: str = "", at: int = NOW) -> Proposal:
        """The proposal with a mark of this person."""
        more: Json = {}
        if act == "sign":
            more = {"signature": self.key.sign(proposal.request.signing_input).signature}
        place = proposal.place_of(self.verkey)
        mark = proposal.unsealed(act, place, at, text, **more)
        seal = self.key.sign(proposal.to_seal(mark)).signature
        return proposal.with_mark(mark.model_copy(update={"seal": seal}))


ANA, BEN, CAS = (
    Human(n, SigningKey(n.encode().ljust(32, b"."))) for n in ("Ana", "Ben", "Cas")
)
SHARES = split_seed(bytes(range(32)), 2, (1, 2, 3))
GROUP = SHARES[0].group
GROUP_DID = base58.b58encode(GROUP.key[:16]).decode()
SEAL = Cosigner(name="Seal", did=GROUP_DID, key=GROUP.key, group=GROUP)
NYM: Json = {"type": "1", "dest": "V4SGRU86Z58d6TV7PBUe6f", "role": "101"}
RULE: Json = {
    "constraint_id": "ROLE",
    "role": "0",
    "sig_count": 2,
    "need_to_be_owner": False,
    "metadata": {},
}


def request(operation: Json, author: str = ANA.did, **more: Any) -> Json:
    """A request without signatures."""
    return {
        "identifier": author,
        "reqId": 1,
        "protocolVersion": 2,
        "operation": operation,
    } | more


def body(operation: Json | None = None, **more: Any) -> Body:
    """A proposal by Ana, to Ben, Cas and the group."""
    told: Json = {
        "network": NETWORK,
        "request": request(operation or NYM),
        "made": NOW - 60,
        "expires": NOW + 3600,
        "memo": "",
        "cosigners": (*(one.cosigner() for one in (ANA, BEN, CAS)), SEAL),
        "rules": {"1--ADD--role--*--101": RULE},
        "before": {"exists": False},
    }
    return Body.model_validate(told | more)


def by_member(proposal: Proposal, who: Share, act: Act, at: int, **more: Any) -> Mark:
    """A sealed mark of a member of the group."""
    mark = proposal.unsealed(act, 3, at, member=who.identifier, **more)
    return proposal.sealed_by_share(mark, who)
