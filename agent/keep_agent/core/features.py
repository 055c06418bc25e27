"""The features that we disclose to peers (Aries RFC 0031, 0557)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keep_agent.core.machine import Protocol

FAMILIES = "https://didcomm.org/"

Feature = tuple[str, tuple[str, ...]]
"""Id and roles."""


class OurFeatures:
    """The features of an agent, read from its protocols; `find` answers queries.

    Args:
        goal_codes: goal codes that we support (RFC 0519).
        aip: Aries Interop Profiles and their sub-targets that we support (RFC 0302).
    """

    def __init__(
        self,
        protocols: Iterable[Protocol[Any]],
        goal_codes: Iterable[str] = (),
        aip: Iterable[str] = (),
    ) -> None:
        self._by_kind: Mapping[str, tuple[Feature, ...]] = {
            "protocol": tuple(
                (f"{FAMILIES}{p.name}.{minor}", p.roles)
                for p in protocols
                for minor in range(p.minor + 1)
            ),
            "goal-code": tuple((code, ()) for code in goal_codes),
            "aip": tuple((profile, ()) for profile in aip),
        }

    def find(self, kind: str, match: str) -> tuple[Feature, ...]:
        """Return the features of this type that match; unknown types have none."""
        return tuple(f for f in self._by_kind.get(kind, ()) if matches(f[0], match))


def matches(text: str, pattern: str) -> bool:
    """Tell whether a text fits a pattern in which `*` stands for any text, in linear time."""
    head, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    *middle, tail = rest
    at, end = len(head), len(text) - len(tail)
    if not (text.startswith(head) and text.endswith(tail)):
        return False
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end
