"""The tables of powers of many issuers' keys: what they take, in a process of their own."""

from __future__ import annotations

import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import psutil

from keep_zkp.powers import TableCache, fast_bases, table_bytes
from keep_zkp.public_key import SECRET_NAME, PublicKey

BITS = 2050
"""Of the library's moduli."""
USES = (1, 3, 10)
"""How often keys are used: every third that often."""
BASES = (SECRET_NAME, "name", "birthdate", "category", "number")


@dataclass(frozen=True, slots=True)
class Memory:
    """What the tables of many keys take, in bytes.

    Attributes:
        size: as the cache counts it, at most, at any time.
        rss: what the process has more than before.
        ready: how many keys have tables at the end.
    """

    size: int
    rss: int
    ready: int


def synthetic_keys(count: int) -> list[PublicKey]:
    """Return keys that nobody signs with: every number is drawn, always the same ones."""
    drawn = random.Random(11)

    def key(number: int) -> PublicKey:
        n = drawn.getrandbits(BITS) | 1 << (BITS - 1) | 1
        s, z, rctxt = (drawn.randrange(2, n - 1) for _ in range(3))
        r = {name: drawn.randrange(2, n - 1) for name in BASES}
        return PublicKey(n, s, z, rctxt, r, number.to_bytes(32, "big"))

    return [key(number) for number in range(count)]


def fill(count: int, most_bytes: int) -> Memory:
    """Use so many keys in turns, as verifications do, and tell what their tables take."""
    keys = synthetic_keys(count)
    process, cache, most = psutil.Process(), TableCache(most_bytes), 0
    before = process.memory_info().rss
    for turn in range(max(USES)):
        for number, key in enumerate(keys):
            if turn < USES[number % len(USES)]:
                cache.bases(key, compared=False)
                if cache.wants(key):
                    cache.add(key)
                    most = max(most, cache.size)
    rss = process.memory_info().rss - before
    return Memory(most, rss, cache.size // table_bytes(keys[0]))


def fill_apart(count: int, most_bytes: int) -> Memory:
    """`fill` in a new process, whose memory nothing else uses."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(fill, count, most_bytes).result()


def tables(count: int, most_bytes: int) -> dict[str, float]:
    """Return what the tables of one key cost, and what those of so many take."""
    (key,) = synthetic_keys(1)
    began = time.thread_time()
    made = fast_bases(key)
    made_ms = 1000 * (time.thread_time() - began)
    many = fill_apart(count, most_bytes)
    return {
        "table_make_ms": made_ms,
        "table_mb": made.size / 1e6,
        "tables_500_mb": many.size / (1 << 20),
        "tables_500_rss_mb": many.rss / (1 << 20),
    }
