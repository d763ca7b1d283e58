"""The number of connections of a pool; it shrinks for a while if PostgreSQL refuses more."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_GROW_SECONDS = 5.0  # the interval at which the limit grows by one after a refusal


class ConnectionSlots(Generic[T]):
    """Slots for connections, taken in order of arrival.

    `limit` is the number of slots: `most` at first, fewer after `shrink_to`. While callers wait, it
    slowly grows again. A slot can be passed on together with its connection of type `T`, which is
    much cheaper than returning the connection to the pool and taking it out again.
    """

    def __init__(self, most: int) -> None:
        self.most = self.limit = most
        self.taken = 0
        # waiters, and whether each accepts a connection with its slot
        self._waiting: deque[tuple[asyncio.Future[T | None], bool]] = deque()
        self._changed = float("-inf")  # the time of the limit's last change

    @property
    def crowded(self) -> bool:
        """True while any caller waits for a slot."""
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """True if a new caller would have to wait."""
        return self.taken >= self.limit or bool(self._waiting)

    async def take(
        self, *, first: bool = False, connected: Callable[[T], None] | None = None
    ) -> T | None:
        """Wait for a slot, with `first` before all other callers.

        With `connected`, the slot may come with a connection, which is returned. If the caller was
        cancelled by then, `connected` is called with the connection and takes over the slot.
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
            elif not place.cancelled():  # the slot had just been assigned
                connection = place.result()
                if connection is None or connected is None:
                    self.give_back()
                else:
                    connected(connection)
            raise

    def pass_on(self, connection: T) -> bool:
        """Pass a slot with its connection on to the caller that has waited longest.

        Returns False if that caller accepts no connection, if no caller waits, or if more slots are
        in use than `limit`.
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
        """Free a slot and wake a waiting caller."""
        self.taken -= 1
        self._grow()
        self._wake()

    def shrink_to(self, count: int) -> None:
        """Lower the limit to `count`, at least 1."""
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
