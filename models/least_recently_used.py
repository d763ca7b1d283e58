"""The one bounded cache that all others are made of."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LeastRecentlyUsed(Generic[K, V]):
    """Values by key up to a total size; the least recently used are evicted.

    `capacity` and `size` are in a unit of the owner's choice, for example bytes. `dropped` is
    called with each key and value that leaves, whatever the reason.
    """

    def __init__(
        self, capacity: int, dropped: Callable[[K, V], object] = lambda _key, _value: None
    ) -> None:
        self.capacity = capacity
        self.size = 0
        self._dropped = dropped
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._sizes: dict[K, int] = {}

    def get(self, key: K) -> V | None:
        """Return the value, which counts as a use; None if there is none."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V, size: int) -> None:
        """Set a value, which is now the most recently used, and evict others if need be."""
        self.pop(key)
        self._entries[key] = value
        self._sizes[key] = 0
        self.grow(key, size)

    def grow(self, key: K, by: int) -> None:
        """Add to the size of an entry, if it is there, and evict others if need be."""
        if key not in self._sizes:
            return
        self._sizes[key] += by
        self.size += by
        while self.size > self.capacity:
            self.pop(next(iter(self._entries)))

    def pop(self, key: K) -> V | None:
        """Remove an entry and return its value; None if there is none."""
        value = self._entries.pop(key, None)
        if value is not None:
            self.size -= self._sizes.pop(key)
            self._dropped(key, value)
        return value

    def clear(self) -> None:
        """Remove all entries."""
        while self._entries:
            self.pop(next(iter(self._entries)))

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)
