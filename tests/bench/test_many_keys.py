from __future__ import annotations

from bench.many_keys import fill_apart

MIB = 1 << 20


def test_the_tables_of_500_definitions_take_what_the_documentation_says() -> None:
    memory = fill_apart(500, most_bytes=32 * MIB)
    assert memory.ready
    assert memory.size <= 32 * MIB
    assert memory.rss <= 40 * MIB
