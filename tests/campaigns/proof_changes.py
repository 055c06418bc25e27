"""Changes of a presentation: each number moved in every way that a forger may try, and parts exchanged."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from campaigns.proof_scenes import Scene
from zkp.made_keys import MadeKey
from zkp.test_proof_numbers import LISTS, MEMBERS, NEGATIVES, PIECES
from zkp.test_tampering import at, leaves, near, put

from keep_zkp.errors import ZkpError
from keep_zkp.json_object import Json
from keep_zkp.proof_numbers import as_bytes
from keep_zkp.requests import read_request

FORGED = (*NEGATIVES, *LISTS, *MEMBERS, *PIECES)
Path = tuple[str | int, ...]
LENGTHS = (255, 256, 456, 457, 458, 593, 594, 595, 600, 2392, 2440, 3064, 4000, 4300, 9000)
"""Bits around which something changes: bounds, table sizes, the longest number of 1300 digits."""


def numbers(presentation: Json) -> Iterator[Path]:
    """Yield the path of each number of a proof; a commitment of the challenge's list is one."""
    for path in leaves(presentation["proof"], ("proof",)):
        last, value = path[-1], at(presentation, path)
        if (
            ("predicate" not in path and isinstance(value, str))
            or last == "value"
            or "c_list" in path
        ):
            yield path


def changed(chance: random.Random, honest: Scene, donor: Scene) -> tuple[Scene, str]:
    """Change one thing in a scene.

    Args:
        chance: decides what.
        donor: another one, to take numbers and parts from.
    """
    for _ in range(20):
        part = chance.choices(
            [_number, _order, _exchange, _key_number, _leaf, _known, _asked],
            [58, 14, 10, 6, 5, 3, 4],
        )[0]
        made, what = part(chance, honest, donor)
        if what and made != replace(honest, honest=made.honest):
            return made, what
    return honest, "nothing changed"


def _copy(scene: Scene) -> Json:
    return json.loads(json.dumps(scene.presentation))  # type: ignore[no-any-return] # JSON


def _with(scene: Scene, presentation: Json) -> Scene:
    return replace(scene, honest=False, presentation=presentation)


def _key_of(scene: Scene, path: Path) -> MadeKey:
    """Return the key that a path is about."""
    index = int(path[2]) if path[1] == "proofs" else 0
    wanted = scene.presentation["identifiers"][index]["cred_def_id"]
    return next((each for each in scene.keys if each.cred_def_id == wanted), scene.keys[0])


def _kind(path: Path) -> str:
    """Name a number without the names and indexes of this scene."""
    if "predicate" in path:
        return "bound"
    if path[-1] in {"a_prime", "e", "v", "m2", "mj", "alpha", "c_hash"}:
        return str(path[-1])
    if "c_list" in path:
        return "c_list"
    kind = str(path[-2])
    return f"{kind}[DELTA]" if path[-1] == "DELTA" else kind


def _read(value: Any) -> int:
    return int.from_bytes(bytes(value), "big") if isinstance(value, list) else int(value)  # pyright: ignore[reportUnknownArgumentType] - JSON


def _put(presentation: Json, path: Path, value: int) -> None:
    """Write a number in the way of its place; a list of bytes has no negative ones."""
    old = at(presentation, path)
    if isinstance(old, list):
        put(presentation, path, [*as_bytes(abs(value))])
    else:
        put(presentation, path, value if isinstance(old, int) else str(value))


def _moved(chance: random.Random, old: int, key: MadeKey) -> tuple[int, str]:
    """Return another number near or far, and how it was made."""
    n = key.p * key.q
    bits = chance.choice(LENGTHS)
    made: dict[str, int] = {
        "+1": old + 1, "-1": old - 1, "negated": -old, "zero": 0, "one": 1, "+n": old + n, "-n": old - n,
        "doubled": 2 * old, "a bit": old ^ (1 << chance.randrange(max(1, old.bit_length()))),
        "longer": old + (1 << bits), "mod n": old % n, "n-x": n - old, "times p": old * key.p % n,
        "p": key.p, "n": n, "n-1": n - 1, "mod order": old % key.order, "inverse": _inverse(old, n),
        "squared": old * old % n, "drawn": chance.getrandbits(bits),
    }  # fmt: skip
    how = chance.choice([*made])
    return made[how], how


def _inverse(number: int, n: int) -> int:
    try:
        return pow(number, -1, n)
    except ValueError:
        return 0


def _number(chance: random.Random, scene: Scene, donor: Scene) -> tuple[Scene, str]:
    presentation = _copy(scene)
    paths = [*numbers(presentation)]
    kind = chance.choice(sorted({*map(_kind, paths)}))
    path = chance.choice([each for each in paths if _kind(each) == kind])
    old = _read(at(presentation, path))
    if chance.random() < 0.15:
        same = [each for each in numbers(donor.presentation) if _kind(each) == kind]
        if not same:
            return scene, ""
        new, how = _read(at(donor.presentation, chance.choice(same))), "another's"
    else:
        new, how = _moved(chance, old, _key_of(scene, path))
    _put(presentation, path, new)
    together = chance.random() < 0.5 and _along(presentation, path, old, new)
    return _with(
        scene, presentation
    ), f"{_kind(path)} {how}{', both places' if together else ''}"


def _along(presentation: Json, path: Path, old: int, new: int) -> bool:
    """Change the other place that a number stands in, if it has one."""
    kind = _kind(path)
    if kind in {"a_prime", "t", "t[DELTA]"} and new >= 0:
        return _list(presentation["proof"]["aggregated_proof"]["c_list"], old, new)
    if kind in {"m", "mj"}:
        return _respond(at(presentation, path[:4]), str(old), str(new))
    return kind == "revealed_attrs" and _say(presentation, str(old), str(new))


def _list(listed: Any, old: int, new: int) -> bool:
    """Change a commitment in the challenge's list."""
    places = [index for index, each in enumerate(listed) if _read(each) == old]
    for index in places:
        listed[index] = [*as_bytes(new)]
    return bool(places)


def _respond(proof: Any, old: str, new: str) -> bool:
    """Change the response for an attribute in the signature's part and in the comparisons."""
    hidden = proof["eq_proof"]["m"]
    names = [name for name in hidden if hidden[name] == old]
    compared = [each for each in proof["ge_proofs"] if each["mj"] == old]
    hidden.update(dict.fromkeys(names, new))
    for each in compared:
        each["mj"] = new
    return bool(names or compared)


def _say(value: Any, old: str, new: str) -> bool:
    """Change what is said to be shown along with what is proved."""
    found = False
    for path in [*leaves(value["requested_proof"], ("requested_proof",))]:
        if path[-1] == "encoded" and at(value, path) == old:
            put(value, path, new)
            put(value, (*path[:-1], "raw"), new)
            found = True
    return found


def _order(chance: random.Random, scene: Scene, donor: Scene) -> tuple[Scene, str]:
    """Add a multiple of the group's order to a response: the same power, so the library accepts it."""
    del donor
    presentation = _copy(scene)
    kinds = {"e", "v", "m2", "u", "r", "r[DELTA]", "alpha", "m", "mj"}
    paths = [each for each in numbers(presentation) if _kind(each) in kinds]
    path = chance.choice(paths)
    old = _read(at(presentation, path))
    times = chance.choice([1, 1, 2, 3, -1, -1, 1 << 200, 1 << 900, 1 << 3000])
    new = old + times * _key_of(scene, path).order
    _put(presentation, path, new)
    together = chance.random() < 0.7 and _along(presentation, path, old, new)
    size = "less" if times < 0 else "more" if times < 4 else "much more"
    places = ", both places" if together else ""
    return _with(scene, presentation), f"{_kind(path)}, multiples of the order {size}{places}"


def _exchange(chance: random.Random, scene: Scene, donor: Scene) -> tuple[Scene, str]:
    """Exchange parts with another proof."""
    presentation, other = _copy(scene), _copy(donor)
    proofs, others = presentation["proof"]["proofs"], other["proof"]["proofs"]
    if chance.random() < 0.5:
        return _reorder(chance, scene)
    one, two = chance.choice(proofs)["primary_proof"], chance.choice(others)["primary_proof"]
    how = chance.choice(["whole", "eq_proof", "ge_proofs", "challenge"])
    if how == "whole":
        proofs[chance.randrange(len(proofs))] = chance.choice(others)
    elif how == "challenge":
        presentation["proof"]["aggregated_proof"] = other["proof"]["aggregated_proof"]
    else:
        one[how] = two[how]
    return _with(scene, presentation), f"exchanged: {how}"


def _reorder(chance: random.Random, scene: Scene) -> tuple[Scene, str]:
    """Exchange parts within a proof."""
    presentation = _copy(scene)
    proofs = presentation["proof"]["proofs"]
    one = chance.choice(proofs)["primary_proof"]
    listed = presentation["proof"]["aggregated_proof"]["c_list"]
    how = chance.choice(["credentials", "comparisons", "list", "m", "t", "u", "r"])
    if how == "credentials":
        chance.shuffle(proofs)
    elif how == "comparisons":
        chance.shuffle(one["ge_proofs"])
    elif how == "list":
        chance.shuffle(listed)
    else:
        for each in [one["eq_proof"]] if how == "m" else one["ge_proofs"]:
            each[how] = dict(zip(each[how], reversed(each[how].values()), strict=True))
    return _with(scene, presentation), f"other order: {how}"


def _key_number(chance: random.Random, scene: Scene, donor: Scene) -> tuple[Scene, str]:
    """Change a number of an issuer's key on the ledger."""
    del donor
    cred_defs: Any = copy.deepcopy(dict(scene.cred_defs))
    chosen = chance.choice(sorted(cred_defs))
    primary = cred_defs[chosen]["value"]["primary"]
    key = next(each for each in scene.keys if each.cred_def_id == chosen)
    where = chance.choice(["n", "s", "z", "rctxt", "r", "r"])
    place = primary["r"] if where == "r" else primary
    name = chance.choice(sorted(place)) if where == "r" else where
    new, how = _moved(chance, int(place[name]), key)
    place[name] = str(new)
    made = replace(scene, honest=False, cred_defs=cred_defs)
    return made, f"key: {where} {how}"


def _leaf(chance: random.Random, scene: Scene, donor: Scene) -> tuple[Scene, str]:
    """Change any leaf as the tests of tampering do."""
    del donor
    presentation = _copy(scene)
    path = chance.choice([*leaves(presentation["proof"], ("proof",))])
    put(presentation, path, chance.choice(near(at(presentation, path), "x\u0660", 12345)))
    return _with(scene, presentation), f"{_kind(path)} of another form"


def _known(chance: random.Random, scene: Scene, donor: Scene) -> tuple[Scene, str]:
    """Forge as the tests of SEC-P31 do."""
    del donor
    presentation = _copy(scene)
    index = chance.randrange(len(FORGED))
    try:
        FORGED[index](presentation)
    except (KeyError, IndexError):  # it is for another shape
        return scene, ""
    return _with(scene, presentation), f"forged, number {index}"


def _asked(chance: random.Random, scene: Scene, donor: Scene) -> tuple[Scene, str]:
    """Answer another request: its nonce or a predicate is not the same, which the proof may follow."""
    del donor
    asked, presentation = scene.request.wire(), _copy(scene)
    predicates = asked["requested_predicates"]
    what = "nonce"
    if predicates and chance.random() < 0.7:
        referent = chance.choice(sorted(predicates))
        wanted, old = predicates[referent], dict(predicates[referent])
        if chance.random() < 0.5:
            wanted["p_value"] += chance.choice([-1, 1, 1000])
        else:
            wanted["p_type"] = chance.choice(
                [x for x in (">=", ">", "<=", "<") if x != old["p_type"]]
            )
        what = "predicate"
        if chance.random() < 0.8:
            what += ", in the proof too"
            _restate(presentation, old, wanted)
    else:
        asked["nonce"] = str(int(asked["nonce"]) + chance.choice([1, 256]))
    try:
        request = read_request(asked)
    except ZkpError:
        return scene, ""
    made = replace(scene, honest=False, request=request, presentation=presentation)
    return made, f"asked: {what}"


def _restate(presentation: Json, old: Json, wanted: Json) -> None:
    words = {">=": "GE", ">": "GT", "<=": "LE", "<": "LT"}
    for each in presentation["proof"]["proofs"]:
        for proof in each["primary_proof"]["ge_proofs"]:
            stated = proof["predicate"]
            if (stated["p_type"], stated["value"]) == (words[old["p_type"]], old["p_value"]):
                stated.update(p_type=words[wanted["p_type"]], value=wanted["p_value"])
