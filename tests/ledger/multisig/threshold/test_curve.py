"""What libsodium does for us, and where we help it."""

from __future__ import annotations

import pytest

from keep_ledger.multisig.threshold.curve import (
    GENERATOR,
    IDENTITY,
    ONE,
    ZERO,
    Point,
    add,
    checked_point,
    checked_scalar,
    checked_secret,
    evaluate,
    evaluate_committed,
    interpolate,
    lagrange,
    plus,
    random_scalar,
    scalar,
    sub,
    times,
    times_base,
    total,
)

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
OF_ORDER_2 = Point((P - 1).to_bytes(32, "little"))


@pytest.mark.parametrize(
    "raw",
    [
        IDENTITY,
        OF_ORDER_2,
        bytes(32),
        bytes(31) + b"\x80",
        plus(GENERATOR, OF_ORDER_2),
        (2).to_bytes(32, "little"),
        *((P + k).to_bytes(32, "little") for k in range(19)),
        b"",
        GENERATOR + b"\0",
    ],
)
def test_only_canonical_points_of_the_prime_order_group_pass(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a point of the prime-order group"):
        checked_point(raw)


@pytest.mark.parametrize("number", [0, 1, ORDER - 1])
def test_scalars_below_the_order_pass(number: int) -> None:
    assert checked_scalar(number.to_bytes(32, "little"))


@pytest.mark.parametrize("number", [ORDER, ORDER + 1, 2**253, 2**256 - 1])
def test_scalars_from_the_order_on_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="not a canonical scalar"):
        checked_scalar(number.to_bytes(32, "little"))


def test_zero_is_no_secret() -> None:
    with pytest.raises(ValueError, match="zero"):
        checked_secret(ZERO)


def test_zero_and_the_identity_have_their_place_in_sums() -> None:
    k = random_scalar()
    assert times_base(ZERO) == times(ZERO, GENERATOR) == times(k, IDENTITY) == IDENTITY
    assert total([]) == IDENTITY
    assert plus(times_base(k), IDENTITY) == times_base(k)
    assert plus(times_base(k), times_base(sub(ZERO, k))) == IDENTITY


def test_a_polynomial_and_its_commitments_agree_everywhere() -> None:
    coefficients = [random_scalar() for _ in range(4)]
    commitments = [times_base(c) for c in coefficients]
    for x in (0, 1, 7, 64):
        assert times_base(evaluate(coefficients, x)) == evaluate_committed(commitments, x)
    points = {x: evaluate_committed(commitments, x) for x in (2, 3, 5, 9)}
    assert interpolate(points) == commitments[0]
    assert interpolate(points, 11) == evaluate_committed(commitments, 11)


def test_lagrange_weights_sum_to_one() -> None:
    among = [1, 4, 9]
    result = ZERO
    for i in among:
        result = add(result, lagrange(i, among))
    assert result == ONE
    assert scalar(1) == ONE
