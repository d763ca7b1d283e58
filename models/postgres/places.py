"""How many connections a pool may hold: fewer, for a while, where PostgreSQL gives no more."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_GROW_SECONDS = 5.0  # after a refusal, one more connection is tried for this often


class Places(Generic[T]):
    """Places for connections, taken in order of arrival.

    There are `most` of them, and fewer after `shrink_to`: callers then wait for one in use. While
    anybody waits, the limit grows again, slowly. A place can be passed on with its connection of
    type `T`, which costs far less than to give it back and to take it out again.
    """

    def __init__(self, most: int) -> None:
        self.most = self.limit = most
        self.taken = 0
        # and whether a connection is taken with the place
        self._waiting: deque[tuple[asyncio.Future[T | None], bool]] = deque()
        self._changed = float("-inf")  # when the limit did

    @property
    def crowded(self) -> bool:
        """True while somebody waits for a place."""
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        return self.taken >= self.limit or bool(self._waiting)

    async def take(
        self, *, first: bool = False, connected: Callable[[T], None] | None = None
    ) -> T | None:
        """Wait for a place, `first` before all others.

        With `connected`, the place may come with a connection, which is returned; where the caller
        is cancelled by then, `connected` is called with it instead, and with it goes the place.
        """
        if not self.full or (first and self.taken < self.limit):
            self.taken += 1
            return None
        place: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        waiting = place, connected is not None
        self._waiting.appendleft(waiting) if first else self._waiting.append(waiting)
        try:
            return await place
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            elif not place.cancelled():  # it had just been given
                connection = place.result()
                if connection is None or connected is None:
                    self.give_back()
                else:
                    connected(connection)
            raise

    def pass_on(self, connection: T) -> bool:
        """Give a place in use, with its connection, to the caller who waits longest.

        Return False where that one takes no connection, where nobody waits, or where there are
        more places in use than there may be.
        """
        while self._waiting and self._waiting[0][0].done():
            self._waiting.popleft()
        if not self._waiting or not self._waiting[0][1] or self.taken > self.limit:
            return False
        place, _ = self._waiting.popleft()
        place.set_result(connection)
        self._grow()
        self._wake()
        return True

    def give_back(self) -> None:
        self.taken -= 1
        self._grow()
        self._wake()

    def shrink_to(self, count: int) -> None:
        """Make do with so many from now on, but with one."""
        self.limit = max(1, min(self.limit, count))
        self._changed = asyncio.get_running_loop().time()

    def _grow(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._waiting and self.limit < self.most and now - self._changed >= _GROW_SECONDS:
            self.limit, self._changed = self.limit + 1, now

    def _wake(self) -> None:
        while self._waiting and self.taken < self.limit:
            place, _ = self._waiting.popleft()
            if not place.done():
                self.taken += 1
                place.set_result(None)
