"""Auth rules in a form in which their signature is valid for no other rules.

A ledger ignores unknown members, but their names are part of the signing input. So the name of an unknown
member can contain a piece of the signed text: from the beginning of an optional member of one ROLE to an
optional member, `role` or the end of `constraint_id` of a later ROLE. The first ROLE then has the role
and the number of the later one, and everything between is lost. Two conditions prevent that:

- An option (`metadata`, `need_to_be_owner`, `off_ledger_signature`) that is not the default is the only
  one in its ROLE; two could be hidden together.
- After a ROLE with an option all others are less deep. A piece of text from it to a later one has more ends
  than beginnings of lists, so what would be left cannot be read.

`AND` with one part means that part, so every rule can be written in this form (`spelled`): of 54 rules with an
owner in one write, the first stands in 53 such ANDs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from keep_ledger.json_object import Json
from keep_ledger.multisig.errors import RefusedError

_OPTIONS: dict[str, Any] = {
    "metadata": {},
    "need_to_be_owner": False,
    "off_ledger_signature": False,
}


def hides_nothing(constraints: Sequence[Json]) -> None:
    """Check well-formed constraints, in the order in which they are signed.

    Raises:
        RefusedError: the same signature would be valid for other rules.
    """
    shallower = 1 << 30
    for depth, leaf in (found for one in constraints for found in _leaves(one, 0)):
        options = _OPTIONS.keys() & leaf.keys()
        said = [name for name in options if leaf[name] != _OPTIONS[name]]
        if depth >= shallower or (said and len(options) > 1):
            raise RefusedError(
                "this form of the rule can hide another rule under the same signature: leave out"
                " what is empty or false, put parts with need_to_be_owner last, and put the first of"
                " several of these deeper than the next, in an AND of its own"
            )
        if options:
            shallower = depth


def spelled(constraints: Sequence[Json]) -> tuple[list[int], list[Json]]:
    """Write constraints in the form that `hides_nothing` accepts; the meaning is the same.

    Returns:
        Their new order as indexes, and the constraints in that order.
    """
    return _stacked([_spelled(one) for one in constraints])


def _spelled(body: Json) -> Json:
    if "auth_constraints" in body:
        parts = cast("list[Json]", body["auth_constraints"])
        return body | {"auth_constraints": spelled(parts)[1]}
    return {k: v for k, v in body.items() if k not in _OPTIONS or v not in (None, _OPTIONS[k])}


def _stacked(parts: Sequence[Json]) -> tuple[list[int], list[Json]]:
    """Put parts with options last, each so deep that all later ones are less deep."""
    order = sorted(range(len(parts)), key=lambda i: bool(_bound(parts[i])))
    done: list[Json] = []
    least = 0
    for part in (parts[i] for i in reversed(order)):
        deepest = max((depth for depth, _ in _leaves(part, 0)), default=0)
        if bound := _bound(part):
            more = max(0, least - min(bound))
            for _ in range(more):
                part = {"constraint_id": "AND", "auth_constraints": [part]}  # noqa: PLW2901
            least = deepest + more + 1
        done.append(part)
    return order, done[::-1]


def _bound(part: Json) -> list[int]:
    """The depths of its leaves with options."""
    return [depth for depth, leaf in _leaves(part, 0) if _OPTIONS.keys() & leaf.keys()]


def _leaves(body: Json, depth: int) -> Iterator[tuple[int, Json]]:
    if body["constraint_id"] == "ROLE":
        yield depth, body
    for part in cast("list[Json]", body.get("auth_constraints", [])):
        yield from _leaves(part, depth + 1)
