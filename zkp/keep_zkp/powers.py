"""Powers of the bases of public keys: with tables for keys that are used often, without for others.

A table splits an exponent into eight rows of bits and has the product of the eight bases for every column that
can occur (the comb of Lim and Lee, "More flexible exponentiation with precomputation", 1994), in blocks, so that few
squarings are left. Nothing here is secret, and none of it takes constant time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from gmpy2 import invert, mpz, powmod, powmod_base_list

from keep_zkp.public_key import PublicKey

Power = Callable[[int], mpz]
"""Raises one base to an exponent, in the group of its key; ZeroDivisionError: a negative one, and no inverse."""

ROWS = 8
LONG, SHORT, CONTEXT, RESPONSE = 3064, 2392, 2440, 600
"""Bits of the longest honest exponents: `v` and `alpha`, `r`, `m2`, and the responses `u` and `m`. A longer one is
raised without a table."""
OFTEN = 3
"""How many uses a key needs before it gets tables."""
AROUND = 68
"""Bytes that a number takes beside its digits, in the object, in two heaps and in a list: measured."""
COUNTED, FORGET_AFTER = 4096, 65536
"""How many keys are counted, and after how many uses all counts are halved: what was used long ago gives way."""
_BITS = bytes.maketrans(b"01", b"\0\1")


class Table:
    """Powers of one base for exponents of up to `bits` bits.

    Args:
        blocks: more of them cost memory (256 group elements each) and save squarings.
    """

    def __init__(self, base: int, n: mpz, bits: int, blocks: int) -> None:
        self._n = n
        self._base = mpz(base)
        self._width = -(-bits // (ROWS * blocks))
        self._columns = self._width * blocks
        self._blocks = [[mpz(1)] for _ in range(blocks)]
        step, raised = 1 << self._width, self._base
        for _ in range(ROWS):
            for block in self._blocks:
                block += [each * raised % n for each in block]
                raised = powmod(raised, step, n)

    def __call__(self, exponent: int) -> mpz:
        """See `Power`."""
        if exponent < 0:
            return invert(self(-exponent), self._n)
        n, width, columns = self._n, self._width, self._columns
        if exponent.bit_length() > ROWS * columns:
            return power(self._base, exponent, n)
        digits = format(exponent, f"0{ROWS * columns}b").encode().translate(_BITS)
        found = 0
        for row in range(ROWS):  # the last row of digits has the lowest bits
            start = (ROWS - 1 - row) * columns
            found |= int.from_bytes(digits[start : start + columns], "big") << row
        indexes = found.to_bytes(columns, "little")
        result = mpz(1)
        for place in reversed(range(width)):
            result = result * result % n
            for block, index in zip(self._blocks, indexes[place::width], strict=True):
                result = result * block[index] % n
        return result


def power(base: int | mpz, exponent: int, n: mpz) -> mpz:
    """Return base^exponent mod n; other threads run meanwhile, which gmpy2's `powmod` does not allow.

    Raises:
        ZeroDivisionError: the exponent is negative, and there is no inverse.
    """
    if exponent < 0:  # gmpy2 would end the process if there is no inverse
        return invert(power(base, -exponent, n), n)
    return powmod_base_list([base], exponent, n)[0]


def product(bases: Sequence[int | mpz], exponents: Sequence[int], n: mpz) -> mpz:
    """Return the product of powers of several bases, with one chain of squarings for all (Straus, 1964).

    Args:
        exponents: one for each base, not negative.
    """
    tables: list[list[mpz]] = []
    for base in bases:
        table = [mpz(1), mpz(base)]
        for _ in range(14):
            table.append(table[-1] * base % n)
        tables.append(table)
    digits = max(exponent.bit_length() for exponent in exponents) // 4 + 1
    result = mpz(1)
    for column in zip(*(f"{exponent:0{digits}x}" for exponent in exponents), strict=True):
        for _ in range(4):
            result = result * result % n
        for table, digit in zip(tables, column, strict=True):
            if digit != "0":
                result = result * table[int(digit, 16)] % n
    return result


@dataclass(frozen=True, slots=True)
class Bases:
    """The bases of a public key, each as what raises it to a power.

    Attributes:
        size: memory of the tables, in bytes.
    """

    n: mpz
    s: Power
    z: Power
    rctxt: Power
    r: Mapping[str, Power]
    size: int = 0


def plain_bases(key: PublicKey, *, compared: bool) -> Bases:
    """Return the bases of a key without tables that are kept.

    Args:
        compared: predicates are to be verified: S and Z are raised so often that small tables pay at once.
    """
    n = mpz(key.n)

    def plain(base: int) -> Power:
        return lambda exponent: power(base, exponent, n)

    s = Table(key.s, n, LONG, 1) if compared else plain(key.s)
    z = Table(key.z, n, RESPONSE, 1) if compared else plain(key.z)
    r = {name: plain(base) for name, base in key.r.items()}
    return Bases(n, s, z, plain(key.rctxt), r)


def fast_bases(key: PublicKey) -> Bases:
    """Return the bases of a key with tables."""
    n = mpz(key.n)
    long, short = Table(key.s, n, LONG, 8), Table(key.s, n, SHORT, 8)
    z, rctxt = Table(key.z, n, RESPONSE, 4), Table(key.rctxt, n, CONTEXT, 8)
    r = {name: Table(base, n, RESPONSE, 2) for name, base in key.r.items()}

    def s(exponent: int) -> mpz:
        return (long if exponent.bit_length() > SHORT else short)(exponent)

    return Bases(n, s, z, rctxt, r, table_bytes(key))


def table_bytes(key: PublicKey) -> int:
    """Return the memory of a key's tables: 2.4 MB and 0.17 MB for each attribute, of a key of 2048 bits.

    It is counted, not asked of gmpy2: that gives a number the place of an older one, which may be larger.
    """
    blocks = 8 + 8 + 4 + 8 + 2 * len(key.r)
    limbs = key.n.bit_length() // 64 + 1
    return blocks * (1 << ROWS) * (8 * limbs + AROUND)


class TableCache:
    """The tables of the keys that are used most, bounded in bytes; for every tenant, since keys are public.

    Args:
        most_bytes: what all tables together may take.
    """

    def __init__(self, most_bytes: int = 128 << 20) -> None:
        self._most_bytes = most_bytes
        self._ready: dict[bytes, Bases] = {}
        self._making: set[bytes] = set()
        self._uses: Counter[bytes] = Counter()
        self._since = 0
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Memory of all tables, in bytes."""
        return sum(each.size for each in [*self._ready.values()])

    def bases(self, key: PublicKey, *, compared: bool) -> Bases:
        """Return the bases of a key (see `plain_bases`), and count the use."""
        with self._lock:
            self._uses[key.digest] += 1
            self._since += 1
            if self._since >= FORGET_AFTER or len(self._uses) > COUNTED:
                self._since = 0
                self._uses = Counter({each: n // 2 for each, n in self._uses.items() if n > 1})
            ready = self._ready.get(key.digest)
        return ready or plain_bases(key, compared=compared)

    def wants(self, key: PublicKey) -> bool:
        """Whether a key is used so often that it is worth `add`."""
        with self._lock:
            return self._giving_way(key) is not None

    def add(self, key: PublicKey) -> None:
        """Make the tables of a key in the place of keys that are used less than half as often.

        It takes 30 to 100 ms with 2048 bits and a few attributes, seconds with twice the bits and 125 attributes.
        """
        with self._lock:
            if self._giving_way(key) is None:
                return
            self._making.add(key.digest)
        try:
            made = fast_bases(key)
        finally:
            self._making.discard(key.digest)
        with self._lock:
            for digest in self._giving_way(key) or ():
                del self._ready[digest]
            if self.size + made.size <= self._most_bytes:
                self._ready[key.digest] = made

    def _giving_way(self, key: PublicKey) -> list[bytes] | None:
        """Return whose tables make room for those of a key; None: it gets none now."""
        uses, digest = self._uses[key.digest], key.digest
        if uses < OFTEN or digest in self._ready or digest in self._making:
            return None
        over, gone = self.size + table_bytes(key) - self._most_bytes, list[bytes]()
        for each in sorted(self._ready, key=self._uses.__getitem__):
            if over <= 0 or 2 * self._uses[each] >= uses:
                break
            over -= self._ready[each].size
            gone.append(each)
        return gone if over <= 0 else None
