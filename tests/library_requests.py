"""The fixture `by_library`: which credential requests the AnonCreds library makes."""

from __future__ import annotations

from typing import Any

import anoncreds
import pytest


@pytest.fixture
def by_library(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One item for each request that the library has made since."""
    made: list[object] = []
    create = anoncreds.CredentialRequest.create

    def counted(*args: Any) -> Any:
        found = create(*args)
        made.append(found)
        return found

    monkeypatch.setattr(anoncreds.CredentialRequest, "create", counted)
    return made
