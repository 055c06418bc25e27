"""The group and the hashes of FROST(Ed25519, SHA-512): RFC 9591 sections 3, 4 and 6.1.

All arithmetic is libsodium's, through PyNaCl: scalars and points are its 32-byte strings, never Python
integers, and operations on secrets run in constant time. Python cannot wipe memory: `bytes` are immutable
and copied freely, so secrets stay in memory until the process ends. Run signers as short-lived processes.
Two branches depend on secrets: whether a scalar is zero, and whether one from a file is canonical. All honest
values take the same branch.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from typing import NewType

from nacl import bindings as sodium

Scalar = NewType("Scalar", bytes)
"""32 bytes, little endian, less than the group order."""
Point = NewType("Point", bytes)
"""32 bytes, canonical, in the prime-order subgroup; `IDENTITY` only inside calculations."""

CONTEXT = b"FROST-ED25519-SHA512-v1"
SIZE = 32
ZERO = Scalar(bytes(SIZE))
ONE = Scalar((1).to_bytes(SIZE, "little"))
IDENTITY = Point((1).to_bytes(SIZE, "little"))
GENERATOR = Point(sodium.crypto_scalarmult_ed25519_base_noclamp(ONE))


def sha512(*parts: bytes) -> bytes:
    """SHA-512 of the parts joined."""
    return hashlib.sha512(b"".join(parts)).digest()


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the parts joined; the caller must make sure that the boundaries of the parts are unambiguous."""
    return hashlib.sha256(b"".join(parts)).digest()


def reduced(wide: bytes) -> Scalar:
    """64 bytes, little endian, modulo the group order."""
    return Scalar(sodium.crypto_core_ed25519_scalar_reduce(wide))


def h1(message: bytes) -> Scalar:
    """H1 of RFC 9591 section 6.1: binding factors."""
    return reduced(sha512(CONTEXT, b"rho", message))


def h2(message: bytes) -> Scalar:
    """H2: the challenge of an Ed25519 signature, hence without domain separation (RFC 8032)."""
    return reduced(sha512(message))


def h3(message: bytes) -> Scalar:
    """H3: nonces."""
    return reduced(sha512(CONTEXT, b"nonce", message))


def h4(message: bytes) -> bytes:
    """H4: the message, 64 bytes."""
    return sha512(CONTEXT, b"msg", message)


def h5(message: bytes) -> bytes:
    """H5: the commitment list, 64 bytes."""
    return sha512(CONTEXT, b"com", message)


def hdkg(message: bytes) -> Scalar:
    """HDKG: proofs of possession; a separate domain, which other implementations use, too."""
    return reduced(sha512(CONTEXT, b"dkg", message))


def checked_scalar(raw: bytes) -> Scalar:
    """DeserializeScalar of RFC 9591 section 3.1.

    Raises:
        ValueError: not 32 bytes, or not less than the group order.
    """
    if len(raw) != SIZE or not hmac.compare_digest(reduced(raw + bytes(SIZE)), raw):
        raise ValueError("is not a canonical scalar")
    return Scalar(raw)


def checked_secret(raw: bytes) -> Scalar:
    """A canonical scalar that is not zero.

    Raises:
        ValueError: it is not.
    """
    if hmac.compare_digest(raw, ZERO):
        raise ValueError("is zero, which cannot be a secret")
    return checked_scalar(raw)


def checked_point(raw: bytes) -> Point:
    """DeserializeElement of RFC 9591 section 3.1 for Ed25519 (section 6.1).

    Raises:
        ValueError: not canonical, not on the curve, the identity, of small order, or outside the
            prime-order subgroup.
    """
    if len(raw) != SIZE or not sodium.crypto_core_ed25519_is_valid_point(raw):
        raise ValueError("is not a point of the prime-order group")
    return Point(raw)


def scalar(number: int) -> Scalar:
    """A small non-negative public number as a scalar."""
    return Scalar(number.to_bytes(SIZE, "little"))


def random_scalar() -> Scalar:
    """A uniformly random scalar: 64 bytes of randomness, reduced (RFC 9591 appendix D)."""
    return reduced(secrets.token_bytes(2 * SIZE))


def add(a: Scalar, b: Scalar) -> Scalar:
    """Add modulo the group order."""
    return Scalar(sodium.crypto_core_ed25519_scalar_add(a, b))


def sub(a: Scalar, b: Scalar) -> Scalar:
    """Subtract modulo the group order."""
    return Scalar(sodium.crypto_core_ed25519_scalar_sub(a, b))


def mul(a: Scalar, b: Scalar) -> Scalar:
    """Multiply modulo the group order."""
    return Scalar(sodium.crypto_core_ed25519_scalar_mul(a, b))


def times_base(k: Scalar) -> Point:
    """ScalarBaseMult; zero gives the identity, which libsodium refuses to return."""
    return IDENTITY if k == ZERO else Point(sodium.crypto_scalarmult_ed25519_base_noclamp(k))


def times(k: Scalar, point: Point) -> Point:
    """ScalarMult of a checked point or the identity."""
    if k == ZERO or point == IDENTITY:
        return IDENTITY
    return Point(sodium.crypto_scalarmult_ed25519_noclamp(k, point))


def plus(a: Point, b: Point) -> Point:
    """Add two points."""
    return Point(sodium.crypto_core_ed25519_add(a, b))


def total(points: Iterable[Point]) -> Point:
    """The sum of points; of none, the identity."""
    result = IDENTITY
    for point in points:
        result = plus(result, point)
    return result


def evaluate(coefficients: Sequence[Scalar], x: int) -> Scalar:
    """polynomial_evaluate of RFC 9591 appendix C.1.1; the constant term comes first."""
    result = ZERO
    for coefficient in reversed(coefficients):
        result = add(mul(result, scalar(x)), coefficient)
    return result


def evaluate_committed(commitments: Sequence[Point], x: int) -> Point:
    """The commitment to the polynomial's value at `x`, from commitments to its coefficients."""
    result = IDENTITY
    for commitment in reversed(commitments):
        result = plus(times(scalar(x), result), commitment)
    return result


def lagrange(identifier: int, among: Sequence[int], at: int = 0) -> Scalar:
    """derive_interpolating_value of RFC 9591 section 4.2, at any point `at` outside `among`.

    The caller has checked that identifiers are distinct and that this one is among them.
    """
    above, below = ONE, ONE
    for other in among:
        if other != identifier:
            above = mul(above, sub(scalar(other), scalar(at)))
            below = mul(below, sub(scalar(other), scalar(identifier)))
    return mul(above, Scalar(sodium.crypto_core_ed25519_scalar_invert(below)))


def interpolate(points: dict[int, Point], at: int = 0) -> Point:
    """The value at `at` of the polynomial through these points, in the exponent."""
    among = list(points)
    return total(times(lagrange(i, among, at), point) for i, point in points.items())


def prove(secret: Scalar, identifier: int, context: bytes) -> tuple[Point, Scalar]:
    """Prove knowledge of a secret without revealing it: a Schnorr proof.

    Args:
        secret: not zero.
        identifier: whose secret it is; part of the proof.
        context: what the proof is for, so that it cannot be used elsewhere; of fixed length.

    Source: Komlo and Goldberg, FROST, figure 1; the nonce is drawn as in RFC 9591 section 4.1.
    """
    nonce = h3(secrets.token_bytes(SIZE) + secret)
    witness = times_base(nonce)
    challenge = _challenge(identifier, context, times_base(secret), witness)
    return witness, add(nonce, mul(secret, challenge))


def proven(key: Point, identifier: int, context: bytes, witness: Point, answer: Scalar) -> bool:
    """Verify a proof made by `prove` with the secret of `key`."""
    challenge = _challenge(identifier, context, key, witness)
    return times_base(answer) == plus(witness, times(challenge, key))


def _challenge(identifier: int, context: bytes, key: Point, witness: Point) -> Scalar:
    return hdkg(scalar(identifier) + context + key + witness)
