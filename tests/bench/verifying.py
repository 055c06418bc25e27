"""A verifier alone, as an agent calls it, beside the bare library: one process, no messages, no store.

The machine has fast and slow moments, so all ways take turns, and medians are compared.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

import anoncreds
from zkp.kit import Desk, ask, cred_def, keys, over_18, source

from keep_zkp.equations import holds
from keep_zkp.json_object import Json
from keep_zkp.native import Native, Scope
from keep_zkp.powers import Bases, fast_bases, plain_bases
from keep_zkp.presentation import read_presentation
from keep_zkp.proof_numbers import read_numbers
from keep_zkp.public_key import PublicKey, read_public_key
from keep_zkp.requests import PresentationRequest, reveal
from keep_zkp.verifier import verify
from keep_zkp.voices import Voices

CORES = os.cpu_count() or 1
PRESENTATIONS = 16
"""How many different ones there are, and how many are verified at once."""

Checks = Sequence[Callable[[], bool]]
"""Verify one presentation each."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Presentations of one definition, each with an attribute and a predicate, and what they answer."""

    schemas: Json
    cred_defs: Json
    items: Sequence[tuple[PresentationRequest, Json]]


class _Unsampled(Voices):
    """Mode `sampled` without the samples: our equations alone."""

    def samples(self, keys: Collection[PublicKey]) -> bool:
        return False


async def verifier_alone(count: int, turns: int) -> dict[str, float]:
    """Measure so many turns of so many presentations."""
    shown = await _present()
    return {
        **await asyncio.to_thread(_equations, shown, count),
        **await _rates(shown, count, turns),
    }


def new_scope() -> Scope:
    """Return a scope as an agent has it: with a native thread per core."""
    return Scope(Native(threads=CORES, room=64, deadline_s=120), keep=32)


async def _present() -> Shown:
    desk, licence = Desk(new_scope()), cred_def("licence")
    items: list[tuple[PresentationRequest, Json]] = []
    for _ in range(PRESENTATIONS):
        category = reveal("category", source=source("licence"))
        request = ask({"category": category}, {"adult": over_18()})
        using = {"alice": (("category",), ("adult",))}
        items.append((request, await desk.present(request, using)))
    schema = licence["schema_id"]
    return Shown({schema: keys()["schemas"][schema]}, {licence["id"]: licence["public"]}, items)


def _equations(shown: Shown, count: int) -> dict[str, float]:
    """Return the CPU of our equations, with tables and without, by that of the library's `verify`."""
    (cred_def_json,) = shown.cred_defs.values()
    key = read_public_key(cred_def_json)
    fast = fast_bases(key)
    ways: dict[str, Checks] = {
        "library": _by_library(shown),
        "verify_ratio": _by_us(shown, lambda: fast),
        "verify_cold_ratio": _by_us(shown, lambda: plain_bases(key, compared=True)),
    }
    spent: dict[str, list[float]] = defaultdict(list)
    for number in range(count):
        for way, checks in ways.items():
            began = time.thread_time()
            assert checks[number % len(checks)]()
            spent[way].append(1000 * time.thread_time() - 1000 * began)
    library_ms = median(spent.pop("library"))
    ratios = {way: median(each) / library_ms for way, each in spent.items()}
    return {"library_verify_ms": library_ms, **ratios}


def _by_library(shown: Shown) -> Checks:
    schemas = {name: anoncreds.Schema.load(each) for name, each in shown.schemas.items()}
    cred_defs = {
        name: anoncreds.CredentialDefinition.load(each)
        for name, each in shown.cred_defs.items()
    }

    def check(request: PresentationRequest, presentation: Json) -> Callable[[], bool]:
        asked = anoncreds.PresentationRequest.load(request.for_library().wire())
        parsed = anoncreds.Presentation.load(presentation)
        return lambda: parsed.verify(asked, schemas, cred_defs)

    return [check(*each) for each in shown.items]


def _by_us(shown: Shown, bases: Callable[[], Bases]) -> Checks:
    def check(request: PresentationRequest, presentation: Json) -> Callable[[], bool]:
        proof = read_presentation(presentation, request).proof
        numbers = read_numbers(proof.proofs[0])
        challenge, nonce = int(proof.aggregated_proof.c_hash), int(request.nonce)
        return lambda: holds([(bases(), numbers)], challenge=challenge, nonce=nonce)

    return [check(*each) for each in shown.items]


async def _rates(shown: Shown, count: int, turns: int) -> dict[str, float]:
    """Return presentations per second, and CPU, of whole verifications by the bare library's on every core."""
    modes = {
        "library": Voices("library"),
        "sampled": Voices("sampled"),
        "ours": _Unsampled("sampled"),
    }
    for (
        voices
    ) in modes.values():  # the tables are made, and the first that are always sampled are over
        await _verify(shown, voices, PRESENTATIONS)
    checks = _by_library(shown)
    per_s: dict[str, list[float]] = defaultdict(list)
    cpu_ms: dict[str, list[float]] = defaultdict(list)

    def note(way: str, wall_s: float, cpu_s: float) -> None:
        per_s[way].append(count / wall_s)
        cpu_ms[way].append(1000 * cpu_s / count)

    for _ in range(turns):
        began = time.perf_counter(), time.process_time()
        await asyncio.to_thread(_bare, checks, count)
        note("bare", time.perf_counter() - began[0], time.process_time() - began[1])
        for way, voices in modes.items():
            began = time.perf_counter(), time.process_time()
            await _verify(shown, voices, count)
            note(way, time.perf_counter() - began[0], time.process_time() - began[1])
    rate = {way: median(each) for way, each in per_s.items()}
    cpu = {way: median(each) for way, each in cpu_ms.items()}
    return {
        **{f"verifier_{way}_per_s": each for way, each in rate.items()},
        "verifier_rate_ratio": rate["sampled"] / rate["bare"],
        "verifier_ours_rate_ratio": rate["ours"] / rate["bare"],
        "verifier_cpu_ratio": cpu["ours"] / cpu["bare"],
    }


def _bare(checks: Checks, count: int) -> None:
    with ThreadPoolExecutor(CORES) as pool:
        work = [pool.submit(checks[number % len(checks)]) for number in range(count)]
    assert all(each.result() for each in work)


async def _verify(shown: Shown, voices: Voices, count: int) -> None:
    scope, numbers = new_scope(), iter(range(count))

    async def work() -> None:
        for number in numbers:
            request, presentation = shown.items[number % len(shown.items)]
            verdict = await verify(
                scope,
                voices,
                request=request,
                presentation=presentation,
                schemas=shown.schemas,
                cred_defs=shown.cred_defs,
                accept_any_issuer=False,
            )
            assert verdict.ok

    async with asyncio.TaskGroup() as tasks:
        for _ in range(PRESENTATIONS):
            tasks.create_task(work())
    scope.native.close()
