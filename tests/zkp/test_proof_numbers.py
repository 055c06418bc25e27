"""SEC-P31: the numbers of a proof have the names and sizes that the scheme gives them.

Each test changes one thing in a valid presentation so that exactly one check speaks; a commitment
is changed together with its entry in the challenge's list, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from zkp.kit import Case, Desk, bar_question, cred_def, proved

from keep_zkp.proof_numbers import E_BITS, M_BITS

Spoil = Callable[[Any], object]
COMMITMENT = "a commitment is out of range"
EXPONENT = "the exponent is out of range"
HASH = "the challenge is longer than a hash"
HIDDEN = "a hidden attribute is out of range"
LIST = "the challenge was not made over these commitments"
NAMES = "the hidden attributes are not those of the credential definition"
NEGATIVE = "a response is negative"
OTHER = "a predicate is proved about something else than the signed attribute"
PARTS = "a predicate's proof is not whole"
ROOT = "a root of a difference is out of range"


def modulus() -> int:
    """Return the office's public modulus."""
    return int(cred_def("licence")["public"]["value"]["primary"]["n"])


def equality(presentation: Any) -> Any:
    """Return the part about the signature."""
    return proved(presentation)["eq_proof"]


def comparison(presentation: Any) -> Any:
    """Return the part about the birthday."""
    return proved(presentation)["ge_proofs"][0]


def listed(presentation: Any) -> Any:
    """Return the commitments that went into the challenge: a_prime, then t of 0 to 3 and DELTA."""
    return presentation["proof"]["aggregated_proof"]["c_list"]


def as_bytes(number: int) -> list[int]:
    """Write a number as the challenge's list does."""
    return list(number.to_bytes((number.bit_length() + 7) // 8, "big"))


async def words(desk: Desk, case: Case, *spoils: Spoil) -> list[str]:
    """Return what the verdict finds by our own checks, all of it under SEC-P31."""
    presentation = case.presentation
    for spoil in spoils:
        spoil(presentation)
    verdict = await desk.refuse(case.request, presentation)
    assert {each.rule for each in verdict.reasons} == {"SEC-P31"}
    return [
        each.words.rpartition("in its proof, ")[2].removeprefix("in the proof, ")
        for each in verdict.reasons
    ]


@pytest.mark.parametrize("bits", [E_BITS, E_BITS + 1, 1000])
async def test_sec_p31_an_exponent_beyond_an_honest_one_is_refused(
    desk: Desk, bar: Case, bits: int
) -> None:
    found = await words(desk, bar, lambda p: equality(p).update(e=str(1 << bits)))
    assert found == [EXPONENT]


@pytest.mark.parametrize("name", ["birthdate_dateint", "master_secret"])
async def test_sec_p31_a_hidden_attribute_beyond_an_honest_one_is_refused(
    desk: Desk, bar: Case, name: str
) -> None:
    def spoil(presentation: Any) -> None:
        equality(presentation)["m"][name] = str(1 << M_BITS)
        if name == comparison(presentation)["predicate"]["attr_name"]:
            comparison(presentation)["mj"] = str(1 << M_BITS)

    assert await words(desk, bar, spoil) == [HIDDEN]


@pytest.mark.parametrize("bits", [M_BITS, 4000])
async def test_sec_p31_a_root_beyond_an_honest_one_is_refused(
    desk: Desk, bar: Case, bits: int
) -> None:
    found = await words(desk, bar, lambda p: comparison(p)["u"].update({"3": str(1 << bits)}))
    assert found == [ROOT]


@pytest.mark.parametrize("bits", [256, 4300])
async def test_sec_p31_a_challenge_longer_than_a_hash_is_refused(
    desk: Desk, bar: Case, bits: int
) -> None:
    """It could only cost time: powers of that length hold up a thread for tens of milliseconds each."""

    def spoil(presentation: Any) -> None:
        presentation["proof"]["aggregated_proof"]["c_hash"] = str(1 << bits)

    assert await words(desk, bar, spoil) == [HASH]


NEGATIVES: list[Spoil] = [
    lambda p: equality(p).update(e="-1"),
    lambda p: equality(p).update(v="-" + equality(p)["v"]),
    lambda p: equality(p).update(m2="-" + equality(p)["m2"]),
    lambda p: equality(p)["m"].update(master_secret="-5"),
    lambda p: comparison(p).update(alpha="-" + comparison(p)["alpha"]),
    lambda p: comparison(p)["u"].update({"0": "-" + comparison(p)["u"]["0"]}),
    lambda p: comparison(p)["r"].update({"3": "-" + comparison(p)["r"]["3"]}),
    lambda p: comparison(p)["r"].update(DELTA="-" + comparison(p)["r"]["DELTA"]),
]


@pytest.mark.parametrize("spoil", NEGATIVES)
async def test_sec_p31_a_negative_response_is_refused(
    desk: Desk, bar: Case, spoil: Spoil
) -> None:
    assert await words(desk, bar, spoil) == [NEGATIVE]


@pytest.mark.parametrize(
    ("multiple", "offset"), [(0, 0), (0, 1), (1, -1), (1, 0), (1, 1), (1, 4), (2, 4)]
)
async def test_sec_p31_a_commitment_outside_the_issuers_group_is_refused(
    desk: Desk, bar: Case, multiple: int, offset: int
) -> None:
    """Commitments c lie in 1 < c < n - 1: no second way to write one, and none of small order."""
    number = multiple * modulus() + offset

    def signature(presentation: Any) -> None:
        equality(presentation)["a_prime"] = str(number)
        listed(presentation)[0] = as_bytes(number)

    def predicate(presentation: Any) -> None:
        comparison(presentation)["t"]["DELTA"] = str(number)
        listed(presentation)[5] = as_bytes(number)

    assert await words(desk, bar, signature) == [COMMITMENT]
    assert await words(desk, bar, predicate) == [COMMITMENT]


LISTS: list[Spoil] = [
    lambda p: listed(p).__setitem__(0, as_bytes(4)),
    lambda p: listed(p).__setitem__(5, as_bytes(4)),
    lambda p: listed(p).__setitem__(1, [*listed(p)[1][:-1], (listed(p)[1][-1] + 1) % 256]),
    lambda p: listed(p).reverse(),
    lambda p: listed(p).pop(),
    lambda p: listed(p).append(as_bytes(4)),
    lambda p: listed(p).clear(),
    lambda p: listed(p)[0].insert(0, 0),
    lambda p: equality(p).update(a_prime=str(int(equality(p)["a_prime"]) + 1)),
    lambda p: comparison(p)["t"].update({"2": comparison(p)["t"]["1"]}),
]


@pytest.mark.parametrize("spoil", LISTS)
async def test_sec_p31_the_challenge_is_made_over_exactly_the_commitments_used(
    desk: Desk, bar: Case, spoil: Spoil
) -> None:
    assert await words(desk, bar, spoil) == [LIST]


async def test_sec_p31_two_credentials_do_not_exchange_their_commitments(
    desk: Desk, two: Case
) -> None:
    def spoil(presentation: Any) -> None:
        listed(presentation).append(listed(presentation).pop(0))

    assert await words(desk, two, spoil) == [LIST]


def rename(names: Any, old: str, new: str) -> None:
    """Give a member of an object another name."""
    names[new] = names.pop(old)


MEMBERS: list[Spoil] = [
    lambda p: equality(p)["m"].update(more="1"),
    lambda p: equality(p)["m"].update(link_secret=equality(p)["m"]["master_secret"]),
    lambda p: equality(p)["m"].update(category="1"),
    lambda p: equality(p)["m"].pop("master_secret"),
    lambda p: rename(equality(p)["m"], "master_secret", "more"),
]


@pytest.mark.parametrize("spoil", MEMBERS)
async def test_sec_p31_the_hidden_attributes_are_all_of_the_credential_and_no_others(
    desk: Desk, bar: Case, spoil: Spoil
) -> None:
    assert await words(desk, bar, spoil) == [NAMES]


async def test_sec_p31_a_predicate_is_proved_about_the_signed_attribute(
    desk: Desk, bar: Case
) -> None:
    """The response in the comparison is the one in the signature's part."""
    for number in (comparison(bar.original)["u"]["0"], equality(bar.original)["m2"], "1"):

        def spoil(presentation: Any, number: str = number) -> None:
            comparison(presentation)["mj"] = number

        assert await words(desk, bar, spoil) == [OTHER]


def drop_last_commitment(presentation: Any) -> None:
    """Leave out DELTA, in the list too."""
    del comparison(presentation)["t"]["DELTA"]
    listed(presentation).pop()


PIECES: list[Spoil] = [
    lambda p: comparison(p)["u"].pop("2"),
    lambda p: comparison(p)["u"].clear(),
    lambda p: comparison(p)["r"].pop("DELTA"),
    lambda p: comparison(p)["r"].pop("0"),
    drop_last_commitment,
]


@pytest.mark.parametrize("spoil", PIECES)
async def test_sec_p31_a_predicates_proof_has_every_square_and_the_difference(
    desk: Desk, bar: Case, spoil: Spoil
) -> None:
    assert await words(desk, bar, spoil) == [PARTS]


async def test_honest_proofs_are_within_the_bounds_every_time(desk: Desk) -> None:
    """The bounds leave no room for chance: an honest response is shorter by construction."""
    for _ in range(8):
        request = bar_question()
        using = {"alice": (("category", "person"), ("adult",))}
        assert (await desk.verify(request, await desk.present(request, using))).ok
