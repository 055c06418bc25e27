"""The numbers of a Camenisch-Lysyanskaya proof, checked before any equation (SEC-P31).

A proof of knowledge means what it says only for numbers of the size that the scheme gives them:

- the responses for the exponent `e`, for hidden attributes and for the roots of a difference lie within
  the bounds of an honest prover, the challenge within those of a hash, and no response is negative;
- commitments are elements of the issuer's group, written in their only way;
- the challenge was made over exactly the commitments that the equations use;
- every number has its name, and none is without an attribute or predicate that it belongs to.

Source: Camenisch, Lysyanskaya, "A signature scheme with efficient protocols" (2002), and the
AnonCreds specification 1.0, verification of presentations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from keep_zkp.errors import InvalidError
from keep_zkp.presentation import Challenge, Delta, PredicateProof, Square, SubProof
from keep_zkp.public_key import SECRET_NAME, PublicKey

E_BITS = 457
"""An honest `e`: 456 random bits plus challenge (256 bits) times offset (119 bits)."""
M_BITS = 594
"""An honest hidden attribute: 593 random bits plus challenge times value (256 bits each); a root has fewer."""
HASH_BITS = 256
"""The challenge is a SHA-256."""
SQUARES: tuple[Square, ...] = ("0", "1", "2", "3")
DELTA: Delta = "DELTA"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The numbers about one predicate: that the difference, attribute minus bound, is a sum of four squares.

    Attributes:
        attribute: its common name.
        u: responses for the four roots.
        r: responses for the masks of the commitments to the roots.
        r_delta: the same for the commitment to the difference.
        mj: response for the attribute; the one in `SubProofNumbers.m`.
        alpha: response for the mask of the sum.
        t: commitments to the roots.
        t_delta: commitment to the difference.
    """

    attribute: str
    operator: Literal["GE", "LE", "GT", "LT"]
    bound: int
    u: tuple[int, ...]
    r: tuple[int, ...]
    r_delta: int
    mj: int
    alpha: int
    t: tuple[int, ...]
    t_delta: int


@dataclass(frozen=True, slots=True)
class SubProofNumbers:
    """The numbers about one credential.

    Attributes:
        revealed: the signed number of each revealed attribute, by common name.
        a_prime: the signature's A, randomised.
        e: response for the signature's exponent.
        v: response for the signature's v.
        m: response for each hidden attribute and for the link secret.
        m2: response for the credential's context.
    """

    revealed: Mapping[str, int]
    a_prime: int
    e: int
    v: int
    m: Mapping[str, int]
    m2: int
    comparisons: tuple[Comparison, ...]

    @property
    def commitments(self) -> Iterator[int]:
        """What the challenge is made over, in its order."""
        yield self.a_prime
        for each in self.comparisons:
            yield from (*each.t, each.t_delta)


def read_numbers(sub_proof: SubProof) -> SubProofNumbers:
    """Read the numbers about one credential; `check_numbers` checks them.

    Raises:
        InvalidError: a predicate has not four squares and a difference.
    """
    equality = sub_proof.primary_proof.eq_proof
    return SubProofNumbers(
        revealed={name: int(text) for name, text in equality.revealed_attrs.items()},
        a_prime=int(equality.a_prime),
        e=int(equality.e),
        v=int(equality.v),
        m={name: int(text) for name, text in equality.m.items()},
        m2=int(equality.m2),
        comparisons=tuple(map(_comparison, sub_proof.primary_proof.ge_proofs)),
    )


def _comparison(proof: PredicateProof) -> Comparison:
    if not (len(proof.u) == len(SQUARES) and len(proof.r) == len(proof.t) == len(SQUARES) + 1):
        raise InvalidError("a predicate's proof is not whole")
    return Comparison(
        attribute=proof.predicate.attr_name,
        operator=proof.predicate.p_type,
        bound=proof.predicate.value,
        u=tuple(int(proof.u[each]) for each in SQUARES),
        r=tuple(int(proof.r[each]) for each in SQUARES),
        r_delta=int(proof.r[DELTA]),
        mj=int(proof.mj),
        alpha=int(proof.alpha),
        t=tuple(int(proof.t[each]) for each in SQUARES),
        t_delta=int(proof.t[DELTA]),
    )


def check_numbers(numbers: SubProofNumbers, key: PublicKey) -> Iterator[str]:
    """Yield what is wrong with the numbers about one credential against its public key."""
    if set(numbers.m) != key.r.keys() - numbers.revealed.keys() or SECRET_NAME not in numbers.m:
        yield "the hidden attributes are not those of the credential definition"
    if not numbers.revealed.keys() <= key.attributes:
        yield "the revealed attributes are not those of the credential definition"
    yield from _too_long(numbers)
    if any(each < 0 for each in _responses(numbers)):
        yield "a response is negative"
    if not all(1 < each < key.n - 1 for each in numbers.commitments):
        yield "a commitment is out of range"
    if any(each.mj != numbers.m.get(each.attribute) for each in numbers.comparisons):
        yield "a predicate is proved about something else than the signed attribute"


def _too_long(numbers: SubProofNumbers) -> Iterator[str]:
    if numbers.e.bit_length() > E_BITS:
        yield "the exponent is out of range"
    if any(each.bit_length() > M_BITS for each in numbers.m.values()):
        yield "a hidden attribute is out of range"
    if any(root.bit_length() > M_BITS for each in numbers.comparisons for root in each.u):
        yield "a root of a difference is out of range"


def _responses(numbers: SubProofNumbers) -> Iterator[int]:
    yield from (numbers.e, numbers.v, numbers.m2, *numbers.m.values())
    for each in numbers.comparisons:
        yield from (each.mj, each.alpha, *each.u, *each.r, each.r_delta)


def check_commitments(proofs: Sequence[SubProofNumbers], challenge: Challenge) -> Iterator[str]:
    """Yield a complaint if the challenge is no hash, or was not made over the commitments that are used."""
    if int(challenge.c_hash).bit_length() > HASH_BITS:
        yield "the challenge is longer than a hash"
    used = [as_bytes(number) for each in proofs for number in each.commitments]
    if used != [*map(bytes, challenge.c_list)]:
        yield "the challenge was not made over these commitments"


def check_one_holder(proofs: Sequence[SubProofNumbers]) -> bool:
    """Return whether every credential carries the same link secret (SEC-P26)."""
    return len({each.m.get(SECRET_NAME) for each in proofs}) <= 1


def as_bytes(number: int) -> bytes:
    """Write a number as it goes into the challenge: big endian, without leading zeros."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
