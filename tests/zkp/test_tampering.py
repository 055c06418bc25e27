"""SEC-P29: whatever is changed in a valid presentation, it never verifies again.

Our checks stand before the real cryptography, as in the agent.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zkp.kit import Case, Desk

Path = tuple[str | int, ...]
FAST = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


def inside(value: Any) -> list[tuple[str | int, Any]]:
    """Return the members of a container, in an order that repeats."""
    if isinstance(value, dict):
        return sorted(cast("dict[str, Any]", value).items())
    if isinstance(value, list):
        several: list[Any] = value  # pyright: ignore[reportUnknownVariableType] - JSON
        return list(enumerate(several))
    return []


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every value that is not a container; one byte list counts as a leaf."""
    members = inside(value)
    if not members or (isinstance(value, list) and isinstance(members[0][1], int)):
        yield path
        return
    for key, inner in members:
        yield from leaves(inner, (*path, key))


def containers(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every object and list, the whole included."""
    if isinstance(value, dict | list):
        yield path
        for key, inner in inside(value):  # pyright: ignore[reportUnknownArgumentType]
            yield from containers(inner, (*path, key))


def at(value: Any, path: Path) -> Any:
    """Return what lies at a path."""
    for step in path:
        value = value[step]
    return value


def put(value: Any, path: Path, new: Any) -> None:
    """Replace what lies at a path."""
    at(value, path[:-1])[path[-1]] = new


def near(old: Any, words: str, number: int) -> list[Any]:
    """Return other values for a leaf: near it, of its kind, or of another kind."""
    found: list[Any] = [None, True, False, 0, 1, -1, 2**31, "", "0", "1", [], {}, words, number]
    if isinstance(old, str):
        found += [old + "0", "0" + old, "-" + old, old.upper(), f" {old}"]
        found += [str(int(old) + 1)] if old.lstrip("-").isdigit() else [old[:-1], old[::-1]]
    elif isinstance(old, int):
        found += [old + 1, old - 1, str(old), float(old)]
    elif isinstance(old, list) and old:
        several: list[Any] = old  # pyright: ignore[reportUnknownVariableType] - JSON
        index = number % len(several)
        changed = [*several[:index], (several[index] + 1) % 256, *several[index + 1 :]]
        found += [several[:-1], [*several, 0], [0, *several], several[::-1], changed]
    return [new for new in found if json.dumps(new) != json.dumps(old)]


def _different(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)


async def test_sec_p29_no_leaf_can_be_changed_in_any_way_we_know(desk: Desk, bar: Case) -> None:
    """Exhaustive over the leaves."""
    for path in leaves(bar.original):
        spoiled: list[Any] = []
        for new in near(at(bar.original, path), "x\u0660", 12345):
            spoiled.append(bar.presentation)
            put(spoiled[-1], path, new)
        verdicts = await asyncio.gather(*(desk.verify(bar.request, each) for each in spoiled))
        assert not any(each.ok for each in verdicts), path


@FAST
@given(data=st.data())
async def test_sec_p29_a_presentation_with_a_flipped_leaf_never_verifies(
    desk: Desk, bar: Case, two: Case, data: st.DataObject
) -> None:
    case = data.draw(st.sampled_from([bar, two]))
    presentation = case.presentation
    path = data.draw(st.sampled_from(list(leaves(presentation))))
    words, number = data.draw(st.text(max_size=20)), data.draw(st.integers(0, 2**40))
    others = near(at(presentation, path), words, number)
    put(presentation, path, others[data.draw(st.integers(0, 99)) % len(others)])
    assert not (await desk.verify(case.request, presentation)).ok


@FAST
@given(data=st.data())
async def test_sec_p29_a_presentation_with_a_part_moved_never_verifies(
    desk: Desk, bar: Case, two: Case, data: st.DataObject
) -> None:
    """Drop, add, duplicate, rename, or put in the place of another part."""
    case = data.draw(st.sampled_from([bar, two]))
    presentation = case.presentation
    everything = list(containers(presentation))
    spot = at(presentation, data.draw(st.sampled_from(everything)))
    donor = copy.deepcopy(at(presentation, data.draw(st.sampled_from(everything))))
    if isinstance(spot, dict):
        _spoil_object(data, cast("dict[str, Any]", spot), donor)
    elif spot:
        _spoil_list(data, spot, donor)
    verdict = await desk.verify(case.request, presentation)
    assert not verdict.ok or _same_meaning(presentation, case.original)


def _spoil_object(data: st.DataObject, spot: dict[str, Any], donor: Any) -> None:
    names = sorted(spot) or ["x"]
    name, other = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))
    new = data.draw(st.text(min_size=1, max_size=8))
    changes: dict[str, dict[str, Any]] = {
        "drop": {key: inner for key, inner in spot.items() if key != name},
        "add": {**spot, new: donor},
        "rename": {(f"{key} " if key == name else key): inner for key, inner in spot.items()},
        "replace": {**spot, name: donor},
        "swap": {**spot, name: spot.get(other), other: spot.get(name)},
    }
    changed = changes[data.draw(st.sampled_from(sorted(changes)))]
    spot.clear()
    spot.update(changed)


def _spoil_list(data: st.DataObject, spot: list[Any], donor: Any) -> None:
    index = data.draw(st.integers(0, len(spot) - 1))
    changes: dict[str, list[Any]] = {
        "drop": spot[:index] + spot[index + 1 :],
        "double": [*spot, copy.deepcopy(spot[index])],
        "reverse": spot[::-1],
        "replace": [*spot[:index], donor, *spot[index + 1 :]],
    }
    spot[:] = changes[data.draw(st.sampled_from(sorted(changes)))]


def _same_meaning(one: Any, other: Any) -> bool:
    """Absent and empty sections, and absent and null members of identifiers, are the same."""

    def plain(presentation: Any) -> Any:
        found = copy.deepcopy(presentation)
        try:
            proof = found["requested_proof"]
            found["requested_proof"] = {
                key: inner for key, inner in proof.items() if inner != {}
            }
            found["identifiers"] = [
                {key: inner for key, inner in each.items() if inner is not None}
                for each in found["identifiers"]
            ]
        except (KeyError, TypeError, AttributeError):
            return found
        return found

    return not _different(plain(one), plain(other))


@FAST
@given(data=st.data())
async def test_sec_p29_parts_of_two_valid_presentations_never_verify_together(
    desk: Desk, bar: Case, two: Case, data: st.DataObject
) -> None:
    presentation, other = two.presentation, bar.presentation
    shared = sorted(set(containers(presentation)) & set(containers(other)), key=str)
    path = data.draw(st.sampled_from([each for each in shared if each]))
    put(presentation, path, at(other, path))
    if _different(presentation, two.original):
        assert not (await desk.verify(two.request, presentation)).ok
