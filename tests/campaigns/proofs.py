"""Verify presentations by the library and by our own equations, and look whether they ever differ.

`./manage campaign proofs --count 1000000 --seed 1` is the long form; the tests run a short one. What is asked,
shown and changed is drawn from the seed and the number of the case. A wallet's numbers are not: the library draws
them, so a case on which the two differ is stored whole.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import anoncreds
from campaigns.proof_changes import changed
from campaigns.proof_scenes import Scene, by_id, cred_def_of, scene, schema_of

from keep_zkp.equations import Equations
from keep_zkp.errors import InvalidError, RefusedError
from keep_zkp.json_object import Json
from keep_zkp.native import fresh
from keep_zkp.presentation import as_signed, read_presentation
from keep_zkp.proof_numbers import (
    Comparison,
    SubProofNumbers,
    check_commitments,
    check_numbers,
)
from keep_zkp.public_key import PublicKey, read_public_key
from keep_zkp.requests import PresentationRequest
from keep_zkp.verdict import Question, Resolved, find_reasons
from usage import reader

ROUND = 25
"""Cases of one honest presentation: itself, and changes of it."""
SAVE_S = 20.0
FOLDER = Path(__file__).resolve().parents[2] / ".indykeep" / "campaign-proofs"
SQUARES = ("0", "1", "2", "3")
STRICTER = {
    ("SEC-P17", "a number of the credential definition is not in its group"),
    ("SEC-P17", "a number of the credential definition is not written as one"),
    ("SEC-P30", "not formed as a presentation"),
    ("SEC-P31", "a commitment is out of range"),
    ("SEC-P31", "a hidden attribute is out of range"),
    ("SEC-P31", "a response is negative"),
    ("SEC-P31", "a root of a difference is out of range"),
    ("SEC-P31", "the challenge was not made over these commitments"),
    ("SEC-P31", "a predicate is proved about something else than the signed attribute"),
    ("SEC-P31", "the exponent is out of range"),
    ("SEC-P31", "the hidden attributes are not those of the credential definition"),
}
"""Rules about numbers by which we may refuse what the library accepts; docs/campaigns.md tells why."""
UNSHOWN = {"SEC-P24"}
"""What the verdict says of an honest presentation at most: an attribute was asked for and is not shown."""


@dataclass(frozen=True, slots=True)
class Said:
    """What was said about one case.

    Attributes:
        library: the library's own check accepts it.
        equations: ours do, without the checks of ranges before them; None: they cannot be computed.
        numbers: by which rules about numbers it is refused before any equation, each with its words.
        statements: by which rules it states something else than was asked.
    """

    library: bool
    equations: bool | None
    numbers: tuple[tuple[str, str], ...]
    statements: tuple[str, ...]

    @property
    def proved(self) -> bool:
        """Whether by our own check it proves what it states, which may not be what was asked."""
        return self.equations is True and not self.numbers

    @property
    def wrong(self) -> bool:
        """Whether the two differ and no rule allows it."""
        if self.library and not self.proved:
            return not set(self.numbers) & STRICTER
        return self.proved and not self.statements and not self.library


@dataclass
class Results:
    """What a campaign found.

    Attributes:
        kinds: cases by what they are and what was said; the keys are for people.
        differences: files with the cases on which the two differ, or their descriptions.
    """

    seed: int
    done: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter[str])
    differences: list[str] = field(default_factory=list[str])

    def add(self, other: Results) -> None:
        """Count what another part found."""
        self.done += other.done
        self.kinds += other.kinds
        self.differences += other.differences

    def __str__(self) -> str:
        """Tell it in a table."""
        rows = [f"{count:>9}  {kind}" for kind, count in sorted(self.kinds.items())]
        head = f"seed {self.seed}: {self.done} cases, {len(self.differences)} differences"
        return "\n".join((head, *rows, *self.differences[:20]))


@cache
def _equations(table_bytes: int) -> Equations:
    return Equations(table_bytes)


def compare(case: Scene, *, table_bytes: int) -> Said:
    """Ask the library, and both our whole check and the equations alone."""
    try:
        keys = {name: read_public_key(each) for name, each in case.cred_defs.items()}
    except InvalidError as error:
        return Said(_library(case), None, (("SEC-P17", str(error)),), ())
    alone = _alone(case, keys, table_bytes)
    try:
        shown = read_presentation(case.presentation, case.request)
    except RefusedError as error:
        return Said(_library(case), alone, ((error.rule, "not formed as a presentation"),), ())
    question = Question(
        case.request, shown, Resolved(case.schemas, case.cred_defs), accept_any_issuer=True
    )
    found = find_reasons(question)
    statements = tuple(sorted({each.rule for each in found} - {"SEC-P31"}))
    return Said(_library(case), alone, _about_numbers(question), statements)


def _about_numbers(question: Question) -> tuple[tuple[str, str], ...]:
    """Return what SEC-P31 says, also where the verdict ends at a rule before it."""
    try:
        pairs = zip(question.numbers, question.keys, strict=True)
        found = {words for numbers, key in pairs for words in check_numbers(numbers, key)}
        found |= {*check_commitments(question.numbers, question.shown.proof.aggregated_proof)}
    except (InvalidError, ValueError) as error:  # a part is missing
        found = {str(error)}
    return tuple(("SEC-P31", words) for words in sorted(found))


def _alone(case: Scene, known: Mapping[str, PublicKey], table_bytes: int) -> bool | None:
    """Ask the equations about the numbers as they are; None: they are none, or there is no way to hash one."""
    equations = _equations(table_bytes)
    try:
        proof = case.presentation["proof"]
        keys = [known[each["cred_def_id"]] for each in case.presentation["identifiers"]]
        numbers = [_numbers(each["primary_proof"]) for each in proof["proofs"]]
        held = equations.hold(
            keys,
            numbers,
            challenge=int(proof["aggregated_proof"]["c_hash"]),
            nonce=int(case.request.nonce),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, IndexError):
        return None
    for key in filter(equations.tables.wants, keys):
        equations.tables.add(key)
    return held


def _numbers(proof: Any) -> SubProofNumbers:
    """Read numbers of any size, as `keep_zkp.proof_numbers.read_numbers` reads those of 1300 digits."""
    equality = proof["eq_proof"]
    return SubProofNumbers(
        revealed={name: int(value) for name, value in equality["revealed_attrs"].items()},
        a_prime=int(equality["a_prime"]),
        e=int(equality["e"]),
        v=int(equality["v"]),
        m={name: int(value) for name, value in equality["m"].items()},
        m2=int(equality["m2"]),
        comparisons=tuple(map(_comparison, proof["ge_proofs"])),
    )


def _comparison(each: Any) -> Comparison:
    stated = each["predicate"]
    return Comparison(
        attribute=stated["attr_name"],
        operator=stated["p_type"],
        bound=stated["value"],
        u=tuple(int(each["u"][x]) for x in SQUARES),
        r=tuple(int(each["r"][x]) for x in SQUARES),
        r_delta=int(each["r"]["DELTA"]),
        mj=int(each["mj"]),
        alpha=int(each["alpha"]),
        t=tuple(int(each["t"][x]) for x in SQUARES),
        t_delta=int(each["t"]["DELTA"]),
    )


def _library(case: Scene) -> bool:
    try:
        shown = fresh(anoncreds.Presentation, as_signed(case.presentation))
        request = fresh(anoncreds.PresentationRequest, case.request.for_library().wire())
        cred_defs = {name: _loaded(name, each) for name, each in case.cred_defs.items()}
        schemas = {name: schema_of(name) for name in case.schemas}
        return shown.verify(request, schemas, cred_defs) is True
    except (InvalidError, anoncreds.AnoncredsError, KeyError, AttributeError, TypeError):
        return False


def _loaded(cred_def_id: str, cred_def: Json) -> anoncreds.CredentialDefinition:
    plain = cred_def_of(cred_def_id)
    return (
        plain
        if cred_def is _plain(cred_def_id)
        else fresh(anoncreds.CredentialDefinition, cred_def)
    )


def _plain(cred_def_id: str) -> Json:
    return by_id()[cred_def_id].cred_def


def round_of(seed: int, number: int, *, cheap: bool) -> Iterator[tuple[str, Scene, int]]:
    """Yield the cases of a round: what each is, the case, and the bytes for tables.

    Every other round lets the equations keep tables.
    """
    chance = random.Random(f"{seed} {number}")
    honest = scene(chance, cheap=cheap)
    donor = scene(chance, cheap=cheap)
    table_bytes = chance.choice([0, 128 << 20])
    yield honest.what, honest, table_bytes
    for _ in range(ROUND - 1):
        made, what = changed(chance, honest, donor)
        yield what, made, table_bytes


def run_round(seed: int, number: int, *, cheap: bool) -> Results:
    """Compare the cases of a round."""
    results = Results(seed)
    for index, (what, case, table_bytes) in enumerate(round_of(seed, number, cheap=cheap)):
        said = compare(case, table_bytes=table_bytes)
        results.done += 1
        results.kinds[_told(what, case, said)] += 1
        if said.wrong or (case.honest and not _welcome(said)):
            results.differences.append(_store(seed, number * ROUND + index, what, case, said))
    return results


def _welcome(said: Said) -> bool:
    """Whether everybody accepts an honest presentation."""
    return said.library and said.proved and set(said.statements) <= UNSHOWN


def _told(what: str, case: Scene, said: Said) -> str:
    """Name the kind of a case: in detail where anybody accepts it."""
    if said.library and said.proved:
        words = f", which is not what was asked ({', '.join(said.statements)})"
        return f"both accept{words if said.statements and not case.honest else ''}: {what}"
    rules = "; ".join(f"{rule} {words}" for rule, words in said.numbers)
    alone = {True: "accept", False: "refuse", None: "cannot be computed"}[said.equations]
    if said.library:
        return f"stricter than the library ({rules}), the equations alone {alone}: {what}"
    if said.proved:
        return f"only the library refuses, and it is not what was asked: {what}"
    if said.equations:
        return f"both refuse, but the equations alone accept: {rules}"
    return f"both refuse: {'by the numbers' if said.numbers else 'by the equations'}"


def _store(seed: int, number: int, what: str, case: Scene, said: Said) -> str:
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"difference-{seed}-{number}.json"
    content = {
        "what": f"{case.what}; {what}",
        "request": case.request.wire(),
        "presentation": case.presentation,
        "schemas": case.schemas,
        "cred_defs": case.cred_defs,
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return f"{path}: {what}: {said}"


def replay(path: Path) -> Said:
    """Compare a stored case once more."""
    stored = json.loads(path.read_text("utf-8"))
    request = PresentationRequest.model_validate_json(json.dumps(stored["request"]))
    case = Scene(
        stored["what"], honest=False, request=request, presentation=stored["presentation"],
        schemas=stored["schemas"], cred_defs=stored["cred_defs"], keys=(),
    )  # fmt: skip
    return compare(case, table_bytes=0)


def _work(job: tuple[int, int]) -> Results:
    seed, number = job
    return run_round(seed, number, cheap=False)


def _start() -> None:
    """Leave Ctrl-C to the parent, end when it ends, and give way to other work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    with suppress(OSError):
        os.nice(5)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def campaign(count: int, seed: int, processes: int) -> Results:
    """Compare cases up to a number, in whole rounds, from where a campaign of this seed was left."""
    results = _resume(seed)
    jobs = [(seed, number) for number in range(results.done // ROUND, -(-count // ROUND))]
    if not jobs:
        return results
    before, start, saved, told = results.done, time.monotonic(), 0.0, 0.0
    spent = results.seconds
    with multiprocessing.get_context("spawn").Pool(processes, _start) as pool:
        with suppress(KeyboardInterrupt):
            for found in pool.imap(_work, jobs):
                results.add(found)
                passed = time.monotonic() - start
                results.seconds = spent + passed
                if passed - told > 1:
                    _tell(results, count, (results.done - before) / passed)
                    told = passed
                if passed - saved > SAVE_S:
                    save(results)
                    saved = passed
        pool.terminate()
    save(results)
    return results


def _tell(results: Results, count: int, rate: float) -> None:
    left = (count - results.done) / rate
    words = f"{results.done} of {count} cases, {rate:.1f} a second, {_span(left)} left"
    end = "\r" if sys.stdout.isatty() else "\n"
    print(f"{words}, {len(results.differences)} differences", end=end, flush=True)  # noqa: T201


def _span(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def _state(seed: int) -> Path:
    return FOLDER / f"seed-{seed}.json"


def save(results: Results) -> None:
    """Keep what was found in whole rounds, so that the same command goes on from there."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    content = {
        "done": results.done,
        "seconds": results.seconds,
        "kinds": results.kinds,
        "differences": results.differences,
    }
    made = _state(results.seed).with_suffix(".new")
    made.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
    made.replace(_state(results.seed))


def _resume(seed: int) -> Results:
    try:
        found = json.loads(_state(seed).read_text("utf-8"))
    except FileNotFoundError:
        return Results(seed)
    return Results(
        seed, found["done"], found["seconds"], Counter(found["kinds"]), found["differences"]
    )


def main() -> int:
    """Read the command line."""
    args: argparse.Namespace = reader("campaign proofs").parse_args()
    if args.replay:
        said = replay(args.replay)
        print(said)  # noqa: T201
        return 1 if said.wrong else 0
    seed = args.seed if args.seed is not None else secrets.randbelow(10**6)
    print(f"seed {seed}", flush=True)  # noqa: T201
    results = campaign(args.count, seed, args.processes)
    print(f"\n{results}")  # noqa: T201
    return 1 if results.differences else 0


if __name__ == "__main__":
    sys.exit(main())
