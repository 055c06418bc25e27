"""Make `vectors/presentations.json` and `vectors/powers.json`: `python tests/zkp/make_proof_vectors.py`.

`presentations.json`  requests and what answers them, made by the library under the keys of `keys.json`, each
                      with whether it is to be accepted: by the library and by our equations
`powers.json`         bases, exponents, moduli and results, of Python's own `pow`
"""

from __future__ import annotations

import asyncio
import json
import random

from zkp.kit import (
    VECTORS,
    Desk,
    ask,
    bar_question,
    cred_def,
    new_scope,
    over_18,
    proved,
    source,
)

from keep_zkp.json_object import Json
from keep_zkp.requests import Predicate, PresentationRequest, reveal

Using = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]


def points(operator: str, bound: int) -> Predicate:
    """Ask about the points of Alice's card, which are -12."""
    return Predicate.model_validate(
        {"name": "points", "p_type": operator, "p_value": bound, "restrictions": source("card")}
    )


def questions() -> dict[str, tuple[PresentationRequest, Using]]:
    """Return what is asked and which credentials answer it."""
    found: dict[str, tuple[PresentationRequest, Using]] = {
        "values, a group and a predicate": (
            bar_question(),
            {"alice": (("category", "person"), ("adult",))},
        ),
        "one value": (
            ask({"c": reveal("category", source=source("licence"))}),
            {"alice": (("c",), ())},
        ),
        "two credentials": (
            ask({"l": reveal("level", source=source("card"))}, {"adult": over_18()}),
            {"alice": ((), ("adult",)), "alice_card": (("l",), ())},
        ),
        "two issuers, qualified ids and not": (
            ask(
                {"n": reveal("NAME", source=source("city"))},
                {"adult": over_18(), "city": over_18("city")},
            ),
            {"alice": ((), ("adult",)), "alice_city": (("n",), ("city",))},
        ),
        "a credential that can be revoked": (
            ask({"c": reveal("category", source=source("revocable"))}),
            {"alice_revocable": (("c",), ())},
        ),
        "several predicates on one attribute": (
            ask(
                {}, {"a": points(">=", -12), "b": points("<", -11), "c": points(">", -(2**31))}
            ),
            {"alice_card": ((), ("a", "b", "c"))},
        ),
    }
    for operator, bound in ((">=", -12), (">", -13), ("<=", -12), ("<", -11)):
        request = ask({}, {"p": points(operator, bound)})
        found[f"-12 {operator} {bound}"] = (request, {"alice_card": ((), ("p",))})
    return found


def spoil(presentation: Json, how: str) -> Json:
    """Change one number of a presentation with a predicate."""
    spoiled: Json = json.loads(json.dumps(presentation))
    proof = proved(spoiled)
    place, name = {
        "v": (proof["eq_proof"], "v"),
        "m2": (proof["eq_proof"], "m2"),
        "alpha": (proof["ge_proofs"][0], "alpha"),
        "u": (proof["ge_proofs"][0]["u"], "3"),
        "r": (proof["ge_proofs"][0]["r"], "DELTA"),
        "challenge": (spoiled["proof"]["aggregated_proof"], "c_hash"),
    }[how]
    place[name] = str(int(place[name]) + 1)
    return spoiled


async def presentations() -> list[Json]:
    """Make every presentation, and change one of them in a few ways."""
    desk = Desk(new_scope())
    made: list[Json] = []
    for what, (request, using) in questions().items():
        presentation = await desk.present(request, using)
        asked = request.wire()
        made.append(
            {"what": what, "accept": True, "request": asked, "presentation": presentation}
        )
    for how in ("v", "m2", "alpha", "u", "r", "challenge"):
        spoiled = spoil(made[0]["presentation"], how)
        made.append({**made[0], "what": f"{how} + 1", "accept": False, "presentation": spoiled})
    nonce = str(int(made[0]["request"]["nonce"]) + 1)
    other = {**made[0]["request"], "nonce": nonce}
    made.append({**made[0], "what": "another nonce", "accept": False, "request": other})
    desk.scope.native.close()
    return made


def powers() -> list[Json]:
    """Make powers at the lengths where tables end."""
    chance = random.Random(1)
    n = int(cred_def("licence")["public"]["value"]["primary"]["n"])
    exponents = [0, 1, -1, 2, 2**255, 2**599, 2**600 - 1, 2**600, 2**2392, 2**3064 - 1, 2**3064]
    exponents += [chance.getrandbits(bits) for bits in (17, 256, 593, 2384, 2432, 3060, 4300)]
    exponents.append(-chance.getrandbits(593))
    return [
        {
            "base": str(base := chance.randrange(2, n)),
            "exponent": str(exponent),
            "modulus": str(n),
            "result": str(pow(base, exponent, n)),
        }
        for exponent in exponents
    ]


def main() -> None:
    """Write both files, an entry in a line."""
    for name, entries in (
        ("presentations", asyncio.run(presentations())),
        ("powers", powers()),
    ):
        lines = ",\n".join(
            json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in entries
        )
        (VECTORS / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
