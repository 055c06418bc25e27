"""Fixtures: one desk, and a few presentations made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from zkp.kit import Case, Desk, ask, bar_question, new_scope, over_18, source

from keep_zkp.requests import reveal


@pytest.fixture(scope="session")
def desk() -> Iterator[Desk]:
    """Alice's wallet and the bar's verifier."""
    made = Desk(new_scope())
    yield made
    made.scope.native.close()


@pytest.fixture(scope="session")
async def bar(desk: Desk) -> Case:
    """One licence: a value, a group and a predicate."""
    request = bar_question()
    using = {"alice": (("category", "person"), ("adult",))}
    return Case(request, await desk.present(request, using))


@pytest.fixture(scope="session")
async def two(desk: Desk) -> Case:
    """A licence for the predicate and a card for a value, of one holder."""
    request = ask(
        {
            "level": reveal("level", source=source("card")),
            "category": reveal("category", source=source("licence")),
        },
        {"adult": over_18()},
    )
    using = {"alice": (("category",), ("adult",)), "alice_card": (("level",), ())}
    return Case(request, await desk.present(request, using))


@pytest.fixture(scope="session")
async def shown(desk: Desk) -> Case:
    """One licence, one value, no predicate: the smallest presentation."""
    request = ask({"category": reveal("category", source=source("licence"))})
    return Case(request, await desk.present(request, {"alice": (("category",), ())}))
