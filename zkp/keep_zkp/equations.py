"""The verification equations of AnonCreds 1.0, for everything but non-revocation.

A proof is right if its challenge c is the hash of the values T that its responses lead to. T is computed here from
public numbers alone, so nothing takes constant time. The names are those of the AnonCreds specification 1.0,
verification of presentations, and of Camenisch and Lysyanskaya, "A signature scheme with efficient protocols" (2002); ranges
and names are checked before, in `proof_numbers`. An issuer's key is (n, S, Z, R, R_ctxt); all products are modulo n.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from gmpy2 import invert, mpz, powmod_base_list

from keep_zkp.powers import Bases, TableCache, power, product
from keep_zkp.proof_numbers import Comparison, SubProofNumbers, as_bytes
from keep_zkp.public_key import PublicKey

E_START = 596
"""An honest exponent e of a signature is 2^596 + e', with e' of at most 119 bits."""
STRICT = {"GE": 0, "LE": 0, "GT": 1, "LT": -1}
"""What makes the bound of a strict predicate that of the other: a > b is a >= b + 1."""


class Equations:
    """The equations together with the tables of the keys that are used most.

    Args:
        table_bytes: what all tables together may take.
    """

    def __init__(self, table_bytes: int) -> None:
        self.tables = TableCache(table_bytes)

    def hold(
        self,
        keys: Sequence[PublicKey],
        numbers: Sequence[SubProofNumbers],
        *,
        challenge: int,
        nonce: int,
    ) -> bool:
        """See `holds`; `keys` and `numbers` have an entry for each credential."""
        bases = (
            self.tables.bases(key, compared=bool(each.comparisons))
            for key, each in zip(keys, numbers, strict=True)
        )
        return holds([*zip(bases, numbers, strict=True)], challenge=challenge, nonce=nonce)


def holds(
    proofs: Sequence[tuple[Bases, SubProofNumbers]], *, challenge: int, nonce: int
) -> bool:
    """Tell whether a presentation proves what it states: c = H(every T, every commitment, nonce).

    H is SHA-256 over numbers written big endian without leading zeros.

    Args:
        proofs: for each credential the bases of its issuer's key and its checked numbers.
        challenge: c, one for all credentials, which binds them to each other.
        nonce: of the request.
    """
    digest = hashlib.sha256()
    try:
        for bases, numbers in proofs:
            for value in _values(bases, numbers, challenge):
                digest.update(as_bytes(int(value)))
    except ZeroDivisionError:  # a number has no inverse in the issuer's group, or c is 0
        return False
    for _, numbers in proofs:
        for commitment in numbers.commitments:
            digest.update(as_bytes(commitment))
    digest.update(as_bytes(nonce))
    return int.from_bytes(digest.digest(), "big") == challenge


def _values(bases: Bases, numbers: SubProofNumbers, c: int) -> Iterator[mpz]:
    yield signature_value(bases, numbers, c)
    for each in numbers.comparisons:
        yield from comparison_values(bases, each, c)


def signature_value(key: Bases, numbers: SubProofNumbers, c: int) -> mpz:
    """Return T of the signature, which signs the revealed and the hidden attributes.

    With A' the randomised signature, m_i a revealed value and m^_j the response for a hidden one:

        T = (prod R_i^m_i / Z)^c * A'^(2^596 c + e^) * S^v^ * R_ctxt^m2^ * prod R_j^m^_j

    It is Z = A'^e S^v R_ctxt^m2 prod R^m, raised to -c and shifted by the prover's masks; e = 2^596 + e'.

    Raises:
        ZeroDivisionError: Z, A' or a revealed R^m has no inverse, which only who knows the factors of n can bring about.
    """
    n = key.n
    shown = mpz(1)
    for name, value in numbers.revealed.items():
        shown = shown * key.r[name](value) % n
    invert(shown * numbers.a_prime, n)
    shown = power(shown, c, n) * invert(key.z(c), n) % n
    t = shown * power(numbers.a_prime, (c << E_START) + numbers.e, n) % n
    t = t * key.s(numbers.v) % n * key.rctxt(numbers.m2) % n
    for name, response in numbers.m.items():
        t = t * key.r[name](response) % n
    return t


def comparison_values(key: Bases, proof: Comparison, c: int) -> Iterator[mpz]:
    """Yield the six T of a predicate: the difference d is u_1^2 + u_2^2 + u_3^2 + u_4^2, so not negative.

    T_1 ... T_4 commit to the roots, T_d to the difference: T_i = Z^u_i S^r_i. For the attribute m, bound b and
    d = m - b (>=, >) or d = b - m (<=, <):

        T_i   * Z^u^_i S^r^_i, T_i raised to -c                     for each root
        Z^(m^ - c b) * (S^r^_d T_d^-c)^s, s = 1, or -1 for <= and <    the difference is that of attribute and bound
        prod T_i^u^_i * S^alpha^ * T_d^-c                              the difference is the sum of the squares
    """
    n = key.n
    raised = powmod_base_list([*proof.t, proof.t_delta], c, n)
    *roots, to_c = (invert(each, n) for each in raised)
    for response, mask, root in zip(proof.u, proof.r, roots, strict=True):
        yield key.z(response) * key.s(mask) % n * root % n
    difference = key.s(proof.r_delta) * to_c % n
    if proof.operator in {"LE", "LT"}:
        difference = invert(difference, n)
    bound = proof.bound + STRICT[proof.operator]
    yield key.z(proof.mj - c * bound) * difference % n
    over, rest = zip(*(divmod(response, c) for response in proof.u), strict=True)
    # T_i^u = T_i^(u mod c) * (T_i^c)^(u div c): T_i^c is there, and the exponents are shorter
    squares = product([*proof.t, *raised[:-1]], [*rest, *over], n)
    yield squares * key.s(proof.alpha) % n * to_c % n
