"""A proposal: a request, its context, and the marks of its cosigners.

One format for M of N, endorsement and FROST.

The `Body` does not change after the proposal was made, and its digest names the proposal. A cosigner
answers with a `Mark`, which it seals (signs) over that digest: so network, expiry, memo and members are
binding among cosigners, although a ledger does not know them. Marks are verified when they are read:
whoever transports a proposal can withhold marks, but cannot change or invent one.

A cosigner is a person with a DID and a key, or a FROST group behind a DID. The `sign` mark of a person
has the signature on the request. The members of a group first commit and then sign (two rounds), and
their seals are proofs made with their shares.

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
"""No signing input begins like this: a seal can never be used as the signature of a request."""
_SESSION = b"\x00indykeep/psit/session/1\x00"


class RefusedMarkError(RefusedError):
    """A mark was not made by the cosigner that it names; do not trust the file.

    Attributes:
        who: the cosigner's name in the proposal.
    """

    def __init__(self, who: str, why: str) -> None:
        super().__init__(f"{who}: {why}")
        self.who = who


class WrongKeyError(MultisigError, ValueError):
    """The given key or share does not belong to a cosigner of this proposal."""


def _is_signature(raw: bytes) -> bytes:
    if len(raw) != SIGNATURE_BYTES:
        raise ValueError("is not 64 bytes long")
    return raw


Signature = Annotated[HexBytes, AfterValidator(_is_signature)]
Memo = Annotated[str, Field(max_length=500, pattern=r"^[^\n\t]*$"), AfterValidator(visible)]


Shown = Annotated[str, Field(max_length=600), AfterValidator(visible)]
"""Text from a ledger, or claimed to be: it is shown to people."""


class Cosigner(Wire):
    """A person or group whose signature may be needed.

    Attributes:
        key: Ed25519 verification key at the time of the proposal.
        group: the FROST group behind the DID, if there is one; `key` is the group's.
    """

    KIND = "psit-cosigner/1"
    name: Label
    did: DidText
    key: PointBytes
    group: Group | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.group is not None and self.group.key != self.key:
            raise ValueError("the key is not that of the group")
        return self

    @property
    def verkey(self) -> str:
        """The key in base58, as on a ledger."""
        return base58.b58encode(self.key).decode()


class Body(Wire):
    """What is proposed; its digest names the proposal.

    Attributes:
        network: SHA-256 of the genesis transactions.
        request: without signatures; `request_decoder.decode` accepts it.
        made: Unix seconds.
        expires: Unix seconds; after that nobody signs or sends it.
        rules: the rules that it must satisfy, as the proposer read them: auth rule key to constraint.
        before: what it changes, as the proposer read it.
        replaces: an older proposal that this one replaces.
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
            raise ValueError("a cosigner or its key is named twice")
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
    """The answer of a cosigner, or of a member of a group, to a proposal.

    Attributes:
        by: index of the cosigner in the body, from 0.
        member: FROST identifier, if the cosigner is a group; else 0.
        act: `sign`: approval; `commit`: the first round of a group; `refuse`, `comment`, `cancel`.
        at: Unix seconds by the cosigner's clock.
        text: the reason of a refusal, or a comment.
        signature: on the request, of a person who signs.
        commitment: of a member that commits.
        share: of a member that signs.
        seal: a person's signature over all of this and the proposal, or a member's proof.
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
            raise ValueError(f"a mark of this kind ({self.act}) has other members")
        if self.act in {"refuse", "comment"} and not self.text.strip():
            raise ValueError("has no text")
        return self

    @property
    def slot(self) -> tuple[int, int, str, bytes]:
        """What can exist only once: a later mark in the same slot replaces an earlier one."""
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
            RefusedMarkError: one is forged; says in whose name.
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

    # -- as bytes -----------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The container: equal proposals give equal bytes."""
        return packed(self.body.to_map(), [mark.to_map() for mark in self.marks])

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read a container.

        Raises:
            RefusedError: it is too large, not a proposal, or not deterministically encoded.
            RefusedMarkError: it holds a forged mark.
        """
        body, listed = unpacked(raw)
        found = cls(Body.from_json(body), map(Mark.from_json, listed))
        if found.to_bytes() != raw:
            raise RefusedError(
                "the proposal is not deterministically encoded: somebody changed it"
            )
        return found

    def merged(self, other: Self) -> Self:
        """The proposal with the marks of both; the order of merging does not matter.

        Raises:
            RefusedError: they are different proposals.
        """
        if other.id != self.id:
            what = "requests" if other.body.request != self.body.request else "proposals"
            raise RefusedError(
                f"these are different {what}: {self.id.hex()[:16]} and {other.id.hex()[:16]}"
            )
        return type(self)(self.body, (*self.marks, *other.marks))

    # -- marks --------------------------------------------------------------------------------

    def with_mark(self, mark: Mark) -> Self:
        """The proposal with one more mark."""
        return type(self)(self.body, (*self.marks, mark))

    def without_future_commitments(self, latest: int) -> Self:
        """The proposal without commitments from the future, which would always count as the newest."""
        marks = (m for m in self.marks if m.act != "commit" or m.at <= latest)
        return type(self)(self.body, marks)

    def place_of(self, key: bytes) -> int:
        """The index of the cosigner with this key.

        Raises:
            WrongKeyError: there is none.
        """
        for place, one in enumerate(self.body.cosigners):
            if one.key == key:
                return place
        shown = base58.b58encode(key).decode()
        names = ", ".join(f"{one.name} ({one.verkey})" for one in self.body.cosigners)
        raise WrongKeyError(
            f"the key {shown} does not belong to a cosigner; the cosigners are: {names}"
        )

    def unsealed(self, act: Act, place: int, at: int, text: str = "", **more: Any) -> Mark:
        """A mark without its seal yet: 64 zero bytes.

        Its time is later than that of the mark which it replaces, whatever the clock says.
        """
        blank = Mark(by=place, act=act, at=at, text=text, seal=bytes(SIGNATURE_BYTES), **more)
        before = [mark.at + 1 for mark in self.marks if mark.slot == blank.slot]
        return blank.model_copy(update={"at": max([at, *before])})

    def to_seal(self, mark: Mark) -> bytes:
        """What the seal of a mark signs: everything in the mark, and this proposal."""
        plain = mark.model_copy(update={"seal": bytes(SIGNATURE_BYTES)})
        return _SEAL + sha256(self.id, plain.digest)

    def sealed_by_share(self, mark: Mark, share: Share) -> Mark:
        """Seal a member's mark with a proof made with its share."""
        context = sha512(self.to_seal(mark))
        witness, answer = prove(share.secret, share.identifier, context)
        return mark.model_copy(update={"seal": witness + answer})

    def session(self, place: int) -> bytes:
        """The id of a group's signing session: this proposal and this cosigner."""
        return sha256(_SESSION, self.id, self.body.cosigners[place].did.encode())

    def _verify(self, mark: Mark) -> None:
        if mark.by >= len(self.body.cosigners):
            raise RefusedError("a mark is by nobody named in the proposal")
        who = self.body.cosigners[mark.by]
        if (who.group is not None) != (mark.member > 0):
            raise RefusedMarkError(
                who.name,
                "marks of a group must be by its members, marks of a person by its key",
            )
        if who.group is None:
            self._verify_person(who, mark)
        else:
            self._verify_member(who, who.group, mark)

    def _verify_person(self, who: Cosigner, mark: Mark) -> None:
        if not verifies(who.key, self.to_seal(mark), mark.seal):
            raise RefusedMarkError(who.name, "a mark in this name was not made with its key")
        given = mark.signature
        if given is not None and not verifies(who.key, self.request.signing_input, given):
            raise RefusedMarkError(
                who.name, "the signature does not verify for this request and key"
            )

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
            raise RefusedMarkError(name, "a mark in this name was not made with its share")
        parts = [part for part in (mark.commitment, mark.share) if part is not None]
        for part in parts:
            if (part.identifier, part.session) != (mark.member, self.session(mark.by)):
                raise RefusedMarkError(
                    name, "a commitment or share of another member or another proposal"
                )
        if mark.commitment is not None and mark.commitment.group != group.digest:
            raise RefusedMarkError(name, "committed for another group")

    # -- results ------------------------------------------------------------------------------

    def of(self, act: Act, place: int | None = None) -> list[Mark]:
        """The marks of a kind, of all cosigners or of one."""
        return [m for m in self.marks if m.act == act and place in (None, m.by)]

    def commitments(self, place: int) -> list[Commitment]:
        """The current commitments of a group's members, in order of members."""
        found = sorted(self.of("commit", place), key=lambda mark: mark.member)
        return [mark.commitment for mark in found if mark.commitment is not None]

    def quorum(self, place: int) -> list[Commitment]:
        """The commitments that a group signs with: those of the members that committed last.

        Empty while there are too few. If a member does not sign, or signs wrongly, enough others
        commit again and go on without it.
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
        """Signatures on the request by DID: of persons, and of groups that have finished both rounds.

        Raises:
            RefusedError: a member of a group gave a wrong share; says which.
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
                f"{who}: {error}; the others must commit again", error.culprits
            ) from error

    def cancelled(self) -> bool:
        """Whether its author cancelled it; of a group, as many members as must sign."""
        for place, who in enumerate(self.body.cosigners):
            if who.did == self.request.author:
                needed = who.group.threshold if who.group else 1
                return len(self.of("cancel", place)) >= needed
        return False


def merge(proposals: Sequence[Proposal]) -> Proposal:
    """Merge several copies of one proposal.

    Raises:
        RefusedError: they are not copies of one proposal.
    """
    whole = proposals[0]
    for other in proposals[1:]:
        whole = whole.merged(other)
    return whole
