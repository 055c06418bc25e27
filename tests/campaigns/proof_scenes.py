"""Presentations of every shape, by honest wallets and by a prover who knows the issuer's secrets.

A scene is drawn from its number. What is asked and proved is the same each time; the numbers of a wallet are not,
since the library draws them itself, those of our own prover are.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import anoncreds
from zkp import kit
from zkp.made_keys import MadeKey, issue, make_key
from zkp.prover import Compare, Wishes, prove

from keep_zkp.encode import INT32_MAX, INT32_MIN, common_name, encode
from keep_zkp.json_object import Json
from keep_zkp.powers import CONTEXT, LONG, RESPONSE, SHORT
from keep_zkp.requests import PresentationRequest, read_request

CITY = "did:indy:sovrin:7Tqg6BwSSWapxgUDm9KKgg"
NAMES = [
    "Given Name",
    "Points",
    "İl",
    "birthdate_dateint",
    "ΟΔΟΣ",
    "e-mail @ work",
    "Größe",
    "x",
]
EDGES = [INT32_MIN, INT32_MIN + 1, -20, -1, 0, 1, 2, 19990512, INT32_MAX - 1, INT32_MAX]
TEXTS = ["Alice Ärmel", "", "氏名", "00123", "2147483648", "B"]
SIGNS = {">=": "GE", ">": "GT", "<=": "LE", "<": "LT"}
MADE: Mapping[str, tuple[int, int, str, int]] = {
    # bits of the modulus, attributes, issuer, and a number to tell keys apart
    "one": (2048, 1, "", 0),
    "two": (2048, 2, "", 0),
    "four": (2048, 4, "", 0),
    "four, another issuer": (2048, 4, CITY, 1),
    "twelve": (2048, 12, "", 0),
    "forty": (2048, 40, CITY, 0),
    "small modulus": (1024, 2, "", 0),
    "3072 bits": (3072, 4, CITY, 0),
    "4096 bits": (4096, 2, "", 0),
}
BY_LIBRARY = ("licence", "revocable", "card", "city", "member")
OFTEN = ["two", "four", "four, another issuer", "licence", "card", "city"]
WITHOUT_INVERSE = ("s", "z", "rctxt", "hidden", "shown", "secret")
EQUAL = ("z and s", "rctxt and s", "two attributes", "attribute and secret", "attribute and z")


@dataclass(frozen=True, slots=True)
class Scene:
    """A request and what answers it, with the ledger objects of both.

    Attributes:
        what: what it is, for the tables of results.
        honest: the library made it; it must be accepted by all.
        keys: with the factors of every modulus.
    """

    what: str
    honest: bool
    request: PresentationRequest
    presentation: Json
    schemas: Mapping[str, Json]
    cred_defs: Mapping[str, Json]
    keys: Sequence[MadeKey]


@cache
def key(name: str) -> MadeKey:
    """Return an issuer's key by its name in MADE or BY_LIBRARY."""
    if name in MADE:
        bits, attributes, issuer, number = MADE[name]
        names = [*NAMES, *(f"attr {x}" for x in range(attributes))][:attributes]
        return make_key(bits, names, number=number, **({"issuer": issuer} if issuer else {}))
    found = kit.cred_def(name)
    factors = found["TEST_ONLY_private"]["value"]["p_key"]
    return MadeKey(
        found["id"],
        found["schema_id"],
        kit.keys()["schemas"][found["schema_id"]],
        found["public"],
        found["TEST_ONLY_private"],
        found["key_proof"],
        2 * int(factors["p"]) + 1,
        2 * int(factors["q"]) + 1,
    )


@cache
def held(name: str, number: int) -> Json:
    """Return a credential of a key, one of a few."""
    chance = random.Random(f"{name} {number}")
    names = key(name).schema["attrNames"]
    values = {each: _value(chance) for each in names}
    values[names[0]] = str(chance.choice(EDGES))  # one at least to compare
    return issue(key(name), kit.link_secret("alice"), values)


def _value(chance: random.Random) -> str:
    return str(chance.choice(EDGES)) if chance.random() < 0.6 else chance.choice(TEXTS)


def scene(chance: random.Random, *, cheap: bool) -> Scene:
    """Draw a scene.

    Args:
        cheap: of few attributes, credentials and comparisons, under keys of 1024 and 2048 bits.
    """
    while True:
        if chance.random() < 0.3:
            return _odd(chance, cheap=cheap)
        if (made := _honest(chance, cheap=cheap)) is not None:
            return made


def _honest(chance: random.Random, *, cheap: bool) -> Scene | None:
    """Ask for what some credentials can show, and let the library show it; None: it does not."""
    many = 1 if cheap else chance.choices([1, 2, 3], [70, 25, 5])[0]
    names = [_draw_key(chance, cheap=cheap) for _ in range(many)]
    if many > 1 and chance.random() < 0.3:
        names[1] = names[0]  # two credentials under one definition, or one twice
    credentials = [held(name, chance.randrange(2 if cheap else 3)) for name in names]
    asked = _question(chance)
    present = anoncreds.PresentCredentials()
    loaded = [anoncreds.Credential.load(json.dumps(each)) for each in credentials]
    for index, credential in enumerate(credentials):
        plan = [*_wanted(chance, f"{index}", credential["values"], few=cheap)]
        for referent, reveal, wanted in plan:
            part = "requested_predicates" if reveal is None else "requested_attributes"
            asked[part][referent] = wanted
            if reveal is None:
                present.add_predicates(loaded[index], referent)
            else:
                present.add_attributes(loaded[index], referent, reveal=reveal)
    used = [key(name) for name in dict.fromkeys(names)]
    schemas = {each.schema_id: each.schema for each in used}
    cred_defs = {each.cred_def_id: each.cred_def for each in used}
    try:
        request = read_request(asked)
        presentation = anoncreds.Presentation.create(
            anoncreds.PresentationRequest.load(json.dumps(request.wire())),
            present,
            {},
            kit.link_secret("alice"),
            {name: schema_of(name) for name in used_schemas(used)},
            {each.cred_def_id: cred_def_of(each.cred_def_id) for each in used},
        ).to_dict()
    except anoncreds.AnoncredsError:
        return None  # a difference beyond 32 bits, or a value that is also compared
    return Scene(
        "honest",
        honest=True,
        request=request,
        presentation=presentation,
        schemas=schemas,
        cred_defs=cred_defs,
        keys=used,
    )


def used_schemas(keys: Sequence[MadeKey]) -> Iterator[str]:
    """Yield the ids of the schemas of keys."""
    yield from dict.fromkeys(each.schema_id for each in keys)


@cache
def by_id() -> Mapping[str, MadeKey]:
    return {key(name).cred_def_id: key(name) for name in (*MADE, *BY_LIBRARY)}


@cache
def schema_of(schema_id: str) -> anoncreds.Schema:
    """Return a schema as the library has it."""
    [found, *_] = [each for each in by_id().values() if each.schema_id == schema_id]
    return anoncreds.Schema.load(json.dumps(found.schema))


@cache
def cred_def_of(cred_def_id: str) -> anoncreds.CredentialDefinition:
    """Return a definition as the library has it."""
    return anoncreds.CredentialDefinition.load(json.dumps(by_id()[cred_def_id].cred_def))


def _draw_key(chance: random.Random, *, cheap: bool) -> str:
    if cheap:
        return chance.choice(["small modulus", "small modulus", "one", "two", "card"])
    return chance.choice(OFTEN if chance.random() < 0.6 else [*MADE, *BY_LIBRARY])


def _question(chance: random.Random) -> Json:
    """Return a request that asks nothing yet."""
    return {
        "name": "campaign",
        "version": "1.0",
        "nonce": _nonce(chance),
        "requested_attributes": {},
        "requested_predicates": {},
    }


def _nonce(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.02:
        return chance.choice(["1", "255", "256", "007", "0" * 9 + "12"])
    return str(chance.getrandbits(80 if kind < 0.9 else 200))


def _wanted(
    chance: random.Random, index: str, values: Json, *, few: bool
) -> Iterator[tuple[str, bool | None, Json]]:
    """Yield what to ask of one credential: referent, reveal (None: it is a predicate), and the wish."""
    names = chance.sample(sorted(values), len(values))
    numbers = [name for name in names if _is_int32(values[name]["encoded"])]
    compared = chance.choices([0, 1, 2, 3], [3, 5, 0, 0] if few else [3, 5, 2, 1])[0]
    targets = [chance.choice(numbers) for _ in range(compared)] if numbers else []
    for number, name in enumerate(targets):
        operator, bound = _comparison(chance, int(values[name]["encoded"]))
        wish = {"name": _respelt(chance, name), "p_type": operator, "p_value": bound}
        yield f"p{index}{number}", None, wish
    kept = [name for name in names if name not in targets or chance.random() < 0.03]
    shown = kept[: chance.randrange(len(kept) + 1)]
    if not targets and not shown:
        shown = kept[:1]
    while shown:
        take = chance.choice([1, 1, len(shown)])
        group, shown = shown[:take], shown[take:]
        spelt = [_respelt(chance, name) for name in group]
        wish = {"names": spelt} if take > 1 or chance.random() < 0.2 else {"name": spelt[0]}
        yield f"a{index}{group[0]}", "names" in wish or chance.random() < 0.9, wish


def _is_int32(encoded: str) -> bool:
    return len(encoded) < 12 and INT32_MIN <= int(encoded) <= INT32_MAX


def _comparison(chance: random.Random, value: int) -> tuple[str, int]:
    """Draw an operator and a bound that a value satisfies, near its edge most of the time."""
    operator = chance.choice([*SIGNS])
    offset = {">=": 0, "<=": 0, ">": 1, "<": 1}[operator]
    distance = offset + chance.choice([0, 0, 0, 1, 2, 3, 100, chance.getrandbits(31)])
    bound = value - distance if operator.startswith(">") else value + distance
    return operator, max(INT32_MIN, min(INT32_MAX, bound))


def _respelt(chance: random.Random, name: str) -> str:
    if chance.random() < 0.7 or not name.isascii():
        return name
    return chance.choice([name.upper(), name.replace(" ", ""), f" {name}"])


ODD_MASKS = [
    0, 1, 2, *(2**bits + x for bits in (RESPONSE, SHORT, CONTEXT, LONG) for x in (-1, 0, 1)),
    2**592, 2**4000, 2**4300,
]  # fmt: skip


def _odd(chance: random.Random, *, cheap: bool) -> Scene:
    """Prove with odd numbers, as one who knows the issuer's secrets."""
    made = key(
        chance.choice(["small modulus", "two"] if cheap else ["two", "four", "3072 bits"])
    )
    names: list[str] = made.schema["attrNames"]
    values = {name: str(chance.choice([0, 0, 1, 5, -7, 19990512])) for name in names}
    common = [common_name(name) for name in names]
    kind = chance.choice(
        [
            "plain",
            "mask",
            "mask",
            "secret",
            "no inverse",
            "no inverse",
            "equal",
            "minus",
            "of p",
        ]
    )
    shown = chance.sample(common, chance.randrange(len(common)))
    wishes, spoiled, what = _wishes(chance, kind, made, common, shown)
    asked = _question(chance)
    raw = {common_name(name): value for name, value in values.items()}
    compared: list[Compare] = []
    hidden = [name for name in common if name not in shown]
    if hidden and (not shown or chance.random() < 0.7):
        operator = chance.choice([*SIGNS])
        bound = int(raw[hidden[0]]) + {">=": 0, "<=": 0, ">": -1, "<": 1}[operator]
        bound += chance.choice([0, 0, 1, 7]) * (-1 if operator.startswith(">") else 1)
        asked["requested_predicates"]["p"] = {
            "name": hidden[0], "p_type": operator, "p_value": bound,
        }  # fmt: skip
        compared = [Compare(hidden[0], SIGNS[operator], bound)]
    for name in shown:
        asked["requested_attributes"][f"a{name}"] = {"name": name}
    request = read_request(asked)
    proof = prove(
        chance, spoiled, values, revealed=shown, compared=compared, nonce=int(request.nonce), wishes=wishes
    )  # fmt: skip
    answers = {
        f"a{name}": {"sub_proof_index": 0, "raw": raw[name], "encoded": encode(raw[name])}
        for name in shown
    }
    requested_proof = {
        "revealed_attrs": answers,
        "self_attested_attrs": {},
        "unrevealed_attrs": {},
        "predicates": {"p": {"sub_proof_index": 0}} if compared else {},
    }
    identifier = {"schema_id": made.schema_id, "cred_def_id": made.cred_def_id}
    presentation = {
        "proof": proof,
        "requested_proof": requested_proof,
        "identifiers": [{**identifier, "rev_reg_id": None, "timestamp": None}],
    }
    return Scene(
        what,
        honest=False,
        request=request,
        presentation=presentation,
        schemas={made.schema_id: made.schema},
        cred_defs={made.cred_def_id: spoiled.cred_def},
        keys=[spoiled],
    )


def _wishes(
    chance: random.Random, kind: str, made: MadeKey, common: list[str], shown: list[str]
) -> tuple[Wishes, MadeKey, str]:
    """Return wishes, the key with what they need spoiled in it, and what they are."""
    match kind:
        case "mask":
            name = chance.choice(["v", "m2", "e", "u", "r", "alpha", "m"])
            mask = {name: chance.choice(ODD_MASKS)}
            zero = Wishes(v=0, m2=0, masks=mask)
            return zero, made, f"a mask of {name} of {mask[name].bit_length()} bits"
        case "secret":
            wishes, what = chance.choice(
                [
                    (Wishes(v=chance.getrandbits(3000)), "a signature with a longer v"),
                    (Wishes(m2=chance.getrandbits(2200)), "a signature with a longer m2"),
                    (Wishes(e=chance.getrandbits(500) | 1), "a signature with a longer e"),
                    (Wishes(e=1), "a signature with the smallest e"),
                    (Wishes(v=0, m2=0), "a signature with v and m2 zero"),
                ]
            )
            return wishes, made, what
        case "no inverse":
            which = chance.choice(WITHOUT_INVERSE)
            return (
                Wishes(),
                _without_inverse(chance, made, which, common, shown),
                f"no inverse: {which}",
            )
        case "equal":
            which = chance.choice(EQUAL)
            return Wishes(), _equal(made, which, common), f"equal bases: {which}"
        case "minus":
            odd = chance.random() < 0.3
            words = "odd" if odd else "even"
            return (
                Wishes(minus=True, odd_challenge=odd),
                made,
                f"commitments negated, challenge {words}",
            )
        case "of p":
            return Wishes(a_prime_of_p=True), made, "A' without an inverse"
        case _:
            return Wishes(), made, "our own prover"


def _without_inverse(
    chance: random.Random, made: MadeKey, which: str, common: list[str], shown: list[str]
) -> MadeKey:
    """Make one number of the key a multiple of p."""
    cred_def = copy.deepcopy(made.cred_def)
    primary = cred_def["value"]["primary"]
    multiple = str(made.p * chance.randrange(2, made.q - 1))
    hidden = [name for name in common if name not in shown]
    match which:
        case "hidden" if hidden:
            primary["r"][hidden[-1]] = multiple
        case "shown" if shown:
            primary["r"][shown[0]] = multiple
        case "s" | "z" | "rctxt":
            primary[which] = multiple
        case _:
            primary["r"]["master_secret"] = multiple
    return replace(made, cred_def=cred_def)


def _equal(made: MadeKey, which: str, common: list[str]) -> MadeKey:
    cred_def = copy.deepcopy(made.cred_def)
    primary = cred_def["value"]["primary"]
    match which:
        case "z and s":
            primary["z"] = primary["s"]
        case "rctxt and s":
            primary["rctxt"] = primary["s"]
        case "two attributes":
            primary["r"][common[0]] = primary["r"][common[-1]]
        case "attribute and z":
            primary["r"][common[0]] = primary["z"]
        case _:
            primary["r"][common[0]] = primary["r"]["master_secret"]
    return replace(made, cred_def=cred_def)
