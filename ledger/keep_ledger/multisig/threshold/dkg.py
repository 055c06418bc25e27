"""Distributed key generation: make a key that nobody ever knows, or reshare a key to a new group.

Three steps, each with values as input and output, for any transport. Every dealer runs `begin` and
broadcasts its round-one package; with all of these it runs `deal_out` and sends each member its round-two
package over a channel that is encrypted *and authenticated*; with all packages for it a member runs `finish`.

A party that is killed between two steps continues with what it stored: the `Dealing` after `begin`
(secret), and the packages received after that. `deal_out` and `finish` use no randomness, so repeating them
repeats their output. Delete the `Dealing` and the round-two packages when the share is stored: they are as
secret as the share.

Trust: round one may be transported by anybody, because every round-two package has the digest of all
round-one packages as its sender saw them, and `finish` refuses if they differ. People should still compare
`transcript` aloud before they start, and `Group.digest` before the key is used.

Source: Komlo and Goldberg, FROST (SAC 2020), figure 1 (Pedersen's DKG with proofs of
possession); resharing after Desmedt and Jajodia (1997), with Feldman's commitments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from keep_ledger.multisig.errors import RefusedError, named, refuse
from keep_ledger.multisig.threshold.curve import (
    ZERO,
    Point,
    add,
    evaluate,
    evaluate_committed,
    lagrange,
    mul,
    prove,
    proven,
    random_scalar,
    sha256,
    sha512,
    times,
    times_base,
    total,
)
from keep_ledger.multisig.threshold.shares import (
    MAX_SIGNERS,
    Digest,
    Group,
    Identifier,
    PointBytes,
    ScalarBytes,
    SecretBytes,
    Share,
    Wire,
    reason,
)


class Ceremony(Wire):
    """What all parties agree on before they start; they compare its `digest`.

    Attributes:
        session: 32 new random bytes, so that nothing from another ceremony can be used.
        threshold: of the new group.
        members: those who will have shares, in order.
        dealers: the members themselves, or for a resharing some of the old members.
        old: the group whose key is reshared; None makes a new key.
    """

    KIND = "frost-ceremony/1"
    session: Digest
    threshold: Annotated[int, Field(ge=2, le=MAX_SIGNERS)]
    members: tuple[Identifier, ...]
    dealers: tuple[Identifier, ...]
    old: Group | None

    @staticmethod
    def new_key(session: bytes, threshold: int, members: Sequence[int]) -> Ceremony:
        """Make a new key; every member deals.

        Raises:
            RefusedError: a member is named twice, or there are fewer than the threshold.
        """
        names = tuple(members)
        return _made(session, threshold, names, names, None)

    @staticmethod
    def resharing(
        session: bytes,
        old: Group,
        dealers: Sequence[int],
        threshold: int,
        members: Sequence[int],
    ) -> Ceremony:
        """Reshare the key of `old`: same key, same DID, new shares, perhaps other members.

        New members compare `old.verkey` with the ledger first.
        Old shares can still sign together with each other (not with new ones) until their holders
        delete them. If a former member cannot be trusted, also rotate the key on the ledger.

        Args:
            dealers: members of `old`, at least as many as its threshold.

        Raises:
            RefusedError: a dealer is not a member, there are too few, or the list of members is not valid.
        """
        return _made(session, threshold, tuple(members), tuple(dealers), old)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for names in (self.members, self.dealers):
            if list(names) != sorted(set(names)):
                raise ValueError("identifiers are not in order, or one occurs twice")
        if self.threshold > len(self.members):
            raise ValueError("the threshold is higher than the number of members")
        if self.old is None:
            if self.dealers != self.members:
                raise ValueError("for a new key all members are dealers")
        elif len(self.dealers) < self.old.threshold:
            raise ValueError(
                f"at least {self.old.threshold} dealers of the old group are needed"
            )
        elif not set(self.dealers) <= set(self.old.shares):
            raise ValueError("a dealer is not a member of the old group")
        return self


class Round1Package(Wire):
    """What a dealer sends to everybody: commitments to a polynomial, and a proof of possession.

    Attributes:
        commitments: to the coefficients, constant term first; as many as the threshold.
        witness, answer: a Schnorr proof for the constant term that binds ceremony, dealer and
            all commitments.
    """

    KIND = "frost-dkg-round1/1"
    ceremony: Digest
    identifier: Identifier
    commitments: tuple[PointBytes, ...]
    witness: PointBytes
    answer: ScalarBytes


class Round2Package(Wire):
    """What a dealer sends to one member in secret.

    Attributes:
        identifier: of the dealer.
        transcript: digest of all round-one packages as the dealer saw them.
    """

    KIND = "frost-dkg-round2/1"
    ceremony: Digest
    transcript: Digest
    identifier: Identifier
    member: Identifier
    value: SecretBytes = Field(repr=False)


class Dealing(Wire):
    """A dealer's own state after `begin`. As secret as a share; store it until `finish`."""

    KIND = "frost-dkg-dealing/1"
    ceremony: Ceremony
    package: Round1Package
    coefficients: tuple[SecretBytes, ...] = Field(repr=False)

    @model_validator(mode="after")
    def _opens(self) -> Self:
        if tuple(map(times_base, self.coefficients)) != self.package.commitments:
            raise ValueError("the coefficients do not open the package")
        return self


def begin(ceremony: Ceremony, identifier: int, share: Share | None = None) -> Dealing:
    """Round one: draw a polynomial. Store the result, then broadcast its `package`.

    Args:
        identifier: of this dealer; for a resharing, in the old group.
        share: of the old group, for a resharing; None for a new key.

    Raises:
        RefusedError: this party is not a dealer, or the share is not the one that is needed.
    """
    if identifier not in ceremony.dealers:
        raise RefusedError(f"participant {identifier} is not a dealer in this ceremony")
    given = None if share is None else (share.group, share.identifier)
    needed = None if ceremony.old is None else (ceremony.old, identifier)
    if given != needed:
        raise RefusedError("the share is not this dealer's share of the group that is reshared")
    first = random_scalar()
    if share is not None:
        first = mul(lagrange(identifier, ceremony.dealers), share.secret)
    coefficients = (first, *(random_scalar() for _ in range(ceremony.threshold - 1)))
    commitments = tuple(map(times_base, coefficients))
    context = _context(ceremony, commitments)
    witness, answer = prove(first, identifier, context)
    package = Round1Package(
        ceremony=ceremony.digest,
        identifier=identifier,
        commitments=commitments,
        witness=witness,
        answer=answer,
    )
    return Dealing(ceremony=ceremony, package=package, coefficients=coefficients)


def transcript(ceremony: Ceremony, packages: Sequence[Round1Package]) -> bytes:
    """Check all round-one packages and return their digest: 32 bytes, the same for everybody.

    Raises:
        RefusedError: a package is missing, occurs twice, is of another ceremony or not proven;
            `culprits` names whose.
    """
    _exactly(ceremony.dealers, [p.identifier for p in packages], "round-one package")
    refuse(
        (p.identifier for p in packages if p.ceremony != ceremony.digest),
        "the package is of another ceremony",
    )
    wrong = (p.identifier for p in packages if len(p.commitments) != ceremony.threshold)
    refuse(wrong, f"a polynomial needs {ceremony.threshold} commitments")
    refuse(
        (p.identifier for p in packages if not _possesses(ceremony, p)),
        "no proof of possession",
    )
    refuse(
        (p.identifier for p in packages if not _deals_old_share(ceremony, p)),
        "dealt another secret than the share of the old group",
    )
    ordered = sorted(packages, key=lambda p: p.identifier)
    return sha256(ceremony.digest, *(p.digest for p in ordered))


def deal_out(dealing: Dealing, packages: Sequence[Round1Package]) -> dict[int, Round2Package]:
    """Round two: from all round-one packages, the package for each member, by identifier.

    It includes the dealer's own package if it is a member: store that. Send the others encrypted and
    authenticated.

    Raises:
        RefusedError: as for `transcript`, or this dealer's own package was changed on the way.
    """
    agreed = transcript(dealing.ceremony, packages)
    if dealing.package not in packages:
        raise RefusedError("my own package came back changed: the transport cannot be trusted")
    return {
        member: Round2Package(
            ceremony=dealing.package.ceremony,
            transcript=agreed,
            identifier=dealing.package.identifier,
            member=member,
            value=evaluate(dealing.coefficients, member),
        )
        for member in dealing.ceremony.members
    }


def finish(
    ceremony: Ceremony,
    member: int,
    packages: Sequence[Round1Package],
    received: Sequence[Round2Package],
) -> Share:
    """Round three: check what was dealt to this member and add it up.

    Args:
        packages: of round one, of all dealers.
        received: of round two, for this member, of all dealers (itself included, if it deals).

    Raises:
        RefusedError: as for `transcript`; others saw other round-one packages; or the value of a dealer
            does not fit its commitments, and the dealer is named.
    """
    agreed = transcript(ceremony, packages)
    _exactly(ceremony.dealers, [p.identifier for p in received], "round-two package")
    refuse(
        (p.identifier for p in received if p.ceremony != ceremony.digest),
        "the package is of another ceremony",
    )
    refuse((p.identifier for p in received if p.member != member), "dealt to another member")
    if differing := sorted(p.identifier for p in received if p.transcript != agreed):
        raise RefusedError(
            f"{named(differing)} saw other round-one packages than I: somebody sent different "
            "packages to different parties; start again"
        )
    commitments = {p.identifier: p.commitments for p in packages}
    wrong_values = (
        p.identifier
        for p in received
        if times_base(p.value) != evaluate_committed(commitments[p.identifier], member)
    )
    refuse(wrong_values, "dealt a share that does not fit the commitments")
    secret = ZERO
    for package in received:
        secret = add(secret, package.value)
    group = _group(ceremony, commitments)
    try:
        return Share(identifier=member, secret=secret, group=group)
    except ValidationError as error:
        raise RefusedError(f"participant {member} is not a member of the new group") from error


def _made(
    session: bytes,
    threshold: int,
    members: tuple[int, ...],
    dealers: tuple[int, ...],
    old: Group | None,
) -> Ceremony:
    try:
        return Ceremony(
            session=session, threshold=threshold, members=members, dealers=dealers, old=old
        )
    except ValidationError as error:
        raise RefusedError(f"this ceremony is not possible: {reason(error)}") from error


def _context(ceremony: Ceremony, commitments: Iterable[Point]) -> bytes:
    return sha512(ceremony.digest, *commitments)


def _possesses(ceremony: Ceremony, package: Round1Package) -> bool:
    context = _context(ceremony, package.commitments)
    key = package.commitments[0]
    return proven(key, package.identifier, context, package.witness, package.answer)


def _deals_old_share(ceremony: Ceremony, package: Round1Package) -> bool:
    """Whether the dealer's secret is its weighted share of the old key; for a new key always True."""
    if ceremony.old is None:
        return True
    weight = lagrange(package.identifier, ceremony.dealers)
    return package.commitments[0] == times(weight, ceremony.old.shares[package.identifier])


def _group(ceremony: Ceremony, commitments: Mapping[int, Sequence[Point]]) -> Group:
    joint = [total(column) for column in zip(*commitments.values(), strict=True)]
    members = tuple((member, evaluate_committed(joint, member)) for member in ceremony.members)
    try:
        return Group(threshold=ceremony.threshold, key=joint[0], members=members)
    except ValidationError as error:
        raise RefusedError("the dealt polynomials cancel each other out") from error


def _exactly(expected: Iterable[int], given: Sequence[int], what: str) -> None:
    refuse((i for i in set(given) if given.count(i) > 1), f"more than one {what}")
    refuse(set(given) - set(expected), f"sent a {what}, but is not a dealer")
    if missing := sorted(set(expected) - set(given)):
        raise RefusedError(f"{named(missing)}: no {what} yet")
