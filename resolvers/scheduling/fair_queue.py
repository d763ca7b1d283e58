"""Queues in which callers take turns, however many places each of them wants."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from resolvers.errors import UnavailableError

MOST_WAITING = 512  # of all callers together, each with what its work needs

_Place = tuple[int, asyncio.Future[None]]


class FairQueue:
    """Lets work begin while its sizes fit in `room`, and at least one piece of work in any case.

    Where more wants to begin, callers come one after the other, each with what it asked for first.
    A caller may have `most` waiting, and all together `most_in_all`: for one more, the last one of
    the caller that has most waiting gives way.
    """

    def __init__(
        self, room: int, most: int, refusal: str, *, most_in_all: int = MOST_WAITING
    ) -> None:
        self._room = room
        self._most = most
        self._most_in_all = most_in_all
        self._refusal = refusal
        self._used = 0
        self._count = 0  # of places that wait
        self._waiting: OrderedDict[str, deque[_Place]] = OrderedDict()

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    @asynccontextmanager
    async def place(self, caller: str, size: int) -> AsyncIterator[None]:
        """Do the block when it is its turn. Raises UnavailableError where too much waits."""
        await self._enter(caller, size)
        try:
            yield
        finally:
            self._leave(caller, size)

    async def _enter(self, caller: str, size: int) -> None:
        if not self._waiting and self._fits(size):
            self._used += size
            return
        self._make_way(caller)
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append((size, begun))
        self._count += 1
        try:
            await begun
        except asyncio.CancelledError:
            if begun.cancelled():
                self._give_up(caller, (size, begun))
            elif begun.exception() is None:  # it was let in, and nobody comes
                self._leave(caller, size)
            raise

    def _make_way(self, caller: str) -> None:
        """Make sure that one more may wait. Raises UnavailableError."""
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

    def _give_up(self, caller: str, place: _Place) -> None:
        with suppress(KeyError, ValueError):
            self._remove(caller, place)
        self._let_in()

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
            self._waiting.move_to_end(caller)  # whoever came meanwhile comes first
        self._let_in()

    def _let_in(self) -> None:
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
