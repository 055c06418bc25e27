"""SEC-P37: who has to accept a proof, and what is noted when the two differ."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest
from zkp.kit import Case, Desk

from keep_zkp import verifier
from keep_zkp.native import Native, Scope
from keep_zkp.voices import Voices


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
