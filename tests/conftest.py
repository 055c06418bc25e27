"""What tests of several rooms share: one pool, one whose rules they change, one PostgreSQL, a count of requests."""

import hypothesis
from governed_network import governed, governed_network, governed_once
from library_requests import by_library
from pool import network
from postgres import postgres, postgres_server

__all__ = [
    "by_library",
    "governed",
    "governed_network",
    "governed_once",
    "network",
    "postgres",
    "postgres_server",
]

# How long an example takes depends on what else runs beside it.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")
