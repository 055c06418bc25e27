"""The version is told once, in the package's metadata; the packages look it up there."""

from __future__ import annotations

from importlib.metadata import version

import pytest

import keep_agent
import keep_ledger
import keep_zkp


def test_each_package_tells_the_version_of_the_distribution() -> None:
    found = {keep_agent.__version__, keep_ledger.__version__, keep_zkp.__version__}
    assert found == {version("indykeep")}


@pytest.mark.parametrize("package", [keep_agent, keep_ledger, keep_zkp])
def test_and_invents_no_other_attribute(package: object) -> None:
    assert not hasattr(package, "__versions__")
