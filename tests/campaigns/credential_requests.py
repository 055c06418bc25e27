"""Ask for credentials with requests of our own: the library issues each, processes it, and asks beside us.

`./manage campaign requests --count 10000` is the long form; the tests run a short one.
"""

from __future__ import annotations

import asyncio
import math
import random
import secrets
import statistics
import sys
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from zkp.kit import Desk, cred_def, new_scope

from keep_zkp.blinding import C_BITS, M_MASK_BITS, NONCE_BITS, V_BITS, V_MASK_BITS
from keep_zkp.encode import common_name
from keep_zkp.errors import ZkpError
from keep_zkp.holder import Requested
from keep_zkp.issuer import signed_names
from keep_zkp.public_key import SECRET_NAME, read_public_key
from usage import reader

NAMES = ("card", "city", "learner", "licence", "member")
LIBRARY_EACH = 4
"""Every so many of ours, one of the library's to compare with."""
SIGMAS = 6.0
"""A bit that is set so far from half of the time is biased: by chance 1 in 500 million."""
ALIKE = math.sqrt(-math.log(1e-6 / 2) / 2)
"""Two samples of one distribution differ more by chance in one of a million cases (Kolmogorov-Smirnov)."""
TELL_S = 5.0


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a request and its metadata consist of.

    Attributes:
        share: the commitment by the modulus, 0 to 1.
    """

    u: int
    share: float
    v: int
    c: int
    v_cap: int
    m_cap: int
    nonce: int


@dataclass
class Report:
    """What a campaign did and found.

    Attributes:
        took: seconds of each call, by what it was.
        failures: what is wrong, in words; empty is what we want.
    """

    ours: list[Numbers] = field(default_factory=list[Numbers])
    theirs: list[Numbers] = field(default_factory=list[Numbers])
    took: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    failures: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        """Tell it in a few lines."""
        times = (f"{what} {1000 * statistics.median(s):.1f}" for what, s in self.took.items())
        return "\n".join(
            (
                f"{len(self.ours)} requests of ours, {len(self.theirs)} of the library",
                f"median ms: {', '.join(times)}; failures: {len(self.failures)}",
                *self.failures[:20],
            )
        )


class Office:
    """Issues to alice, and measures."""

    def __init__(self, desk: Desk, report: Report) -> None:
        self._desk = desk
        self._report = report
        self._checked: set[str] = set()

    async def ask_and_store(self, name: str, values: dict[str, str]) -> None:
        """Request a credential by ourselves, and let the library issue and process it."""
        desk, took = self._desk, self._report.took
        offer = await desk.offer(name)
        began = time.perf_counter()
        asked = await desk.answer(name, offer, self._checked)
        if asked.checked is not None:  # the library checked this key now, for the first time
            self._checked.add(asked.checked)
            asked = await desk.answer(name, offer, self._checked)
            began = math.nan
        times = [began, time.perf_counter()]
        try:
            credential = await desk.sign(name, offer, asked.request, values)
            times.append(time.perf_counter())
            await desk.store(name, offer, asked, credential, values)
            times.append(time.perf_counter())
        except ZkpError as error:
            self._report.failures.append(f"{name}: {error}")
            return
        self._report.ours.append(numbers(name, asked))
        if not math.isnan(began):
            for what, a, b in zip(
                ("request", "issue", "process"), times, times[1:], strict=False
            ):
                took.setdefault(what, []).append(b - a)

    async def let_ask(self, name: str) -> None:
        """Let the library make a request."""
        offer = await self._desk.offer(name)
        began = time.perf_counter()
        asked = await self._desk.answer(name, offer)
        took = self._report.took.setdefault("request of the library", [])
        took.append(time.perf_counter() - began)
        self._report.theirs.append(numbers(name, asked))


async def campaign(desk: Desk, *, count: int, seed: int, tell: bool = False) -> Report:
    """Request `count` credentials and judge the requests.

    Args:
        seed: draws definitions and values; the numbers of a request are secret and drawn anew.
        tell: print how far it is.
    """
    chance, report = random.Random(seed), Report()
    office = Office(desk, report)
    began = told = time.monotonic()
    for done in range(count):
        name = chance.choice(NAMES)
        attributes = sorted(cred_def_names(name))
        await office.ask_and_store(
            name, {each: str(chance.randrange(10**6)) for each in attributes}
        )
        if done % LIBRARY_EACH == 0:
            await office.let_ask(name)
        if tell and time.monotonic() - told > TELL_S:
            told = time.monotonic()
            left = (told - began) / (done + 1) * (count - done - 1)
            print(f"{done + 1} of {count}, {left:.0f} s left", flush=True)  # noqa: T201
    report.failures += judge(report.ours, report.theirs)
    return report


def cred_def_names(name: str) -> frozenset[str]:
    """Return the attributes of a definition."""
    return frozenset(map(common_name, signed_names(cred_def(name)["public"])))


def numbers(name: str, asked: Requested) -> Numbers:
    """Read a request and its metadata."""
    proof = asked.request["blinded_ms_correctness_proof"]
    u = int(asked.request["blinded_ms"]["u"])
    return Numbers(
        u,
        u / read_public_key(cred_def(name)["public"]).n,
        int(asked.metadata["link_secret_blinding_data"]["v_prime"]),
        int(proof["c"]),
        int(proof["v_dash_cap"]),
        int(proof["m_caps"][SECRET_NAME]),
        int(asked.request["nonce"]),
    )


# -- judging ---------------------------------------------------------------------------------------

SIZES = {
    "v": V_BITS,
    "c": C_BITS,
    "v_cap": V_MASK_BITS,
    "m_cap": M_MASK_BITS,
    "nonce": NONCE_BITS,
}
"""How many bits each number has, all of them set half of the time."""
U_BITS = 2040
"""Of the commitment, those that a modulus of 2050 bits leaves without bias."""


def judge(ours: Sequence[Numbers], theirs: Sequence[Numbers]) -> Iterator[str]:
    """Say what distinguishes our numbers from random ones, and from the library's."""
    for name, size in SIZES.items():
        found = [getattr(each, name) for each in ours]
        if max(found).bit_length() > size:
            yield f"{name} is too long"
        if len(set(found)) < len(found):
            yield f"{name} repeats itself"
        yield from biased(name, found, size)
    yield from biased("u", [each.u % (1 << U_BITS) for each in ours], U_BITS)
    for name in ("v", "c", "m_cap", "nonce"):  # v_cap: of another length than the library's
        a, b = ([getattr(x, name) / (1 << SIZES[name]) for x in xs] for xs in (ours, theirs))
        yield from differ(name, a, b)
    yield from differ("u", [x.share for x in ours], [x.share for x in theirs])
    yield from differ(
        "v_cap",
        [x.v_cap / (1 << V_MASK_BITS) for x in ours],
        [(k + 0.5) / len(ours) for k in range(len(ours))],
    )


def biased(name: str, found: Iterable[int], size: int) -> Iterator[str]:
    """Name the bits that are not set about half of the time."""
    written = [format(each, f"0{size}b") for each in found]
    count = len(written)
    for at, column in enumerate(zip(*written, strict=False)):
        if abs(column.count("1") - count / 2) > SIGMAS * math.sqrt(count) / 2:
            yield f"bit {size - 1 - at} of {name} is set {column.count('1')} times of {count}"


def differ(name: str, a: Sequence[float], b: Sequence[float]) -> Iterator[str]:
    """Say whether two samples have different distributions (Kolmogorov-Smirnov)."""
    one, other = sorted(a), sorted(b)
    gap = max(
        abs(bisect_right(one, x) / len(one) - bisect_right(other, x) / len(other))
        for x in (*one, *other)
    )
    if gap > ALIKE * math.sqrt(1 / len(one) + 1 / len(other)):
        yield f"{name} is distributed differently: {gap:.3f}"


async def _main(count: int, seed: int) -> int:
    print(f"seed {seed}", flush=True)  # noqa: T201
    report = await campaign(Desk(new_scope()), count=count, seed=seed, tell=True)
    print(report)  # noqa: T201
    return 1 if report.failures else 0


def main() -> int:
    """Read the command line."""
    said = reader("campaign requests").parse_args()
    seed = secrets.randbelow(10**6) if said.seed is None else said.seed
    return asyncio.run(_main(said.count, seed))


if __name__ == "__main__":
    sys.exit(main())
