"""What an issuer can publish who knows the factors of the modulus: our equations and the library say the same.

The keys here are made of the modulus of a test key whose factors are published beside it, with every base a known
power of S, so that a proof of anything can be computed. What differs is one number without an inverse.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import pytest
from gmpy2 import mpz
from zkp.kit import Desk, ask, cred_def, rules, source

from keep_zkp.encode import common_name, encode
from keep_zkp.equations import E_START
from keep_zkp.json_object import Json
from keep_zkp.powers import power
from keep_zkp.proof_numbers import as_bytes
from keep_zkp.requests import PresentationRequest, reveal

HIDDEN = ("birthdate_dateint", "name", "number", "master_secret")


class Forger:
    """An issuer who proves what was never signed, with one number that the first prime of n divides.

    Args:
        spoilt: which number: `category` and `name` are bases, `a_prime` is in the proof; or none.
        hidden: names of the attributes that are not shown.
    """

    def __init__(self, spoilt: str | None, hidden: tuple[str, ...] = HIDDEN) -> None:
        keys = cred_def("licence")
        self._hidden = hidden
        self.id, self.schema_id, self.public = keys["id"], keys["schema_id"], keys["public"]
        halves = keys["TEST_ONLY_private"]["value"]["p_key"]
        small_p, small_q = int(halves["p"]), int(halves["q"])
        self._spoilt = spoilt is not None
        self._p, self._q = 2 * small_p + 1, 2 * small_q + 1
        self._order = small_q if self._spoilt else small_p * small_q
        primary = self.public["value"]["primary"]
        self._n, s = self._p * self._q, int(primary["s"])
        assert int(primary["n"]) == self._n
        self._exponents = {
            name: secrets.randbelow(small_p * small_q)
            for name in (*hidden, "category", "z", "rctxt", "a_prime")
        }
        self._powers = {name: pow(s, x, self._n) for name, x in self._exponents.items()}
        if spoilt is not None:
            self._powers[spoilt] = self._divisible(self._powers[spoilt])
        self._s = s
        primary |= {name: str(self._powers[name]) for name in ("z", "rctxt")}
        primary["r"] = {name: str(self._powers[name]) for name in (*hidden, "category")}

    def present(self, request: PresentationRequest, raw: str) -> Json:
        """Prove that `category` is `raw`."""
        x, a_prime = self._exponents, self._powers["a_prime"]
        value, start = int(encode(raw)), secrets.randbelow(self._order)
        t = pow(self._s, start, self._n)
        t = self._divisible(t) if self._spoilt else t
        text = as_bytes(t) + as_bytes(a_prime) + as_bytes(int(request.nonce))
        c = int.from_bytes(hashlib.sha256(text).digest(), "big")
        hidden = {name: secrets.randbits(592) for name in self._hidden}
        e, m2 = secrets.randbits(456), secrets.randbits(592)
        done = c * (value * x["category"] - x["z"]) + x["a_prime"] * ((c << E_START) + e)
        done += x["rctxt"] * m2 + sum(x[name] * m for name, m in hidden.items())
        equality: Json = {
            "revealed_attrs": {"category": str(value)},
            "a_prime": str(a_prime),
            "e": str(e),
            "v": str((start - done) % self._order),
            "m": {name: str(m) for name, m in hidden.items()},
            "m2": str(m2),
        }
        shown: Json = {"sub_proof_index": 0, "raw": raw, "encoded": str(value)}
        proof: Json = {
            "primary_proof": {"eq_proof": equality, "ge_proofs": []},
            "non_revoc_proof": None,
        }
        aggregated: Json = {"c_hash": str(c), "c_list": [[*as_bytes(a_prime)]]}
        return {
            "proof": {"proofs": [proof], "aggregated_proof": aggregated},
            "requested_proof": {"revealed_attrs": {"category": shown}},
            "identifiers": [{"schema_id": self.schema_id, "cred_def_id": self.id}],
        }

    def _divisible(self, number: int) -> int:
        """Return what is 0 for the one prime of n, and as `number` is for the other."""
        return self._p * (number * pow(self._p, -1, self._q) % self._q)


async def judged(desk: Desk, forger: Forger, raw: str, **changes: Any) -> Any:
    """Return the verdict on a proof, and refuse to go on if it raised an alarm."""
    request = ask({"category": reveal("category", source=source("licence"))})
    before = desk.voices.disagreements
    verdict = await desk.verify(
        request, forger.present(request, raw), cred_defs={forger.id: forger.public}, **changes
    )
    assert desk.voices.disagreements == before
    return verdict


@pytest.mark.parametrize("spoilt", [None, "name"])
async def test_an_issuer_proves_what_he_likes_of_his_own_credentials(
    desk: Desk, spoilt: str | None
) -> None:
    """The forger is one: without this the refusals below would say nothing."""
    assert (await judged(desk, Forger(spoilt), "B")).ok


@pytest.mark.parametrize("spoilt", ["category", "a_prime"])
async def test_sec_p37_a_number_without_an_inverse_is_no_false_alarm(
    desk: Desk, spoilt: str
) -> None:
    assert rules(await judged(desk, Forger(spoilt), "B")) == {"SEC-P29"}


async def test_a_negative_value_of_a_base_without_an_inverse_is_refused_and_no_error(
    desk: Desk,
) -> None:
    assert rules(await judged(desk, Forger("category"), "-5")) == {"SEC-P29"}


@pytest.mark.parametrize(
    "name",
    ["\u1c89", "\ua7cb", "\ua7cc", "\ua7da", "\ua7dc", "\U00010d50", "\U00016ea0", "\ufdd0"],
)
async def test_sec_p37_a_name_that_the_library_writes_otherwise_is_no_false_alarm(
    desk: Desk, name: str
) -> None:
    """Capitals of Unicode 16 and later: an older Python does not know what their small letters are."""
    forger = Forger(None, (HIDDEN[0], common_name(name), *HIDDEN[2:]))
    schema = desk.schemas[forger.schema_id]
    schema = {**schema, "attrNames": [HIDDEN[0], name, HIDDEN[2], "category"]}
    verdict = await judged(desk, forger, "B", schemas={forger.schema_id: schema})
    assert verdict.ok or rules(verdict) == {"SEC-P17"}


@pytest.mark.parametrize("exponent", [0, 1, 5, -5, 1 << 4000, -(1 << 4000)])
def test_a_power_is_that_of_python(exponent: int) -> None:
    assert int(power(5, exponent, mpz(1 << 61))) == pow(5, exponent, 1 << 61)


def test_a_negative_power_without_an_inverse_is_an_error_and_no_end_of_the_process() -> None:
    """Asked for this, one of gmpy2's functions raises another error, and the other calls abort()."""
    with pytest.raises(ZeroDivisionError):
        power(3, -5, mpz(9))
