"""Requests of our own: the library takes them for its own, and no offer escapes its check by them."""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import gmpy2
import pytest
from campaigns.credential_requests import biased, campaign, differ
from zkp.kit import Desk, cred_def, keys, link_secret

from keep_zkp import blinding, holder
from keep_zkp.blinding import Terms, blind, challenge, commitment, read_terms
from keep_zkp.errors import LibraryError, ZkpError
from keep_zkp.json_object import Json
from keep_zkp.public_key import SECRET_NAME

VALUES = {
    "card": {"First Name": "Zoë", "Points": "-3", "level": "1"},
    "city": {"name": "A", "birthdate_dateint": "19990512", "category": "B", "number": "x 1"},
}
PROOF = "key_correctness_proof"


async def checked_by(desk: Desk, name: str) -> set[str]:
    """Let the library check the key of a definition, and return what is remembered of it."""
    asked = await desk.answer(name, await desk.offer(name))
    assert asked.checked is not None
    return {asked.checked}


def terms_of(name: str, offer: Json, secret: str | None = None) -> Terms | None:
    return read_terms(offer, cred_def(name)["public"], secret or link_secret("alice"))


def shape(value: Any) -> Any:
    """Return JSON, in its order, with a word in the place of each number."""
    if isinstance(value, dict):
        return [(name, shape(inner)) for name, inner in cast("Json", value).items()]
    if isinstance(value, str) and value.isdecimal():
        return "digits"
    return value


# -- what is made ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["card", "city"])
async def test_it_has_the_form_that_the_library_writes_field_by_field(
    desk: Desk, name: str
) -> None:
    offer, checked = await desk.offer(name), await checked_by(desk, name)
    theirs = await desk.answer(name, offer)
    ours = await desk.answer(name, offer, checked)
    assert ours.checked is None
    who = "entropy" if name == "city" else "prover_did"
    assert len(ours.request[who]) in {len(theirs.request[who]), 21, 22}
    same = {**ours.request, who: theirs.request[who]}
    assert shape(same) == shape(theirs.request)
    assert shape(ours.metadata) == shape(theirs.metadata)
    assert ours.metadata["nonce"] == ours.request["nonce"]


async def test_the_library_issues_on_it_and_processes_what_was_issued(desk: Desk) -> None:
    """The short form of `./manage campaign requests`."""
    seed = secrets.randbelow(10**6)
    report = await campaign(desk, count=40, seed=seed)
    assert report.failures == [], f"seed {seed}"
    assert len(report.ours) == 40


@pytest.mark.parametrize("secret", ["1", str(2**256 - 1)])
async def test_it_holds_the_shortest_and_the_longest_link_secret(
    desk: Desk, secret: str, by_library: list[object]
) -> None:
    offer, keys_of = await desk.offer("card"), cred_def("card")
    checked = await checked_by(desk, "card")

    async def is_checked(pair: str) -> bool:
        return pair in checked

    by_library.clear()
    asked = await holder.create_request(
        desk.scope,
        offer=offer,
        cred_def_id=keys_of["id"],
        cred_def=keys_of["public"],
        link_secret=secret,
        is_checked=is_checked,
    )
    assert by_library == []
    credential = await desk.sign("card", offer, asked.request, VALUES["card"])
    assert await holder.process_credential(
        desk.scope,
        credential=credential,
        metadata=asked.metadata,
        offer=offer,
        cred_def=keys_of["public"],
        link_secret=secret,
        accepted=VALUES["card"],
    )


async def test_the_proof_is_the_one_of_the_specification(desk: Desk) -> None:
    """With plain integers: what was committed to, and what the issuer computes."""
    offer = await desk.offer("card")
    terms = terms_of("card", offer)
    assert terms is not None
    made, n, s = blind(terms), terms.key.n, terms.key.s
    r, m = terms.key.r[SECRET_NAME], int(link_secret("alice"))
    assert made.u == pow(s, made.v, n) * pow(r, m, n) % n
    u_cap = pow(made.u, -made.c, n) * pow(s, made.v_cap, n) * pow(r, made.m_cap, n) % n
    numbers = (made.u, u_cap, int(offer["nonce"]))
    written = b"".join(x.to_bytes((x.bit_length() + 7) // 8, "big") for x in numbers)
    assert made.c == int.from_bytes(hashlib.sha256(written).digest(), "big")
    v_mask, m_mask = made.v_cap - made.c * made.v, made.m_cap - made.c * m
    assert 0 < v_mask < 1 << blinding.V_MASK_BITS
    assert 0 < m_mask < 1 << blinding.M_MASK_BITS


async def test_the_response_does_not_tell_the_blinding_factor(desk: Desk) -> None:
    """Divided by the challenge it is off by the mask, which is 80 bits longer than what it hides."""
    offer, checked = await desk.offer("card"), await checked_by(desk, "card")
    asked = await desk.answer("card", offer, checked)
    proof = asked.request["blinded_ms_correctness_proof"]
    v = int(asked.metadata["link_secret_blinding_data"]["v_prime"])
    assert abs(int(proof["v_dash_cap"]) // int(proof["c"]) - v).bit_length() > 2000


def test_a_zero_has_no_bytes_in_a_challenge() -> None:
    assert challenge(0, 1) == challenge(1)


SPOILS: list[Callable[[Any], object]] = [
    lambda r: r["blinded_ms"].update(u=str(int(r["blinded_ms"]["u"]) + 1)),
    lambda r: r["blinded_ms_correctness_proof"].update(c="5"),
    lambda r: r["blinded_ms_correctness_proof"].update(
        v_dash_cap=r["blinded_ms_correctness_proof"]["v_dash_cap"][:-1]
    ),
    lambda r: r["blinded_ms_correctness_proof"]["m_caps"].update({SECRET_NAME: "7"}),
]


@pytest.mark.parametrize("spoil", SPOILS)
async def test_with_one_number_changed_the_issuer_refuses_it(
    desk: Desk, spoil: Callable[[Any], object]
) -> None:
    offer = await desk.offer("card")
    asked = await desk.answer("card", offer, await checked_by(desk, "card"))
    request = json.loads(json.dumps(asked.request))
    spoil(request)
    with pytest.raises(LibraryError):
        await desk.sign("card", offer, request, VALUES["card"])
    with pytest.raises(LibraryError):
        await desk.sign("card", await desk.offer("card"), asked.request, VALUES["card"])


def test_a_bit_or_a_distribution_that_is_not_random_is_noticed() -> None:
    chance = random.Random(1)
    fair = [chance.getrandbits(64) for _ in range(1000)]
    assert list(biased("x", fair, 64)) == []
    assert len(list(biased("x", [each | 8 for each in fair], 64))) == 1
    shares = [each / 2**64 for each in fair]
    assert list(differ("x", shares[:500], shares[500:])) == []
    assert len(list(differ("x", shares, [each**2 for each in shares]))) == 1


# -- whose key was checked -------------------------------------------------------------------------


async def test_sec_i05_the_library_checks_a_key_and_its_proof_once(
    desk: Desk, by_library: list[object]
) -> None:
    checked = await checked_by(desk, "licence")
    for _ in range(3):
        await desk.answer("licence", await desk.offer("licence"), checked)
    assert len(by_library) == 1


def false_proofs() -> list[Callable[[Any], object]]:
    other = keys()["cred_defs"]["learner"]["key_proof"]
    return [
        lambda p: p.update(other),
        lambda p: p.update(c=str(int(p["c"]) + 1)),
        lambda p: p.update(xz_cap=str(int(p["xz_cap"]) + 1)),
        lambda p: p["xr_cap"][0].__setitem__(1, "5"),
        lambda p: p["xr_cap"].reverse(),
        lambda p: p["xr_cap"].pop(),
        lambda p: p["xr_cap"].append(["more", "5"]),
    ]


@pytest.mark.parametrize("spoil", false_proofs())
async def test_sec_i05_a_false_proof_is_refused_whatever_was_checked_before(
    desk: Desk, spoil: Callable[[Any], object]
) -> None:
    offer = await desk.offer("licence")
    false = json.loads(json.dumps(offer))
    spoil(false[PROOF])
    checked: set[str] = set()
    with pytest.raises(LibraryError):
        await desk.answer("licence", false, checked)
    checked |= await checked_by(desk, "licence") | await checked_by(desk, "learner")
    for _ in range(2):
        with pytest.raises(LibraryError):
            await desk.answer("licence", false, checked)
        assert (await desk.answer("licence", offer, checked)).checked is None


async def test_a_pair_is_exactly_one_key_and_one_proof(desk: Desk) -> None:
    offer, other = await desk.offer("licence"), cred_def("learner")
    terms = terms_of("licence", offer)
    assert terms is not None
    again = terms_of("licence", {**(await desk.offer("licence")), "more": 1})
    assert again is not None
    assert again.pair == terms.pair
    reordered = dict(reversed(offer[PROOF].items()))
    moved = terms_of("licence", {**offer, PROOF: reordered})
    assert moved is not None
    assert moved.pair == terms.pair
    for changed in (
        read_terms(offer, other["public"], "1"),
        terms_of("licence", {**offer, PROOF: other["key_proof"]}),
        terms_of("licence", {**offer, PROOF: {**offer[PROOF], "c": int(offer[PROOF]["c"])}}),
        terms_of("licence", {**offer, PROOF: {**offer[PROOF], "more": None}}),
    ):
        assert changed is not None
        assert changed.pair != terms.pair


# -- what is left to the library -------------------------------------------------------------------

MALFORMED: list[Callable[[Any], object]] = [
    lambda o: o.pop("nonce"),
    lambda o: o.update(nonce=5),
    lambda o: o.update(nonce=""),
    lambda o: o.update(nonce="x"),
    lambda o: o.update(nonce="-1"),
    lambda o: o.update(nonce="1" + 30 * "0"),
    lambda o: o.update(nonce=None),
    lambda o: o.pop(PROOF),
    lambda o: o.update({PROOF: None}),
    lambda o: o.update({PROOF: []}),
    lambda o: o.update({PROOF: "{}"}),
    lambda o: o.update({PROOF: {}}),
    lambda o: o[PROOF].update(c="x"),
    lambda o: o[PROOF].update(xr_cap={}),
    lambda o: o[PROOF].pop("xz_cap"),
    lambda o: o.update(schema_id=None),
    lambda o: o.update(schema_id="\ud800"),
    lambda o: o.update(more=float("nan")),
]


@pytest.mark.parametrize("spoil", MALFORMED)
async def test_a_malformed_offer_has_the_same_answer_as_ever(
    desk: Desk, spoil: Callable[[Any], object]
) -> None:
    checked = await checked_by(desk, "card")
    offer = await desk.offer("card")
    spoil(offer)

    async def outcome(remembered: set[str]) -> str:
        try:
            return ", ".join((await desk.answer("card", offer, remembered)).request)
        except ZkpError as error:
            return repr(error)

    assert await outcome(checked) == await outcome(set())


@pytest.mark.parametrize("secret", ["0", "", "x", "-5", "007", "1 ", "٣", str(2**256)])
async def test_what_is_no_link_secret_is_the_librarys_business(desk: Desk, secret: str) -> None:
    assert read_terms(await desk.offer("card"), cred_def("card")["public"], secret) is None


async def test_a_definition_with_revocation_is_the_librarys_business(
    desk: Desk, by_library: list[object]
) -> None:
    offer = await desk.offer("revocable")
    assert terms_of("revocable", offer) is None
    asked = await desk.answer("revocable", offer)
    assert asked.checked is None
    assert asked.request["blinded_ms"]["ur"] is not None


MODULI: list[Callable[[int], int]] = [
    lambda n: n - 1,
    lambda n: n >> 3,
    lambda n: n << 1 | 1,
]


@pytest.mark.parametrize("change", MODULI)
async def test_a_modulus_of_another_kind_is_the_librarys_business(
    desk: Desk, change: Callable[[int], int]
) -> None:
    offer, public = await desk.offer("card"), cred_def("card")["public"]
    primary = public["value"]["primary"]
    n = change(int(primary["n"]))
    small = dict.fromkeys(("s", "z", "rctxt"), "4")
    primary |= {"n": str(n), **small, "r": dict.fromkeys(primary["r"], "9")}
    assert read_terms(offer, public, "1") is None


async def test_a_key_that_is_not_written_as_one_is_the_librarys_business(desk: Desk) -> None:
    offer, public = await desk.offer("card"), cred_def("card")["public"]
    public["value"]["primary"]["s"] = "0" + public["value"]["primary"]["s"]
    assert read_terms(offer, public, "1") is None


async def test_without_gmpy2_the_library_makes_every_request(
    desk: Desk, by_library: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = await checked_by(desk, "card")
    monkeypatch.setattr(blinding, "gmpy2", None)
    for _ in range(2):
        asked = await desk.answer("card", await desk.offer("card"), checked)
        assert asked.checked is None
    assert len(by_library) == 3


# -- secrets ---------------------------------------------------------------------------------------


async def test_others_run_while_it_computes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the event loop would stand still for each power."""
    powers: list[bool] = []
    real = gmpy2.powmod_sec

    def power(x: int, y: int, m: int) -> gmpy2.mpz:
        powers.append(gmpy2.get_context().allow_release_gil)
        return real(x, y, m)

    monkeypatch.setattr(gmpy2, "powmod_sec", power)
    terms = terms_of("card", await desk.offer("card"))
    assert terms is not None
    blind(terms)
    assert powers == 4 * [True]
    assert not gmpy2.get_context().allow_release_gil


async def test_sec_i08_no_text_of_an_error_or_an_object_has_the_secret(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer, secret = await desk.offer("card"), link_secret("alice")
    terms = terms_of("card", offer)
    assert terms is not None
    made = blind(terms)
    asked = await desk.answer("card", offer, {terms.pair})
    for shown in (repr(terms), repr(made), repr(asked), str(terms), f"{made}"):
        assert secret not in shown
        assert str(made.v) not in shown
    even = replace(terms.key, n=terms.key.n - 1)
    for key, m in ((terms.key, 0), (terms.key, -terms.secret), (even, terms.secret)):
        with pytest.raises(ValueError, match="powmod_sec") as raised:
            commitment(key, made.v, m)
        told = "".join(traceback.format_exception(raised.value))
        assert secret not in told
        assert str(made.v) not in told

    def fail(*_: object) -> object:
        raise MemoryError

    monkeypatch.setattr(gmpy2, "powmod_sec", fail)
    with pytest.raises(MemoryError) as failed:
        await desk.answer("card", offer, {terms.pair})
    assert secret not in "".join(traceback.format_exception(failed.value))
