"""The rows at hand: bounded in number and in size, the latest stay."""

from __future__ import annotations

from keep_agent.store.cache import OwnRows, Rows


def test_the_rows_used_last_stay_longest() -> None:
    rows = Rows(2, 1000)
    rows.put(("a", "1"), "one", 1)
    rows.put(("a", "2"), "two", 1)
    assert rows.get(("a", "1")) == "one"
    rows.put(("a", "3"), "three", 1)
    assert [rows.get(("a", name)) for name in "123"] == ["one", None, "three"]


def test_long_rows_push_others_out() -> None:
    """A peer decides how long a row is: a thousand of them must not fill the memory."""
    rows = Rows(100, 1000)
    for i in range(50):
        rows.put(("a", str(i)), i, 200)
        assert rows.bytes <= 1000
    assert len(rows) == 5
    rows.put(("a", "49"), "x", 251)
    assert (len(rows), rows.get(("a", "49"))) == (4, None)


def test_a_row_that_changes_counts_once() -> None:
    rows = Rows(10, 1000)
    for size in (200, 10, 100):
        rows.put(("a", "1"), size, size)
        assert rows.bytes == size
    rows.drop(("a", "1"))
    rows.drop(("a", "1"))
    assert (rows.get(("a", "1")), rows.bytes) == (None, 0)


def test_profiles_share_the_room_and_see_only_their_own() -> None:
    rows = Rows(4, 1000)
    one, other = OwnRows(rows, "one"), OwnRows(rows, "other")
    for name in "123":
        one.put(("a", name), f"one {name}", 10)
    other.put(("a", "1"), "other 1", 10)
    assert (one.get(("a", "1")), other.get(("a", "1"))) == ("one 1", "other 1")
    assert other.get(("a", "2")) is None
    other.put(("a", "2"), "other 2", 10)  # the room is full: what was used least recently goes
    assert (len(rows), rows.bytes) == (4, 40)
    assert [one.get(("a", name)) for name in "123"] == ["one 1", None, "one 3"]
    one.drop(("a", "3"))
    other.clear()
    assert (len(rows), rows.bytes) == (1, 10)
    assert one.get(("a", "1")) == "one 1"
