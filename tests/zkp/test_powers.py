"""Powers with and without tables are those of Python, and the tables stay within their memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from threading import Barrier, Thread

import pytest
from gmpy2 import mpz
from hypothesis import example, given
from hypothesis import strategies as st
from zkp.kit import VECTORS
from zkp.made_keys import make_key

from keep_zkp import powers
from keep_zkp.powers import (
    CONTEXT,
    LONG,
    OFTEN,
    RESPONSE,
    SHORT,
    Bases,
    Table,
    TableCache,
    fast_bases,
    plain_bases,
    power,
    product,
    table_bytes,
)
from keep_zkp.public_key import PublicKey, read_public_key

N = 1_000_003 * 1_000_033
KEY = read_public_key(make_key(1024, ["number", "name"]).cred_def)
PLAIN = plain_bases(KEY, compared=False)
EDGES = [
    x + y for x in (0, 1 << RESPONSE, 1 << SHORT, 1 << CONTEXT, 1 << LONG) for y in (-1, 0, 1)
]


def another(number: int, key: PublicKey = KEY) -> PublicKey:
    """Return a key that counts as another one."""
    return replace(key, digest=number.to_bytes(32, "big"))


@given(
    base=st.integers(2, N - 2).filter(lambda x: x % 1_000_003 and x % 1_000_033),
    bits=st.integers(1, 300),
    blocks=st.integers(1, 9),
    exponent=st.integers(-(2**310), 2**310),
)
@example(base=2, bits=1, blocks=1, exponent=0)
@example(base=2, bits=64, blocks=8, exponent=2**64 - 1)
@example(base=2, bits=64, blocks=8, exponent=2**64)
@example(base=2, bits=65, blocks=8, exponent=-(2**64))
def test_a_table_gives_the_powers_of_its_base(
    base: int, bits: int, blocks: int, exponent: int
) -> None:
    """Of any width, also of exponents that are longer than it was made for."""
    assert int(Table(base, mpz(N), bits, blocks)(exponent)) == pow(base, exponent, N)


@pytest.mark.parametrize("bits", [1, 7, 8, 9, 64, 65])
def test_a_table_is_right_around_its_length(bits: int) -> None:
    table = Table(3, mpz(N), bits, 2)
    for exponent in range(-(1 << 9), 1 << 9):
        assert int(table(exponent)) == pow(3, exponent, N)
    for exponent in (1 << 79, (1 << 80) - 1, 1 << 80, (1 << 80) + 1):
        assert int(table(exponent)) == pow(3, exponent, N)


@pytest.mark.parametrize("exponent", [0, 1, 2**70 + 5, -1, -(2**70)])
def test_a_power_is_that_of_python(exponent: int) -> None:
    assert int(power(7, exponent, mpz(N))) == pow(7, exponent, N)


def test_a_base_without_an_inverse_ends_no_process() -> None:
    assert int(power(1_000_003, 5, mpz(N))) == pow(1_000_003, 5, N)
    with pytest.raises(ZeroDivisionError):
        power(1_000_003, -5, mpz(N))


def test_a_negative_power_needs_an_inverse() -> None:
    table = Table(1_000_003, mpz(N), 64, 1)
    assert int(table(5)) == pow(1_000_003, 5, N)
    with pytest.raises(ZeroDivisionError):
        table(-5)


@given(
    pairs=st.lists(
        st.tuples(st.integers(1, N - 1), st.integers(0, 2**200) | st.integers(0, 3)),
        min_size=1,
        max_size=5,
    )
)
@example(pairs=[(5, 0)])
@example(pairs=[(5, 0), (7, 16)])
@example(pairs=[(5, 15), (5, 15), (5, 255)])
def test_a_product_of_powers_is_that_of_each(pairs: list[tuple[int, int]]) -> None:
    expected = 1
    for base, exponent in pairs:
        expected = expected * pow(base, exponent, N) % N
    bases, exponents = zip(*pairs, strict=True)
    assert int(product(bases, exponents, mpz(N))) == expected


def test_every_base_of_a_key_is_raised_the_same_with_and_without_tables() -> None:
    """At the lengths where another table, or none, is used."""
    variants = (
        plain_bases(KEY, compared=False),
        plain_bases(KEY, compared=True),
        fast_bases(KEY),
    )
    for exponent in EDGES:
        for found in variants:
            raised = {"s": found.s, "z": found.z, "rctxt": found.rctxt, **found.r}
            numbers = {"s": KEY.s, "z": KEY.z, "rctxt": KEY.rctxt, **KEY.r}
            for name, raise_it in raised.items():
                assert int(raise_it(exponent)) == pow(numbers[name], exponent, KEY.n), name


def test_powers_are_those_of_the_vectors() -> None:
    for each in json.loads((VECTORS / "powers.json").read_text("utf-8")):
        base, exponent, n = int(each["base"]), int(each["exponent"]), mpz(int(each["modulus"]))
        result = int(each["result"])
        for table in (Table(base, n, 600, 1), Table(base, n, 3064, 8)):
            assert int(table(exponent)) == result
        if exponent >= 0:
            assert int(product([base], [exponent], n)) == result


def uses(cache: TableCache, key: PublicKey, times: int) -> Bases:
    """Use a key as verifications do, and give it tables where it wants them."""
    found = cache.bases(key, compared=True)
    for _ in range(times - 1):
        found = cache.bases(key, compared=True)
    if cache.wants(key):
        cache.add(key)
    return found


def test_a_key_gets_tables_when_it_is_used_often() -> None:
    cache = TableCache()
    for _ in range(OFTEN - 1):
        assert uses(cache, KEY, 1).size == 0
        assert cache.size == 0
    assert uses(cache, KEY, 1).size == 0  # they are made after it
    assert cache.size == table_bytes(KEY) == cache.bases(KEY, compared=False).size
    assert not cache.wants(KEY)
    cache.add(KEY)
    assert cache.size == table_bytes(KEY)


def test_tables_that_do_not_fit_are_not_made() -> None:
    cache = TableCache(table_bytes(KEY) - 1)
    uses(cache, KEY, 100)
    assert (cache.wants(KEY), cache.size) == (False, 0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make tables without work: only their size counts."""

    def made(key: PublicKey) -> Bases:
        return replace(PLAIN, size=table_bytes(key))

    def plain(_: PublicKey, *, compared: bool) -> Bases:
        del compared
        return PLAIN

    monkeypatch.setattr(powers, "fast_bases", made)
    monkeypatch.setattr(powers, "plain_bases", plain)


@pytest.mark.usefixtures("quick")
def test_the_tables_of_five_hundred_keys_stay_within_their_memory() -> None:
    most = 10 * table_bytes(KEY) + 1
    cache = TableCache(most)
    for number in range(500):
        uses(cache, another(number), OFTEN + number % 7)
        assert cache.size <= most
    assert cache.size == 10 * table_bytes(KEY)


@pytest.mark.usefixtures("quick")
def test_a_key_gives_way_to_one_that_is_used_more_than_twice_as_often() -> None:
    cache = TableCache(2 * table_bytes(KEY))
    rare, usual, new = another(1), another(2), another(3)
    uses(cache, rare, 4)
    uses(cache, usual, 20)
    uses(cache, new, 8)
    assert cache.bases(new, compared=False).size == 0  # 8 are not more than twice 4
    uses(cache, new, 2)
    assert [cache.bases(each, compared=False).size > 0 for each in (rare, usual, new)] == [
        False, True, True,
    ]  # fmt: skip


@pytest.mark.usefixtures("quick")
def test_what_was_used_long_ago_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(powers, "FORGET_AFTER", 64)
    cache = TableCache(table_bytes(KEY))
    old, new = another(1), another(2)
    uses(cache, old, 60)
    for _ in range(4 * 64):
        uses(cache, new, 1)
    assert cache.bases(new, compared=False).size > 0
    assert cache.bases(old, compared=False).size == 0


@pytest.mark.usefixtures("quick")
def test_only_so_many_keys_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are used once are forgotten, one that is used often is not."""
    monkeypatch.setattr(powers, "COUNTED", 8)
    cache = TableCache()
    cache.bases(KEY, compared=False)
    cache.bases(KEY, compared=False)
    cache.bases(KEY, compared=False)
    cache.bases(KEY, compared=False)
    for number in range(8):
        cache.bases(another(number), compared=False)
    assert not cache.wants(KEY)  # 2 of 4 uses are left
    cache.bases(KEY, compared=False)
    assert cache.wants(KEY)


def test_two_threads_that_add_at_once_make_one_set_of_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[PublicKey] = []
    cache = TableCache()
    uses(cache, another(9), 1)
    for _ in range(OFTEN):
        cache.bases(KEY, compared=False)
    together = Barrier(2)

    def slow(key: PublicKey) -> Bases:
        made.append(key)
        return fast_bases(key)

    def add() -> None:
        together.wait(timeout=30)
        cache.add(KEY)

    monkeypatch.setattr(powers, "fast_bases", slow)
    threads = [Thread(target=add) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert made == [KEY]
    assert cache.size == table_bytes(KEY)


MEASURE = """
from pathlib import Path
from zkp.made_keys import make_key
from keep_zkp.powers import fast_bases, table_bytes
from keep_zkp.public_key import read_public_key

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

key = read_public_key(make_key(1024, ["number", "name"]).cred_def)
kept = [fast_bases(key)]
before = resident()
kept += [fast_bases(key) for _ in range(5)]
print((resident() - before) / 5 / table_bytes(key))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_tables_take_the_memory_that_is_counted() -> None:
    """In a process of its own, where nothing else takes or frees any."""
    found = subprocess.run(
        [sys.executable, "-c", MEASURE],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert 0.9 < float(found.stdout) < 1.1


def test_the_memory_that_is_counted_is_the_same_each_time() -> None:
    """Also where gmpy2 gives a number the place of a longer one, which it says is its size."""
    before = table_bytes(KEY)
    longer = [mpz(1 << 8000) for _ in range(200)]
    del longer
    assert {table_bytes(KEY) for _ in range(50)} == {before}
