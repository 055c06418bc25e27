"""The session's one real pool; it starts when the first test asks for it."""

from pool import network

__all__ = ["network"]
