"""`orderedset.OrderedSet`: a set that remembers the order in which items came.

The C extension of that name has no wheel. Plenum queues requests in it and pops from both
ends, so add, discard and pop take constant time here.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, MutableSet
from typing import Any, cast


class OrderedSet(MutableSet[Any]):
    """The keys of a dict, with the set operations that plenum calls."""

    __slots__ = ("_items",)
    __hash__ = None  # type: ignore[assignment] # mutable, as the original

    def __init__(self, items: Iterable[Hashable] | None = None) -> None:
        self._items: dict[Any, None] = dict.fromkeys(items or ())

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._items.keys())

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int | slice) -> Any:
        found = list(self._items)[index]
        return OrderedSet(found) if isinstance(index, slice) else found

    def __eq__(self, other: object) -> bool:
        if isinstance(other, OrderedSet):
            return list(self) == list(other)  # the order counts between two of them
        if isinstance(other, Iterable):
            return set(self) == set(cast("Iterable[object]", other))
        return NotImplemented

    def __repr__(self) -> str:
        return f"OrderedSet({list(self._items)!r})"

    def add(self, value: Hashable) -> None:
        """Append the item unless it is there; its place does not change then."""
        self._items[value] = None

    def discard(self, value: Hashable) -> None:
        """Remove the item if it is there."""
        self._items.pop(value, None)

    def pop(self, last: bool = True) -> Any:  # noqa: FBT001, FBT002 - the original's signature
        """Remove and return the newest item, or the oldest with `last=False`.

        Raises:
            KeyError: the set is empty.
        """
        if not self._items:
            raise KeyError("OrderedSet is empty")
        item = next(reversed(self._items) if last else iter(self._items))
        del self._items[item]
        return item

    def clear(self) -> None:
        """Remove everything."""
        self._items.clear()

    def copy(self) -> OrderedSet:
        """Return a set of its own with the same items in the same order."""
        return OrderedSet(self._items)

    def index(self, item: Hashable) -> int:
        """Return the place of an item.

        Raises:
            ValueError: it is not in the set.
        """
        return list(self._items).index(item)

    def update(self, *others: Iterable[Hashable]) -> None:
        """Add all items of all others, in their order."""
        for other in others:
            self._items.update(dict.fromkeys(other))

    def difference_update(self, other: Iterable[Hashable]) -> None:
        """Remove every item of the other."""
        for item in list(other):
            self.discard(item)

    def union(self, other: Iterable[Hashable]) -> OrderedSet:
        """Return our items, then the other's new ones."""
        return OrderedSet([*self, *other])

    def intersection(self, other: Iterable[Hashable]) -> OrderedSet:
        """Return our items that the other has too."""
        both = set(other)
        return OrderedSet(item for item in self if item in both)

    def difference(self, other: Iterable[Hashable]) -> OrderedSet:
        """Return our items that the other has not."""
        gone = set(other)
        return OrderedSet(item for item in self if item not in gone)

    def issubset(self, other: Iterable[Hashable]) -> bool:
        """Say whether the other has all our items."""
        return set(self) <= set(other)

    def issuperset(self, other: Iterable[Hashable]) -> bool:
        """Say whether we have all items of the other."""
        return set(self) >= set(other)
