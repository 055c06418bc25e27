"""Make `vectors/safe_primes.json`: `python tests/zkp/make_primes.py` (half an hour of CPU at most).

TEST KEYS: everybody knows these primes. Two for a modulus of each size; those for 2048 bits are the licence
office's in `keys.json`, whose modulus the library made.
"""

from __future__ import annotations

import json
import secrets

from gmpy2 import is_prime
from zkp.kit import cred_def
from zkp.made_keys import PRIMES

SIEVED = 2_000_000
"""No candidate has a factor below it."""
WINDOW = 1 << 20


def small_primes() -> list[int]:
    """Return the odd primes to sieve with."""
    prime = bytearray([1]) * SIEVED
    for number in range(3, int(SIEVED**0.5) + 1, 2):
        if prime[number]:
            prime[number * number :: number] = bytes(
                len(range(number * number, SIEVED, number))
            )
    return [number for number in range(3, SIEVED, 2) if prime[number]]


def safe_prime(bits: int, sieve: list[int]) -> int:
    """Find p = 2q + 1, p and q prime, of so many bits, the two highest set."""
    while True:
        start = secrets.randbits(bits - 3) | 3 << (bits - 3) | 1
        possible = bytearray([1]) * WINDOW  # the candidates q are start + 2i
        for prime in sieve:
            half = (prime + 1) // 2
            for first in (-start * half % prime, -(2 * start + 1) * half * half % prime):
                possible[first::prime] = bytes(len(range(first, WINDOW, prime)))
        for index in range(WINDOW):
            q = start + 2 * index
            if possible[index] and is_prime(q, 1) and is_prime(2 * q + 1) and is_prime(q):
                return 2 * q + 1


def main() -> None:
    """Write the file."""
    sieve = small_primes()
    found = {
        str(bits): [str(safe_prime(bits // 2, sieve)) for _ in range(2)]
        for bits in (1024, 3072, 4096)
    }
    factors = cred_def("licence")["TEST_ONLY_private"]["value"]["p_key"]
    found["2048"] = [str(2 * int(factors[name]) + 1) for name in ("p", "q")]
    content = {"TEST_ONLY": {bits: found[bits] for bits in sorted(found, key=int)}}
    PRIMES.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
