from __future__ import annotations

import pytest
from gmpy2 import mpz

from keep_zkp.powers import power, product

N = mpz(3 * 1_000_003 * 1_000_033)


@pytest.mark.parametrize("exponent", [0, 1, 2**70 + 5, -1, -(2**70)])
def test_a_power_is_that_of_python(exponent: int) -> None:
    assert int(power(7, exponent, N)) == pow(7, exponent, int(N))


def test_a_base_without_an_inverse_ends_no_process() -> None:
    assert int(power(3, 5, N)) == 3**5
    with pytest.raises(ZeroDivisionError):
        power(3, -5, N)


def test_a_product_of_powers_is_that_of_python() -> None:
    bases, exponents = [2, 3, 1_000_003, 7], [0, 2**90 + 1, 17, 2**64]
    expected = 1
    for base, exponent in zip(bases, exponents, strict=True):
        expected = expected * pow(base, exponent, int(N)) % int(N)
    assert int(product(bases, exponents, N)) == expected
