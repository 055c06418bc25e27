"""A prover of our own, for proofs that no honest wallet makes: it knows the issuer's secrets and has odd wishes.

It signs what it then proves, from the factors of the issuer's modulus, in any numbers: zero, as long as it likes,
without an inverse. The same chance gives the same proof. The names are those of `keep_zkp.equations`.

Source: AnonCreds specification 1.0, generation of presentations.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd, isqrt

from gmpy2 import powmod
from zkp.made_keys import MadeKey

from keep_zkp.encode import common_name, encode
from keep_zkp.equations import E_START, STRICT
from keep_zkp.json_object import Json
from keep_zkp.proof_numbers import as_bytes
from keep_zkp.public_key import SECRET_NAME, PublicKey, read_public_key

SQUARES = ("0", "1", "2", "3")
OPERATORS = {">=": "GE", ">": "GT", "<=": "LE", "<": "LT"}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is odd about a proof; without any it is as a wallet makes it.

    Attributes:
        v, m2, e: secrets of the signature (e without its 2^596); None: drawn.
        masks: masks instead of drawn ones, by the name of the response: v, m2, e, u, r, alpha, m.
        a_prime_of_p: A' is a multiple of the issuer's prime p.
        minus: commitments have the other sign.
        odd_challenge: with `minus`, for a challenge that is odd, which makes the proof false.
    """

    v: int | None = None
    m2: int | None = None
    e: int | None = None
    masks: Mapping[str, int] = field(default_factory=dict[str, int])
    a_prime_of_p: bool = False
    minus: bool = False
    odd_challenge: bool = False


@dataclass(frozen=True, slots=True)
class Compare:
    """A predicate to prove: attribute (common name), operator as in a proof, bound."""

    attribute: str
    operator: str
    bound: int


def four_squares(number: int) -> tuple[int, int, int, int]:
    """Write a number below 2^33 as a sum of four squares."""
    for a in range(isqrt(number), -1, -1):
        left = number - a * a
        for b in range(isqrt(left), max(-1, isqrt(left) - 40), -1):
            rest = left - b * b
            for c in range(isqrt(rest), -1, -1):
                d = isqrt(rest - c * c)
                if c * c + d * d == rest:
                    return a, b, c, d
                if 2 * c * c < rest:
                    break
    raise AssertionError("Lagrange was wrong")


def prove(
    chance: random.Random,
    key: MadeKey,
    values: Mapping[str, str],
    *,
    revealed: Sequence[str],
    compared: Sequence[Compare],
    nonce: int,
    wishes: Wishes,
) -> Json:
    """Return the `proof` of a presentation about one credential, which is signed for it.

    Args:
        chance: decides everything that is drawn.
        key: of the issuer; its definition may have been spoiled after it was made.
        values: raw values by name.
        revealed: names (common) to show.
        compared: what to prove; it may be false, and then the proof is.
        nonce: of the request.
        wishes: what is to be odd.
    """
    signed = {common_name(name): int(encode(raw)) for name, raw in values.items()}
    signed[SECRET_NAME] = chance.getrandbits(256)
    work = _Work(chance, key, read_public_key(key.cred_def), signed, revealed, wishes)
    while True:
        proof = work.once(compared, nonce)
        odd = int(proof["aggregated_proof"]["c_hash"]) % 2 == 1
        if not wishes.minus or odd == wishes.odd_challenge:
            return proof


def _power(base: int, exponent: int, n: int) -> int:
    """Return a power; a negative one of a base without an inverse is nothing that proves anything."""
    return int(powmod(base, exponent if gcd(base, n) == 1 else abs(exponent), n))


def _challenge(numbers: Sequence[int]) -> int:
    digest = hashlib.sha256()
    for each in numbers:
        digest.update(as_bytes(each))
    return int.from_bytes(digest.digest(), "big")


@dataclass(frozen=True, slots=True)
class _Work:
    chance: random.Random
    key: MadeKey
    public: PublicKey
    signed: Mapping[str, int]
    revealed: Sequence[str]
    wishes: Wishes

    def once(self, compared: Sequence[Compare], nonce: int) -> Json:
        """Prove once, with new masks."""
        w, n, pub = self.wishes, self.public.n, self.public
        v = self.chance.getrandbits(2724) if w.v is None else w.v
        m2 = self.chance.getrandbits(256) if w.m2 is None else w.m2
        e = self.chance.getrandbits(119) | 1 if w.e is None else w.e
        while gcd((1 << E_START) + e, (self.key.p - 1) * (self.key.q - 1)) != 1:
            e += 1
        to_sign = _power(pub.s, v, n) * _power(pub.rctxt, m2, n) % n
        for name, value in self.signed.items():
            to_sign = to_sign * _power(pub.r[name], value, n) % n
        a_prime = self._sign(to_sign, (1 << E_START) + e)
        hidden = {name: x for name, x in self.signed.items() if name not in self.revealed}
        masks = {name: self._mask("m", 593) for name in hidden}
        e_mask, v_mask = self._mask("e", 456), self._mask("v", 3060)
        m2_mask = self._mask("m2", 2432)
        t = _power(a_prime, e_mask, n) * _power(pub.s, v_mask, n) % n
        t = t * _power(pub.rctxt, m2_mask, n) % n
        for name, mask in masks.items():
            t = t * _power(pub.r[name], mask, n) % n
        differences = [self._difference(each, masks[each.attribute]) for each in compared]
        commitments = [a_prime, *(x for each in differences for x in each.t)]
        values = [t, *(x for each in differences for x in each.values)]
        c = _challenge([*values, *commitments, nonce])
        m = {name: str(masks[name] + c * x) for name, x in sorted(hidden.items())}
        equality = {
            "revealed_attrs": {name: str(self.signed[name]) for name in sorted(self.revealed)},
            "a_prime": str(a_prime),
            "e": str(e_mask + c * e),
            "v": str(v_mask + c * v),
            "m": m,
            "m2": str(m2_mask + c * m2),
        }
        ge_proofs = [each.answer(c, m) for each in differences]
        return {
            "proofs": [
                {
                    "primary_proof": {"eq_proof": equality, "ge_proofs": ge_proofs},
                    "non_revoc_proof": None,
                }
            ],
            "aggregated_proof": {
                "c_hash": str(c),
                "c_list": [[*as_bytes(int(each))] for each in commitments],
            },
        }

    def _mask(self, name: str, bits: int) -> int:
        return self.wishes.masks.get(name, self.chance.getrandbits(bits))

    def _sign(self, to_sign: int, e: int) -> int:
        """Return A, the e-th root of Z / to_sign, modulo each prime that it has one for."""
        parts: list[int] = []
        for prime in (self.key.p, self.key.q):
            if to_sign % prime and self.public.z % prime:
                wanted = self.public.z * pow(to_sign, -1, prime) % prime
                parts.append(_power(wanted, pow(e, -1, prime - 1), prime))
            else:
                parts.append(1)
        if self.wishes.a_prime_of_p:
            parts[0] = 0
        return self._signed_sign(self._joined(parts[0], parts[1]))

    def _joined(self, at_p: int, at_q: int) -> int:
        p, q = self.key.p, self.key.q
        return (at_p * q * pow(q, -1, p) + at_q * p * pow(p, -1, q)) % (p * q)

    def _signed_sign(self, number: int) -> int:
        return self.public.n - number if self.wishes.minus else number

    def _commit(self, root: int, mask: int) -> int:
        """Return Z^root S^mask; where that has no inverse, something that has one."""
        n, p = self.public.n, self.key.p
        made = _power(self.public.z, root, n) * _power(self.public.s, mask, n) % n
        made = made if made % p else self._joined(1, made % self.key.q)
        return self._signed_sign(made)

    def _difference(self, wanted: Compare, mask: int) -> _Difference:
        n, pub = self.public.n, self.public
        less = wanted.operator in {"LE", "LT"}
        bound = wanted.bound + STRICT[wanted.operator]
        d = (
            (bound - self.signed[wanted.attribute])
            if less
            else self.signed[wanted.attribute] - bound
        )
        roots = four_squares(max(d, 0))
        r = [self.chance.getrandbits(2128) for _ in range(5)]
        t = [self._commit(x, y) for x, y in zip((*roots, d), r, strict=True)]
        u_masks = [self._mask("u", 592) for _ in roots]
        r_masks = [self._mask("r", 2384) for _ in r]
        alpha_mask = self._mask("alpha", 2787)
        values = [
            _power(pub.z, x, n) * _power(pub.s, y, n) % n
            for x, y in zip(u_masks, r_masks[:4], strict=True)
        ]
        powered = _power(pub.s, r_masks[4], n)
        powered = pow(powered, -1, n) if less and gcd(powered, n) == 1 else powered
        values.append(_power(pub.z, mask, n) * powered % n)
        last = _power(pub.s, alpha_mask, n)
        for commitment, x in zip(t[:4], u_masks, strict=True):
            last = last * _power(commitment, x, n) % n
        alpha = r[4] - sum(x * y for x, y in zip(roots, r, strict=False))
        return _Difference(
            wanted, t, [*values, last], [*zip(u_masks, roots, strict=True)],
            [*zip(r_masks, r, strict=True)], (alpha_mask, alpha),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Difference:
    """A predicate's commitments, its values T, and for each response its mask and secret."""

    wanted: Compare
    t: Sequence[int]
    values: Sequence[int]
    u: Sequence[tuple[int, int]]
    r: Sequence[tuple[int, int]]
    alpha: tuple[int, int]

    def answer(self, c: int, m: Mapping[str, str]) -> Json:
        """Return the responses, as JSON has them."""

        def responses(pairs: Sequence[tuple[int, int]]) -> Iterator[str]:
            yield from (str(mask + c * secret) for mask, secret in pairs)

        with_delta = (*SQUARES, "DELTA")
        return {
            "u": dict(zip(SQUARES, responses(self.u), strict=True)),
            "r": dict(zip(with_delta, responses(self.r), strict=True)),
            "mj": m[self.wanted.attribute],
            "alpha": next(responses([self.alpha])),
            "t": dict(zip(with_delta, map(str, self.t), strict=True)),
            "predicate": {
                "attr_name": self.wanted.attribute,
                "p_type": self.wanted.operator,
                "value": self.wanted.bound,
            },
        }
