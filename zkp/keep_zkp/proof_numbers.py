"""The numbers of a Camenisch-Lysyanskaya proof, checked before any equation (SEC-P31).

A proof of knowledge means what it says only for numbers of the size that the scheme gives them:

- the responses for the exponent `e` and for hidden attributes lie within the bounds of an honest
  prover, and no response is negative;
- commitments are elements of the issuer's group, written in their only way;
- the challenge was made over exactly the commitments that the equations use;
- every number has its name, and none is without an attribute or predicate that it belongs to.

Source: Camenisch, Lysyanskaya, "A signature scheme with efficient protocols" (2002), and the
AnonCreds specification 1.0, verification of presentations.
"""

from __future__ import annotations

from collections.abc import Iterator

from keep_zkp.issuer import modulus, signed_names
from keep_zkp.json_object import Json
from keep_zkp.presentation import EqualityProof, PredicateProof, Proof, SubProof

E_BITS = 457
"""An honest `e`: 456 random bits plus challenge (256 bits) times offset (119 bits)."""
M_BITS = 594
"""An honest hidden attribute: 593 random bits plus challenge times value (256 bits each)."""
SECRET_NAMES = ("master_secret", "link_secret")
DIGITS = ("0", "1", "2", "3")
ORDER = (*DIGITS, "DELTA")


def check_hidden(sub_proof: SubProof, cred_def: Json) -> Iterator[str]:
    """Yield what is wrong with the numbers of one sub-proof against its public key."""
    equality, comparisons = sub_proof.primary_proof.eq_proof, sub_proof.primary_proof.ge_proofs
    hidden = signed_names(cred_def) - equality.revealed_attrs.keys()
    if equality.m.keys() not in [hidden | {name} for name in SECRET_NAMES]:
        yield "the hidden attributes are not those of the credential definition"
    if int(equality.e).bit_length() > E_BITS:
        yield "the exponent is out of range"
    if any(int(each).bit_length() > M_BITS for each in equality.m.values()):
        yield "a hidden attribute is out of range"
    if any(int(each) < 0 for each in _responses(equality, comparisons)):
        yield "a response is negative"
    bound = modulus(cred_def) - 1
    if not all(1 < each < bound for each in _commitments(sub_proof)):
        yield "a commitment is out of range"
    for each in comparisons:
        yield from _check_comparison(each, equality)


def _check_comparison(comparison: PredicateProof, equality: EqualityProof) -> Iterator[str]:
    if comparison.mj != equality.m.get(comparison.predicate.attr_name):
        yield "a predicate is proved about something else than the signed attribute"
    if comparison.u.keys() != set(DIGITS) or not (
        comparison.r.keys() == comparison.t.keys() == set(ORDER)
    ):
        yield "a predicate's proof is not whole"


def _responses(
    equality: EqualityProof, comparisons: tuple[PredicateProof, ...]
) -> Iterator[str]:
    yield from (equality.e, equality.v, equality.m2, *equality.m.values())
    for each in comparisons:
        yield from (each.mj, each.alpha, *each.u.values(), *each.r.values())


def check_commitments(proof: Proof) -> Iterator[str]:
    """Yield a complaint if the challenge was not made over the commitments that are used."""
    used = [number for each in proof.proofs for number in _commitments(each)]
    if [_bytes(number) for number in used] != [*map(bytes, proof.aggregated_proof.c_list)]:
        yield "the challenge was not made over these commitments"


def check_one_holder(proof: Proof) -> bool:
    """Return whether every credential carries the same link secret (SEC-P26)."""
    return len({_secret(each.primary_proof.eq_proof) for each in proof.proofs}) <= 1


def _secret(equality: EqualityProof) -> str | None:
    return next((equality.m[name] for name in SECRET_NAMES if name in equality.m), None)


def _commitments(sub_proof: SubProof) -> Iterator[int]:
    yield int(sub_proof.primary_proof.eq_proof.a_prime)
    for each in sub_proof.primary_proof.ge_proofs:
        # Exactly the names of ORDER once `check_hidden` has nothing to say.
        yield from (int(each.t[name]) for name in ORDER if name in each.t)


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
