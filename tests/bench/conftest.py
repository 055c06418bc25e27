"""The real pool, for the tests marked `pool`."""

from pool import network

__all__ = ["network"]
