"""Our equations against the same ones written down plainly, and against proofs that no wallet makes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from gmpy2 import mpz
from zkp.kit import Case, Desk, cred_def, proved
from zkp.made_keys import MadeKey, make_key
from zkp.prover import Compare, Wishes, prove

from keep_zkp.equations import Equations, comparison_values, holds, signature_value
from keep_zkp.json_object import Json
from keep_zkp.powers import Bases, fast_bases, plain_bases
from keep_zkp.presentation import SubProof, read_presentation
from keep_zkp.proof_numbers import Comparison, SubProofNumbers, read_numbers
from keep_zkp.public_key import PublicKey, read_public_key

C = 2**255 + 12345
VARIANTS: dict[str, Callable[[PublicKey], Bases]] = {
    "without tables": lambda key: plain_bases(key, compared=False),
    "small tables": lambda key: plain_bases(key, compared=True),
    "kept tables": fast_bases,
}
OPERATORS = [("GE", 0), ("GT", 1), ("LE", 0), ("LT", -1)]
SMALL = make_key(1024, ["number", "name"])
VALUES = {"number": "19990512", "name": "Alice"}


@pytest.fixture(params=list(VARIANTS))
def bases(request: pytest.FixtureRequest) -> Callable[[PublicKey], Bases]:
    """Each way to raise a key's bases."""
    return VARIANTS[request.param]


def numbers_of(case: Case) -> tuple[SubProofNumbers, ...]:
    """Return the numbers of a presentation."""
    shown = read_presentation(case.presentation, case.request)
    return tuple(map(read_numbers, shown.proof.proofs))


def office() -> PublicKey:
    """Return the key of the licence office."""
    return read_public_key(cred_def("licence")["public"])


def plain_signature_value(key: PublicKey, numbers: SubProofNumbers, c: int) -> mpz:
    """Return T of the signature as the specification says it: (Z / (A'^(2^596) prod R^m))^-c times the rest."""
    n, known = key.n, pow(numbers.a_prime, 2**596, key.n)
    for name, value in numbers.revealed.items():
        known = known * pow(key.r[name], value, n)
    t = pow(key.z * pow(known, -1, n), -c, n) * pow(numbers.a_prime, numbers.e, n)
    for name, response in numbers.m.items():
        t = t * pow(key.r[name], response, n) % n
    return mpz(t * pow(key.s, numbers.v, n) * pow(key.rctxt, numbers.m2, n) % n)


def plain_comparison_values(key: PublicKey, each: Comparison, c: int) -> list[mpz]:
    """Return the six T of a predicate as the specification says them."""
    n, less = key.n, each.operator in {"LE", "LT"}
    bound = each.bound + dict(OPERATORS)[each.operator]
    values = [
        pow(t, -c, n) * pow(key.z, u, n) * pow(key.s, r, n) % n
        for t, u, r in zip(each.t, each.u, each.r, strict=True)
    ]
    delta = pow(each.t_delta, -1 if less else 1, n)
    r_delta = -each.r_delta if less else each.r_delta
    shifted = pow(delta * pow(key.z, bound, n), -c, n)
    values.append(shifted * pow(key.z, each.mj, n) * pow(key.s, r_delta, n) % n)
    last = pow(each.t_delta, -c, n) * pow(key.s, each.alpha, n)
    for t, u in zip(each.t, each.u, strict=True):
        last = last * pow(t, u, n) % n
    return [*map(mpz, values), mpz(last % n)]


def test_the_value_of_the_signature_is_that_of_the_specification(
    bar: Case, bases: Callable[[PublicKey], Bases]
) -> None:
    [numbers] = numbers_of(bar)
    key = office()
    assert signature_value(bases(key), numbers, C) == plain_signature_value(key, numbers, C)


@pytest.mark.parametrize("operator", ["GE", "GT", "LE", "LT"])
@pytest.mark.parametrize("bound", [-(2**31), 0, 19990512])
def test_the_values_of_a_predicate_are_those_of_the_specification(
    operator: str, bound: int
) -> None:
    """Whether it is true or not: the values are only compared as numbers."""
    key, numbers, _ = made(Wishes())
    [each] = numbers.comparisons
    stated = replace(each, operator=operator, bound=bound)  # type: ignore[arg-type] # one of the four
    found = [*comparison_values(plain_bases(key, compared=True), stated, C)]
    assert found == plain_comparison_values(key, stated, C)


def test_the_values_of_a_predicate_are_the_same_with_every_table(
    bases: Callable[[PublicKey], Bases],
) -> None:
    key, numbers, _ = made(Wishes())
    [each] = numbers.comparisons
    found = [*comparison_values(bases(key), each, C)]
    assert found == plain_comparison_values(key, each, C)


def accept(case: Case, names: Sequence[str], challenge: int | None = None) -> bool:
    """Ask the equations about a presentation under keys of the vectors."""
    keys = [read_public_key(cred_def(name)["public"]) for name in names]
    found = int(case.original["proof"]["aggregated_proof"]["c_hash"])
    return Equations(0).hold(
        keys,
        numbers_of(case),
        challenge=found if challenge is None else challenge,
        nonce=int(case.request.nonce),
    )


def test_one_credential_and_several_hold_together(bar: Case, two: Case, shown: Case) -> None:
    assert accept(bar, ["licence"])
    assert accept(shown, ["licence"])
    order = [each["cred_def_id"] for each in two.original["identifiers"]]
    names = ["licence" if ":12:" in each else "card" for each in order]
    assert accept(two, names)


def test_nothing_holds_for_another_challenge_or_key(bar: Case) -> None:
    assert not accept(bar, ["licence"], challenge=0)
    assert not accept(bar, ["learner"])


def test_no_credential_at_all_proves_nothing_but_the_nonce() -> None:
    """The verdict refuses it (SEC-P07); the equations alone find no fault in the hash of a nonce."""
    assert not holds([], challenge=1, nonce=7)


def made(
    wishes: Wishes, *, key: MadeKey = SMALL, operator: str = "GE", bound: int = 19990512
) -> tuple[PublicKey, SubProofNumbers, int]:
    """Prove that the number satisfies a predicate and show the name, by our own prover."""
    proof: Json = prove(
        random.Random(1),
        key,
        VALUES,
        revealed=["name"],
        compared=[Compare("number", operator, bound)],
        nonce=7,
        wishes=wishes,
    )
    numbers = read_numbers(SubProof.model_validate_json(json.dumps(proof["proofs"][0])))
    return read_public_key(key.cred_def), numbers, int(proof["aggregated_proof"]["c_hash"])


def hold(
    found: tuple[PublicKey, SubProofNumbers, int], make: Callable[[PublicKey], Bases]
) -> bool:
    """Ask the equations about one of `made`."""
    key, numbers, challenge = found
    return holds([(make(key), numbers)], challenge=challenge, nonce=7)


@pytest.mark.parametrize(("operator", "nearest"), OPERATORS)
def test_a_bound_is_kept_to_one(
    operator: str, nearest: int, bases: Callable[[PublicKey], Bases]
) -> None:
    true = 19990512 - nearest
    beyond = true + (1 if operator.startswith("G") else -1)
    assert hold(made(Wishes(), operator=operator, bound=true), bases)
    assert not hold(made(Wishes(), operator=operator, bound=beyond), bases)


@pytest.mark.parametrize("bits", [0, 600, 3064, 4000])
@pytest.mark.parametrize("name", ["v", "m2", "u", "r", "alpha"])
def test_a_response_of_any_length_is_raised_to(
    name: str, bits: int, bases: Callable[[PublicKey], Bases]
) -> None:
    found = made(Wishes(v=0, m2=0, masks={name: (1 << bits) - 1}))
    assert hold(found, bases)


def test_a_number_of_a_signature_without_an_inverse_proves_nothing(
    bases: Callable[[PublicKey], Bases],
) -> None:
    """Who knows a factor of n could let T vanish modulo it, for any challenge; the library refuses it too."""
    assert not hold(made(Wishes(a_prime_of_p=True)), bases)
    for name in ("name", "z"):
        public = {**SMALL.cred_def["value"]["primary"]}
        if name == "z":
            public["z"] = str(2 * SMALL.p)
        else:
            public["r"] = {**public["r"], name: str(2 * SMALL.p)}
        spoiled = replace(SMALL, cred_def={**SMALL.cred_def, "value": {"primary": public}})
        assert not hold(made(Wishes(), key=spoiled), bases)


def test_a_commitment_without_an_inverse_proves_nothing() -> None:
    key, numbers, challenge = made(Wishes())
    [each] = numbers.comparisons
    for spoiled in (replace(each, t=(key.n, *each.t[1:])), replace(each, t_delta=SMALL.p)):
        changed = replace(numbers, comparisons=(spoiled,))
        assert not hold((key, changed, challenge), VARIANTS["small tables"])


async def test_sec_p29_a_proof_without_an_inverse_is_refused_and_no_disagreement(
    desk: Desk, bar: Case
) -> None:
    """Both voices say no."""
    presentation = bar.presentation
    factors = cred_def("licence")["TEST_ONLY_private"]["value"]["p_key"]
    number = 2 * int(factors["p"]) + 1
    proved(presentation)["eq_proof"]["a_prime"] = str(number)
    listed = presentation["proof"]["aggregated_proof"]["c_list"]
    listed[0] = [*number.to_bytes((number.bit_length() + 7) // 8, "big")]
    before = desk.voices.disagreements
    verdict = await desk.verify(bar.request, presentation)
    assert {each.rule for each in verdict.reasons} == {"SEC-P29"}
    assert desk.voices.disagreements == before
