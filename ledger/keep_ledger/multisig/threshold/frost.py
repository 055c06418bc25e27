"""FROST(Ed25519, SHA-512) signing: RFC 9591 section 5.

Three steps, each with values as input and output, for any transport: every signer runs `commit`, the
coordinator collects the commitments, every signer runs `sign`, and the coordinator runs `aggregate`. The
result is an ordinary Ed25519 signature of the group's key.

Using a pair of nonces for two different messages reveals the share, so no function here takes nonces: `sign`
gets them from a `Vault`, which deletes them durably before it returns them. A failure after that, a crash
included, costs a pair of nonces and nothing else: commit again.

The coordinator need not be trusted: `sign` takes the message that the signer itself built from what it
reviewed, and a coordinator can only withhold.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol

from keep_ledger.multisig.errors import RefusedError, SpentError, named, refuse
from keep_ledger.multisig.signatures import verifies
from keep_ledger.multisig.threshold.curve import (
    IDENTITY,
    SIZE,
    ZERO,
    Point,
    Scalar,
    add,
    h1,
    h2,
    h3,
    h4,
    h5,
    lagrange,
    mul,
    plus,
    scalar,
    sha256,
    times,
    times_base,
    total,
)
from keep_ledger.multisig.threshold.shares import (
    Commitment,
    Group,
    Nonces,
    Share,
    SignatureShare,
)
from keep_ledger.wording import counted


class Vault(Protocol):
    """Storage for nonces between the two rounds. `NonceFiles` is one on disk.

    An implementation never returns the same nonces twice, even after a crash at any moment.
    """

    def put(self, nonces: Nonces) -> None:
        """Store them durably. Others of the same group, member and session are deleted."""
        ...

    def take(self, commitment: Commitment) -> Nonces:
        """Delete them durably, and only then return them.

        Raises:
            SpentError: the nonces of exactly this commitment are not there.
        """
        ...


def commit(share: Share, session: bytes, vault: Vault) -> Commitment:
    """Round one: draw nonces, store them, and return the public commitment.

    Commit again in the same session after a crash: that replaces the older nonces.

    Args:
        session: 32 bytes that identify what is to be signed, the same for all signers.

    Raises:
        RefusedError: `session` is not 32 bytes long.

    Source: RFC 9591 sections 4.1 (nonce_generate: randomness hashed with the share) and 5.1.
    """
    if len(session) != SIZE:
        raise RefusedError("a session must have 32 bytes")
    hiding, binding = (_nonce(share, secrets.token_bytes(SIZE)) for _ in range(2))
    nonces = _committed(share, session, hiding, binding)
    vault.put(nonces)
    return nonces.commitment


def sign(
    share: Share,
    session: bytes,
    message: bytes,
    commitments: Sequence[Commitment],
    vault: Vault,
) -> SignatureShare:
    """Round two: sign `message` and use up this member's nonces.

    The nonces are deleted before anything is checked, so a refusal uses them up, too; only a list that
    does not have exactly one commitment of this member is refused before.

    Args:
        message: built by this signer from what it reviewed, not taken from the coordinator.
        commitments: of all who take part, this member included.

    Raises:
        SpentError: this member's commitment was used, replaced, or not made here.
        RefusedError: the list is not valid for this group and session.
    """
    mine = [c for c in commitments if c.identifier == share.identifier]
    if len(mine) != 1:
        raise RefusedError(
            f"participant {share.identifier} is listed {len(mine)} times, not once"
        )
    nonces = vault.take(mine[0])
    if nonces.commitment != mine[0]:
        raise SpentError("the vault returned nonces of another commitment")
    signers = _signers(share.group, session, commitments)
    factors = _binding_factors(share.group.key, signers, message)
    challenge = _challenge(share.group.key, signers, factors, message)
    weight = lagrange(share.identifier, [c.identifier for c in signers])
    return SignatureShare(
        session=session,
        identifier=share.identifier,
        signed=signed_digest(signers, message),
        response=add(
            add(nonces.hiding, mul(nonces.binding, factors[share.identifier])),
            mul(mul(weight, share.secret), challenge),
        ),
    )


def aggregate(
    group: Group,
    session: bytes,
    message: bytes,
    commitments: Sequence[Commitment],
    shares: Sequence[SignatureShare],
) -> bytes:
    """Combine the shares into the signature: 64 bytes, verified.

    Raises:
        RefusedError: the lists do not belong together, or the signature does not verify; `culprits`
            names who gave a wrong share (identifiable abort, RFC 9591 section 5.4).
    """
    signers = _signers(group, session, commitments)
    _check_shares(session, signers, signed_digest(signers, message), shares)
    factors = _binding_factors(group.key, signers, message)
    response = ZERO
    for share in shares:
        response = add(response, share.response)
    signature = _group_commitment(signers, factors) + response
    if not verifies(group.key, message, signature):
        cheats = _cheats(group, message, signers, shares)
        raise RefusedError(f"{named(cheats)}: the signature share is wrong", cheats)
    return signature


def _nonce(share: Share, randomness: bytes) -> Scalar:
    return h3(randomness + share.secret)


def _committed(share: Share, session: bytes, hiding: Scalar, binding: Scalar) -> Nonces:
    commitment = Commitment(
        group=share.group.digest,
        session=session,
        identifier=share.identifier,
        hiding=times_base(hiding),
        binding=times_base(binding),
    )
    return Nonces(commitment=commitment, hiding=hiding, binding=binding)


def _signers(
    group: Group, session: bytes, commitments: Sequence[Commitment]
) -> tuple[Commitment, ...]:
    """Check the commitments and return them in order."""
    signers = tuple(sorted(commitments, key=lambda c: c.identifier))
    identifiers = [c.identifier for c in signers]
    refuse((i for i in set(identifiers) if identifiers.count(i) > 1), "committed twice")
    refuse(set(identifiers) - set(group.shares), "not a member of this group")
    other_group = (c.identifier for c in signers if c.group != group.digest)
    refuse(other_group, "committed for another group, or another sharing of this key")
    other_session = (c.identifier for c in signers if c.session != session)
    refuse(other_session, "committed in another session")
    if len(signers) < group.threshold:
        raise RefusedError(
            f"{counted(len(signers), 'signer')}: too few, {group.threshold} are needed"
        )
    return signers


def _check_shares(
    session: bytes,
    signers: Sequence[Commitment],
    signed: bytes,
    shares: Sequence[SignatureShare],
) -> None:
    given = [s.identifier for s in shares]
    expected = {c.identifier for c in signers}
    refuse((i for i in set(given) if given.count(i) > 1), "gave two signature shares")
    refuse(set(given) - expected, "signed without having committed")
    refuse((s.identifier for s in shares if s.session != session), "signed in another session")
    other = (s.identifier for s in shares if s.signed != signed)
    refuse(other, "signed another message, or with other commitments")
    if missing := expected - set(given):
        raise RefusedError(f"{named(missing)}: no signature share yet")


def _encoded(signers: Sequence[Commitment]) -> bytes:
    """encode_group_commitment_list of RFC 9591 section 4.3."""
    return b"".join(scalar(c.identifier) + c.hiding + c.binding for c in signers)


def signed_digest(signers: Sequence[Commitment], message: bytes) -> bytes:
    """The value of `SignatureShare.signed` for these commitments, in order of members."""
    return sha256(h4(message), h5(_encoded(signers)))


def _binding_factors(
    key: Point, signers: Sequence[Commitment], message: bytes
) -> dict[int, Scalar]:
    """compute_binding_factors of RFC 9591 section 4.4."""
    prefix = key + h4(message) + h5(_encoded(signers))
    return {c.identifier: h1(prefix + scalar(c.identifier)) for c in signers}


def _group_commitment(signers: Sequence[Commitment], factors: dict[int, Scalar]) -> Point:
    """compute_group_commitment of RFC 9591 section 4.5."""
    result = total(plus(c.hiding, times(factors[c.identifier], c.binding)) for c in signers)
    if result == IDENTITY:
        raise RefusedError("the commitments cancel each other out")
    return result


def _challenge(
    key: Point, signers: Sequence[Commitment], factors: dict[int, Scalar], message: bytes
) -> Scalar:
    """compute_challenge of RFC 9591 section 4.6."""
    return h2(_group_commitment(signers, factors) + key + message)


def _cheats(
    group: Group,
    message: bytes,
    signers: Sequence[Commitment],
    shares: Sequence[SignatureShare],
) -> list[int]:
    """Who fails verify_signature_share of RFC 9591 section 5.4."""
    factors = _binding_factors(group.key, signers, message)
    challenge = _challenge(group.key, signers, factors, message)
    among = [c.identifier for c in signers]
    committed = {
        c.identifier: plus(c.hiding, times(factors[c.identifier], c.binding)) for c in signers
    }
    return sorted(
        s.identifier
        for s in shares
        if times_base(s.response)
        != plus(
            committed[s.identifier],
            times(mul(challenge, lagrange(s.identifier, among)), group.shares[s.identifier]),
        )
    )
