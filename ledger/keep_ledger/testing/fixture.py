"""A pytest plugin: `indy_network`, a real Indy network for the tests of any project.

pytest finds this module by its entry point.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keep_ledger.local_network import CHECKOUT, IndyNetwork, IndyNetworkError, Trustee, run

__all__ = ["CHECKOUT", "IndyNetwork", "IndyNetworkError", "Trustee", "indy_network", "run"]


pytest.register_assert_rewrite("keep_ledger.testing.conformance")


@pytest.fixture(scope="session")
def indy_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndyNetwork]:
    """One real Indy network for the whole run, started by the first test that asks for it."""
    network = IndyNetwork(tmp_path_factory.mktemp("indy") / "network")
    yield network
    network.stop()
