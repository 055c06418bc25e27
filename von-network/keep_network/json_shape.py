"""What JSON from files, clients and nodes is; until one of these has looked, it may be anything."""

from __future__ import annotations

from typing import Any, TypeGuard

Json = dict[str, Any]


def is_object(value: object) -> TypeGuard[Json]:
    """Say whether it is a JSON object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Say whether it is a JSON array."""
    return isinstance(value, list)


def object_of(value: object) -> Json:
    """Return a JSON object as it is, and an empty one for anything else."""
    return value if is_object(value) else {}


def array_of(value: object) -> list[Any]:
    """Return a JSON array as it is, and an empty one for anything else."""
    return value if is_array(value) else []
