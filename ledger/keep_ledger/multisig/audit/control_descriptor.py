"""The public description of who controls a ledger identity.

It has no secret. Keep it apart from the keys, in several copies with several people: with it every
share, key and rule can be checked at a restore or a drill.
"""

from __future__ import annotations

import json
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from keep_ledger.errors import BadIdError
from keep_ledger.identifiers import Did, full_verkey
from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import refuse
from keep_ledger.multisig.recovery.slip39 import Backup, Label
from keep_ledger.multisig.threshold.curve import sha256
from keep_ledger.multisig.threshold.shares import MAX_SIGNERS, Digest, Group, Share, Wire


def rule_digest(constraint: Json) -> bytes:
    """SHA-256 of an auth rule's constraint as the ledger gives it; the order of keys does not count."""
    return sha256(json.dumps(constraint, sort_keys=True, separators=(",", ":")).encode())


def _is_did(text: str) -> str:
    try:
        return str(Did.parse(text))
    except BadIdError as error:
        raise ValueError(str(error)) from error


DidText = Annotated[str, AfterValidator(_is_did)]


class Person(BaseModel):
    """A member who signs on the ledger with a DID of its own.

    Attributes:
        verkey: base58, never abbreviated, at the time of the descriptor.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
    name: Label
    did: DidText
    verkey: str

    @model_validator(mode="after")
    def _whole(self) -> Self:
        try:
            whole = full_verkey(self.verkey, Did.parse(self.did).id)
        except BadIdError as error:
            raise ValueError(str(error)) from error
        if whole != self.verkey:
            raise ValueError("the verkey is abbreviated")
        return self


class Descriptor(Wire):
    """Members, verkeys, thresholds and rule digests; it has no secret.

    Attributes:
        network: SHA-256 of the genesis transactions, so that it is valid for one network only.
        did: the identity that is controlled; None for a quorum of trustees.
        threshold: how many of `members` must sign by the ledger's rules; 0 without members.
        members: those who sign with DIDs of their own.
        group: the FROST group behind `did`, if there is one.
        rules: auth rule key (`1--ADD--role--*--101`) and digest of its constraint, in order.
        backup: of the store with the keys of this descriptor's owner.
    """

    KIND = "group-descriptor/1"
    name: Label
    made: AwareDatetime
    network: Digest
    did: DidText | None
    threshold: Annotated[int, Field(ge=0, le=MAX_SIGNERS)]
    members: tuple[Person, ...]
    group: Group | None
    rules: tuple[tuple[str, Digest], ...]
    backup: Backup | None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        dids = [member.did for member in self.members]
        keys = [key for key, _ in self.rules]
        if len(set(dids)) != len(dids):
            raise ValueError("a member is named twice")
        if keys != sorted(set(keys)):
            raise ValueError("rules are not in order, or one is there twice")
        if not (bool(dids) <= self.threshold <= len(dids)):
            raise ValueError("the threshold does not fit the number of members")
        return self

    def check_share(self, share: Share) -> None:
        """Check at a restore that a FROST share belongs to the group described here.

        Raises:
            RefusedError: it is of another group, or of an older sharing of the same key.
        """
        fits = self.group is not None and self.group.digest == share.group.digest
        wrong = [] if fits else [share.identifier]
        refuse(wrong, "the share is of another group, or an older sharing of this key")

    def differences(self, now: Self) -> tuple[str, ...]:
        """What has changed since this descriptor was made, in sentences; name and time do not count."""
        found = [
            f"{what} changed"
            for what in ("network", "did", "threshold", "group", "backup")
            if getattr(self, what) != getattr(now, what)
        ]
        before = {m.did: m for m in self.members}
        after = {m.did: m for m in now.members}
        found += [f"{before[did].name} ({did}) left" for did in before.keys() - after.keys()]
        found += [f"{after[did].name} ({did}) is new" for did in after.keys() - before.keys()]
        found += [
            f"{before[did].name} ({did}) has another key"
            for did in before.keys() & after.keys()
            if before[did].verkey != after[did].verkey
        ]
        old, new = dict(self.rules), dict(now.rules)
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        found += [f"the rule {key} changed" for key in changed]
        return tuple(sorted(found))
