"""A proposal: a request, what surrounds it, and what its cosigners said.

One format for M of N, endorsement and FROST.

The `Body` is fixed when the proposal is made, and its digest names it. Everything that anybody
says of it is a `Mark`, sealed by the one who says it over that digest: so network, expiry, memo and
members bind among cosigners, though a ledger knows nothing of them. A value that exists is
verified: whoever carries a proposal can withhold marks, but neither change nor invent one.

A cosigner is a person with a DID and a key, or a FROST group behind a DID. Of a person, a mark of
assent carries the signature on the request. Of a group, members first commit and then sign (two
rounds), and their seals are proofs made by their shares.

The container is CBOR (RFC 8949, deterministic encoding), `.psit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Self

import base58
from pydantic import AfterValidator, Field, model_validator

from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import MultisigError, RefusedError
from keep_ledger.multisig.proposal.cbor_container import MAX_MARKS, packed, unpacked
from keep_ledger.multisig.proposal.field_types import DidText, Seconds, visible
from keep_ledger.multisig.proposal.request_decoder import Request, decode
from keep_ledger.multisig.recovery.slip39 import Label
from keep_ledger.multisig.rules.auth_rules import RuleKey, parse_constraint
from keep_ledger.multisig.signatures import SIGNATURE_BYTES, verifies
from keep_ledger.multisig.threshold.curve import (
    SIZE,
    checked_point,
    checked_scalar,
    prove,
    proven,
    sha256,
    sha512,
)
from keep_ledger.multisig.threshold.frost import aggregate, signed_digest
from keep_ledger.multisig.threshold.shares import (
    MAX_SIGNERS,
    Commitment,
    Digest,
    Group,
    HexBytes,
    PointBytes,
    Share,
    SignatureShare,
    Wire,
)

_LONGEST_S = 366 * 86400
_SEAL = b"\x00indykeep/psit/mark/1\x00"
"""No signing input begins so: a seal can never serve as the signature of a request."""
_SESSION = b"\x00indykeep/psit/session/1\x00"


class RefusedMarkError(RefusedError):
    """A mark is not by whom it says; the file is not to be believed.

    Attributes:
        who: the cosigner's name in the proposal.
    """

    def __init__(self, who: str, why: str) -> None:
        super().__init__(f"{who}: {why}")
        self.who = who


class WrongKeyError(MultisigError, ValueError):
    """The key or share at hand is none of this proposal's cosigners."""


def _is_signature(raw: bytes) -> bytes:
    if len(raw) != SIGNATURE_BYTES:
        raise ValueError("is not 64 bytes long")
    return raw


Signature = Annotated[HexBytes, AfterValidator(_is_signature)]
Memo = Annotated[str, Field(max_length=500, pattern=r"^[^\n\t]*$"), AfterValidator(visible)]


Shown = Annotated[str, Field(max_length=600), AfterValidator(visible)]
"""What came from a ledger, or is said to: it is put before people's eyes."""


class Cosigner(Wire):
    """Somebody whose signature may be wanted.

    Attributes:
        key: Ed25519 verification key, as it was when the proposal was made.
        group: where a FROST group stands behind the DID; `key` is the group's.
    """

    KIND = "psit-cosigner/1"
    name: Label
    did: DidText
    key: PointBytes
    group: Group | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.group is not None and self.group.key != self.key:
            raise ValueError("the group has another key")
        return self

    @property
    def verkey(self) -> str:
        """The key as a ledger writes it."""
        return base58.b58encode(self.key).decode()


class Body(Wire):
    """What is proposed; its digest is the proposal's name.

    Attributes:
        network: SHA-256 of the genesis transactions.
        request: without signatures; it decodes (`transactions.decode`).
        made: Unix seconds.
        expires: Unix seconds; afterwards nobody signs or sends it.
        rules: auth rule key to constraint, as the proposer read them: those that it must meet.
        before: what it changes, as the proposer read it (`review.Before`).
        replaces: an older proposal for which this one was made.
    """

    KIND = "psit/1"
    network: Digest
    request: Json
    made: Seconds
    expires: Seconds
    memo: Memo
    cosigners: Annotated[tuple[Cosigner, ...], Field(min_length=1, max_length=MAX_SIGNERS)]
    rules: dict[Shown, Json]
    before: dict[Shown, Shown | bool | None]
    replaces: Digest | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        request = self.decoded
        dids = [one.did for one in self.cosigners]
        keys = [one.key for one in self.cosigners]
        if len(set(dids)) != len(dids) or len(set(keys)) != len(keys):
            raise ValueError("a cosigner, or its key, is named twice")
        for needed in filter(None, (request.author, request.endorser)):
            if needed not in dids:
                raise ValueError(f"{needed} must sign and is not a cosigner")
        if not self.made < self.expires:
            raise ValueError("it expires before it was made")
        if self.expires - self.made > _LONGEST_S:
            raise ValueError("it expires more than a year after it was made")
        for key, constraint in self.rules.items():
            RuleKey.parse(key)
            parse_constraint(constraint)
        return self

    @property
    def decoded(self) -> Request:
        """The request, decoded."""
        return decode(self.request)


Act = Literal["sign", "commit", "refuse", "comment", "cancel"]


class Mark(Wire):
    """What a cosigner, or a member of a group, said of a proposal.

    Attributes:
        by: place of the cosigner in the body, from 0.
        member: FROST identifier, where the cosigner is a group; else 0.
        act: `sign`: assent; `commit`: a group's first round; `refuse`, `comment`, `cancel`.
        at: Unix seconds by the clock of whom it is by.
        text: the reason of a refusal, a comment.
        signature: of a person that signs: on the request.
        commitment: of a member that commits.
        share: of a member that signs.
        seal: a person's signature over all this and the proposal, or a member's proof.
    """

    KIND = "psit-mark/1"
    by: Annotated[int, Field(ge=0, lt=MAX_SIGNERS)]
    member: Annotated[int, Field(ge=0, le=MAX_SIGNERS)] = 0
    act: Act
    at: Seconds
    text: Memo = ""
    signature: Signature | None = None
    commitment: Commitment | None = None
    share: SignatureShare | None = None
    seal: Signature

    @model_validator(mode="after")
    def _whole(self) -> Self:
        expected = {
            ("sign", False): (True, False, False),
            ("sign", True): (False, False, True),
            ("commit", True): (False, True, False),
        }.get((self.act, self.member > 0), (False, False, False))
        given = tuple(x is not None for x in (self.signature, self.commitment, self.share))
        if given != expected or (self.act == "commit" and not self.member):
            raise ValueError(f"a mark of this kind ({self.act}) does not look like this")
        if self.act in {"refuse", "comment"} and not self.text.strip():
            raise ValueError("says nothing")
        return self

    @property
    def slot(self) -> tuple[int, int, str, bytes]:
        """What there is one of: a later mark of the same slot takes an earlier one's place."""
        return self.by, self.member, self.act, self.seal if self.act == "comment" else b""


class Proposal:
    """A body and verified marks.

    Attributes:
        body: what is proposed.
        marks: in order of cosigner, member and kind.
    """

    def __init__(self, body: Body, marks: Iterable[Mark] = ()) -> None:
        """Verify every mark.

        Raises:
            RefusedMarkError: one is forged, or by somebody else; says whose.
        """
        self.body = body
        self.id = body.digest
        self.request = body.decoded
        found: dict[tuple[int, int, str, bytes], Mark] = {}
        for mark in marks:
            self._verify(mark)
            there = found.get(mark.slot)
            if there is None or (there.at, there.seal) < (mark.at, mark.seal):
                found[mark.slot] = mark
        if len(found) > MAX_MARKS:
            raise RefusedError(f"more than {MAX_MARKS} marks")
        self.marks = tuple(found[slot] for slot in sorted(found))

    # -- carried ------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The container: equal proposals give equal bytes."""
        return packed(self.body.to_map(), [mark.to_map() for mark in self.marks])

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read a container.

        Raises:
            RefusedError: too large, no such container, or not in its one encoding.
            RefusedMarkError: it holds a forged mark.
        """
        body, listed = unpacked(raw)
        found = cls(Body.from_json(body), map(Mark.from_json, listed))
        if found.to_bytes() != raw:
            raise RefusedError("the proposal is not in its one encoding: somebody changed it")
        return found

    def merged(self, other: Self) -> Self:
        """Both proposals' marks; whatever order they are merged in, the result is the same.

        Raises:
            RefusedError: they are about different requests, or differ in anything else.
        """
        if other.id != self.id:
            what = "requests" if other.body.request != self.body.request else "proposals"
            raise RefusedError(
                f"these are different {what}: {self.id.hex()[:16]} and {other.id.hex()[:16]}"
            )
        return type(self)(self.body, (*self.marks, *other.marks))

    # -- said ---------------------------------------------------------------------------------

    def with_mark(self, mark: Mark) -> Self:
        """The proposal and one mark more."""
        return type(self)(self.body, (*self.marks, mark))

    def without_future_commitments(self, latest: int) -> Self:
        """The proposal without commitments from the future, which would always be the last ones."""
        marks = (m for m in self.marks if m.act != "commit" or m.at <= latest)
        return type(self)(self.body, marks)

    def place_of(self, key: bytes) -> int:
        """Where a key stands among the cosigners.

        Raises:
            WrongKeyError: nowhere.
        """
        for place, one in enumerate(self.body.cosigners):
            if one.key == key:
                return place
        shown = base58.b58encode(key).decode()
        names = ", ".join(f"{one.name} ({one.verkey})" for one in self.body.cosigners)
        raise WrongKeyError(f"the key {shown} is not a cosigner's here; they are: {names}")

    def unsealed(self, act: Act, place: int, at: int, text: str = "", **more: Any) -> Mark:
        """A mark whose seal is still to be made: 64 zero bytes.

        It is later than what the same one said of this kind before, whatever the clock says.
        """
        blank = Mark(by=place, act=act, at=at, text=text, seal=bytes(SIGNATURE_BYTES), **more)
        before = [mark.at + 1 for mark in self.marks if mark.slot == blank.slot]
        return blank.model_copy(update={"at": max([at, *before])})

    def to_seal(self, mark: Mark) -> bytes:
        """What the seal of a mark is made over: everything in it, and this proposal."""
        plain = mark.model_copy(update={"seal": bytes(SIGNATURE_BYTES)})
        return _SEAL + sha256(self.id, plain.digest)

    def sealed_by_share(self, mark: Mark, share: Share) -> Mark:
        """Seal a member's mark with a proof by its share."""
        context = sha512(self.to_seal(mark))
        witness, answer = prove(share.secret, share.identifier, context)
        return mark.model_copy(update={"seal": witness + answer})

    def session(self, place: int) -> bytes:
        """The name of a group's signing session: this proposal and that cosigner."""
        return sha256(_SESSION, self.id, self.body.cosigners[place].did.encode())

    def _verify(self, mark: Mark) -> None:
        if mark.by >= len(self.body.cosigners):
            raise RefusedError("a mark is by nobody who is named in the proposal")
        who = self.body.cosigners[mark.by]
        if (who.group is not None) != (mark.member > 0):
            raise RefusedMarkError(
                who.name, "a group speaks by its members, a person by its key"
            )
        if who.group is None:
            self._verify_person(who, mark)
        else:
            self._verify_member(who, who.group, mark)

    def _verify_person(self, who: Cosigner, mark: Mark) -> None:
        if not verifies(who.key, self.to_seal(mark), mark.seal):
            raise RefusedMarkError(
                who.name, "what is said in this name was not said by its key"
            )
        given = mark.signature
        if given is not None and not verifies(who.key, self.request.signing_input, given):
            raise RefusedMarkError(who.name, "the signature does not fit this request and key")

    def _verify_member(self, who: Cosigner, group: Group, mark: Mark) -> None:
        key = group.shares.get(mark.member)
        name = f"{who.name}, member {mark.member}"
        if key is None:
            raise RefusedMarkError(name, "is not a member of this group")
        try:
            witness = checked_point(mark.seal[:SIZE])
            answer = checked_scalar(mark.seal[SIZE:])
        except ValueError as error:
            raise RefusedMarkError(name, "the seal is not a proof by a share") from error
        if not proven(key, mark.member, sha512(self.to_seal(mark)), witness, answer):
            raise RefusedMarkError(name, "what is said in this name was not said by its share")
        parts = [part for part in (mark.commitment, mark.share) if part is not None]
        for part in parts:
            if (part.identifier, part.session) != (mark.member, self.session(mark.by)):
                raise RefusedMarkError(name, "a round of another member or another proposal")
        if mark.commitment is not None and mark.commitment.group != group.digest:
            raise RefusedMarkError(name, "committed for another group")

    # -- what it amounts to -------------------------------------------------------------------

    def of(self, act: Act, place: int | None = None) -> list[Mark]:
        """The marks of a kind, perhaps of one cosigner."""
        return [m for m in self.marks if m.act == act and place in (None, m.by)]

    def commitments(self, place: int) -> list[Commitment]:
        """The current commitments of a group's members, in order of members."""
        found = sorted(self.of("commit", place), key=lambda mark: mark.member)
        return [mark.commitment for mark in found if mark.commitment is not None]

    def quorum(self, place: int) -> list[Commitment]:
        """The commitments that a group signs with: of the members that committed last.

        Empty as long as they are too few. If one of them does not sign, or signs falsely, as many
        others as are needed commit again, and go on without it.
        """
        group = self.body.cosigners[place].group
        found = self.commitments(place)
        if group is None or len(found) < group.threshold:
            return []
        last = sorted(self.of("commit", place), key=lambda mark: (-mark.at, mark.member))
        chosen = {mark.member for mark in last[: group.threshold]}
        return [one for one in found if one.identifier in chosen]

    def shares(self, place: int) -> list[SignatureShare]:
        """The signature shares that were made with the current commitments."""
        chosen = self.quorum(place)
        members = {one.identifier for one in chosen}
        signed = signed_digest(chosen, self.request.signing_input)
        found = [mark.share for mark in self.of("sign", place) if mark.share is not None]
        return [s for s in found if s.identifier in members and s.signed == signed]

    def signatures(self) -> dict[str, bytes]:
        """Signatures on the request by DID: of persons, and of groups whose rounds are done.

        Raises:
            RefusedError: a member of a group cheated; says which.
        """
        found: dict[str, bytes] = {}
        for place, who in enumerate(self.body.cosigners):
            if who.group is None:
                for mark in self.of("sign", place):
                    found[who.did] = mark.signature or b""
            elif signature := self._together(place, who.group):
                found[who.did] = signature
        return found

    def _together(self, place: int, group: Group) -> bytes | None:
        chosen, shares = self.quorum(place), self.shares(place)
        if not chosen or len(shares) < len(chosen):
            return None
        message = self.request.signing_input
        try:
            return aggregate(group, self.session(place), message, chosen, shares)
        except RefusedError as error:
            who = self.body.cosigners[place].name
            raise RefusedError(
                f"{who}: {error}; the others commit again", error.culprits
            ) from error

    def cancelled(self) -> bool:
        """Whether its author took it back; of a group, as many members as sign."""
        for place, who in enumerate(self.body.cosigners):
            if who.did == self.request.author:
                needed = who.group.threshold if who.group else 1
                return len(self.of("cancel", place)) >= needed
        return False


def merge(proposals: Sequence[Proposal]) -> Proposal:
    """All marks of several copies of one proposal.

    Raises:
        RefusedError: they are not copies of one proposal.
    """
    whole = proposals[0]
    for other in proposals[1:]:
        whole = whole.merged(other)
    return whole
