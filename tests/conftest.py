"""What tests of several rooms share: one pool, one whose rules they change, one PostgreSQL."""

from governed_network import governed, governed_network, governed_once
from pool import network
from postgres import postgres, postgres_server

__all__ = [
    "governed",
    "governed_network",
    "governed_once",
    "network",
    "postgres",
    "postgres_server",
]
