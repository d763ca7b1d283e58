"""Memory budgets: bounds on the bytes that the process holds for callers."""

from types import TracebackType
from typing import Self

from resolvers.errors import UnavailableError


class MemoryBudget:
    """Counts reserved bytes; at most `most_each` for one caller and `most` in total.

    `refusal`: the message of UnavailableError past a bound.
    """

    def __init__(self, most_each: int, most: int, refusal: str) -> None:
        self.most_each = most_each
        self.most = most
        self._refusal = refusal
        self._each: dict[str, int] = {}
        self._shared: dict[
            tuple[str, int], int
        ] = {}  # reservations by caller and id of a shared content
        self.total = 0

    def __len__(self) -> int:
        """The number of callers with reservations."""
        return len(self._each)

    def of(self, caller: str) -> int:
        """Return how many bytes are reserved for a caller."""
        return self._each.get(caller, 0)

    def reserve(self, caller: str, size: int, content: bytes = b"") -> "Reservation":
        """Reserve `size` bytes, and `content` once for all reservations that share it.

        Raises UnavailableError past a bound.
        """
        reservation = Reservation(self, caller)
        reservation.resize(size, content)
        return reservation

    def add(self, caller: str, size: int, content: bytes) -> None:
        """Add to the counts; only `Reservation` calls it. Raises UnavailableError past a bound."""
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
        """Subtract from the counts; only `Reservation` calls it."""
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
    """Reserved bytes, until `release`. A context manager that releases them at its end."""

    __slots__ = ("_budget", "_caller", "_content", "_size")

    def __init__(self, budget: MemoryBudget | None, caller: str) -> None:
        self._budget = budget
        self._caller = caller
        self._size = 0
        self._content = b""

    def resize(self, size: int, content: bytes = b"") -> None:
        """Replace the reserved size. Past a bound, reserve nothing and raise UnavailableError."""
        self.release()
        if self._budget is not None and (size or content):
            self._budget.add(self._caller, size, content)
            self._size, self._content = size, content

    def release(self) -> None:
        """Return the bytes to the budget. Further calls do nothing."""
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
