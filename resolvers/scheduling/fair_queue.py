"""Queues that serve callers in rotation, however many places each caller requests."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from resolvers.errors import UnavailableError

MOST_WAITING = 512  # places of all callers together; each holds the input of its work

_Place = tuple[int, asyncio.Future[None]]


class FairQueue:
    """Admits work while its total size fits in `room`; always admits at least one piece.

    Other work waits. Waiting callers are served in rotation, each in the order of its own requests.
    A caller may have at most `most` waiting places, all callers together `most_in_all`. If the
    queue is full, the caller with the most waiting places loses its last one. A place that is
    rejected or lost raises UnavailableError with the message `refusal`.
    """

    def __init__(
        self, room: int, most: int, refusal: str, *, most_in_all: int = MOST_WAITING
    ) -> None:
        self._room = room
        self._most = most
        self._most_in_all = most_in_all
        self._refusal = refusal
        self._used = 0
        self._count = 0  # waiting places
        self._waiting: OrderedDict[str, deque[_Place]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of waiting places."""
        return self._count

    @asynccontextmanager
    async def place(self, caller: str, size: int) -> AsyncIterator[None]:
        """Wait for a place, and hold it during the block.

        `size` is in the unit of `room`. Raises UnavailableError if too many places wait.
        """
        await self._enter(caller, size)
        try:
            yield
        finally:
            self._leave(caller, size)

    async def _enter(self, caller: str, size: int) -> None:
        if not self._waiting and self._fits(size):
            self._used += size
            return
        self._make_room(caller)
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append((size, begun))
        self._count += 1
        try:
            await begun
        except asyncio.CancelledError:
            if begun.cancelled():
                self._abandon(caller, (size, begun))
            elif begun.exception() is None:  # admitted, but the caller is gone
                self._leave(caller, size)
            raise

    def _make_room(self, caller: str) -> None:
        """Ensure that one more place may wait. Raises UnavailableError."""
        mine = len(self._waiting.get(caller, ()))
        if mine >= self._most:
            raise UnavailableError(self._refusal)
        if self._count < self._most_in_all:
            return
        greedy = max(self._waiting, key=lambda each: len(self._waiting[each]))
        if len(self._waiting[greedy]) <= mine + 1:
            raise UnavailableError(self._refusal)
        place = self._waiting[greedy][-1]
        self._remove(greedy, place)
        place[1].set_exception(UnavailableError(self._refusal))

    def _abandon(self, caller: str, place: _Place) -> None:
        with suppress(KeyError, ValueError):
            self._remove(caller, place)
        self._admit()

    def _remove(self, caller: str, place: _Place) -> None:
        places = self._waiting[caller]
        places.remove(place)
        self._count -= 1
        if not places:
            del self._waiting[caller]

    def _fits(self, size: int) -> bool:
        return not self._used or self._used + size <= self._room

    def _leave(self, caller: str, size: int) -> None:
        self._used -= size
        if caller in self._waiting:
            self._waiting.move_to_end(caller)  # callers that came meanwhile go first
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            caller, places = next(iter(self._waiting.items()))
            wanted, begun = places[0]
            if not begun.done():
                if not self._fits(wanted):
                    return
                self._used += wanted
                begun.set_result(None)
            self._remove(caller, places[0])
            if caller in self._waiting:
                self._waiting.move_to_end(caller)
