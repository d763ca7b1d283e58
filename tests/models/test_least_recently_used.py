"""The bounded cache against a list that is searched from its end."""

from hypothesis import given
from hypothesis import strategies as st

from models.least_recently_used import LeastRecentlyUsed

CAPACITY = 10
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["get", "put", "grow", "pop", "clear"]),
        st.integers(0, 5),
        st.integers(0, 12),
    ),
    max_size=40,
)


class Naive:
    """(key, value, size), the least recently used first."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, str, int]] = []
        self.dropped: list[tuple[int, str]] = []

    def find(self, key: int) -> tuple[int, str, int] | None:
        return next((each for each in self.entries if each[0] == key), None)

    def remove(self, key: int) -> None:
        if found := self.find(key):
            self.entries.remove(found)
            self.dropped.append(found[:2])

    def evict(self) -> None:
        while sum(size for *_, size in self.entries) > CAPACITY:
            self.remove(self.entries[0][0])


@given(STEPS)
def test_any_use(steps: list[tuple[str, int, int]]) -> None:
    naive, dropped = Naive(), list[tuple[int, str]]()
    cache = LeastRecentlyUsed[int, str](CAPACITY, lambda key, value: dropped.append((key, value)))
    for number, (step, key, size) in enumerate(steps):
        found = naive.find(key)
        match step:
            case "get":
                assert cache.get(key) == (found and found[1])
                if found:
                    naive.entries.remove(found)
                    naive.entries.append(found)
            case "put":
                cache.put(key, str(number), size)
                naive.remove(key)
                naive.entries.append((key, str(number), size))
                naive.evict()
            case "grow":
                cache.grow(key, size)
                if found:
                    index = naive.entries.index(found)
                    naive.entries[index] = (*found[:2], found[2] + size)
                    naive.evict()
            case "pop":
                assert cache.pop(key) == (found and found[1])
                naive.remove(key)
            case "clear":
                cache.clear()
                while naive.entries:
                    naive.remove(naive.entries[0][0])
        assert dropped == naive.dropped
        assert len(cache) == len(naive.entries)
        assert all(each[0] in cache for each in naive.entries)
        assert cache.size == sum(size for *_, size in naive.entries) <= CAPACITY
