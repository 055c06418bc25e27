"""Which protocol is meant, by any of its names."""

from __future__ import annotations

import pytest

from keep_agent.core.catalog import find_protocol, load_catalog

CATALOG = load_catalog()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("trust_ping/1", "trust_ping/1"),
        ("trust-ping", "trust_ping/1"),
        ("trust_ping", "trust_ping/1"),
        ("did-exchange", "didexchange/1"),
        ("didexchange", "didexchange/1"),
        ("basic-message", "basicmessage/1"),
        ("issue_credential_2", "issue-credential/2"),
        ("issue-credential", "issue-credential/2"),
        ("discover-features", "discover-features/2"),
        ("discover_features_1", "discover-features/1"),
    ],
)
def test_a_protocol_is_found_by_what_events_paths_and_files_call_it(
    text: str, name: str
) -> None:
    found = find_protocol(CATALOG.protocols.values(), text)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("route", CATALOG.routes)
def test_the_name_in_paths_means_the_same_everywhere(route: str) -> None:
    assert find_protocol(CATALOG.protocols.values(), route) is CATALOG.routes[route]


@pytest.mark.parametrize("text", ["", "ping", "trust_ping/2", "issue-credential/1"])
def test_what_is_not_spoken_is_not_found(text: str) -> None:
    assert find_protocol(CATALOG.protocols.values(), text) is None
