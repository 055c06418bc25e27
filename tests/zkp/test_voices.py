"""Who is asked about a proof, and what happens when the two do not agree (SEC-P37)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

import pytest
from zkp.kit import Case, Desk, cred_def, rules

from keep_zkp import verifier
from keep_zkp.equations import Equations
from keep_zkp.native import Native, Scope
from keep_zkp.public_key import read_public_key
from keep_zkp.voices import FIRST, KEYS, ONE_IN, Mode, Voices

KEY = read_public_key(cred_def("licence")["public"])
HONEST = {"ours": True, "library": True}


@dataclass
class Asked:
    """Who was asked, in turn; `says` is what each answers instead of computing."""

    says: dict[str, bool]
    order: list[str] = field(default_factory=list[str])

    def voice(self, name: str) -> Callable[..., bool]:
        """Return a voice that notes that it was asked."""

        def answer(*_: Any, **__: Any) -> bool:
            self.order.append(name)
            return self.says[name]

        return answer


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Both voices replaced by ones that note that they were asked; nothing is drawn."""
    made = Asked(dict(HONEST))
    monkeypatch.setattr(Equations, "hold", made.voice("ours"))
    monkeypatch.setattr(verifier, "_library_agrees", made.voice("library"))
    draw(monkeypatch, 1)
    return made


def draw(monkeypatch: pytest.MonkeyPatch, *drawn: int) -> None:
    """Let the numbers be drawn in turn, then the last one for ever."""
    left = [*drawn]

    def randbelow(most: int) -> int:
        assert most == ONE_IN
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr("keep_zkp.voices.secrets.randbelow", randbelow)


def desk_with(desk: Desk, mode: Mode) -> Desk:
    """Return the desk with voices of its own."""
    return replace(desk, voices=Voices(mode))


@pytest.mark.parametrize(
    ("mode", "ours", "order"),
    [
        ("both", True, ["ours", "library"]),
        ("both", False, ["ours"]),
        ("library", True, ["library"]),
        ("library", False, ["library"]),
        ("sampled", True, ["ours", "library"]),
        ("sampled", False, ["ours"]),
    ],
)
async def test_who_is_asked_about_the_first_proof_of_a_key(
    desk: Desk, bar: Case, asked: Asked, mode: Mode, *, ours: bool, order: list[str]
) -> None:
    asked.says = {"ours": ours, "library": ours}
    verdict = await desk_with(desk, mode).verify(bar.request, bar.presentation)
    assert (verdict.ok, asked.order) == (ours, order)
    assert rules(verdict) == (set() if ours else {"SEC-P29"})


async def test_sampled_asks_the_library_for_the_first_of_each_key_and_then_by_chance(
    desk: Desk, bar: Case, two: Case, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = desk_with(desk, "sampled")
    for _ in range(FIRST + 3):
        assert (await bench.verify(bar.request, bar.presentation)).ok
    assert asked.order.count("library") == FIRST
    draw(monkeypatch, 3, 0, 15)
    asked.order.clear()
    for _ in range(3):
        await bench.verify(bar.request, bar.presentation)
    assert asked.order == ["ours", "ours", "library", "ours"]
    asked.order.clear()
    await bench.verify(two.request, two.presentation)  # with a key that is new
    assert asked.order == ["ours", "library"]


def test_a_key_that_is_forgotten_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    draw(monkeypatch, 1)
    made = Voices("sampled")
    for _ in range(FIRST):
        assert made.samples([KEY], accepted=True)
    assert not made.samples([KEY], accepted=True)
    for number in range(KEYS):
        assert made.samples([replace(KEY, digest=number.to_bytes(32, "big"))], accepted=True)
    assert made.samples([KEY], accepted=True)


@pytest.mark.parametrize(
    ("mode", "ours"), [("sampled", True), ("sampled", False), ("both", True)]
)
async def test_sec_p37_a_proof_on_which_the_two_differ_is_refused_until_somebody_trusts(
    desk: Desk,
    bar: Case,
    asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
    mode: Mode,
    *,
    ours: bool,
) -> None:
    bench = desk_with(desk, mode)
    draw(monkeypatch, 0, 1)
    asked.says = {"ours": ours, "library": not ours}
    verdict = await bench.verify(bar.request, bar.presentation)
    assert rules(verdict) == {"SEC-P37"}
    assert not verdict.ok
    assert bench.voices.disagreements == 1
    assert bench.voices.in_force == "both"
    asked.says = dict(HONEST)
    for _ in range(FIRST + 1):
        asked.order.clear()
        assert (await bench.verify(bar.request, bar.presentation)).ok
        assert asked.order == ["ours", "library"]
    bench.voices.trust("somebody")
    assert bench.voices.in_force == mode
    assert bench.voices.disagreements == 1


def test_the_library_alone_stays_alone_whatever_was_found() -> None:
    made = Voices("library")
    made.distrust("somebody")
    assert made.in_force == "library"


@pytest.mark.parametrize("mode", ["both", "sampled", "library"])
async def test_sec_p17_a_ledger_object_that_cannot_be_read_is_no_disagreement(
    desk: Desk, bar: Case, asked: Asked, mode: Mode
) -> None:
    """The library reads more of a definition than we do: here its kind."""
    bench = desk_with(desk, mode)
    [identifier] = bar.original["identifiers"]
    definition = bench.cred_defs[identifier["cred_def_id"]]
    changed = {**bench.cred_defs, identifier["cred_def_id"]: {**definition, "type": "other"}}
    verdict = await bench.verify(bar.request, bar.presentation, cred_defs=changed)
    assert rules(verdict) == {"SEC-P17"}
    assert (asked.order, bench.voices.disagreements) == ([], 0)
    assert bench.voices.in_force == mode


async def test_without_gmpy2_the_library_verifies_everything(
    desk: Desk, bar: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [x for x in sys.modules if x in {"keep_zkp.equations", "keep_zkp.powers"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gmpy2", None)
    for mode in ("both", "sampled", "library"):
        bench = desk_with(desk, mode)
        assert bench.voices.equations is None
        assert (bench.voices.mode, bench.voices.in_force) == ("library", "library")
        assert (await bench.verify(bar.request, bar.presentation)).ok
        other = bar.request.model_copy(update={"nonce": "1"})
        assert rules(await bench.verify(other, bar.presentation)) == {"SEC-P29"}
        bench.voices.distrust("somebody")
        assert bench.voices.in_force == "library"


def test_without_gmpy2_every_module_but_the_equations_can_be_imported() -> None:
    words = "import sys; sys.modules['gmpy2'] = None; import keep_zkp.verifier, keep_zkp.holder, keep_zkp.issuer"
    subprocess.run(
        [sys.executable, "-c", words],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


async def test_sec_p37_a_disagreement_is_noted_though_nobody_waits_for_it(
    bar: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a proof that takes longer than its sender waits would hide it."""
    begun, late = Event(), Event()
    native = Native(threads=1, room=4, deadline_s=60)

    def refuse_late(*_: object) -> bool:
        begun.set()
        late.wait(30)
        return False

    monkeypatch.setattr(verifier, "_library_agrees", refuse_late)
    voices = Voices("sampled")
    desk = Desk(Scope(native, keep=4), voices)
    waiting = asyncio.create_task(desk.verify(bar.request, bar.presentation))
    assert await asyncio.to_thread(begun.wait, 30)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    late.set()
    await native.run(lambda: None)  # the one thread is through with the proof
    assert voices.disagreements == 1
    assert voices.in_force == "both"
    native.close()
