"""The short form of `./manage campaign proofs`: the cheapest shapes, all kinds of changes."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from campaigns import proofs
from campaigns.proof_scenes import Scene
from campaigns.proofs import ROUND, Results, Said, replay, run_round

ROUNDS = 6


@pytest.mark.campaign
def test_the_library_and_our_equations_agree_on_150_proofs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "FOLDER", tmp_path)
    results = Results(secrets.randbelow(10**6))
    for number in range(ROUNDS):
        results.add(run_round(results.seed, number, cheap=True))
    print(results)  # noqa: T201 - the seed, where it fails
    assert results.differences == []
    assert results.done == ROUNDS * ROUND
    assert any(each.startswith("both refuse") for each in results.kinds)


def _refuses(_: Scene) -> bool:
    return False


def test_a_difference_is_told_stored_and_can_be_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "FOLDER", tmp_path)
    monkeypatch.setattr(proofs, "_library", _refuses)
    found = run_round(1, 0, cheap=True)
    stored = sorted(tmp_path.glob("difference-1-*.json"))
    assert len(stored) == len(found.differences) > 0
    assert replay(stored[0]).wrong
    monkeypatch.undo()
    assert not replay(stored[0]).wrong


@pytest.mark.parametrize(
    ("accept", "numbers", "statements", "wrong"),
    [
        ({"library", "equations"}, (), (), False),
        (set[str](), (), (), False),
        ({"library"}, (), (), True),
        ({"equations"}, (), (), True),
        ({"equations"}, (), ("SEC-P01",), False),
        ({"library"}, (("SEC-P31", "a response is negative"),), (), False),
        (
            {"library", "equations"},
            (("SEC-P31", "a predicate's proof is not whole"),),
            (),
            True,
        ),
    ],
)
def test_what_counts_as_a_difference(
    accept: set[str],
    numbers: tuple[tuple[str, str], ...],
    statements: tuple[str, ...],
    *,
    wrong: bool,
) -> None:
    said = Said("library" in accept, "equations" in accept, numbers, statements)
    assert said.wrong == wrong


def test_a_campaign_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "FOLDER", tmp_path)
    results = Results(5, done=2 * ROUND, seconds=3.0, differences=["x"])
    results.kinds["honest"] = 7
    proofs.save(results)
    assert proofs.campaign(2 * ROUND, 5, processes=1) == results
    assert "5" in str(results)
