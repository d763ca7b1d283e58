"""How many connections a pool may hold: fewer, for a while, where PostgreSQL gives no more."""

import asyncio
from collections import deque

_GROW_SECONDS = 5.0  # after a refusal, one more connection is tried for this often


class Places:
    """Places for connections, taken in order of arrival.

    There are `most` of them, and fewer after `shrink_to`: callers then wait for one in use. While
    anybody waits, the limit grows again, slowly.
    """

    def __init__(self, most: int) -> None:
        self.most = self.limit = most
        self.taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._changed = float("-inf")  # when the limit did

    @property
    def crowded(self) -> bool:
        """True while somebody waits for a place."""
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        return self.taken >= self.limit or bool(self._waiting)

    async def take(self, *, first: bool = False) -> None:
        """Wait for a place, `first` before all others."""
        if not self.full or (first and self.taken < self.limit):
            self.taken += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.appendleft(place) if first else self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place in self._waiting:
                self._waiting.remove(place)
            elif not place.cancelled():
                self.give_back()  # it had just been given
            raise

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
            place = self._waiting.popleft()
            if not place.done():
                self.taken += 1
                place.set_result(None)
