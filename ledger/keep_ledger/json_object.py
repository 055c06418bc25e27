"""The type of a JSON object that was read and is not checked yet."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def once_each(pairs: list[tuple[str, Any]]) -> Json:
    """For `object_pairs_hook` of `json.loads`: refuse an object that names a member twice."""
    body = dict(pairs)
    if len(body) != len(pairs):
        raise ValueError("a member occurs twice")
    return body
