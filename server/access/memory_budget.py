"""Bytes that the process holds for callers: so many for each caller, so many for all."""

from types import TracebackType
from typing import Self

from resolvers.errors import UnavailableError


class MemoryBudget:
    """Counts what is held. It refuses what would be more than `most_each` or `most`, in bytes."""

    def __init__(self, most_each: int, most: int, refusal: str) -> None:
        self.most_each = most_each
        self.most = most
        self._refusal = refusal
        self._each: dict[str, int] = {}
        self._shared: dict[tuple[str, int], int] = {}  # how often a caller holds one object
        self.total = 0

    def __len__(self) -> int:
        """How many callers hold something."""
        return len(self._each)

    def of(self, caller: str) -> int:
        """Return how many bytes are held for a caller."""
        return self._each.get(caller, 0)

    def reserve(self, caller: str, size: int, content: bytes = b"") -> "Reservation":
        """Count `size` bytes, and `content` once for all of the caller's holds that share it.

        Raises UnavailableError, and counts nothing, where that is too much.
        """
        reservation = Reservation(self, caller)
        reservation.resize(size, content)
        return reservation

    def add(self, caller: str, size: int, content: bytes) -> None:
        """Count. `Reservation` is the way to call it."""
        key = (caller, id(content))
        sharing = self._shared.get(key, 0)
        more = size if sharing else size + len(content)
        mine = self._each.get(caller, 0) + more
        if mine > self.most_each or self.total + more > self.most:
            raise UnavailableError(self._refusal)
        self._each[caller] = mine
        self.total += more
        if content:
            self._shared[key] = sharing + 1

    def subtract(self, caller: str, size: int, content: bytes) -> None:
        """Count no longer. `Reservation` is the way to call it."""
        key = (caller, id(content))
        if content:
            sharing = self._shared[key] - 1
            if sharing:
                self._shared[key] = sharing
            else:
                del self._shared[key]
                size += len(content)
        self.total -= size
        left = self._each[caller] - size
        if left:
            self._each[caller] = left
        else:
            del self._each[caller]


class Reservation:
    """What is held for one purpose, until `release`. A context manager that releases it."""

    __slots__ = ("_budget", "_caller", "_content", "_size")

    def __init__(self, budget: MemoryBudget | None, caller: str) -> None:
        self._budget = budget
        self._caller = caller
        self._size = 0
        self._content = b""

    def resize(self, size: int, content: bytes = b"") -> None:
        """Hold this instead. Raises UnavailableError, and holds nothing, where that is too much."""
        self.release()
        if self._budget is not None and (size or content):
            self._budget.add(self._caller, size, content)
            self._size, self._content = size, content

    def release(self) -> None:
        """Hold nothing any longer. Further calls do nothing."""
        if self._budget is not None and (self._size or self._content):
            self._budget.subtract(self._caller, self._size, self._content)
            self._size, self._content = 0, b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
